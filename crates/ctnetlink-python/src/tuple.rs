//! `Tuple` and `Icmp`: one direction of an entry.

use pyo3::exceptions::{PyAttributeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::record::{Made, Reduced, copies, record};
use crate::value::{Address, Protocol, Socket, socket};

record! {
    [hash] []
    /// ICMP and ICMPv6 fields of a tuple.
    #[derive(Eq, Hash, Copy)]
    Icmp {
        /// Type of the message.
        r#type: u8,
        /// Code of the message.
        code: u8,
        /// Identifier of the message.
        id: u16,
    }
}

impl Icmp {
    pub(crate) fn of(icmp: ctnetlink::Icmp) -> Icmp {
        Icmp { r#type: icmp.kind, code: icmp.code, id: icmp.id }
    }
}

/// One direction of an entry: addresses, protocol, and ports or ICMP fields.
///
/// ``Tuple("udp", "10.0.0.1", "10.96.0.10", 1001, 53)``. Protocols without ports have none; for GRE
/// the ports are the keys. ``icmp`` makes an ICMP tuple, or an ICMPv6 one if the addresses are IPv6.
/// ``zone`` is a zone that applies to this direction only.
#[pyclass(frozen, eq, hash, from_py_object, module = "ctnetlink", name = "Tuple")]
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Tuple(pub(crate) ctnetlink::Tuple);

#[pymethods]
impl Tuple {
    #[new]
    #[pyo3(signature = (protocol, src, dst, src_port=None, dst_port=None, *, icmp=None, zone=None))]
    fn new(
        protocol: Protocol,
        src: Address,
        dst: Address,
        src_port: Option<u16>,
        dst_port: Option<u16>,
        icmp: Option<Icmp>,
        zone: Option<u16>,
    ) -> PyResult<Self> {
        let tuple = match (src_port, dst_port, icmp) {
            (None, None, None) => ctnetlink::Tuple::new(protocol.0, src.0, dst.0),
            (Some(from), Some(to), None) => {
                ctnetlink::Tuple::with_ports(protocol.0, (src.0, from).into(), (dst.0, to).into())
            }
            (None, None, Some(Icmp { r#type: kind, code, id })) => {
                let icmp = ctnetlink::Icmp { kind, code, id };
                let tuple = ctnetlink::Tuple::with_icmp(src.0, dst.0, icmp);
                if tuple.protocol() != protocol.0 {
                    return Err(PyTypeError::new_err(format!(
                        "icmp= with these addresses is protocol {}, not {}",
                        tuple.protocol(),
                        protocol.0
                    )));
                }
                tuple
            }
            _ => return Err(PyTypeError::new_err("give both ports, or icmp=, or neither")),
        };
        Ok(Tuple(zone.map_or(tuple, |zone| tuple.in_zone(zone))))
    }

    #[classattr]
    #[pyo3(name = "__match_args__")]
    fn match_args() -> (&'static str, &'static str, &'static str, &'static str, &'static str) {
        ("protocol", "src", "dst", "src_port", "dst_port")
    }

    /// Source address.
    #[getter]
    fn src(&self) -> Address {
        Address(self.0.src())
    }

    /// Destination address.
    #[getter]
    fn dst(&self) -> Address {
        Address(self.0.dst())
    }

    /// Source port; ``None`` for protocols without ports. For GRE the key.
    #[getter]
    fn src_port(&self) -> Option<u16> {
        self.0.src_port()
    }

    /// Destination port; ``None`` for protocols without ports. For GRE the key.
    #[getter]
    fn dst_port(&self) -> Option<u16> {
        self.0.dst_port()
    }

    /// Source as ``(address, port)``; the port is 0 for protocols without ports.
    #[getter]
    fn source(&self) -> Socket {
        socket(self.0.source())
    }

    /// Destination as ``(address, port)``; the port is 0 for protocols without ports.
    #[getter]
    fn destination(&self) -> Socket {
        socket(self.0.destination())
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

    /// ICMP or ICMPv6 fields; ``None`` for other protocols.
    #[getter]
    fn icmp(&self) -> Option<Icmp> {
        self.0.icmp().map(Icmp::of)
    }

    /// The zone, if it applies to this direction only.
    #[getter]
    fn zone(&self) -> Option<u16> {
        self.0.zone()
    }

    /// Return the same tuple with a zone that applies to its direction only.
    fn in_zone(&self, zone: u16) -> Tuple {
        Tuple(self.0.in_zone(zone))
    }

    /// Return what the other direction looks like without NAT.
    ///
    /// ``None`` for an ICMP type that has no answer. The zone of one direction does not carry over.
    fn inverse(&self) -> Option<Tuple> {
        self.0.inverse().map(Tuple)
    }

    fn __getattr__(&self, name: &str) -> PyResult<()> {
        Err(unknown("Tuple", name))
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<Reduced<'py>> {
        let (py, tuple) = (slf.py(), slf.get());
        let parts = PyDict::new(py);
        parts.set_item("protocol", tuple.protocol())?;
        parts.set_item("src", tuple.src())?;
        parts.set_item("dst", tuple.dst())?;
        parts.set_item("src_port", tuple.src_port())?;
        parts.set_item("dst_port", tuple.dst_port())?;
        parts.set_item("icmp", tuple.icmp())?;
        parts.set_item("zone", tuple.zone())?;
        Made::of(parts).reduce_by(slf.get_type().as_any())
    }

    fn __str__(&self) -> String {
        self.0.to_string()
    }

    fn __repr__(&self) -> String {
        format!("<ctnetlink.Tuple {} {}>", self.0.protocol(), self.0)
    }
}

copies!(Tuple);

/// What other tools call what is meant.
const FOREIGN: [(&str, &str); 18] = [
    ("saddr", "orig.src"),
    ("daddr", "orig.dst"),
    ("sport", "orig.src_port"),
    ("dport", "orig.dst_port"),
    ("sourceport", "orig.src_port"),
    ("tuple_orig", "orig"),
    ("tuple_reply", "reply"),
    ("tuple_master", "master"),
    ("proto", "protocol"),
    ("l4proto", "protocol"),
    ("counters", "counters_orig and counters_reply"),
    ("packets", "counters_orig.packets"),
    ("bytes", "counters_orig.bytes"),
    ("timestamp", "start and stop"),
    ("secctx", "security_context"),
    ("use", "use_count"),
    ("protoinfo", "protocol_state"),
    ("get_attr", "the properties, or attribute()"),
];

/// The error for an attribute that does not exist, with the name that is meant.
pub(crate) fn unknown(class: &str, name: &str) -> PyErr {
    let meant = FOREIGN.iter().find(|(foreign, _)| *foreign == name).map(|(_, own)| *own);
    let meant =
        meant.map(|own| if class == "Tuple" { own.trim_start_matches("orig.") } else { own });
    let hint = meant.map_or_else(String::new, |own| format!("; here it is {own}"));
    PyAttributeError::new_err(format!("'{class}' object has no attribute '{name}'{hint}"))
}
