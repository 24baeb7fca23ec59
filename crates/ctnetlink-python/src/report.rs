//! `Report` and its parts.

use std::collections::BTreeMap;
use std::net::IpAddr;

use pyo3::prelude::*;

/// What a reconciliation found and did.
#[pyclass(frozen, module = "ctnetlink", name = "Report")]
pub(crate) struct Report(pub(crate) ctnetlink::Report);

#[pymethods]
impl Report {
    #[getter]
    fn profile(&self) -> String {
        self.0.profile.to_string()
    }

    #[getter]
    fn dry_run(&self) -> bool {
        self.0.dry_run
    }

    #[getter]
    fn nothing_changed(&self) -> bool {
        self.0.nothing_changed
    }

    #[getter]
    fn postponed(&self) -> bool {
        self.0.postponed
    }

    #[getter]
    fn in_grace(&self) -> usize {
        self.0.in_grace
    }

    /// Seconds.
    #[getter]
    fn elapsed(&self) -> f64 {
        self.0.elapsed.as_secs_f64()
    }

    #[getter]
    fn node_ports_judged(&self) -> bool {
        self.0.node_ports_judged
    }

    #[getter]
    fn succeeded(&self) -> bool {
        self.0.succeeded()
    }

    /// IPv4, then IPv6.
    #[getter]
    fn families(&self) -> (FamilyReport, FamilyReport) {
        let [ipv4, ipv6] = &self.0.families;
        (FamilyReport::from(ipv4), FamilyReport::from(ipv6))
    }

    fn __str__(&self) -> String {
        self.0.to_string()
    }

    fn __repr__(&self) -> String {
        let sum = |figure: fn(&ctnetlink::FamilyReport) -> u64| -> u64 {
            self.0.families.iter().map(figure).sum()
        };
        let sent = match (self.0.postponed, self.0.nothing_changed) {
            (true, _) => " postponed",
            (_, true) => " nothing_changed",
            _ => "",
        };
        format!(
            "<ctnetlink.Report {}{sent} scanned={} stale={} deleted={} already_gone={} failed={}>",
            self.0.profile,
            sum(|f| f.scanned),
            sum(|f| f.stale),
            sum(|f| f.deleted),
            sum(|f| f.already_gone),
            sum(|f| f.failed),
        )
    }
}

/// One family's part of a report.
#[pyclass(frozen, get_all, module = "ctnetlink", name = "FamilyReport")]
#[derive(Clone)]
pub(crate) struct FamilyReport {
    family: String,
    scanned: u64,
    stale: u64,
    deleted: u64,
    already_gone: u64,
    failed: u64,
    failures: BTreeMap<i32, u64>,
    passes: u32,
    pushdown: String,
    reasons: Reasons,
    removals: Vec<Removal>,
    error: Option<String>,
}

impl From<&ctnetlink::FamilyReport> for FamilyReport {
    fn from(report: &ctnetlink::FamilyReport) -> Self {
        let r = report.reasons;
        FamilyReport {
            family: report.family.to_string(),
            scanned: report.scanned,
            stale: report.stale,
            deleted: report.deleted,
            already_gone: report.already_gone,
            failed: report.failed,
            failures: report.failures.clone(),
            passes: report.passes,
            pushdown: report.pushdown.clone(),
            reasons: Reasons {
                backend_gone: r.backend_gone,
                backend_port_changed: r.backend_port_changed,
                not_translated: r.not_translated,
                frontend_removed: r.frontend_removed,
            },
            removals: report.removals.iter().map(Removal::from).collect(),
            error: report.error.as_ref().map(ToString::to_string),
        }
    }
}

#[pymethods]
impl FamilyReport {
    fn __repr__(&self) -> String {
        format!(
            "<ctnetlink.FamilyReport {} scanned={} stale={} deleted={} already_gone={} failed={}>",
            self.family, self.scanned, self.stale, self.deleted, self.already_gone, self.failed
        )
    }
}

/// Stale entries by reason.
#[pyclass(frozen, get_all, eq, module = "ctnetlink", name = "Reasons")]
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Reasons {
    backend_gone: u64,
    backend_port_changed: u64,
    not_translated: u64,
    frontend_removed: u64,
}

#[pymethods]
impl Reasons {
    fn __repr__(&self) -> String {
        format!(
            "<ctnetlink.Reasons backend_gone={} backend_port_changed={} not_translated={} \
             frontend_removed={}>",
            self.backend_gone,
            self.backend_port_changed,
            self.not_translated,
            self.frontend_removed
        )
    }
}

/// A group of stale entries that differ in the client only.
#[pyclass(frozen, get_all, module = "ctnetlink", name = "Removal")]
#[derive(Clone)]
pub(crate) struct Removal {
    protocol: String,
    frontend: (IpAddr, u16),
    backend: (IpAddr, u16),
    reason: String,
    count: u64,
}

#[pymethods]
impl Removal {
    fn __repr__(&self) -> String {
        let [frontend, backend] = [self.frontend, self.backend].map(std::net::SocketAddr::from);
        format!(
            "<ctnetlink.Removal {} {frontend} -> {backend} {} count={}>",
            self.protocol, self.reason, self.count
        )
    }
}

impl From<&ctnetlink::Removal> for Removal {
    fn from(removal: &ctnetlink::Removal) -> Self {
        Removal {
            protocol: removal.frontend.protocol.to_string(),
            frontend: (removal.frontend.address, removal.frontend.port),
            backend: (removal.backend.ip(), removal.backend.port()),
            reason: removal.reason.name().to_owned(),
            count: removal.count,
        }
    }
}
