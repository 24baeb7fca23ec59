//! How full the table is, and what happens to new connections when it is full.

use std::time::Duration;

use super::statistics::as_f64;
use super::thresholds::Thresholds;
use super::trend::Growth;

/// How many hash buckets the kernel searches for an entry to evict (`NF_CT_EVICTION_RANGE`,
/// `early_drop`).
const BUCKETS_SEARCHED: f64 = 8.0;
/// Each entry is in two chains, one a direction.
const TUPLES: f64 = 2.0;

/// Entries from which a full table can be foretold.
const LEAST_SAMPLE: u32 = 1_000;

/// How bad something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Level {
    /// Nothing to do.
    Ok,
    /// Worth knowing.
    Info,
    /// Something to look at.
    Warning,
    /// Packets are lost, or soon will be.
    Critical,
}

impl std::fmt::Display for Level {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Level::Ok => "ok",
            Level::Info => "info",
            Level::Warning => "warning",
            Level::Critical => "critical",
        })
    }
}

/// How full a namespace's table is.
///
/// ```
/// use ctnetlink::diagnose::{Level, Pressure, Thresholds};
/// // Full, and 1 % of the entries are not ASSURED: those can be evicted.
/// let full = Pressure::new(262_144, Some(262_144)).evictable(2_621).buckets(262_144);
/// assert_eq!(full.level(&Thresholds::default()), Level::Critical);
/// assert!((full.loss_when_full().unwrap_or_default() - 0.852).abs() < 0.001);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Pressure {
    /// Entries of the namespace, as the kernel counts them: with dying ones, and those that have
    /// expired and are still there.
    pub entries: u32,
    /// How many it may have; 0 if there is no limit (up to Linux 6.16), `None` if it is not known.
    pub limit: Option<u32>,
    /// Buckets of the hash table, which all namespaces share.
    pub buckets: Option<u32>,
    /// Entries without `ASSURED`. Only those are evicted when the table is full.
    pub evictable: Option<u64>,
    /// How fast the number grows.
    pub growth: Option<Growth>,
}

impl Pressure {
    /// A count and a limit. As in the kernel (up to Linux 6.16), 0 means that there is no limit.
    pub fn new(entries: u32, limit: Option<u32>) -> Pressure {
        Pressure { entries, limit, buckets: None, evictable: None, growth: None }
    }

    /// With the number of entries that can be evicted.
    #[must_use]
    pub fn evictable(mut self, entries: u64) -> Pressure {
        self.evictable = Some(entries);
        self
    }

    /// With the number of buckets.
    #[must_use]
    pub fn buckets(mut self, buckets: u32) -> Pressure {
        self.buckets = Some(buckets);
        self
    }

    /// With a growth.
    #[must_use]
    pub fn growth(mut self, growth: Option<Growth>) -> Pressure {
        self.growth = growth;
        self
    }

    /// Which part of the limit is used, from 0 to 1; 0 without a limit. More than 1 if the limit was
    /// lowered.
    pub fn usage(&self) -> f64 {
        self.real_limit().map_or(0.0, |limit| f64::from(self.entries) / f64::from(limit))
    }

    fn real_limit(&self) -> Option<u32> {
        self.limit.filter(|limit| *limit != 0)
    }

    /// How many more entries fit; `None` without a limit.
    pub fn headroom(&self) -> Option<u32> {
        self.real_limit().map(|limit| limit.saturating_sub(self.entries))
    }

    /// How bad the usage is.
    pub fn level(&self, thresholds: &Thresholds) -> Level {
        match self.usage() {
            usage if usage >= thresholds.usage_critical => Level::Critical,
            usage if usage >= thresholds.usage_warning => Level::Warning,
            _ => Level::Ok,
        }
    }

    /// When the table is full, if it grows on; `None` if the growth is not more than chance, or
    /// there is no limit.
    pub fn time_to_full(&self) -> Option<Duration> {
        let growth = self.growth.filter(|growth| growth.significant && growth.per_second > 0.0)?;
        let seconds = f64::from(self.headroom()?) / growth.per_second;
        Duration::try_from_secs_f64(seconds).ok()
    }

    /// Which part of new connections is lost when the table is full, from 0 to 1.
    ///
    /// The kernel then searches 8 buckets for an entry to evict, and evicts only entries without
    /// `ASSURED`. With U of those in a namespace, each in two chains, and B buckets, the search finds
    /// none with a probability of exp(-16 U / B). Before the table is full, U is what it will be if
    /// the entries that come are like those that are there. `None` if U, B or the limit is not known, if
    /// there is no limit, or fewer than 1,000 entries to judge by.
    pub fn loss_when_full(&self) -> Option<f64> {
        let (evictable, buckets) = (self.evictable?, self.buckets.filter(|b| *b != 0)?);
        if self.real_limit().is_none() || self.entries < LEAST_SAMPLE {
            return None;
        }
        let grown = 1.0_f64.max(self.usage().recip());
        let tuples = TUPLES * as_f64(evictable) * grown;
        Some((-BUCKETS_SEARCHED * tuples / f64::from(buckets)).exp())
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Pressure {
    /// The fields, and what follows from them.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("entries", &self.entries)?;
        map.serialize_entry("limit", &self.limit)?;
        map.serialize_entry("usage", &self.usage())?;
        map.serialize_entry("headroom", &self.headroom())?;
        map.serialize_entry("buckets", &self.buckets)?;
        map.serialize_entry("evictable", &self.evictable)?;
        map.serialize_entry("loss_when_full", &self.loss_when_full())?;
        map.serialize_entry("growth", &self.growth)?;
        let left = self.time_to_full().map(|left| left.as_secs_f64());
        map.serialize_entry("seconds_to_full", &left)?;
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_headroom() {
        let thresholds = Thresholds::default();
        let level = |entries| Pressure::new(entries, Some(1000)).level(&thresholds);
        assert_eq!([749, 750, 899, 900, 2000].map(level), {
            use Level::{Critical, Ok, Warning};
            [Ok, Warning, Warning, Critical, Critical]
        });
        assert_eq!(Pressure::new(5, Some(3)).headroom(), Some(0));
        let unlimited = Pressure::new(5, Some(0));
        assert_eq!((unlimited.headroom(), unlimited.level(&thresholds)), (None, Level::Ok));
        let unlimited = Pressure::new(5000, Some(0)).evictable(0).buckets(1024);
        assert_eq!(unlimited.loss_when_full(), None, "it is never full");
        let idle = Pressure::new(1, Some(1000)).evictable(0).buckets(1024);
        assert_eq!(idle.loss_when_full(), None, "one entry tells nothing");
    }

    #[test]
    fn time_to_full_needs_a_real_growth() {
        let growing = |per_second, significant| {
            let growth = Growth { per_second, error: Some(1.0), significant };
            Pressure::new(400, Some(1000)).growth(Some(growth)).time_to_full()
        };
        assert_eq!(growing(10.0, true), Some(Duration::from_secs(60)));
        assert_eq!(growing(10.0, false), None);
        assert_eq!(growing(-10.0, true), None);
    }

    /// Measured on Linux 6.18 with 262,144 buckets (parts of the table without ASSURED, and parts of
    /// 5,000 new connections that were lost).
    #[test]
    fn the_loss_is_the_measured_one() {
        for (evictable, lost) in
            [(0.4, 0.001), (0.2, 0.037), (0.1, 0.201), (0.05, 0.444), (0.02, 0.724), (0.01, 0.853)]
        {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            let entries = (262_144.0 * evictable) as u64;
            let full = Pressure::new(262_144, Some(262_144)).evictable(entries).buckets(262_144);
            let predicted = full.loss_when_full().unwrap();
            assert!((predicted - lost).abs() < 0.01, "{evictable}: {predicted}");
            // Half full of the same mixture.
            let half =
                Pressure::new(131_072, Some(262_144)).evictable(entries / 2).buckets(262_144);
            assert!((half.loss_when_full().unwrap() - predicted).abs() < 0.001);
        }
    }
}
