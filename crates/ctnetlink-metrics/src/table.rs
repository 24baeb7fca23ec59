//! The metrics of a table.

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use ctnetlink::Protocol;
use ctnetlink::diagnose::{FindingId, Level, Setting, Statistics, Summary, Top, Unit};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use crate::metric::{Kind, Metric, Point, encode, gauge, number, one};
use crate::sample::{Counted, Sample};

fn summary(sample: &Sample, read: fn(&Summary) -> Option<f64>) -> Vec<Point> {
    one(sample.diagnosis.summary.as_ref().and_then(read))
}

fn statistic(sample: &Sample, read: fn(&Statistics) -> Option<u64>) -> Vec<Point> {
    one(sample.diagnosis.statistics.as_ref().and_then(read).map(number))
}

fn age(moment: Option<Instant>) -> Vec<Point> {
    one(moment.map(|moment| moment.elapsed().as_secs_f64()))
}

/// The metrics of a table.
pub const TABLE: &[Metric] = &[
    gauge(
        "ctnetlink_up",
        "Whether the kernel told everything that was asked: 0 without CAP_NET_ADMIN, for instance.",
        |sample| one(Some(f64::from(u8::from(sample.up)))),
    ),
    gauge(
        "ctnetlink_sample_age_seconds",
        "How old the values are: more than a moment if the kernel's lock is held elsewhere.",
        |sample| age(Some(sample.taken)),
    ),
    gauge("ctnetlink_summary_age_seconds", "How long ago the table was walked.", |sample| {
        age(sample.summarized)
    }),
    gauge("ctnetlink_summary_duration_seconds", "How long that walk took.", |sample| {
        summary(sample, |s| Some(s.elapsed.as_secs_f64()))
    }),
    gauge(
        "ctnetlink_table_entries",
        "Entries of the namespace, as the kernel counts them.",
        |sample| one(sample.diagnosis.pressure.map(|pressure| pressure.entries.into())),
    ),
    gauge(
        "ctnetlink_table_limit",
        "How many entries it may have (nf_conntrack_max); absent if there is no limit.",
        |sample| {
            let limit = sample.diagnosis.pressure.and_then(|p| p.limit).filter(|limit| *limit != 0);
            one(limit.map(f64::from))
        },
    ),
    gauge(
        "ctnetlink_buckets",
        "Buckets of the hash table, which all namespaces share (nf_conntrack_buckets).",
        |sample| one(sample.diagnosis.limits.get(Setting::Buckets).map(f64::from)),
    ),
    gauge(
        "ctnetlink_chain_length_mean",
        "Entries of a hash chain, on average, counting all namespaces; packets are lost from about 40 on.",
        |sample| one(sample.diagnosis.chain_length_mean()),
    ),
    Metric {
        name: "ctnetlink_entries",
        kind: Kind::Gauge,
        help: "Entries by family, protocol and state, when the table was walked last.",
        labels: &["family", "protocol", "state"],
        read: entries,
    },
    gauge("ctnetlink_entries_assured", "Entries that the kernel does not evict.", |sample| {
        summary(sample, |s| Some(number(s.assured)))
    }),
    gauge(
        "ctnetlink_entries_evictable",
        "Entries that the kernel evicts when the table is full.",
        |sample| summary(sample, |s| Some(number(s.evictable()))),
    ),
    gauge("ctnetlink_dns_entries", "Entries of UDP to or from port 53.", |sample| {
        summary(sample, |s| Some(number(s.dns)))
    }),
    gauge(
        "ctnetlink_loss_probability_when_full",
        "Which part of new flows is lost when the table is full, from 0 to 1.",
        |sample| one(sample.diagnosis.pressure.and_then(|pressure| pressure.loss_when_full())),
    ),
    Metric {
        name: "ctnetlink_packets_lost",
        kind: Kind::Counter,
        help: "Packets that conntrack lost since the exporter runs: the table was full, a clash was lost, or a hash chain was too long.",
        labels: &["reason"],
        read: packets_lost,
    },
    Metric {
        name: "ctnetlink_evicted_entries",
        kind: Kind::Counter,
        help: "Entries evicted since the exporter runs, because the table was full; each may have been an unanswered DNS query.",
        labels: &[],
        read: |sample| one(sample.counted.evicted.map(number)),
    },
    gauge(
        "ctnetlink_stat_clash_resolve",
        "Clashes that were resolved: nothing was lost.",
        |sample| statistic(sample, |s| s.clash_resolve),
    ),
    gauge(
        "ctnetlink_stat_chain_toolong",
        "Entries refused because the hash chain was too long.",
        |sample| statistic(sample, |s| s.chain_toolong),
    ),
    gauge("ctnetlink_stat_error", "ICMP errors of no known connection.", |sample| {
        statistic(sample, |s| s.error)
    }),
    Metric {
        name: "ctnetlink_flows_per_second",
        kind: Kind::Gauge,
        help: "New UDP flows, and closed TCP connections, read off the timeouts; absent if those do not tell.",
        labels: &["protocol"],
        read: |sample| {
            let Some(summary) = &sample.diagnosis.summary else { return Vec::new() };
            [("udp", summary.churn.udp), ("tcp", summary.churn.tcp_closed)]
                .into_iter()
                .filter_map(|(name, rate)| Some((vec![("protocol", name.to_owned())], rate?)))
                .collect()
        },
    },
    gauge(
        "ctnetlink_growth_per_second",
        "Entries a second more or fewer, by a line through the last 300 s.",
        |sample| one(sample.diagnosis.pressure.and_then(|p| p.growth).map(|g| g.per_second)),
    ),
    gauge(
        "ctnetlink_seconds_to_full",
        "When the table is full; absent if it does not grow by more than chance.",
        |sample| {
            let left = sample.diagnosis.pressure.and_then(|pressure| pressure.time_to_full());
            one(left.map(|left| left.as_secs_f64()))
        },
    ),
    Metric {
        name: "ctnetlink_timeout_seconds",
        kind: Kind::Gauge,
        help: "The timeouts in force.",
        labels: &["state"],
        read: timeouts,
    },
    Metric {
        name: "ctnetlink_finding",
        kind: Kind::Gauge,
        help: "What `ctnetlink doctor` finds: 0 nothing, 1 info, 2 warning, 3 critical; absent if it was not looked at.",
        labels: &["id"],
        read: findings,
    },
    Metric {
        name: "ctnetlink_top_entries",
        kind: Kind::Gauge,
        help: "Those with the most entries, at most so many, and all others (with --top).",
        labels: &["kind", "address", "port", "protocol", "name"],
        read: top,
    },
];

/// Protocols with a series of their own: a packet can have any of 256.
const NAMED: [Protocol; 6] =
    [Protocol::TCP, Protocol::UDP, Protocol::ICMP, Protocol::ICMPV6, Protocol::SCTP, Protocol::GRE];

fn entries(sample: &Sample) -> Vec<Point> {
    let Some(summary) = &sample.diagnosis.summary else { return Vec::new() };
    let mut points: Vec<Point> = Vec::new();
    for group in &summary.groups {
        let is_named = NAMED.contains(&group.protocol);
        let protocol = if is_named { group.protocol.to_string() } else { "other".to_owned() };
        let labels = vec![
            ("family", group.family.to_string()),
            ("protocol", protocol),
            ("state", group.state.clone()),
        ];
        match points.iter_mut().find(|(known, _)| *known == labels) {
            Some((_, entries)) => *entries += number(group.entries),
            None => points.push((labels, number(group.entries))),
        }
    }
    points
}

fn packets_lost(sample: &Sample) -> Vec<Point> {
    let Counted { full, clash, chain, .. } = sample.counted;
    [("full", full), ("clash", clash), ("chain", chain)]
        .into_iter()
        .filter_map(|(reason, count)| Some((vec![("reason", reason.to_owned())], number(count?))))
        .collect()
}

fn timeouts(sample: &Sample) -> Vec<Point> {
    let in_seconds = sample.diagnosis.limits.iter().filter(|(s, _)| s.unit() == Unit::Seconds);
    let point = |(setting, value): (Setting, u32)| {
        let name = setting.name().trim_start_matches("nf_conntrack_");
        let name = name.replace("_timeout_", "_").replace("_timeout", "");
        (vec![("state", name)], f64::from(value))
    };
    in_seconds.map(point).collect()
}

fn findings(sample: &Sample) -> Vec<Point> {
    let level = |id: &FindingId| match sample.diagnosis.finding(*id).map(|finding| finding.level) {
        Some(Level::Critical) => 3.0,
        Some(Level::Warning) => 2.0,
        Some(Level::Info) => 1.0,
        _ => 0.0,
    };
    let judged = FindingId::ALL.iter().filter(|id| is_judged(**id, sample));
    judged.map(|id| (vec![("id", id.to_string())], level(id))).collect()
}

/// Whether what a finding is about was looked at: what was not is absent, and not 0.
fn is_judged(id: FindingId, sample: &Sample) -> bool {
    use FindingId as Id;
    let seen = &sample.diagnosis;
    match id {
        Id::PacketsDropped | Id::Evicting | Id::SnatPortRace => seen.losses.is_some(),
        Id::ChainsTooLong | Id::BelowKubeProxy | Id::Established5Days => {
            seen.limits.get(Setting::Buckets).is_some()
        }
        Id::TableNearFull => seen.pressure.is_some(),
        Id::NotYourLimit => seen.is_host.is_some(),
        Id::StaleEntries => seen.stale.is_some(),
        Id::ExpectationsFull => seen.expectations.is_some(),
        // The count is of now, the walk of some time ago.
        Id::HiddenEntries => false,
        _ => seen.summary.is_some(),
    }
}

fn top(sample: &Sample) -> Vec<Point> {
    let (Some(summary), 1..) = (&sample.diagnosis.summary, sample.top) else { return Vec::new() };
    let kinds: [(&str, &Top); 3] = [
        ("frontend", &summary.frontends),
        ("source", &summary.sources),
        ("backend", &summary.backends),
    ];
    let labels = |kind: &str, address: Option<IpAddr>, rest: [String; 3]| {
        let [port, protocol, name] = rest;
        let address = address.map_or("other".to_owned(), |address| address.to_string());
        vec![
            ("kind", kind.to_owned()),
            ("address", address),
            ("port", port),
            ("protocol", protocol),
            ("name", name),
        ]
    };
    let mut points = Vec::new();
    for (kind, top) in kinds {
        for row in &top.rows {
            let text = |part: Option<String>| part.unwrap_or_default();
            let rest = [
                text(row.port.map(|port| port.to_string())),
                text(row.protocol.map(|protocol| protocol.to_string())),
                text(row.name.clone()),
            ];
            points.push((labels(kind, Some(row.address), rest), number(row.at_most)));
        }
        points.push((labels(kind, None, Default::default()), number(top.other)));
    }
    points
}

/// The last samples, as a collector.
#[derive(Debug, Clone, Default)]
pub struct Tables {
    samples: Arc<Mutex<Arc<Vec<Sample>>>>,
    node_exporter: bool,
}

impl Tables {
    /// Also exposes node_exporter's names. Not beside node_exporter: every sum would be doubled.
    #[must_use]
    pub fn with_node_exporter_names(mut self) -> Tables {
        self.node_exporter = true;
        self
    }

    /// Replaces the samples.
    pub fn set(&self, samples: Vec<Sample>) {
        *self.samples.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(samples);
    }

    /// The samples as they are now.
    pub fn get(&self) -> Arc<Vec<Sample>> {
        Arc::clone(&self.samples.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Collector for Tables {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let samples = self.get();
        let names = if self.node_exporter { crate::NODE_EXPORTER } else { &[] };
        TABLE.iter().chain(names).try_for_each(|metric| encode(metric, &samples, &mut encoder))
    }
}
