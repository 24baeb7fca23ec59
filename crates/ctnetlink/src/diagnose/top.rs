//! Who has the most entries, in bounded memory.

use std::hash::Hash;
use std::net::IpAddr;

use datasketches::frequencies::{ErrorType, FrequentItemsSketch};

use crate::model::protocol::Protocol;

/// One of those with the most entries.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct TopRow {
    /// The address.
    pub address: IpAddr,
    /// The port, host byte order; `None` for a source, and where the protocol has no ports.
    pub port: Option<u16>,
    /// The protocol; `None` for a source.
    #[cfg_attr(feature = "serde", serde(serialize_with = "super::display_option"))]
    pub protocol: Option<Protocol>,
    /// What it is called, if [`Names`](super::Names) were given.
    pub name: Option<String>,
    /// It has at least so many entries.
    pub at_least: u64,
    /// It has at most so many entries; the same number if the counts are exact.
    pub at_most: u64,
    /// UDP: new flows a second; TCP: connections closed a second. Where the timeouts tell.
    pub new_per_second: Option<f64>,
}

impl std::fmt::Display for TopRow {
    /// Its name, or `10.96.0.10:53/udp`, `[2001:db8::1]:53/udp`, `10.244.1.5`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(name) = &self.name {
            return f.pad(name);
        }
        let text = match (self.port, self.protocol) {
            (Some(port), Some(protocol)) => {
                format!("{}/{protocol}", std::net::SocketAddr::new(self.address, port))
            }
            (None, Some(protocol)) => format!("{}/{protocol}", self.address),
            _ => self.address.to_string(),
        };
        f.pad(&text)
    }
}

/// Those with the most entries, most first.
///
/// Memory is bounded: up to 49,152 different ones the counts are exact. With more, a count is known
/// within [`maximum_error`](Top::maximum_error).
#[derive(Debug, Clone, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Top {
    /// The rows.
    pub rows: Vec<TopRow>,
    /// How many entries the others have together, at most.
    pub other: u64,
    /// How many different ones there are, if the counts are exact.
    pub different: Option<u64>,
    /// How far a count can be off: 0 if the counts are exact.
    pub maximum_error: u64,
}

/// Counts in bounded memory. `size` is a power of two; three quarters of it are counted exactly.
pub(super) struct Counter<T>(FrequentItemsSketch<T>);

impl<T: Eq + Hash + Copy + Ord> Counter<T> {
    pub(super) fn new(size: usize) -> Counter<T> {
        #[allow(clippy::expect_used, reason = "fails only if the size is no power of two")]
        let sketch = FrequentItemsSketch::new(size).expect("the size is a power of two");
        Counter(sketch)
    }

    pub(super) fn add(&mut self, item: T) {
        self.0.update(item);
    }

    /// The count of an item, if it is known exactly.
    pub(super) fn exactly(&self, item: &T) -> Option<u64> {
        let (least, most) = (self.0.lower_bound(item), self.0.upper_bound(item));
        // One that was dropped has the error as its upper bound.
        (least == most && (least > 0 || self.0.maximum_error() == 0)).then_some(least)
    }

    /// How many different items were added: at least so many, if the counts are not exact.
    pub(super) fn different(&self) -> u64 {
        self.0.num_active_items() as u64
    }

    pub(super) fn top(&self, length: usize, row: impl Fn(&T) -> TopRow) -> Top {
        // All that are counted; those with the same count in a fixed order.
        let mut found = self.0.frequent_items_with_threshold(ErrorType::NoFalseNegatives, 0);
        let order = |row: &datasketches::frequencies::Row<T>| {
            (std::cmp::Reverse(row.lower_bound()), *row.item())
        };
        if found.len() > length && length > 0 {
            found.select_nth_unstable_by_key(length - 1, order);
        }
        found.truncate(length);
        found.sort_unstable_by_key(order);
        let shown: u64 = found.iter().map(datasketches::frequencies::Row::lower_bound).sum();
        let maximum_error = self.0.maximum_error();
        let rows = found.iter().map(|found| TopRow {
            at_least: found.lower_bound(),
            at_most: found.upper_bound(),
            ..row(found.item())
        });
        Top {
            rows: rows.collect(),
            other: self.0.total_weight().saturating_sub(shown),
            different: (maximum_error == 0).then(|| self.different()),
            maximum_error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(item: &u32) -> TopRow {
        TopRow {
            address: IpAddr::from(item.to_be_bytes()),
            port: None,
            protocol: None,
            name: None,
            at_least: 0,
            at_most: 0,
            new_per_second: None,
        }
    }

    #[test]
    fn counts_are_exact_up_to_the_bound_and_say_so_beyond() {
        for (different, exact) in [(3_000u32, true), (50_000, false)] {
            let mut counter = Counter::new(4096);
            for item in 0..different {
                // Number 0 a thousand times, number 1 nine hundred times, and so on.
                for _ in 0..1000u32.saturating_sub(item * 100).max(1) {
                    counter.add(item);
                }
            }
            let top = counter.top(5, row);
            assert_eq!(top.maximum_error == 0, exact);
            assert_eq!(top.different, exact.then_some(different.into()));
            for (item, row) in (0u32..).zip(&top.rows) {
                let true_count = u64::from(1000 - item * 100);
                assert_eq!(row.address, IpAddr::from(item.to_be_bytes()));
                assert!(row.at_least <= true_count && true_count <= row.at_most, "{row:?}");
                assert!(row.at_most - row.at_least <= top.maximum_error);
            }
            let all = u64::from(different - 10) + (1..=10).map(|n| n * 100).sum::<u64>();
            let shown: u64 = top.rows.iter().map(|row| row.at_least).sum();
            assert_eq!(shown + top.other, all);
        }
    }
}
