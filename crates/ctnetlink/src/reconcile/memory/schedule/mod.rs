//! When a reconciler looks at what: a pure state machine, (state, rules, outcome) -> work.
//!
//! The cost of a run follows the change: where nothing can have become stale, nothing is sent.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::reconcile::desired::service::Frontend;
use crate::reconcile::rules::Rules;
use crate::reconcile::rules::change::Affected;

/// How soon after a failure to try again. The delay doubles with each further failure, up to the
/// longest.
const RETRY: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_secs(60);
/// The longest delay of a re-check: it doubles each time a re-check deletes something.
const LONGEST_RECHECK: Duration = Duration::from_secs(60);
/// Passes over everything take at most one part in this many of the time.
const FULL_PASS_SHARE: u32 = 100;

/// What a reconciler remembers of earlier runs, besides the history of frontends.
#[derive(Debug)]
pub(crate) struct Schedule {
    /// How long after a pass its re-check is due; `None` for no re-check.
    pub(crate) recheck_delay: Option<Duration>,
    /// How often to look at everything; `None` for only on request.
    pub(crate) resync: Option<Duration>,
    /// How early or late a resync is, from -1 to 1 tenths of the interval, so that the nodes of a
    /// cluster do not all do it at once.
    jitter: f64,
    /// When everything is to be looked at again.
    next_resync: Option<Instant>,
    /// The minimum time from the end of one pass to the start of the next, which may be a re-check.
    pub(crate) min_interval: Duration,
    /// The rules of the last run, whether it made a pass or not.
    seen: Option<Rules>,
    /// Where entries may be stale that no pass has dealt with yet. It only grows until a pass has:
    /// what a state in between allowed is stale even if the last state equals the first.
    pending: Affected,
    /// Where something has changed for which no pass with a re-check has succeeded yet.
    changed: Affected,
    /// Where to look once more after a pass: an entry whose first packet was in flight appears in dumps
    /// only a moment later.
    recheck: Option<Recheck>,
    /// The re-check of passes that something new was the reason for while that one was waiting.
    next_recheck: Option<Recheck>,
    /// When the minimum interval is over.
    not_before: Option<Instant>,
    /// When to deal with what is pending.
    again: Option<Instant>,
    /// How many runs have failed since the last one that succeeded.
    failures: u32,
    /// A state was refused: until when nothing is due, and how long that is.
    refused: Option<(Instant, Duration)>,
}

#[derive(Debug)]
struct Recheck {
    due: Instant,
    /// How long after the previous pass it was due.
    delay: Duration,
    at: Affected,
    /// Frontends that the pass before judged as removed. The re-check judges them in the same way.
    removed: BTreeSet<Frontend>,
}

/// What a run has to do.
#[derive(Debug, Clone)]
pub(crate) struct Work {
    /// Where to look.
    pub(crate) at: Affected,
    /// Re-checks of earlier runs that were due at this moment are part of it.
    rechecks: Option<Instant>,
    /// There is more to it than a re-check, so what it deletes has to be re-checked.
    fresh: bool,
    /// There is something to do, but not yet: `at` is nowhere, and this is where the change is.
    postponed: Option<Affected>,
    /// Where something has changed, even if the look is at everything.
    changed: Affected,
}

impl Work {
    /// A look at everything, whatever happened before.
    pub(crate) fn everything(changed: Affected) -> Work {
        Work { at: Affected::Everything, rechecks: None, fresh: true, postponed: None, changed }
    }

    pub(crate) fn is_postponed(&self) -> bool {
        self.postponed.is_some()
    }

    /// Whether there is more to look at than what an earlier run left.
    pub(crate) fn is_fresh(&self) -> bool {
        self.fresh
    }

    /// Where to look once more: everywhere that something has changed. What was in flight need not
    /// be where something was found, and it may have been in flight even if nothing was found.
    /// After a look at everything that would be too much, so only where something has changed or was
    /// found.
    pub(crate) fn recheck(&self, found: Affected) -> Affected {
        match &self.at {
            Affected::Everything => self.changed.clone().or(found),
            at => at.clone().or(found),
        }
    }
}

impl Schedule {
    /// A schedule by which nothing has been looked at yet.
    pub(crate) fn new(recheck_delay: Duration, jitter: f64) -> Schedule {
        Schedule {
            recheck_delay: Some(recheck_delay),
            resync: None,
            jitter,
            next_resync: None,
            min_interval: Duration::ZERO,
            seen: None,
            pending: Affected::Everything,
            changed: Affected::nothing(),
            recheck: None,
            next_recheck: None,
            not_before: None,
            again: None,
            failures: 0,
            refused: None,
        }
    }

    /// Takes note of a state that was refused: nothing is due for a moment, which doubles each time.
    pub(crate) fn refuse(&mut self, now: Instant) {
        let wait = self.refused.map_or(RETRY, |(_, waited)| LONGEST_RETRY.min(waited * 2));
        self.refused = Some((now + wait, wait));
    }

    /// The rules of the last run.
    pub(crate) fn seen(&self) -> Option<&Rules> {
        self.seen.as_ref()
    }

    /// The next run looks at everything, and is due.
    pub(crate) fn forget(&mut self, now: Instant) {
        self.pending = Affected::Everything;
        self.again = Some(now);
    }

    /// Frontends that the waiting re-checks have to judge as removed.
    pub(crate) fn awaited(&self) -> BTreeSet<Frontend> {
        let waiting = self.recheck.iter().chain(&self.next_recheck);
        waiting.flat_map(|recheck| recheck.removed.iter().copied()).collect()
    }

    /// When there will be something to do even if the desired state does not change. `other` is the
    /// time of something else to do, such as the end of a grace time.
    pub(crate) fn due(&self, other: Option<Instant>) -> Option<Instant> {
        let rechecks = self.recheck.iter().chain(&self.next_recheck).map(|recheck| recheck.due);
        let due = rechecks.chain(other).chain(self.again).chain(self.next_resync).min()?;
        let refused = self.refused.map(|(until, _)| until);
        Some(self.not_before.into_iter().chain(refused).fold(due, Instant::max))
    }

    /// What to do for these rules at this moment. `changed` is where something has changed since the
    /// last run; `also` is what has to be looked at for other reasons.
    pub(crate) fn work(&self, changed: Affected, also: Affected, now: Instant) -> Work {
        let resync = self.next_resync.is_some_and(|next| next <= now);
        let changed = changed.or(self.changed.clone());
        let pending = match &self.seen {
            Some(_) if !resync => changed.clone().or(self.pending.clone()).or(also),
            _ => Affected::Everything,
        };
        let fresh = !pending.is_nothing();
        let waiting = self.recheck.iter().chain(&self.next_recheck);
        let due = waiting.filter(|recheck| recheck.due <= now).map(|recheck| recheck.at.clone());
        let due = due.reduce(Affected::or);
        let rechecks = due.is_some().then_some(now);
        let at = due.map_or_else(|| pending.clone(), |due| due.or(pending.clone()));
        let too_early = self.not_before.is_some_and(|not_before| now < not_before);
        if too_early && !at.is_nothing() {
            let (at, postponed) = (Affected::nothing(), Some(pending));
            return Work { at, rechecks: None, fresh: false, postponed, changed };
        }
        Work { at, rechecks, fresh, postponed: None, changed }
    }

    /// Records a run: what is left to do after it, and when.
    pub(crate) fn done(&mut self, rules: Rules, work: Work, outcome: RunOutcome, now: Instant) {
        self.seen = Some(rules);
        self.refused = None;
        if let Some(pending) = work.postponed {
            // The next run compares with these rules, so it would not find this change again.
            self.pending = pending;
            self.changed = work.changed;
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
            // Nobody knows how far the run got.
            self.pending = Affected::Everything;
            self.changed = work.changed;
            self.again = Some(again);
            self.next_resync = self.next_resync.map(|next| next.max(again));
            // The next try looks at everything, so it is also the re-check of this run and of those
            // that wait. Before it, they need not run.
            for waiting in self.recheck.iter_mut().chain(&mut self.next_recheck) {
                waiting.due = waiting.due.max(again);
            }
            return;
        }
        self.failures = 0;
        self.pending = Affected::nothing();
        self.changed = Affected::nothing();
        self.again = None;
        if let (Affected::Everything, Some(interval)) = (&work.at, self.resync) {
            let jittered = interval.mul_f64(1.0 + self.jitter.clamp(-1.0, 1.0) / 10.0);
            self.next_resync = Some(now + jittered.max(outcome.took * FULL_PASS_SHARE));
        }
        let waiting = [self.recheck.take(), self.next_recheck.take()].into_iter().flatten();
        let was_due = |recheck: &Recheck| work.rechecks.is_some_and(|at| recheck.due <= at);
        let (rechecked, left): (Vec<_>, Vec<_>) = waiting.partition(was_due);
        let mut left = left.into_iter();
        (self.recheck, self.next_recheck) = (left.next(), left.next());
        let Some(delay) = self.recheck_delay else { return };
        // Level-triggered: after a pass that looked because something changed there is a re-check
        // whatever it found. A re-check that finds something is followed by another, twice as late:
        // the rules may be late, and somebody may still talk by the old ones.
        let doubled = |delay: Duration| (delay * 2).clamp(delay, LONGEST_RECHECK.max(delay));
        let before = rechecked.iter().map(|recheck| recheck.delay).max();
        let first = outcome.rechecked.is_none() && work.fresh;
        let (at, delay) = match outcome.rechecked {
            Some(found) => (found, doubled(delay)),
            None if work.fresh => (work.recheck(outcome.found), delay),
            None => (outcome.found, before.map_or(delay, doubled)),
        };
        if at.is_nothing() {
            return;
        }
        let mut removed = outcome.removed;
        removed.extend(rechecked.into_iter().flat_map(|recheck| recheck.removed));
        // A row of re-checks can be long. Whoever owns a frontend by then is not known here, so one
        // that is clean is let go.
        if !first {
            removed.retain(|frontend| outcome.removed_at.contains(frontend));
        }
        // One that waits is not made to wait longer. What a re-check leaves goes along with it, so that
        // there are never two rows of re-checks.
        let waiting = match self.recheck {
            Some(_) if work.fresh => &mut self.next_recheck,
            _ => &mut self.recheck,
        };
        let mut next = Recheck { due: now + delay, delay, at, removed };
        if let Some(before) = waiting.take() {
            next.at = before.at.or(next.at);
            next.removed.extend(before.removed);
            if !work.fresh {
                (next.due, next.delay) = (before.due, next.delay.max(before.delay));
            }
        }
        *waiting = Some(next);
    }
}

/// The result of a run that was not postponed.
#[derive(Debug, Clone, Default)]
pub(crate) struct RunOutcome {
    /// The table was looked at.
    pub(crate) looked: bool,
    /// Nothing failed.
    pub(crate) succeeded: bool,
    /// Where entries were deleted, or are suspect.
    pub(crate) found: Affected,
    /// The re-check was part of the run, and this is where it found something.
    pub(crate) rechecked: Option<Affected>,
    /// Frontends that the change of the state had removed.
    pub(crate) removed: BTreeSet<Frontend>,
    /// Removed frontends of which the last look deleted entries.
    pub(crate) removed_at: BTreeSet<Frontend>,
    /// How long the passes took, without the wait in between.
    pub(crate) took: Duration,
}

#[cfg(test)]
mod tests;
