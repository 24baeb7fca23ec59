//! `limits`.

use std::fmt::Write;

use clap::{Args, Subcommand};
use ctnetlink::Conntrack;
use ctnetlink::diagnose::{Grouped, Setting, Unit};
use serde_json::{Map, Value, json};

use crate::failure::{Done, Failure};
use crate::options::Namespace;
use crate::output;

/// Bytes of an entry, and of a bucket (one pointer).
const ENTRY: u64 = 400;
const BUCKET: u64 = 8;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Option<Action>,

    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Set some: max=524288 buckets=524288 tcp_timeout_time_wait=30
    Set {
        /// NAME=VALUE, the name with or without nf_conntrack_
        #[arg(value_name = "NAME=VALUE", required = true, value_parser = assignment)]
        values: Vec<(Setting, u32)>,

        /// Say what it would cost and how to keep it, and set nothing
        #[arg(long)]
        dry_run: bool,
    },
}

fn assignment(text: &str) -> Result<(Setting, u32), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    let setting: Setting = name.parse().map_err(|e: ctnetlink::Error| e.to_string())?;
    let value = value.parse().map_err(|e| format!("{value:?}: {e}"))?;
    Ok((setting, value))
}

pub(crate) fn run(namespace: &Namespace, arguments: &Arguments) -> Result<Done, Failure> {
    let ct = namespace.open()?;
    match &arguments.action {
        None => show(&ct, arguments.json),
        Some(Action::Set { values, dry_run }) => set(&ct, values, *dry_run, arguments.json),
    }
}

fn unit(setting: Setting, value: u32) -> String {
    match setting.unit() {
        Unit::Seconds => format!("{} s", Grouped(value.into())),
        _ => Grouped(value.into()).to_string(),
    }
}

fn show(ct: &Conntrack, json: bool) -> Result<Done, Failure> {
    let limits = ct.limits()?;
    if json {
        return output::print_json(&serde_json::to_value(&limits)?);
    }
    let mut text = String::new();
    for (setting, value) in limits.iter() {
        let changed = setting.default_value().filter(|default| *default != value);
        let changed = changed
            .map_or(String::new(), |default| format!("  default {}", unit(setting, default)));
        let host = match (setting.is_global(), limits.is_initial_namespace()) {
            (true, Some(false)) => "  the host's",
            _ => "",
        };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{setting:<45}{:>14}{changed}{host}", unit(setting, value));
    }
    if text.is_empty() {
        return Err(Failure::Failed(
            "/proc/sys/net/netfilter is empty: nf_conntrack is not loaded, or /proc is not mounted"
                .into(),
        ));
    }
    output::print(&text)
}

fn set(
    ct: &Conntrack,
    values: &[(Setting, u32)],
    dry_run: bool,
    json: bool,
) -> Result<Done, Failure> {
    let limits = ct.limits()?;
    let mut changes = Map::new();
    let mut text = String::new();
    for (setting, value) in values {
        let before = limits.get(*setting);
        if before.is_none() {
            return Err(Failure::Failed(format!(
                "{setting}: this kernel does not have it, or /proc is not mounted"
            )));
        }
        let shown = before.map_or("-".into(), |before| unit(*setting, before));
        let _ = writeln!(text, "{setting}: {shown} -> {}", unit(*setting, *value));
        changes.insert(setting.to_string(), json!({ "before": before, "after": value }));
    }
    text += &advice(values, &limits);
    if !dry_run {
        // All of them are known to exist; a refusal names the file. What was set before stays.
        for (setting, value) in values {
            ct.set_limit(*setting, *value)?;
            // The kernel rounds the number of buckets up to a power of two.
            let after = ct.limits()?.get(*setting);
            if after != Some(*value) {
                let after = after.map_or("-".into(), |after| unit(*setting, after));
                let _ = writeln!(text, "{setting}: the kernel made it {after}");
            }
        }
    }
    if json {
        return output::print_json(&json!({ "dry_run": dry_run, "changes": Value::from(changes) }));
    }
    let _ = writeln!(text, "{}", if dry_run { "dry run: nothing was set" } else { "set" });
    output::print(&text)
}

/// What it costs, what it does not do, and how to keep it.
fn advice(values: &[(Setting, u32)], limits: &ctnetlink::diagnose::Limits) -> String {
    let mut text = String::new();
    let new = |wanted| values.iter().find(|(setting, _)| *setting == wanted).map(|(_, v)| *v);
    let mebibytes = |bytes: u64| Grouped(bytes.div_ceil(1 << 20));
    if let Some(max) = new(Setting::Max) {
        let bytes = u64::from(max) * ENTRY;
        let _ = writeln!(text, "memory: {} MiB when all entries are in use", mebibytes(bytes));
        let buckets = new(Setting::Buckets).or(limits.get(Setting::Buckets));
        if let Some(buckets) = buckets.filter(|buckets| *buckets < max / 8) {
            let _ = writeln!(
                text,
                "note: {} buckets make chains of {} entries when the table is full; packets are lost \
                 from about 40 on: set buckets={max}, too",
                Grouped(buckets.into()),
                Grouped(2 * u64::from(max) / u64::from(buckets.max(1)))
            );
        }
    }
    if let Some(buckets) = new(Setting::Buckets) {
        let bytes = u64::from(buckets) * BUCKET;
        let _ = writeln!(text, "memory: {} MiB for the buckets, at once", mebibytes(bytes));
    }
    if values.iter().any(|(setting, _)| setting.unit() == Unit::Seconds) {
        text += "note: entries that are there keep the timeout they have until their next packet\n";
    }
    text += "It is lost at the next boot. To keep it:\n";
    for (setting, value) in values {
        let _ = writeln!(
            text,
            "  echo 'net.netfilter.{setting} = {value}' >> /etc/sysctl.d/90-conntrack.conf"
        );
    }
    let of_kube_proxy = [Setting::Max, Setting::TcpEstablished, Setting::TcpCloseWait];
    if values.iter().any(|(setting, _)| of_kube_proxy.contains(setting)) {
        text += "  kube-proxy sets its own values when it starts: --conntrack-max-per-core,\n  \
                 --conntrack-min, --conntrack-tcp-timeout-established, -close-wait\n";
    }
    text
}
