//! Counters in 64 bits: `Statistics`, `Losses`, `Delta`, `CpuDelta`, `Accumulator`.

use std::sync::Mutex;

use ctnetlink::diagnose as core;
use pyo3::prelude::*;

use crate::record::record;
use crate::stats::CpuStats;
use crate::value::{Span, lock};

record! {
    [hash] [found=None, invalid=None, insert=None, insert_failed=None, drop=None, early_drop=None, error=None, search_restart=None, clash_resolve=None, chain_toolong=None]
    /// Sums of a namespace's counters over all CPUs, in 64 bits.
    ///
    /// A counter that the kernel does not send is ``None``.
    #[derive(Eq, Hash)]
    Statistics {
        /// NAT: tuples that were wanted and taken, so that the next one was tried.
        found: Option<u64>,
        /// Packets that could not be tracked.
        invalid: Option<u64>,
        /// Entries inserted over netlink or BPF.
        insert: Option<u64>,
        /// Entries of packets that could not be inserted: clashes and chains that were too long.
        insert_failed: Option<u64>,
        /// Packets dropped: no entry could be made, or a clash was lost.
        drop: Option<u64>,
        /// *Entries* evicted because the table was full: connections that nobody had assured.
        early_drop: Option<u64>,
        /// ICMP errors of no known connection.
        error: Option<u64>,
        /// Lookups that were restarted, which is harmless.
        search_restart: Option<u64>,
        /// Clashes that were resolved: no packet was lost. Linux 5.10.
        clash_resolve: Option<u64>,
        /// Entries refused because the hash chain was too long. Linux 5.15.
        chain_toolong: Option<u64>,
    }
}

impl From<&core::Statistics> for Statistics {
    fn from(s: &core::Statistics) -> Self {
        Statistics {
            found: s.found,
            invalid: s.invalid,
            insert: s.insert,
            insert_failed: s.insert_failed,
            drop: s.drop,
            early_drop: s.early_drop,
            error: s.error,
            search_restart: s.search_restart,
            clash_resolve: s.clash_resolve,
            chain_toolong: s.chain_toolong,
        }
    }
}

#[pymethods]
impl Statistics {
    /// Return the packets lost, by reason, of one CPU.
    ///
    /// ``Delta.losses`` and ``Accumulator.losses()`` add up those of all.
    fn losses(&self) -> Losses {
        let mut sums = core::Statistics::default();
        (sums.drop, sums.insert_failed) = (self.drop, self.insert_failed);
        sums.chain_toolong = self.chain_toolong;
        sums.losses().into()
    }
}

record! {
    [hash] []
    /// Packets that conntrack lost, by reason.
    ///
    /// The kernel counts a lost clash in ``drop`` and in ``insert_failed``; it is counted once here.
    #[derive(Eq, Hash)]
    Losses {
        /// The table was full, or there was no memory.
        full: u64,
        /// Two packets wanted the same tuple at the same time (source NAT), and this one lost.
        clash: u64,
        /// The hash chain was too long, in a table that need not be full.
        chain: u64,
    }
}

impl From<core::Losses> for Losses {
    fn from(losses: core::Losses) -> Self {
        let core::Losses { full, clash, chain, .. } = losses;
        Losses { full, clash, chain }
    }
}

#[pymethods]
impl Losses {
    /// All of them.
    #[getter]
    fn total(&self) -> u64 {
        let mut losses = core::Losses::default();
        (losses.full, losses.clash, losses.chain) = (self.full, self.clash, self.chain);
        losses.total()
    }
}

record! {
    [hash] []
    /// What was counted on one CPU between two samples.
    #[derive(Eq, Hash)]
    CpuDelta {
        /// Number of the CPU.
        cpu: u16,
        /// What was counted.
        statistics: Statistics,
    }
}

record! {
    [] []
    /// What was counted between two samples.
    Delta {
        /// Seconds between the samples.
        elapsed: f64,
        /// Sums over all CPUs.
        statistics: Statistics,
        /// Packets lost, of all CPUs.
        losses: Losses,
        /// What each CPU counted.
        cpus: Vec<CpuDelta>,
    }
}

impl From<&core::Delta> for Delta {
    fn from(delta: &core::Delta) -> Self {
        let cpu = |one: &core::CpuDelta| CpuDelta {
            cpu: one.cpu,
            statistics: Statistics::from(&one.statistics),
        };
        Delta {
            elapsed: delta.elapsed.as_secs_f64(),
            statistics: Statistics::from(&delta.statistics),
            losses: delta.losses.into(),
            cpus: delta.cpus.iter().map(cpu).collect(),
        }
    }
}

#[pymethods]
impl Delta {
    /// Return a count per second; 0 if no time has passed.
    #[allow(clippy::cast_precision_loss, reason = "a rate")]
    fn per_second(&self, count: u64) -> f64 {
        if self.elapsed > 0.0 { count as f64 / self.elapsed } else { 0.0 }
    }
}

/// Adds up samples of the kernel's counters in 64 bits, across their wrap at 2**32.
#[pyclass(frozen, module = "ctnetlink")]
#[derive(Default)]
pub(crate) struct Accumulator(Mutex<core::Accumulator>);

#[pymethods]
impl Accumulator {
    #[new]
    fn new() -> Self {
        Accumulator::default()
    }

    /// Add a sample of ``Conntrack.stats_per_cpu()``, and return what was counted since the last one.
    ///
    /// ``moment`` is when it was taken, in seconds of ``time.monotonic()``. The first sample counts from
    /// the start of the namespace, and returns ``None``.
    #[allow(clippy::needless_pass_by_value, reason = "a list is extracted into a vector")]
    fn add(&self, moment: Span, sample: Vec<CpuStats>) -> Option<Delta> {
        let sample: Vec<_> = sample.iter().map(ctnetlink::CpuStats::from).collect();
        lock(&self.0).add(moment.0, &sample).as_ref().map(Delta::from)
    }

    /// Return the packets lost, of all CPUs and samples.
    fn losses(&self) -> Losses {
        lock(&self.0).losses().into()
    }

    /// Return the sums of all samples.
    fn total(&self) -> Statistics {
        lock(&self.0).total().into()
    }
}
