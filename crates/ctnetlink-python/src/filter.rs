//! `Filter`: criteria by keyword, combined with `&`, `|` and `~`.

use std::net::IpAddr;

use ctnetlink::{Family, Protocol, Status};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyDict;

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

#[pymethods]
impl Filter {
    #[new]
    #[pyo3(signature = (
        *, family=None, protocol=None, orig_src=None, orig_dst=None, reply_src=None,
        reply_dst=None, orig_src_port=None, orig_dst_port=None, reply_src_port=None,
        reply_dst_port=None, status=None, status_unset=None, mark=None, zone=None
    ))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        family: Option<&str>,
        protocol: Option<AnyProtocol>,
        orig_src: Option<IpAddr>,
        orig_dst: Option<IpAddr>,
        reply_src: Option<IpAddr>,
        reply_dst: Option<IpAddr>,
        orig_src_port: Option<u16>,
        orig_dst_port: Option<u16>,
        reply_src_port: Option<u16>,
        reply_dst_port: Option<u16>,
        status: Option<u32>,
        status_unset: Option<u32>,
        mark: Option<Mark>,
        zone: Option<u16>,
    ) -> PyResult<Self> {
        use ctnetlink::Filter as F;
        let family = family.map(str::parse::<Family>).transpose().map_err(raise)?;
        [
            family.map(F::family),
            protocol.map(|AnyProtocol(protocol)| F::protocol(protocol)),
            orig_src.map(F::orig_src),
            orig_dst.map(F::orig_dst),
            reply_src.map(F::reply_src),
            reply_dst.map(F::reply_dst),
            orig_src_port.map(F::orig_src_port),
            orig_dst_port.map(F::orig_dst_port),
            reply_src_port.map(F::reply_src_port),
            reply_dst_port.map(F::reply_dst_port),
            status.map(|bits| F::status_set(Status::from_bits_retain(bits))),
            status_unset.map(|bits| F::status_unset(Status::from_bits_retain(bits))),
            mark.map(|Mark(value, mask)| match mask {
                Some(mask) => F::mark_masked(value, mask),
                None => F::mark(value),
            }),
            zone.map(F::zone),
        ]
        .into_iter()
        .flatten()
        .reduce(|all, one| all & one)
        .map(Filter)
        .ok_or_else(|| PyValueError::new_err("an empty filter is not a filter: name a criterion"))
    }

    #[staticmethod]
    fn parse(text: &str) -> PyResult<Self> {
        text.parse().map(Filter).map_err(raise)
    }

    fn matches(&self, flow: &Flow) -> bool {
        self.0.matches(&flow.0)
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
