//! The kernel's counters, in 64 bits, and what they say about lost packets.

use std::time::Duration;

use crate::conntrack::stats::CpuStats;

/// Sums of a namespace's counters over all CPUs, in 64 bits. A counter that the kernel does not send
/// is `None`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Statistics {
    /// NAT: tuples that were wanted and taken, so that the next one was tried.
    pub found: Option<u64>,
    /// Packets that could not be tracked.
    pub invalid: Option<u64>,
    /// Entries inserted over netlink or BPF.
    pub insert: Option<u64>,
    /// Entries of packets that could not be inserted: clashes and chains that were too long.
    pub insert_failed: Option<u64>,
    /// Packets dropped: no entry could be made, or a clash was lost.
    pub drop: Option<u64>,
    /// *Entries* evicted because the table was full. Each was a connection that nobody had assured:
    /// a DNS query that waited for its answer, for instance.
    pub early_drop: Option<u64>,
    /// ICMP errors of no known connection.
    pub error: Option<u64>,
    /// Lookups that were restarted, which is harmless.
    pub search_restart: Option<u64>,
    /// Clashes that were resolved: no packet was lost. Linux 5.10.
    pub clash_resolve: Option<u64>,
    /// Entries refused because the hash chain was too long. Linux 5.15.
    pub chain_toolong: Option<u64>,
}

/// Packets that conntrack lost, by reason.
///
/// `insert_failed` must not be added to `drop`: a lost clash is counted in both.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Losses {
    /// The table was full, or there was no memory: no entry could be made.
    pub full: u64,
    /// Two packets wanted the same tuple at the same time (source NAT), and this one lost.
    pub clash: u64,
    /// The hash chain was too long, in a table that need not be full. Nothing is logged.
    pub chain: u64,
}

impl Losses {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.full.saturating_add(self.clash).saturating_add(self.chain)
    }
}

impl Losses {
    fn add(&mut self, other: Losses) {
        self.full = self.full.saturating_add(other.full);
        self.clash = self.clash.saturating_add(other.clash);
        self.chain = self.chain.saturating_add(other.chain);
    }
}

/// Applies an operation to every counter of two sets.
macro_rules! each {
    ($into:expr, $from:expr, $with:expr) => {
        each!(@ $into, $from, $with, found invalid insert insert_failed drop early_drop error
            search_restart clash_resolve chain_toolong)
    };
    (@ $into:expr, $from:expr, $with:expr, $($field:ident)*) => {
        $($with(&mut $into.$field, $from.$field);)*
    };
}

impl Statistics {
    /// The packets lost, by reason, of one CPU: [`Delta::losses`] and [`Accumulator::losses`] add up
    /// those of all. In sums over CPUs, refused creations over netlink on one CPU would be taken for lost
    /// packets of another: `chain_toolong` counts them too, `insert_failed` does not.
    pub fn losses(&self) -> Losses {
        let count = |value: Option<u64>| value.unwrap_or(0);
        let chain = count(self.chain_toolong).min(count(self.insert_failed));
        let clash = count(self.insert_failed) - chain;
        Losses { chain, clash, full: count(self.drop).saturating_sub(clash) }
    }

    fn add(&mut self, other: &Statistics) {
        each!(self, other, |sum: &mut Option<u64>, more: Option<u64>| {
            if let Some(more) = more {
                *sum = Some(sum.unwrap_or(0).saturating_add(more));
            }
        });
    }

    /// What was counted since an earlier sample of the same CPU. The kernel's counters have 32 bits
    /// and wrap.
    fn since(before: &CpuStats, now: &CpuStats) -> Statistics {
        let mut delta = Statistics::of(now);
        let before = Statistics::of(before);
        each!(delta, before, |now: &mut Option<u64>, before: Option<u64>| {
            *now = now.map(|now| grown(before.unwrap_or(0), now));
        });
        delta
    }

    fn of(cpu: &CpuStats) -> Statistics {
        let mut wide = Statistics::default();
        each!(wide, cpu, |wide: &mut Option<u64>, narrow: Option<u32>| {
            *wide = narrow.map(u64::from);
        });
        wide
    }
}

/// How much a counter of 32 bits has grown. One that has fallen by more than it can have wrapped was
/// reset, and counts from 0.
fn grown(before: u64, now: u64) -> u64 {
    let wrapped = now.wrapping_sub(before) & u64::from(u32::MAX);
    if now < before && wrapped > u64::from(u32::MAX) / 2 { now } else { wrapped }
}

/// What was counted on one CPU between two samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct CpuDelta {
    /// Number of the CPU.
    pub cpu: u16,
    /// What was counted.
    pub statistics: Statistics,
}

/// What was counted between two samples.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Delta {
    /// Time between the samples. In JSON, seconds.
    #[cfg_attr(feature = "serde", serde(serialize_with = "super::seconds"))]
    pub elapsed: Duration,
    /// Sums over all CPUs.
    pub statistics: Statistics,
    /// Packets lost, of all CPUs.
    pub losses: Losses,
    /// What each CPU counted, in the order of the kernel's answer.
    pub cpus: Vec<CpuDelta>,
}

impl Delta {
    /// Per second; 0 if no time has passed.
    pub fn per_second(&self, count: u64) -> f64 {
        let seconds = self.elapsed.as_secs_f64();
        if seconds > 0.0 { as_f64(count) / seconds } else { 0.0 }
    }
}

/// A count as a number to calculate with. Counts above 2^53 lose their last digits.
#[allow(clippy::cast_precision_loss, reason = "said in the comment")]
pub(super) fn as_f64(count: u64) -> f64 {
    count as f64
}

/// Adds up samples of the kernel's counters in 64 bits, across their wrap at 2^32.
///
/// ```no_run
/// # fn f(ct: &ctnetlink::Conntrack) -> ctnetlink::Result<()> {
/// use ctnetlink::diagnose::Accumulator;
/// use std::time::{Duration, Instant};
/// let start = Instant::now();
/// let mut counters = Accumulator::default();
/// loop {
///     let delta = counters.add(start.elapsed(), &ct.stats_per_cpu()?);
///     println!("{} lost now, {} in all",
///         delta.map_or(0, |delta| delta.losses.total()),
///         counters.losses().total());
///     std::thread::sleep(Duration::from_secs(2));
/// }
/// # }
/// ```
#[derive(Debug, Clone, Default)]
pub struct Accumulator {
    total: Statistics,
    losses: Losses,
    last: Option<(Duration, Vec<CpuStats>)>,
}

impl Accumulator {
    /// Adds a sample, taken at a moment of the caller's monotonic clock, and returns what was
    /// counted since the one before. The first sample counts from the start of the namespace.
    pub fn add(&mut self, moment: Duration, sample: &[CpuStats]) -> Option<Delta> {
        let Some((before, cpus)) = self.last.replace((moment, sample.to_vec())) else {
            for cpu in sample.iter().map(Statistics::of) {
                self.total.add(&cpu);
                self.losses.add(cpu.losses());
            }
            return None;
        };
        let mut delta = Delta { elapsed: moment.saturating_sub(before), ..Delta::default() };
        for now in sample {
            let earlier = cpus.iter().find(|cpu| cpu.cpu == now.cpu);
            let none = CpuStats { cpu: now.cpu, ..CpuStats::default() };
            let statistics = Statistics::since(earlier.unwrap_or(&none), now);
            delta.statistics.add(&statistics);
            delta.losses.add(statistics.losses());
            delta.cpus.push(CpuDelta { cpu: now.cpu, statistics });
        }
        self.total.add(&delta.statistics);
        self.losses.add(delta.losses);
        Some(delta)
    }

    /// Packets lost, of all CPUs and samples.
    pub fn losses(&self) -> Losses {
        self.losses
    }

    /// The sums of all samples.
    pub fn total(&self) -> &Statistics {
        &self.total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(drops: &[u32]) -> Vec<CpuStats> {
        let cpu = |(cpu, drop): (usize, &u32)| CpuStats {
            cpu: u16::try_from(cpu).unwrap(),
            drop: Some(*drop),
            ..CpuStats::default()
        };
        drops.iter().enumerate().map(cpu).collect()
    }

    #[test]
    fn counters_wrap_and_are_reset() {
        let mut counters = Accumulator::default();
        assert_eq!(counters.add(Duration::ZERO, &sample(&[u32::MAX - 1, 5])), None);
        let first = u64::from(u32::MAX) + 4;
        assert_eq!(counters.total().drop, Some(first));
        let delta = counters.add(Duration::from_secs(2), &sample(&[8, 6])).unwrap();
        assert_eq!(delta.statistics.drop, Some(11));
        assert_eq!(
            (delta.cpus[0].statistics.drop, delta.cpus[1].statistics.drop),
            (Some(10), Some(1))
        );
        assert!((delta.per_second(11) - 5.5).abs() < 1e-9);
        assert_eq!(counters.total().drop, Some(first + 11));
        // A CPU that starts again counts from 0, and a new one is not a wrap.
        let delta = counters.add(Duration::from_secs(3), &sample(&[3, 6, 7])).unwrap();
        assert_eq!(delta.statistics.drop, Some(3 + 7));
        // What the kernel does not send stays absent.
        assert_eq!(counters.total().chain_toolong, None);
    }

    /// Creations over netlink that one CPU refused are no packets of another.
    #[test]
    fn losses_are_those_of_each_cpu() {
        let one = |cpu, drop, insert_failed, chain_toolong| CpuStats {
            cpu,
            drop: Some(drop),
            insert_failed: Some(insert_failed),
            chain_toolong: Some(chain_toolong),
            ..CpuStats::default()
        };
        let mut counters = Accumulator::default();
        counters.add(Duration::ZERO, &[one(0, 0, 0, 0), one(1, 0, 0, 0)]);
        let delta = counters.add(Duration::from_secs(1), &[one(0, 0, 0, 100), one(1, 50, 50, 0)]);
        let clashes = Losses { full: 0, clash: 50, chain: 0 };
        assert_eq!((delta.unwrap().losses, counters.losses()), (clashes, clashes));
    }

    #[test]
    fn a_lost_packet_is_counted_once() {
        let losses = |drop, insert_failed, chain_toolong| {
            let (drop, insert_failed) = (Some(drop), Some(insert_failed));
            let found = Statistics { drop, insert_failed, chain_toolong, ..Statistics::default() };
            found.losses()
        };
        // Full: drop alone. A clash: both. A chain: insert_failed and chain_toolong.
        assert_eq!(losses(5000, 0, Some(0)), Losses { full: 5000, clash: 0, chain: 0 });
        assert_eq!(losses(12_182, 12_182, Some(0)), Losses { full: 0, clash: 12_182, chain: 0 });
        assert_eq!(losses(0, 3834, Some(3834)), Losses { full: 0, clash: 0, chain: 3834 });
        // A creation over netlink that met a long chain lost no packet.
        assert_eq!(losses(0, 0, Some(7)).total(), 0);
        assert_eq!(losses(10, 7, Some(3)), Losses { full: 6, clash: 4, chain: 3 });
        assert_eq!(losses(10, 7, None).total(), 10);
    }
}
