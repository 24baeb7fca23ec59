//! Random tables and random expressions, and a naive reading of the one over the other: the oracle
//! of the filter tests. Nothing here reads an entry back from the kernel.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use ctnetlink::{
    Addresses, Family, Filter, Icmp, IpNet, NewEntry, Ports, Protocol, ProtocolState, SctpState,
    Status, TcpState, Tuple,
};
use proptest::prelude::*;

/// An entry as the test wants it.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    v6: bool,
    protocol: u8,
    /// Number of the host, and port (or ICMP id) of the client.
    client: (u8, u16),
    frontend: (u8, u16),
    backend: (u8, u16),
    /// Type and code.
    icmp: (u8, u8),
    mark: u32,
    status: u32,
    /// Direction it applies to (0 both, 1 original, 2 reply) and number.
    zone: (u8, u16),
    timeout: u64,
    state: u8,
}

const PORTED: [u8; 5] = [6, 17, 132, 136, 47];

fn ip(v6: bool, host: u8) -> IpAddr {
    match v6 {
        false => Ipv4Addr::new(10, 0, 0, host).into(),
        true => Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, host.into()).into(),
    }
}

impl Row {
    fn at(&self, (host, port): (u8, u16)) -> SocketAddr {
        SocketAddr::new(ip(self.v6, host), port)
    }

    fn is_icmp(&self) -> bool {
        [1, 58].contains(&self.protocol)
    }

    /// Both tuples, each with its zone.
    pub(crate) fn tuples(&self) -> (Tuple, Tuple) {
        let (client, frontend) = (self.at(self.client), self.at(self.frontend));
        let protocol = Protocol(self.protocol);
        let (orig, reply) = if self.is_icmp() {
            let (kind, code) = self.icmp;
            let icmp = Icmp { kind, code, id: self.client.1 };
            let orig = Tuple::with_icmp(client.ip(), frontend.ip(), icmp);
            (orig, orig.inverse().unwrap())
        } else if PORTED.contains(&self.protocol) {
            let backend = self.at(self.backend);
            (
                Tuple::with_ports(protocol, client, frontend),
                Tuple::with_ports(protocol, backend, client),
            )
        } else {
            let backend = self.at(self.backend);
            (
                Tuple::new(protocol, client.ip(), frontend.ip()),
                Tuple::new(protocol, backend.ip(), client.ip()),
            )
        };
        match self.zone {
            (1, zone) if zone != 0 => (orig.in_zone(zone), reply),
            (2, zone) if zone != 0 => (orig, reply.in_zone(zone)),
            _ => (orig, reply),
        }
    }

    pub(crate) fn zone_number(&self) -> u16 {
        self.zone.1
    }

    pub(crate) fn new_entry(&self) -> NewEntry {
        let (orig, reply) = self.tuples();
        let mut new = NewEntry::new(orig, Duration::from_secs(self.timeout)).reply(reply);
        new = new.status(Status::from_bits_retain(self.status)).mark(self.mark);
        if self.zone.0 == 0 && self.zone.1 != 0 {
            new = new.zone(self.zone.1);
        }
        match self.protocol {
            6 => new.state(ProtocolState::Tcp {
                state: Some(TcpState::from(self.state)),
                wscale_orig: None,
                wscale_reply: None,
                flags_orig: None,
                flags_reply: None,
            }),
            132 => new.state(ProtocolState::Sctp {
                state: Some(SctpState::from(self.state)),
                vtag_orig: Some(1),
                vtag_reply: Some(2),
            }),
            _ => new,
        }
    }

    fn host(&self, place: Place) -> u8 {
        match place {
            Place::OrigSrc | Place::ReplyDst => self.client.0,
            Place::OrigDst => self.frontend.0,
            // An ICMP entry is not translated here.
            Place::ReplySrc if self.is_icmp() => self.frontend.0,
            Place::ReplySrc => self.backend.0,
        }
    }

    fn port(&self, place: Place) -> Option<u16> {
        PORTED.contains(&self.protocol).then_some(match place {
            Place::OrigSrc | Place::ReplyDst => self.client.1,
            Place::OrigDst => self.frontend.1,
            Place::ReplySrc => self.backend.1,
        })
    }
}

pub(crate) fn any_row() -> impl Strategy<Value = Row> {
    let protocol = prop_oneof![
        4 => Just(17), 3 => Just(6), 2 => Just(132), 1 => Just(136), 1 => Just(47), 2 => Just(1),
        1 => Just(89),
    ];
    let zone = prop_oneof![
        4 => Just((0, 0)),
        2 => (Just(0), 7_u16..9),
        1 => (1_u8..3, 7_u16..9),
    ];
    let hosts = (1_u8..4, 10_u8..13, 20_u8..23);
    let ports = (1_u16..400, 53_u16..55, 5353_u16..5355);
    let rest = (0_usize..2, 0_u8..2, 0_usize..4, 0_u32..4, 0_u64..4, 1_u8..6);
    (any::<bool>(), protocol, hosts, ports, zone, rest).prop_map(
        |(v6, protocol, (c, f, b), (cp, fp, bp), zone, (kind, code, status, mark, life, state))| {
            let (protocol, kinds) = match (protocol, v6) {
                (1, false) => (1, [8, 13]),
                (1, true) => (58, [128, 139]),
                (protocol, _) => (protocol, [0, 0]),
            };
            Row {
                v6,
                protocol,
                client: (c, cp),
                frontend: (f, fp),
                backend: (b, bp),
                icmp: (kinds[kind], code),
                mark: mark << 4 | mark,
                status: [0x8, 0xa, 0xc, 0xe][status],
                zone,
                timeout: 1000 + 100 * life,
                state,
            }
        },
    )
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Place {
    OrigSrc,
    OrigDst,
    ReplySrc,
    ReplyDst,
}

const PLACES: [Place; 4] = [Place::OrigSrc, Place::OrigDst, Place::ReplySrc, Place::ReplyDst];

/// One statement.
#[derive(Debug, Clone)]
pub(crate) enum Leaf {
    Family(bool),
    Protocol(u8),
    /// Prefixes as family, host number and bits of it that count.
    Address(Place, Vec<(bool, u8, u8)>),
    Host(Vec<(bool, u8, u8)>),
    Port(Place, Vec<(u16, u16)>),
    IcmpType(u8),
    IcmpCode(u8),
    IcmpId(u16),
    StatusSet(u32),
    StatusUnset(u32),
    Mark(u32, u32),
    /// 0 either, 1 original, 2 reply.
    Zone(u8, u16),
    TcpState(u8),
    SctpState(u8),
    /// At least this many seconds left.
    Timeout(u64),
    /// Of an entry of this test: less than 100 seconds, no label, no helper, no packets yet.
    Old(bool),
    Label,
    Helper,
    Packets(bool),
}

#[derive(Debug, Clone)]
pub(crate) enum Expr {
    Is(Leaf),
    And(Box<Expr>, Box<Expr>),
    Or(Box<Expr>, Box<Expr>),
    Not(Box<Expr>),
}

impl Expr {
    pub(crate) fn filter(&self) -> Filter {
        match self {
            Expr::Is(leaf) => leaf.filter(),
            Expr::And(a, b) => a.filter() & b.filter(),
            Expr::Or(a, b) => a.filter() | b.filter(),
            Expr::Not(a) => !a.filter(),
        }
    }

    pub(crate) fn matches(&self, row: &Row) -> bool {
        match self {
            Expr::Is(leaf) => leaf.matches(row),
            Expr::And(a, b) => a.matches(row) && b.matches(row),
            Expr::Or(a, b) => a.matches(row) || b.matches(row),
            Expr::Not(a) => !a.matches(row),
        }
    }
}

fn net(&(v6, host, bits): &(bool, u8, u8)) -> IpNet {
    let length = if v6 { 120 } else { 24 } + bits;
    IpNet::new(ip(v6, host), length).unwrap()
}

fn within(row: &Row, place: Place, nets: &[(bool, u8, u8)]) -> bool {
    nets.iter().any(|(v6, host, bits)| {
        let ignored = 8 - u32::from(*bits);
        *v6 == row.v6 && u32::from(row.host(place)) >> ignored == u32::from(*host) >> ignored
    })
}

impl Leaf {
    fn filter(&self) -> Filter {
        let bits = Status::from_bits_retain;
        match self {
            Leaf::Family(false) => Filter::family(Family::Ipv4),
            Leaf::Family(true) => Filter::family(Family::Ipv6),
            Leaf::Protocol(number) => Filter::protocol(Protocol(*number)),
            Leaf::Address(place, nets) => {
                let set: Addresses = nets.iter().map(net).collect();
                match place {
                    Place::OrigSrc => Filter::orig_src_in(set),
                    Place::OrigDst => Filter::orig_dst_in(set),
                    Place::ReplySrc => Filter::reply_src_in(set),
                    Place::ReplyDst => Filter::reply_dst_in(set),
                }
            }
            Leaf::Host(nets) => Filter::host_in(nets.iter().map(net).collect::<Addresses>()),
            Leaf::Port(place, ranges) => {
                let set: Ports = ranges.iter().map(|(a, b)| *a..=*b).collect();
                match place {
                    Place::OrigSrc => Filter::orig_src_port_in(set),
                    Place::OrigDst => Filter::orig_dst_port_in(set),
                    Place::ReplySrc => Filter::reply_src_port_in(set),
                    Place::ReplyDst => Filter::reply_dst_port_in(set),
                }
            }
            Leaf::IcmpType(number) => Filter::icmp_type(*number),
            Leaf::IcmpCode(number) => Filter::icmp_code(*number),
            Leaf::IcmpId(number) => Filter::icmp_id(*number),
            Leaf::StatusSet(set) => Filter::status_set(bits(*set)),
            Leaf::StatusUnset(set) => Filter::status_unset(bits(*set)),
            Leaf::Mark(value, mask) => Filter::mark_masked(*value & *mask, *mask),
            Leaf::Zone(0, zone) => Filter::zone(*zone),
            Leaf::Zone(1, zone) => Filter::orig_zone(*zone),
            Leaf::Zone(_, zone) => Filter::reply_zone(*zone),
            Leaf::TcpState(state) => Filter::tcp_state(TcpState::from(*state)),
            Leaf::SctpState(state) => Filter::sctp_state(SctpState::from(*state)),
            Leaf::Timeout(least) => Filter::timeout(*least..),
            Leaf::Old(false) => Filter::age(..100),
            Leaf::Old(true) => Filter::age(100..),
            Leaf::Label => Filter::label(5),
            Leaf::Helper => Filter::helper("ftp"),
            Leaf::Packets(false) => Filter::packets(..=0) & Filter::reply_bytes(..=0),
            Leaf::Packets(true) => Filter::packets(1..),
        }
    }

    fn matches(&self, row: &Row) -> bool {
        match self {
            Leaf::Family(v6) => row.v6 == *v6,
            Leaf::Protocol(number) => row.protocol == *number,
            Leaf::Address(place, nets) => within(row, *place, nets),
            Leaf::Host(nets) => PLACES.iter().any(|place| within(row, *place, nets)),
            Leaf::Port(place, ranges) => row
                .port(*place)
                .is_some_and(|port| ranges.iter().any(|(a, b)| (*a..=*b).contains(&port))),
            Leaf::IcmpType(number) => row.is_icmp() && row.icmp.0 == *number,
            Leaf::IcmpCode(number) => row.is_icmp() && row.icmp.1 == *number,
            Leaf::IcmpId(number) => row.is_icmp() && row.client.1 == *number,
            Leaf::StatusSet(bits) => row.status & bits == *bits,
            Leaf::StatusUnset(bits) => row.status & bits == 0,
            Leaf::Mark(value, mask) => row.mark & mask == value & mask,
            Leaf::Zone(0, zone) => row.zone.1 == *zone,
            // The zone of a direction it does not apply to is the default one.
            Leaf::Zone(direction, zone) => {
                let applies = row.zone.0 == 0 || row.zone.0 == *direction;
                *zone == if applies { row.zone.1 } else { 0 }
            }
            Leaf::TcpState(state) => row.protocol == 6 && row.state == *state,
            Leaf::SctpState(state) => row.protocol == 132 && row.state == *state,
            Leaf::Timeout(least) => row.timeout >= *least,
            Leaf::Old(old) => !old,
            Leaf::Label | Leaf::Helper => false,
            Leaf::Packets(some) => !some,
        }
    }
}

fn any_place() -> impl Strategy<Value = Place> + Clone {
    prop_oneof![
        Just(Place::OrigSrc),
        Just(Place::OrigDst),
        Just(Place::ReplySrc),
        Just(Place::ReplyDst)
    ]
}

fn any_host() -> impl Strategy<Value = u8> + Clone {
    prop_oneof![1_u8..4, 10_u8..13, 20_u8..23]
}

fn any_port() -> impl Strategy<Value = u16> + Clone {
    prop_oneof![1 => 1_u16..400, 2 => 53_u16..55, 2 => 5353_u16..5355]
}

/// What the kernel might be able to filter by.
fn simple_leaf() -> impl Strategy<Value = Leaf> {
    let single = (any::<bool>(), any_host()).prop_map(|(v6, host)| vec![(v6, host, 8)]);
    prop_oneof![
        any::<bool>().prop_map(Leaf::Family),
        prop_oneof![Just(6), Just(17), Just(132), Just(136), Just(47), Just(1), Just(58), Just(89)]
            .prop_map(Leaf::Protocol),
        (any_place(), single).prop_map(|(place, net)| Leaf::Address(place, net)),
        (any_place(), any_port()).prop_map(|(place, port)| Leaf::Port(place, vec![(port, port)])),
        prop_oneof![Just(8), Just(13), Just(128), Just(139), any::<u8>()].prop_map(Leaf::IcmpType),
        (0_u8..2).prop_map(Leaf::IcmpCode),
        (1_u16..400).prop_map(Leaf::IcmpId),
        prop_oneof![Just(2), Just(4), Just(6), Just(8)].prop_map(Leaf::StatusSet),
        prop_oneof![Just(2), Just(4), Just(6)].prop_map(Leaf::StatusUnset),
        (0_u32..64, prop_oneof![Just(u32::MAX), 1_u32..64]).prop_map(|(v, m)| Leaf::Mark(v, m)),
        prop_oneof![Just(0), 6_u16..9].prop_map(|zone| Leaf::Zone(0, zone)),
    ]
}

fn any_leaf() -> impl Strategy<Value = Leaf> {
    let nets = prop::collection::vec((any::<bool>(), any_host(), 5_u8..9), 1..4);
    let ports = prop::collection::vec((any_port(), 0_u16..2), 1..4)
        .prop_map(|all| all.into_iter().map(|(port, more)| (port, port + more)).collect());
    prop_oneof![
        6 => simple_leaf(),
        1 => (any_place(), nets.clone()).prop_map(|(place, nets)| Leaf::Address(place, nets)),
        1 => nets.prop_map(Leaf::Host),
        1 => (any_place(), ports).prop_map(|(place, ports)| Leaf::Port(place, ports)),
        2 => prop_oneof![
            (1_u8..3, prop_oneof![Just(0), 6_u16..9]).prop_map(|(d, z)| Leaf::Zone(d, z)),
            (1_u8..6).prop_map(Leaf::TcpState),
            (1_u8..6).prop_map(Leaf::SctpState),
            (0_u64..6).prop_map(|step| Leaf::Timeout(950 + 100 * step)),
            any::<bool>().prop_map(Leaf::Old),
            any::<bool>().prop_map(Leaf::Packets),
            Just(Leaf::Label),
            Just(Leaf::Helper),
        ],
    ]
}

/// What a person would ask for: family, protocol, and a few fields of such entries.
fn natural() -> impl Strategy<Value = Expr> {
    let protocol = prop_oneof![3 => Just(17), 2 => Just(6), 2 => Just(132), 1 => Just(136)];
    let field = (any_place(), any_host(), any_port(), 0_u16..9, 0_u8..8);
    let fields = prop::collection::vec(field, 1..4);
    (any::<bool>(), protocol, fields).prop_map(|(v6, protocol, fields)| {
        let mut all = vec![Leaf::Family(v6), Leaf::Protocol(protocol)];
        all.extend(fields.into_iter().map(|(place, host, port, zone, which)| match which {
            0..=2 => Leaf::Port(place, vec![(port, port)]),
            3 | 4 => Leaf::Address(place, vec![(v6, host, 8)]),
            5 => Leaf::Zone(0, zone),
            6 => Leaf::StatusSet(2),
            _ => Leaf::Mark(host.into(), 0x11),
        }));
        all.into_iter().map(Expr::Is).reduce(and).unwrap()
    })
}

fn and(a: Expr, b: Expr) -> Expr {
    Expr::And(Box::new(a), Box::new(b))
}

/// Some natural ones, some conjunctions of what the kernel might be able to do, some of anything.
pub(crate) fn any_expr() -> impl Strategy<Value = Expr> {
    let conjunction = prop::collection::vec(simple_leaf().prop_map(Expr::Is), 1..5)
        .prop_map(|all| all.into_iter().reduce(and).unwrap());
    let anything = any_leaf().prop_map(Expr::Is).prop_recursive(4, 16, 2, |inner| {
        prop_oneof![
            3 => (inner.clone(), inner.clone()).prop_map(|(a, b)| and(a, b)),
            2 => (inner.clone(), inner.clone())
                .prop_map(|(a, b)| Expr::Or(Box::new(a), Box::new(b))),
            1 => inner.prop_map(|a| Expr::Not(Box::new(a))),
        ]
    });
    prop_oneof![natural(), conjunction, anything]
}
