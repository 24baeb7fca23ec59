//! Counts the outcomes of deletes. Nothing else counts them.

use std::mem::discriminant;

use super::batch::Outcome;
use crate::error::Error;

/// How many different reasons are kept. Deletes that failed for other reasons are only counted, so
/// that a report needs constant memory.
const REASONS_KEPT: usize = 8;

/// Deletes that failed for the same reason, in a report.
///
/// ```no_run
/// # fn f(ct: &ctnetlink::Conntrack, filter: &ctnetlink::Filter) -> ctnetlink::Result<()> {
/// for failure in ct.delete_matching(filter).run()?.failures {
///     eprintln!("{} deletes failed: {}", failure.count, failure.error);
/// }
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Failure {
    /// The reason: the first error of its kind (same variant, same errno).
    pub error: Error,
    /// How many deletes failed for this reason.
    pub count: u64,
}

/// Counts the outcomes of deletes.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) deleted: u64,
    pub(crate) already_gone: u64,
    pub(crate) unknown: u64,
    pub(crate) failed: u64,
    pub(crate) failures: Vec<Failure>,
}

impl Tally {
    pub(crate) fn add(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Done => self.deleted += 1,
            Outcome::NotFound => self.already_gone += 1,
            Outcome::Unknown { .. } => self.unknown += 1,
            Outcome::Failed(error) => self.fail(error),
        }
    }

    fn fail(&mut self, error: Error) {
        self.failed += 1;
        let kind = |e: &Error| (discriminant(e), e.raw_os_error());
        let full = self.failures.len() >= REASONS_KEPT;
        match self.failures.iter_mut().find(|known| kind(&known.error) == kind(&error)) {
            Some(known) => known.count += 1,
            None if full => {}
            None => self.failures.push(Failure { error, count: 1 }),
        }
    }

    /// The number of all outcomes.
    pub(crate) fn total(&self) -> u64 {
        self.deleted + self.already_gone + self.unknown + self.failed
    }
}

/// A line of text for each reason, and one for those that were not kept.
pub(crate) fn failure_lines(failed: u64, failures: &[Failure]) -> Vec<String> {
    let line = |failure: &Failure| format!("failed: {} x {}", failure.count, failure.error);
    let mut lines: Vec<_> = failures.iter().map(line).collect();
    let explained: u64 = failures.iter().map(|failure| failure.count).sum();
    if let more @ 1.. = failed.saturating_sub(explained) {
        lines.push(format!("failed: {more} more for other reasons"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Operation;

    /// Nothing is dropped: an outcome that is neither done nor failed is counted too.
    #[test]
    fn every_outcome_is_counted_once() {
        let mut tally = Tally::default();
        let failed = |errno| Outcome::Failed(Error::kernel(Operation::Batch, errno));
        for outcome in [
            Outcome::Done,
            Outcome::NotFound,
            Outcome::Unknown { exists: true },
            Outcome::Unknown { exists: false },
            failed(libc::EBUSY),
            failed(libc::EPERM),
            failed(libc::EBUSY),
        ] {
            tally.add(outcome);
        }
        let Tally { deleted, already_gone, unknown, failed, failures } = &tally;
        assert_eq!((*deleted, *already_gone, *unknown, *failed), (1, 1, 2, 3));
        assert_eq!(tally.total(), 7);
        assert_eq!(failures.iter().map(|f| f.count).collect::<Vec<_>>(), [2, 1]);
    }

    #[test]
    fn reasons_are_bounded_and_the_rest_is_counted() {
        let mut tally = Tally::default();
        for errno in 1..=20 {
            tally.add(Outcome::Failed(Error::kernel(Operation::Batch, errno)));
        }
        assert_eq!(tally.failures.len(), REASONS_KEPT);
        let lines = failure_lines(tally.failed, &tally.failures);
        assert!(lines[0].starts_with("failed: 1 x batch: Operation not permitted"), "{lines:?}");
        assert_eq!(lines[REASONS_KEPT], "failed: 12 more for other reasons");
    }
}
