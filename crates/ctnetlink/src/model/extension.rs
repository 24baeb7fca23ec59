//! What an entry carries beyond its tuples: the kernel calls these its extensions (`nf_ct_ext`).

use std::time::{Duration, SystemTime};

use crate::wire::{Attribute, Attributes};

/// Packets and bytes of one direction (`CTA_COUNTERS_*`). Kept by the kernel only for entries
/// created while `nf_conntrack_acct` was 1.
///
/// ```no_run
/// # fn f(flow: ctnetlink::Flow) {
/// match flow.counters_orig() {
///     Some(counters) => println!("{} packets, {} bytes", counters.packets, counters.bytes),
///     None => println!("not counted: nf_conntrack_acct was 0 when the entry was made"),
/// }
/// # }
/// ```
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

/// State of the SYN proxy (`CTA_SYNPROXY`). If the kernel supports SYN proxies, entries created
/// over netlink have it, with zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct SynProxy {
    /// Initial sequence number.
    pub isn: u32,
    /// Initial timestamp.
    pub its: u32,
    /// Timestamp offset.
    pub tsoff: u32,
}

/// Readers of the nests. A member that is missing or truncated makes the whole nest absent, except
/// in timestamps, whose members are optional.
pub(crate) mod parse {
    use super::{
        Attribute, Attributes, Counters, Duration, SeqAdj, SynProxy, SystemTime, Timestamps,
    };

    /// The members 1, 2 and 3 of a nest, in one walk.
    #[inline]
    fn members<'a, T>(
        nest: &'a [u8],
        read: impl Fn(&Attribute<'a>) -> Option<T>,
    ) -> [Option<T>; 3] {
        let mut members = [None, None, None];
        for attribute in Attributes::new(nest).readable() {
            let slot =
                usize::from(attribute.kind).checked_sub(1).and_then(|at| members.get_mut(at));
            if let Some(slot) = slot {
                *slot = read(&attribute);
            }
        }
        members
    }

    /// Nanoseconds since the epoch.
    #[inline]
    pub(crate) fn time(nanoseconds: u64) -> Option<SystemTime> {
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_nanos(nanoseconds))
    }

    /// Two BE64 members, 1 and 2, and nothing else: what the kernel sends for counters.
    #[inline]
    fn two(nest: &[u8]) -> Option<(u64, u64)> {
        const fn header(kind: u16) -> u32 {
            let ([a, b], [c, d]) = (12_u16.to_ne_bytes(), kind.to_ne_bytes());
            u32::from_ne_bytes([a, b, c, d])
        }
        let nest: &[u8; 24] = nest.try_into().ok()?;
        let word =
            |at: usize| u32::from_ne_bytes([nest[at], nest[at + 1], nest[at + 2], nest[at + 3]]);
        if (word(0) ^ header(1)) | (word(12) ^ header(2)) != 0 {
            return None;
        }
        Some((crate::wire::be64(&nest[4..])?, crate::wire::be64(&nest[16..])?))
    }

    #[inline]
    pub(crate) fn counters(nest: &[u8]) -> Option<Counters> {
        if let Some((packets, bytes)) = two(nest) {
            return Some(Counters { packets, bytes });
        }
        let [packets, bytes, _] = members(nest, Attribute::be64);
        Some(Counters { packets: packets?, bytes: bytes? })
    }

    #[inline]
    pub(crate) fn timestamps(nest: &[u8]) -> Timestamps {
        let [start, stop, _] = members(nest, Attribute::be64);
        Timestamps { start: start.and_then(time), stop: stop.and_then(time) }
    }

    pub(crate) fn seq_adj(nest: &[u8]) -> Option<SeqAdj> {
        let [correction_pos, offset_before, offset_after] = members(nest, Attribute::be32);
        Some(SeqAdj {
            correction_pos: correction_pos?,
            offset_before: i32::from_ne_bytes(offset_before?.to_ne_bytes()),
            offset_after: i32::from_ne_bytes(offset_after?.to_ne_bytes()),
        })
    }

    #[inline]
    pub(crate) fn synproxy(nest: &[u8]) -> Option<SynProxy> {
        let [isn, its, tsoff] = members(nest, Attribute::be32);
        Some(SynProxy { isn: isn?, its: its?, tsoff: tsoff? })
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
    fn counters_in_another_layout() {
        let swapped = [&PAIR[12..], &PAIR[..12]].concat();
        let padded = [&PAIR[..], &[4, 0, 5, 0]].concat();
        for nest in [swapped, padded] {
            assert_eq!(parse::counters(&nest), parse::counters(&PAIR));
        }
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
