//! From where on something is a finding, and who says so.

use crate::error::{Error, Result};

/// Usage: `NodeHighNumberConntrackEntriesUsed` of node-mixin.
pub(super) const USAGE_WARNING: f64 = 0.75;
/// Usage: netdata's alarm, and common practice.
pub(super) const USAGE_CRITICAL: f64 = 0.90;
/// From here on the kernel's garbage collector may evict (`nf_conntrack_max95` in `gc_worker`).
pub(super) const USAGE_EVICTION: f64 = 0.95;
/// Part of new connections that are lost when the table is full. Proposed by this project.
pub(super) const LOSS_WHEN_FULL: f64 = 0.01;
/// Mean chain length at which packets are lost (measured: 4 % at 39 to 49).
pub(super) const CHAIN_CRITICAL: f64 = 30.0;
/// Mean chain length of a full table: what the kernel's own factor gives (8 entries a bucket, each in
/// two chains).
pub(super) const CHAIN_WHEN_FULL: f64 = 16.0;
/// `TIME_WAIT` entries: part of the table, and at least so many. Proposed by this project, as are
/// all below that name no source.
pub(super) const TIME_WAIT: Share = Share { part: 0.30, entries: 10_000 };
/// Entries of DNS.
pub(super) const DNS: Share = Share { part: 0.20, entries: 5_000 };
/// Connections that nobody has answered yet.
pub(super) const SYN: Share = Share { part: 0.20, entries: 5_000 };
/// Entries without an answer, outside the TCP handshake.
pub(super) const UNREPLIED: Share = Share { part: 0.40, entries: 1_000 };
/// Established connections, for the finding about their timeout.
pub(super) const ESTABLISHED: Share = Share { part: 0.50, entries: 1_000 };
/// Connections that one side has closed.
pub(super) const CLOSE_WAIT: Share = Share { part: 0.10, entries: 1_000 };
/// One frontend, backend or source.
pub(super) const ONE: Share = Share { part: 0.50, entries: 10_000 };
/// Entries that a dump does not show.
pub(super) const HIDDEN: Share = Share { part: 0.05, entries: 1_000 };
/// Stale entries that are critical.
pub(super) const STALE_CRITICAL: f64 = 0.01;
/// Part of the limit on expectations.
pub(super) const EXPECTATIONS: f64 = 0.90;
/// Entries of one destination after NAT (address, port and protocol) that use up the source ports
/// (28,232 of `ip_local_port_range`).
const SOURCE_PORTS: u64 = 20_000;
/// Sources of unanswered SYNs: more are a flood, fewer a scan, or a dead target.
const FLOOD_SOURCES: u64 = 1_000;
/// Tuples that were taken, for each new connection.
pub(super) const TAKEN_TUPLES: f64 = 10.0;
/// The shortest timeout of established connections that RFC 5382 (REQ-5) allows: 2 h 4 min.
pub(super) const ESTABLISHED_LEAST: u32 = 7_440;
/// kube-proxy's `--conntrack-max-per-core`, `--conntrack-min`, and the most that it sets.
pub(super) const KUBE_PROXY: (u32, u32, u32) = (32_768, 131_072, 1_048_576);

/// A part of the table, and the least number of entries that it has to be.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Share {
    /// From 0 to 1.
    pub part: f64,
    /// Entries.
    pub entries: u64,
}

impl Share {
    /// A part, from 0 to 1, and a number of entries.
    pub const fn new(part: f64, entries: u64) -> Share {
        Share { part, entries }
    }

    /// Whether a count of a whole reaches both.
    pub(super) fn is_reached(&self, count: u64, of: u64) -> bool {
        use super::statistics::as_f64;
        count >= self.entries.max(1) && as_f64(count) >= self.part * as_f64(of)
    }
}

/// From where on something is a finding. Those without a source are proposals of this project.
///
/// ```
/// use ctnetlink::diagnose::{Share, Thresholds};
/// let mut thresholds = Thresholds::default();
/// thresholds.usage_warning = 0.6;
/// thresholds.dns = Share::new(0.5, 10_000);
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Thresholds {
    /// Usage that is a warning, from 0 to 1: 0.75, as in node-mixin.
    pub usage_warning: f64,
    /// Usage that is critical: 0.90, as in netdata.
    pub usage_critical: f64,
    /// Part of new connections lost when the table is full.
    pub loss_when_full: f64,
    /// Mean chain length that is critical.
    pub chain_critical: f64,
    /// Mean chain length of a full table that is a warning.
    pub chain_when_full: f64,
    /// `TIME_WAIT` entries.
    pub time_wait: Share,
    /// DNS entries.
    pub dns: Share,
    /// Connections without an answer to their SYN, or to the SYN-ACK.
    pub syn: Share,
    /// Other entries without an answer.
    pub unreplied: Share,
    /// Established connections.
    pub established: Share,
    /// Connections in `CLOSE_WAIT`.
    pub close_wait: Share,
    /// Entries of one frontend, backend or source.
    pub one: Share,
    /// Entries that a dump does not show.
    pub hidden: Share,
    /// Part of the table that is stale.
    pub stale_critical: f64,
    /// Part of the limit on expectations.
    pub expectations: f64,
    /// Entries of one destination after NAT that use up the source ports.
    pub source_ports: u64,
    /// Sources of unanswered SYNs that are a flood.
    pub flood_sources: u64,
}

impl Thresholds {
    /// Whether each makes sense: parts are from 0 to 1, chain lengths are numbers.
    ///
    /// # Errors
    ///
    /// The first field that does not, with its value. A threshold that is never reached would look like a
    /// table in which all is well.
    pub fn check(&self) -> Result<()> {
        let parts = [
            ("usage_warning", self.usage_warning),
            ("usage_critical", self.usage_critical),
            ("loss_when_full", self.loss_when_full),
            ("time_wait", self.time_wait.part),
            ("dns", self.dns.part),
            ("syn", self.syn.part),
            ("unreplied", self.unreplied.part),
            ("established", self.established.part),
            ("close_wait", self.close_wait.part),
            ("one", self.one.part),
            ("hidden", self.hidden.part),
            ("stale_critical", self.stale_critical),
            ("expectations", self.expectations),
        ];
        let invalid = |name, value, expected| {
            Err(Error::Invalid(format!("threshold {name}: {value}: expected {expected}")))
        };
        for (name, part) in parts {
            if !(0.0..=1.0).contains(&part) {
                return invalid(name, part, "a part, from 0 to 1");
            }
        }
        let lengths =
            [("chain_critical", self.chain_critical), ("chain_when_full", self.chain_when_full)];
        for (name, length) in lengths {
            if !(length >= 0.0 && length.is_finite()) {
                return invalid(name, length, "entries of a chain");
            }
        }
        Ok(())
    }
}

impl Default for Thresholds {
    fn default() -> Self {
        Thresholds {
            usage_warning: USAGE_WARNING,
            usage_critical: USAGE_CRITICAL,
            loss_when_full: LOSS_WHEN_FULL,
            chain_critical: CHAIN_CRITICAL,
            chain_when_full: CHAIN_WHEN_FULL,
            time_wait: TIME_WAIT,
            dns: DNS,
            syn: SYN,
            unreplied: UNREPLIED,
            established: ESTABLISHED,
            close_wait: CLOSE_WAIT,
            one: ONE,
            hidden: HIDDEN,
            stale_critical: STALE_CRITICAL,
            expectations: EXPECTATIONS,
            source_ports: SOURCE_PORTS,
            flood_sources: FLOOD_SOURCES,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_that_are_never_reached_are_refused() {
        assert!(Thresholds::default().check().is_ok());
        for wrong in [90.0, f64::NAN, -0.1] {
            let thresholds = Thresholds { usage_critical: wrong, ..Thresholds::default() };
            let error = thresholds.check().unwrap_err().to_string();
            assert!(error.contains("usage_critical") && error.contains("from 0 to 1"), "{error}");
        }
        let thresholds = Thresholds { dns: Share::new(20.0, 0), ..Thresholds::default() };
        assert!(thresholds.check().unwrap_err().to_string().contains("dns"));
        let thresholds = Thresholds { chain_critical: f64::INFINITY, ..Thresholds::default() };
        assert!(thresholds.check().is_err());
    }
}
