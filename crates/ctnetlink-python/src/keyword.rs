//! Criteria by keyword: what Python objects mean, with errors that name the keyword.
//!
//! Numbers are `int` (never `bool`). Of several values for one keyword, any may match.

use std::ops::Bound as Limit;

use ctnetlink::{Addresses, Filter, IpNet, Ports, Protocol, Status};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyInt, PyRange, PyRangeMethods, PyString, PyTuple};

use crate::error::raise;
use crate::new_entry::bits;
use crate::value::{Family, Span};

type Value<'a, 'py> = &'a Bound<'py, PyAny>;

/// The conjunction of all keywords that are not `None`; `None` if all of them are.
pub(crate) fn conjunction(criteria: Option<&Bound<'_, PyDict>>) -> PyResult<Option<Filter>> {
    let mut all: Option<Filter> = None;
    for (key, value) in criteria.into_iter().flatten() {
        let key = key.extract::<String>()?;
        // An unknown keyword is an error, also with the value None.
        let constructor = constructor(&key)?;
        if value.is_none() {
            continue;
        }
        let filter = constructor(&value).and_then(|filter| {
            filter.check().map_err(raise)?;
            Ok(filter)
        });
        let filter = filter.map_err(|error| {
            let py = value.py();
            let text = error.value(py).to_string();
            let text = text.strip_prefix("filter: ").unwrap_or(&text);
            let text = format!("{key}: {text}");
            match error.is_instance_of::<PyTypeError>(py) {
                true => PyTypeError::new_err(text),
                false => PyValueError::new_err(text),
            }
        })?;
        all = Some(match all {
            Some(all) => all & filter,
            None => filter,
        });
    }
    Ok(all)
}

/// Makes a filter of a keyword's value.
type Constructor = fn(Value<'_, '_>) -> PyResult<Filter>;

/// Every keyword with its constructor, in the order of the stubs. This is the only list: the error
/// text and `Filter.KEYWORDS` are made from it, and the tests compare the signature of `Filter` and
/// the stubs with it.
const KEYWORDS: [(&str, Constructor); 37] = [
    ("family", |v| any_of(v, |v| Ok(v.extract::<Family>()?.0), Filter::family)),
    ("protocol", |v| any_of(v, protocol, Filter::protocol)),
    ("orig_src", |v| addresses(v).map(Filter::orig_src_in)),
    ("orig_dst", |v| addresses(v).map(Filter::orig_dst_in)),
    ("reply_src", |v| addresses(v).map(Filter::reply_src_in)),
    ("reply_dst", |v| addresses(v).map(Filter::reply_dst_in)),
    ("orig_src_port", |v| ports(v).map(Filter::orig_src_port_in)),
    ("orig_dst_port", |v| ports(v).map(Filter::orig_dst_port_in)),
    ("reply_src_port", |v| ports(v).map(Filter::reply_src_port_in)),
    ("reply_dst_port", |v| ports(v).map(Filter::reply_dst_port_in)),
    ("host", |v| addresses(v).map(Filter::host_in)),
    ("icmp_type", |v| any_of(v, |v| integer(v, u8::MAX), Filter::icmp_type)),
    ("icmp_code", |v| any_of(v, |v| integer(v, u8::MAX), Filter::icmp_code)),
    ("icmp_id", |v| any_of(v, |v| integer(v, u16::MAX), Filter::icmp_id)),
    ("status", |v| status(v).map(Filter::status_set)),
    ("status_unset", |v| status(v).map(Filter::status_unset)),
    ("snat", |v| flag(v, Filter::snat())),
    ("dnat", |v| flag(v, Filter::dnat())),
    ("nat", |v| flag(v, Filter::nat())),
    ("unreplied", |v| flag(v, Filter::unreplied())),
    ("mark", |v| mark(v)),
    ("zone", |v| any_of(v, |v| integer(v, u16::MAX), Filter::zone)),
    ("orig_zone", |v| any_of(v, |v| integer(v, u16::MAX), Filter::orig_zone)),
    ("reply_zone", |v| any_of(v, |v| integer(v, u16::MAX), Filter::reply_zone)),
    ("label", |v| any_of(v, |v| integer(v, 127_u8), Filter::label)),
    ("labels", |v| bits(v).map(Filter::labels)),
    ("helper", |v| any_of(v, |v| text(v, "text"), Filter::helper)),
    ("tcp_state", |v| any_of(v, parsed, Filter::tcp_state)),
    ("sctp_state", |v| any_of(v, parsed, Filter::sctp_state)),
    ("timeout", |v| amount(v).map(Filter::timeout)),
    ("age", |v| amount(v).map(Filter::age)),
    ("packets", |v| amount(v).map(Filter::packets)),
    ("orig_packets", |v| amount(v).map(Filter::orig_packets)),
    ("reply_packets", |v| amount(v).map(Filter::reply_packets)),
    ("bytes", |v| amount(v).map(Filter::bytes)),
    ("orig_bytes", |v| amount(v).map(Filter::orig_bytes)),
    ("reply_bytes", |v| amount(v).map(Filter::reply_bytes)),
];

/// The names of all keywords.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    KEYWORDS.iter().map(|(name, _)| *name)
}

/// What other tools call a keyword.
const FOREIGN: [(&str, &str); 14] = [
    ("saddr", "orig_src"),
    ("src", "orig_src"),
    ("daddr", "orig_dst"),
    ("dst", "orig_dst"),
    ("sport", "orig_src_port"),
    ("dport", "orig_dst_port"),
    ("src_port", "orig_src_port"),
    ("dst_port", "orig_dst_port"),
    ("proto", "protocol"),
    ("l4proto", "protocol"),
    ("state", "tcp_state"),
    ("port", "orig_dst_port"),
    ("address", "host"),
    ("min_timeout", "timeout"),
];

fn constructor(key: &str) -> PyResult<Constructor> {
    let found = KEYWORDS.iter().find(|(name, _)| *name == key);
    found.map(|(_, constructor)| *constructor).ok_or_else(|| {
        let foreign = FOREIGN.iter().find(|(foreign, _)| *foreign == key).map(|(_, own)| *own);
        let known = names().collect::<Vec<_>>().join("\", \"");
        PyTypeError::new_err(match foreign.or_else(|| nearest(key)) {
            Some(meant) => format!("unknown keyword {key:?}: perhaps {meant:?}"),
            None => format!("unknown keyword {key:?}: expected one of \"{known}\""),
        })
    })
}

/// The keyword that differs in one character, or in the order of its words.
fn nearest(key: &str) -> Option<&'static str> {
    let words = |name: &str| {
        let mut words: Vec<_> = name.split('_').map(str::to_owned).collect();
        words.sort_unstable();
        words
    };
    let is_near =
        |name: &str| key.len().min(name.len()) >= 3 && strsim::levenshtein(name, key) <= 1;
    names().find(|name| words(name) == words(key) || is_near(name))
}

/// The error for a value of the wrong type.
pub(crate) fn instead(what: &str, value: Value<'_, '_>) -> PyErr {
    let kind = value.get_type();
    let name = kind.name().map_or_else(|_| "an object".into(), |name| name.to_string());
    PyTypeError::new_err(format!("expected {what}, not {name}"))
}

/// An `int`, or what can be used as one (numpy's numbers), but no `bool`.
pub(crate) fn is_integer(value: Value<'_, '_>) -> bool {
    let number = value.is_instance_of::<PyInt>() || value.hasattr("__index__").unwrap_or(false);
    number && !value.is_instance_of::<PyBool>()
}

/// A number from 0 to `most`.
pub(crate) fn integer<T>(value: Value<'_, '_>, most: T) -> PyResult<T>
where
    T: TryFrom<u64> + Into<u64> + Copy,
{
    let most = most.into();
    let what = format!("a number from 0 to {most}");
    if !is_integer(value) {
        return Err(instead(&what, value));
    }
    let number = value.extract::<u64>().ok().filter(|number| *number <= most);
    let number = number.and_then(|number| T::try_from(number).ok());
    number.ok_or_else(|| PyValueError::new_err(format!("expected {what}, found {value}")))
}

fn text(value: Value<'_, '_>, what: &str) -> PyResult<String> {
    value.cast::<PyString>().map_err(|_| instead(what, value))?.extract()
}

fn parsed<T: std::str::FromStr<Err = ctnetlink::Error>>(value: Value<'_, '_>) -> PyResult<T> {
    text(value, "text")?.parse().map_err(raise)
}

/// A protocol by name or number.
pub(crate) fn protocol(value: Value<'_, '_>) -> PyResult<Protocol> {
    if is_integer(value) {
        return integer(value, u8::MAX).map(Protocol);
    }
    text(value, "a protocol's name or number")?.parse().map_err(raise)
}

/// The members of a list, a set, a generator and so on; any other value is the only member. A text, a
/// range of ports and a prefix of `ipaddress` are one value, although they can be iterated over.
pub(crate) fn members<'py>(value: Value<'_, 'py>) -> PyResult<Vec<Bound<'py, PyAny>>> {
    let one = value.is_instance_of::<PyString>()
        || value.is_instance_of::<PyBytes>()
        || value.is_instance_of::<PyRange>()
        || is_integer(value)
        || is_ipaddress(value)?
        || !value.hasattr("__iter__")?;
    if one { Ok(vec![value.clone()]) } else { value.try_iter()?.collect() }
}

fn any_of<T>(
    value: Value<'_, '_>,
    one: impl Fn(Value<'_, '_>) -> PyResult<T>,
    filter: impl Fn(T) -> Filter,
) -> PyResult<Filter> {
    let filters = members(value)?.into_iter().map(|member| one(&member).map(&filter));
    let filters = filters.collect::<PyResult<Vec<_>>>()?;
    let any = filters.into_iter().reduce(|any, one| any | one);
    any.ok_or_else(|| {
        PyValueError::new_err("an empty set selects nothing, and its negation everything")
    })
}

/// Addresses and prefixes: text, or objects of `ipaddress`.
pub(crate) fn addresses(value: Value<'_, '_>) -> PyResult<Addresses> {
    let mut nets: Vec<IpNet> = Vec::new();
    for member in members(value)? {
        let known = member.is_instance_of::<PyString>() || is_ipaddress(&member)?;
        if !known {
            return Err(instead("addresses as text or objects of ipaddress", &member));
        }
        // The objects of `ipaddress` print what the parser reads. Of a `str` that is a member of an
        // enumeration, the value counts, and not what `str()` prints.
        let text = match member.cast::<PyString>() {
            Ok(text) => text.extract::<String>()?,
            Err(_) => member.str()?.extract()?,
        };
        nets.extend(text.parse::<Addresses>().map_err(raise)?.iter());
    }
    Ok(nets.into_iter().collect())
}

fn is_ipaddress(value: Value<'_, '_>) -> PyResult<bool> {
    Ok(value.get_type().module()?.to_str()? == "ipaddress")
}

/// Ports: a number, a `range`, or text.
pub(crate) fn ports(value: Value<'_, '_>) -> PyResult<Ports> {
    let mut ranges = Vec::new();
    for member in members(value)? {
        if let Ok(range) = member.cast::<PyRange>() {
            let (start, stop, step) = (range.start()?, range.stop()?, range.step()?);
            let bounds = u16::try_from(start).ok().zip(u16::try_from(stop - 1).ok());
            let Some((first, last)) = bounds.filter(|(a, b)| a <= b && step == 1) else {
                return Err(PyValueError::new_err(
                    "a range of ports must have step 1, be within 0 to 65535, and not be empty",
                ));
            };
            ranges.push(first..=last);
        } else if let Ok(text) = member.cast::<PyString>() {
            ranges.extend(text.extract::<String>()?.parse::<Ports>().map_err(raise)?.iter());
        } else if is_integer(&member) {
            let port = integer(&member, u16::MAX)?;
            ranges.push(port..=port);
        } else {
            return Err(instead("a port, a range or text", &member));
        }
    }
    Ok(ranges.into_iter().collect())
}

fn status(value: Value<'_, '_>) -> PyResult<Status> {
    Ok(value.extract::<crate::value::Status>()?.0)
}

fn flag(value: Value<'_, '_>, filter: Filter) -> PyResult<Filter> {
    let wanted = value.cast::<PyBool>().map_err(|_| instead("True or False", value))?.is_true();
    Ok(if wanted { filter } else { !filter })
}

/// A mark, or a mark and its mask.
fn mark(value: Value<'_, '_>) -> PyResult<Filter> {
    if is_integer(value) {
        return integer(value, u32::MAX).map(Filter::mark);
    }
    match value.cast::<PyTuple>() {
        Ok(pair) if pair.len() == 2 => Ok(Filter::mark_masked(
            integer(&pair.get_item(0)?, u32::MAX)?,
            integer(&pair.get_item(1)?, u32::MAX)?,
        )),
        _ => Err(instead("a number, or a pair (value, mask)", value)),
    }
}

/// A number, or a pair of the least and the most, either of which may be `None`.
fn amount(value: Value<'_, '_>) -> PyResult<(Limit<u64>, Limit<u64>)> {
    let seconds = |value: Value<'_, '_>| match value.hasattr("total_seconds")? {
        true => Ok(value.extract::<Span>()?.0.as_secs()),
        false => integer(value, u64::MAX),
    };
    if is_integer(value) || value.hasattr("total_seconds")? {
        let number = seconds(value)?;
        return Ok((Limit::Included(number), Limit::Included(number)));
    }
    let limit = |value: Bound<'_, PyAny>| match value.is_none() {
        true => Ok(Limit::Unbounded),
        false => seconds(&value).map(Limit::Included),
    };
    match value.cast::<PyTuple>() {
        Ok(pair) if pair.len() == 2 => Ok((limit(pair.get_item(0)?)?, limit(pair.get_item(1)?)?)),
        _ => Err(instead("a number, or a pair (least, most) in which None is no limit", value)),
    }
}
