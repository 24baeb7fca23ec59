//! The diagnosis of a conntrack table: what holds it, what is lost, and what to do (feature
//! `diagnose`).
//!
//! [`Conntrack::diagnose`] looks at everything for a moment and says what it found. Its parts can be
//! used alone: [`Pressure`] (how full), [`Statistics`] and [`Losses`] (what was lost, from
//! [`Accumulator`]), [`Limits`] (settings), [`Summary`] (what holds the table), [`Trend`] (growth).
//!
//! ```no_run
//! # fn f() -> ctnetlink::Result<()> {
//! let ct = ctnetlink::Conntrack::open()?;
//! let diagnosis = ct.diagnose().run()?;
//! for finding in &diagnosis.findings {
//!     println!("{finding}\n  {}", finding.remedy);
//! }
//! # Ok(()) }
//! ```

mod environment;
mod finding;
mod findings;
mod limits;
mod names;
mod pressure;
mod setting;
mod statistics;
mod summary;
mod thresholds;
mod top;
mod trend;

use std::thread;
use std::time::{Duration, Instant};

pub use self::environment::LogLine;
pub use self::finding::{Finding, FindingId, Grouped};
pub use self::limits::Limits;
pub use self::names::Names;
pub use self::pressure::{Level, Pressure};
pub use self::setting::{Setting, Unit};
use self::statistics::as_f64;
pub use self::statistics::{Accumulator, CpuDelta, Delta, Losses, Statistics};
pub use self::summary::{Churn, Group, Summarizer, Summary, Unreplied};
pub use self::thresholds::{Share, Thresholds};
pub use self::top::{Top, TopRow};
pub use self::trend::{Growth, Trend};
use crate::conntrack::Conntrack;
use crate::conntrack::stats::CpuStats;
use crate::error::{Error, Operation, Result};
use crate::reconcile::Reconciler;
use crate::reconcile::desired::DesiredState;
use crate::reconcile::scope::Profile;

/// How long the counters are watched.
const INTERVAL: Duration = Duration::from_secs(2);
/// How often a wait looks whether it was cancelled.
const SLICE: Duration = Duration::from_millis(20);
/// Rows of a top table.
const ROWS: usize = 10;

/// Something that could not be looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Unseen {
    /// What.
    pub what: &'static str,
    /// Why not, and what to do.
    pub why: String,
}

/// Everything that was seen of a table, and what was found.
///
/// What could not be seen is absent, and [`unseen`](Diagnosis::unseen) says why.
#[derive(Debug, Clone, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Diagnosis {
    /// The worst of the findings; `None` if nothing could be looked at.
    pub level: Option<Level>,
    /// What was found, the worst first.
    pub findings: Vec<Finding>,
    /// Whether this is the initial network namespace, the host's.
    pub is_host: Option<bool>,
    /// Release of the kernel.
    pub kernel: Option<String>,
    /// Processors that are online.
    pub processors: Option<u32>,
    /// How full the table is.
    pub pressure: Option<Pressure>,
    /// The kernel's counters since the namespace exists.
    pub statistics: Option<Statistics>,
    /// Packets lost since then.
    pub losses: Option<Losses>,
    /// What was counted during the interval.
    pub delta: Option<Delta>,
    /// The settings in force.
    pub limits: Limits,
    /// What holds the table.
    pub summary: Option<Summary>,
    /// Expectations.
    pub expectations: Option<u64>,
    /// Entries of all network namespaces, which share the hash table; only root sees them.
    pub entries_of_all_namespaces: Option<u64>,
    /// The last line of the kernel's log about a full table, if this namespace has dropped packets.
    pub table_full: Option<LogLine>,
    /// Stale UDP entries, if a desired state was given.
    pub stale: Option<u64>,
    /// What could not be looked at.
    pub unseen: Vec<Unseen>,
}

impl Diagnosis {
    /// The finding about something, if it was found.
    pub fn finding(&self, id: FindingId) -> Option<&Finding> {
        self.findings.iter().find(|finding| finding.id == id)
    }

    /// Entries of a hash chain, on average; each entry is in two chains, and all namespaces share them.
    /// `None` if the entries of all namespaces, or the buckets, are not known.
    pub fn chain_length_mean(&self) -> Option<f64> {
        let buckets = self.limits.get(Setting::Buckets).filter(|buckets| *buckets != 0)?;
        Some(2.0 * as_f64(self.entries_of_all_namespaces?) / f64::from(buckets))
    }

    /// Judges once more, by other thresholds.
    pub fn judge(&mut self, thresholds: &Thresholds) {
        self.findings = findings::find(self, thresholds);
        let worst = self.findings.iter().map(|finding| finding.level).max();
        self.level = match (worst, &self.pressure) {
            // An info is no reason to act.
            (None | Some(Level::Info), Some(_)) => Some(Level::Ok),
            (None | Some(Level::Info), None) => None,
            (worst, _) => worst,
        };
    }

    fn miss(&mut self, what: &'static str, why: impl ToString) {
        self.unseen.push(Unseen { what, why: why.to_string() });
    }
}

/// A diagnosis to be made. [`run`](Diagnose::run) makes it.
#[derive(Debug)]
#[must_use = "a diagnosis does nothing until it is run"]
pub struct Diagnose<'c> {
    ct: &'c Conntrack,
    interval: Duration,
    rows: usize,
    summary: bool,
    names: Names,
    thresholds: Thresholds,
    desired: Option<&'c DesiredState>,
}

impl Conntrack {
    /// The counters of each CPU: those of [`stats_per_cpu`](Conntrack::stats_per_cpu), or without the
    /// privilege for it those of `/proc/net/stat/nf_conntrack`, which not every kernel has
    /// (`CONFIG_NF_CONNTRACK_PROCFS`).
    ///
    /// # Errors
    ///
    /// Those of [`stats_per_cpu`](Conntrack::stats_per_cpu), if there is no such file.
    pub fn counters(&self) -> Result<Vec<CpuStats>> {
        self.stats_per_cpu()
            .or_else(|error| self.within(|| Ok(environment::counters()))?.ok_or(error))
    }

    /// Prepares a diagnosis: what holds the table, what is lost, and what to do.
    pub fn diagnose(&self) -> Diagnose<'_> {
        Diagnose {
            ct: self,
            interval: INTERVAL,
            rows: ROWS,
            summary: true,
            names: Names::default(),
            thresholds: Thresholds::default(),
            desired: None,
        }
    }
}

impl<'c> Diagnose<'c> {
    /// How long the counters are watched: two seconds by default. With zero, losses are only known
    /// since the namespace exists.
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// How many rows the tables have: ten by default.
    pub fn rows(mut self, rows: usize) -> Self {
        self.rows = rows;
        self
    }

    /// Whether the table is dumped once, which says what holds it; it is, by default.
    pub fn summary(mut self, wanted: bool) -> Self {
        self.summary = wanted;
        self
    }

    /// Names for the tables.
    pub fn names(mut self, names: Names) -> Self {
        self.names = names;
        self
    }

    /// Other thresholds.
    pub fn thresholds(mut self, thresholds: Thresholds) -> Self {
        self.thresholds = thresholds;
        self
    }

    /// Also counts stale UDP entries, as a dry run of a [`Reconciler`] does, and uses the names of the
    /// services where [`names`](Diagnose::names) has none.
    pub fn desired(mut self, desired: &'c DesiredState) -> Self {
        self.desired = Some(desired);
        self
    }

    /// Looks. What cannot be seen, for lack of a privilege or of a part of the kernel, is named in
    /// [`Diagnosis::unseen`].
    ///
    /// # Errors
    ///
    /// Cancelled; the namespace cannot be entered; a threshold that makes no sense.
    pub fn run(self) -> Result<Diagnosis> {
        let ct = self.ct;
        self.thresholds.check()?;
        let limits = ct.limits_or_totals()?;
        let mut diagnosis = Diagnosis {
            is_host: limits.is_initial_namespace(),
            kernel: environment::kernel(),
            processors: environment::processors(),
            limits,
            ..Diagnosis::default()
        };
        if diagnosis.limits.get(Setting::Buckets).is_none() {
            let why = match diagnosis.limits.is_empty() {
                true => {
                    "/proc/sys/net/netfilter has none: nf_conntrack is not loaded, or /proc/sys is hidden"
                }
                false => "/proc/sys/net/netfilter has no nf_conntrack_buckets",
            };
            diagnosis.miss("settings: limits, timeouts, length of the hash chains", why);
        }
        let start = Instant::now();
        let (mut trend, mut counters) = (Trend::default(), Accumulator::default());
        match ct.entries_now() {
            Ok(entries) => {
                trend.add(start.elapsed(), entries);
                let limit = diagnosis.limits.get(Setting::Max);
                diagnosis.pressure = Some(Pressure::new(entries, limit));
            }
            Err(error) => diagnosis.miss("entries and limit", error),
        }
        match ct.counters() {
            Ok(sample) => {
                counters.add(start.elapsed(), &sample);
                diagnosis.statistics = Some(*counters.total());
                diagnosis.losses = Some(counters.losses());
            }
            Err(error) => diagnosis.miss("counters", error),
        }
        self.look_inside(&mut diagnosis)?;
        if diagnosis.statistics.is_some() && !self.interval.is_zero() {
            self.wait(start)?;
            match ct.counters() {
                Ok(sample) => {
                    diagnosis.delta = counters.add(start.elapsed(), &sample);
                    diagnosis.statistics = Some(*counters.total());
                    diagnosis.losses = Some(counters.losses());
                }
                Err(error) => diagnosis.miss("counters", error),
            }
            if let Ok(entries) = ct.entries_now() {
                trend.add(start.elapsed(), entries);
            }
        }
        self.outside(&mut diagnosis);
        let churn = diagnosis.summary.as_ref().and_then(|summary| summary.churn.new_per_second());
        if let Some(pressure) = &mut diagnosis.pressure {
            pressure.growth = trend.growth(churn);
            pressure.evictable = diagnosis.summary.as_ref().map(Summary::evictable);
            pressure.buckets = diagnosis.limits.get(Setting::Buckets);
        }
        diagnosis.judge(&self.thresholds);
        Ok(diagnosis)
    }

    /// What only dumps tell.
    fn look_inside(&self, diagnosis: &mut Diagnosis) -> Result<()> {
        if !self.summary {
            return Ok(());
        }
        match self.ct.summary(self.rows) {
            Ok(mut summary) => {
                if let Some(desired) = self.desired {
                    summary.name(&Names::of(desired));
                }
                if !self.names.is_empty() {
                    summary.name(&self.names);
                }
                diagnosis.summary = Some(summary);
            }
            Err(error @ Error::Cancelled { .. }) => return Err(error),
            Err(error) => {
                diagnosis.miss("what holds the table", error);
                return Ok(());
            }
        }
        match self.ct.expectations() {
            // At most nf_conntrack_expect_max.
            Ok(all) => diagnosis.expectations = Some(all.len() as u64),
            Err(error @ Error::Cancelled { .. }) => return Err(error),
            Err(error) => diagnosis.miss("expectations", error),
        }
        self.count_stale(diagnosis)
    }

    /// Counts stale entries. If the passes do not reach their end, there is no count.
    fn count_stale(&self, diagnosis: &mut Diagnosis) -> Result<()> {
        let Some(desired) = self.desired else { return Ok(()) };
        let stale = Reconciler::new(Profile::Strict).dry_run(true).run(self.ct, desired);
        let error = match stale {
            Ok(report) => match report.families.iter().find_map(|family| family.error.clone()) {
                None => {
                    diagnosis.stale = Some(report.families.iter().map(|f| f.stale).sum());
                    return Ok(());
                }
                Some(error) => error,
            },
            Err(error) => error,
        };
        if error.is_cancelled() {
            return Err(error);
        }
        diagnosis.miss("stale entries", error);
        Ok(())
    }

    fn wait(&self, start: Instant) -> Result<()> {
        while let Some(left) = self.interval.checked_sub(start.elapsed()).filter(|l| !l.is_zero()) {
            if self.ct.is_cancelled() {
                return Err(Error::Cancelled { operation: Operation::Stats });
            }
            thread::sleep(left.min(SLICE));
        }
        Ok(())
    }

    /// What the machine says besides.
    fn outside(&self, diagnosis: &mut Diagnosis) {
        diagnosis.entries_of_all_namespaces = environment::entries_of_all_namespaces();
        if diagnosis.entries_of_all_namespaces.is_none() {
            let why =
                "/proc/slabinfo cannot be read (root of the host can), or has no nf_conntrack";
            diagnosis.miss("entries of all namespaces", why);
        }
        let own = (diagnosis.is_host == Some(false)).then(|| self.ct.inode());
        let dropped = diagnosis.losses.is_none_or(|losses| losses.full > 0);
        match environment::table_full_line(own) {
            Ok(line) => diagnosis.table_full = line.filter(|_| dropped),
            Err(error) => diagnosis.miss("kernel log", format!("/dev/kmsg: {error}")),
        }
    }
}

#[cfg(feature = "serde")]
fn seconds<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

#[cfg(feature = "serde")]
fn display<T: std::fmt::Display, S: serde::Serializer>(
    value: &T,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

#[cfg(feature = "serde")]
fn display_option<T: std::fmt::Display, S: serde::Serializer>(
    value: &Option<T>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.collect_str(value),
        None => serializer.serialize_none(),
    }
}
