//! `Flow`, `Tuple`, `Icmp`: values are converted when they are asked for.

use std::net::IpAddr;

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

/// One conntrack entry, as it was dumped.
#[pyclass(frozen, module = "ctnetlink", name = "Flow")]
pub(crate) struct Flow(pub(crate) ctnetlink::Flow);

#[pymethods]
impl Flow {
    #[getter]
    fn family(&self) -> String {
        self.0.family().to_string()
    }

    #[getter]
    fn protocol(&self) -> String {
        self.0.protocol().to_string()
    }

    #[getter]
    fn protocol_number(&self) -> u8 {
        self.0.protocol().0
    }

    #[getter]
    fn orig(&self) -> Tuple {
        Tuple(*self.0.orig())
    }

    #[getter]
    fn reply(&self) -> Tuple {
        Tuple(*self.0.reply())
    }

    #[getter]
    fn status<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        static STATUS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let class = STATUS.import(py, "ctnetlink", "Status")?;
        class.call1((self.0.status().bits(),))
    }

    /// Seconds left.
    #[getter]
    fn timeout(&self) -> Option<u64> {
        self.0.timeout().map(|left| left.as_secs())
    }

    #[getter]
    fn mark(&self) -> Option<u32> {
        self.0.mark()
    }

    #[getter]
    fn zone(&self) -> u16 {
        self.0.zone()
    }

    /// Packets and bytes.
    #[getter]
    fn counters_orig(&self) -> Option<(u64, u64)> {
        self.0.counters_orig().map(|counters| (counters.packets, counters.bytes))
    }

    #[getter]
    fn counters_reply(&self) -> Option<(u64, u64)> {
        self.0.counters_reply().map(|counters| (counters.packets, counters.bytes))
    }

    /// Seconds since the epoch.
    #[getter]
    fn start(&self) -> Option<f64> {
        let start = self.0.timestamps()?.start?;
        Some(start.duration_since(std::time::UNIX_EPOCH).ok()?.as_secs_f64())
    }

    #[getter]
    fn labels(&self) -> Vec<u16> {
        // u16 and not u8, because a `Vec<u8>` would become `bytes`.
        self.0.labels().unwrap_or_default().iter().map(u16::from).collect()
    }

    #[getter]
    fn helper(&self) -> Option<String> {
        self.0.helper().map(std::borrow::Cow::into_owned)
    }

    #[getter]
    fn id(&self) -> Option<u32> {
        self.0.id()
    }

    /// The protocol's state by name, such as `ESTABLISHED`.
    #[getter]
    fn state(&self) -> Option<String> {
        self.0.protocol_state().map(|state| state.to_string())
    }

    fn __str__(&self) -> String {
        self.0.to_string()
    }

    fn __repr__(&self) -> String {
        format!("<ctnetlink.Flow {}>", self.0)
    }
}

/// One direction of an entry.
#[pyclass(frozen, eq, hash, module = "ctnetlink", name = "Tuple")]
#[derive(PartialEq, Eq, Hash)]
pub(crate) struct Tuple(ctnetlink::Tuple);

#[pymethods]
impl Tuple {
    #[getter]
    fn src(&self) -> IpAddr {
        self.0.src()
    }

    #[getter]
    fn dst(&self) -> IpAddr {
        self.0.dst()
    }

    #[getter]
    fn src_port(&self) -> Option<u16> {
        self.0.src_port()
    }

    #[getter]
    fn dst_port(&self) -> Option<u16> {
        self.0.dst_port()
    }

    #[getter]
    fn protocol(&self) -> String {
        self.0.protocol().to_string()
    }

    #[getter]
    fn icmp(&self) -> Option<Icmp> {
        self.0.icmp().map(Icmp)
    }

    #[getter]
    fn zone(&self) -> Option<u16> {
        self.0.zone()
    }

    fn __repr__(&self) -> String {
        format!("<ctnetlink.Tuple {} {}>", self.0.protocol(), self.0)
    }
}

/// ICMP and ICMPv6 fields of a tuple.
#[pyclass(frozen, eq, hash, module = "ctnetlink", name = "Icmp")]
#[derive(PartialEq, Eq, Hash)]
pub(crate) struct Icmp(ctnetlink::Icmp);

#[pymethods]
impl Icmp {
    #[getter]
    fn r#type(&self) -> u8 {
        self.0.kind
    }

    #[getter]
    fn code(&self) -> u8 {
        self.0.code
    }

    #[getter]
    fn id(&self) -> u16 {
        self.0.id
    }

    fn __repr__(&self) -> String {
        format!("<ctnetlink.Icmp type={} code={} id={}>", self.0.kind, self.0.code, self.0.id)
    }
}
