//! The kernel's filter on the wire: the dump and the flush that use it.

use netlink_packet_core::{DefaultNla, NLM_F_DUMP};

use super::{Head, address, be16, be32, byte, nest};
use crate::error::{Error, Result};
use crate::filter::kernel_part::{KernelPart, TuplePart};
use crate::model::protocol::Protocol;
use crate::model::tuple::Family;
use crate::uapi::{self, cta, filter as f, tuple as t};

fn head(message: u8, part: &KernelPart) -> Head {
    let subsystem = uapi::NFNL_SUBSYS_CTNETLINK;
    let family = part.family.map_or(0, Family::number);
    Head { subsystem, message, family, version: 0, flags: 0, sequence: 0 }
}

/// `CT_GET` as a dump of what the kernel part selects.
pub(crate) fn dump(sequence: u32, part: &KernelPart) -> Vec<u8> {
    let head = head(uapi::IPCTNL_MSG_CT_GET, part);
    let attributes = Attributes::of(part);
    let filter = attributes.has_bits().then(|| attributes.filter());
    let head = Head { sequence, flags: NLM_F_DUMP, ..head };
    head.bytes(attributes.tuples().into_iter().chain(filter).chain(rest(part)).collect())
}

/// `CT_DELETE` of everything the kernel part selects, in the kernel (Linux 6.12).
///
/// It always has `CTA_FILTER`, which makes the kernel honour the family, and an original tuple that
/// is not a complete key. A kernel that does not understand the filter takes it for the delete of
/// one entry whose key is incomplete: it answers `EINVAL` and deletes nothing
/// (`ctnetlink_del_conntrack`).
///
/// # Errors
///
/// The part has no family, or its original tuple is a complete key.
pub(crate) fn flush(part: &KernelPart) -> Result<Vec<u8>> {
    if part.family.is_none() || part.has_complete_key() {
        return Err(Error::Invalid(
            "flush: the filter has no family, or its original tuple is a complete key".into(),
        ));
    }
    let mut attributes = Attributes::of(part);
    if attributes.orig.proto.is_empty() {
        // No bit selects it, so the kernel does not compare it.
        attributes.orig.proto.push(byte(t::PROTO_NUM, Protocol::UDP.0));
    }
    let filter = attributes.filter();
    let all = attributes.tuples().into_iter().chain([filter]).chain(rest(part));
    Ok(head(uapi::IPCTNL_MSG_CT_DELETE, part).bytes(all.collect()))
}

/// The criteria at the top level: mark, status, zone.
fn rest(part: &KernelPart) -> Vec<DefaultNla> {
    // Destructured by name, so that a new criterion cannot be forgotten in the request.
    let KernelPart { family: _, orig: _, reply: _, mark, status, zone } = *part;
    let mut all = Vec::new();
    if let Some((value, mask)) = mark {
        all.extend([be32(cta::MARK, value), be32(cta::MARK_MASK, mask)]);
    }
    if let Some((value, mask)) = status {
        all.extend([be32(cta::STATUS, value), be32(cta::STATUS_MASK, mask)]);
    }
    all.extend(zone.map(|zone| be16(cta::ZONE, zone)));
    all
}

/// The two tuples with the bits that select their fields.
struct Attributes {
    orig: Fields,
    reply: Fields,
}

#[derive(Default)]
struct Fields {
    bits: u32,
    addresses: Vec<DefaultNla>,
    proto: Vec<DefaultNla>,
}

impl Attributes {
    fn of(part: &KernelPart) -> Attributes {
        Attributes { orig: Fields::of(&part.orig), reply: Fields::of(&part.reply) }
    }

    fn has_bits(&self) -> bool {
        self.orig.bits | self.reply.bits != 0
    }

    fn tuples(&self) -> Vec<DefaultNla> {
        let orig = self.orig.nest(cta::TUPLE_ORIG);
        orig.into_iter().chain(self.reply.nest(cta::TUPLE_REPLY)).collect()
    }

    /// Flags in host order. A flush needs it even without any bits: only that makes it a filtered
    /// one.
    fn filter(&self) -> DefaultNla {
        let flags = |kind, bits: u32| DefaultNla::new(kind, bits.to_ne_bytes().to_vec());
        let mut members = vec![flags(f::ORIG_FLAGS, self.orig.bits)];
        if self.reply.bits != 0 {
            members.push(flags(f::REPLY_FLAGS, self.reply.bits));
        }
        nest(cta::FILTER, &members)
    }
}

impl Fields {
    fn of(part: &TuplePart) -> Fields {
        let TuplePart { protocol, src, dst, src_port, dst_port, icmp_type, icmp_code, icmp_id } =
            *part;
        let mut fields = Fields::default();
        if let Some(src) = src {
            fields.bits |= f::F_IP_SRC;
            fields.addresses.push(address(t::IP_V4_SRC, t::IP_V6_SRC, src));
        }
        if let Some(dst) = dst {
            fields.bits |= f::F_IP_DST;
            fields.addresses.push(address(t::IP_V4_DST, t::IP_V6_DST, dst));
        }
        let mut proto = |bit, attribute: Option<DefaultNla>| {
            if let Some(attribute) = attribute {
                fields.bits |= bit;
                fields.proto.push(attribute);
            }
        };
        proto(f::F_PROTO_NUM, protocol.map(|protocol| byte(t::PROTO_NUM, protocol.0)));
        let port = |kind, port: Option<u16>| port.map(|port| be16(kind, port));
        proto(f::F_PROTO_SRC_PORT, port(t::PROTO_SRC_PORT, src_port));
        proto(f::F_PROTO_DST_PORT, port(t::PROTO_DST_PORT, dst_port));
        let ((kind_bit, kind), (code_bit, code), (id_bit, id)) = match protocol {
            Some(Protocol::ICMPV6) => (
                (f::F_PROTO_ICMPV6_TYPE, t::PROTO_ICMPV6_TYPE),
                (f::F_PROTO_ICMPV6_CODE, t::PROTO_ICMPV6_CODE),
                (f::F_PROTO_ICMPV6_ID, t::PROTO_ICMPV6_ID),
            ),
            _ => (
                (f::F_PROTO_ICMP_TYPE, t::PROTO_ICMP_TYPE),
                (f::F_PROTO_ICMP_CODE, t::PROTO_ICMP_CODE),
                (f::F_PROTO_ICMP_ID, t::PROTO_ICMP_ID),
            ),
        };
        proto(kind_bit, icmp_type.map(|number| byte(kind, number)));
        proto(code_bit, icmp_code.map(|number| byte(code, number)));
        proto(id_bit, icmp_id.map(|number| be16(id, number)));
        fields
    }

    fn nest(&self, kind: u16) -> Option<DefaultNla> {
        let mut parts = Vec::new();
        if !self.addresses.is_empty() {
            parts.push(nest(t::IP, &self.addresses));
        }
        if !self.proto.is_empty() {
            parts.push(nest(t::PROTO, &self.proto));
        }
        (!parts.is_empty()).then(|| nest(kind, &parts))
    }
}

#[cfg(test)]
#[cfg(target_endian = "little")]
mod tests {
    use super::*;
    use crate::filter::Filter;
    use crate::model::capability::{KernelCriterion, Trust, Trusts};
    use crate::model::flow::tests::unhex;

    fn proved() -> Trusts {
        let mut trusts = Trusts::UNTESTED;
        for criterion in KernelCriterion::ALL {
            trusts.set(criterion, Trust::Proved, Trust::Proved);
        }
        trusts
    }

    fn flushes(text: &str) -> Vec<Vec<u8>> {
        let filter: Filter = text.parse().unwrap();
        let parts = filter.flush_plan(&proved()).unwrap();
        parts.iter().map(|part| flush(part).unwrap()).collect()
    }

    /// A filtered flush that a kernel accepted (docs/kernel-interface.md, 11).
    #[test]
    fn flush_is_byte_for_byte_the_verified_vector() {
        let expected = unhex(
            "5c00000002010500040302010000000002000000240001800c00018008000200\
             0a60000a1400028005000100110000000600030000350000100002800c000180\
             080001000af4010514001980080001002a0000000800020001000000",
        );
        let text = "udp and orig dst 10.96.0.10 and orig dst port 53 and reply src 10.244.1.5";
        let mut request = flushes(text).remove(0);
        crate::request::seal(&mut request, 0x0102_0304, true);
        assert_eq!(request, expected);
    }

    /// A kernel that does not understand the filter must find no complete key in it, and one that
    /// ignores `CTA_FILTER` alone must not find a delete without a tuple.
    #[test]
    fn a_flush_always_has_an_original_tuple_that_is_no_key() {
        let udp = unhex("1000018 00c00028005000100 11000000");
        for text in ["ip6 and zone 7", "ip and mark 1", "ip and status set ASSURED", "ip6"] {
            let request = flushes(text).remove(0);
            assert_eq!(request[20..36], udp, "{text}");
            assert_eq!(request[36..48], unhex("0c0019800800010000000000"), "{text}");
        }
        for text in ["ip and reply src 10.0.0.1", "ip6 and tcp and reply src port 1"] {
            assert_eq!(flushes(text)[0][22..24], [1, 0x80], "{text}");
        }
        assert_eq!(flushes("udp").len(), 2, "one for each family");
    }

    #[test]
    fn a_complete_key_is_refused_whatever_the_plan_says() {
        let text = "ip and icmp and orig src 10.0.0.1 and orig dst 10.0.0.2 and icmp-type 8";
        let part = text.parse::<Filter>().unwrap().flush_plan(&proved()).unwrap()[0];
        assert!(flush(&part).is_ok());
        let orig = TuplePart { icmp_code: Some(0), icmp_id: Some(1), ..part.orig };
        assert!(flush(&KernelPart { orig, ..part }).is_err());
        assert!(flush(&KernelPart { family: None, ..part }).is_err());
    }

    #[test]
    fn dump_filters_carry_the_nested_flag_and_host_order_bits() {
        let filter: Filter = "udp and orig dst 10.96.0.10 and orig dst port 53".parse().unwrap();
        let part = filter.plan(&Trusts::UNTESTED).unwrap().passes[0];
        // Tuple and flags as in the filtered flush above, without its reply half.
        let out = dump(9, &part);
        assert_eq!(out[..8], [u8::try_from(out.len()).unwrap(), 0, 0, 0, 1, 1, 1, 3]);
        let tuple =
            unhex("240001800c000180080002000a60000a140002800500010011000000060003000035 0000");
        assert_eq!(out[20..20 + tuple.len()], tuple);
        assert_eq!(out[20 + tuple.len()..], unhex("0c001980080001002a000000"));
    }

    #[test]
    fn without_a_tuple_part_there_is_no_filter() {
        assert_eq!(dump(1, &KernelPart::default()).len(), 20);
        let filter: Filter = "mark 0x10/0xf0 and zone 7".parse().unwrap();
        let part = filter.plan(&proved()).unwrap().passes[0];
        assert_eq!(
            dump(1, &part)[20..],
            unhex("08000800000000100800150000 0000f0 06001200 00070000")
        );
    }

    #[test]
    fn icmpv6_has_bits_of_its_own() {
        let filter: Filter = "icmpv6 and ip6 and icmp-type 128 and icmp-id 7".parse().unwrap();
        let part = filter.plan(&proved()).unwrap().passes[0];
        let out = dump(1, &part);
        // PROTO_NUM | ICMPV6_TYPE | ICMPV6_ID
        assert_eq!(out[out.len() - 4..], 0x0a08_u32.to_ne_bytes());
    }
}
