//! Conversions that several classes need: enumerations, bits, addresses, time spans, errors.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pyo3::exceptions::{PyBaseException, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyBool;

use crate::error::raise;

/// A lock that survives a panic.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How a value becomes a Python object; a reference becomes the same, which the fields of records need.
macro_rules! into_python {
    ($name:ident, |$value:ident, $py:ident| $make:expr) => {
        impl<'py> IntoPyObject<'py> for &$name {
            type Target = PyAny;
            type Output = Bound<'py, PyAny>;
            type Error = PyErr;

            fn into_pyobject(self, $py: Python<'py>) -> PyResult<Self::Output> {
                let $value = self;
                $make
            }
        }

        impl<'py> IntoPyObject<'py> for $name {
            type Target = PyAny;
            type Output = Bound<'py, PyAny>;
            type Error = PyErr;

            fn into_pyobject(self, py: Python<'py>) -> PyResult<Self::Output> {
                (&self).into_pyobject(py)
            }
        }
    };
}

/// An error as an exception that is not raised.
pub(crate) struct Raised(Py<PyBaseException>);

impl Raised {
    pub(crate) fn of(py: Python<'_>, error: &ctnetlink::Error) -> Raised {
        Raised(raise(error.clone()).into_value(py))
    }
}

impl Clone for Raised {
    fn clone(&self) -> Self {
        Python::attach(|py| Raised(self.0.clone_ref(py)))
    }
}

impl PartialEq for Raised {
    /// Exceptions have no equality of their own: two are alike if they are of one class and say the
    /// same.
    fn eq(&self, other: &Self) -> bool {
        Python::attach(|py| {
            let (a, b) = (self.0.bind(py), other.0.bind(py));
            a.get_type().is(b.get_type()) && a.to_string() == b.to_string()
        })
    }
}

into_python!(Raised, |value, py| Ok(value.0.bind(py).clone().into_any()));

impl FromPyObject<'_, '_> for Raised {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        Ok(Raised(object.cast::<PyBaseException>()?.to_owned().unbind()))
    }
}

/// The members of a Python enumeration whose values are texts, by text. A text that is no member
/// stays a text.
pub(crate) struct Members {
    class: &'static str,
    by_text: PyOnceLock<HashMap<String, Py<PyAny>>>,
}

impl Members {
    pub(crate) const fn of(class: &'static str) -> Members {
        Members { class, by_text: PyOnceLock::new() }
    }

    pub(crate) fn get<'py>(&self, py: Python<'py>, text: &str) -> PyResult<Bound<'py, PyAny>> {
        let by_text = self.by_text.get_or_try_init(py, || {
            let class = py.import("ctnetlink._enums")?.getattr(self.class)?;
            let member = |member: PyResult<Bound<'_, PyAny>>| {
                let member = member?;
                Ok::<_, PyErr>((member.getattr("value")?.extract()?, member.unbind()))
            };
            class.try_iter()?.map(member).collect::<PyResult<HashMap<_, _>>>()
        })?;
        match by_text.get(text) {
            Some(member) => Ok(member.bind(py).clone()),
            None => Ok(text.into_pyobject(py)?.into_any()),
        }
    }
}

/// A Rust enumeration that is an enumeration of texts in Python: what is printed there is parsed here.
macro_rules! enumeration {
    ($name:ident = $rust:ty) => {
        #[derive(Clone, Copy, PartialEq, Eq, Hash)]
        pub(crate) struct $name(pub(crate) $rust);

        into_python!($name, |value, py| {
            static MEMBERS: Members = Members::of(stringify!($name));
            MEMBERS.get(py, &value.0.to_string())
        });

        impl FromPyObject<'_, '_> for $name {
            type Error = PyErr;

            fn extract(object: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
                let text = object.extract::<String>();
                let text = text.map_err(|_| crate::keyword::instead("text", &object.to_owned()))?;
                text.parse().map($name).map_err(raise)
            }
        }
    };
}

/// Text that is an enumeration in Python, and only comes from there to be pickled.
macro_rules! texts {
    ($name:ident, $class:literal) => {
        #[derive(Clone, PartialEq, Eq, Hash)]
        pub(crate) struct $name(pub(crate) String);

        into_python!($name, |value, py| {
            static MEMBERS: Members = Members::of($class);
            MEMBERS.get(py, &value.0)
        });

        impl FromPyObject<'_, '_> for $name {
            type Error = PyErr;

            fn extract(object: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
                object.extract().map($name)
            }
        }
    };
}

texts!(Reason, "Reason");
texts!(Trust, "Trust");
texts!(Criterion, "KernelCriterion");
texts!(OutcomeKind, "OutcomeKind");
texts!(VerdictKind, "VerdictKind");

texts!(FindingId, "FindingId");
texts!(Level, "Level");

impl Level {
    pub(crate) fn of(level: ctnetlink::diagnose::Level) -> Level {
        Level(level.to_string())
    }
}

enumeration!(TcpState = ctnetlink::TcpState);
enumeration!(SctpState = ctnetlink::SctpState);
enumeration!(Profile = ctnetlink::Profile);
enumeration!(Setting = ctnetlink::diagnose::Setting);

/// `ipv4` or `ipv6`; also taken are `socket.AF_INET` and `socket.AF_INET6`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Family(pub(crate) ctnetlink::Family);

into_python!(Family, |value, py| {
    static MEMBERS: Members = Members::of("Family");
    MEMBERS.get(py, &value.0.to_string())
});

impl FromPyObject<'_, '_> for Family {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        if let Ok(text) = object.extract::<String>() {
            return text.parse().map(Family).map_err(raise);
        }
        match object.extract::<i32>().ok() {
            Some(libc::AF_INET) => Ok(Family(ctnetlink::Family::Ipv4)),
            Some(libc::AF_INET6) => Ok(Family(ctnetlink::Family::Ipv6)),
            _ => Err(PyValueError::new_err(format!(
                "expected \"ipv4\", \"ipv6\", socket.AF_INET or socket.AF_INET6, found {}",
                object.repr()?
            ))),
        }
    }
}

/// A protocol as text: its name, or its number in digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Protocol(pub(crate) ctnetlink::Protocol);

into_python!(Protocol, |value, py| {
    use ctnetlink::Protocol as P;
    let name = match value.0 {
        P::UDP => pyo3::intern!(py, "udp"),
        P::TCP => pyo3::intern!(py, "tcp"),
        P::ICMP => pyo3::intern!(py, "icmp"),
        P::ICMPV6 => pyo3::intern!(py, "icmpv6"),
        other => return Ok(other.to_string().into_pyobject(py)?.into_any()),
    };
    Ok(name.clone().into_any())
});

impl FromPyObject<'_, '_> for Protocol {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        crate::keyword::protocol(&object.to_owned()).map(Protocol)
    }
}

/// Objects that were made before, by the value they were made of: each value has one place, and takes it
/// from another that has the same.
struct Kept<K, const N: usize>(Mutex<Vec<Place<K>>>);

type Place<K> = Option<(K, Py<PyAny>)>;

impl<K: Copy + PartialEq, const N: usize> Kept<K, N> {
    const fn new() -> Self {
        Kept(Mutex::new(Vec::new()))
    }

    /// The object of a value, made if it is not there. `hash` spreads values over places.
    fn get<'py>(
        &self,
        py: Python<'py>,
        value: K,
        hash: u64,
        make: impl FnOnce() -> PyResult<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        // The upper bits of a product depend on all bits of both factors (Fibonacci hashing).
        let spread = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let at = usize::try_from(spread).unwrap_or(0) % N;
        if let Some(Some((known, object))) = lock(&self.0).get(at)
            && *known == value
        {
            return Ok(object.bind(py).clone());
        }
        // Without the lock: this runs Python code, and so can the end of what was there before.
        let object = make()?;
        let before = {
            let mut places = lock(&self.0);
            if places.is_empty() {
                places.resize_with(N, || None);
            }
            places.get_mut(at).and_then(|place| place.replace((value, object.clone().unbind())))
        };
        drop(before);
        Ok(object)
    }
}

/// Bits that are an `IntFlag` in Python. Making a member costs far more than finding one; a table has a
/// few dozen different ones.
pub(crate) struct Flags {
    class: &'static str,
    class_object: PyOnceLock<Py<PyAny>>,
    made: Kept<u32, 256>,
}

impl Flags {
    const fn of(class: &'static str) -> Flags {
        Flags { class, class_object: PyOnceLock::new(), made: Kept::new() }
    }

    fn class<'py>(&self, py: Python<'py>) -> PyResult<&Bound<'py, PyAny>> {
        self.class_object.import(py, "ctnetlink._enums", self.class)
    }

    fn get<'py>(&self, py: Python<'py>, bits: u32) -> PyResult<Bound<'py, PyAny>> {
        self.made.get(py, bits, bits.into(), || self.class(py)?.call1((bits,)))
    }

    /// From a member, a number, a name, or several names.
    fn bits(&self, value: &Bound<'_, PyAny>) -> PyResult<u32> {
        if crate::keyword::is_integer(value) {
            return crate::keyword::integer(value, u32::MAX);
        }
        let members = self.class(value.py())?.getattr("__members__")?;
        let names = |keys: &Bound<'_, PyAny>| -> PyResult<String> {
            Ok(keys
                .try_iter()?
                .collect::<PyResult<Vec<_>>>()?
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(", "))
        };
        let mut bits = 0;
        for name in crate::keyword::members(value)? {
            let Ok(name) = name.extract::<String>() else {
                return Err(crate::keyword::instead("status bits: a number or names", &name));
            };
            for name in name.split('|').map(str::trim) {
                let member = members.get_item(name).map_err(|_| {
                    let known = members.call_method0("keys").and_then(|keys| names(&keys));
                    PyValueError::new_err(format!(
                        "unknown name {name:?}: expected one of {}",
                        known.unwrap_or_default()
                    ))
                })?;
                bits |= member.extract::<u32>()?;
            }
        }
        Ok(bits)
    }
}

macro_rules! flags {
    ($name:ident = $rust:ty, $static:ident) => {
        #[derive(Clone, Copy, PartialEq, Eq, Hash)]
        pub(crate) struct $name(pub(crate) $rust);

        static $static: Flags = Flags::of(stringify!($name));

        into_python!($name, |value, py| $static.get(py, value.0.bits()));

        impl FromPyObject<'_, '_> for $name {
            type Error = PyErr;

            fn extract(object: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
                let bits = $static.bits(&object.to_owned())?;
                Ok($name(<$rust>::from_bits_retain(bits)))
            }
        }
    };
}

flags!(Status = ctnetlink::Status, STATUS);
flags!(ExpectFlags = ctnetlink::ExpectFlags, EXPECT_FLAGS);

/// A time span: seconds as a number, or a `datetime.timedelta`.
#[derive(Clone, Copy)]
pub(crate) struct Span(pub(crate) Duration);

impl FromPyObject<'_, '_> for Span {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        let what = || PyTypeError::new_err("expected seconds as a number, or a timedelta");
        if object.is_instance_of::<PyBool>() {
            return Err(what());
        }
        let seconds = match object.call_method0("total_seconds") {
            Ok(seconds) => seconds.extract::<f64>()?,
            Err(_) => object.extract::<f64>().map_err(|_| what())?,
        };
        Duration::try_from_secs_f64(seconds)
            .map(Span)
            .map_err(|error| PyValueError::new_err(format!("{seconds} s: {error}")))
    }
}

/// Seconds since the epoch.
pub(crate) fn seconds_since_epoch(time: SystemTime) -> Option<f64> {
    time.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs_f64())
}

/// An address as an object of `ipaddress`. Making one runs Python code, and a table has few different
/// ones, so the last ones are kept.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Address(pub(crate) IpAddr);

/// At some 150 bytes each.
static ADDRESSES: Kept<IpAddr, 8192> = Kept::new();

into_python!(Address, |value, py| {
    let hash = match value.0 {
        IpAddr::V4(address) => u64::from(address.to_bits()),
        IpAddr::V6(address) => {
            let bits = address.to_bits();
            u64::try_from(bits >> 64).unwrap_or(0)
                ^ u64::try_from(bits & u128::from(u64::MAX)).unwrap_or(0).rotate_left(17)
        }
    };
    ADDRESSES.get(py, value.0, hash, || value.0.into_pyobject(py))
});

impl FromPyObject<'_, '_> for Address {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        object.extract::<IpAddr>().map(Address)
    }
}

/// `(address, port)`.
pub(crate) type Socket = (Address, u16);

pub(crate) fn socket(address: SocketAddr) -> Socket {
    (Address(address.ip()), address.port())
}

pub(crate) fn socket_address((address, port): Socket) -> SocketAddr {
    SocketAddr::new(address.0, port)
}
