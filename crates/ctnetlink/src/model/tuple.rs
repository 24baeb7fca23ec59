//! The key of an entry in one direction: addresses, protocol, ports.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use crate::error::{DecodeError, Error};
use crate::model::protocol::Protocol;
use crate::uapi;
use crate::wire::Attributes;

/// Address family of an entry.
///
/// ```
/// use ctnetlink::Family;
/// assert_eq!(Family::of("fd00::1".parse()?), Family::Ipv6);
/// assert_eq!(Family::Ipv4.to_string(), "ipv4");
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// `AF_INET`.
    Ipv4,
    /// `AF_INET6`.
    Ipv6,
}

impl Family {
    /// Both families, in the order in which this crate reports them.
    pub const ALL: [Family; 2] = [Family::Ipv4, Family::Ipv6];

    /// The family of an address. An IPv4-mapped IPv6 address is IPv6.
    pub fn of(address: IpAddr) -> Family {
        match address {
            IpAddr::V4(_) => Family::Ipv4,
            IpAddr::V6(_) => Family::Ipv6,
        }
    }

    /// `nfgenmsg.nfgen_family`.
    pub(crate) fn number(self) -> u8 {
        match self {
            Family::Ipv4 => uapi::AF_INET,
            Family::Ipv6 => uapi::AF_INET6,
        }
    }

    pub(crate) fn from_number(number: u8) -> Option<Family> {
        match number {
            uapi::AF_INET => Some(Family::Ipv4),
            uapi::AF_INET6 => Some(Family::Ipv6),
            _ => None,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Family::Ipv4 => "ipv4",
            Family::Ipv6 => "ipv6",
        })
    }
}

impl FromStr for Family {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "ipv4" => Ok(Family::Ipv4),
            "ipv6" => Ok(Family::Ipv6),
            _ => Err(Error::Invalid(format!(
                "unknown family {text:?}: expected \"ipv4\" or \"ipv6\""
            ))),
        }
    }
}

/// ICMP or ICMPv6 fields of a tuple. The id belongs to the source side. The reply tuple has the
/// type of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Icmp {
    /// Type.
    pub kind: u8,
    /// Code.
    pub code: u8,
    /// Identifier.
    pub id: u16,
}

/// One direction of an entry.
///
/// In the original direction, source and destination are those of the first packet before NAT. In
/// the reply direction, they are those of a reply on the wire, before NAT is undone. So, for an
/// entry through DNAT, `orig.dst` is the frontend and `reply.src` is the backend.
///
/// ```
/// use ctnetlink::{Protocol, Tuple};
/// let (client, vip) = ("10.0.0.1:1001".parse()?, "10.96.0.10:53".parse()?);
/// let tuple = Tuple::with_ports(Protocol::UDP, client, vip);
/// assert_eq!(tuple.to_string(), "src=10.0.0.1 dst=10.96.0.10 sport=1001 dport=53");
/// assert_eq!(tuple.inverse().unwrap().source(), vip);
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tuple {
    src: IpAddr,
    dst: IpAddr,
    protocol: Protocol,
    src_port: Option<u16>,
    dst_port: Option<u16>,
    icmp: Option<Icmp>,
    zone: Option<u16>,
}

impl Tuple {
    /// A tuple without ports, for protocols that have none.
    pub fn new(protocol: Protocol, src: IpAddr, dst: IpAddr) -> Self {
        Tuple { src, dst, protocol, src_port: None, dst_port: None, icmp: None, zone: None }
    }

    /// A tuple with ports: TCP, UDP, UDP-Lite, SCTP; for GRE the ports are the keys.
    ///
    /// ```
    /// use ctnetlink::{Protocol, Tuple};
    /// let (client, vip) = ("10.0.0.1:1001".parse()?, "10.96.0.10:53".parse()?);
    /// let tuple = Tuple::with_ports(Protocol::UDP, client, vip);
    /// assert_eq!(tuple.to_string(), "src=10.0.0.1 dst=10.96.0.10 sport=1001 dport=53");
    /// # Ok::<(), std::net::AddrParseError>(())
    /// ```
    pub fn with_ports(protocol: Protocol, src: SocketAddr, dst: SocketAddr) -> Self {
        Tuple {
            src_port: Some(src.port()),
            dst_port: Some(dst.port()),
            ..Tuple::new(protocol, src.ip(), dst.ip())
        }
    }

    /// An ICMP tuple, or an ICMPv6 one if the addresses are IPv6.
    pub fn with_icmp(src: IpAddr, dst: IpAddr, icmp: Icmp) -> Self {
        let protocol = if src.is_ipv4() { Protocol::ICMP } else { Protocol::ICMPV6 };
        Tuple::icmp_of(protocol, src, dst, icmp)
    }

    /// An ICMP tuple of this protocol whatever its addresses are. The kernel tracks ICMPv6 over IPv4
    /// and the reverse, as its handlers are chosen by protocol number alone.
    pub(crate) fn icmp_of(protocol: Protocol, src: IpAddr, dst: IpAddr, icmp: Icmp) -> Self {
        Tuple { icmp: Some(icmp), ..Tuple::new(protocol, src, dst) }
    }

    /// The same tuple with a zone that applies to its direction only.
    #[must_use]
    pub fn in_zone(self, zone: u16) -> Self {
        Tuple { zone: Some(zone), ..self }
    }

    /// What the other direction looks like without NAT: source and destination exchanged, and for
    /// ICMP the answering type. `None` for an ICMP type that has no answer (the kernel tracks
    /// none of those). The zone of one direction does not carry over.
    pub fn inverse(&self) -> Option<Self> {
        let icmp = match self.icmp {
            Some(icmp) => Some(Icmp { kind: answering_type(self.protocol, icmp.kind)?, ..icmp }),
            None => None,
        };
        Some(Tuple {
            src: self.dst,
            dst: self.src,
            src_port: self.dst_port,
            dst_port: self.src_port,
            icmp,
            zone: None,
            protocol: self.protocol,
        })
    }

    /// The same tuple without a zone of its own.
    pub(crate) fn without_zone(self) -> Tuple {
        Tuple { zone: None, ..self }
    }

    /// Whether the two differ in their zones at most.
    pub(crate) fn is_same_but_zone(&self, other: &Tuple) -> bool {
        self.without_zone() == other.without_zone()
    }

    /// The family of both addresses; `None` if they differ.
    pub(crate) fn family(&self) -> Option<Family> {
        let family = Family::of(self.src);
        (Family::of(self.dst) == family).then_some(family)
    }

    /// Source address.
    #[inline]
    pub fn src(&self) -> IpAddr {
        self.src
    }

    /// Destination address.
    #[inline]
    pub fn dst(&self) -> IpAddr {
        self.dst
    }

    /// Transport protocol; the same in both directions.
    #[inline]
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Source port in host byte order: TCP, UDP, UDP-Lite, SCTP; for GRE the key. Other protocols
    /// have none.
    #[inline]
    pub fn src_port(&self) -> Option<u16> {
        self.src_port
    }

    /// Destination port in host byte order: TCP, UDP, UDP-Lite, SCTP; for GRE the key. Other
    /// protocols have none.
    #[inline]
    pub fn dst_port(&self) -> Option<u16> {
        self.dst_port
    }

    /// ICMP and ICMPv6 fields.
    #[inline]
    pub fn icmp(&self) -> Option<Icmp> {
        self.icmp
    }

    /// The zone, if it applies to this direction only. A zone of both directions is in
    /// [`Flow::zone`](crate::Flow::zone).
    #[inline]
    pub fn zone(&self) -> Option<u16> {
        self.zone
    }

    /// Source address and port; port 0 where the protocol has none.
    #[inline]
    pub fn source(&self) -> SocketAddr {
        SocketAddr::new(self.src, self.src_port.unwrap_or(0))
    }

    /// Destination address and port; port 0 where the protocol has none.
    #[inline]
    pub fn destination(&self) -> SocketAddr {
        SocketAddr::new(self.dst, self.dst_port.unwrap_or(0))
    }

    /// Reads the value of `CTA_TUPLE_*`. `base` is its offset, for error texts.
    ///
    /// Addresses and protocol are mandatory, because the kernel always sends them. Unknown members
    /// are skipped.
    #[inline]
    pub(crate) fn parse(value: &[u8], family: Family, base: usize) -> Result<Self, DecodeError> {
        match usual::parse(value, family) {
            Some(tuple) => Ok(tuple),
            None => Tuple::parse_any(value, family, base),
        }
    }

    /// Parses any layout: members in any order, and unknown ones among them.
    fn parse_any(value: &[u8], family: Family, base: usize) -> Result<Self, DecodeError> {
        use uapi::tuple as t;

        let mut addresses = None;
        let mut proto = None;
        let mut zone = None;
        for attribute in Attributes::new(value) {
            let attribute = attribute.map_err(|e| DecodeError::new(e.what, base + e.offset))?;
            match attribute.kind {
                t::IP => addresses = parse_addresses(attribute.nested(), family),
                t::PROTO => proto = Some(attribute),
                t::ZONE => zone = attribute.be16(),
                _ => {}
            }
        }
        let (src, dst) = addresses.ok_or(DecodeError::new("tuple without addresses", base))?;
        let proto = proto.ok_or(DecodeError::new("tuple without protocol", base))?;

        let mut protocol = None;
        let (mut src_port, mut dst_port) = (None, None);
        let (mut id, mut kind, mut code) = (None, None, None);
        for attribute in proto.nested() {
            let attribute =
                attribute.map_err(|e| DecodeError::new(e.what, base + proto.offset + e.offset))?;
            match attribute.kind {
                t::PROTO_NUM => protocol = attribute.u8(),
                t::PROTO_SRC_PORT => src_port = attribute.be16(),
                t::PROTO_DST_PORT => dst_port = attribute.be16(),
                t::PROTO_ICMP_ID | t::PROTO_ICMPV6_ID => id = attribute.be16(),
                t::PROTO_ICMP_TYPE | t::PROTO_ICMPV6_TYPE => kind = attribute.u8(),
                t::PROTO_ICMP_CODE | t::PROTO_ICMPV6_CODE => code = attribute.u8(),
                _ => {}
            }
        }
        let protocol = protocol.ok_or(DecodeError::new("tuple without protocol number", base))?;
        let icmp = match (kind, code, id) {
            (Some(kind), Some(code), Some(id)) => Some(Icmp { kind, code, id }),
            _ => None,
        };
        Ok(Tuple { src, dst, protocol: Protocol(protocol), src_port, dst_port, icmp, zone })
    }
}

/// The layout in which every kernel so far sends tuples with ports: addresses, protocol, source
/// port, destination port, nothing else. Nearly all entries are of this kind, and comparing seven
/// attribute headers at fixed places is several times faster than walking three nests.
mod usual {
    use super::{Family, IpAddr, Ipv4Addr, Ipv6Addr, Protocol, Tuple, uapi};
    use uapi::tuple as t;

    const NESTED: u16 = netlink_packet_core::NLA_F_NESTED;

    /// The four bytes of an attribute header as a number in host byte order.
    const fn header(length: u16, kind: u16) -> u32 {
        let ([a, b], [c, d]) = (length.to_ne_bytes(), kind.to_ne_bytes());
        u32::from_ne_bytes([a, b, c, d])
    }

    const V4: usize = 48;
    const V4_HEADERS: [(usize, u32); 7] = [
        (0, header(20, t::IP | NESTED)),
        (4, header(8, t::IP_V4_SRC)),
        (12, header(8, t::IP_V4_DST)),
        (20, header(28, t::PROTO | NESTED)),
        (24, header(5, t::PROTO_NUM)),
        (32, header(6, t::PROTO_SRC_PORT)),
        (40, header(6, t::PROTO_DST_PORT)),
    ];
    const V6: usize = 72;
    const V6_HEADERS: [(usize, u32); 7] = [
        (0, header(44, t::IP | NESTED)),
        (4, header(20, t::IP_V6_SRC)),
        (24, header(20, t::IP_V6_DST)),
        (44, header(28, t::PROTO | NESTED)),
        (48, header(5, t::PROTO_NUM)),
        (56, header(6, t::PROTO_SRC_PORT)),
        (64, header(6, t::PROTO_DST_PORT)),
    ];

    /// Compares all headers at once: one branch instead of seven.
    #[inline]
    fn has<const N: usize>(value: &[u8; N], headers: &[(usize, u32); 7]) -> bool {
        let mut difference = 0;
        for (at, header) in headers {
            let word = [value[*at], value[at + 1], value[at + 2], value[at + 3]];
            difference |= u32::from_ne_bytes(word) ^ header;
        }
        difference == 0
    }

    #[inline]
    fn ports<const N: usize>(value: &[u8; N]) -> (Protocol, Option<u16>, Option<u16>) {
        let port = |at: usize| Some(u16::from_be_bytes([value[at], value[at + 1]]));
        (Protocol(value[N - 20]), port(N - 12), port(N - 4))
    }

    /// Accepts exactly this length. A tuple with a zone is longer, and is left to the walk.
    #[inline]
    pub(super) fn parse(value: &[u8], family: Family) -> Option<Tuple> {
        let (src, dst, (protocol, src_port, dst_port)): (IpAddr, IpAddr, _) = match family {
            Family::Ipv4 => {
                let v: &[u8; V4] = value.try_into().ok()?;
                if !has(v, &V4_HEADERS) {
                    return None;
                }
                let address = |at: usize| Ipv4Addr::new(v[at], v[at + 1], v[at + 2], v[at + 3]);
                (address(8).into(), address(16).into(), ports(v))
            }
            Family::Ipv6 => {
                let v: &[u8; V6] = value.try_into().ok()?;
                if !has(v, &V6_HEADERS) {
                    return None;
                }
                let (src, dst) = (v[8..24].first_chunk()?, v[28..44].first_chunk()?);
                (Ipv6Addr::from(*src).into(), Ipv6Addr::from(*dst).into(), ports(v))
            }
        };
        Some(Tuple { src, dst, protocol, src_port, dst_port, icmp: None, zone: None })
    }
}

/// The ICMP type that answers this one (`nf_conntrack_invert_icmp_tuple` and its sibling for
/// ICMPv6). The kernel tracks no type without an answer, and refuses such types in requests and
/// filters.
pub(crate) fn answering_type(protocol: Protocol, kind: u8) -> Option<u8> {
    let pairs: &[(u8, u8)] = match protocol {
        Protocol::ICMPV6 => &[(128, 129), (139, 140)],
        _ => &[(8, 0), (13, 14), (15, 16), (17, 18)],
    };
    pairs.iter().find_map(|(ask, answer)| match kind {
        k if k == *ask => Some(*answer),
        k if k == *answer => Some(*ask),
        _ => None,
    })
}

#[inline]
fn parse_addresses(attributes: Attributes<'_>, family: Family) -> Option<(IpAddr, IpAddr)> {
    use uapi::tuple as t;

    let (mut src, mut dst) = (None, None);
    for attribute in attributes.readable() {
        match (family, attribute.kind) {
            (Family::Ipv4, t::IP_V4_SRC) => {
                src = attribute.bytes().map(Ipv4Addr::from).map(IpAddr::V4);
            }
            (Family::Ipv4, t::IP_V4_DST) => {
                dst = attribute.bytes().map(Ipv4Addr::from).map(IpAddr::V4);
            }
            (Family::Ipv6, t::IP_V6_SRC) => {
                src = attribute.bytes::<16>().map(Ipv6Addr::from).map(IpAddr::V6);
            }
            (Family::Ipv6, t::IP_V6_DST) => {
                dst = attribute.bytes::<16>().map(Ipv6Addr::from).map(IpAddr::V6);
            }
            _ => {}
        }
    }
    src.zip(dst)
}

impl fmt::Debug for Tuple {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tuple({} {self}", self.protocol)?;
        if let Some(zone) = self.zone {
            write!(f, " zone={zone}")?;
        }
        f.write_str(")")
    }
}

#[cfg(test)]
#[cfg(target_endian = "little")]
mod tests {
    use super::*;

    fn nest(kind: u8, value: &[u8]) -> Vec<u8> {
        let mut bytes = vec![u8::try_from(value.len() + 4).unwrap(), 0, kind, 0];
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn tuple(ip: &[u8], proto: &[u8], rest: &[u8]) -> Vec<u8> {
        [nest(1, ip), nest(2, proto), rest.to_vec()].concat()
    }

    fn v4() -> Vec<u8> {
        [nest(1, &[10, 0, 0, 1]), nest(2, &[10, 96, 0, 10])].concat()
    }

    #[test]
    fn udp_over_ipv4_with_a_zone_of_its_own() {
        let proto = [nest(1, &[17]), nest(2, &[3, 233]), nest(3, &[0, 53])].concat();
        let bytes = tuple(&v4(), &proto, &nest(3, &[0, 7]));
        let t = Tuple::parse(&bytes, Family::Ipv4, 0).unwrap();
        assert_eq!(t.source(), "10.0.0.1:1001".parse().unwrap());
        assert_eq!(t.destination(), "10.96.0.10:53".parse().unwrap());
        assert_eq!((t.protocol(), t.zone(), t.icmp()), (Protocol::UDP, Some(7), None));
        assert_eq!(t.to_string(), "src=10.0.0.1 dst=10.96.0.10 sport=1001 dport=53");
    }

    #[test]
    fn icmpv6_over_ipv6() {
        let ip = [nest(3, &[0xfd; 16]), nest(4, &[0xfe; 16])].concat();
        let proto = [nest(1, &[58]), nest(7, &[1, 2]), nest(8, &[128]), nest(9, &[0])].concat();
        let t = Tuple::parse(&tuple(&ip, &proto, &[]), Family::Ipv6, 0).unwrap();
        assert_eq!(t.icmp(), Some(Icmp { kind: 128, code: 0, id: 0x0102 }));
        assert_eq!((t.src_port(), t.source().port()), (None, 0));
        assert!(t.to_string().ends_with("type=128 code=0 id=258"));
    }

    #[test]
    fn gre_keys_and_protocols_without_ports() {
        let gre = [nest(1, &[47]), nest(2, &[0x12, 0x34]), nest(3, &[0, 1])].concat();
        let t = Tuple::parse(&tuple(&v4(), &gre, &[]), Family::Ipv4, 0).unwrap();
        assert!(t.to_string().ends_with("srckey=0x1234 dstkey=0x1"), "{t}");
        let ospf = nest(1, &[89]);
        let t = Tuple::parse(&tuple(&v4(), &ospf, &[]), Family::Ipv4, 0).unwrap();
        assert_eq!(t.to_string(), "src=10.0.0.1 dst=10.96.0.10");
    }

    #[test]
    fn what_is_missing_is_named() {
        let proto = nest(1, &[17]);
        for (bytes, family, what) in [
            (nest(2, &proto), Family::Ipv4, "tuple without addresses"),
            (tuple(&v4(), &proto, &[]), Family::Ipv6, "tuple without addresses"),
            (nest(1, &v4()), Family::Ipv4, "tuple without protocol"),
            (tuple(&v4(), &[], &[]), Family::Ipv4, "tuple without protocol number"),
            (vec![9, 0, 1, 0], Family::Ipv4, "attribute length out of bounds"),
        ] {
            let error = Tuple::parse(&bytes, family, 20).unwrap_err();
            assert_eq!(error, DecodeError { what, offset: 20 });
        }
    }

    /// The usual layout is only a faster way to the same answer.
    #[test]
    fn the_usual_layout_reads_as_any_other() {
        let mut real = Vec::new();
        let v6 = [nest(3, &[0xfd; 16]), nest(4, &[0xfe; 16])].concat();
        for (family, ip) in [(Family::Ipv4, v4()), (Family::Ipv6, v6)] {
            let proto = [nest(1, &[17]), nest(2, &[3, 233]), nest(3, &[0, 53])].concat();
            let mut bytes = [nest(1, &ip), nest(2, &proto)].concat();
            bytes[3] |= 0x80;
            let second = 4 + ip.len();
            bytes[second + 3] |= 0x80;
            assert!(usual::parse(&bytes, family).is_some(), "{family}");
            real.push((family, bytes));
        }
        for (family, bytes) in real {
            // Every byte changed in turn, and every length.
            for at in 0..bytes.len() {
                let mut changed = bytes.clone();
                changed[at] ^= 1;
                for bytes in [&changed[..], &bytes[..at]] {
                    if let Some(fast) = usual::parse(bytes, family) {
                        assert_eq!(Tuple::parse_any(bytes, family, 0), Ok(fast), "{family} {at}");
                    }
                }
            }
            let other = if family == Family::Ipv4 { Family::Ipv6 } else { Family::Ipv4 };
            assert_eq!(usual::parse(&bytes, other), None);
            let zoned = [bytes, nest(3, &[0, 7])].concat();
            assert_eq!(usual::parse(&zoned, family), None);
            assert_eq!(Tuple::parse(&zoned, family, 0).unwrap().zone(), Some(7));
        }
    }

    #[test]
    fn inverses() {
        let at = |text: &str| text.parse().unwrap();
        let t = Tuple::with_ports(Protocol::UDP, at("10.0.0.1:1"), at("10.0.0.2:2")).in_zone(7);
        let inverse = t.inverse().unwrap();
        assert_eq!(inverse.to_string(), "src=10.0.0.2 dst=10.0.0.1 sport=2 dport=1");
        assert_eq!((t.zone(), inverse.zone(), t.family()), (Some(7), None, Some(Family::Ipv4)));
        let icmp = |src: &str, kind| {
            Tuple::with_icmp(
                src.parse().unwrap(),
                src.parse().unwrap(),
                Icmp { kind, code: 0, id: 3 },
            )
        };
        let answer = |t: Tuple| t.inverse().and_then(|t| t.icmp()).map(|icmp| icmp.kind);
        for (a, b) in [(8, 0), (13, 14), (15, 16), (17, 18)] {
            assert_eq!(answer(icmp("10.0.0.1", a)), Some(b));
            assert_eq!(answer(icmp("10.0.0.1", b)), Some(a));
        }
        for (a, b) in [(128, 129), (139, 140)] {
            assert_eq!(answer(icmp("fd00::1", a)), Some(b));
            assert_eq!(answer(icmp("fd00::1", b)), Some(a));
        }
        assert_eq!((answer(icmp("10.0.0.1", 3)), answer(icmp("fd00::1", 8))), (None, None));
        let mixed = Tuple::new(Protocol(89), "10.0.0.1".parse().unwrap(), "::1".parse().unwrap());
        assert_eq!(mixed.family(), None);
    }

    #[test]
    fn unknown_members_are_skipped() {
        let proto = [nest(1, &[17]), nest(99, &[1])].concat();
        let bytes = tuple(&v4(), &proto, &nest(77, &[1, 2, 3]));
        assert!(Tuple::parse(&bytes, Family::Ipv4, 0).is_ok());
    }
}
