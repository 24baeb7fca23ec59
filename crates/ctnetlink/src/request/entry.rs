//! Requests about entries (`IPCTNL_MSG_CT_*`).

use netlink_packet_core::{DefaultNla, NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL};

use super::{Head, address, be16, be32, byte, nest, text, tuple};
use crate::error::{Error, Result};
use crate::model::extension::SeqAdj;
use crate::model::flow::Flow;
use crate::model::key::{Key, KeyDirection};
use crate::model::new_entry::{Change, NatRange, NewEntry, mixed_families};
use crate::model::protocol::ProtocolState;
use crate::model::status::Status;
use crate::model::timeout_policy::whole_seconds;
use crate::model::tuple::{Family, Tuple};
use crate::uapi::{self, cta, protoinfo};
use crate::wire::{ATTRIBUTE_HEADER_LEN, Attributes, HEADER_LEN};

fn head(message: u8, family: u8) -> Head {
    let subsystem = uapi::NFNL_SUBSYS_CTNETLINK;
    Head { subsystem, message, family, version: 0, flags: 0, sequence: 0 }
}

/// `CT_GET_STATS`: always valid, so `EINVAL` can only mean that the kernel has no ctnetlink.
pub(crate) fn stats(sequence: u32) -> Vec<u8> {
    Head { sequence, ..head(uapi::IPCTNL_MSG_CT_GET_STATS, 0) }.bytes(Vec::new())
}

/// `CT_GET_STATS_CPU`, which answers only as a dump.
pub(crate) fn stats_cpu() -> Vec<u8> {
    Head { flags: NLM_F_DUMP, ..head(uapi::IPCTNL_MSG_CT_GET_STATS_CPU, 0) }.bytes(Vec::new())
}

/// `CT_GET_DYING` as a dump.
pub(crate) fn dying(sequence: u32) -> Vec<u8> {
    Head { sequence, flags: NLM_F_DUMP, ..head(uapi::IPCTNL_MSG_CT_GET_DYING, 0) }.bytes(Vec::new())
}

/// `CT_GET_CTRZERO` as a dump of everything: reads and zeroes.
pub(crate) fn dump_and_zero(sequence: u32) -> Vec<u8> {
    let head = head(uapi::IPCTNL_MSG_CT_GET_CTRZERO, 0);
    Head { sequence, flags: NLM_F_DUMP, ..head }.bytes(Vec::new())
}

/// `CT_GET` of one entry. The answer can be an entry that the key does not name: the kernel looks
/// for the tuple in both directions, and does not compare the id.
pub(crate) fn get(key: &Key) -> Result<Vec<u8>> {
    // Destructured by name, so that a field added to the type cannot be forgotten in the request.
    let Key { direction, tuple: named, zone, id: _ } = *key;
    let family = named.family().ok_or_else(mixed_families)?;
    let kind = match direction {
        KeyDirection::Orig => cta::TUPLE_ORIG,
        KeyDirection::Reply => cta::TUPLE_REPLY,
    };
    // For the reason in append_pinned.
    let (named, zone) = match direction {
        KeyDirection::Reply => (named.without_zone(), zone.or(named.zone())),
        KeyDirection::Orig => (named, zone),
    };
    let mut attributes = vec![tuple(kind, &named)];
    attributes.extend(zone.map(|zone| be16(cta::ZONE, zone)));
    Ok(head(uapi::IPCTNL_MSG_CT_GET, family.number()).bytes(attributes))
}

/// `CT_GET_CTRZERO` of this entry, pinned as in [`append_zero`].
pub(crate) fn get_and_zero<B: AsRef<[u8]>>(flow: &Flow<B>) -> Result<Vec<u8>> {
    pinned(uapi::IPCTNL_MSG_CT_GET_CTRZERO, flow)
}

/// `CT_DELETE` of exactly this entry.
pub(crate) fn delete<B: AsRef<[u8]>>(flow: &Flow<B>) -> Result<Vec<u8>> {
    pinned(uapi::IPCTNL_MSG_CT_DELETE, flow)
}

/// Turns a finished delete of one entry into a get of that entry: both have the same attributes.
/// The kernel does not compare the id then; [`is_about`] does.
pub(crate) fn make_get(delete: &mut [u8]) {
    let kind = u16::from_be_bytes([uapi::NFNL_SUBSYS_CTNETLINK, uapi::IPCTNL_MSG_CT_GET]);
    delete[4..6].copy_from_slice(&kind.to_ne_bytes());
}

/// Whether a finished request that pins an entry, and says nothing more, means this one.
pub(crate) fn is_about<B: AsRef<[u8]>>(request: &[u8], flow: &Flow<B>) -> bool {
    let attributes = |request: &[u8]| request.get(HEADER_LEN..).map(<[u8]>::to_vec);
    let own = pinned(uapi::IPCTNL_MSG_CT_GET, flow);
    own.is_ok_and(|own| attributes(&own) == attributes(request))
}

/// `CT_DELETE` without a tuple: removes every entry of the family. Version 1 makes the kernel
/// honour the family (since Linux 5.3; 4.20 to 5.2 always do, older ones never).
pub(crate) fn flush(family: Option<Family>) -> Vec<u8> {
    let number = family.map_or(0, Family::number);
    let version = u8::from(family.is_some());
    let head = Head { version, flags: NLM_F_ACK, ..head(uapi::IPCTNL_MSG_CT_DELETE, number) };
    head.bytes(Vec::new())
}

/// `CT_NEW` that creates. An entry that exists is `EEXIST`.
pub(crate) fn create(entry: &NewEntry) -> Result<Vec<u8>> {
    // Destructured by name, here and below, so that a field added to the type cannot be forgotten
    // in the request.
    let NewEntry { orig, reply: _, zone, src_nat, dst_nat, master, change } = entry;
    let family = entry.family()?;
    let mut attributes =
        vec![tuple(cta::TUPLE_ORIG, orig), tuple(cta::TUPLE_REPLY, &entry.reply_tuple()?)];
    append_change(&mut attributes, change)?;
    attributes.extend(zone.map(|zone| be16(cta::ZONE, zone)));
    attributes.extend(bindings(*src_nat, *dst_nat, *master)?);
    let flags = NLM_F_CREATE | NLM_F_EXCL;
    Ok(Head { flags, ..head(uapi::IPCTNL_MSG_CT_NEW, family.number()) }.bytes(attributes))
}

/// What only a creation can set.
fn bindings(
    src_nat: Option<NatRange>,
    dst_nat: Option<NatRange>,
    master: Option<Tuple>,
) -> Result<impl Iterator<Item = DefaultNla>> {
    let src = src_nat.map(|range| nat(cta::NAT_SRC, range)).transpose()?;
    let dst = dst_nat.map(|range| nat(cta::NAT_DST, range)).transpose()?;
    let master = master.map(|master| tuple(cta::TUPLE_MASTER, &master));
    Ok(src.into_iter().chain(dst).chain(master))
}

/// The contents of an update, checked and ready to be sent to any entry.
#[derive(Debug, Clone)]
pub(crate) struct Update(Vec<DefaultNla>);

impl Update {
    pub(crate) fn of(change: &Change) -> Result<Update> {
        let mut attributes = Vec::new();
        append_change(&mut attributes, change)?;
        Ok(Update(attributes))
    }

    /// What a creation asks for, if the entry exists already. The kernel refuses NAT and a master
    /// (`EOPNOTSUPP`); leaving them out would lose them in silence.
    pub(crate) fn of_existing(entry: &NewEntry) -> Result<Update> {
        let NewEntry { orig: _, reply: _, zone: _, src_nat, dst_nat, master, change } = entry;
        let mut update = Update::of(change)?;
        update.0.extend(bindings(*src_nat, *dst_nat, *master)?);
        Ok(update)
    }
}

/// `CT_NEW` that updates this entry.
pub(crate) fn update<B: AsRef<[u8]>>(flow: &Flow<B>, update: &Update) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    append_update(&mut out, flow, update)?;
    Ok(out)
}

/// A `CT_NEW` that updates this entry, pinned as in [`append_delete`] (the kernel does not look at
/// the id here).
pub(crate) fn append_update<B: AsRef<[u8]>>(
    out: &mut Vec<u8>,
    flow: &Flow<B>,
    update: &Update,
) -> Result<()> {
    append_pinned(out, uapi::IPCTNL_MSG_CT_NEW, flow, update.0.clone())
}

/// Appends a `CT_DELETE` of exactly this entry: by its reply tuple byte for byte as dumped, its
/// id, and the zone of its reply direction, which goes to the top level wherever it was dumped.
///
/// Why the reply tuple: it contains the backend, and never changes. An entry that the same client
/// has re-created toward another backend since the dump often has the same original tuple *and*
/// the same id, but not the same reply tuple (docs/kernel-interface.md, 5.2 and 5.3).
pub(crate) fn append_delete<B: AsRef<[u8]>>(out: &mut Vec<u8>, flow: &Flow<B>) -> Result<()> {
    append_pinned(out, uapi::IPCTNL_MSG_CT_DELETE, flow, Vec::new())
}

/// A `CT_GET_CTRZERO` of exactly this entry, pinned like [`append_delete`] (the kernel does not
/// look at the id here).
pub(crate) fn append_zero<B: AsRef<[u8]>>(out: &mut Vec<u8>, flow: &Flow<B>) -> Result<()> {
    append_pinned(out, uapi::IPCTNL_MSG_CT_GET_CTRZERO, flow, Vec::new())
}

/// The kernel always sends an id. An entry from elsewhere may have none: this is an error, and
/// nothing is appended.
fn append_pinned<B: AsRef<[u8]>>(
    out: &mut Vec<u8>,
    message: u8,
    flow: &Flow<B>,
    more: Vec<DefaultNla>,
) -> Result<()> {
    let (Some(reply), Some(id)) = (flow.attribute(cta::TUPLE_REPLY), flow.attribute(cta::ID))
    else {
        return Err(Error::Invalid(
            "an entry without an id cannot be distinguished from its successor".into(),
        ));
    };
    // A zone of the reply direction goes to the top level: inside the tuple it would be the zone of
    // that direction only, and the kernel's lookup, which begins with the original direction of
    // each entry, would find one of the default zone (nf_conntrack_find_get).
    let inside = Attributes::find(reply, uapi::tuple::ZONE);
    let inside = inside.and_then(|zone| Some((zone.be16()?, zone.offset)));
    let mut reply = reply.to_vec();
    if let Some((_, offset)) = inside {
        reply.drain(offset - ATTRIBUTE_HEADER_LEN..reply.len().min(offset + 4));
    }
    let mut attributes = vec![
        DefaultNla::new(cta::TUPLE_REPLY | netlink_packet_core::NLA_F_NESTED, reply),
        DefaultNla::new(cta::ID, id.to_vec()),
    ];
    let zone = flow.zone_of_both().or(inside.map(|(zone, _)| zone));
    attributes.extend(zone.map(|zone| be16(cta::ZONE, zone)));
    attributes.extend(more);
    head(message, flow.family().number()).append(out, attributes);
    Ok(())
}

fn pinned<B: AsRef<[u8]>>(message: u8, flow: &Flow<B>) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    append_pinned(&mut out, message, flow, Vec::new())?;
    Ok(out)
}

fn append_change(attributes: &mut Vec<DefaultNla>, change: &Change) -> Result<()> {
    change.check()?;
    let Change {
        timeout,
        status,
        mark,
        labels,
        state,
        helper,
        seq_adj_orig,
        seq_adj_reply,
        synproxy,
    } = change;
    if let Some(bits) = *status {
        attributes.push(be32(cta::STATUS, (bits | Status::CONFIRMED).bits()));
    }
    attributes.extend(timeout.map(|timeout| be32(cta::TIMEOUT, whole_seconds(timeout))));
    if let Some((value, mask)) = *mark {
        attributes.push(be32(cta::MARK, value));
        attributes.extend(mask.map(|mask| be32(cta::MARK_MASK, mask)));
    }
    if let Some((labels, mask)) = labels {
        attributes.push(DefaultNla::new(cta::LABELS, labels.bytes().to_vec()));
        let mask =
            mask.as_ref().map(|mask| DefaultNla::new(cta::LABELS_MASK, mask.bytes().to_vec()));
        attributes.extend(mask);
    }
    attributes.extend(state.as_ref().map(protocol_state));
    if let Some(name) = helper {
        attributes.push(nest(cta::HELP, &[text(cta::HELP_NAME, name, uapi::HELPER_NAME_MAX)?]));
    }
    attributes.extend(seq_adj_orig.map(|adj| seq_adj(cta::SEQ_ADJ_ORIG, adj)));
    attributes.extend(seq_adj_reply.map(|adj| seq_adj(cta::SEQ_ADJ_REPLY, adj)));
    if let Some(s) = synproxy {
        attributes.push(nest(cta::SYNPROXY, &[be32(1, s.isn), be32(2, s.its), be32(3, s.tsoff)]));
    }
    Ok(())
}

fn protocol_state(state: &ProtocolState) -> DefaultNla {
    use protoinfo as p;
    let mut members = Vec::new();
    let kind = match *state {
        ProtocolState::Tcp { state, wscale_orig, wscale_reply, flags_orig, flags_reply } => {
            members.extend(state.map(|state| byte(p::TCP_STATE, state.number())));
            members.extend(wscale_orig.map(|shift| byte(p::TCP_WSCALE_ORIGINAL, shift)));
            members.extend(wscale_reply.map(|shift| byte(p::TCP_WSCALE_REPLY, shift)));
            // Flags and mask: only bits in the mask change, so the mask has all bits.
            let flags = |kind, flags: u8| DefaultNla::new(kind, vec![flags, 0xff]);
            members.extend(flags_orig.map(|bits| flags(p::TCP_FLAGS_ORIGINAL, bits)));
            members.extend(flags_reply.map(|bits| flags(p::TCP_FLAGS_REPLY, bits)));
            p::TCP
        }
        ProtocolState::Sctp { state, vtag_orig, vtag_reply } => {
            members.extend(state.map(|state| byte(p::SCTP_STATE, state.number())));
            members.extend(vtag_orig.map(|tag| be32(p::SCTP_VTAG_ORIGINAL, tag)));
            members.extend(vtag_reply.map(|tag| be32(p::SCTP_VTAG_REPLY, tag)));
            p::SCTP
        }
        ProtocolState::Dccp { state, role, handshake_seq } => {
            members.extend(state.map(|state| byte(p::DCCP_STATE, state)));
            members.extend(role.map(|role| byte(p::DCCP_ROLE, role)));
            let seq = |seq: u64| DefaultNla::new(p::DCCP_HANDSHAKE_SEQ, seq.to_be_bytes().to_vec());
            members.extend(handshake_seq.map(seq));
            p::DCCP
        }
    };
    nest(cta::PROTOINFO, &[nest(kind, &members)])
}

fn seq_adj(kind: u16, adjustment: SeqAdj) -> DefaultNla {
    let SeqAdj { correction_pos, offset_before, offset_after } = adjustment;
    let members = [
        be32(1, correction_pos),
        DefaultNla::new(2, offset_before.to_be_bytes().to_vec()),
        DefaultNla::new(3, offset_after.to_be_bytes().to_vec()),
    ];
    nest(kind, &members)
}

fn nat(kind: u16, range: NatRange) -> Result<DefaultNla> {
    use uapi::nat as n;
    range.check()?;
    let mut members = Vec::new();
    if let Some((first, last)) = range.addresses {
        members.push(address(n::V4_MINIP, n::V6_MINIP, first));
        if last != first {
            members.push(address(n::V4_MAXIP, n::V6_MAXIP, last));
        }
    }
    if let Some((first, last)) = range.ports {
        let mut ports = vec![be16(n::PORT_MIN, first)];
        if last != first {
            ports.push(be16(n::PORT_MAX, last));
        }
        members.push(nest(n::PROTO, &ports));
    }
    Ok(nest(kind, &members))
}

#[cfg(test)]
#[cfg(target_endian = "little")]
mod tests {
    use std::net::{IpAddr, Ipv6Addr, SocketAddr};
    use std::time::Duration;

    use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
    use netlink_packet_netfilter::conntrack::{
        ConntrackAttribute, ConntrackMessage, IPTuple, ProtoTuple, Status as OracleStatus,
        Tuple as TuplePartNla,
    };
    use netlink_packet_netfilter::{NetfilterMessage, NetfilterMessageInner};
    use proptest::prelude::*;

    use super::*;
    use crate::model::flow::FlowRef;
    use crate::model::flow::tests::{DUMPED, dumped, unhex};
    use crate::model::protocol::Protocol;
    use crate::model::tuple::Tuple;

    /// A delete by reply tuple and id that a kernel accepted (docs/kernel-interface.md, 11).
    const DELETE: &str = "5000000002010100070302010000000002000000340002801400018008000100\
        0af40105080002000a0000011c00028005000100110000000600020014e90000\
        0600030003e9000008000c004c4f9f98";

    #[test]
    fn delete_is_byte_for_byte_the_verified_vector() {
        let mut out = Vec::new();
        append_delete(&mut out, &dumped()).unwrap();
        super::super::seal(&mut out, 0x0102_0307, false);
        assert_eq!(out, unhex(DELETE));
    }

    #[test]
    fn a_dumped_zone_goes_along() {
        let bytes = [&unhex(DUMPED)[16..], &[6, 0, 18, 0, 0, 7, 0, 0]].concat();
        let mut out = Vec::new();
        append_delete(&mut out, &FlowRef::parse(&bytes).unwrap()).unwrap();
        assert_eq!(out[out.len() - 8..], [6, 0, 18, 0, 0, 7, 0, 0]);
        super::super::seal(&mut out, 1, true);
        assert_eq!(out[6], 5, "REQUEST and ACK");
    }

    #[test]
    fn an_entry_without_an_id_cannot_be_pinned() {
        let bytes = unhex(&DUMPED.replace("08000c004c4f9f98", "0800c8004c4f9f98"));
        let mut out = Vec::new();
        assert!(append_delete(&mut out, &FlowRef::parse(&bytes[16..]).unwrap()).is_err());
        assert!(out.is_empty());
    }

    #[test]
    fn statistics_are_asked_for_without_attributes() {
        assert_eq!(stats(7), unhex("14000000050101000700000000000000 00000000"));
    }

    /// The creation of an entry with NAT that a kernel accepted (docs/kernel-interface.md, 11).
    #[test]
    fn create_is_byte_for_byte_the_verified_vector() {
        let expected = unhex(
            "9c00000000010506050302010000000002000000340001801400018008000100\
             0a000001080002000a60000a1c00028005000100110000000600020003e90000\
             06000300003500003400028014000180080001000a60000a080002000a000001\
             1c000280050001001100000006000200003500000600030003e9000008000700\
             0000012c18000d80080001000af401050c0003800600010014e90000",
        );
        let (client, vip) = ("10.0.0.1:1001".parse().unwrap(), "10.96.0.10:53".parse().unwrap());
        let orig = Tuple::with_ports(Protocol::UDP, client, vip);
        let new = NewEntry::new(orig, Duration::from_secs(300))
            .dst_nat(NatRange::to("10.244.1.5:5353".parse().unwrap()));
        let mut request = create(&new).unwrap();
        super::super::seal(&mut request, 0x0102_0305, true);
        assert_eq!(request, expected);
    }

    fn oracle(request: &[u8]) -> (u8, u16, Vec<ConntrackAttribute>) {
        let message = NetlinkMessage::<NetfilterMessage>::deserialize(request).unwrap();
        let NetlinkPayload::InnerMessage(inner) = message.payload else { panic!("a request") };
        let NetfilterMessageInner::Conntrack(body) = inner.inner else { panic!("of conntrack") };
        let attributes = match body {
            ConntrackMessage::New(a) | ConntrackMessage::Get(a) | ConntrackMessage::Delete(a) => a,
            other => panic!("{other:?}"),
        };
        (inner.header.family.into(), message.header.flags, attributes)
    }

    fn any_tuple() -> impl Strategy<Value = Tuple> {
        let ports = (any::<bool>(), any::<u32>(), any::<u32>(), any::<(u16, u16)>(), 0..5_usize);
        ports.prop_map(|(v6, src, dst, (sport, dport), protocol)| {
            let ip = |n: u32| match v6 {
                false => IpAddr::from(n.to_be_bytes()),
                true => Ipv6Addr::from(u128::from(n) << 3).into(),
            };
            let at = |n, port| SocketAddr::new(ip(n), port);
            let protocol = [6, 17, 132, 136, 47].map(Protocol)[protocol];
            Tuple::with_ports(protocol, at(src, sport), at(dst, dport))
        })
    }

    fn typed(tuple: &Tuple) -> Vec<TuplePartNla> {
        vec![
            TuplePartNla::Ip(vec![
                IPTuple::SourceAddress(tuple.src()),
                IPTuple::DestinationAddress(tuple.dst()),
            ]),
            TuplePartNla::Proto(vec![
                ProtoTuple::Protocol(tuple.protocol().0.into()),
                ProtoTuple::SourcePort(tuple.src_port().unwrap()),
                ProtoTuple::DestinationPort(tuple.dst_port().unwrap()),
            ]),
        ]
    }

    proptest! {
        /// What we send means the same to another implementation.
        #[test]
        fn requests_deserialise_to_what_was_meant(
            orig in any_tuple(), timeout in any::<u32>(), status in 0_u32..0x1_0000,
            mark in any::<u32>(), by_reply in any::<bool>(),
        ) {
            let family = orig.family().unwrap().number();
            let new = NewEntry::new(orig, Duration::from_secs(timeout.into()))
                .status(Status::from_bits_retain(status))
                .mark(mark);
            let (sent, sent_flags, attributes) = oracle(&create(&new).unwrap());
            prop_assert_eq!((sent, sent_flags), (family, 0x601));
            prop_assert_eq!(attributes, vec![
                ConntrackAttribute::CtaTupleOrig(typed(&orig)),
                ConntrackAttribute::CtaTupleReply(typed(&orig.inverse().unwrap())),
                ConntrackAttribute::CtaStatus(OracleStatus::from_bits_retain(status | 8)),
                ConntrackAttribute::CtaTimeout(timeout),
                ConntrackAttribute::CtaMark(mark),
            ]);
            let key = if by_reply { Key::reply(orig) } else { Key::orig(orig) };
            let named = match by_reply {
                true => ConntrackAttribute::CtaTupleReply(typed(&orig)),
                false => ConntrackAttribute::CtaTupleOrig(typed(&orig)),
            };
            let (sent, flags, attributes) = oracle(&get(&key.id(7)).unwrap());
            prop_assert_eq!((sent, flags), (family, 1));
            prop_assert_eq!(attributes, vec![named]);
        }

        /// What is done to an entry names it by its reply tuple and id, and is never without them.
        #[test]
        fn requests_about_an_entry_pin_it(mark in any::<u32>()) {
            let flow = dumped();
            let pinned = [cta::TUPLE_REPLY, cta::ID];
            let change = Update::of(&Change::new().mark(mark)).unwrap();
            let requests = [delete(&flow), get_and_zero(&flow), update(&flow, &change)];
            for (at, request) in requests.into_iter().enumerate() {
                let request = request.unwrap();
                let attributes: Vec<_> = Attributes::new(&request[20..]).readable().collect();
                let kinds: Vec<_> = attributes.iter().map(|a| a.kind).collect();
                prop_assert_eq!(&kinds[..2], pinned);
                prop_assert_eq!(Some(attributes[0].value), flow.attribute(cta::TUPLE_REPLY));
                let rest = if at == 2 { vec![cta::MARK] } else { vec![] };
                prop_assert_eq!(&kinds[2..], rest);
                prop_assert_eq!(is_about(&request, &flow), at < 2);
            }
        }

        /// And we read back what we would write.
        #[test]
        fn a_created_entry_reads_as_itself(orig in any_tuple(), timeout in any::<u32>()) {
            let new = NewEntry::new(orig, Duration::from_secs(timeout.into()));
            let request = create(&new).unwrap();
            let flow = FlowRef::parse(&request[16..]).unwrap();
            prop_assert_eq!((*flow.orig(), *flow.reply()), (orig, orig.inverse().unwrap()));
            prop_assert_eq!(flow.timeout(), Some(Duration::from_secs(timeout.into())));
        }
    }
}
