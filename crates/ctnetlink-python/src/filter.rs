//! `Filter`: criteria by keyword or as text, combined with `&`, `|` and `~`.

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};

use crate::capability::Capabilities;
use crate::error::raise;
use crate::explanation::Explanation;
use crate::flow::Flow;
use crate::keyword;
use crate::record::{Reduced, copies};

/// Selects entries. Combine with ``&``, ``|`` and ``~``.
///
/// An entry must match all keywords. If a keyword has several values (a list, a set, a generator), the
/// entry must match any of them. Addresses are text (``10.0.0.0/8``) or objects of ``ipaddress``;
/// ``host`` is in any of the four places. Ports are numbers, ``range`` objects or text (``8000-8080``).
/// ``protocol`` is a name or a number. ``status`` means that all of these bits are set,
/// ``status_unset`` that none of them is; they are a ``Status``, a number or names. ``mark`` is the
/// whole mark, or ``(value, mask)``. ``label`` is a bit, ``labels`` are bits all of which are set.
/// ``timeout`` and ``age`` (seconds), ``packets`` and ``bytes`` are a number or ``(least, most)``, where
/// ``None`` is no limit. ``snat``, ``dnat``, ``nat`` and ``unreplied`` are required with ``True`` and
/// excluded with ``False``. A value that cannot be used is a ``ValueError`` or ``TypeError`` that names
/// the keyword; a filter without any keyword is a ``ValueError``.
///
/// An entry that does not have an amount (an offloaded one has no timeout) matches neither ``timeout``
/// nor its negation.
#[pyclass(frozen, eq, hash, module = "ctnetlink", name = "Filter")]
#[derive(Clone, PartialEq)]
pub(crate) struct Filter(pub(crate) ctnetlink::Filter);

#[pymethods]
impl Filter {
    #[new]
    #[pyo3(
        signature = (**criteria),
        text_signature = "(*, family=None, protocol=None, orig_src=None, orig_dst=None, \
            reply_src=None, reply_dst=None, orig_src_port=None, orig_dst_port=None, \
            reply_src_port=None, reply_dst_port=None, host=None, icmp_type=None, icmp_code=None, \
            icmp_id=None, status=None, status_unset=None, snat=None, dnat=None, nat=None, \
            unreplied=None, mark=None, zone=None, orig_zone=None, reply_zone=None, label=None, \
            labels=None, helper=None, tcp_state=None, sctp_state=None, timeout=None, age=None, packets=None, \
            orig_packets=None, reply_packets=None, bytes=None, orig_bytes=None, reply_bytes=None)"
    )]
    fn new(criteria: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        keyword::conjunction(criteria)?.map(Filter).ok_or_else(empty)
    }

    /// The names of the keywords that make a filter, in the order of the signature.
    #[classattr]
    #[pyo3(name = "KEYWORDS")]
    fn keywords(py: Python<'_>) -> PyResult<Bound<'_, PyTuple>> {
        PyTuple::new(py, keyword::names().collect::<Vec<_>>())
    }

    /// Parse text such as ``udp and orig dst port 53 and not reply src 10.244.1.5``.
    ///
    /// ``str()`` of a filter is such a text. A mistake is a ``FilterSyntaxError``, which names the column
    /// and what was expected there.
    #[staticmethod]
    fn parse(text: &str) -> PyResult<Self> {
        text.parse().map(Filter).map_err(raise)
    }

    /// Return any of these filters: ``a | b | c``, in linear time. None at all is a ``ValueError``.
    #[staticmethod]
    fn any(filters: &Bound<'_, PyAny>) -> PyResult<Self> {
        several(filters, ctnetlink::Filter::any)
    }

    /// Return all of these filters: ``a & b & c``, in linear time. None at all is a ``ValueError``.
    #[staticmethod]
    fn all(filters: &Bound<'_, PyAny>) -> PyResult<Self> {
        several(filters, ctnetlink::Filter::all)
    }

    /// Return why the filter can match no entry at all; ``None`` if that cannot be seen from it.
    ///
    /// ``udp and tcp`` contradicts itself, and no packet is sent to ``orig dst 0.0.0.0``.
    fn never_matches(&self) -> Option<String> {
        self.0.never_matches()
    }

    /// Return whether the filter selects an entry.
    fn matches(&self, flow: &Flow) -> bool {
        self.0.matches(&flow.0)
    }

    /// Say what the kernel would be asked to filter by, and why it is not asked for more.
    fn explain(&self, capabilities: &Capabilities) -> PyResult<Explanation> {
        self.0.explain(&capabilities.0).map(Explanation::from).map_err(raise)
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

    /// Without this error, `a and b` would be `b` alone and match more than intended.
    fn __bool__(&self) -> PyResult<bool> {
        Err(PyTypeError::new_err(
            "a filter is neither true nor false: combine filters with &, | and ~",
        ))
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<Reduced<'py>> {
        let text = slf.get().0.to_string();
        Ok((slf.get_type().getattr("parse")?, (text,).into_pyobject(slf.py())?))
    }

    fn __str__(&self) -> String {
        self.0.to_string()
    }

    fn __repr__(&self) -> String {
        format!("<ctnetlink.Filter {}>", self.0)
    }
}

impl std::hash::Hash for Filter {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.to_string().hash(state);
    }
}

copies!(Filter);

fn several(
    filters: &Bound<'_, PyAny>,
    combine: fn(Vec<ctnetlink::Filter>) -> ctnetlink::Filter,
) -> PyResult<Filter> {
    let each = filters.try_iter()?.map(|filter| Ok(filter?.extract::<AnyFilter>()?.0));
    let combined = combine(each.collect::<PyResult<_>>()?);
    combined.check().map_err(raise)?;
    Ok(Filter(combined))
}

fn empty() -> PyErr {
    PyValueError::new_err("an empty filter would select everything: give at least one criterion")
}

/// A filter as an object or as text.
pub(crate) struct AnyFilter(ctnetlink::Filter);

impl<'py> FromPyObject<'_, 'py> for AnyFilter {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if let Ok(filter) = object.cast::<Filter>() {
            return Ok(AnyFilter(filter.get().0.clone()));
        }
        match object.cast::<PyString>() {
            Ok(text) => text.extract::<String>()?.parse().map(AnyFilter).map_err(raise),
            Err(_) => {
                let kind = object.get_type();
                Err(PyTypeError::new_err(format!(
                    "expected a Filter or text, not {}",
                    kind.name()?
                )))
            }
        }
    }
}

/// The filter of a call that takes a filter, keywords or neither. A keyword that is `None` counts
/// as not given.
pub(crate) fn from_call(
    filter: Option<AnyFilter>,
    criteria: Option<&Bound<'_, PyDict>>,
) -> PyResult<Option<ctnetlink::Filter>> {
    match (filter, keyword::conjunction(criteria)?) {
        (Some(_), Some(_)) => {
            Err(PyTypeError::new_err("give a Filter or keywords, not both; combine filters with &"))
        }
        (Some(AnyFilter(filter)), None) => Ok(Some(filter)),
        (None, keywords) => Ok(keywords),
    }
}

/// The filter of a call that needs one, because without it every entry would match.
pub(crate) fn required(
    filter: Option<AnyFilter>,
    criteria: Option<&Bound<'_, PyDict>>,
) -> PyResult<ctnetlink::Filter> {
    from_call(filter, criteria)?.ok_or_else(empty)
}
