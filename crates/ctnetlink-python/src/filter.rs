//! `Filter`: criteria by keyword, combined with `&`, `|` and `~`.

use ctnetlink::{Addresses, Family, Labels, Ports, Protocol, SctpState, Status, TcpState};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyFrozenSet, PyList, PyRange, PyRangeMethods, PySet, PyTuple};

use crate::capability::{Capabilities, Explanation};
use crate::error::raise;
use crate::flow::Flow;

/// Which entries are meant.
#[pyclass(frozen, eq, module = "ctnetlink", name = "Filter")]
#[derive(Clone, PartialEq)]
pub(crate) struct Filter(pub(crate) ctnetlink::Filter);

/// A mark, or a mark and its mask.
struct Mark(u32, Option<u32>);

impl<'py> FromPyObject<'_, 'py> for Mark {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if let Ok((value, mask)) = object.extract() {
            return Ok(Mark(value, Some(mask)));
        }
        object.extract().map(|value| Mark(value, None)).map_err(|_| {
            PyValueError::new_err("expected a number from 0 to 2**32 - 1, or a pair (value, mask)")
        })
    }
}

/// A protocol by name or number.
pub(crate) struct AnyProtocol(pub(crate) Protocol);

impl<'py> FromPyObject<'_, 'py> for AnyProtocol {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        // A number is judged by the same parser, which says what it expects.
        let text = object.str()?;
        text.to_str()?.parse().map(AnyProtocol).map_err(raise)
    }
}

/// Several things where one is meant: a list, a tuple or a set.
fn members<'py>(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Option<Vec<Bound<'py, PyAny>>>> {
    let several = object.is_instance_of::<PyList>()
        || object.is_instance_of::<PyTuple>()
        || object.is_instance_of::<PySet>()
        || object.is_instance_of::<PyFrozenSet>();
    several.then(|| object.try_iter()?.collect()).transpose()
}

/// Addresses and prefixes: text, objects of `ipaddress`, or several of them.
struct AnyAddresses(Addresses);

impl<'py> FromPyObject<'_, 'py> for AnyAddresses {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        // The objects of `ipaddress` print what the parser reads.
        let one = |object: Borrowed<'_, 'py, PyAny>| -> PyResult<Addresses> {
            object.str()?.to_str()?.parse().map_err(raise)
        };
        let Some(members) = members(object)? else { return one(object).map(AnyAddresses) };
        let mut nets = Vec::new();
        for member in &members {
            nets.extend(one(member.as_borrowed())?.iter());
        }
        Ok(AnyAddresses(nets.into_iter().collect()))
    }
}

/// Ports: a number, a `range`, text, or several of them.
struct AnyPorts(Ports);

impl<'py> FromPyObject<'_, 'py> for AnyPorts {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let one = |object: Borrowed<'_, 'py, PyAny>| -> PyResult<Ports> {
            let Ok(range) = object.cast::<PyRange>() else {
                return object.str()?.to_str()?.parse().map_err(raise);
            };
            let (start, stop, step) = (range.start()?, range.stop()?, range.step()?);
            let bounds = u16::try_from(start).ok().zip(u16::try_from(stop - 1).ok());
            match bounds.filter(|(first, last)| first <= last && step == 1) {
                Some((first, last)) => Ok((first..=last).into()),
                None => Err(PyValueError::new_err(
                    "a range of ports has step 1, is not empty, and lies within 0 to 65535",
                )),
            }
        };
        let Some(members) = members(object)? else { return one(object).map(AnyPorts) };
        let mut ranges = Vec::new();
        for member in &members {
            ranges.extend(one(member.as_borrowed())?.iter());
        }
        Ok(AnyPorts(ranges.into_iter().collect()))
    }
}

/// A number, or a pair of the least and the most, either of which may be `None`.
struct Amount(Limit, Limit);

type Limit = std::ops::Bound<u64>;

impl<'py> FromPyObject<'_, 'py> for Amount {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if let Ok((least, most)) = object.extract::<(Option<u64>, Option<u64>)>() {
            let bound = |number: Option<u64>| number.map_or(Limit::Unbounded, Limit::Included);
            return Ok(Amount(bound(least), bound(most)));
        }
        let exact = |number| Amount(Limit::Included(number), Limit::Included(number));
        object.extract().map(exact).map_err(|_| {
            PyValueError::new_err(
                "expected a number from 0 on, or a pair (least, most) in which None is no limit",
            )
        })
    }
}

/// Several label bits, or one.
#[derive(FromPyObject)]
enum AnyLabels {
    One(u8),
    Several(Vec<u8>),
}

#[pymethods]
impl Filter {
    #[new]
    #[pyo3(signature = (
        *, family=None, protocol=None, orig_src=None, orig_dst=None, reply_src=None,
        reply_dst=None, orig_src_port=None, orig_dst_port=None, reply_src_port=None,
        reply_dst_port=None, host=None, icmp_type=None, icmp_code=None, icmp_id=None, status=None,
        status_unset=None, snat=None, dnat=None, nat=None, unreplied=None, mark=None, zone=None,
        orig_zone=None, reply_zone=None, label=None, helper=None, tcp_state=None, sctp_state=None,
        timeout=None, age=None, packets=None, orig_packets=None, reply_packets=None, bytes=None,
        orig_bytes=None, reply_bytes=None
    ))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        family: Option<&str>,
        protocol: Option<AnyProtocol>,
        orig_src: Option<AnyAddresses>,
        orig_dst: Option<AnyAddresses>,
        reply_src: Option<AnyAddresses>,
        reply_dst: Option<AnyAddresses>,
        orig_src_port: Option<AnyPorts>,
        orig_dst_port: Option<AnyPorts>,
        reply_src_port: Option<AnyPorts>,
        reply_dst_port: Option<AnyPorts>,
        host: Option<AnyAddresses>,
        icmp_type: Option<u8>,
        icmp_code: Option<u8>,
        icmp_id: Option<u16>,
        status: Option<u32>,
        status_unset: Option<u32>,
        snat: Option<bool>,
        dnat: Option<bool>,
        nat: Option<bool>,
        unreplied: Option<bool>,
        mark: Option<Mark>,
        zone: Option<u16>,
        orig_zone: Option<u16>,
        reply_zone: Option<u16>,
        label: Option<AnyLabels>,
        helper: Option<&str>,
        tcp_state: Option<&str>,
        sctp_state: Option<&str>,
        timeout: Option<Amount>,
        age: Option<Amount>,
        packets: Option<Amount>,
        orig_packets: Option<Amount>,
        reply_packets: Option<Amount>,
        bytes: Option<Amount>,
        orig_bytes: Option<Amount>,
        reply_bytes: Option<Amount>,
    ) -> PyResult<Self> {
        use ctnetlink::Filter as F;
        let family = family.map(str::parse::<Family>).transpose().map_err(raise)?;
        let tcp_state = tcp_state.map(str::parse::<TcpState>).transpose().map_err(raise)?;
        let sctp_state = sctp_state.map(str::parse::<SctpState>).transpose().map_err(raise)?;
        let wanted = |filter: F, wanted: bool| if wanted { filter } else { !filter };
        let filter = [
            family.map(F::family),
            protocol.map(|AnyProtocol(protocol)| F::protocol(protocol)),
            orig_src.map(|AnyAddresses(set)| F::orig_src_in(set)),
            orig_dst.map(|AnyAddresses(set)| F::orig_dst_in(set)),
            reply_src.map(|AnyAddresses(set)| F::reply_src_in(set)),
            reply_dst.map(|AnyAddresses(set)| F::reply_dst_in(set)),
            orig_src_port.map(|AnyPorts(set)| F::orig_src_port_in(set)),
            orig_dst_port.map(|AnyPorts(set)| F::orig_dst_port_in(set)),
            reply_src_port.map(|AnyPorts(set)| F::reply_src_port_in(set)),
            reply_dst_port.map(|AnyPorts(set)| F::reply_dst_port_in(set)),
            host.map(|AnyAddresses(set)| F::host_in(set)),
            icmp_type.map(F::icmp_type),
            icmp_code.map(F::icmp_code),
            icmp_id.map(F::icmp_id),
            status.map(|bits| F::status_set(Status::from_bits_retain(bits))),
            status_unset.map(|bits| F::status_unset(Status::from_bits_retain(bits))),
            snat.map(|yes| wanted(F::snat(), yes)),
            dnat.map(|yes| wanted(F::dnat(), yes)),
            nat.map(|yes| wanted(F::nat(), yes)),
            unreplied.map(|yes| wanted(F::unreplied(), yes)),
            mark.map(|Mark(value, mask)| match mask {
                Some(mask) => F::mark_masked(value, mask),
                None => F::mark(value),
            }),
            zone.map(F::zone),
            orig_zone.map(F::orig_zone),
            reply_zone.map(F::reply_zone),
            label.map(|label| match label {
                AnyLabels::One(bit) => F::label(bit),
                AnyLabels::Several(bits) => bits
                    .into_iter()
                    .map(F::label)
                    .reduce(|all, one| all & one)
                    .unwrap_or_else(|| F::labels(Labels::default())),
            }),
            helper.map(F::helper),
            tcp_state.map(F::tcp_state),
            sctp_state.map(F::sctp_state),
            timeout.map(|Amount(least, most)| F::timeout((least, most))),
            age.map(|Amount(least, most)| F::age((least, most))),
            packets.map(|Amount(least, most)| F::packets((least, most))),
            orig_packets.map(|Amount(least, most)| F::orig_packets((least, most))),
            reply_packets.map(|Amount(least, most)| F::reply_packets((least, most))),
            bytes.map(|Amount(least, most)| F::bytes((least, most))),
            orig_bytes.map(|Amount(least, most)| F::orig_bytes((least, most))),
            reply_bytes.map(|Amount(least, most)| F::reply_bytes((least, most))),
        ]
        .into_iter()
        .flatten()
        .reduce(|all, one| all & one);
        filter.map(Filter).ok_or_else(|| {
            PyValueError::new_err("an empty filter is not a filter: name a criterion")
        })
    }

    #[staticmethod]
    fn parse(text: &str) -> PyResult<Self> {
        text.parse().map(Filter).map_err(raise)
    }

    fn matches(&self, flow: &Flow) -> bool {
        self.0.matches(&flow.0)
    }

    fn explain(&self, capabilities: &Capabilities) -> PyResult<Explanation> {
        self.0.explain(&capabilities.0).map(Explanation).map_err(raise)
    }

    fn __and__(&self, other: &Filter) -> Filter {
        Filter(self.0.clone() & other.0.clone())
    }

    fn __or__(&self, other: &Filter) -> Filter {
        Filter(self.0.clone() | other.0.clone())
    }

    fn __invert__(&self) -> Filter {
        Filter(!self.0.clone())
    }

    fn __str__(&self) -> String {
        self.0.to_string()
    }

    fn __repr__(&self) -> String {
        format!("<ctnetlink.Filter {}>", self.0)
    }
}

/// A filter as an object or as text.
#[derive(FromPyObject)]
pub(crate) enum AnyFilter<'py> {
    Object(Bound<'py, Filter>),
    Text(String),
}

/// The filter of a call that takes one, or its keywords, or neither. A keyword that is `None` is
/// one not given.
pub(crate) fn from_call(
    py: Python<'_>,
    filter: Option<AnyFilter<'_>>,
    criteria: Option<&Bound<'_, PyDict>>,
) -> PyResult<Option<ctnetlink::Filter>> {
    let filter = filter
        .map(|filter| match filter {
            AnyFilter::Object(filter) => Ok(filter.get().0.clone()),
            AnyFilter::Text(text) => text.parse().map_err(raise),
        })
        .transpose()?;
    let given = criteria.filter(|c| c.is_empty() || c.values().iter().any(|v| !v.is_none()));
    match (filter, given.filter(|criteria| !criteria.is_empty())) {
        (filter, None) => {
            // Unknown keywords are refused all the same.
            if let Some(criteria) = criteria.filter(|criteria| !criteria.is_empty()) {
                let named = criteria.copy()?;
                named.set_item("zone", 0)?;
                py.get_type::<Filter>().call((), Some(&named))?;
            }
            Ok(filter)
        }
        (None, Some(criteria)) => {
            let made = py.get_type::<Filter>().call((), Some(criteria))?;
            Ok(Some(made.cast::<Filter>()?.get().0.clone()))
        }
        (Some(_), Some(_)) => {
            Err(PyTypeError::new_err("give a Filter or keywords, not both; combine filters with &"))
        }
    }
}
