//! The rules: which numbers are a finding.

use super::Diagnosis;
use super::finding::{Finding, FindingId as Id, Grouped};
use super::pressure::Level;
use super::setting::Setting;
use super::statistics::{Losses, as_f64};
use super::summary::Summary;
use super::thresholds::{
    ESTABLISHED_LEAST, KUBE_PROXY, Share, TAKEN_TUPLES, Thresholds, USAGE_EVICTION,
};
use super::top::Top;
use crate::model::protocol::Protocol;

/// kube-proxy's timeout of half-closed connections, seconds.
const CLOSE_WAIT_OF_KUBE_PROXY: u32 = 3_600;
/// The kernel's timeout of established connections, seconds.
const FIVE_DAYS: u32 = 432_000;

const DELETE_TIME_WAIT: &str = "ctnetlink delete 'tcp-state TIME_WAIT'";
const TIMEOUTS_STAY: &str = "A changed timeout does not shorten entries that are there.";
const KUBE_PROXY_RESETS: &str = "kube-proxy sets its own value again whenever it starts: change its \
                                 option, not only the sysctl.";

/// Every finding, the worst first.
pub(super) fn find(diagnosis: &Diagnosis, thresholds: &Thresholds) -> Vec<Finding> {
    let mut found = Vec::new();
    let rules: [fn(&Diagnosis, &Thresholds, &mut Vec<Finding>); 6] =
        [lost, full, chains, settings, table, entries];
    for rule in rules {
        rule(diagnosis, thresholds, &mut found);
    }
    found.sort_by_key(|finding| (std::cmp::Reverse(finding.level), finding.id));
    found
}

fn percent(part: f64) -> String {
    match part * 100.0 {
        percent if percent > 0.0 && percent < 10.0 => format!("{percent:.1} %"),
        percent => format!("{percent:.0} %"),
    }
}

fn share(count: u64, of: u64) -> f64 {
    if of == 0 { 0.0 } else { as_f64(count) / as_f64(of) }
}

/// What the counters say was lost or evicted.
fn lost(diagnosis: &Diagnosis, _: &Thresholds, found: &mut Vec<Finding>) {
    let now = diagnosis.delta.as_ref().filter(|delta| delta.losses.total() > 0);
    if let Some(delta) = now {
        let cpus = delta.cpus.iter().filter(|cpu| cpu.statistics.losses().total() > 0);
        let cpus = cpus.map(|c| format!("cpu{} {}", c.cpu, c.statistics.losses().total()));
        let says = format!(
            "{} ({})",
            said(delta.losses, &format!("in {:.1} s", delta.elapsed.as_secs_f64())),
            cpus.collect::<Vec<_>>().join(", "),
        );
        let finding = Finding::new(Id::PacketsDropped, Level::Critical, says)
            .evidence(&numbers(delta.losses))
            .evidence(&[
                ("seconds", delta.elapsed.as_secs_f64()),
                ("per_second", delta.per_second(delta.losses.total())),
            ]);
        found.push(first_aid(diagnosis, finding).remedy(
            "A pod sees silence; a process on the node gets EPERM from sendto(2) (\"operation not \
                 permitted\"). See the findings that say why.",
        ));
    } else if let Some(losses) = diagnosis.losses.filter(|losses| losses.total() > 0) {
        // It is known that it does not go on, or it is not.
        let (level, when) = match diagnosis.delta {
            Some(_) => (Level::Info, "since the namespace exists, none now"),
            None => (Level::Warning, "since the namespace exists"),
        };
        found.push(
            Finding::new(Id::PacketsDropped, level, said(losses, when))
                .evidence(&numbers(losses))
                .remedy("Look again with an interval, to see whether it goes on."),
        );
    }
    let Some(delta) = &diagnosis.delta else { return };
    let evicted = delta.statistics.early_drop.unwrap_or(0);
    if evicted > 0 {
        let says = format!(
            "{} entries evicted in {:.1} s; each may be an unanswered DNS query",
            Grouped(evicted),
            delta.elapsed.as_secs_f64()
        );
        found.push(
            Finding::new(Id::Evicting, Level::Critical, says)
                .evidence(&[
                    ("evicted", as_f64(evicted)),
                    ("per_second", delta.per_second(evicted)),
                ])
                .remedy(
                    "Raise the limit (see table-near-full). NodeLocal DNSCache takes the queries out of \
                     the table.",
                ),
        );
    }
    let (races, taken) = (delta.losses.clash, delta.statistics.found.unwrap_or(0));
    if races > 0 {
        found.push(
            Finding::new(
                Id::SnatPortRace,
                Level::Warning,
                format!("{} packets lost a race for a source port", Grouped(races)),
            )
            .evidence(&[("lost", as_f64(races)), ("taken", as_f64(taken))])
            .remedy(
                "Let source NAT pick ports at random (--random-fully; kube-proxy does), or give it \
                 more addresses. Kernels before 5.7 also lose DNS queries of one socket: NodeLocal \
                 DNSCache, or `options single-request-reopen`.",
            ),
        );
    }
    let new = diagnosis.summary.as_ref().and_then(|summary| summary.churn.new_per_second());
    // At least one: connections that last for hours use up ports, too.
    let new = new.map(|rate| (rate * delta.elapsed.as_secs_f64()).max(1.0));
    if new.is_some_and(|new| as_f64(taken) > TAKEN_TUPLES * new) {
        found.push(ports_exhausted(format!("{} tuples were taken", Grouped(taken)), taken));
    }
}

fn said(losses: Losses, when: &str) -> String {
    format!(
        "{} packets lost {when}: full {}, clash {}, chain {}",
        Grouped(losses.total()),
        Grouped(losses.full),
        Grouped(losses.clash),
        Grouped(losses.chain)
    )
}

fn numbers(losses: Losses) -> [(&'static str, f64); 4] {
    [
        ("lost", as_f64(losses.total())),
        ("full", as_f64(losses.full)),
        ("clash", as_f64(losses.clash)),
        ("chain", as_f64(losses.chain)),
    ]
}

/// The command that makes room at once, where something can be spared: connections that are closed.
fn first_aid(diagnosis: &Diagnosis, finding: Finding) -> Finding {
    let closed = diagnosis.summary.as_ref().map(|s| s.in_state(Protocol::TCP, "TIME_WAIT"));
    let full = diagnosis.pressure.is_some_and(|pressure| pressure.usage() >= USAGE_EVICTION);
    match closed {
        Some(1..) if full => finding.now(DELETE_TIME_WAIT),
        _ => finding,
    }
}

/// The command that raises limits, where this is the host, and it raises them.
fn raise(diagnosis: &Diagnosis, finding: Finding, max: Option<u32>) -> Finding {
    let get = |setting| diagnosis.limits.get(setting).filter(|value| *value != 0);
    let (true, Some(limit), Some(buckets)) =
        (diagnosis.is_host == Some(true), get(Setting::Max), get(Setting::Buckets))
    else {
        return finding;
    };
    let all = diagnosis.entries_of_all_namespaces.and_then(|all| u32::try_from(all).ok());
    let target = max.unwrap_or(limit).max(buckets).max(all.unwrap_or(0));
    let words: Vec<_> = [
        max.filter(|max| *max > limit).map(|max| format!("max={max}")),
        (target > buckets).then(|| format!("buckets={target}")),
    ]
    .into_iter()
    .flatten()
    .collect();
    match words.is_empty() {
        true => finding,
        false => finding.now(format!("ctnetlink limits set {} --dry-run", words.join(" "))),
    }
}

fn ports_exhausted(says: String, count: u64) -> Finding {
    Finding::new(Id::SourcePortsExhausted, Level::Warning, says)
        .evidence(&[("count", as_f64(count))])
        .remedy("Reuse connections to that destination, or give source NAT more addresses.")
}

/// How full the table is, and what a full one does.
fn full(diagnosis: &Diagnosis, thresholds: &Thresholds, found: &mut Vec<Finding>) {
    let Some(pressure) = &diagnosis.pressure else { return };
    let (usage, level) = (pressure.usage(), pressure.level(thresholds));
    let loss = pressure.loss_when_full();
    if level > Level::Ok {
        let limit = pressure.limit.unwrap_or(0);
        let mut says = format!(
            "{} of {} entries ({})",
            Grouped(pressure.entries.into()),
            Grouped(limit.into()),
            percent(usage)
        );
        if let Some(left) = pressure.time_to_full() {
            says += &format!(", full in {} s", Grouped(left.as_secs()));
        }
        if usage >= USAGE_EVICTION {
            says += "; the kernel may evict from here on";
        }
        let loss = loss.map(|loss| ("loss_when_full", loss));
        let mut evidence = vec![
            ("entries", pressure.entries.into()),
            ("limit", limit.into()),
            ("headroom", pressure.headroom().unwrap_or(0).into()),
        ];
        evidence.extend(pressure.growth.map(|growth| ("growth_per_second", growth.per_second)));
        evidence
            .extend(pressure.time_to_full().map(|left| ("seconds_to_full", left.as_secs_f64())));
        evidence.extend(loss);
        let finding = Finding::new(Id::TableNearFull, level, says).evidence(&evidence);
        let remedy = "Raise nf_conntrack_max and, with it, nf_conntrack_buckets to the same value, in \
                      the initial namespace; 400 bytes an entry, when used. On Kubernetes: kube-proxy's \
                      --conntrack-max-per-core and --conntrack-min (conntrack.maxPerCore, .min).";
        let finding = finding.remedy(remedy);
        found.push(raise(diagnosis, finding, pressure.limit.map(|limit| limit.saturating_mul(2))));
    }
    if let (true, Some(loss), Some(evictable)) = (usage >= USAGE_EVICTION, loss, pressure.evictable)
    {
        if loss > thresholds.loss_when_full {
            let says = format!(
                "{} of new flows are lost when full: {} can be evicted",
                percent(loss),
                percent(share(evictable, pressure.entries.into()))
            );
            let finding = Finding::new(Id::FullAndAssured, Level::Critical, says).evidence(&[
                ("evictable", as_f64(evictable)),
                ("buckets", pressure.buckets.unwrap_or(0).into()),
                ("loss_when_full", loss),
            ]);
            let finding = first_aid(diagnosis, finding);
            // Without closed connections there is nothing to spare.
            found.push(match finding.now {
                Some(_) => finding.remedy(format!(
                    "The kernel does not clear TIME_WAIT by itself: delete those entries, which is \
                     safe for new connections. Then raise the limits. {TIMEOUTS_STAY}"
                )),
                None => raise(
                    diagnosis,
                    finding
                        .remedy("Nothing can be spared: raise the limits (see table-near-full)."),
                    pressure.limit.map(|limit| limit.saturating_mul(2)),
                ),
            });
        }
    }
}

/// Hash chains. The table is one for all namespaces.
fn chains(diagnosis: &Diagnosis, thresholds: &Thresholds, found: &mut Vec<Finding>) {
    let Some(buckets) = diagnosis.limits.get(Setting::Buckets).filter(|b| *b != 0) else { return };
    let limit = diagnosis.limits.get(Setting::Max).filter(|limit| *limit != 0);
    let long = diagnosis.delta.as_ref().map_or(0, |delta| delta.losses.chain);
    let mean = diagnosis.chain_length_mean();
    let when_full = limit.map(|limit| (limit, 2.0 * f64::from(limit) / f64::from(buckets)));
    let too_long_when_full = when_full.filter(|(_, mean)| *mean > thresholds.chain_when_full);
    let says = if long > 0 {
        format!("{} packets lost because their hash chain was too long", Grouped(long))
    } else if let Some(mean) = mean.filter(|mean| *mean >= thresholds.chain_critical) {
        format!("hash chains have {mean:.0} entries on average; packets are lost from about 40 on")
    } else if let Some((limit, mean)) = too_long_when_full {
        format!(
            "{} buckets for a limit of {}: a full table has chains of {mean:.0} entries",
            Grouped(buckets.into()),
            Grouped(limit.into())
        )
    } else {
        return;
    };
    let critical = long > 0 || mean.is_some_and(|mean| mean >= thresholds.chain_critical);
    let level = if critical { Level::Critical } else { Level::Warning };
    let mut evidence = vec![("buckets", f64::from(buckets))];
    evidence.extend(limit.map(|limit| ("limit", f64::from(limit))));
    evidence.extend(mean.map(|mean| ("chain_length_mean", mean)));
    evidence.push(("lost", as_f64(long)));
    let finding = Finding::new(Id::ChainsTooLong, level, says).evidence(&evidence).remedy(
        "Raise nf_conntrack_buckets to nf_conntrack_max: it works at once, without a restart. A higher \
         limit alone makes it worse. Nothing of it is in the kernel's log.",
    );
    found.push(raise(diagnosis, finding, None));
}

/// Settings that are known to be trouble, whatever the table holds.
fn settings(diagnosis: &Diagnosis, thresholds: &Thresholds, found: &mut Vec<Finding>) {
    let get = |setting| diagnosis.limits.get(setting);
    if let (Some(true), Some(max), Some(processors)) =
        (diagnosis.is_host, get(Setting::Max), diagnosis.processors)
    {
        let (per_core, least, most) = KUBE_PROXY;
        let wanted = per_core.saturating_mul(processors).clamp(least, most);
        if max != 0 && max < wanted {
            // What kube-proxy leaves behind, or a cluster that was given: this is a node.
            let is_node = diagnosis.stale.is_some()
                || get(Setting::TcpCloseWait) == Some(CLOSE_WAIT_OF_KUBE_PROXY);
            let level = if is_node { Level::Warning } else { Level::Info };
            let says = format!(
                "the limit is {}; kube-proxy would set {} on a node",
                Grouped(max.into()),
                Grouped(wanted.into())
            );
            let finding = Finding::new(Id::BelowKubeProxy, level, says)
                .evidence(&[("limit", max.into()), ("kube_proxy", wanted.into())])
                .remedy(
                    "kube-proxy is not running, or was not allowed to set it: set it on the host.",
                );
            found.push(raise(diagnosis, finding, Some(wanted)));
        }
    }
    if diagnosis.is_host == Some(false) {
        found.push(
            Finding::new(
                Id::NotYourLimit,
                Level::Info,
                "the count is this namespace's; the limit and the hash table are the host's",
            )
            .remedy(
                "Look in the host's namespace, too: `--host`, hostNetwork, or `nsenter -t 1 -n`. \
                 kube-proxy in a container that must not set it: conntrack.maxPerCore: 0.",
            ),
        );
    }
    if get(Setting::TcpEstablished) == Some(FIVE_DAYS) {
        let established = diagnosis.summary.as_ref().map(|summary| {
            let count = summary.in_state(Protocol::TCP, "ESTABLISHED");
            (count, thresholds.established.is_reached(count, summary.entries), summary)
        });
        let usage = diagnosis.pressure.as_ref().map_or(0.0, super::Pressure::usage);
        let many = established.as_ref().is_some_and(|(_, many, _)| *many && usage >= 0.5);
        let mut says =
            "established connections are kept for five days, the kernel's default".to_owned();
        let mut evidence = vec![("seconds", f64::from(FIVE_DAYS))];
        if let Some((count, _, summary)) = established.filter(|(count, ..)| *count > 0) {
            evidence.push(("established", as_f64(count)));
            if let Some(idle) = summary.idle_for_an_hour {
                evidence.push(("idle_for_an_hour", as_f64(idle)));
                says += &format!(
                    "; at least {} of them are idle for an hour",
                    percent(share(idle, count))
                );
            }
        }
        found.push(
            Finding::new(
                Id::Established5Days,
                if many { Level::Warning } else { Level::Info },
                says,
            )
            .evidence(&evidence)
            .remedy(format!(
                "kube-proxy's --conntrack-tcp-timeout-established (24 h by default), or \
                 nf_conntrack_tcp_timeout_established; not below {} s (RFC 5382). {TIMEOUTS_STAY}",
                Grouped(ESTABLISHED_LEAST.into())
            )),
        );
    }
}

/// What the table is full of.
fn table(diagnosis: &Diagnosis, thresholds: &Thresholds, found: &mut Vec<Finding>) {
    let Some(summary) = &diagnosis.summary else { return };
    let all = summary.entries;
    let tcp = |state| summary.in_state(Protocol::TCP, state);
    let time_wait = tcp("TIME_WAIT");
    if thresholds.time_wait.is_reached(time_wait, all) {
        let mut says = format!("{} of the table is TIME_WAIT", percent(share(time_wait, all)));
        let timeout = diagnosis.limits.get(Setting::TcpTimeWait);
        if let Some(timeout) = timeout {
            says += &format!(", kept for {timeout} s");
        }
        if let Some(closed) = summary.churn.tcp_closed {
            says += &format!("; {closed:.0} connections closed a second");
        }
        let mut evidence = vec![("time_wait", as_f64(time_wait)), ("entries", as_f64(all))];
        evidence.extend(timeout.map(|timeout| ("timeout", timeout.into())));
        evidence.extend(summary.churn.tcp_closed.map(|closed| ("closed_per_second", closed)));
        let busiest = summary.frontends.rows.iter().find(|row| row.protocol == Some(Protocol::TCP));
        let busiest = busiest.map_or(String::new(), |row| format!(" ({row})"));
        let finding = Finding::new(Id::TimeWait, Level::Warning, says).evidence(&evidence);
        found.push(first_aid(diagnosis, finding).remedy(format!(
            "Keep-alive and connection pools at the busiest frontend{busiest}; \
             nf_conntrack_tcp_timeout_time_wait at 30. {TIMEOUTS_STAY}"
        )));
    }
    if thresholds.dns.is_reached(summary.dns, all) {
        let mut says = format!("DNS has {} of the table", percent(share(summary.dns, all)));
        if let Some(rate) = summary.churn.dns {
            says += &format!(", {rate:.0} new flows a second");
        }
        let mut evidence = vec![("dns", as_f64(summary.dns)), ("entries", as_f64(all))];
        evidence.extend(summary.churn.dns.map(|rate| ("per_second", rate)));
        found.push(Finding::new(Id::DnsShare, Level::Warning, says).evidence(&evidence).remedy(
            "NodeLocal DNSCache: queries to it are not tracked (NOTRACK), and it asks on over \
                     TCP with force_tcp (prefer_udp does the opposite). Fewer names tried (ndots), \
                     nf_conntrack_udp_timeout at 10.",
        ));
    }
    let syn = tcp("SYN_SENT") + tcp("SYN_RECV") + tcp("SYN_SENT2");
    if thresholds.syn.is_reached(syn, all) {
        let top = summary.syn_sources.rows.first();
        let sources = summary.syn_sources.different;
        let flood = sources.is_none_or(|sources| sources > thresholds.flood_sources);
        let mut says = format!("{} of the table waits for a handshake", percent(share(syn, all)));
        says +=
            if flood { ", from many sources: a SYN flood" } else { ": a scan, or a dead target" };
        if let Some(top) = top {
            says += &format!("; most from {top}");
        }
        found.push(
            Finding::new(Id::SynFlood, Level::Warning, says)
                .evidence(&[("syn", as_f64(syn)), ("entries", as_f64(all))])
                .evidence(sources.map(|sources| ("sources", as_f64(sources))).as_slice())
                .remedy(
                    "SYNPROXY before a service that is flooded; a NetworkPolicy for a pod that scans; \
                     nf_conntrack_tcp_timeout_syn_sent and _syn_recv at 30.",
                ),
        );
    }
    let unreplied = &summary.unreplied;
    if thresholds.unreplied.is_reached(unreplied.entries, all) {
        let says = format!(
            "{} of the table has no answer (VXLAN {}, syslog and statsd {}, other {})",
            percent(share(unreplied.entries, all)),
            Grouped(unreplied.tunnel),
            Grouped(unreplied.one_way),
            Grouped(unreplied.entries.saturating_sub(unreplied.tunnel + unreplied.one_way)),
        );
        found.push(
            Finding::new(Id::Unreplied, Level::Warning, says)
                .evidence(&[
                    ("unreplied", as_f64(unreplied.entries)),
                    ("tunnel", as_f64(unreplied.tunnel)),
                    ("one_way", as_f64(unreplied.one_way)),
                ])
                .remedy(
                    "NOTRACK for VXLAN and for what never answers. For the rest: answers take another \
                     way (asymmetric routing), or nobody answers.",
                ),
        );
    }
    let close_wait = tcp("CLOSE_WAIT");
    if diagnosis.limits.get(Setting::TcpCloseWait) == Some(CLOSE_WAIT_OF_KUBE_PROXY)
        && thresholds.close_wait.is_reached(close_wait, all)
    {
        found.push(
            Finding::new(
                Id::CloseWait1Hour,
                Level::Warning,
                format!(
                    "{} of the table is half closed, kept for an hour",
                    percent(share(close_wait, all))
                ),
            )
            .evidence(&[("close_wait", as_f64(close_wait)), ("entries", as_f64(all))])
            .remedy(format!("--conntrack-tcp-timeout-close-wait. {KUBE_PROXY_RESETS}")),
        );
    }
    one(summary, thresholds.one, found);
    let through =
        summary.translated.rows.first().filter(|row| row.at_least > thresholds.source_ports);
    if let Some(row) = through {
        let says = format!("{} translated connections to {row}", Grouped(row.at_least));
        found.push(ports_exhausted(says, row.at_least));
    }
}

/// One that has most of the table.
fn one(summary: &Summary, threshold: Share, found: &mut Vec<Finding>) {
    let kinds: [(Id, &Top, &str); 3] = [
        (
            Id::OneFrontend,
            &summary.frontends,
            "Keep-alive or a rate limit in the clients of that frontend. A headless service saves the \
             NAT, not the entry; nor does IPVS, which is deprecated.",
        ),
        (
            Id::OneSource,
            &summary.sources,
            "That workload: keep-alive, a rate limit, a local cache.",
        ),
        (Id::OneBackend, &summary.backends, "More backends, or fewer connections to this one."),
    ];
    for (id, top, remedy) in kinds {
        let Some(row) = top.rows.first() else { continue };
        if threshold.is_reached(row.at_least, summary.entries) {
            let part = share(row.at_least, summary.entries);
            found.push(
                Finding::new(
                    id,
                    Level::Warning,
                    format!("{row} has {} of the table", percent(part)),
                )
                .evidence(&[
                    ("entries", as_f64(row.at_least)),
                    ("maximum_error", as_f64(top.maximum_error)),
                ])
                .remedy(remedy),
            );
        }
    }
}

/// Entries that should not be there, and those that nobody shows.
fn entries(diagnosis: &Diagnosis, thresholds: &Thresholds, found: &mut Vec<Finding>) {
    let all = diagnosis.summary.as_ref().map(|summary| summary.entries);
    if let Some(stale) = diagnosis.stale.filter(|stale| *stale > 0) {
        let part = share(stale, all.unwrap_or(0));
        let level =
            if part >= thresholds.stale_critical { Level::Critical } else { Level::Warning };
        found.push(
            Finding::new(
                Id::StaleEntries,
                level,
                format!("{} UDP entries lead to backends that do not serve", Grouped(stale)),
            )
            .evidence(&[("stale", as_f64(stale))])
            .remedy("Their clients get no answer until the entries are gone.")
            .now("ctnetlink reconcile --cluster FILE --dry-run"),
        );
    }
    if let (Some(shown), Some(pressure)) = (all, &diagnosis.pressure) {
        // The count is older than the dump: what was made meanwhile is not hidden.
        let hidden = u64::from(pressure.entries).saturating_sub(shown);
        if thresholds.hidden.is_reached(hidden, pressure.entries.into()) {
            found.push(
                Finding::new(
                    Id::HiddenEntries,
                    Level::Info,
                    format!("{} entries are counted and not shown", Grouped(hidden)),
                )
                .evidence(&[("hidden", as_f64(hidden)), ("shown", as_f64(shown))])
                .remedy(
                    "Entries that expired and are not collected yet, second entries of a resolved \
                     clash (1 s), or dying ones that a slow reader of events holds.",
                ),
            );
        }
    }
    if let (Some(count), Some(max)) =
        (diagnosis.expectations, diagnosis.limits.get(Setting::ExpectMax).filter(|max| *max != 0))
    {
        if as_f64(count) >= thresholds.expectations * f64::from(max) {
            found.push(
                Finding::new(
                    Id::ExpectationsFull,
                    Level::Warning,
                    format!("{} of {} expectations", Grouped(count), Grouped(max.into())),
                )
                .evidence(&[("expectations", as_f64(count)), ("limit", max.into())])
                .remedy("A helper (FTP, SIP) makes them; raise nf_conntrack_expect_max."),
            );
        }
    }
}
