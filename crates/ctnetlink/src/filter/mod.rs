//! Which entries are meant: one expression for dumping, counting and deleting.
//!
//! A [`Filter`] is built from criteria and `&`, `|`, `!`. It is judged in user space by
//! [`Filter::matches`]; what of it the kernel may do beforehand is decided in the planner
//! (`plan.rs`), and is an optimisation only.

mod parse;
mod plan;

use std::fmt;
use std::net::IpAddr;
use std::ops::{BitAnd, BitOr, Not};

pub(crate) use self::plan::{KernelPart, Plan, TuplePart};
use crate::error::Error;
use crate::flow::Flow;
use crate::proto::Protocol;
use crate::status::Status;
use crate::tuple::{Family, Tuple};

/// An expression over the fields of an entry.
///
/// ```
/// use ctnetlink::{Family, Filter, Protocol};
/// let dns = Filter::protocol(Protocol::UDP) & Filter::orig_dst_port(53);
/// let stale = dns & !Filter::reply_src("10.244.1.5".parse().unwrap());
/// assert_eq!(stale.to_string(), "udp and orig dst port 53 and not reply src 10.244.1.5");
/// ```
///
/// There is no empty filter: what selects everything is said by passing `None` to
/// [`dump`](crate::Conntrack::dump). A criterion that cannot mean anything (a status or mark with
/// an empty mask) makes the whole expression invalid: it matches nothing, and every operation
/// refuses it with an error that says why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter(Result<Expression, String>);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Expression {
    Is(Criterion),
    All(Vec<Expression>),
    Any(Vec<Expression>),
    Not(Box<Expression>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Criterion {
    Family(Family),
    Protocol(Protocol),
    Address(Direction, Side, IpAddr),
    Port(Direction, Side, u16),
    StatusSet(Status),
    StatusUnset(Status),
    Mark { value: u32, mask: u32 },
    Zone(u16),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Orig,
    Reply,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Src,
    Dst,
}

macro_rules! tuple_criteria {
    ($($address:ident, $port:ident, $direction:ident, $side:ident, $words:literal;)*) => {$(
        #[doc = concat!("The ", $words, " address. Families are kept apart: an IPv4 address never \
                         matches an IPv4-mapped IPv6 one.")]
        pub fn $address(address: IpAddr) -> Filter {
            Filter::is(Criterion::Address(Direction::$direction, Side::$side, address))
        }

        #[doc = concat!("The ", $words, " port, host byte order. Entries of protocols without \
                         ports do not match; GRE keys count as ports.")]
        pub fn $port(port: u16) -> Filter {
            Filter::is(Criterion::Port(Direction::$direction, Side::$side, port))
        }
    )*};
}

impl Filter {
    fn is(criterion: Criterion) -> Filter {
        Filter(Ok(Expression::Is(criterion)))
    }

    /// The address family.
    pub fn family(family: Family) -> Filter {
        Filter::is(Criterion::Family(family))
    }

    /// The transport protocol.
    pub fn protocol(protocol: Protocol) -> Filter {
        Filter::is(Criterion::Protocol(protocol))
    }

    tuple_criteria! {
        orig_src, orig_src_port, Orig, Src, "original source";
        orig_dst, orig_dst_port, Orig, Dst, "original destination";
        reply_src, reply_src_port, Reply, Src, "reply source";
        reply_dst, reply_dst_port, Reply, Dst, "reply destination";
    }

    /// All of these status bits are set. No bits at all is invalid.
    pub fn status_set(bits: Status) -> Filter {
        Filter::unless_empty(bits.bits(), "a status", Criterion::StatusSet(bits))
    }

    /// None of these status bits is set. No bits at all is invalid.
    pub fn status_unset(bits: Status) -> Filter {
        Filter::unless_empty(bits.bits(), "a status", Criterion::StatusUnset(bits))
    }

    /// The whole mark equals `value`.
    pub fn mark(value: u32) -> Filter {
        Filter::mark_masked(value, u32::MAX)
    }

    /// `mark & mask == value`. An empty mask, or a value with bits outside the mask (which could
    /// never match), is invalid. An entry without a mark does not match.
    pub fn mark_masked(value: u32, mask: u32) -> Filter {
        if value & !mask != 0 && mask != 0 {
            return Filter(Err(format!(
                "mark {value:#x} has bits outside its mask {mask:#x} and would never match"
            )));
        }
        Filter::unless_empty(mask, "a mark", Criterion::Mark { value, mask })
    }

    /// The entry is in this zone, in one direction or in both; 0 is the default zone.
    pub fn zone(zone: u16) -> Filter {
        Filter::is(Criterion::Zone(zone))
    }

    fn unless_empty(mask: u32, what: &str, criterion: Criterion) -> Filter {
        if mask == 0 {
            return Filter(Err(format!(
                "{what} filter with an empty mask would select everything"
            )));
        }
        Filter::is(criterion)
    }

    /// Whether an entry is meant. Reads only what the expression needs and allocates nothing.
    ///
    /// An invalid filter matches nothing, negated or not.
    pub fn matches<B: AsRef<[u8]>>(&self, flow: &Flow<B>) -> bool {
        self.0.as_ref().is_ok_and(|expression| expression.matches(flow))
    }

    /// What to ask the kernel for. Refuses a filter that contains an invalid criterion.
    pub(crate) fn plan(&self) -> Result<Plan, Error> {
        match &self.0 {
            Ok(expression) => Ok(Plan::of(expression)),
            Err(why) => Err(Error::Invalid(format!("filter: {why}"))),
        }
    }

    /// Combines two filters; one that is invalid makes the result invalid.
    fn combine(
        self,
        other: Filter,
        with: impl FnOnce(Expression, Expression) -> Expression,
    ) -> Filter {
        Filter(self.0.and_then(|left| other.0.map(|right| with(left, right))))
    }
}

impl Expression {
    fn matches<B: AsRef<[u8]>>(&self, flow: &Flow<B>) -> bool {
        match self {
            Expression::Is(criterion) => criterion.matches(flow),
            Expression::All(parts) => parts.iter().all(|part| part.matches(flow)),
            Expression::Any(parts) => parts.iter().any(|part| part.matches(flow)),
            Expression::Not(part) => !part.matches(flow),
        }
    }

    /// The members of a conjunction (or, with the other variant, of an alternative), so that
    /// chains of operators stay flat.
    fn members(
        self,
        open: fn(Expression) -> Result<Vec<Expression>, Expression>,
    ) -> Vec<Expression> {
        open(self).unwrap_or_else(|single| vec![single])
    }
}

impl Criterion {
    #[inline]
    fn matches<B: AsRef<[u8]>>(&self, flow: &Flow<B>) -> bool {
        fn tuple<B: AsRef<[u8]>>(flow: &Flow<B>, direction: Direction) -> &Tuple {
            match direction {
                Direction::Orig => flow.orig(),
                Direction::Reply => flow.reply(),
            }
        }
        match *self {
            Criterion::Family(family) => flow.family() == family,
            Criterion::Protocol(protocol) => flow.protocol() == protocol,
            Criterion::Address(direction, Side::Src, address) => {
                tuple(flow, direction).src() == address
            }
            Criterion::Address(direction, Side::Dst, address) => {
                tuple(flow, direction).dst() == address
            }
            Criterion::Port(direction, Side::Src, port) => {
                tuple(flow, direction).src_port() == Some(port)
            }
            Criterion::Port(direction, Side::Dst, port) => {
                tuple(flow, direction).dst_port() == Some(port)
            }
            Criterion::StatusSet(bits) => flow.status().contains(bits),
            Criterion::StatusUnset(bits) => !flow.status().intersects(bits),
            Criterion::Mark { value, mask } => flow.mark().is_some_and(|mark| mark & mask == value),
            Criterion::Zone(zone) => flow.zone() == zone,
        }
    }
}

impl BitAnd for Filter {
    type Output = Filter;

    fn bitand(self, other: Filter) -> Filter {
        let open = |expression| match expression {
            Expression::All(parts) => Ok(parts),
            single => Err(single),
        };
        self.combine(other, |left, right| {
            let mut parts = left.members(open);
            parts.extend(right.members(open));
            Expression::All(parts)
        })
    }
}

impl BitOr for Filter {
    type Output = Filter;

    fn bitor(self, other: Filter) -> Filter {
        let open = |expression| match expression {
            Expression::Any(parts) => Ok(parts),
            single => Err(single),
        };
        self.combine(other, |left, right| {
            let mut parts = left.members(open);
            parts.extend(right.members(open));
            Expression::Any(parts)
        })
    }
}

impl Not for Filter {
    type Output = Filter;

    fn not(self) -> Filter {
        Filter(self.0.map(|expression| Expression::Not(Box::new(expression))))
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Ok(expression) => expression.fmt(f),
            Err(why) => write!(f, "<invalid: {why}>"),
        }
    }
}

impl fmt::Display for Expression {
    /// `and` binds tighter than `or`; `not` tighter than both.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, parts: &[Expression], word: &str| {
            for (at, part) in parts.iter().enumerate() {
                if at > 0 {
                    write!(f, " {word} ")?;
                }
                match part {
                    Expression::Any(_) | Expression::All(_) => write!(f, "({part})")?,
                    _ => write!(f, "{part}")?,
                }
            }
            Ok(())
        };
        match self {
            Expression::Is(criterion) => criterion.fmt(f),
            Expression::All(parts) => list(f, parts, "and"),
            Expression::Any(parts) => list(f, parts, "or"),
            Expression::Not(part) => match **part {
                Expression::Any(_) | Expression::All(_) => write!(f, "not ({part})"),
                _ => write!(f, "not {part}"),
            },
        }
    }
}

impl fmt::Display for Criterion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let direction = |direction: Direction, side: Side| match (direction, side) {
            (Direction::Orig, Side::Src) => "orig src",
            (Direction::Orig, Side::Dst) => "orig dst",
            (Direction::Reply, Side::Src) => "reply src",
            (Direction::Reply, Side::Dst) => "reply dst",
        };
        match *self {
            Criterion::Family(Family::Ipv4) => f.write_str("ip"),
            Criterion::Family(Family::Ipv6) => f.write_str("ip6"),
            Criterion::Protocol(protocol) => match protocol.name() {
                Some(name) => f.write_str(name),
                None => write!(f, "proto {}", protocol.0),
            },
            Criterion::Address(d, s, address) => write!(f, "{} {address}", direction(d, s)),
            Criterion::Port(d, s, port) => write!(f, "{} port {port}", direction(d, s)),
            Criterion::StatusSet(bits) => write!(f, "status set {bits}"),
            Criterion::StatusUnset(bits) => write!(f, "status unset {bits}"),
            Criterion::Mark { value, mask: u32::MAX } => write!(f, "mark {value:#x}"),
            Criterion::Mark { value, mask } => write!(f, "mark {value:#x}/{mask:#x}"),
            Criterion::Zone(zone) => write!(f, "zone {zone}"),
        }
    }
}

#[cfg(test)]
#[cfg(target_endian = "little")]
mod tests {
    use super::*;
    use crate::flow::tests::{dumped, unhex};
    use crate::flow::{FlowRef, tests::DUMPED};

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// Every criterion, once so that it matches the sample entry and once so that it does not.
    fn pairs() -> Vec<(Filter, Filter)> {
        let a = address;
        vec![
            (Filter::family(Family::Ipv4), Filter::family(Family::Ipv6)),
            (Filter::protocol(Protocol::UDP), Filter::protocol(Protocol::UDPLITE)),
            (Filter::orig_src(a("10.0.0.1")), Filter::orig_src(a("10.96.0.10"))),
            (Filter::orig_dst(a("10.96.0.10")), Filter::orig_dst(a("10.0.0.1"))),
            (Filter::reply_src(a("10.244.1.5")), Filter::reply_src(a("10.96.0.10"))),
            (Filter::reply_dst(a("10.0.0.1")), Filter::reply_dst(a("::ffff:10.0.0.1"))),
            (Filter::orig_src_port(1001), Filter::orig_src_port(53)),
            (Filter::orig_dst_port(53), Filter::orig_dst_port(1001)),
            (Filter::reply_src_port(5353), Filter::reply_src_port(53)),
            (Filter::reply_dst_port(1001), Filter::reply_dst_port(5353)),
            (Filter::status_set(Status::DST_NAT), Filter::status_set(Status::all())),
            (Filter::status_unset(Status::ASSURED), Filter::status_unset(Status::CONFIRMED)),
            (Filter::mark(0), Filter::mark(1)),
            (Filter::mark_masked(0, 0xf0), Filter::mark_masked(0x10, 0xf0)),
            (Filter::zone(0), Filter::zone(7)),
        ]
    }

    #[test]
    fn each_criterion_reads_its_own_field() {
        let flow = dumped();
        for (yes, no) in pairs() {
            assert!(yes.matches(&flow), "{yes}");
            assert!(!no.matches(&flow), "{no}");
            assert!(!(!yes.clone()).matches(&flow), "not {yes}");
            assert!((!no.clone()).matches(&flow), "not {no}");
            assert!((yes.clone() | no.clone()).matches(&flow));
            assert!((no.clone() | yes.clone()).matches(&flow));
            assert!(!(yes.clone() & no.clone()).matches(&flow));
            assert!(!(no.clone() & yes.clone()).matches(&flow));
            assert!((yes.clone() & yes).matches(&flow.as_ref()));
        }
    }

    #[test]
    fn absent_is_not_zero() {
        // The sample entry without its CTA_MARK: the attribute becomes one of unknown number.
        let bytes = unhex(&DUMPED.replace("0800080000000000", "0800c80000000000"));
        let flow = FlowRef::parse(&bytes[16..]).unwrap();
        assert_eq!(flow.mark(), None);
        assert!(!Filter::mark(0).matches(&flow));
    }

    #[test]
    fn invalid_filters_match_nothing_and_say_why() {
        let flow = dumped();
        for (bad, why) in [
            (Filter::status_set(Status::empty()), "a status filter with an empty mask"),
            (Filter::status_unset(Status::empty()), "a status filter with an empty mask"),
            (Filter::mark_masked(0, 0), "a mark filter with an empty mask"),
            (Filter::mark_masked(1, 0), "a mark filter with an empty mask"),
            (Filter::mark_masked(0x11, 0x10), "mark 0x11 has bits outside its mask 0x10"),
        ] {
            let good = Filter::protocol(Protocol::UDP);
            for filter in [
                bad.clone(),
                !bad.clone(),
                good.clone() & !bad.clone(),
                bad.clone() | good.clone(),
                bad.clone() & good.clone(),
                !(!good.clone() & bad.clone()),
            ] {
                assert!(!filter.matches(&flow), "{filter}");
                let error = filter.plan().unwrap_err().to_string();
                assert!(error.contains(why), "{error}");
            }
            assert!((good.clone() | bad).plan().is_err());
            assert!(good.plan().is_ok());
        }
    }

    #[test]
    fn text_shows_the_binding() {
        let [a, b, c] = [53, 54, 55].map(Filter::orig_dst_port);
        let text = ((a.clone() | b.clone()) & !c.clone()).to_string();
        assert_eq!(text, "(orig dst port 53 or orig dst port 54) and not orig dst port 55");
        assert_eq!(
            (!(a & b) | c).to_string(),
            "not (orig dst port 53 and orig dst port 54) or orig dst port 55"
        );
        assert_eq!(Filter::mark_masked(0x10, 0xf0).to_string(), "mark 0x10/0xf0");
        assert_eq!(Filter::protocol(Protocol(89)).to_string(), "proto 89");
        assert_eq!(
            Filter::status_set(Status::SEEN_REPLY | Status::ASSURED).to_string(),
            "status set SEEN_REPLY | ASSURED"
        );
    }

    #[test]
    fn conjunctions_stay_flat() {
        let [a, b, c, d] = [1, 2, 3, 4].map(Filter::zone);
        let flat = (a.clone() & b.clone()) & (c.clone() & d.clone());
        assert_eq!(flat, a.clone() & (b.clone() & (c.clone() & d.clone())));
        assert_eq!((a.clone() | b.clone()) | (c.clone() | d.clone()), a | (b | (c | d)));
    }
}
