//! The names of node_exporter, for dashboards and alerts that are there.

use ctnetlink::diagnose::Statistics;

use crate::metric::{Metric, Point, gauge, number, one};
use crate::sample::Sample;

fn counter(sample: &Sample, read: fn(&Statistics) -> Option<u64>) -> Vec<Point> {
    one(sample.diagnosis.statistics.as_ref().and_then(read).map(number))
}

/// The metrics of node_exporter's conntrack collector: names, types and helps exactly as in its release
/// 1.12.1. The counters are sums in 64 bits, where node_exporter's fall by 2^32 when a CPU's wraps.
/// `node_nf_conntrack_stat_ignore` is left out: the kernel has not counted it since 5.10.
pub const NODE_EXPORTER: &[Metric] = &[
    gauge(
        "node_nf_conntrack_entries",
        "Number of currently allocated flow entries for connection tracking.",
        |sample| one(sample.diagnosis.pressure.map(|pressure| pressure.entries.into())),
    ),
    gauge(
        "node_nf_conntrack_entries_limit",
        "Maximum size of connection tracking table.",
        |sample| one(sample.diagnosis.pressure.map(|pressure| pressure.limit.unwrap_or(0).into())),
    ),
    gauge(
        "node_nf_conntrack_stat_found",
        "Number of searched entries which were successful.",
        |sample| counter(sample, |s| s.found),
    ),
    gauge(
        "node_nf_conntrack_stat_invalid",
        "Number of packets seen which can not be tracked.",
        |sample| counter(sample, |s| s.invalid),
    ),
    gauge("node_nf_conntrack_stat_insert", "Number of entries inserted into the list.", |sample| {
        counter(sample, |s| s.insert)
    }),
    gauge(
        "node_nf_conntrack_stat_insert_failed",
        "Number of entries for which list insertion was attempted but failed.",
        |sample| counter(sample, |s| s.insert_failed),
    ),
    gauge(
        "node_nf_conntrack_stat_drop",
        "Number of packets dropped due to conntrack failure.",
        |sample| counter(sample, |s| s.drop),
    ),
    gauge(
        "node_nf_conntrack_stat_early_drop",
        "Number of dropped conntrack entries to make room for new ones, if maximum table size was reached.",
        |sample| counter(sample, |s| s.early_drop),
    ),
    gauge(
        "node_nf_conntrack_stat_search_restart",
        "Number of conntrack table lookups which had to be restarted due to hashtable resizes.",
        |sample| counter(sample, |s| s.search_restart),
    ),
];
