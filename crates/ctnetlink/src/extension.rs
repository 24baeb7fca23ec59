//! What an entry carries beyond its tuples: the kernel calls these its extensions (`nf_ct_ext`).

use std::time::{Duration, SystemTime};

use crate::wire::Attributes;

/// Packets and bytes of one direction (`CTA_COUNTERS_*`). Kept by the kernel only for entries
/// created while `nf_conntrack_acct` was 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Counters {
    /// Packets.
    pub packets: u64,
    /// Bytes, layer 3 header included.
    pub bytes: u64,
}

/// When the entry was made and when it ended (`CTA_TIMESTAMP`). Kept only for entries created
/// while `nf_conntrack_timestamp` was 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Timestamps {
    /// Creation.
    pub start: Option<SystemTime>,
    /// End; in destroy events only.
    pub stop: Option<SystemTime>,
}

/// TCP sequence adjustment of one direction, made by a helper that rewrites payload
/// (`CTA_SEQ_ADJ_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct SeqAdj {
    /// Sequence number from which `offset_after` applies.
    pub correction_pos: u32,
    /// Offset before that position.
    pub offset_before: i32,
    /// Offset from that position on.
    pub offset_after: i32,
}

/// State of the SYN proxy (`CTA_SYNPROXY`). Entries created over netlink have it with zeros,
/// where the kernel knows SYN proxies at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct SynProxy {
    /// Initial sequence number.
    pub isn: u32,
    /// Initial timestamp.
    pub its: u32,
    /// Timestamp offset.
    pub tsoff: u32,
}

/// Readers of the nests. A member that is missing or cut short makes the whole absent, except for
/// timestamps, whose members come and go.
pub(crate) mod parse {
    use super::{Attributes, Counters, Duration, SeqAdj, SynProxy, SystemTime, Timestamps};

    fn be32(nest: &[u8], kind: u16) -> Option<u32> {
        Attributes::find(nest, kind)?.be32()
    }

    fn be64(nest: &[u8], kind: u16) -> Option<u64> {
        Attributes::find(nest, kind)?.be64()
    }

    /// Nanoseconds since the epoch.
    pub(crate) fn time(nanoseconds: u64) -> Option<SystemTime> {
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_nanos(nanoseconds))
    }

    pub(crate) fn counters(nest: &[u8]) -> Option<Counters> {
        Some(Counters { packets: be64(nest, 1)?, bytes: be64(nest, 2)? })
    }

    pub(crate) fn timestamps(nest: &[u8]) -> Timestamps {
        let at = |kind| be64(nest, kind).and_then(time);
        Timestamps { start: at(1), stop: at(2) }
    }

    pub(crate) fn seq_adj(nest: &[u8]) -> Option<SeqAdj> {
        Some(SeqAdj {
            correction_pos: be32(nest, 1)?,
            offset_before: be32(nest, 2)?.cast_signed(),
            offset_after: be32(nest, 3)?.cast_signed(),
        })
    }

    pub(crate) fn synproxy(nest: &[u8]) -> Option<SynProxy> {
        Some(SynProxy { isn: be32(nest, 1)?, its: be32(nest, 2)?, tsoff: be32(nest, 3)? })
    }
}

#[cfg(test)]
#[cfg(target_endian = "little")]
mod tests {
    use super::*;

    const PAIR: [u8; 24] = [
        12, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 2, // 1: 0x1_0000_0002
        12, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 7, // 2: 7
    ];
    const TRIPLE: [u8; 24] =
        [8, 0, 1, 0, 0, 0, 0, 9, 8, 0, 2, 0, 255, 255, 255, 254, 8, 0, 3, 0, 0, 0, 1, 0];

    #[test]
    fn nests() {
        let counters = Counters { packets: 0x1_0000_0002, bytes: 7 };
        assert_eq!(parse::counters(&PAIR), Some(counters));
        let at = |nanoseconds| SystemTime::UNIX_EPOCH + Duration::from_nanos(nanoseconds);
        let both = Timestamps { start: Some(at(0x1_0000_0002)), stop: Some(at(7)) };
        assert_eq!(parse::timestamps(&PAIR), both);
        let adjustment = SeqAdj { correction_pos: 9, offset_before: -2, offset_after: 256 };
        assert_eq!(parse::seq_adj(&TRIPLE), Some(adjustment));
        let proxy = SynProxy { isn: 9, its: 0xffff_fffe, tsoff: 256 };
        assert_eq!(parse::synproxy(&TRIPLE), Some(proxy));
    }

    #[test]
    fn missing_members() {
        assert_eq!(parse::counters(&PAIR[..12]), None);
        assert_eq!(parse::seq_adj(&TRIPLE[..16]), None);
        assert_eq!(parse::synproxy(&TRIPLE[8..]), None);
        let none = Timestamps { start: None, stop: None };
        assert_eq!(parse::timestamps(&[]), none);
        assert_eq!(parse::timestamps(&PAIR[..12]).stop, None);
    }
}
