//! `delete`, `flush` and `zero`: what changes the table.

use std::cell::Cell;
use std::io::Write;

use clap::Args;
use ctnetlink::diagnose::Grouped;
use ctnetlink::{Canceller, Conntrack, DeleteReport, Family, Filter};
use serde_json::json;

use crate::failure::{Done, Failure};
use crate::options::{self, Namespace};
use crate::output;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// A filter, such as: udp and orig dst port 53 and not reply src 10.244.1.5
    #[arg(value_name = "FILTER", required = true)]
    filter: Vec<String>,

    /// Count the matching entries and delete nothing
    #[arg(long)]
    dry_run: bool,

    /// Explain what the kernel would filter by, and why not by more; delete nothing
    #[arg(long, conflicts_with = "dry_run")]
    explain: bool,

    /// Print each entry that matches
    #[arg(long, short, conflicts_with_all = ["explain", "in_kernel"])]
    verbose: bool,

    /// Let the kernel delete, by filtered flushes and without counts; only if that is proved safe
    #[arg(long, conflicts_with_all = ["explain", "dry_run"])]
    in_kernel: bool,

    /// Delete nothing if more than N entries match
    #[arg(long, value_name = "N", conflicts_with = "explain")]
    max: Option<u64>,

    /// Delete without asking, even if most of the table matches
    #[arg(long, short)]
    yes: bool,

    /// Print one JSON object
    #[arg(long, conflicts_with_all = ["explain", "verbose"])]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct FlushArguments {
    /// Delete the entries of both families
    #[arg(long, required_unless_present = "family", conflicts_with = "family")]
    all: bool,

    /// Delete the entries of one family: ipv4 or ipv6
    #[arg(long)]
    family: Option<Family>,

    /// Do it
    #[arg(long)]
    yes: bool,

    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ZeroArguments {
    /// A filter, such as: tcp and orig dst port 443
    #[arg(value_name = "FILTER", required = true)]
    filter: Vec<String>,

    /// Print one JSON object per entry
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(namespace: &Namespace, arguments: &Arguments) -> Result<Done, Failure> {
    let filter = options::filter(&arguments.filter)?;
    let filter = filter.ok_or_else(|| {
        Failure::BadInput("the filter is empty; `ctnetlink flush --all` deletes everything".into())
    })?;
    let ct = namespace.open()?;
    if arguments.explain {
        return output::print(&filter.explain(&ct.capabilities()?)?.to_string());
    }
    if !arguments.dry_run {
        check(&ct, &filter, arguments)?;
    }
    if arguments.in_kernel {
        ct.delete_matching(&filter).in_kernel()?;
        let left = ct.count()?;
        return match arguments.json {
            true => output::print_json(&json!({ "in_kernel": true, "left": left })),
            false => output::print(&format!(
                "done in the kernel, which does not count; {left} entries are left"
            )),
        };
    }
    let report = delete(&ct, &filter, arguments)?;
    if arguments.dry_run {
        let everything = u64::from(ct.count()?);
        if let Some(max) = arguments.max.filter(|max| report.matched > *max) {
            output::note(format_args!(
                "without --dry-run it would be refused: more than --max {max}"
            ));
        } else if !arguments.yes && report.matched.saturating_mul(2) > everything {
            output::note("without --dry-run it asks, or needs --yes: more than half of the table");
        }
    }
    if arguments.json {
        output::print_json(&report_json(&report))?;
    } else {
        output::print(&report.to_string())?;
    }
    Ok(Done::succeeded(report.succeeded()))
}

/// Refuses what is more than it should be, before anything is deleted.
fn check(ct: &Conntrack, filter: &Filter, arguments: &Arguments) -> Result<(), Failure> {
    let everything = u64::from(ct.count()?);
    if arguments.max.is_none() && arguments.yes {
        return Ok(());
    }
    let matching = ct.dump(filter)?.count()?;
    if let Some(max) = arguments.max.filter(|max| matching > *max) {
        return Err(Failure::Failed(format!(
            "{} entries match, more than --max {max}: nothing was deleted",
            Grouped(matching)
        )));
    }
    if arguments.yes || matching == 0 || matching.saturating_mul(2) <= everything {
        return Ok(());
    }
    let what = format!("{} of {} entries match", Grouped(matching), Grouped(everything));
    if !output::is_interactive() {
        return Err(Failure::Failed(format!(
            "{what}, more than half of the table: nothing was deleted; --yes deletes them"
        )));
    }
    match output::confirmed(&format!("{what}. Delete them?")) {
        true => Ok(()),
        false => Err(Failure::Failed("nothing was deleted".into())),
    }
}

/// Deletes. If more match than were allowed a moment ago, it ends there.
fn delete(ct: &Conntrack, filter: &Filter, arguments: &Arguments) -> Result<DeleteReport, Failure> {
    let (canceller, seen) = (Canceller::new(), Cell::new(0u64));
    let limited = ct.cancelled_by(&canceller);
    let mut out = output::stdout();
    let gone = Cell::new(false);
    let result = limited
        .delete_matching(filter)
        .dry_run(arguments.dry_run)
        .on_match(|flow| {
            seen.set(seen.get() + 1);
            if arguments.max.is_some_and(|max| seen.get() > max) && !arguments.dry_run {
                canceller.cancel();
            }
            if arguments.verbose && writeln!(out, "{flow}").is_err() {
                gone.set(true);
                canceller.cancel();
            }
        })
        .run();
    if gone.get() || out.flush().is_err() {
        return Err(Failure::ReaderGone);
    }
    match (result, arguments.max) {
        (Err(error), Some(max)) if error.is_cancelled() => Err(Failure::Failed(format!(
            "more than --max {max} entries came to match while they were deleted; it ended there"
        ))),
        (result, _) => Ok(result?),
    }
}

fn report_json(report: &DeleteReport) -> serde_json::Value {
    for failure in &report.failures {
        eprintln!("error: {} deletes failed: {}", failure.count, failure.error);
    }
    if let Some(error) = &report.error {
        eprintln!("error: incomplete: {error}");
    }
    json!({
        "filter": report.filter.to_string(),
        "dry_run": report.dry_run,
        "elapsed_ms": (report.elapsed.as_secs_f64() * 1e6).round() / 1000.0,
        "received": report.received,
        "matched": report.matched,
        "deleted": report.deleted,
        "already_gone": report.already_gone,
        "unknown": report.unknown,
        "failed": report.failed,
        "pushdown": report.pushdown,
    })
}

pub(crate) fn flush(namespace: &Namespace, arguments: &FlushArguments) -> Result<Done, Failure> {
    let ct = namespace.open()?;
    let before = ct.count()?;
    let what = match arguments.family {
        Some(family) => format!("all {family} entries"),
        None => "all entries".into(),
    };
    if !arguments.yes {
        return Err(Failure::BadInput(format!(
            "this deletes {what}, of {} in the table, and breaks translated connections: --yes does it",
            Grouped(before.into())
        )));
    }
    match arguments.family {
        Some(family) => ct.flush(family)?,
        None => ct.flush_all()?,
    }
    let left = ct.count()?;
    match arguments.json {
        true => output::print_json(&json!({ "before": before, "left": left })),
        false => output::print(&format!("deleted {what}; {} are left", Grouped(left.into()))),
    }
}

pub(crate) fn zero(namespace: &Namespace, arguments: &ZeroArguments) -> Result<Done, Failure> {
    let filter = options::filter(&arguments.filter)?
        .ok_or_else(|| Failure::BadInput("the filter is empty".into()))?;
    let ct = namespace.open()?;
    let mut out = output::stdout();
    // What was read is zero now: it is printed as far as somebody reads it.
    let mut written = Ok(());
    let zeroed = ct.zero(&filter, |flow| {
        if written.is_ok() {
            written = match arguments.json {
                true => serde_json::to_writer(&mut out, &flow)
                    .map_err(Failure::from)
                    .and_then(|()| Ok(writeln!(out)?)),
                false => writeln!(out, "{flow}").map_err(Failure::from),
            };
        }
    })?;
    written?;
    out.flush()?;
    eprintln!("{} entries zeroed", Grouped(zeroed));
    Ok(Done::OK)
}
