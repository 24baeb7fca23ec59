//! How fast the table grows, from samples of the count.

use std::collections::VecDeque;
use std::time::Duration;

use super::statistics::as_f64;

/// How long a sample is kept.
const WINDOW: Duration = Duration::from_secs(300);
const SAMPLES: usize = 128;
/// Fewer samples, or a shorter time, give no growth that could be significant.
const LEAST_SAMPLES: usize = 5;
const LEAST_SPAN: Duration = Duration::from_secs(30);
/// A slope is significant from so many standard errors on.
const SIGNIFICANT: f64 = 3.0;

/// How fast the table grows, and how sure that is.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Growth {
    /// Entries a second more (or fewer).
    pub per_second: f64,
    /// Standard error of that: what entries that come and go by chance make of it. `None` if their
    /// number a second is not known.
    pub error: Option<f64>,
    /// Whether it is more than chance: at least five samples over 30 s, and three standard errors.
    pub significant: bool,
}

impl Growth {
    /// A growth that was found elsewhere: entries a second, the standard error of that, and whether it
    /// is more than chance.
    pub fn new(per_second: f64, error: Option<f64>, significant: bool) -> Growth {
        Growth { per_second, error, significant }
    }
}

/// Samples of the count, of the last 300 s, for a growth by least squares. It keeps at most 128: then
/// neighbours become their mean.
///
/// The difference of two samples says next to nothing: at 2,000 new entries a second, one second
/// gives a true growth of 50 as 48 ± 68. A line through a minute gives 51 ± 8.
///
/// ```
/// use ctnetlink::diagnose::Trend;
/// use std::time::Duration;
/// let mut trend = Trend::default();
/// for second in 0..60 {
///     trend.add(Duration::from_secs(second), 1000 + 50 * u32::try_from(second)?);
/// }
/// let growth = trend.growth(Some(20.0)).expect("two samples are enough for a slope");
/// assert!(growth.significant && (growth.per_second - 50.0).abs() < 0.01);
/// # Ok::<(), std::num::TryFromIntError>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Trend {
    samples: VecDeque<(Duration, f64)>,
}

impl Trend {
    /// Adds a sample: the moment by the caller's monotonic clock, and the count.
    pub fn add(&mut self, moment: Duration, entries: u32) {
        self.samples.push_back((moment, entries.into()));
        let too_old = |first: &(Duration, f64)| moment.saturating_sub(first.0) > WINDOW;
        while self.samples.front().is_some_and(too_old) {
            self.samples.pop_front();
        }
        if self.samples.len() > SAMPLES {
            // Two neighbours become their mean, so that the line keeps its length and its slope.
            let all: Vec<_> = self.samples.drain(..).collect();
            self.samples.extend(all.chunks(2).map(|pair| match pair {
                [a, b] => ((a.0 + b.0) / 2, f64::midpoint(a.1, b.1)),
                other => other[0],
            }));
        }
    }

    /// The growth. `churn` is how many entries come and go a second
    /// ([`Churn::new_per_second`](super::Churn::new_per_second)): without it nothing is significant.
    /// `None` with fewer than two samples.
    pub fn growth(&self, churn: Option<f64>) -> Option<Growth> {
        let (first, last) = (self.samples.front()?, self.samples.back()?);
        let span = last.0.saturating_sub(first.0);
        let seconds = span.as_secs_f64();
        if seconds <= 0.0 {
            return None;
        }
        let points = self
            .samples
            .iter()
            .map(|(moment, entries)| (moment.saturating_sub(first.0).as_secs_f64(), *entries));
        let count = as_f64(self.samples.len() as u64);
        let (sum_x, sum_y) = points.clone().fold((0.0, 0.0), |(x, y), p| (x + p.0, y + p.1));
        let (mean_x, mean_y) = (sum_x / count, sum_y / count);
        let (covariance, variance) = points.fold((0.0, 0.0), |(xy, xx), (x, y)| {
            (xy + (x - mean_x) * (y - mean_y), xx + (x - mean_x).powi(2))
        });
        let per_second = covariance / variance;
        // Arrivals and departures are independent: the count is a random walk.
        // What changed has come or gone, even if the timeouts do not show it.
        let error = churn.map(|churn| (2.0 * churn.max(per_second.abs()) / seconds).sqrt());
        let enough = self.samples.len() >= LEAST_SAMPLES && span >= LEAST_SPAN;
        let significant = enough && error.is_some_and(|e| per_second.abs() > SIGNIFICANT * e);
        Some(Growth { per_second, error, significant })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_not_growth() {
        let mut trend = Trend::default();
        assert_eq!(trend.growth(None), None);
        trend.add(Duration::ZERO, 100);
        assert_eq!(trend.growth(None), None);
        trend.add(Duration::from_secs(2), 200);
        let two = trend.growth(Some(400.0)).unwrap();
        assert!((two.per_second - 50.0).abs() < 1e-9 && !two.significant, "{two:?}");
        assert!((two.error.unwrap() - 20.0).abs() < 1e-9);
        // Many samples a second are put together, and not forgotten.
        let mut fast = Trend::default();
        for tenth in 0..2_000u32 {
            fast.add(Duration::from_millis(u64::from(tenth) * 100), 1000 + tenth * 10);
        }
        let growth = fast.growth(Some(0.0)).unwrap();
        assert!(growth.significant && (growth.per_second - 100.0).abs() < 1e-6, "{growth:?}");
        // One more entry in a quiet table is no trend.
        let mut quiet = Trend::default();
        for second in 0..40 {
            quiet.add(Duration::from_secs(second), 100 + u32::from(second > 20));
        }
        assert!(!quiet.growth(Some(0.0)).unwrap().significant);
        // A table that goes up and down by as much as it churns.
        for second in 3..400u64 {
            trend.add(Duration::from_secs(second), if second % 2 == 0 { 100_000 } else { 50_000 });
        }
        let steady = trend.growth(Some(50_000.0)).unwrap();
        assert!(!steady.significant && steady.per_second.abs() < 20.0, "{steady:?}");
        assert!(trend.samples.len() <= SAMPLES);
    }

    #[test]
    fn without_churn_nothing_is_significant() {
        let mut trend = Trend::default();
        for second in 0..100u32 {
            trend.add(Duration::from_secs(second.into()), second * 100);
        }
        assert!(!trend.growth(None).unwrap().significant);
        assert!(trend.growth(Some(1000.0)).unwrap().significant);
    }
}
