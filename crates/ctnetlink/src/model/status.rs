//! Status bits of an entry.

use std::fmt;

bitflags::bitflags! {
    /// The status of an entry: `enum ip_conntrack_status`. Unknown bits are kept.
    ///
    /// Typical values of a UDP entry through DNAT: `0x1a8` without a reply, `0x1aa` after a reply,
    /// `0x1ae` when assured. In a namespace without NAT hooks: `0x8`, `0xa`, `0xe`.
    ///
    /// ```
    /// use ctnetlink::Status;
    /// let status = Status::from_bits_retain(0x1aa);
    /// assert!(status.contains(Status::DST_NAT | Status::SEEN_REPLY));
    /// assert_eq!(Status::ASSURED.to_string(), "ASSURED");
    /// ```
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct Status: u32 {
        /// Expected by a helper; has a master entry.
        const EXPECTED = 1 << 0;
        /// Packets were seen in both directions.
        const SEEN_REPLY = 1 << 1;
        /// Not dropped early when the table is full.
        const ASSURED = 1 << 2;
        /// In the table; always set on entries that can be seen.
        const CONFIRMED = 1 << 3;
        /// The source is rewritten.
        const SRC_NAT = 1 << 4;
        /// The destination is rewritten.
        const DST_NAT = 1 << 5;
        /// TCP sequence numbers are adjusted.
        const SEQ_ADJUST = 1 << 6;
        /// Source NAT was decided (possibly to do nothing).
        const SRC_NAT_DONE = 1 << 7;
        /// Destination NAT was decided (possibly to do nothing).
        const DST_NAT_DONE = 1 << 8;
        /// Leaving the table; set in destroy events.
        const DYING = 1 << 9;
        /// The timeout cannot be changed.
        const FIXED_TIMEOUT = 1 << 10;
        /// A template of the ruleset, never in the table.
        const TEMPLATE = 1 << 11;
        /// Clash entry: only hashed by its reply tuple, lives one second.
        const NAT_CLASH = 1 << 12;
        /// A helper was attached by the ruleset or at creation.
        const HELPER = 1 << 13;
        /// Handed to a flowtable; dumped without timeout and protocol state.
        const OFFLOAD = 1 << 14;
        /// Handed to hardware; Linux 5.8.
        const HW_OFFLOAD = 1 << 15;

        const _ = !0;
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        bitflags::parser::to_writer(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_the_kernels() {
        assert_eq!(
            Status::CONFIRMED | Status::DST_NAT | Status::SRC_NAT_DONE | Status::DST_NAT_DONE,
            Status::from_bits_retain(0x1a8)
        );
        assert_eq!(Status::HW_OFFLOAD.bits(), 0x8000);
    }

    #[test]
    fn unknown_bits_are_kept_and_shown() {
        let status = Status::from_bits_retain(0x8000_0008);
        assert_eq!(status.bits(), 0x8000_0008);
        assert_eq!(status.to_string(), "CONFIRMED | 0x80000000");
    }
}
