//! One criterion: what it reads of an entry, and how it prints.

use std::fmt;
use std::ops::{Bound, RangeBounds};
use std::time::{Duration, SystemTime};

use super::set::{Addresses, Ports};
use crate::model::extension::Counters;
use crate::model::flow::Flow;
use crate::model::protocol::{Protocol, ProtocolState, SctpState, TcpState};
use crate::model::status::Status;
use crate::model::tuple::{Family, Tuple};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Criterion {
    Family(Family),
    Protocol(Protocol),
    Address(Direction, Side, Addresses),
    Port(Direction, Side, Ports),
    /// An address in any of the four places.
    Host(Addresses),
    /// A field of the original tuple, of ICMP or ICMPv6.
    Icmp(IcmpField, u16),
    StatusSet(Status),
    StatusUnset(Status),
    Mark {
        value: u32,
        mask: u32,
    },
    /// The entry's zone, or the zone that applies to this direction.
    Zone(Option<Direction>, u16),
    /// This label bit is set.
    Label(u8),
    Helper(String),
    TcpState(TcpState),
    SctpState(SctpState),
    Amount(Quantity, Range),
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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IcmpField {
    Type,
    Code,
    Id,
}

/// A number that an entry may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Quantity {
    /// Seconds left.
    Timeout,
    /// Seconds since the entry was made.
    Age,
    /// Of one direction, or of both together.
    Packets(Option<Direction>),
    Bytes(Option<Direction>),
}

/// A range of numbers, with both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) least: u64,
    pub(crate) most: u64,
}

impl Range {
    /// `None` for an empty range.
    pub(crate) fn of(bounds: &impl RangeBounds<u64>) -> Option<Range> {
        let least = match bounds.start_bound() {
            Bound::Included(n) => *n,
            Bound::Excluded(n) => n.checked_add(1)?,
            Bound::Unbounded => 0,
        };
        let most = match bounds.end_bound() {
            Bound::Included(n) => *n,
            Bound::Excluded(n) => n.checked_sub(1)?,
            Bound::Unbounded => u64::MAX,
        };
        (least <= most).then_some(Range { least, most })
    }

    fn contains(self, number: u64) -> bool {
        (self.least..=self.most).contains(&number)
    }
}

impl Criterion {
    /// Whether the criterion, or its negation, is true of an entry. An amount that the entry does
    /// not have makes both false.
    #[inline]
    pub(crate) fn holds<B: AsRef<[u8]>>(&self, flow: &Flow<B>, negated: bool) -> bool {
        match self {
            Criterion::Amount(quantity, range) => {
                quantity.of(flow).is_some_and(|number| range.contains(number) != negated)
            }
            other => other.matches(flow) != negated,
        }
    }

    #[inline]
    fn matches<B: AsRef<[u8]>>(&self, flow: &Flow<B>) -> bool {
        match self {
            Criterion::Family(family) => flow.family() == *family,
            Criterion::Protocol(protocol) => flow.protocol() == *protocol,
            Criterion::Address(direction, side, set) => {
                let tuple = tuple(flow, *direction);
                set.contains(match side {
                    Side::Src => tuple.src(),
                    Side::Dst => tuple.dst(),
                })
            }
            Criterion::Port(direction, side, set) => {
                let tuple = tuple(flow, *direction);
                let port = match side {
                    Side::Src => tuple.src_port(),
                    Side::Dst => tuple.dst_port(),
                };
                port.is_some_and(|port| set.contains(port))
            }
            Criterion::Host(set) => {
                let (orig, reply) = (flow.orig(), flow.reply());
                [orig.src(), orig.dst(), reply.src(), reply.dst()]
                    .into_iter()
                    .any(|address| set.contains(address))
            }
            Criterion::Icmp(field, number) => flow.orig().icmp().is_some_and(|icmp| {
                *number
                    == match field {
                        IcmpField::Type => icmp.kind.into(),
                        IcmpField::Code => icmp.code.into(),
                        IcmpField::Id => icmp.id,
                    }
            }),
            Criterion::StatusSet(bits) => flow.status().contains(*bits),
            Criterion::StatusUnset(bits) => !flow.status().intersects(*bits),
            Criterion::Mark { value, mask } => flow.mark().is_some_and(|m| m & mask == *value),
            Criterion::Zone(direction, zone) => {
                *zone
                    == match direction {
                        None => flow.zone(),
                        Some(Direction::Orig) => flow.orig_zone(),
                        Some(Direction::Reply) => flow.reply_zone(),
                    }
            }
            Criterion::Label(bit) => flow.labels().is_some_and(|labels| labels.has(*bit)),
            Criterion::Helper(name) => flow.helper().is_some_and(|helper| helper == *name),
            Criterion::TcpState(wanted) => matches!(
                flow.protocol_state(),
                Some(ProtocolState::Tcp { state: Some(state), .. }) if state == *wanted
            ),
            Criterion::SctpState(wanted) => matches!(
                flow.protocol_state(),
                Some(ProtocolState::Sctp { state: Some(state), .. }) if state == *wanted
            ),
            Criterion::Amount(quantity, range) => {
                quantity.of(flow).is_some_and(|number| range.contains(number))
            }
        }
    }

    /// How much work a match is, so that cheap criteria can go first: 0 if the value is already
    /// parsed, 1 if it is one attribute, 2 if a nest has to be walked or the clock to be read.
    pub(crate) fn cost(&self) -> u8 {
        match self {
            Criterion::Family(_)
            | Criterion::Protocol(_)
            | Criterion::Address(..)
            | Criterion::Port(..)
            | Criterion::Host(_)
            | Criterion::Icmp(..) => 0,
            Criterion::StatusSet(_)
            | Criterion::StatusUnset(_)
            | Criterion::Mark { .. }
            | Criterion::Zone(..)
            | Criterion::Label(_)
            | Criterion::Amount(Quantity::Timeout, _) => 1,
            Criterion::Helper(_)
            | Criterion::TcpState(_)
            | Criterion::SctpState(_)
            | Criterion::Amount(..) => 2,
        }
    }
}

fn tuple<B: AsRef<[u8]>>(flow: &Flow<B>, direction: Direction) -> &Tuple {
    match direction {
        Direction::Orig => flow.orig(),
        Direction::Reply => flow.reply(),
    }
}

impl Quantity {
    fn of<B: AsRef<[u8]>>(self, flow: &Flow<B>) -> Option<u64> {
        let counters = |direction| match direction {
            Some(Direction::Orig) => flow.counters_orig(),
            Some(Direction::Reply) => flow.counters_reply(),
            None => {
                let (orig, reply) = (flow.counters_orig()?, flow.counters_reply()?);
                Some(Counters {
                    packets: orig.packets.saturating_add(reply.packets),
                    bytes: orig.bytes.saturating_add(reply.bytes),
                })
            }
        };
        match self {
            Quantity::Timeout => flow.timeout().map(|left| left.as_secs()),
            Quantity::Age => {
                let start = flow.timestamps()?.start?;
                // If the clock was set back, the age is 0, and not absent.
                let age = SystemTime::now().duration_since(start).unwrap_or(Duration::ZERO);
                Some(age.as_secs())
            }
            Quantity::Packets(direction) => counters(direction).map(|c| c.packets),
            Quantity::Bytes(direction) => counters(direction).map(|c| c.bytes),
        }
    }
}

impl fmt::Display for Criterion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Criterion::Family(Family::Ipv4) => f.write_str("ip"),
            Criterion::Family(Family::Ipv6) => f.write_str("ip6"),
            Criterion::Protocol(protocol) => match protocol.name() {
                Some(name) => f.write_str(name),
                None => write!(f, "proto {}", protocol.0),
            },
            Criterion::Address(d, s, set) => write!(f, "{d} {s} {}{set}", word_in(set.iter())),
            Criterion::Port(d, s, set) => write!(f, "{d} {s} port {}{set}", word_in(set.iter())),
            Criterion::Host(set) => write!(f, "host {}{set}", word_in(set.iter())),
            Criterion::Icmp(IcmpField::Type, number) => write!(f, "icmp-type {number}"),
            Criterion::Icmp(IcmpField::Code, number) => write!(f, "icmp-code {number}"),
            Criterion::Icmp(IcmpField::Id, number) => write!(f, "icmp-id {number}"),
            Criterion::StatusSet(Status::SRC_NAT) => f.write_str("snat"),
            Criterion::StatusSet(Status::DST_NAT) => f.write_str("dnat"),
            Criterion::StatusUnset(Status::SEEN_REPLY) => f.write_str("unreplied"),
            Criterion::StatusSet(bits) => write!(f, "status set {bits}"),
            Criterion::StatusUnset(bits) => write!(f, "status unset {bits}"),
            Criterion::Mark { value, mask: u32::MAX } => write!(f, "mark {value:#x}"),
            Criterion::Mark { value, mask } => write!(f, "mark {value:#x}/{mask:#x}"),
            Criterion::Zone(None, zone) => write!(f, "zone {zone}"),
            Criterion::Zone(Some(direction), zone) => write!(f, "{direction} zone {zone}"),
            Criterion::Label(bit) => write!(f, "label {bit}"),
            Criterion::Helper(name) => write!(f, "helper {name}"),
            Criterion::TcpState(state) => write!(f, "tcp-state {state}"),
            Criterion::SctpState(state) => write!(f, "sctp-state {state}"),
            Criterion::Amount(quantity, range) => write!(f, "{quantity} {range}"),
        }
    }
}

/// `in` is printed before braces only.
fn word_in(members: impl ExactSizeIterator) -> &'static str {
    if members.len() == 1 { "" } else { "in " }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Direction::Orig => "orig",
            Direction::Reply => "reply",
        })
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Side::Src => "src",
            Side::Dst => "dst",
        })
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counted = |f: &mut fmt::Formatter<'_>, direction: Option<Direction>, what| {
            direction.map_or(Ok(()), |direction| write!(f, "{direction} "))?;
            f.write_str(what)
        };
        match *self {
            Quantity::Timeout => f.write_str("timeout"),
            Quantity::Age => f.write_str("age"),
            Quantity::Packets(direction) => counted(f, direction, "packets"),
            Quantity::Bytes(direction) => counted(f, direction, "bytes"),
        }
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Range { least, most } if least == most => write!(f, "= {least}"),
            Range { least: 0, most } if most < u64::MAX => write!(f, "<= {most}"),
            Range { least, most: u64::MAX } => write!(f, ">= {least}"),
            Range { least, most } => write!(f, "{least}-{most}"),
        }
    }
}
