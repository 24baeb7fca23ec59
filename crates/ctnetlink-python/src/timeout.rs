//! Timeouts by state, and policies of them: `Timeouts`, `TimeoutPolicy`.

use pyo3::prelude::*;
use pyo3::types::PyMapping;

use crate::error::raise;
use crate::record::{Reduced, copies, record};
use crate::value::{Family, Protocol, Span};

/// Timeouts of one protocol by state, in seconds.
///
/// ``Timeouts("udp", {"REPLIED": 60})``. The states have the kernel's names; one that is not set keeps
/// its default. Protocol 255 is the generic one. Part of a second is rounded up. An unknown state is a
/// ``ValueError`` that lists those the protocol has.
#[pyclass(frozen, eq, from_py_object, module = "ctnetlink", name = "Timeouts")]
#[derive(Clone, PartialEq)]
pub(crate) struct Timeouts(pub(crate) ctnetlink::Timeouts);

#[pymethods]
impl Timeouts {
    #[new]
    #[pyo3(signature = (protocol, seconds=None))]
    fn new(protocol: Protocol, seconds: Option<&Bound<'_, PyMapping>>) -> PyResult<Timeouts> {
        let mut timeouts = ctnetlink::Timeouts::of(protocol.0);
        if let Some(seconds) = seconds {
            for item in seconds.items()?.iter() {
                let (state, span) = item.extract::<(String, Span)>()?;
                timeouts = timeouts.set(&state, span.0).map_err(raise)?;
            }
        }
        Ok(Timeouts(timeouts))
    }

    /// The protocol whose states these are.
    #[getter]
    fn protocol(&self) -> Protocol {
        Protocol(self.0.protocol())
    }

    /// Return a copy with another timeout of one state.
    fn set(&self, state: &str, seconds: Span) -> PyResult<Timeouts> {
        self.0.clone().set(state, seconds.0).map(Timeouts).map_err(raise)
    }

    /// Return the seconds of one state; ``None`` if they are not known.
    fn get(&self, state: &str) -> Option<u64> {
        self.0.get(state).map(|timeout| timeout.as_secs())
    }

    /// Return every state whose timeout is set, with its seconds.
    fn items(&self) -> Vec<(&'static str, u64)> {
        self.0.iter().map(|(state, timeout)| (state, timeout.as_secs())).collect()
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<Reduced<'py>> {
        let py = slf.py();
        let seconds = pyo3::types::PyDict::new(py);
        for (state, each) in slf.get().items() {
            seconds.set_item(state, each)?;
        }
        Ok((slf.get_type().into_any(), (slf.get().protocol(), seconds).into_pyobject(py)?))
    }

    fn __repr__(&self) -> String {
        let states: Vec<_> =
            self.items().iter().map(|(state, seconds)| format!("{state}={seconds}")).collect();
        format!("<ctnetlink.Timeouts {} {}>", self.0.protocol(), states.join(" "))
    }
}

copies!(Timeouts);

record! {
    [] [name, family, timeouts, users=None]
    /// A named set of timeouts, which rules attach to connections (``ct timeout`` of nftables).
    TimeoutPolicy {
        /// Name, 31 bytes at most.
        name: String,
        /// Layer 3 protocol. ``None`` is one other than IPv4 and IPv6, which no entry is of.
        family: Option<Family>,
        /// The timeouts, and with them the layer 4 protocol.
        timeouts: Timeouts,
        /// How many rules use the policy; known only of one that was read from the kernel.
        users: Option<u32>,
    }
}

impl From<ctnetlink::TimeoutPolicy> for TimeoutPolicy {
    fn from(policy: ctnetlink::TimeoutPolicy) -> Self {
        let ctnetlink::TimeoutPolicy { name, family, timeouts, users } = policy;
        let family = family.map(Family);
        TimeoutPolicy { name, family, timeouts: Timeouts(timeouts), users }
    }
}

impl From<&TimeoutPolicy> for ctnetlink::TimeoutPolicy {
    fn from(policy: &TimeoutPolicy) -> Self {
        ctnetlink::TimeoutPolicy {
            name: policy.name.clone(),
            family: policy.family.map(|family| family.0),
            timeouts: policy.timeouts.0.clone(),
            users: policy.users,
        }
    }
}
