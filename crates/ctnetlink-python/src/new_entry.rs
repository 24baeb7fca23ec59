//! What to create and what to change: `NewEntry`, `Change`, `NatRange`.

use ctnetlink::Labels;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::extension::{ProtocolState, SeqAdj, SynProxy};
use crate::keyword::{integer, is_integer};
use crate::record::{Made, Reduced, copies, record};
use crate::tuple::Tuple;
use crate::value::{Address, Socket, Span, Status};

record! {
    [hash] [addresses=None, ports=None]
    /// A NAT range: the addresses and ports from which the kernel picks the translation.
    ///
    /// Without both it is a null binding: NAT is decided for the entry, and translates nothing. A
    /// range whose ends are reversed is refused when it is used.
    #[derive(Eq, Hash, Copy)]
    NatRange {
        /// First and last address; ``None`` keeps the address.
        addresses: Option<(Address, Address)>,
        /// First and last port; ``None`` keeps the port.
        ports: Option<(u16, u16)>,
    }
}

#[pymethods]
impl NatRange {
    /// Return the range of exactly this address and port.
    #[staticmethod]
    fn to(target: Socket) -> NatRange {
        let (address, port) = target;
        NatRange { addresses: Some((address, address)), ports: Some((port, port)) }
    }

    /// Return the range of exactly this address; the port is kept.
    #[staticmethod]
    fn address(address: Address) -> NatRange {
        NatRange { addresses: Some((address, address)), ports: None }
    }

    /// Return the null binding: NAT is decided, and translates nothing.
    #[staticmethod]
    fn none() -> NatRange {
        NatRange { addresses: None, ports: None }
    }
}

impl From<NatRange> for ctnetlink::NatRange {
    fn from(range: NatRange) -> Self {
        use ctnetlink::NatRange as R;
        let addresses = range.addresses.map_or_else(R::none, |(a, b)| R::addresses(a.0, b.0));
        range.ports.into_iter().fold(addresses, |range, (first, last)| range.ports(first, last))
    }
}

/// Defines how one keyword goes into a change, or into a new entry, which have the same setters.
/// `None` if a change has no such keyword.
macro_rules! putter {
    ($name:ident, $target:ty) => {
        fn $name(
            target: $target,
            name: &str,
            value: &Bound<'_, PyAny>,
        ) -> PyResult<Option<$target>> {
            Ok(Some(match name {
                "timeout" => target.timeout(value.extract::<Span>()?.0),
                "status" => target.status(value.extract::<Status>()?.0),
                "mark" => match number_or_pair(value)? {
                    (mark, None) => target.mark(mark),
                    (mark, Some(mask)) => target.mark_masked(mark, mask),
                },
                "labels" => match value.cast::<PyTuple>() {
                    Ok(pair) if pair.len() == 2 && !is_integer(&pair.get_item(0)?) => {
                        target.labels_masked(bits(&pair.get_item(0)?)?, bits(&pair.get_item(1)?)?)
                    }
                    _ => target.labels(bits(value)?),
                },
                "state" => target.state(value.extract::<ProtocolState>()?.into()),
                "helper" => target.helper(value.extract::<String>()?),
                "seq_adj_orig" => target.seq_adj_orig(value.extract::<SeqAdj>()?.into()),
                "seq_adj_reply" => target.seq_adj_reply(value.extract::<SeqAdj>()?.into()),
                "synproxy" => target.synproxy(value.extract::<SynProxy>()?.into()),
                _ => return Ok(None),
            }))
        }
    };
}

putter!(put_change, ctnetlink::Change);
putter!(put_entry, ctnetlink::NewEntry);

/// A value, or a value and its mask.
fn number_or_pair(value: &Bound<'_, PyAny>) -> PyResult<(u32, Option<u32>)> {
    match value.cast::<PyTuple>() {
        Ok(pair) if pair.len() == 2 => Ok((
            integer(&pair.get_item(0)?, u32::MAX)?,
            Some(integer(&pair.get_item(1)?, u32::MAX)?),
        )),
        _ => Ok((integer(value, u32::MAX)?, None)),
    }
}

/// Label bits from their numbers.
pub(crate) fn bits(value: &Bound<'_, PyAny>) -> PyResult<Labels> {
    crate::keyword::members(value)?.iter().map(|bit| integer(bit, 127_u8)).collect()
}

/// Puts all keywords into a target, each by `put`.
fn read<T: Clone>(
    class: &str,
    options: &Bound<'_, PyDict>,
    mut target: T,
    put: impl Fn(T, &str, &Bound<'_, PyAny>) -> PyResult<Option<T>>,
) -> PyResult<T> {
    for (name, value) in options {
        let name = name.extract::<String>()?;
        let with = put(target, &name, &value).map_err(|error| named(&name, &value, &error))?;
        target = with.ok_or_else(|| {
            let text = format!("{class}() got an unexpected keyword argument '{name}'");
            PyTypeError::new_err(text)
        })?;
    }
    Ok(target)
}

/// The error of a keyword's value, with the keyword.
fn named(name: &str, value: &Bound<'_, PyAny>, error: &PyErr) -> PyErr {
    let text = format!("{name}: {}", error.value(value.py()));
    match error.is_instance_of::<PyTypeError>(value.py()) {
        true => PyTypeError::new_err(text),
        false => PyValueError::new_err(text),
    }
}

/// What can be set both when an entry is created and when it is updated.
///
/// ``timeout`` is seconds or a ``timedelta``; part of a second is rounded up. ``status`` are bits or
/// names; ``CONFIRMED`` is added, and an update must repeat those of ``SEEN_REPLY``, ``ASSURED`` and
/// ``EXPECTED`` that are set. ``mark`` is the whole mark or ``(value, mask)``. ``labels`` are numbers
/// of bits, or two sets of them, the second being the mask. ``state`` is one of the three classes of
/// protocol states. ``helper`` is a name; in an update only that which the entry has, or ``""``. The
/// kernel applies the parts in the order helper, timeout, status, protocol state, mark, sequence
/// adjustment, SYN proxy, labels, and stops at the first that fails; earlier ones stay applied.
#[pyclass(frozen, module = "ctnetlink", name = "Change")]
pub(crate) struct Change {
    pub(crate) change: ctnetlink::Change,
    made: Made,
}

#[pymethods]
impl Change {
    #[new]
    #[pyo3(
        signature = (**options),
        text_signature = "(*, timeout=None, status=None, mark=None, labels=None, state=None, \
            helper=None, seq_adj_orig=None, seq_adj_reply=None, synproxy=None)"
    )]
    fn new(py: Python<'_>, options: Option<&Bound<'_, PyDict>>) -> PyResult<Change> {
        let made = Made::with(py, &[], options)?;
        let change = read("Change", made.options(py), ctnetlink::Change::new(), put_change)?;
        Ok(Change { change, made })
    }

    fn __eq__(&self, other: &Change) -> bool {
        self.change == other.change
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<Reduced<'py>> {
        slf.get().made.reduce_by(slf.get_type().as_any())
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        self.made.show("Change", py)
    }
}

copies!(Change);

/// An entry to be created.
///
/// The reply tuple defines which packets count as replies; by default it is the mirror of the original
/// one. This default and a NAT range make an entry that really translates: the kernel rewrites the
/// reply tuple. A reply tuple toward a backend without a NAT range matches packets but translates
/// none. ``zone`` is for both directions. ``master`` is the original tuple of the entry that expected
/// this one. The other keywords are those of ``Change``.
#[pyclass(frozen, module = "ctnetlink", name = "NewEntry")]
pub(crate) struct NewEntry {
    pub(crate) entry: ctnetlink::NewEntry,
    made: Made,
}

#[pymethods]
impl NewEntry {
    #[new]
    #[pyo3(
        signature = (orig, timeout, **options),
        text_signature = "(orig, timeout, *, reply=None, zone=None, src_nat=None, dst_nat=None, \
            master=None, status=None, mark=None, labels=None, state=None, helper=None, \
            seq_adj_orig=None, seq_adj_reply=None, synproxy=None)"
    )]
    fn new(
        py: Python<'_>,
        orig: Tuple,
        timeout: &Bound<'_, PyAny>,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<NewEntry> {
        let orig_object = orig.into_pyobject(py)?.into_any();
        let made = Made::with(py, &[("orig", &orig_object), ("timeout", timeout)], options)?;
        let span = timeout.extract::<Span>().map_err(|error| named("timeout", timeout, &error))?;
        let entry = ctnetlink::NewEntry::new(orig.0, span.0);
        let entry = read("NewEntry", made.options(py), entry, |entry, name, value| {
            Ok(Some(match name {
                "orig" => entry,
                "reply" => entry.reply(value.extract::<Tuple>()?.0),
                "zone" => entry.zone(integer(value, u16::MAX)?),
                "src_nat" => entry.src_nat(value.extract::<NatRange>()?.into()),
                "dst_nat" => entry.dst_nat(value.extract::<NatRange>()?.into()),
                "master" => entry.master(value.extract::<Tuple>()?.0),
                name => return put_entry(entry, name, value),
            }))
        })?;
        Ok(NewEntry { entry, made })
    }

    fn __eq__(&self, other: &NewEntry) -> bool {
        self.entry == other.entry
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<Reduced<'py>> {
        slf.get().made.reduce_by(slf.get_type().as_any())
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        self.made.show("NewEntry", py)
    }
}

copies!(NewEntry);
