//! The criteria of one request to the kernel: data, and what it selects.

use std::fmt;
use std::net::IpAddr;

use super::criterion::{Criterion, Direction, IcmpField, Side};
use crate::flow::Flow;
use crate::proto::Protocol;
use crate::status::Status;
use crate::tuple::{Family, Tuple};

/// The criteria of one request. All of them hold together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct KernelPart {
    pub(crate) family: Option<Family>,
    pub(crate) orig: TuplePart,
    /// Protocol and ICMP fields are said of the original tuple; here the protocol stands only
    /// where ports need it.
    pub(crate) reply: TuplePart,
    /// Value and mask.
    pub(crate) mark: Option<(u32, u32)>,
    /// Value and mask.
    pub(crate) status: Option<(u32, u32)>,
    pub(crate) zone: Option<u16>,
}

/// Fields of one tuple. Only ever used with a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
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
    /// Whether an entry meets what of this never changes while the entry lives.
    pub(crate) fn covers<B: AsRef<[u8]>>(&self, flow: &Flow<B>) -> bool {
        self.selects(flow.family(), flow.orig(), flow.reply(), flow.zone())
    }

    /// The same for the parts of an entry.
    pub(crate) fn selects(&self, family: Family, orig: &Tuple, reply: &Tuple, zone: u16) -> bool {
        self.family.is_none_or(|wanted| wanted == family)
            && self.orig.selects(orig)
            && self.reply.selects(reply)
            && self.zone.is_none_or(|wanted| wanted == zone)
    }

    /// Everything this brings, another brings too.
    pub(super) fn is_within(&self, wider: &KernelPart) -> bool {
        fn implied<T: PartialEq>(mine: &Option<T>, theirs: &Option<T>) -> bool {
            theirs.is_none() || mine == theirs
        }
        let tuple = |mine: &TuplePart, theirs: &TuplePart| {
            implied(&mine.protocol, &theirs.protocol)
                && implied(&mine.src, &theirs.src)
                && implied(&mine.dst, &theirs.dst)
                && implied(&mine.src_port, &theirs.src_port)
                && implied(&mine.dst_port, &theirs.dst_port)
                && implied(&mine.icmp_type, &theirs.icmp_type)
                && implied(&mine.icmp_code, &theirs.icmp_code)
                && implied(&mine.icmp_id, &theirs.icmp_id)
        };
        implied(&self.family, &wider.family)
            && tuple(&self.orig, &wider.orig)
            && tuple(&self.reply, &wider.reply)
            && implied(&self.mark, &wider.mark)
            && implied(&self.status, &wider.status)
            && implied(&self.zone, &wider.zone)
    }

    /// A request per family where the tuples need one.
    pub(super) fn per_family(self) -> Vec<KernelPart> {
        let has_tuple = (self.orig, self.reply) != Default::default();
        match self.family {
            None if has_tuple => {
                Family::ALL.map(|f| KernelPart { family: Some(f), ..self }).to_vec()
            }
            _ => vec![self],
        }
    }

    /// The original tuple is a complete key, or could be one to some kernel: a delete with it is
    /// the delete of one entry where the filter is not understood.
    pub(crate) fn has_complete_key(&self) -> bool {
        let t = &self.orig;
        let rest = match t.protocol {
            None => false,
            Some(Protocol::TCP | Protocol::UDP) => t.src_port.is_some() && t.dst_port.is_some(),
            Some(Protocol::ICMP | Protocol::ICMPV6) => {
                t.icmp_type.is_some() && t.icmp_code.is_some() && t.icmp_id.is_some()
            }
            // To a kernel built without the protocol these have no ports.
            Some(_) => true,
        };
        t.src.is_some() && t.dst.is_some() && rest
    }
}

impl TuplePart {
    fn selects(&self, tuple: &Tuple) -> bool {
        let icmp = tuple.icmp();
        self.protocol.is_none_or(|protocol| protocol == tuple.protocol())
            && self.src.is_none_or(|src| src == tuple.src())
            && self.dst.is_none_or(|dst| dst == tuple.dst())
            && self.src_port.is_none_or(|port| Some(port) == tuple.src_port())
            && self.dst_port.is_none_or(|port| Some(port) == tuple.dst_port())
            && self.icmp_type.is_none_or(|kind| Some(kind) == icmp.map(|icmp| icmp.kind))
            && self.icmp_code.is_none_or(|code| Some(code) == icmp.map(|icmp| icmp.code))
            && self.icmp_id.is_none_or(|id| Some(id) == icmp.map(|icmp| icmp.id))
    }
}

impl fmt::Display for KernelPart {
    /// The filter words of what the kernel was asked to filter; empty for nothing.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        parts.extend(self.family.map(Criterion::Family));
        parts.extend(self.orig.protocol.map(Criterion::Protocol));
        for (direction, t) in [(Direction::Orig, &self.orig), (Direction::Reply, &self.reply)] {
            let address = |side, a: IpAddr| Criterion::Address(direction, side, a.into());
            let port = |side, p: u16| Criterion::Port(direction, side, p.into());
            parts.extend(t.src.map(|a| address(Side::Src, a)));
            parts.extend(t.dst.map(|a| address(Side::Dst, a)));
            parts.extend(t.src_port.map(|p| port(Side::Src, p)));
            parts.extend(t.dst_port.map(|p| port(Side::Dst, p)));
        }
        let t = &self.orig;
        parts.extend(t.icmp_type.map(|n| Criterion::Icmp(IcmpField::Type, n.into())));
        parts.extend(t.icmp_code.map(|n| Criterion::Icmp(IcmpField::Code, n.into())));
        parts.extend(t.icmp_id.map(|n| Criterion::Icmp(IcmpField::Id, n)));
        parts.extend(self.mark.map(|(value, mask)| Criterion::Mark { value, mask }));
        if let Some((value, mask)) = self.status {
            let (set, unset) = (value & mask, mask & !value);
            let bits = Status::from_bits_retain;
            parts.extend((set != 0).then(|| Criterion::StatusSet(bits(set))));
            parts.extend((unset != 0).then(|| Criterion::StatusUnset(bits(unset))));
        }
        parts.extend(self.zone.map(|zone| Criterion::Zone(None, zone)));
        for (at, part) in parts.iter().enumerate() {
            write!(f, "{}{part}", if at > 0 { " and " } else { "" })?;
        }
        Ok(())
    }
}
