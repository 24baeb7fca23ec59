//! The proof of one request shape: which fields a request compares, apart from their values.
//!
//! A scratch table has two entries that the request selects, which differ in all that it leaves open,
//! and for each of its fields one that differs from the first in this field. The request is proved if
//! it brings, or removes, exactly the first two.

use std::net::IpAddr;

use super::trial::{self, BACKEND, FRONTEND, MARK, SET, Scratch, UNSET, ZONE, host};
use crate::error::Result;
use crate::filter::kernel_part::{KernelPart, TuplePart};
use crate::filter::plan::Purpose;
use crate::model::capability::Trust;
use crate::model::protocol::Protocol;
use crate::model::status::Status;
use crate::model::tuple::{Family, Icmp, Tuple};
use crate::transport::command::Command;
use crate::transport::namespace::Namespace;
use crate::transport::socket::Socket;

/// The same fields, with values of the scratch table: two requests of one shape have the same.
/// Values that mean something else are kept apart (0 of a mark, of a status and of a zone).
pub(crate) fn shape(part: &KernelPart) -> KernelPart {
    let KernelPart { family, orig, reply, mark, status, zone } = *part;
    let of = family.unwrap_or(Family::Ipv4);
    let base = base(of, orig.protocol);
    KernelPart {
        family,
        orig: like(&orig, &base.orig),
        reply: like(&reply, &base.reply),
        mark: mark.map(|(value, _)| if value == 0 { (0, MARK) } else { (MARK, MARK) }),
        status: status.map(|(value, mask)| match (value != 0, mask == value) {
            (true, true) => (SET.bits(), SET.bits()),
            (true, false) => (SET.bits(), (SET | UNSET).bits()),
            (false, _) => (0, SET.bits()),
        }),
        zone: zone.map(|zone| if zone == 0 { 0 } else { ZONE }),
    }
}

/// The fields of one tuple that are set, with the values of another tuple.
fn like(part: &TuplePart, tuple: &Tuple) -> TuplePart {
    let TuplePart { protocol, src, dst, src_port, dst_port, icmp_type, icmp_code, icmp_id } = part;
    let icmp = tuple.icmp().unwrap_or(Icmp { kind: 8, code: 0, id: 1 });
    TuplePart {
        protocol: *protocol,
        src: src.map(|_| tuple.src()),
        dst: dst.map(|_| tuple.dst()),
        src_port: src_port.and(tuple.src_port()),
        dst_port: dst_port.and(tuple.dst_port()),
        icmp_type: icmp_type.map(|_| icmp.kind),
        icmp_code: icmp_code.map(|_| icmp.code),
        icmp_id: icmp_id.map(|_| icmp.id),
    }
}

/// The entry that is selected, before marks and the like.
fn base(family: Family, protocol: Option<Protocol>) -> Scratch {
    let protocol = protocol.unwrap_or(Protocol::UDP);
    let at = |(n, port)| (host(family, n), port).into();
    let (orig, reply) = match protocol {
        Protocol::ICMP | Protocol::ICMPV6 => {
            let kind = if protocol == Protocol::ICMP { 8 } else { 128 };
            let icmp = Icmp { kind, code: 0, id: 1 };
            let orig = Tuple::icmp_of(protocol, host(family, 1), host(family, FRONTEND.0), icmp);
            (orig, orig.inverse().unwrap_or(orig))
        }
        Protocol::TCP | Protocol::UDP | Protocol::UDPLITE | Protocol::SCTP | Protocol::GRE => (
            Tuple::with_ports(protocol, at((1, 1000)), at(FRONTEND)),
            Tuple::with_ports(protocol, at(BACKEND), at((1, 1000))),
        ),
        portless => {
            let between = |from, to| Tuple::new(portless, host(family, from), host(family, to));
            (between(1, FRONTEND.0), between(BACKEND.0, 1))
        }
    };
    Scratch { orig, reply, mark: 0, status: Status::CONFIRMED, zone: 0 }
}

/// The entry that the shape selects; a second one that it selects, which differs in what the shape
/// leaves open; and one neighbour of the first for each field of the shape.
fn table(shape: &KernelPart) -> Vec<Scratch> {
    let KernelPart { family, orig, reply, mark, status, zone } = *shape;
    let of = family.unwrap_or(Family::Ipv4);
    let mut selected = base(of, orig.protocol);
    selected.mark = mark.map_or(0, |(value, _)| value);
    selected.status |= Status::from_bits_retain(status.map_or(0, |(value, _)| value));
    selected.zone = zone.unwrap_or(0);
    let mut all = vec![selected, otherwise(shape, selected, of)];
    if family.is_some() {
        let other = if of == Family::Ipv4 { Family::Ipv6 } else { Family::Ipv4 };
        let Scratch { orig, reply, .. } = base(other, orig.protocol);
        all.push(Scratch { orig, reply, ..selected });
    }
    if let Some(protocol) = orig.protocol {
        let other = if protocol == Protocol::UDP { Protocol::TCP } else { Protocol::UDP };
        let Scratch { orig, reply, .. } = base(of, Some(other));
        all.push(Scratch { orig, reply, ..selected });
    }
    for changed in neighbours(&orig, &selected.orig, of, 2, 11) {
        all.push(Scratch { orig: changed, ..selected });
    }
    for changed in neighbours(&reply, &selected.reply, of, 21, 2) {
        all.push(Scratch { reply: changed, ..selected });
    }
    if mark.is_some() {
        all.push(Scratch { mark: selected.mark ^ MARK, ..selected });
    }
    if let Some((_, mask)) = status {
        all.push(Scratch { status: selected.status ^ SET, ..selected });
        if mask & UNSET.bits() != 0 {
            all.push(Scratch { status: selected.status | UNSET, ..selected });
        }
    }
    if let Some(zone) = zone {
        all.push(Scratch { zone: zone ^ 1, ..selected });
    }
    // None may be in another's way: each has a zone of its own, or else another client.
    for (at, entry) in (0..).zip(&mut all) {
        match zone {
            None => entry.zone = at,
            Some(_) => another_client(entry, &orig, &reply, at),
        }
    }
    all
}

/// Another entry that the shape selects: it differs from the first in each field that the shape
/// leaves open, and in the bits outside of masks.
fn otherwise(shape: &KernelPart, selected: Scratch, of: Family) -> Scratch {
    let KernelPart { family: _, orig, reply, mark, status, zone: _ } = shape;
    // Without a protocol in the shape, the first entry is UDP.
    let other = if orig.protocol.is_none() { base(of, Some(Protocol::TCP)) } else { selected };
    let changed = |part: &TuplePart, tuple: &Tuple, src, dst| {
        let port = |set: Option<u16>, port: Option<u16>| {
            port.map(|port| if set.is_none() { port + 7 } else { port })
        };
        let src = if part.src.is_none() { host(of, src) } else { tuple.src() };
        let dst = if part.dst.is_none() { host(of, dst) } else { tuple.dst() };
        let ports = (port(part.src_port, tuple.src_port()), port(part.dst_port, tuple.dst_port()));
        with_ends(tuple, (src, ports.0), (dst, ports.1))
    };
    Scratch {
        orig: changed(orig, &other.orig, 3, 12),
        reply: changed(reply, &other.reply, 22, 3),
        mark: if mark.is_some() { selected.mark | 1 } else { !0 },
        status: if status.is_some() { selected.status } else { selected.status | SET | UNSET },
        zone: selected.zone,
    }
}

/// Gives an entry a client of its own, if the shape leaves the client open: by its port, or else by
/// its address.
fn another_client(entry: &mut Scratch, orig: &TuplePart, reply: &TuplePart, at: u16) {
    let client = (entry.orig.src(), entry.orig.src_port());
    let back = (entry.reply.dst(), entry.reply.dst_port());
    let has_ports = client.1.is_some();
    let (client, back) = if has_ports && orig.src_port.is_none() && reply.dst_port.is_none() {
        ((client.0, Some(2000 + at)), (back.0, Some(2000 + at)))
    } else if orig.src.is_none() && reply.dst.is_none() {
        let own = host(Family::of(client.0), 100 + at);
        ((own, client.1), (own, back.1))
    } else {
        return;
    };
    let Scratch { orig, reply, .. } = *entry;
    entry.orig = with_ends(&orig, client, (orig.dst(), orig.dst_port()));
    entry.reply = with_ends(&reply, (reply.src(), reply.src_port()), back);
}

/// The tuple with another value, once for each field that is set.
fn neighbours(part: &TuplePart, tuple: &Tuple, of: Family, src: u16, dst: u16) -> Vec<Tuple> {
    let from = (tuple.src(), tuple.src_port());
    let to = (tuple.dst(), tuple.dst_port());
    let mut all = Vec::new();
    all.extend(part.src.map(|_| with_ends(tuple, (host(of, src), from.1), to)));
    all.extend(part.dst.map(|_| with_ends(tuple, from, (host(of, dst), to.1))));
    all.extend(part.src_port.map(|port| with_ends(tuple, (from.0, Some(port + 1)), to)));
    all.extend(part.dst_port.map(|port| with_ends(tuple, from, (to.0, Some(port + 1)))));
    if let Some(icmp) = tuple.icmp() {
        let with = |icmp| Tuple::icmp_of(tuple.protocol(), from.0, to.0, icmp);
        let kind = if tuple.protocol() == Protocol::ICMP { 13 } else { 139 };
        all.extend(part.icmp_type.map(|_| with(Icmp { kind, ..icmp })));
        all.extend(part.icmp_code.map(|_| with(Icmp { code: 1, ..icmp })));
        all.extend(part.icmp_id.map(|_| with(Icmp { id: 2, ..icmp })));
    }
    all
}

/// The tuple with other ends: address, and port if its protocol has ports.
fn with_ends(tuple: &Tuple, src: (IpAddr, Option<u16>), dst: (IpAddr, Option<u16>)) -> Tuple {
    match (src.1, dst.1, tuple.icmp()) {
        (Some(from), Some(to), _) => {
            Tuple::with_ports(tuple.protocol(), (src.0, from).into(), (dst.0, to).into())
        }
        (.., Some(icmp)) => Tuple::icmp_of(tuple.protocol(), src.0, dst.0, icmp),
        _ => Tuple::new(tuple.protocol(), src.0, dst.0),
    }
}

/// Tries out a shape in a scratch namespace, which needs `CAP_SYS_ADMIN`: one walk over the machine's
/// hash table. `Untested` if the entries that would show it cannot be made.
pub(crate) fn prove(shape: &KernelPart, purpose: Purpose) -> Result<Trust> {
    Namespace::scratch(|| {
        let mut command = Command::new(Socket::open()?)?;
        let table = table(shape);
        let all: Vec<&Scratch> = table.iter().collect();
        trial::create(&mut command, &all)?;
        let found = trial::look(&mut command, &all)?;
        let is_there = |(entry, flow): (&Scratch, &Option<_>)| {
            flow.as_ref().is_some_and(|flow| entry.is(flow))
        };
        if !table.iter().zip(&found).all(is_there) {
            return Ok(Trust::Untested);
        }
        trial::try_part(&mut command, purpose, shape, &table)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::Filter;
    use crate::model::capability::Trusts;

    fn shapes(text: &str) -> Vec<KernelPart> {
        let plan = text.parse::<Filter>().unwrap().plan(&Trusts::PROVED).unwrap();
        plan.passes.iter().map(shape).collect()
    }

    /// Each field of a shape has a neighbour, which differs from the selected entry and is not
    /// selected; so no field can be ignored or inverted without notice.
    #[test]
    fn every_field_has_a_neighbour() {
        for (text, fields) in [
            ("ip and udp and orig dst port 53", 3),
            ("ip and tcp and orig src 10.0.0.1 and orig dst port 53", 4),
            ("ip6 and udp and orig dst fd00::1 and reply src fd00::2", 4),
            ("ip and reply src 10.0.0.1 and mark 7/0xf", 3),
            ("ip and udp and unreplied and zone 3", 4),
            ("ip and udp and status set SEEN_REPLY", 3),
            ("ip and udp and status set SEEN_REPLY and status unset ASSURED", 4),
            ("ip and icmp and icmp-type 8 and icmp-code 3 and icmp-id 9", 5),
            ("ip6 and icmpv6 and icmp-type 128", 3),
            ("ip and tcp and reply src port 80 and reply dst port 9", 4),
            ("ip and mark 0 and zone 0", 3),
            ("ip and proto 89 and orig dst 10.0.0.1", 3),
        ] {
            for shape in shapes(text) {
                let table = table(&shape);
                assert_eq!(table.len(), 2 + fields, "{text}: {shape}");
                let selected = table.iter().filter(|entry| entry.is_selected(&shape));
                assert_eq!(selected.count(), 2, "{text}: {shape}");
                assert!(table[0].is_selected(&shape) && table[1].is_selected(&shape));
            }
        }
        assert_eq!(shapes("ip and udp and mark 5"), shapes("ip and udp and mark 9"));
        assert_ne!(shapes("ip and udp and mark 0"), shapes("ip and udp and mark 9"));
        assert_ne!(shapes("ip and udp and zone 1"), shapes("ip and tcp and zone 1"));
    }

    #[test]
    fn shapes_are_proved_or_refuted_by_the_kernel() {
        ctnetlink_testbed::netns::in_netns(|| {
            let trust = |text: &str, purpose| {
                let trusts: Vec<Trust> =
                    shapes(text).iter().map(|shape| prove(shape, purpose).unwrap()).collect();
                assert!(trusts.iter().all(|trust| *trust == trusts[0]), "{text}: {trusts:?}");
                trusts[0]
            };
            for text in [
                "ip and udp and orig dst port 53",
                "ip6 and udp and reply src port 53",
                "ip and tcp and mark 7/0xf",
                "ip and mark 0/1",
                "ip and udp and zone 3 and mark 5 and unreplied",
                "ip and zone 3 and reply src 10.0.0.1",
                "ip and icmp and icmp-type 8 and zone 3",
                "icmp and reply src 10.0.0.1",
                "icmp",
                "icmpv6",
                "icmpv6 and mark 3",
                "ip and proto 89 and zone 0 and orig dst 10.0.0.1",
            ] {
                assert_eq!(trust(text, Purpose::Dump), Trust::Proved, "{text}");
            }
            for text in ["icmp", "icmpv6 and icmp-type 128"] {
                assert_eq!(trust(text, Purpose::Flush), Trust::Proved, "{text}");
            }
            // A part that says nothing of SCTP ports, and one that has them behind the planner's
            // back: no kernel compares them.
            let mut ignored = shapes("ip and udp and orig dst port 53")[0];
            ignored.orig.protocol = Some(Protocol::SCTP);
            let ignored = shape(&ignored);
            assert_eq!(prove(&ignored, Purpose::Dump).unwrap(), Trust::Wrong);
            assert_ne!(prove(&ignored, Purpose::Flush).unwrap(), Trust::Proved);
        });
    }
}
