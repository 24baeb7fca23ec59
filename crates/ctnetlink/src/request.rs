//! Requests out: the bytes of every message this crate sends.
//!
//! The envelope and the typed tuple members are `netlink-packet-core`'s and
//! `netlink-packet-netfilter`'s. Every request ends in `ConntrackMessage::Other`, because the
//! typed message variants drop `NLA_F_NESTED` from attributes they do not know, and the kernel
//! refuses a `CTA_FILTER` without it.
//!
//! There is no function here that makes a `CT_DELETE` without a tuple: the kernel takes that for a
//! flush of everything.

use netlink_packet_core::{
    DefaultNla, Emitable, NLA_F_NESTED, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader,
    NetlinkMessage,
};
use netlink_packet_netfilter::conntrack::{ConntrackMessage, IPTuple, ProtoTuple, Tuple};
use netlink_packet_netfilter::{NetfilterHeader, NetfilterMessage, NetfilterProtoFamily};

use crate::filter::{KernelPart, TuplePart};
use crate::flow::Flow;
use crate::uapi::{self, cta, filter as f};

/// `CT_GET_STATS`: always valid, so `EINVAL` can only mean that ctnetlink is not there.
pub(crate) fn stats(sequence: u32) -> Vec<u8> {
    let mut out = Vec::new();
    append(&mut out, sequence, 0, 0, uapi::IPCTNL_MSG_CT_GET_STATS, Vec::new());
    out
}

/// `CT_GET` as a dump of what the kernel part selects.
pub(crate) fn dump(sequence: u32, part: &KernelPart) -> Vec<u8> {
    let mut out = Vec::new();
    let family = part.family.map_or(0, super::tuple::Family::number);
    append(
        &mut out,
        sequence,
        NLM_F_DUMP,
        family,
        uapi::IPCTNL_MSG_CT_GET,
        tuple_filter(&part.tuple),
    );
    out
}

/// Appends a `CT_DELETE` of exactly this entry: by its reply tuple byte for byte as dumped, its
/// id, and its zone if one was dumped at the top level (a zone of one direction is inside the
/// tuple). False, and nothing appended, for an entry without an id: it could not be pinned.
///
/// Why the reply tuple: it contains the backend, and never changes. An entry that the same client
/// has re-created toward another backend since the dump often has the same original tuple *and*
/// the same id, but not the same reply tuple.
pub(crate) fn append_delete<B: AsRef<[u8]>>(
    out: &mut Vec<u8>,
    sequence: u32,
    acknowledge: bool,
    flow: &Flow<B>,
) -> bool {
    let (Some(reply), Some(id)) = (flow.attribute(cta::TUPLE_REPLY), flow.attribute(cta::ID))
    else {
        return false;
    };
    let mut attributes = vec![
        DefaultNla::new(cta::TUPLE_REPLY | NLA_F_NESTED, reply.to_vec()),
        DefaultNla::new(cta::ID, id.to_vec()),
    ];
    if let Some(zone) = flow.attribute(cta::ZONE) {
        attributes.push(DefaultNla::new(cta::ZONE, zone.to_vec()));
    }
    let flags = if acknowledge { NLM_F_ACK } else { 0 };
    append(out, sequence, flags, flow.family().number(), uapi::IPCTNL_MSG_CT_DELETE, attributes);
    true
}

fn append(
    out: &mut Vec<u8>,
    sequence: u32,
    flags: u16,
    family: u8,
    message_type: u8,
    attributes: Vec<DefaultNla>,
) {
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | flags;
    header.sequence_number = sequence;
    let payload = NetfilterMessage::new(
        NetfilterHeader::new(NetfilterProtoFamily::from(family), 0, 0),
        ConntrackMessage::Other { message_type, attributes },
    );
    let mut message = NetlinkMessage::new(header, payload.into());
    message.finalize();
    let start = out.len();
    out.resize(start + message.buffer_len(), 0);
    message.serialize(&mut out[start..]);
}

/// `CTA_FILTER` with the original tuple it speaks about; nothing for an empty part.
fn tuple_filter(part: &TuplePart) -> Vec<DefaultNla> {
    let mut flags = 0;
    let mut addresses = Vec::new();
    if let Some(src) = part.src {
        flags |= f::F_IP_SRC;
        addresses.push(IPTuple::SourceAddress(src.into()));
    }
    if let Some(dst) = part.dst {
        flags |= f::F_IP_DST;
        addresses.push(IPTuple::DestinationAddress(dst.into()));
    }
    let mut proto = Vec::new();
    if let Some(protocol) = part.protocol {
        flags |= f::F_PROTO_NUM;
        proto.push(ProtoTuple::Protocol(protocol.0.into()));
    }
    if let Some(port) = part.src_port {
        flags |= f::F_PROTO_SRC_PORT;
        proto.push(ProtoTuple::SourcePort(port));
    }
    if let Some(port) = part.dst_port {
        flags |= f::F_PROTO_DST_PORT;
        proto.push(ProtoTuple::DestinationPort(port));
    }
    if flags == 0 {
        return Vec::new();
    }
    let mut tuple = Vec::new();
    if !addresses.is_empty() {
        tuple.push(Tuple::Ip(addresses));
    }
    if !proto.is_empty() {
        tuple.push(Tuple::Proto(proto));
    }
    let flags = DefaultNla::new(f::ORIG_FLAGS, flags.to_ne_bytes().to_vec());
    vec![nest(cta::TUPLE_ORIG, &tuple), nest(cta::FILTER, &[flags])]
}

fn nest<T: Emitable>(kind: u16, members: &[T]) -> DefaultNla {
    let mut value = vec![0; members.iter().map(Emitable::buffer_len).sum()];
    let mut rest = value.as_mut_slice();
    for member in members {
        let (own, next) = rest.split_at_mut(member.buffer_len());
        member.emit(own);
        rest = next;
    }
    DefaultNla::new(kind | NLA_F_NESTED, value)
}

#[cfg(test)]
#[cfg(target_endian = "little")]
mod tests {
    use super::*;
    use crate::filter::Filter;
    use crate::flow::FlowRef;
    use crate::flow::tests::{DUMPED, dumped, unhex};
    use crate::proto::Protocol;

    /// The vector of the kernel-interface notes, chapter 11: delete by reply tuple and id.
    const DELETE: &str = "5000000002010100070302010000000002000000340002801400018008000100\
        0af40105080002000a0000011c00028005000100110000000600020014e90000\
        0600030003e9000008000c004c4f9f98";

    #[test]
    fn delete_is_byte_for_byte_the_verified_vector() {
        let mut out = Vec::new();
        assert!(append_delete(&mut out, 0x0102_0307, false, &dumped()));
        assert_eq!(out, unhex(DELETE));
    }

    #[test]
    fn a_dumped_zone_goes_along() {
        let bytes = [&unhex(DUMPED)[16..], &[6, 0, 18, 0, 0, 7, 0, 0]].concat();
        let mut out = Vec::new();
        assert!(append_delete(&mut out, 1, true, &FlowRef::parse(&bytes).unwrap()));
        assert_eq!(out[out.len() - 8..], [6, 0, 18, 0, 0, 7, 0, 0]);
        assert_eq!(out[6], 5, "REQUEST and ACK");
    }

    #[test]
    fn an_entry_without_an_id_cannot_be_pinned() {
        let bytes = unhex(&DUMPED.replace("08000c004c4f9f98", "0800c8004c4f9f98"));
        let mut out = Vec::new();
        assert!(!append_delete(&mut out, 1, true, &FlowRef::parse(&bytes[16..]).unwrap()));
        assert!(out.is_empty());
    }

    #[test]
    fn dump_filters_carry_the_nested_flag_and_host_order_bits() {
        let filter = Filter::protocol(Protocol::UDP)
            & Filter::orig_dst("10.96.0.10".parse().unwrap())
            & Filter::orig_dst_port(53);
        let part = filter.plan().unwrap().requests[0];
        // Tuple and flags as in the filtered request of chapter 11, without its reply half.
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
        assert_eq!(stats(7), unhex("14000000050101000700000000000000 00000000"));
    }
}
