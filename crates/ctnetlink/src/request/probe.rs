//! Requests that find out what the kernel understands. In place none of them can delete or change
//! anything on any kernel; the filtered flushes are for a scratch namespace only.

use netlink_packet_core::{DefaultNla, NLM_F_DUMP};

use super::{Head, be16, be32, byte, nest};
use crate::tuple::Family;
use crate::uapi::{self, cta, filter as f, tuple as t};

/// A number no address family has entries of, so that a dump of it is empty.
const EMPTY_FAMILY: u8 = 5;
/// A filter bit no kernel knows.
const UNKNOWN_BIT: u32 = 0x8000_0000;

fn head(message: u8, family: u8, flags: u16) -> Head {
    let subsystem = uapi::NFNL_SUBSYS_CTNETLINK;
    Head { subsystem, message, family, version: 0, flags, sequence: 0 }
}

fn dump(family: u8) -> Head {
    head(uapi::IPCTNL_MSG_CT_GET, family, NLM_F_DUMP)
}

/// A complete key no entry can have: 255.255.255.255 to 0.0.0.0, protocol 255, which has no ports.
fn impossible() -> DefaultNla {
    let addresses =
        [DefaultNla::new(t::IP_V4_SRC, vec![255; 4]), DefaultNla::new(t::IP_V4_DST, vec![0; 4])];
    let proto = [byte(t::PROTO_NUM, 255)];
    nest(cta::TUPLE_ORIG, &[nest(t::IP, &addresses), nest(t::PROTO, &proto)])
}

fn flags(kind: u16, bits: u32) -> DefaultNla {
    DefaultNla::new(kind, bits.to_ne_bytes().to_vec())
}

/// `ENOENT` from a sane kernel: nothing has this key. Anything else: stop.
pub(crate) fn control() -> Vec<u8> {
    let attributes = vec![impossible(), be32(cta::ID, 0)];
    head(uapi::IPCTNL_MSG_CT_DELETE, uapi::AF_INET, 0).bytes(attributes)
}

/// The same with a malformed `CTA_FILTER` (not marked as a nest): a kernel that parses it in
/// deletes says `EINVAL`, one that does not `ENOENT`.
pub(crate) fn flush_filter() -> Vec<u8> {
    let filter = nest(cta::FILTER, &[flags(f::ORIG_FLAGS, f::F_PROTO_NUM)]);
    let mut value = vec![0; netlink_packet_core::Emitable::buffer_len(&filter) - 4];
    netlink_packet_core::Nla::emit_value(&filter, &mut value);
    let attributes = vec![impossible(), be32(cta::ID, 0), DefaultNla::new(cta::FILTER, value)];
    head(uapi::IPCTNL_MSG_CT_DELETE, uapi::AF_INET, 0).bytes(attributes)
}

/// An error from a kernel that parses `CTA_FILTER` in dumps; an empty dump from one that does not.
pub(crate) fn dump_filter() -> Vec<u8> {
    let filter = nest(cta::FILTER, &[flags(f::ORIG_FLAGS, UNKNOWN_BIT)]);
    dump(EMPTY_FAMILY).bytes(vec![filter])
}

/// The same for the status filter: a mask of nothing is invalid.
pub(crate) fn status_filter() -> Vec<u8> {
    dump(EMPTY_FAMILY).bytes(vec![be32(cta::STATUS, 0)])
}

/// The same for the zone filter: only where the zone makes the kernel build a filter is the mark's
/// mask without a mark noticed. A kernel that ignores it dumps the table, of which only the first
/// datagram is looked at.
pub(crate) fn zone_filter() -> Vec<u8> {
    dump(0).bytes(vec![be16(cta::ZONE, 1), be32(cta::MARK_MASK, 1)])
}

/// A filter to be tried out on a table of one's own.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trial {
    pub(crate) orig: Fields,
    pub(crate) reply: Fields,
    /// Mark, status, zone: attributes at the top level.
    pub(crate) rest: Vec<DefaultNla>,
}

/// Fields of one tuple with the bits that select them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fields {
    pub(crate) bits: u32,
    pub(crate) addresses: Vec<DefaultNla>,
    pub(crate) proto: Vec<DefaultNla>,
}

impl Fields {
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

impl Trial {
    fn attributes(&self) -> Vec<DefaultNla> {
        let mut attributes: Vec<_> = self
            .orig
            .nest(cta::TUPLE_ORIG)
            .into_iter()
            .chain(self.reply.nest(cta::TUPLE_REPLY))
            .collect();
        if self.orig.bits | self.reply.bits != 0 {
            let bits =
                [flags(f::ORIG_FLAGS, self.orig.bits), flags(f::REPLY_FLAGS, self.reply.bits)];
            attributes.push(nest(cta::FILTER, &bits));
        }
        attributes.extend(self.rest.iter().cloned());
        attributes
    }

    pub(crate) fn dump(&self, family: Family) -> Vec<u8> {
        dump(family.number()).bytes(self.attributes())
    }

    /// Always with an original tuple that is no complete key: a kernel that does not understand
    /// the filter takes the request for the delete of one entry, and says `EINVAL`.
    pub(crate) fn flush(&self, family: Family) -> Vec<u8> {
        let mut trial = self.clone();
        if trial.orig.proto.is_empty() {
            trial.orig.proto.push(byte(t::PROTO_NUM, 17));
        }
        let mut attributes = trial.attributes();
        if trial.orig.bits | trial.reply.bits == 0 {
            attributes.push(nest(cta::FILTER, &[flags(f::ORIG_FLAGS, 0)]));
        }
        head(uapi::IPCTNL_MSG_CT_DELETE, family.number(), 0).bytes(attributes)
    }
}

#[cfg(test)]
#[cfg(target_endian = "little")]
mod tests {
    use super::*;
    use crate::flow::tests::unhex;

    /// Chapter 11: a filtered flush.
    #[test]
    fn flush_is_byte_for_byte_the_verified_vector() {
        let expected = unhex(
            "5c00000002010500040302010000000002000000240001800c00018008000200\
             0a60000a1400028005000100110000000600030000350000100002800c000180\
             080001000af4010514001980080001002a0000000800020001000000",
        );
        let address = |kind, octets: [u8; 4]| vec![DefaultNla::new(kind, octets.to_vec())];
        let orig = Fields {
            bits: f::F_IP_DST | f::F_PROTO_NUM | f::F_PROTO_DST_PORT,
            addresses: address(t::IP_V4_DST, [10, 96, 0, 10]),
            proto: vec![byte(t::PROTO_NUM, 17), be16(t::PROTO_DST_PORT, 53)],
        };
        let reply = Fields {
            bits: f::F_IP_SRC,
            addresses: address(t::IP_V4_SRC, [10, 244, 1, 5]),
            proto: Vec::new(),
        };
        let trial = Trial { orig, reply, rest: Vec::new() };
        let mut request = trial.flush(Family::Ipv4);
        super::super::seal(&mut request, 0x0102_0304, true);
        assert_eq!(request, expected);
    }

    /// A kernel that does not understand the filter must find no complete key in it.
    #[test]
    fn a_flush_always_has_an_original_tuple_that_is_no_key() {
        let trial = Trial { rest: vec![be16(cta::ZONE, 7)], ..Trial::default() };
        let request = trial.flush(Family::Ipv6);
        assert_eq!(request[20..36], unhex("1000018 00c00028005000100 11000000"));
    }
}
