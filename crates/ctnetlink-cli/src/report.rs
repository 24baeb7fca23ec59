//! A report of the reconciler for machines.

use std::fs;

use ctnetlink::{ComesBack, FamilyReport, Report};
use serde_json::{Value, json};

/// Peak resident memory of this process in KiB (`VmHWM` of `/proc/self/status`).
///
/// # Errors
///
/// If `/proc/self/status` cannot be read, or has no `VmHWM`.
pub fn peak_rss_kib() -> Result<u64, String> {
    let status =
        fs::read_to_string("/proc/self/status").map_err(|e| format!("/proc/self/status: {e}"))?;
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok())
        .ok_or_else(|| "/proc/self/status has no VmHWM".into())
}

/// A report as one JSON object, with the peak memory so far.
///
/// # Errors
///
/// As [`peak_rss_kib`].
pub fn report_json(report: &Report) -> Result<Value, String> {
    Ok(json!({
        "profile": report.profile.to_string(),
        "dry_run": report.dry_run,
        "elapsed_ms": (report.elapsed.as_secs_f64() * 1e6).round() / 1000.0,
        "peak_rss_kib": peak_rss_kib()?,
        "node_ports_judged": report.node_ports_judged,
        "unknown_services": report.unknown_services,
        "in_quarantine": report.in_quarantine,
        "comes_back": report.comes_back.iter().map(comes_back_json).collect::<Vec<_>>(),
        "families": report.families.iter().map(family_json).collect::<Vec<_>>(),
    }))
}

fn comes_back_json(back: &ComesBack) -> Value {
    json!({
        "protocol": back.frontend.protocol.to_string(),
        "frontend": std::net::SocketAddr::new(back.frontend.address, back.frontend.port),
        "backend": back.backend,
        "looks": back.looks,
        "given_up": back.given_up,
    })
}

fn family_json(family: &FamilyReport) -> Value {
    json!({
        "family": family.family.to_string(),
        "received": family.received,
        "stale": family.stale,
        "deleted": family.deleted,
        "already_gone": family.already_gone,
        "unknown": family.unknown,
        "failed": family.failed,
        "kept": {
            "other_zones": family.other_zones,
            "suspect": family.suspect,
            "quarantined": family.quarantined,
            "given_up": family.given_up,
        },
        "passes": family.passes,
        "pushdown": family.pushdown,
        "reasons": {
            "backend_gone": family.reasons.backend_gone,
            "backend_port_changed": family.reasons.backend_port_changed,
            "not_translated": family.reasons.not_translated,
            "frontend_removed": family.reasons.frontend_removed,
        },
    })
}
