//! What a metric is: one row of a table, from which it is encoded and documented.

use std::fmt::{self, Write};

use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use crate::sample::Sample;

/// The type of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// A value that goes up and down.
    Gauge,
    /// A count that only grows. Its name ends with `_total` when it is exposed.
    Counter,
    /// A histogram.
    Histogram,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Kind::Gauge => "gauge",
            Kind::Counter => "counter",
            Kind::Histogram => "histogram",
        })
    }
}

/// Labels and a value. A metric without a value is not exposed: absent is not zero.
pub(crate) type Point = (Vec<(&'static str, String)>, f64);

/// One metric: what it is called, and where its values come from.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Metric {
    /// The name; a counter's without `_total`.
    pub name: &'static str,
    /// The type.
    pub kind: Kind,
    /// The help text.
    pub help: &'static str,
    /// Names of labels, besides `netns`, which is there if several namespaces are watched.
    pub labels: &'static [&'static str],
    /// The values of a sample.
    pub(crate) read: fn(&Sample) -> Vec<Point>,
}

impl Metric {
    /// The name as it is exposed.
    pub fn exposed_name(&self) -> String {
        match self.kind {
            Kind::Counter => format!("{}_total", self.name),
            _ => self.name.to_owned(),
        }
    }
}

impl fmt::Debug for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Metric({})", self.exposed_name())
    }
}

/// A gauge without labels.
pub(crate) const fn gauge(
    name: &'static str,
    help: &'static str,
    read: fn(&Sample) -> Vec<Point>,
) -> Metric {
    Metric { name, kind: Kind::Gauge, help, labels: &[], read }
}

/// One value without labels.
pub(crate) fn one(value: Option<f64>) -> Vec<Point> {
    value.map(|value| (Vec::new(), value)).into_iter().collect()
}

/// A count as a number of Prometheus, which has 53 bits for digits.
#[allow(clippy::cast_precision_loss, reason = "said in the comment")]
pub(crate) fn number(count: u64) -> f64 {
    count as f64
}

/// Encodes a metric of all samples.
pub(crate) fn encode(
    metric: &Metric,
    samples: &[Sample],
    encoder: &mut DescriptorEncoder<'_>,
) -> fmt::Result {
    let points: Vec<_> = samples.iter().flat_map(|sample| labelled(metric, sample)).collect();
    if points.is_empty() {
        return Ok(());
    }
    let kind = match metric.kind {
        Kind::Gauge => MetricType::Gauge,
        Kind::Counter => MetricType::Counter,
        Kind::Histogram => MetricType::Histogram,
    };
    let mut encoder = encoder.encode_descriptor(metric.name, metric.help, None, kind)?;
    for (labels, value) in &points {
        let mut one = encoder.encode_family(labels)?;
        match metric.kind {
            Kind::Counter => one.encode_counter::<NoLabelSet, _, f64>(value, None)?,
            _ => one.encode_gauge(value)?,
        }
    }
    Ok(())
}

/// The values of a sample, with its namespace.
fn labelled(metric: &Metric, sample: &Sample) -> Vec<Point> {
    let mut points = (metric.read)(sample);
    if let Some(netns) = &sample.netns {
        points.iter_mut().for_each(|(labels, _)| labels.push(("netns", netns.clone())));
    }
    points
}

/// docs/metrics.md.
///
/// ```
/// assert!(ctnetlink_metrics::documentation().contains("| `ctnetlink_up` | gauge |"));
/// ```
pub fn documentation() -> String {
    let mut text = "\
# Metrics

Made from the tables of `crates/ctnetlink-metrics` by `make metrics`; a test compares. A value that cannot be
had is absent, and never 0. With several namespaces each metric has the label `netns`.

"
    .to_owned();
    for (title, metrics) in [
        ("## A table", crate::TABLE),
        (
            "## With `--node-exporter-names`: as node_exporter 1.12 has them, but for `stat_ignore`, which is always 0",
            crate::NODE_EXPORTER,
        ),
        ("## Reconciliations", crate::PASSES),
    ] {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{title}\n\n| name | type | labels | |\n| --- | --- | --- | --- |");
        for metric in metrics {
            let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
            let _ = writeln!(
                text,
                "| `{}` | {} | {} | {} |",
                metric.exposed_name(),
                metric.kind,
                labels.join(", "),
                metric.help.replace('|', "\\|")
            );
        }
        text.push('\n');
    }
    text.truncate(text.trim_end().len());
    text + "\n"
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// `make metrics` writes it.
    #[test]
    fn the_page_is_made_from_the_tables() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/metrics.md");
        if std::env::var_os("CTNETLINK_WRITE_METRICS").is_some() {
            std::fs::write(path, documentation()).unwrap();
        }
        assert!(std::fs::read_to_string(path).unwrap() == documentation(), "make metrics");
    }

    #[test]
    fn names_follow_the_conventions() {
        let all = [crate::TABLE, crate::NODE_EXPORTER, crate::PASSES].concat();
        let names: BTreeSet<_> = all.iter().map(Metric::exposed_name).collect();
        assert_eq!(names.len(), all.len(), "a name is used twice");
        for metric in &all {
            assert!(metric.name.starts_with("ctnetlink_") || metric.name.starts_with("node_"));
            assert!(!metric.name.ends_with("_total") && metric.help.ends_with('.'), "{metric:?}");
        }
    }
}
