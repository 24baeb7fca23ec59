//! What deletes and zeroing did: `DeleteReport`, `Deletions`, `Failure`, `Zeroed`.

use pyo3::prelude::*;

use crate::flow::Flow;
use crate::record::record;
use crate::value::Raised;

record! {
    [] []
    /// Deletes that failed for the same reason.
    Failure {
        /// The reason: the first error of its kind.
        error: Raised,
        /// How many deletes failed for this reason.
        count: u64,
    }
}

pub(crate) fn failures(py: Python<'_>, failures: &[ctnetlink::Failure]) -> Vec<Failure> {
    let one = |failure: &ctnetlink::Failure| Failure {
        error: Raised::of(py, &failure.error),
        count: failure.count,
    };
    failures.iter().map(one).collect()
}

record! {
    [] []
    /// What a delete by filter did. ``str()`` of it is for people.
    DeleteReport {
        /// The filter.
        filter: String,
        /// Nothing was deleted; ``matched`` says what would have been.
        dry_run: bool,
        /// What the kernel filtered by, in the words of the filter; empty if it filtered nothing.
        pushdown: String,
        /// Entries that the kernel sent, matching or not.
        received: u64,
        /// Entries that matched: ``deleted + already_gone + unknown + failed``, unless it is a dry run.
        matched: u64,
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
        /// The error that ended the walk early. Entries that matched before it were dealt with.
        error: Option<Raised>,
        /// Wall time in seconds.
        elapsed: f64,
        /// The walk reached its end, no delete failed, and each outcome is known.
        succeeded: bool,
        /// The report as lines of text, which ``str()`` returns.
        text: String,
    }
}

#[pymethods]
impl DeleteReport {
    fn __str__(&self) -> &str {
        &self.text
    }
}

impl DeleteReport {
    pub(crate) fn of(py: Python<'_>, report: &ctnetlink::DeleteReport) -> DeleteReport {
        DeleteReport {
            filter: report.filter.clone(),
            dry_run: report.dry_run,
            pushdown: report.pushdown.clone(),
            received: report.received,
            matched: report.matched,
            deleted: report.deleted,
            already_gone: report.already_gone,
            unknown: report.unknown,
            failed: report.failed,
            failures: failures(py, &report.failures),
            error: report.error.as_ref().map(|error| Raised::of(py, error)),
            elapsed: report.elapsed.as_secs_f64(),
            succeeded: report.succeeded(),
            text: report.to_string(),
        }
    }
}

record! {
    [] []
    /// The result of ``delete_many``.
    Deletions {
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
        /// Positions of the flows whose deletes failed, in ascending order.
        failed_at: Vec<usize>,
    }
}

impl Deletions {
    pub(crate) fn of(py: Python<'_>, done: &ctnetlink::Deletions) -> Deletions {
        Deletions {
            deleted: done.deleted,
            already_gone: done.already_gone,
            unknown: done.unknown,
            failed: done.failed,
            failures: failures(py, &done.failures),
            failed_at: done.failed_at.clone(),
        }
    }
}

record! {
    [] []
    /// What ``zero`` has zeroed.
    Zeroed {
        /// How many entries were zeroed.
        count: u64,
        /// The entries as they were before; empty if they were handed to ``on_match``.
        flows: Vec<Flow>,
        /// The error that ended it early. What was zeroed until then is in ``flows``.
        error: Option<Raised>,
    }
}
