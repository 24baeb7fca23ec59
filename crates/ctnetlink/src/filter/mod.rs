//! Which entries are meant: one expression for dumping, counting, deleting and zeroing.
//!
//! A [`Filter`] is built from criteria and `&`, `|`, `!`. [`Filter::matches`] evaluates it in user
//! space. The planner (`plan`) decides which part of it the kernel may evaluate before that, which
//! is only an optimisation.

mod criterion;
pub(crate) mod explain;
pub(crate) mod kernel_part;
mod parse;
pub(crate) mod plan;
pub(crate) mod set;

use std::fmt;
use std::net::IpAddr;
use std::ops::{BitAnd, BitOr, Not, RangeBounds};

pub(crate) use self::criterion::Criterion;
use self::criterion::{Direction, IcmpField, Quantity, Range, Side};
use self::explain::Explanation;
use self::kernel_part::KernelPart;
use self::plan::DumpPlan;
use self::set::{Addresses, Ports};
use crate::error::Error;
use crate::model::capability::{Capabilities, Trusts};
use crate::model::flow::Flow;
use crate::model::labels::Labels;
use crate::model::protocol::{Protocol, SctpState, TcpState};
use crate::model::status::Status;
use crate::model::tuple::Family;
use crate::uapi::HELPER_NAME_MAX;

/// An expression over the fields of an entry.
///
/// ```
/// use ctnetlink::{Family, Filter, Protocol};
/// let dns = Filter::protocol(Protocol::UDP) & Filter::orig_dst_port(53);
/// let stale = dns & !Filter::reply_src("10.244.1.5".parse().unwrap());
/// assert_eq!(stale.to_string(), "udp and orig dst port 53 and not reply src 10.244.1.5");
/// ```
///
/// A filter can also be parsed from text. Its implementation of [`FromStr`](std::str::FromStr)
/// documents the grammar.
///
/// There is no empty filter: to select everything, pass `None` to
/// [`dump`](crate::Conntrack::dump). A criterion that cannot mean anything (a status or mark with
/// an empty mask, an empty set) makes the whole expression invalid: it matches nothing, and every
/// operation refuses it with an error that says why.
///
/// A criterion about something an entry does not have (a port, a mark, a helper) does not match
/// that entry; its negation does. Amounts (timeout, age, packets, bytes) are different: an entry
/// without the amount matches neither the criterion nor its negation. So `not timeout < 30` leaves
/// out offloaded entries, which have no timeout, and `not packets > 0` leaves out entries that were
/// made while nothing was counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter(Result<Levelled, String>);

/// An expression with its depth. The depth is kept, because counting it again for each operator of
/// a long chain takes quadratic time.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Levelled {
    expression: Expression,
    /// Levels of "and", "or" and "not"; 0 for a criterion.
    levels: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Expression {
    Is(Criterion),
    All(Vec<Expression>),
    Any(Vec<Expression>),
    Not(Box<Expression>),
}

macro_rules! tuple_criteria {
    ($($address:ident, $addresses:ident, $port:ident, $ports:ident, $direction:ident, $side:ident,
       $words:literal;)*) => {$(
        #[doc = concat!("The ", $words, " address. Families do not mix: an IPv4 address never \
                         matches an IPv4-mapped IPv6 one.")]
        pub fn $address(address: IpAddr) -> Filter {
            Filter::$addresses(address)
        }

        #[doc = concat!("The ", $words, " address is in a set of addresses and prefixes. An empty \
                         set is invalid.")]
        pub fn $addresses(set: impl Into<Addresses>) -> Filter {
            let set = set.into();
            Filter::unless(set.is_empty(), EMPTY_SET, || {
                Criterion::Address(Direction::$direction, Side::$side, set)
            })
        }

        #[doc = concat!("The ", $words, " port, host byte order. Entries of protocols without \
                         ports do not match; GRE keys count as ports.")]
        pub fn $port(port: u16) -> Filter {
            Filter::$ports(port)
        }

        #[doc = concat!("The ", $words, " port is in a set of ports and ranges. An empty set is \
                         invalid.")]
        pub fn $ports(set: impl Into<Ports>) -> Filter {
            let set = set.into();
            Filter::unless(set.is_empty(), EMPTY_SET, || {
                Criterion::Port(Direction::$direction, Side::$side, set)
            })
        }
    )*};
}

macro_rules! amount_criteria {
    ($($name:ident, $quantity:expr, $words:literal;)*) => {$(
        #[doc = concat!($words, " An empty range is invalid.")]
        pub fn $name(range: impl RangeBounds<u64>) -> Filter {
            Filter::amount($quantity, &range)
        }
    )*};
}

const EMPTY_SET: &str = "an empty set selects nothing, and its negation everything";

impl Filter {
    fn is(criterion: Criterion) -> Filter {
        Filter(Ok(Levelled { expression: Expression::Is(criterion), levels: 0 }))
    }

    fn invalid(why: impl Into<String>) -> Filter {
        Filter(Err(why.into()))
    }

    fn unless(bad: bool, why: &str, criterion: impl FnOnce() -> Criterion) -> Filter {
        if bad { Filter::invalid(why) } else { Filter::is(criterion()) }
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
        orig_src, orig_src_in, orig_src_port, orig_src_port_in, Orig, Src, "original source";
        orig_dst, orig_dst_in, orig_dst_port, orig_dst_port_in, Orig, Dst, "original destination";
        reply_src, reply_src_in, reply_src_port, reply_src_port_in, Reply, Src, "reply source";
        reply_dst, reply_dst_in, reply_dst_port, reply_dst_port_in, Reply, Dst, "reply destination";
    }

    /// The address is in any of the four places: source or destination, original or reply.
    pub fn host(address: IpAddr) -> Filter {
        Filter::host_in(address)
    }

    /// An address of this set is in any of the four places: source or destination, original or
    /// reply. An empty set is invalid.
    pub fn host_in(set: impl Into<Addresses>) -> Filter {
        let set = set.into();
        Filter::unless(set.is_empty(), EMPTY_SET, || Criterion::Host(set))
    }

    /// ICMP or ICMPv6 type, original direction.
    pub fn icmp_type(kind: u8) -> Filter {
        Filter::is(Criterion::Icmp(IcmpField::Type, kind.into()))
    }

    /// ICMP or ICMPv6 code, original direction.
    pub fn icmp_code(code: u8) -> Filter {
        Filter::is(Criterion::Icmp(IcmpField::Code, code.into()))
    }

    /// ICMP or ICMPv6 id, host byte order; the same in both directions.
    pub fn icmp_id(id: u16) -> Filter {
        Filter::is(Criterion::Icmp(IcmpField::Id, id))
    }

    /// All of these status bits are set. An empty set of bits is invalid.
    pub fn status_set(bits: Status) -> Filter {
        Filter::unless_empty(bits.bits(), "a status", Criterion::StatusSet(bits))
    }

    /// None of these status bits is set. An empty set of bits is invalid.
    pub fn status_unset(bits: Status) -> Filter {
        Filter::unless_empty(bits.bits(), "a status", Criterion::StatusUnset(bits))
    }

    /// The kernel rewrites the source: the status bit `SRC_NAT`.
    pub fn snat() -> Filter {
        Filter::status_set(Status::SRC_NAT)
    }

    /// The kernel rewrites the destination: the status bit `DST_NAT`.
    pub fn dnat() -> Filter {
        Filter::status_set(Status::DST_NAT)
    }

    /// The kernel rewrites source or destination.
    pub fn nat() -> Filter {
        Filter::snat() | Filter::dnat()
    }

    /// No packet of the reply direction was seen: the status bit `SEEN_REPLY` is not set.
    pub fn unreplied() -> Filter {
        Filter::status_unset(Status::SEEN_REPLY)
    }

    /// The whole mark equals `value`.
    pub fn mark(value: u32) -> Filter {
        Filter::mark_masked(value, u32::MAX)
    }

    /// `mark & mask == value`. An empty mask, or a value with bits outside the mask (which could
    /// never match), is invalid. An entry without a mark does not match.
    pub fn mark_masked(value: u32, mask: u32) -> Filter {
        if value & !mask != 0 && mask != 0 {
            return Filter::invalid(format!(
                "mark {value:#x} has bits outside its mask {mask:#x} and would never match"
            ));
        }
        Filter::unless_empty(mask, "a mark", Criterion::Mark { value, mask })
    }

    /// The entry is in this zone, in one direction or in both; 0 is the default zone.
    pub fn zone(zone: u16) -> Filter {
        Filter::is(Criterion::Zone(None, zone))
    }

    /// The zone of the original direction: 0 if the entry's zone applies to the reply direction
    /// only.
    pub fn orig_zone(zone: u16) -> Filter {
        Filter::is(Criterion::Zone(Some(Direction::Orig), zone))
    }

    /// The zone of the reply direction: 0 if the entry's zone applies to the original direction
    /// only.
    pub fn reply_zone(zone: u16) -> Filter {
        Filter::is(Criterion::Zone(Some(Direction::Reply), zone))
    }

    /// This label bit is set. Bits above 127 do not exist, and are invalid.
    pub fn label(bit: u8) -> Filter {
        Filter::unless(bit > 127, "label bits are numbered from 0 to 127", || Criterion::Label(bit))
    }

    /// All of these label bits are set. An empty set of bits is invalid.
    pub fn labels(labels: Labels) -> Filter {
        Filter::all(labels.iter().map(Filter::label))
    }

    /// The helper attached to the entry has this name, such as `ftp`. Names the kernel cannot have
    /// (empty, or more than 15 bytes) are invalid, and so are names with spaces, control characters
    /// or the punctuation of the filter's grammar.
    pub fn helper(name: impl Into<String>) -> Filter {
        let name = name.into();
        let bad = name.is_empty()
            || name.len() > HELPER_NAME_MAX
            || name.contains(|c: char| {
                c.is_whitespace() || c.is_control() || parse::is_punctuation(c)
            });
        if bad {
            return Filter::invalid(format!(
                "{name:?} is not a helper's name: expected 1 to {HELPER_NAME_MAX} bytes without \
                 spaces, control characters, ( ) {{ }} , | / < = >"
            ));
        }
        Filter::is(Criterion::Helper(name))
    }

    /// A TCP entry in this state.
    pub fn tcp_state(state: TcpState) -> Filter {
        // `Other` with the number of a known state is that state.
        Filter::is(Criterion::TcpState(state.number().into()))
    }

    /// An SCTP entry in this state.
    pub fn sctp_state(state: SctpState) -> Filter {
        Filter::is(Criterion::SctpState(state.number().into()))
    }

    amount_criteria! {
        timeout, Quantity::Timeout, "Seconds left, rounded down. Offloaded entries have none.";
        age, Quantity::Age, "Whole seconds since the entry was made, as of the moment of the match. \
            Entries made while `nf_conntrack_timestamp` was 0 have none.";
        packets, Quantity::Packets(None), "Packets of both directions together. Entries made while \
            `nf_conntrack_acct` was 0 have no counters.";
        orig_packets, Quantity::Packets(Some(Direction::Orig)), "Packets of the original direction.";
        reply_packets, Quantity::Packets(Some(Direction::Reply)), "Packets of the reply direction.";
        bytes, Quantity::Bytes(None), "Bytes of both directions together, layer 3 headers included.";
        orig_bytes, Quantity::Bytes(Some(Direction::Orig)), "Bytes of the original direction.";
        reply_bytes, Quantity::Bytes(Some(Direction::Reply)), "Bytes of the reply direction.";
    }

    fn amount(quantity: Quantity, bounds: &impl RangeBounds<u64>) -> Filter {
        match Range::of(bounds) {
            Some(range) => Filter::is(Criterion::Amount(quantity, range)),
            None => Filter::invalid(format!("the range of {quantity} is empty")),
        }
    }

    fn unless_empty(mask: u32, what: &str, criterion: Criterion) -> Filter {
        if mask == 0 {
            return Filter::invalid(format!("{what} filter with an empty mask compares no bits"));
        }
        Filter::is(criterion)
    }

    /// Whether the filter selects an entry. Reads only what the expression needs, in the order in
    /// which it is written, and allocates nothing.
    ///
    /// An invalid filter matches nothing, negated or not.
    pub fn matches<B: AsRef<[u8]>>(&self, flow: &Flow<B>) -> bool {
        self.0.as_ref().is_ok_and(|filter| filter.expression.matches(flow))
    }

    /// What the kernel would be asked to filter by, and why it is not asked for more.
    ///
    /// # Errors
    ///
    /// A filter that contains an invalid criterion.
    ///
    /// ```no_run
    /// # fn f() -> ctnetlink::Result<()> {
    /// let ct = ctnetlink::Conntrack::open()?;
    /// let filter: ctnetlink::Filter = "ip6 and udp and orig dst 2001:db8::10".parse()?;
    /// println!("{}", filter.explain(&ct.capabilities()?)?);
    /// # Ok(()) }
    /// ```
    pub fn explain(&self, capabilities: &Capabilities) -> Result<Explanation, Error> {
        Ok(Explanation::of(self.expression()?, &capabilities.trusts))
    }

    /// Why the filter matches no entry, if that can be seen from the filter alone: criteria that
    /// contradict each other, or packets to the unspecified address, which nobody sends to (only
    /// an entry made by hand can have it). A command should say so instead of showing nothing.
    ///
    /// ```
    /// use ctnetlink::Filter;
    /// let never = |text: &str| text.parse::<Filter>().unwrap().never_matches();
    /// assert!(never("udp and tcp").is_some_and(|why| why.starts_with("tcp: another criterion")));
    /// assert!(never("orig dst 0.0.0.0").is_some());
    /// assert_eq!(never("udp or tcp"), None);
    /// ```
    pub fn never_matches(&self) -> Option<String> {
        plan::never(self.expression().ok()?)
    }

    /// Whether the filter is valid. [`matches`](Filter::matches) of an invalid filter is always
    /// false, and operations refuse it with this error.
    ///
    /// # Errors
    ///
    /// If a criterion is invalid, with the reason.
    pub fn check(&self) -> Result<(), Error> {
        self.expression().map(|_| ())
    }

    /// The expression, if it is valid.
    fn expression(&self) -> Result<&Expression, Error> {
        let invalid = |why: &String| Error::Invalid(format!("filter: {why}"));
        self.0.as_ref().map(|filter| &filter.expression).map_err(invalid)
    }

    /// What to ask the kernel for.
    pub(crate) fn plan(&self, trusts: &Trusts) -> Result<DumpPlan, Error> {
        Ok(DumpPlan::of(self.expression()?, trusts))
    }

    /// The flushes that together remove exactly what matches.
    pub(crate) fn flush_plan(&self, trusts: &Trusts) -> Result<Vec<KernelPart>, Error> {
        let plan = plan::flush(self.expression()?, trusts);
        plan.map_err(|why| Error::Invalid(format!("filter: not in the kernel: {why}")))
    }

    /// The same filter, with the cheapest members of conjunctions and alternatives first. Worth it
    /// for many entries.
    pub(crate) fn cheapest_first(&self) -> Filter {
        Filter(self.0.clone().map(|filter| Levelled {
            expression: filter.expression.cheapest_first().0,
            levels: filter.levels,
        }))
    }

    /// Any of these filters matches, which is `a | b | c`. No filter at all is invalid.
    ///
    /// ```
    /// use ctnetlink::Filter;
    /// let zones = Filter::any((1..=3).map(Filter::zone));
    /// assert_eq!(zones.to_string(), "zone 1 or zone 2 or zone 3");
    /// ```
    pub fn any(filters: impl IntoIterator<Item = Filter>) -> Filter {
        let any = filters.into_iter().reduce(|any, one| any | one);
        any.unwrap_or_else(|| Filter::invalid(EMPTY_SET))
    }

    /// All of these filters match, which is `a & b & c`. No filter at all is invalid.
    ///
    /// ```
    /// use ctnetlink::{Filter, Protocol};
    /// let dns = Filter::all([Filter::protocol(Protocol::UDP), Filter::orig_dst_port(53)]);
    /// assert_eq!(dns.to_string(), "udp and orig dst port 53");
    /// ```
    pub fn all(filters: impl IntoIterator<Item = Filter>) -> Filter {
        let all = filters.into_iter().reduce(|all, one| all & one);
        all.unwrap_or_else(|| Filter::invalid(EMPTY_SET))
    }

    /// Combines two filters; one that is invalid makes the result invalid. `open` gives the members
    /// of a conjunction or of alternatives, whichever is made, so that chains of operators stay
    /// flat. Any other expression is a member itself, one level below.
    fn combine(
        self,
        other: Filter,
        open: fn(Expression) -> Result<Vec<Expression>, Expression>,
        close: fn(Vec<Expression>) -> Expression,
    ) -> Filter {
        let both = self.0.and_then(|left| other.0.map(|right| (left, right)));
        Filter(both.map(|(left, right)| {
            let members = |side: Levelled| match open(side.expression) {
                Ok(members) => (members, side.levels),
                Err(single) => (vec![single], side.levels + 1),
            };
            let ((mut parts, left), (more, right)) = (members(left), members(right));
            parts.extend(more);
            Levelled { expression: close(parts), levels: left.max(right) }
        }))
        .unless_too_deep()
    }

    /// Refuses an expression that is too deep: nobody writes one on purpose, and reading it could
    /// exhaust the stack.
    fn unless_too_deep(self) -> Filter {
        match &self.0 {
            Ok(filter) if filter.levels > MAX_LEVELS => Filter::invalid(format!(
                "more than {MAX_LEVELS} levels of \"and\", \"or\" and \"not\""
            )),
            _ => self,
        }
    }
}

/// The most levels that an expression may have.
const MAX_LEVELS: usize = 64;

impl Expression {
    pub(crate) fn matches<B: AsRef<[u8]>>(&self, flow: &Flow<B>) -> bool {
        self.holds(flow, false)
    }

    /// Whether the expression, or its negation, is true of an entry. Negations are carried down to
    /// the criteria, because an amount that an entry does not have makes both false.
    fn holds<B: AsRef<[u8]>>(&self, flow: &Flow<B>, negated: bool) -> bool {
        match self {
            Expression::Is(criterion) => criterion.holds(flow, negated),
            Expression::Not(part) => part.holds(flow, !negated),
            // De Morgan: the negation of a conjunction is the alternatives of the negations.
            Expression::All(parts) if !negated => parts.iter().all(|part| part.holds(flow, false)),
            Expression::Any(parts) if negated => parts.iter().all(|part| part.holds(flow, true)),
            Expression::All(parts) | Expression::Any(parts) => {
                parts.iter().any(|part| part.holds(flow, negated))
            }
        }
    }

    /// The expression with its members sorted by cost, and the cost of the most expensive one.
    fn cheapest_first(self) -> (Expression, u8) {
        let sorted = |parts: Vec<Expression>| {
            let mut parts: Vec<_> = parts.into_iter().map(Expression::cheapest_first).collect();
            parts.sort_by_key(|(_, cost)| *cost);
            let dearest = parts.last().map_or(0, |(_, cost)| *cost);
            (parts.into_iter().map(|(part, _)| part).collect(), dearest)
        };
        match self {
            Expression::Is(criterion) => {
                let cost = criterion.cost();
                (Expression::Is(criterion), cost)
            }
            Expression::All(parts) => {
                let (parts, cost) = sorted(parts);
                (Expression::All(parts), cost)
            }
            Expression::Any(parts) => {
                let (parts, cost) = sorted(parts);
                (Expression::Any(parts), cost)
            }
            Expression::Not(part) => {
                let (part, cost) = part.cheapest_first();
                (Expression::Not(Box::new(part)), cost)
            }
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
        self.combine(other, open, Expression::All)
    }
}

impl BitOr for Filter {
    type Output = Filter;

    fn bitor(self, other: Filter) -> Filter {
        let open = |expression| match expression {
            Expression::Any(parts) => Ok(parts),
            single => Err(single),
        };
        self.combine(other, open, Expression::Any)
    }
}

impl Not for Filter {
    type Output = Filter;

    fn not(self) -> Filter {
        let not = |filter: Levelled| Levelled {
            expression: Expression::Not(Box::new(filter.expression)),
            levels: filter.levels + 1,
        };
        Filter(self.0.map(not)).unless_too_deep()
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Ok(filter) => filter.expression.fmt(f),
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

#[cfg(test)]
#[cfg(target_endian = "little")]
mod tests;
