//! `Flow`: values are converted when they are asked for.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::extension::{Counters, ProtocolState, SeqAdj, SynProxy};
use crate::key::Key;
use crate::record::copies;
use crate::tuple::{Tuple, unknown};
use crate::value::{Family, Protocol, SctpState, Status, TcpState, seconds_since_epoch};

/// One conntrack entry, as it was dumped. ``str()`` is the line ``conntrack -L`` prints.
///
/// Two flows are equal if the kernel reported both in the same bytes; one whose timeout has gone on is
/// another value. ``key()`` tells whether they are one entry.
#[pyclass(frozen, eq, hash, from_py_object, module = "ctnetlink", name = "Flow")]
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Flow(pub(crate) ctnetlink::Flow);

#[pymethods]
impl Flow {
    /// Read the bytes of an entry as ``payload`` gives them.
    ///
    /// Bytes that are no entry are a ``DecodeError``.
    #[staticmethod]
    fn parse(payload: &[u8]) -> PyResult<Flow> {
        let flow = ctnetlink::FlowRef::parse(payload);
        let flow = flow.map_err(|error| crate::error::DecodeError::new_err(error.to_string()))?;
        Ok(Flow(flow.to_owned()))
    }

    /// Address family of the entry.
    #[getter]
    fn family(&self) -> Family {
        Family(self.0.family())
    }

    /// Name of the protocol (``udp``), or its number in digits.
    #[getter]
    fn protocol(&self) -> Protocol {
        Protocol(self.0.protocol())
    }

    /// Number of the protocol.
    #[getter]
    fn protocol_number(&self) -> u8 {
        self.0.protocol().0
    }

    /// The original direction: who connected, and to which frontend.
    #[getter]
    fn orig(&self) -> Tuple {
        Tuple(*self.0.orig())
    }

    /// The reply direction: which backend answers, and to whom.
    #[getter]
    fn reply(&self) -> Tuple {
        Tuple(*self.0.reply())
    }

    /// Status bits; ``str()`` of them is their names.
    #[getter]
    fn status(&self) -> Status {
        Status(self.0.status())
    }

    /// Seconds left; ``None`` for offloaded entries.
    #[getter]
    fn timeout(&self) -> Option<u64> {
        self.0.timeout().map(|left| left.as_secs())
    }

    /// Connection mark; ``None`` where the kernel has none.
    #[getter]
    fn mark(&self) -> Option<u32> {
        self.0.mark()
    }

    /// Zone of the entry, 0 by default.
    #[getter]
    fn zone(&self) -> u16 {
        self.0.zone()
    }

    /// Counters of the original direction; ``None`` without ``nf_conntrack_acct``.
    #[getter]
    fn counters_orig(&self) -> Option<Counters> {
        self.0.counters_orig().map(Counters::from)
    }

    /// Counters of the reply direction; ``None`` without ``nf_conntrack_acct``.
    #[getter]
    fn counters_reply(&self) -> Option<Counters> {
        self.0.counters_reply().map(Counters::from)
    }

    /// When the entry was made, seconds since the epoch (``nf_conntrack_timestamp``).
    #[getter]
    fn start(&self) -> Option<f64> {
        self.0.timestamps()?.start.and_then(seconds_since_epoch)
    }

    /// When the entry ended, seconds since the epoch; only in destroy events.
    #[getter]
    fn stop(&self) -> Option<f64> {
        self.0.timestamps()?.stop.and_then(seconds_since_epoch)
    }

    /// When the event happened, seconds since the epoch; only in events (Linux 6.14).
    #[getter]
    fn event_time(&self) -> Option<f64> {
        self.0.event_time().and_then(seconds_since_epoch)
    }

    /// The numbers of the label bits that are set.
    #[getter]
    fn labels(&self) -> Vec<u16> {
        // u16 and not u8, because a `Vec<u8>` would become `bytes`.
        self.0.labels().unwrap_or_default().iter().map(u16::from).collect()
    }

    /// Name of the helper; ``None`` without one.
    #[getter]
    fn helper(&self) -> Option<String> {
        self.0.helper().map(std::borrow::Cow::into_owned)
    }

    /// Stable over the entry's life, but not unique over time.
    #[getter]
    fn id(&self) -> Option<u32> {
        self.0.id()
    }

    /// State of a TCP, SCTP or DCCP entry by name, such as ``ESTABLISHED``.
    #[getter]
    fn state<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        use ctnetlink::ProtocolState as State;
        Ok(Some(match self.0.protocol_state() {
            None => return Ok(None),
            Some(State::Tcp { state: Some(state), .. }) => TcpState(state).into_pyobject(py)?,
            Some(State::Sctp { state: Some(state), .. }) => SctpState(state).into_pyobject(py)?,
            Some(other) => other.to_string().into_pyobject(py)?.into_any(),
        }))
    }

    /// Everything the kernel says of the protocol's state; ``None`` for protocols without.
    #[getter]
    fn protocol_state(&self) -> Option<ProtocolState> {
        self.0.protocol_state().and_then(ProtocolState::of)
    }

    /// The original tuple of the entry that expected this one.
    #[getter]
    fn master(&self) -> Option<Tuple> {
        self.0.master().map(Tuple)
    }

    /// Sequence adjustment of the original direction.
    #[getter]
    fn seq_adj_orig(&self) -> Option<SeqAdj> {
        self.0.seq_adj_orig().map(SeqAdj::from)
    }

    /// Sequence adjustment of the reply direction.
    #[getter]
    fn seq_adj_reply(&self) -> Option<SeqAdj> {
        self.0.seq_adj_reply().map(SeqAdj::from)
    }

    /// State of the SYN proxy.
    #[getter]
    fn synproxy(&self) -> Option<SynProxy> {
        self.0.synproxy().map(SynProxy::from)
    }

    /// Security context (SELinux).
    #[getter]
    fn security_context(&self) -> Option<String> {
        self.0.security_context().map(std::borrow::Cow::into_owned)
    }

    /// References the kernel holds to the entry.
    #[getter]
    fn use_count(&self) -> Option<u32> {
        self.0.use_count()
    }

    /// The bytes as the kernel sent them: ``nfgenmsg`` and attributes. ``Flow.parse()`` reads them.
    #[getter]
    fn payload<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, self.0.payload())
    }

    /// Return the raw value of a top-level attribute (``CTA_*``) by number; ``None`` if it is absent.
    fn attribute<'py>(&self, py: Python<'py>, kind: u16) -> Option<Bound<'py, PyBytes>> {
        self.0.attribute(kind).map(|value| PyBytes::new(py, value))
    }

    /// Return all top-level attributes as ``(number, value)``, in the order the kernel sent them.
    fn attributes<'py>(&self, py: Python<'py>) -> Vec<(u16, Bound<'py, PyBytes>)> {
        self.0.attributes().map(|a| (a.kind, PyBytes::new(py, a.value))).collect()
    }

    /// Return the name of exactly this entry: reply tuple, zone and id.
    ///
    /// Two dumps of one entry give the same key, whatever else has changed in the meantime.
    fn key(&self) -> Key {
        Key(self.0.key())
    }

    /// Return the entry as ``conntrack -L`` prints it; ``extended`` adds what ``-o extended`` adds.
    ///
    /// ``id`` adds the id, as ``-o id`` does.
    #[pyo3(signature = (*, extended=false, id=false))]
    fn line(&self, extended: bool, id: bool) -> String {
        let line = self.0.line();
        let line = if extended { line.extended() } else { line };
        if id { line.id().to_string() } else { line.to_string() }
    }

    /// Return the entry as JSON text, with stable names. Fields that it does not have are left out.
    fn json(&self) -> PyResult<String> {
        serde_json::to_string(&self.0).map_err(|error| PyValueError::new_err(error.to_string()))
    }

    /// Return the entry as a ``dict`` of plain values, with the names of ``json()``.
    fn to_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        py.import("json")?.getattr("loads")?.call1((self.json()?,))
    }

    fn __getattr__(&self, name: &str) -> PyResult<()> {
        Err(unknown("Flow", name))
    }

    fn __reduce__<'py>(
        slf: &Bound<'py, Self>,
    ) -> PyResult<(Bound<'py, PyAny>, (Bound<'py, PyBytes>,))> {
        let payload = PyBytes::new(slf.py(), slf.get().0.payload());
        Ok((slf.get_type().getattr("parse")?, (payload,)))
    }

    fn __str__(&self) -> String {
        self.0.to_string()
    }

    fn __repr__(&self) -> String {
        format!("<ctnetlink.Flow {}>", self.0)
    }
}

copies!(Flow);
