//! `limits`.

use std::fmt::Write;

use clap::{Args, Subcommand};
use ctnetlink::Conntrack;
use ctnetlink::diagnose::{Grouped, Limits, Setting, Unit};
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
    #[arg(long, global = true)]
    json: bool,
}

/// How values are set.
#[derive(Clone, Copy)]
struct Options {
    dry_run: bool,
    yes: bool,
    json: bool,
    /// In the namespace this runs in, or the host's.
    is_here: bool,
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

        /// Do it even if it makes things worse
        #[arg(long)]
        yes: bool,
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
        Some(Action::Set { values, dry_run, yes }) => {
            let (dry_run, yes, json) = (*dry_run, *yes, arguments.json);
            let is_here = matches!(&*namespace.words(), "" | " --host");
            set(&ct, values, Options { dry_run, yes, json, is_here })
        }
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
    if limits.iter().next().is_none() {
        return Err(Failure::Failed(
            "/proc/sys/net/netfilter is empty: nf_conntrack is not loaded, or /proc is not mounted"
                .into(),
        ));
    }
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
    output::print(&text)
}

fn set(ct: &Conntrack, values: &[(Setting, u32)], options: Options) -> Result<Done, Failure> {
    let limits = ct.limits()?;
    // More buckets before a higher limit: if the second is refused, the table is not worse than before.
    let mut values = values.to_vec();
    values.sort_by_key(|(setting, _)| *setting != Setting::Buckets);
    for (setting, value) in &values {
        check(*setting, *value, &limits)?;
    }
    let harm = harm(&values, &limits, ct.count().ok());
    if let (Some(harm), false, false) = (&harm, options.dry_run, options.yes) {
        return Err(Failure::BadInput(format!("{harm}: nothing was set; --yes does it")));
    }
    let mut text = String::new();
    let mut changes = Map::new();
    for (setting, value) in &values {
        let before = limits.get(*setting);
        let mut after = Some(*value);
        if !options.dry_run {
            if let Err(error) = ct.set_limit(*setting, *value) {
                let done: Vec<_> = changes.keys().map(String::as_str).collect();
                let done = if done.is_empty() { "nothing".to_owned() } else { done.join(", ") };
                return Err(Failure::Failed(format!("{error}; set before that: {done}")));
            }
            // The kernel rounds the number of buckets.
            after = ct.limits()?.get(*setting);
        }
        let shown = |value: Option<u32>| value.map_or("-".into(), |value| unit(*setting, value));
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{setting}: {} -> {}", shown(before), shown(after));
        changes.insert(setting.to_string(), json!({ "before": before, "after": after }));
    }
    if options.json {
        return output::print_json(
            &json!({ "dry_run": options.dry_run, "changes": Value::from(changes) }),
        );
    }
    if let Some(harm) = harm {
        let _ = writeln!(text, "note: {harm}; without --dry-run it needs --yes");
    }
    text += &cost(&values, &limits);
    if options.is_here && limits.is_initial_namespace() == Some(true) {
        text += &keeping(&values);
    } else {
        text += "It is lost with the network namespace, and at the next boot.\n";
    }
    let _ = writeln!(text, "{}", if options.dry_run { "dry run: nothing was set" } else { "set" });
    output::print(&text)
}

/// What would fail, in a dry run as well.
fn check(setting: Setting, value: u32, limits: &Limits) -> Result<(), Failure> {
    if limits.get(setting).is_none() {
        return Err(Failure::Failed(format!(
            "{setting}: this kernel does not have it, or /proc is not mounted"
        )));
    }
    if value > setting.largest_value() {
        return Err(Failure::BadInput(format!(
            "{setting}={value}: at most {}",
            setting.largest_value()
        )));
    }
    if setting.is_global() && limits.is_initial_namespace() == Some(false) {
        return Err(Failure::Failed(format!(
            "{setting}={value}: it is the whole machine's and read-only here (EACCES); change it in the \
             host's network namespace: --host, or nsenter -t 1 -n"
        )));
    }
    Ok(())
}

/// The value that a setting is to get.
fn wanted_value(values: &[(Setting, u32)], wanted: Setting) -> Option<u32> {
    values.iter().find(|(setting, _)| *setting == wanted).map(|(_, value)| *value)
}

/// What would make it worse.
fn harm(values: &[(Setting, u32)], limits: &Limits, entries: Option<u32>) -> Option<String> {
    let new = |wanted| wanted_value(values, wanted);
    if let (Some(max), Some(entries)) = (new(Setting::Max), entries)
        && max < entries
    {
        return Some(format!(
            "the limit would be below the {} entries that are there (0 is no limit up to Linux 6.16)",
            Grouped(entries.into())
        ));
    }
    let buckets = new(Setting::Buckets)?;
    let now = limits.get(Setting::Buckets).unwrap_or(0);
    (buckets < now)
        .then(|| format!("fewer buckets than now ({}) make chains longer", Grouped(now.into())))
}

fn mebibytes(bytes: u64) -> Grouped {
    Grouped(bytes.div_ceil(1 << 20))
}

/// What it costs, and what it does not do.
fn cost(values: &[(Setting, u32)], limits: &Limits) -> String {
    let mut text = String::new();
    let new = |wanted| wanted_value(values, wanted);
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
    text
}

/// How to keep it over a boot.
fn keeping(values: &[(Setting, u32)]) -> String {
    let mut text =
        "It is lost at the next boot. To keep it, /etc/sysctl.d/90-conntrack.conf:\n".to_owned();
    for (setting, value) in values {
        let _ = writeln!(text, "  net.netfilter.{setting} = {value}");
    }
    text += "and, or the file is read before the module is loaded, /etc/modules-load.d/conntrack.conf:\n  \
             nf_conntrack\n";
    let of_kube_proxy = [Setting::Max, Setting::TcpEstablished, Setting::TcpCloseWait];
    if values.iter().any(|(setting, _)| of_kube_proxy.contains(setting)) {
        text += "kube-proxy sets its own values when it starts: --conntrack-max-per-core,\n  \
                 --conntrack-min, --conntrack-tcp-timeout-established, -close-wait\n";
    }
    text
}
