//! What of a filter the kernel may be trusted with.
//!
//! Without a probe of the running kernel only this much counts as proved: the address family, the
//! protocol number, TCP and UDP ports, and IPv4 addresses, all of the original direction. A
//! kernel that does not know `CTA_FILTER` (before 5.8) ignores it and sends more, which is
//! harmless because every entry is matched again. What could *hide* an entry is never asked for:
//! the kernel compares IPv6 addresses inverted, evaluates port bits for TCP and UDP alone, and
//! read the reply tuple wrongly from 5.8 to 5.15.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use super::{Criterion, Direction, Expression, Side};
use crate::proto::Protocol;
use crate::tuple::Family;

/// The dump requests that together bring every entry a filter matches.
///
/// More than one where the filter names a protocol but no family: `CTA_FILTER` with a tuple is
/// `EOPNOTSUPP` for `AF_UNSPEC`, and two filtered dumps carry less than one unfiltered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) requests: Vec<KernelPart>,
}

/// The criteria of one dump request. All of them hold together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct KernelPart {
    pub(crate) family: Option<Family>,
    pub(crate) tuple: TuplePart,
}

/// Fields of the original tuple. Only ever used with a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct TuplePart {
    pub(crate) protocol: Option<Protocol>,
    pub(crate) src: Option<Ipv4Addr>,
    pub(crate) dst: Option<Ipv4Addr>,
    pub(crate) src_port: Option<u16>,
    pub(crate) dst_port: Option<u16>,
}

impl Plan {
    /// The whole table, unfiltered.
    pub(crate) fn everything() -> Plan {
        Plan { requests: vec![KernelPart::default()] }
    }

    /// Only criteria that every matching entry must meet are used: the filter itself, or members
    /// of its outermost conjunction. Of contradicting ones the first counts; the user-space match
    /// then discards everything.
    pub(crate) fn of(expression: &Expression) -> Plan {
        let mut required = Vec::new();
        conjuncts(expression, &mut required);

        let mut family = None;
        let mut wanted = TuplePart::default();
        for criterion in &required {
            match **criterion {
                Criterion::Family(f) => _ = family.get_or_insert(f),
                // Every entry with such an address is of its family.
                Criterion::Address(direction, side, address) => {
                    family.get_or_insert(Family::of(address));
                    if let (Direction::Orig, IpAddr::V4(address)) = (direction, address) {
                        match side {
                            Side::Src => _ = wanted.src.get_or_insert(address),
                            Side::Dst => _ = wanted.dst.get_or_insert(address),
                        }
                    }
                }
                Criterion::Protocol(p) => _ = wanted.protocol.get_or_insert(p),
                Criterion::Port(Direction::Orig, Side::Src, p) => {
                    wanted.src_port.get_or_insert(p);
                }
                Criterion::Port(Direction::Orig, Side::Dst, p) => {
                    wanted.dst_port.get_or_insert(p);
                }
                Criterion::Port(Direction::Reply, ..)
                | Criterion::StatusSet(_)
                | Criterion::StatusUnset(_)
                | Criterion::Mark { .. }
                | Criterion::Zone(_) => {}
            }
        }
        // The kernel evaluates port bits for these two only (ctnetlink_filter_match_tuple).
        if !matches!(wanted.protocol, Some(Protocol::TCP | Protocol::UDP)) {
            wanted.src_port = None;
            wanted.dst_port = None;
        }
        // IPv4 attributes in an AF_INET6 request are EINVAL.
        if family == Some(Family::Ipv6) {
            wanted.src = None;
            wanted.dst = None;
        }
        let families = match family {
            Some(family) => vec![family],
            None if wanted == TuplePart::default() => return Plan::everything(),
            None => Family::ALL.to_vec(),
        };
        let request = |family| KernelPart { family: Some(family), tuple: wanted };
        Plan { requests: families.into_iter().map(request).collect() }
    }
}

fn conjuncts<'a>(expression: &'a Expression, out: &mut Vec<&'a Criterion>) {
    match expression {
        Expression::Is(criterion) => out.push(criterion),
        Expression::All(parts) => parts.iter().for_each(|part| conjuncts(part, out)),
        // No member of these has to hold for the whole to hold.
        Expression::Any(_) | Expression::Not(_) => {}
    }
}

impl fmt::Display for KernelPart {
    /// The filter words of what the kernel was asked to filter; empty for nothing.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use Direction::Orig;
        let t = &self.tuple;
        let address =
            |side, a: Option<Ipv4Addr>| a.map(|a| Criterion::Address(Orig, side, a.into()));
        let port = |side, p: Option<u16>| p.map(|p| Criterion::Port(Orig, side, p));
        let parts = [
            self.family.map(Criterion::Family),
            t.protocol.map(Criterion::Protocol),
            address(Side::Src, t.src),
            address(Side::Dst, t.dst),
            port(Side::Src, t.src_port),
            port(Side::Dst, t.dst_port),
        ];
        for (at, part) in parts.into_iter().flatten().enumerate() {
            if at > 0 {
                f.write_str(" and ")?;
            }
            write!(f, "{part}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::Filter;
    use crate::status::Status;

    fn plan(filter: &Filter) -> Vec<String> {
        filter.plan().unwrap().requests.iter().map(ToString::to_string).collect()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_proved_criteria_are_pushed_down() {
        let all = Filter::protocol(Protocol::UDP)
            & Filter::orig_src(ip("10.0.0.1"))
            & Filter::orig_dst(ip("10.96.0.10"))
            & Filter::orig_src_port(1001)
            & Filter::orig_dst_port(53);
        assert_eq!(
            plan(&all),
            [
                "ip and udp and orig src 10.0.0.1 and orig dst 10.96.0.10 and orig src port 1001 and \
              orig dst port 53"
            ]
        );
    }

    #[test]
    fn a_protocol_without_a_family_takes_two_passes() {
        let udp = Filter::protocol(Protocol::UDP) & Filter::orig_dst_port(53);
        assert_eq!(
            plan(&udp),
            ["ip and udp and orig dst port 53", "ip6 and udp and orig dst port 53"]
        );
    }

    #[test]
    fn ipv6_addresses_are_inverted_in_the_kernel_and_stay_here() {
        let v6 = Filter::orig_dst(ip("2001:db8::10")) & Filter::protocol(Protocol::UDP);
        assert_eq!(plan(&v6), ["ip6 and udp"]);
        let contradiction = Filter::family(Family::Ipv6) & Filter::orig_dst(ip("10.0.0.1"));
        assert_eq!(plan(&contradiction), ["ip6"]);
    }

    #[test]
    fn ports_of_other_protocols_are_ignored_by_the_kernel_and_stay_here() {
        for protocol in [Protocol::SCTP, Protocol::UDPLITE, Protocol::GRE, Protocol::DCCP] {
            let filter = Filter::family(Family::Ipv4)
                & Filter::protocol(protocol)
                & Filter::orig_dst_port(53);
            assert_eq!(plan(&filter), [format!("ip and {protocol}")]);
        }
        assert_eq!(plan(&Filter::orig_dst_port(53)), [""]);
    }

    #[test]
    fn the_reply_tuple_and_the_rest_stay_here() {
        let reply = Filter::reply_src_port(53) & Filter::protocol(Protocol::TCP);
        assert_eq!(plan(&reply), ["ip and tcp", "ip6 and tcp"]);
        let address = Filter::reply_src(ip("10.0.0.1"));
        assert_eq!(plan(&address), ["ip"]);
        for filter in [Filter::mark(1), Filter::zone(1), Filter::status_set(Status::ASSURED)] {
            assert_eq!(plan(&filter), [""]);
        }
    }

    #[test]
    fn alternatives_and_negations_are_not_required() {
        let udp = Filter::protocol(Protocol::UDP);
        let ip4 = Filter::family(Family::Ipv4);
        assert_eq!(plan(&(udp.clone() | ip4.clone())), [""]);
        assert_eq!(plan(&!udp.clone()), [""]);
        assert_eq!(plan(&(ip4.clone() & !udp.clone())), ["ip"]);
        assert_eq!(plan(&(ip4 & (udp.clone() | Filter::zone(1)))), ["ip"]);
        // A conjunction inside a conjunction, as the operators build it from parts.
        let nested = Expression::All(vec![
            Expression::All(vec![Expression::Is(Criterion::Protocol(Protocol::UDP))]),
            Expression::Is(Criterion::Family(Family::Ipv6)),
        ]);
        assert_eq!(Plan::of(&nested).requests[0].to_string(), "ip6 and udp");
    }

    #[test]
    fn of_contradictions_the_first_counts() {
        let filter = Filter::family(Family::Ipv4)
            & Filter::family(Family::Ipv6)
            & Filter::protocol(Protocol::UDP)
            & Filter::protocol(Protocol::SCTP)
            & Filter::orig_dst_port(53)
            & Filter::orig_dst_port(54);
        assert_eq!(plan(&filter), ["ip and udp and orig dst port 53"]);
    }
}
