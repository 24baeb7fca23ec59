//! The metrics of reconciliations.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use ctnetlink::{Family, Report};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use crate::metric::{Kind, Metric, number};

/// Bounds of the histogram, seconds: 0.001 doubled, as kube-proxy has them.
const BUCKETS: usize = 15;

const fn counter(
    name: &'static str,
    help: &'static str,
    labels: &'static [&'static str],
) -> Metric {
    Metric { name, kind: Kind::Counter, help, labels, read: |_| Vec::new() }
}

/// The metrics of reconciliations.
pub const PASSES: &[Metric] = &[
    Metric {
        name: "ctnetlink_reconcile_duration_seconds",
        kind: Kind::Histogram,
        help: "How long a run took.",
        labels: &[],
        read: |_| Vec::new(),
    },
    counter(
        "ctnetlink_reconcile_stale_entries",
        "Stale entries that were found.",
        &["ip_family", "reason"],
    ),
    counter("ctnetlink_reconcile_deleted_entries", "Entries deleted.", &["ip_family"]),
    counter("ctnetlink_reconcile_failed_deletes", "Deletes that failed.", &["ip_family"]),
    counter("ctnetlink_reconcile_errors", "Walks that ended early.", &["ip_family"]),
];

type Labels = Vec<(&'static str, String)>;

#[derive(Debug, Default)]
struct State {
    durations: [u64; BUCKETS + 1],
    sum: f64,
    /// By name and labels.
    counts: BTreeMap<(&'static str, Labels), u64>,
}

/// What reconciliations did, as a collector.
///
/// ```no_run
/// # fn f(report: &ctnetlink::Report) {
/// let passes = ctnetlink_metrics::Passes::default();
/// passes.observe(report);
/// # }
/// ```
#[derive(Debug, Clone, Default)]
pub struct Passes(Arc<Mutex<State>>);

impl Passes {
    /// Counts a run. A dry run counts stale entries, and no deletes.
    pub fn observe(&self, report: &Report) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let seconds = report.elapsed.as_secs_f64();
        let bucket = bounds().position(|bound| seconds <= bound).unwrap_or(BUCKETS);
        state.durations[bucket] += 1;
        state.sum += seconds;
        for family in &report.families {
            let name = match family.family {
                Family::Ipv4 => "IPv4",
                Family::Ipv6 => "IPv6",
            };
            let of_family = || vec![("ip_family", name.to_owned())];
            let mut add = |metric, labels, count| {
                *state.counts.entry((metric, labels)).or_default() += count;
            };
            for (reason, count) in family.reasons.iter() {
                let mut labels = of_family();
                labels.push(("reason", reason.name().to_owned()));
                add("ctnetlink_reconcile_stale_entries", labels, count);
            }
            add("ctnetlink_reconcile_deleted_entries", of_family(), family.deleted);
            add("ctnetlink_reconcile_failed_deletes", of_family(), family.failed);
            add("ctnetlink_reconcile_errors", of_family(), family.error.is_some().into());
        }
    }
}

fn bounds() -> impl Iterator<Item = f64> {
    (0..BUCKETS).scan(0.001, |bound, _| {
        let this = *bound;
        *bound *= 2.0;
        Some(this)
    })
}

impl Collector for Passes {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for metric in PASSES {
            if metric.kind == Kind::Histogram {
                let count = state.durations.iter().sum();
                let bounds = bounds().chain([f64::INFINITY]);
                let buckets: Vec<_> = bounds.zip(state.durations).collect();
                let mut one = encoder.encode_descriptor(
                    metric.name,
                    metric.help,
                    None,
                    MetricType::Histogram,
                )?;
                one.encode_histogram::<NoLabelSet>(state.sum, count, &buckets, None)?;
                continue;
            }
            let mut points =
                state.counts.iter().filter(|((name, _), _)| *name == metric.name).peekable();
            if points.peek().is_none() {
                continue;
            }
            let mut one =
                encoder.encode_descriptor(metric.name, metric.help, None, MetricType::Counter)?;
            for ((_, labels), count) in points {
                one.encode_family(labels)?
                    .encode_counter::<NoLabelSet, _, f64>(&number(*count), None)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use ctnetlink::{Conntrack, DesiredState, Profile, Reconciler};
    use ctnetlink_testbed::fill::{Entry, fill};
    use ctnetlink_testbed::netns::in_netns;
    use prometheus_client::registry::Registry;

    use super::*;

    #[test]
    fn runs_add_up() {
        in_netns(|| {
            let at = |text: &str| text.parse::<std::net::SocketAddr>().unwrap();
            let (client, vip) = (at("10.0.0.1:1000"), at("10.96.0.10:53"));
            let builder = DesiredState::builder().udp(vip.ip(), 53);
            let desired = builder.backends([at("10.244.0.1:53")]).build().unwrap();
            let passes = Passes::default();
            let mut registry = Registry::default();
            registry.register_collector(Box::new(passes.clone()));
            let ct = Conntrack::open().unwrap();
            for _ in 0..2 {
                fill(&[Entry::udp(client, vip, at("10.244.9.9:53"))]);
                passes.observe(&Reconciler::new(Profile::Strict).run(&ct, &desired).unwrap());
            }
            let mut text = String::new();
            prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
            for line in [
                "ctnetlink_reconcile_deleted_entries_total{ip_family=\"IPv4\"} 2.0",
                "ctnetlink_reconcile_stale_entries_total{ip_family=\"IPv4\",reason=\"backend_gone\"} 2.0",
                "ctnetlink_reconcile_errors_total{ip_family=\"IPv6\"} 0.0",
                "ctnetlink_reconcile_duration_seconds_count 2",
                "ctnetlink_reconcile_duration_seconds_bucket{le=\"+Inf\"} 2",
            ] {
                assert!(text.contains(line), "{line} in\n{text}");
            }
        });
    }
}
