//! Requests out: the bytes of every message this crate sends.
//!
//! The envelope and the typed tuple members are `netlink-packet-core`'s and
//! `netlink-packet-netfilter`'s. Every request has its attributes as `DefaultNla`, because the
//! typed message variants drop `NLA_F_NESTED` from attributes they do not know, and the kernel
//! refuses a `CTA_FILTER` without it. `NetfilterMessage` is not used: a program would contain the
//! code of all its variants (nftables, logging), some 110 KiB.
//!
//! To the kernel, a `CT_DELETE` without a tuple is a flush of everything. Only [`entry::flush`]
//! makes one. The filtered flush of [`filter::flush`] always has a tuple.

pub(crate) mod entry;
pub(crate) mod expect;
pub(crate) mod filter;
pub(crate) mod probe;
pub(crate) mod timeout;

use std::net::IpAddr;

use netlink_packet_core::{
    DefaultNla, Emitable, NLA_F_NESTED, NLM_F_ACK, NLM_F_ECHO, NLM_F_REQUEST, NetlinkHeader,
    NetlinkMessage, NetlinkPayload, NetlinkSerializable,
};
use netlink_packet_netfilter::conntrack::{IPTuple, ProtoTuple};
use netlink_packet_netfilter::{NetfilterHeader, NetfilterProtoFamily};

use crate::error::{Error, Result};
use crate::model::protocol::Protocol;
use crate::model::tuple::Tuple;
use crate::uapi::{NFGENMSG_LEN, tuple as t};

/// The head of a request; [`append`](Head::append) makes the message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head {
    pub(crate) subsystem: u8,
    pub(crate) message: u8,
    /// `nfgen_family`; 0 for any.
    pub(crate) family: u8,
    /// `nfgenmsg.version`: 1 makes a flush honour the family, 0 everywhere else.
    pub(crate) version: u8,
    /// `NLM_F_*` without `NLM_F_REQUEST`.
    pub(crate) flags: u16,
    pub(crate) sequence: u32,
}

impl Head {
    pub(crate) fn append(self, out: &mut Vec<u8>, attributes: Vec<DefaultNla>) {
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | self.flags;
        header.sequence_number = self.sequence;
        let payload = NetlinkPayload::InnerMessage(Body { head: self, attributes });
        let mut message = NetlinkMessage::new(header, payload);
        message.finalize();
        let start = out.len();
        out.resize(start + message.buffer_len(), 0);
        message.serialize(&mut out[start..]);
    }

    pub(crate) fn bytes(self, attributes: Vec<DefaultNla>) -> Vec<u8> {
        let mut out = Vec::new();
        self.append(&mut out, attributes);
        out
    }
}

/// What follows the netlink header: `nfgenmsg` and the attributes.
struct Body {
    head: Head,
    attributes: Vec<DefaultNla>,
}

impl NetlinkSerializable for Body {
    fn message_type(&self) -> u16 {
        u16::from_be_bytes([self.head.subsystem, self.head.message])
    }

    fn buffer_len(&self) -> usize {
        NFGENMSG_LEN + self.attributes.as_slice().buffer_len()
    }

    fn serialize(&self, buffer: &mut [u8]) {
        let family = NetfilterProtoFamily::from(self.head.family);
        let (header, attributes) = buffer.split_at_mut(NFGENMSG_LEN);
        NetfilterHeader::new(family, self.head.version, 0).emit(header);
        self.attributes.as_slice().emit(attributes);
    }
}

/// Gives a finished request its sequence number, and asks for an acknowledgement if wanted. The
/// numbers of a batch are known only when it is sent.
pub(crate) fn seal(request: &mut [u8], sequence: u32, acknowledge: bool) {
    if acknowledge {
        add_flags(request, NLM_F_ACK);
    }
    request[8..12].copy_from_slice(&sequence.to_ne_bytes());
}

/// Makes a finished request ask the kernel to report the entry that it touches.
pub(crate) fn ask_for_echo(request: &mut [u8]) {
    add_flags(request, NLM_F_ECHO);
}

fn add_flags(request: &mut [u8], more: u16) {
    let flags = u16::from_ne_bytes([request[6], request[7]]) | more;
    request[6..8].copy_from_slice(&flags.to_ne_bytes());
}

pub(crate) fn nest<T: Emitable>(kind: u16, members: &[T]) -> DefaultNla {
    let mut value = vec![0; members.iter().map(Emitable::buffer_len).sum()];
    let mut rest = value.as_mut_slice();
    for member in members {
        let (own, next) = rest.split_at_mut(member.buffer_len());
        member.emit(own);
        rest = next;
    }
    DefaultNla::new(kind | NLA_F_NESTED, value)
}

pub(crate) fn be32(kind: u16, value: u32) -> DefaultNla {
    DefaultNla::new(kind, value.to_be_bytes().to_vec())
}

pub(crate) fn be16(kind: u16, value: u16) -> DefaultNla {
    DefaultNla::new(kind, value.to_be_bytes().to_vec())
}

pub(crate) fn byte(kind: u16, value: u8) -> DefaultNla {
    DefaultNla::new(kind, vec![value])
}

/// A NUL-terminated text of at most `most` bytes.
///
/// It is checked here and not left to the kernel. An attribute that does not fit its 16-bit length
/// is skipped, and a delete by name without its name removes everything. And the kernel compares up
/// to the first NUL, so that a NUL in a name would name something else.
pub(crate) fn text(kind: u16, value: &str, most: usize) -> Result<DefaultNla> {
    if value.len() > most || value.contains('\0') {
        // `{:.40?}` would not cut it.
        let shown: String = value.chars().take(40).collect();
        return Err(Error::Invalid(format!(
            "invalid name {shown:?}: expected at most {most} bytes and no NUL"
        )));
    }
    Ok(DefaultNla::new(kind, [value.as_bytes(), b"\0"].concat()))
}

/// A whole tuple as a nest of this number.
pub(crate) fn tuple(kind: u16, tuple: &Tuple) -> DefaultNla {
    let addresses = [IPTuple::SourceAddress(tuple.src()), IPTuple::DestinationAddress(tuple.dst())];
    let mut proto = vec![ProtoTuple::Protocol(tuple.protocol().0.into())];
    if let (Some(src), Some(dst)) = (tuple.src_port(), tuple.dst_port()) {
        proto.push(ProtoTuple::SourcePort(src));
        proto.push(ProtoTuple::DestinationPort(dst));
    }
    if let Some(icmp) = tuple.icmp() {
        let (id, kind, code) = match tuple.protocol() {
            Protocol::ICMPV6 => (t::PROTO_ICMPV6_ID, t::PROTO_ICMPV6_TYPE, t::PROTO_ICMPV6_CODE),
            _ => (t::PROTO_ICMP_ID, t::PROTO_ICMP_TYPE, t::PROTO_ICMP_CODE),
        };
        let members = [be16(id, icmp.id), byte(kind, icmp.kind), byte(code, icmp.code)];
        proto.extend(members.map(ProtoTuple::Other));
    }
    let mut members = vec![nest(t::IP, &addresses), nest(t::PROTO, &proto)];
    members.extend(tuple.zone().map(|zone| be16(t::ZONE, zone)));
    nest(kind, &members)
}

/// An address, with the attribute number of its family.
pub(crate) fn address(v4: u16, v6: u16, address: IpAddr) -> DefaultNla {
    match address {
        IpAddr::V4(address) => DefaultNla::new(v4, address.octets().to_vec()),
        IpAddr::V6(address) => DefaultNla::new(v6, address.octets().to_vec()),
    }
}
