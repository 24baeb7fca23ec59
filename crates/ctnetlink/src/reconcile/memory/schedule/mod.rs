//! When a reconciler looks at what: a pure state machine, (state, rules, outcome) -> work.
//!
//! The cost of a run follows the change: where nothing can have become stale, nothing is sent.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::reconcile::desired::Frontend;
use crate::reconcile::rules::Rules;
use crate::reconcile::rules::change::Affected;

/// How soon after a failure it is worth trying again; twice as long after each more.
const RETRY: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_secs(60);

/// What a reconciler remembers of earlier runs, besides the history of frontends.
#[derive(Debug)]
pub(crate) struct Schedule {
    /// How long after a pass that deleted something its re-check is due; `None` for no re-check.
    pub(crate) recheck_delay: Option<Duration>,
    /// From the end of one pass to the start of the next, re-check included.
    pub(crate) min_interval: Duration,
    /// The rules of the last run, whether it made a pass or not.
    seen: Option<Rules>,
    /// Where entries may be stale that no pass has dealt with since. It only grows until one has:
    /// what a state in between allowed is stale even if the last state is like the first.
    pending: Affected,
    /// What a pass has deleted at is to be looked at once more: an entry whose first packet was in
    /// flight is in no dump until a moment later.
    recheck: Option<Recheck>,
    /// And what a pass has deleted at while that one was waiting.
    next_recheck: Option<Recheck>,
    /// When the minimum interval is over.
    not_before: Option<Instant>,
    /// When to see to what is pending.
    again: Option<Instant>,
    /// Runs that have failed since one succeeded.
    failures: u32,
}

#[derive(Debug)]
struct Recheck {
    due: Instant,
    at: Affected,
    /// Frontends that were removed for the pass before, and are to be judged as it judged them.
    removed: BTreeSet<Frontend>,
}

/// What a run has to do.
#[derive(Debug, Clone)]
pub(crate) struct Work {
    /// Where to look.
    pub(crate) at: Affected,
    /// The re-check of an earlier run is part of it.
    rechecks: bool,
    /// And more than that: what it deletes is to be looked at once more.
    fresh: bool,
    /// There is something to do, but not yet: `at` is nowhere, and this is where a change is.
    postponed: Option<Affected>,
}

impl Work {
    /// All of it, whatever was before.
    pub(crate) fn everything() -> Work {
        Work { at: Affected::Everything, rechecks: false, fresh: true, postponed: None }
    }

    pub(crate) fn is_postponed(&self) -> bool {
        self.postponed.is_some()
    }

    /// Where to look once more, if something was deleted here: at all that has changed, because what
    /// was in flight need not be where something was found. After a look at everything that is too
    /// much.
    pub(crate) fn recheck(&self, deleted: Affected) -> Affected {
        match &self.at {
            _ if deleted.is_nothing() => deleted,
            Affected::Everything => deleted,
            at => at.clone().or(deleted),
        }
    }
}

impl Schedule {
    /// Nothing has been looked at yet.
    pub(crate) fn new(recheck_delay: Duration) -> Schedule {
        Schedule {
            recheck_delay: Some(recheck_delay),
            min_interval: Duration::ZERO,
            seen: None,
            pending: Affected::Everything,
            recheck: None,
            next_recheck: None,
            not_before: None,
            again: None,
            failures: 0,
        }
    }

    /// The next run looks at everything, and is due.
    pub(crate) fn forget(&mut self, now: Instant) {
        self.pending = Affected::Everything;
        self.again = Some(now);
    }

    /// Frontends that re-checks to come have to judge as removed.
    pub(crate) fn awaited(&self) -> BTreeSet<Frontend> {
        let waiting = self.recheck.iter().chain(&self.next_recheck);
        waiting.flat_map(|recheck| recheck.removed.iter().copied()).collect()
    }

    /// When there will be something to do without a change of the desired state. `other` is what
    /// else waits for a moment.
    pub(crate) fn due(&self, other: Option<Instant>) -> Option<Instant> {
        let recheck = self.recheck.as_ref().map(|recheck| recheck.due);
        let due = recheck.into_iter().chain(other).chain(self.again).min()?;
        Some(self.not_before.map_or(due, |not_before| due.max(not_before)))
    }

    /// What to do for these rules at this moment.
    pub(crate) fn work(&self, rules: &Rules, now: Instant) -> Work {
        let pending = match &self.seen {
            Some(seen) => rules.change_since(seen).or(self.pending.clone()),
            None => Affected::Everything,
        };
        let fresh = !pending.is_nothing();
        let due = self.recheck.as_ref().filter(|recheck| recheck.due <= now);
        let at = due.map_or_else(|| pending.clone(), |due| due.at.clone().or(pending.clone()));
        let too_early = self.not_before.is_some_and(|not_before| now < not_before);
        if too_early && !at.is_nothing() {
            let (at, postponed) = (Affected::nothing(), Some(pending));
            return Work { at, rechecks: false, fresh: false, postponed };
        }
        Work { at, rechecks: due.is_some(), fresh, postponed: None }
    }

    /// Takes note of a run.
    pub(crate) fn done(&mut self, rules: Rules, work: Work, outcome: RunOutcome, now: Instant) {
        self.seen = Some(rules);
        if let Some(pending) = work.postponed {
            self.pending = pending;
            self.again = self.not_before;
            return;
        }
        if outcome.looked {
            self.not_before = Some(now + self.min_interval);
        }
        if !outcome.succeeded {
            let delay = RETRY * 2_u32.saturating_pow(self.failures.min(8));
            let again = now + delay.min(LONGEST_RETRY);
            self.failures += 1;
            self.pending = Affected::Everything;
            self.again = Some(again);
            // The next try serves as re-check, too, of this one and of those that wait.
            for waiting in self.recheck.iter_mut().chain(&mut self.next_recheck) {
                waiting.due = waiting.due.max(again);
            }
            return;
        }
        self.failures = 0;
        self.pending = Affected::nothing();
        self.again = None;
        let recheck = work.recheck(outcome.deleted);
        if work.rechecks {
            self.recheck = self.next_recheck.take();
        }
        // A re-check alone is not followed by another: what it found had been in flight.
        let found = !recheck.is_nothing() && work.fresh;
        if let (true, Some(delay)) = (found, self.recheck_delay) {
            // One that waits is not made to wait longer.
            let waiting = match self.recheck {
                None => &mut self.recheck,
                Some(_) => &mut self.next_recheck,
            };
            let (mut at, mut removed) = (recheck, outcome.removed);
            if let Some(before) = waiting.take() {
                at = before.at.or(at);
                removed.extend(before.removed);
            }
            *waiting = Some(Recheck { due: now + delay, at, removed });
        }
    }
}

/// What came of a run that was not postponed.
#[derive(Debug, Clone, Default)]
pub(crate) struct RunOutcome {
    /// The table was looked at.
    pub(crate) looked: bool,
    /// Nothing failed.
    pub(crate) succeeded: bool,
    /// Where entries were deleted.
    pub(crate) deleted: Affected,
    /// Frontends that the change of the state had removed.
    pub(crate) removed: BTreeSet<Frontend>,
}

#[cfg(test)]
mod tests;
