//! Looking at one table, again and again.

use std::time::{Duration, Instant};

use ctnetlink::Conntrack;
use ctnetlink::diagnose::{
    Accumulator, Delta, Diagnosis, Names, Setting, Statistics, Summary, Thresholds, Trend,
};

/// How a table is watched.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Options {
    /// The value of the label `netns`; `None`: no such label.
    pub netns: Option<String>,
    /// For how long what a pass over the table has found is used: 60 s by default.
    pub cache: Duration,
    /// How many of those with the most entries are exposed; 0 by default, because each is a series.
    pub top: usize,
    /// Names of services and pods.
    pub names: Names,
    /// From where on something is a finding.
    pub thresholds: Thresholds,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            netns: None,
            cache: Duration::from_secs(60),
            top: 0,
            names: Names::default(),
            thresholds: Thresholds::default(),
        }
    }
}

/// What was seen of a table at one moment.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Sample {
    /// The value of the label `netns`.
    pub netns: Option<String>,
    /// When it was taken.
    pub taken: Instant,
    /// Whether the kernel told everything that was asked. If not, what it told is there.
    pub up: bool,
    /// What was seen and found. The counters are sums in 64 bits.
    pub diagnosis: Diagnosis,
    /// When the table was walked for the summary in it.
    pub summarized: Option<Instant>,
    /// How many rows of a kind are exposed.
    pub(crate) top: usize,
    /// Packets lost, and entries evicted, since the table is watched. A counter that began with the
    /// kernel's total would not be the same after a restart.
    pub(crate) counted: Counted,
}

/// Sums of what was counted between samples; `None` if the kernel does not count it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counted {
    pub(crate) full: Option<u64>,
    pub(crate) clash: Option<u64>,
    pub(crate) chain: Option<u64>,
    pub(crate) evicted: Option<u64>,
}

impl Counted {
    /// Begins with 0 where the kernel counts.
    fn begin(statistics: &Statistics) -> Counted {
        let zero = |value: Option<u64>| value.map(|_| 0);
        Counted {
            full: zero(statistics.drop),
            clash: zero(statistics.insert_failed),
            chain: zero(statistics.chain_toolong),
            evicted: zero(statistics.early_drop),
        }
    }

    fn add(&mut self, delta: &Delta) {
        let add = |sum: &mut Option<u64>, more| *sum = sum.map(|sum| sum.saturating_add(more));
        add(&mut self.full, delta.losses.full);
        add(&mut self.clash, delta.losses.clash);
        add(&mut self.chain, delta.losses.chain);
        add(&mut self.evicted, delta.statistics.early_drop.unwrap_or(0));
    }
}

/// A table that is watched: counters in 64 bits, the growth, and the last summary.
#[derive(Debug)]
pub struct Watched {
    ct: Conntrack,
    options: Options,
    start: Instant,
    counters: Accumulator,
    trend: Trend,
    summary: Option<(Instant, Summary)>,
    /// When the table was walked last, or could not be.
    tried: Option<Instant>,
    counted: Option<Counted>,
}

impl Watched {
    /// Watches the table of a handle.
    pub fn new(ct: Conntrack, options: Options) -> Watched {
        let (counters, trend) = (Accumulator::default(), Trend::default());
        Watched {
            ct,
            options,
            start: Instant::now(),
            counters,
            trend,
            summary: None,
            tried: None,
            counted: None,
        }
    }

    /// Looks at counters, limits and the count. It also walks the table, if the last summary is older
    /// than [`Options::cache`].
    pub fn sample(&mut self) -> Sample {
        let taken = Instant::now();
        let mut up = true;
        let looked = self.ct.diagnose().interval(Duration::ZERO).summary(false).run();
        let mut diagnosis = looked.unwrap_or_else(|_error| {
            up = false;
            Diagnosis::default()
        });
        let moment = taken.duration_since(self.start);
        // The sums of the diagnosis are those of 32 bits.
        (diagnosis.statistics, diagnosis.losses, diagnosis.delta) = (None, None, None);
        match self.ct.counters() {
            Ok(cpus) => {
                diagnosis.delta = self.counters.add(moment, &cpus);
                let begin = Counted::begin(self.counters.total());
                let counted = self.counted.get_or_insert(begin);
                diagnosis.delta.iter().for_each(|delta| counted.add(delta));
                diagnosis.statistics = Some(*self.counters.total());
                diagnosis.losses = Some(self.counters.losses());
            }
            Err(_) => up = false,
        }
        up &= self.summarize(taken);
        let summary = self.summary.as_ref().map(|(_, summary)| summary);
        if let Some(pressure) = &mut diagnosis.pressure {
            self.trend.add(moment, pressure.entries);
            pressure.growth = self.trend.growth(summary.and_then(|s| s.churn.new_per_second()));
            pressure.evictable = summary.map(Summary::evictable);
            pressure.buckets = diagnosis.limits.get(Setting::Buckets);
        } else {
            up = false;
        }
        diagnosis.summary = summary.cloned();
        diagnosis.judge(&self.options.thresholds);
        Sample {
            netns: self.options.netns.clone(),
            taken,
            up,
            diagnosis,
            summarized: self.summary.as_ref().map(|(moment, _)| *moment),
            top: self.options.top,
            counted: self.counted.unwrap_or_default(),
        }
    }

    /// Walks the table if it is time. A walk that fails leaves the last summary, with its age.
    fn summarize(&mut self, now: Instant) -> bool {
        let is_young = |tried: Instant| now.saturating_duration_since(tried) < self.options.cache;
        if self.tried.is_some_and(is_young) {
            return self.summary.as_ref().is_some_and(|(moment, _)| is_young(*moment));
        }
        self.tried = Some(now);
        // At least one row, for the findings about one that has most.
        match self.ct.summary(self.options.top.max(1)) {
            Ok(mut summary) => {
                if !self.options.names.is_empty() {
                    summary.name(&self.options.names);
                }
                self.summary = Some((Instant::now(), summary));
                true
            }
            Err(_) => false,
        }
    }
}
