//! Requests that find out what the kernel understands. None of them can delete or change anything
//! on any kernel.

use netlink_packet_core::{DefaultNla, NLM_F_DUMP};

use super::{Head, be16, be32, byte, nest};
use crate::uapi::{self, cta, filter as f, tuple as t};

/// The number of an address family that has no entries, so that a dump of it is empty.
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

/// A sane kernel answers `ENOENT`, because no entry has this key. After any other answer, probing
/// stops.
pub(crate) fn control() -> Vec<u8> {
    let attributes = vec![impossible(), be32(cta::ID, 0)];
    head(uapi::IPCTNL_MSG_CT_DELETE, uapi::AF_INET, 0).bytes(attributes)
}

/// The delete of [`control`] with a malformed `CTA_FILTER` (not marked as a nest). A kernel that
/// parses it in deletes answers `EINVAL`; one that does not answers `ENOENT`.
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

/// An error from a kernel that filters dumps by status, because an empty mask is invalid; an empty
/// dump from one that does not.
pub(crate) fn status_filter() -> Vec<u8> {
    dump(EMPTY_FAMILY).bytes(vec![be32(cta::STATUS, 0)])
}

/// An error from a kernel that filters dumps by zone: the zone makes it build a filter, and only
/// then does it notice that the mark's mask has no mark. A kernel that ignores the zone dumps the
/// table, of which only the first datagram is read.
pub(crate) fn zone_filter() -> Vec<u8> {
    dump(0).bytes(vec![be16(cta::ZONE, 1), be32(cta::MARK_MASK, 1)])
}
