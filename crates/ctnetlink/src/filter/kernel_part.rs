//! The criteria of one request to the kernel, and which entries they select.

use std::fmt;
use std::net::IpAddr;

use super::criterion::{Criterion, Direction, IcmpField, Side};
use crate::model::flow::Flow;
use crate::model::protocol::Protocol;
use crate::model::status::Status;
use crate::model::tuple::{Family, Tuple};

/// The criteria of one request. An entry must meet all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct KernelPart {
    pub(crate) family: Option<Family>,
    pub(crate) orig: TuplePart,
    /// Protocol and ICMP fields are in the original tuple. This one has the protocol only where its
    /// ports need it.
    pub(crate) reply: TuplePart,
    /// Value and mask.
    pub(crate) mark: Option<(u32, u32)>,
    /// Value and mask.
    pub(crate) status: Option<(u32, u32)>,
    pub(crate) zone: Option<u16>,
}

/// Fields of one tuple. Only ever used with a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct TuplePart {
    pub(crate) protocol: Option<Protocol>,
    pub(crate) src: Option<IpAddr>,
    pub(crate) dst: Option<IpAddr>,
    pub(crate) src_port: Option<u16>,
    pub(crate) dst_port: Option<u16>,
    pub(crate) icmp_type: Option<u8>,
    pub(crate) icmp_code: Option<u8>,
    pub(crate) icmp_id: Option<u16>,
}

impl KernelPart {
    /// Whether an entry meets those criteria that never change while an entry lives.
    pub(crate) fn covers<B: AsRef<[u8]>>(&self, flow: &Flow<B>) -> bool {
        self.selects(flow.family(), flow.orig(), flow.reply(), flow.zone())
    }

    /// [`covers`](KernelPart::covers), for the parts of an entry. Mark and status can change, so
    /// they do not count.
    pub(crate) fn selects(&self, in_family: Family, to: &Tuple, from: &Tuple, at: u16) -> bool {
        let KernelPart { family, orig, reply, mark: _, status: _, zone } = self;
        family.is_none_or(|wanted| wanted == in_family)
            && orig.selects(to)
            && reply.selects(from)
            && zone.is_none_or(|wanted| wanted == at)
    }

    /// Whether every entry that this part brings is also brought by the wider one.
    pub(super) fn is_within(&self, wider: &KernelPart) -> bool {
        let KernelPart { family, orig, reply, mark, status, zone } = self;
        implied(family, &wider.family)
            && orig.is_within(&wider.orig)
            && reply.is_within(&wider.reply)
            && implied(mark, &wider.mark)
            && implied(status, &wider.status)
            && implied(zone, &wider.zone)
    }

    /// One part for each family, if the tuples need a family and none is given.
    pub(super) fn per_family(self) -> Vec<KernelPart> {
        let has_tuple = (self.orig, self.reply) != Default::default();
        match self.family {
            None if has_tuple => {
                Family::ALL.map(|f| KernelPart { family: Some(f), ..self }).to_vec()
            }
            _ => vec![self],
        }
    }

    /// Whether the original tuple is a complete key, or could be one to some kernel. A kernel that
    /// does not understand the filter would take a flush with it for the delete of that one entry.
    pub(crate) fn has_complete_key(&self) -> bool {
        let TuplePart { protocol, src, dst, src_port, dst_port, icmp_type, icmp_code, icmp_id } =
            &self.orig;
        let rest = match protocol {
            None => false,
            Some(Protocol::TCP | Protocol::UDP) => src_port.is_some() && dst_port.is_some(),
            Some(Protocol::ICMP | Protocol::ICMPV6) => {
                icmp_type.is_some() && icmp_code.is_some() && icmp_id.is_some()
            }
            // A kernel that was built without the protocol knows no ports for it.
            Some(_) => true,
        };
        src.is_some() && dst.is_some() && rest
    }
}

/// Whether `mine` implies `theirs`: they set no value for the field, or the same one.
fn implied<T: PartialEq>(mine: &Option<T>, theirs: &Option<T>) -> bool {
    theirs.is_none() || mine == theirs
}

// Every function here destructures the parts by name, so that a new field does not compile until
// each function handles it.
impl TuplePart {
    fn selects(&self, tuple: &Tuple) -> bool {
        let TuplePart { protocol, src, dst, src_port, dst_port, icmp_type, icmp_code, icmp_id } =
            self;
        let icmp = tuple.icmp();
        protocol.is_none_or(|protocol| protocol == tuple.protocol())
            && src.is_none_or(|src| src == tuple.src())
            && dst.is_none_or(|dst| dst == tuple.dst())
            && src_port.is_none_or(|port| Some(port) == tuple.src_port())
            && dst_port.is_none_or(|port| Some(port) == tuple.dst_port())
            && icmp_type.is_none_or(|kind| Some(kind) == icmp.map(|icmp| icmp.kind))
            && icmp_code.is_none_or(|code| Some(code) == icmp.map(|icmp| icmp.code))
            && icmp_id.is_none_or(|id| Some(id) == icmp.map(|icmp| icmp.id))
    }

    fn is_within(&self, wider: &TuplePart) -> bool {
        let TuplePart { protocol, src, dst, src_port, dst_port, icmp_type, icmp_code, icmp_id } =
            self;
        implied(protocol, &wider.protocol)
            && implied(src, &wider.src)
            && implied(dst, &wider.dst)
            && implied(src_port, &wider.src_port)
            && implied(dst_port, &wider.dst_port)
            && implied(icmp_type, &wider.icmp_type)
            && implied(icmp_code, &wider.icmp_code)
            && implied(icmp_id, &wider.icmp_id)
    }

    /// The criteria of one direction. The reply tuple has a protocol only where its ports need it.
    /// It is that of the original tuple, so it is not listed twice.
    fn criteria(&self, direction: Direction) -> Vec<Criterion> {
        let TuplePart { protocol, src, dst, src_port, dst_port, icmp_type, icmp_code, icmp_id } =
            *self;
        let address = |side| move |a: IpAddr| Criterion::Address(direction, side, a.into());
        let port = |side| move |p: u16| Criterion::Port(direction, side, p.into());
        let protocol = protocol.filter(|_| direction == Direction::Orig);
        let mut all = Vec::new();
        all.extend(protocol.map(Criterion::Protocol));
        all.extend(src.map(address(Side::Src)));
        all.extend(dst.map(address(Side::Dst)));
        all.extend(src_port.map(port(Side::Src)));
        all.extend(dst_port.map(port(Side::Dst)));
        all.extend(icmp_type.map(|n| Criterion::Icmp(IcmpField::Type, n.into())));
        all.extend(icmp_code.map(|n| Criterion::Icmp(IcmpField::Code, n.into())));
        all.extend(icmp_id.map(|n| Criterion::Icmp(IcmpField::Id, n)));
        all
    }
}

impl fmt::Display for KernelPart {
    /// What the kernel is asked to filter by, in the words of a filter. Empty for nothing.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let KernelPart { family, orig, reply, mark, status, zone } = *self;
        let mut parts = Vec::new();
        parts.extend(family.map(Criterion::Family));
        parts.extend(orig.criteria(Direction::Orig));
        parts.extend(reply.criteria(Direction::Reply));
        parts.extend(mark.map(|(value, mask)| Criterion::Mark { value, mask }));
        if let Some((value, mask)) = status {
            let (set, unset) = (value & mask, mask & !value);
            let bits = Status::from_bits_retain;
            parts.extend((set != 0).then(|| Criterion::StatusSet(bits(set))));
            parts.extend((unset != 0).then(|| Criterion::StatusUnset(bits(unset))));
        }
        parts.extend(zone.map(|zone| Criterion::Zone(None, zone)));
        for (at, part) in parts.iter().enumerate() {
            write!(f, "{}{part}", if at > 0 { " and " } else { "" })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::tuple::Icmp;

    /// One part for each field, with that field alone, and in the second row with another value in
    /// it. A field that is missing here does not compile.
    fn parts() -> [Vec<KernelPart>; 2] {
        let KernelPart { family: _, orig, reply: _, mark: _, status: _, zone: _ } =
            KernelPart::default();
        let TuplePart {
            protocol: _,
            src: _,
            dst: _,
            src_port: _,
            dst_port: _,
            icmp_type: _,
            icmp_code: _,
            icmp_id: _,
        } = orig;
        let whole = KernelPart::default();
        let none = TuplePart::default();
        [0_u8, 1].map(|n| {
            let (address, number) = (IpAddr::from([10, 0, 0, n + 1]), u16::from(n) + 1);
            let tuples = [
                TuplePart { protocol: Some(Protocol(1 + 16 * n)), ..none },
                TuplePart { src: Some(address), ..none },
                TuplePart { dst: Some(address), ..none },
                TuplePart { src_port: Some(number), ..none },
                TuplePart { dst_port: Some(number), ..none },
                TuplePart { icmp_type: Some(8 + n), ..none },
                TuplePart { icmp_code: Some(n), ..none },
                TuplePart { icmp_id: Some(number), ..none },
            ];
            let mut all = vec![
                KernelPart { family: Some(Family::ALL[usize::from(n)]), ..whole },
                KernelPart { mark: Some((u32::from(n), 1)), ..whole },
                KernelPart { status: Some((u32::from(n), 1)), ..whole },
                KernelPart { zone: Some(number), ..whole },
            ];
            all.extend(tuples.map(|orig| KernelPart { orig, ..whole }));
            all.extend(tuples.map(|reply| KernelPart { reply, ..whole }));
            all
        })
    }

    /// A field that the comparison forgets would make a pass look as if another brought its entries.
    #[test]
    fn every_field_narrows() {
        let whole = KernelPart::default();
        let [one, other] = parts();
        for (at, part) in one.iter().enumerate() {
            assert!(part.is_within(&whole) && part.is_within(part), "{part:?}");
            assert!(!whole.is_within(part), "{part:?}");
            assert!(!part.is_within(&other[at]), "{part:?}");
            for (_, foreign) in one.iter().enumerate().filter(|(i, _)| *i != at) {
                assert!(!part.is_within(foreign), "{part:?} {foreign:?}");
            }
        }
    }

    /// Which pass reports an entry is decided by what never changes in it.
    #[test]
    fn every_lasting_field_selects() {
        let [one, other] = parts();
        let at = |n: u8| IpAddr::from([10, 0, 0, n]);
        let icmp = Icmp { kind: 8, code: 0, id: 1 };
        let ping = Tuple::with_icmp(at(1), at(1), icmp);
        let ports = Tuple::with_ports(Protocol(1), (at(1), 1).into(), (at(1), 1).into());
        for (part, opposite) in one.iter().zip(&other) {
            let selects = |part: &KernelPart| {
                let tuples = [ping, ports];
                tuples.iter().any(|t| part.selects(Family::Ipv4, t, t, 1))
            };
            assert!(selects(part), "{part:?}");
            let can_change = part.mark.is_some() || part.status.is_some();
            assert_eq!(selects(opposite), can_change, "{opposite:?}");
        }
    }

    #[test]
    fn every_field_is_said() {
        let [one, other] = parts();
        for part in one.into_iter().chain(other) {
            // The protocol of the reply tuple is not listed: it is that of the original tuple.
            assert_eq!(part.to_string().is_empty(), part.reply.protocol.is_some(), "{part:?}");
        }
    }
}
