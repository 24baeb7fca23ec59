//! `Report` and its parts.

use std::net::IpAddr;

use pyo3::exceptions::PyBaseException;
use pyo3::prelude::*;

use crate::deletion::{Failure, exception, failures};

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
    fn unknown_services(&self) -> usize {
        self.0.unknown_services
    }

    #[getter]
    fn in_quarantine(&self) -> usize {
        self.0.in_quarantine
    }

    #[getter]
    fn comes_back(&self) -> Vec<ComesBack> {
        self.0.comes_back.iter().map(ComesBack::from).collect()
    }

    #[getter]
    fn succeeded(&self) -> bool {
        self.0.succeeded()
    }

    /// IPv4, then IPv6.
    #[getter]
    fn families(&self, py: Python<'_>) -> PyResult<(FamilyReport, FamilyReport)> {
        let [ipv4, ipv6] = &self.0.families;
        Ok((FamilyReport::new(py, ipv4)?, FamilyReport::new(py, ipv6)?))
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
            "<ctnetlink.Report {}{sent} received={} stale={} deleted={} already_gone={} failed={}>",
            self.0.profile,
            sum(|f| f.received),
            sum(|f| f.stale),
            sum(|f| f.deleted),
            sum(|f| f.already_gone),
            sum(|f| f.failed),
        )
    }
}

/// One family's part of a report.
#[pyclass(frozen, get_all, module = "ctnetlink", name = "FamilyReport")]
pub(crate) struct FamilyReport {
    family: String,
    received: u64,
    stale: u64,
    other_zones: u64,
    suspect: u64,
    quarantined: u64,
    given_up: u64,
    deleted: u64,
    already_gone: u64,
    unknown: u64,
    failed: u64,
    failures: Vec<Py<Failure>>,
    passes: u32,
    pushdown: String,
    reasons: Reasons,
    removals: Vec<Removal>,
    error: Option<Py<PyBaseException>>,
}

impl FamilyReport {
    fn new(py: Python<'_>, report: &ctnetlink::FamilyReport) -> PyResult<Self> {
        let r = report.reasons;
        let failures = failures(py, &report.failures);
        Ok(FamilyReport {
            family: report.family.to_string(),
            received: report.received,
            stale: report.stale,
            other_zones: report.other_zones,
            suspect: report.suspect,
            quarantined: report.quarantined,
            given_up: report.given_up,
            deleted: report.deleted,
            already_gone: report.already_gone,
            unknown: report.unknown,
            failed: report.failed,
            failures: failures.into_iter().map(|f| Py::new(py, f)).collect::<PyResult<_>>()?,
            passes: report.passes,
            pushdown: report.pushdown.clone(),
            reasons: Reasons {
                backend_gone: r.backend_gone,
                backend_port_changed: r.backend_port_changed,
                not_translated: r.not_translated,
                frontend_removed: r.frontend_removed,
            },
            removals: report.removals.iter().map(Removal::from).collect(),
            error: exception(py, report.error.as_ref()),
        })
    }
}

#[pymethods]
impl FamilyReport {
    fn __repr__(&self) -> String {
        format!(
            "<ctnetlink.FamilyReport {} received={} stale={} deleted={} already_gone={} failed={}>",
            self.family, self.received, self.stale, self.deleted, self.already_gone, self.failed
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

/// Entries that come back after they were deleted.
#[pyclass(frozen, get_all, module = "ctnetlink", name = "ComesBack")]
#[derive(Clone)]
pub(crate) struct ComesBack {
    protocol: String,
    frontend: (IpAddr, u16),
    backend: (IpAddr, u16),
    looks: u32,
    given_up: bool,
}

#[pymethods]
impl ComesBack {
    fn __repr__(&self) -> String {
        let [frontend, backend] = [self.frontend, self.backend].map(std::net::SocketAddr::from);
        format!(
            "<ctnetlink.ComesBack {} {frontend} -> {backend} looks={} given_up={}>",
            self.protocol,
            self.looks,
            if self.given_up { "True" } else { "False" }
        )
    }
}

impl From<&ctnetlink::ComesBack> for ComesBack {
    fn from(back: &ctnetlink::ComesBack) -> Self {
        ComesBack {
            protocol: back.frontend.protocol.to_string(),
            frontend: (back.frontend.address, back.frontend.port),
            backend: (back.backend.ip(), back.backend.port()),
            looks: back.looks,
            given_up: back.given_up,
        }
    }
}
