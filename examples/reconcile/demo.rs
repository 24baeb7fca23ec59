//! A private namespace, a kube-like table, one run, and an audit.

use std::time::Instant;

use ctnetlink::{Conntrack, Progress, Reconciler, Report};
use ctnetlink_cli::{peak_rss_kib, report_json};
use ctnetlink_testbed::kube::{KubeTable, Recount};
use ctnetlink_testbed::netns;
use serde_json::json;

use crate::{Arguments, progress_line, shows_progress};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

pub(crate) fn run(arguments: &Arguments) -> Result<bool> {
    netns::enter_private().map_err(|e| {
        format!(
            "cannot make a private network namespace: {e}; run as root, or allow unprivileged user \
             namespaces (kernel.unprivileged_userns_clone, user.max_user_namespaces)"
        )
    })?;
    let failed = |what: &'static str| move |e: std::io::Error| format!("{what}: {e}");
    let ct = Conntrack::open()?;
    let table = KubeTable { entries: arguments.entries };
    check_limit(ct.limit()?, table.entries)?;

    let started = Instant::now();
    let progress = shows_progress(arguments);
    table
        .fill(|made| {
            if progress {
                progress_line(&format!("filling: {made} of {}", table.entries));
            }
        })
        .map_err(failed("filling the table"))?;
    let filled = started.elapsed();

    let mut reconciler =
        Reconciler::new(arguments.profile).dry_run(arguments.dry_run).previous(table.previous()?);
    if progress {
        reconciler = reconciler.on_progress(|progress: &Progress| {
            let Progress { family, pass, received, stale, .. } = progress;
            progress_line(&format!("{family}, pass {pass}: {received} received, {stale} stale"));
        });
    }
    let report = reconciler.run(&ct, &table.desired()?)?;
    if progress {
        progress_line("auditing");
    }
    let recount = table.recount().map_err(failed("recounting"))?;
    if progress {
        progress_line("");
    }

    let ok = report.succeeded() && audit(arguments, &table, &report, recount);
    if arguments.json {
        let mut object = report_json(&report)?;
        object["entries"] = json!(table.entries);
        object["healthy_lost"] = json!(recount.healthy_lost);
        object["stale_left"] = json!(recount.stale_left);
        println!("{object}");
        return Ok(ok);
    }

    let stale = table.stale();
    let healthy = u64::from(table.entries) - stale;
    let peak = peak_rss_kib()?;
    println!(
        "a private network namespace with {} entries, {stale} of them stale (filled in {:.2} s)\n\
         {report}\n  \
         audit, by an independent reader: {} of {healthy} healthy entries present, {} of {stale} \
         stale entries left\n  \
         peak memory of this process: {:.1} MiB\n{}",
        table.entries,
        filled.as_secs_f64(),
        healthy - recount.healthy_lost,
        recount.stale_left,
        peak as f64 / 1024.0,
        if ok { "OK" } else { "FAILED" },
    );
    Ok(ok)
}

/// No healthy entry may be missing. No stale entry may be left; in a dry run all of them must be.
fn audit(arguments: &Arguments, table: &KubeTable, report: &Report, recount: Recount) -> bool {
    let expected = if arguments.dry_run { table.stale() } else { 0 };
    let found: u64 = report.families.iter().map(|family| family.stale).sum();
    recount.healthy_lost == 0 && recount.stale_left == expected && found == table.stale()
}

fn check_limit(limit: u32, entries: u32) -> Result<()> {
    if limit != 0 && entries > limit {
        return Err(format!(
            "{entries} entries do not fit: nf_conntrack_max is {limit}; use --entries {limit} or \
             less, or raise it in the initial network namespace with `sysctl \
             net.netfilter.nf_conntrack_max={entries}`"
        )
        .into());
    }
    Ok(())
}
