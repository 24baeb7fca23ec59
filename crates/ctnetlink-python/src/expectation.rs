//! Expectations: `Expectation`, `ExpectNat`, `NewExpectation`.

use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::record::{Made, Reduced, copies, record};
use crate::tuple::Tuple;
use crate::value::{ExpectFlags, Span};

record! {
    [hash] []
    /// NAT of an expected connection.
    #[derive(Eq, Hash, Copy)]
    ExpectNat {
        /// The NAT applies to the reply direction.
        reply_direction: bool,
        /// The target of the NAT. The kernel keeps only the source address and port of this tuple.
        to: Tuple,
    }
}

record! {
    [hash] []
    /// An expectation in the kernel: a connection that a helper has announced.
    #[derive(Eq, Hash)]
    Expectation {
        /// Original tuple of the entry it belongs to.
        master: Tuple,
        /// The expected tuple.
        tuple: Tuple,
        /// Which bits of the expected tuple are compared.
        mask: Tuple,
        /// Seconds left.
        timeout: Option<u64>,
        /// Opaque id.
        id: Option<u32>,
        /// Name of the helper.
        helper: Option<String>,
        /// Flags.
        flags: ExpectFlags,
        /// Class, as numbered by the helper.
        class_: u32,
        /// NAT of the expected connection.
        nat: Option<ExpectNat>,
        /// Kernel function that is called when the expected connection appears.
        function: Option<String>,
    }
}

impl From<ctnetlink::Expectation> for Expectation {
    fn from(one: ctnetlink::Expectation) -> Self {
        let nat = one
            .nat
            .map(|nat| ExpectNat { reply_direction: nat.reply_direction, to: Tuple(nat.to) });
        Expectation {
            master: Tuple(one.master),
            tuple: Tuple(one.tuple),
            mask: Tuple(one.mask),
            timeout: one.timeout.map(|left| left.as_secs()),
            id: one.id,
            helper: one.helper,
            flags: ExpectFlags(one.flags),
            class_: one.class,
            nat,
            function: one.function,
        }
    }
}

/// An expectation to be created. Its master must have a helper.
///
/// ``master`` is the original tuple of the entry it belongs to; the expectation is for ``tuple`` under
/// ``mask``. ``timeout`` counts in an update only, a creation follows the helper's policy. ``helper``
/// is what the expected connection gets, ``function`` the kernel function to be called then. The
/// kernel drops the flag ``USERSPACE``. ``class_`` is numbered by the helper. ``nat`` has the
/// direction and the tuple whose source is used. ``zone`` is that of the master.
#[pyclass(frozen, module = "ctnetlink", name = "NewExpectation")]
pub(crate) struct NewExpectation {
    pub(crate) new: ctnetlink::NewExpectation,
    made: Made,
}

#[pymethods]
impl NewExpectation {
    #[new]
    #[pyo3(
        signature = (
            master, tuple, mask, *, timeout=None, helper=None, function=None, flags=None, class_=None,
            nat=None, zone=None
        )
    )]
    #[expect(clippy::too_many_arguments, reason = "they are keywords")]
    fn new(
        py: Python<'_>,
        master: Tuple,
        tuple: Tuple,
        mask: Tuple,
        timeout: Option<Span>,
        helper: Option<String>,
        function: Option<String>,
        flags: Option<ExpectFlags>,
        class_: Option<u32>,
        nat: Option<ExpectNat>,
        zone: Option<u16>,
    ) -> PyResult<NewExpectation> {
        type New = ctnetlink::NewExpectation;
        let options = PyDict::new(py);
        options.set_item("master", master)?;
        options.set_item("tuple", tuple)?;
        options.set_item("mask", mask)?;
        options.set_item("timeout", timeout.map(|span| span.0.as_secs_f64()))?;
        options.set_item("helper", &helper)?;
        options.set_item("function", &function)?;
        options.set_item("flags", flags)?;
        options.set_item("class_", class_)?;
        options.set_item("nat", nat)?;
        options.set_item("zone", zone)?;
        let new = New::new(master.0, tuple.0, mask.0);
        let new = timeout.into_iter().fold(new, |new, span| new.timeout(span.0));
        let new = helper.into_iter().fold(new, New::helper);
        let new = function.into_iter().fold(new, New::function);
        let new = flags.into_iter().fold(new, |new, flags| new.flags(flags.0));
        let new = class_.into_iter().fold(new, New::class);
        let new = nat.into_iter().fold(new, |new, nat| new.nat(nat.reply_direction, nat.to.0));
        let new = zone.into_iter().fold(new, New::zone);
        Ok(NewExpectation { new, made: Made::of(options) })
    }

    fn __eq__(&self, other: &NewExpectation) -> bool {
        self.new == other.new
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<Reduced<'py>> {
        slf.get().made.reduce_by(slf.get_type().as_any())
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        self.made.show("NewExpectation", py)
    }
}

copies!(NewExpectation);
