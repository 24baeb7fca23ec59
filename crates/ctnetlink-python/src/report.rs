//! `Report` and its parts, `Progress`.

use pyo3::prelude::*;

use crate::deletion::{Failure, failures};
use crate::record::record;
use crate::service::Frontend;
use crate::value::{Family, Profile, Raised, Reason, Socket, socket};

record! {
    [hash] []
    /// Stale entries by reason.
    #[derive(Eq, Hash, Copy)]
    Reasons {
        /// The backend does not serve the frontend any more.
        backend_gone: u64,
        /// The backend's address still serves, but not at this port.
        backend_port_changed: u64,
        /// The entry leads to the frontend itself, without a backend.
        not_translated: u64,
        /// The frontend does not exist any more.
        frontend_removed: u64,
    }
}

#[pymethods]
impl Reasons {
    /// The sum of all.
    #[getter]
    fn total(&self) -> u64 {
        self.items().iter().map(|(_, count)| count).sum()
    }

    /// Return each reason with its count.
    fn items(&self) -> [(Reason, u64); 4] {
        [
            ("backend_gone", self.backend_gone),
            ("backend_port_changed", self.backend_port_changed),
            ("not_translated", self.not_translated),
            ("frontend_removed", self.frontend_removed),
        ]
        .map(|(reason, count)| (Reason(reason.into()), count))
    }
}

record! {
    [hash] []
    /// A group of stale entries that differ in the client only.
    #[derive(Eq, Hash)]
    Removal {
        /// The frontend that clients dialled.
        frontend: Frontend,
        /// The backend that answered, as ``(address, port)``.
        backend: Socket,
        /// Why they are stale.
        reason: Reason,
        /// How many.
        count: u64,
    }
}

record! {
    [hash] []
    /// Entries that come back after they were deleted: something else translates, or keeps sending.
    #[derive(Eq, Hash)]
    ComesBack {
        /// The frontend that clients dial.
        frontend: Frontend,
        /// The backend that answers, as ``(address, port)``.
        backend: Socket,
        /// In how many looks in a row such entries were found again.
        looks: u32,
        /// They are left alone from now on.
        given_up: bool,
    }
}

record! {
    [] []
    /// One family's part of a report.
    FamilyReport {
        /// The family.
        family: Family,
        /// Entries that the kernel sent, over all passes.
        received: u64,
        /// Stale entries: ``deleted + already_gone + unknown + failed``, unless it is a dry run.
        stale: u64,
        /// Entries in zones that are not looked at.
        other_zones: u64,
        /// Entries that look stale, but may be in the middle of being made; the next pass tells.
        suspect: u64,
        /// Entries that an observer may not delete yet.
        quarantined: u64,
        /// Stale entries that come back again and again, and are left alone.
        given_up: u64,
        /// Deleted.
        deleted: u64,
        /// Gone, or replaced by an entry with another reply tuple, before the delete arrived.
        already_gone: u64,
        /// The answer was lost, and asking again gave none either.
        unknown: u64,
        /// Deletes that did not succeed.
        failed: u64,
        /// Why deletes failed: the first few different reasons.
        failures: Vec<Failure>,
        /// Passes over the table; 0 if nothing had to be looked at.
        passes: u32,
        /// What the kernel filtered by in the first pass.
        pushdown: String,
        /// Stale entries by reason.
        reasons: Reasons,
        /// The largest groups of stale entries.
        removals: Vec<Removal>,
        /// The error that ended a pass early. Entries that were judged before it were dealt with.
        error: Option<Raised>,
    }
}

record! {
    [] []
    /// What a reconciliation found and did. ``str()`` of it is for people.
    Report {
        /// The profile.
        profile: Profile,
        /// Nothing was deleted.
        dry_run: bool,
        /// Nothing could be stale, so nothing was sent.
        nothing_changed: bool,
        /// The run came before ``min_interval`` was over; ``Reconciler.due`` says when to call again.
        postponed: bool,
        /// Endpoints whose flows are spared for now, because they stopped serving a moment ago.
        in_grace: usize,
        /// Whether node ports were judged, which needs the addresses of the node.
        node_ports_judged: bool,
        /// Services that are not judged.
        unknown_services: usize,
        /// Frontends whose entries an observer may not delete yet.
        in_quarantine: usize,
        /// Entries that come back after they were deleted.
        comes_back: Vec<ComesBack>,
        /// One part for each family, IPv4 first.
        families: (FamilyReport, FamilyReport),
        /// Wall time in seconds.
        elapsed: f64,
        /// Every pass reached its end, no delete failed, and each outcome is known.
        succeeded: bool,
        /// The report as lines of text, which ``str()`` returns.
        text: String,
    }
}

#[pymethods]
impl Report {
    fn __str__(&self) -> &str {
        &self.text
    }
}

impl Report {
    pub(crate) fn of(py: Python<'_>, report: &ctnetlink::Report) -> Report {
        let [ipv4, ipv6] = &report.families;
        Report {
            profile: Profile(report.profile),
            dry_run: report.dry_run,
            nothing_changed: report.nothing_changed,
            postponed: report.postponed,
            in_grace: report.in_grace,
            node_ports_judged: report.node_ports_judged,
            unknown_services: report.unknown_services,
            in_quarantine: report.in_quarantine,
            comes_back: report.comes_back.iter().map(ComesBack::from).collect(),
            families: (FamilyReport::of(py, ipv4), FamilyReport::of(py, ipv6)),
            elapsed: report.elapsed.as_secs_f64(),
            succeeded: report.succeeded(),
            text: report.to_string(),
        }
    }
}

impl FamilyReport {
    fn of(py: Python<'_>, report: &ctnetlink::FamilyReport) -> FamilyReport {
        let r = report.reasons;
        FamilyReport {
            family: Family(report.family),
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
            failures: failures(py, &report.failures),
            passes: report.passes,
            pushdown: report.pushdown.clone(),
            reasons: Reasons {
                backend_gone: r.backend_gone,
                backend_port_changed: r.backend_port_changed,
                not_translated: r.not_translated,
                frontend_removed: r.frontend_removed,
            },
            removals: report.removals.iter().map(Removal::from).collect(),
            error: report.error.as_ref().map(|error| Raised::of(py, error)),
        }
    }
}

impl From<&ctnetlink::Removal> for Removal {
    fn from(removal: &ctnetlink::Removal) -> Self {
        Removal {
            frontend: Frontend::from(removal.frontend),
            backend: socket(removal.backend),
            reason: Reason(removal.reason.name().into()),
            count: removal.count,
        }
    }
}

impl From<&ctnetlink::ComesBack> for ComesBack {
    fn from(back: &ctnetlink::ComesBack) -> Self {
        ComesBack {
            frontend: Frontend::from(back.frontend),
            backend: socket(back.backend),
            looks: back.looks,
            given_up: back.given_up,
        }
    }
}

record! {
    [hash] []
    /// The progress of a run.
    #[derive(Eq, Hash, Copy)]
    Progress {
        /// The family that is walked.
        family: Family,
        /// 1 for the first pass of the run, 2 for a re-check in the same run.
        pass_: u32,
        /// Entries that came from the kernel in this family, over all passes.
        received: u64,
        /// Stale entries found in this family, over all passes.
        stale: u64,
    }
}

impl From<ctnetlink::Progress> for Progress {
    fn from(progress: ctnetlink::Progress) -> Self {
        let ctnetlink::Progress { family, pass, received, stale, .. } = progress;
        Progress { family: Family(family), pass_: pass, received, stale }
    }
}
