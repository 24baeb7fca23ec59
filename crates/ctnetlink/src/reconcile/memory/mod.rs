//! Everything a reconciler remembers between runs, and how it plans a run from a desired state.
//! Pure: the time comes from the caller.

pub(crate) mod comebacks;
pub(crate) mod evidence;
pub(crate) mod grace;
pub(crate) mod history;
pub(crate) mod schedule;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use self::comebacks::Comebacks;
use self::evidence::Evidence;
use self::grace::Grace;
use self::history::History;
use self::schedule::{RunOutcome, Schedule, Work};
use crate::filter::Filter;
use crate::reconcile::desired::DesiredState;
use crate::reconcile::desired::service::Frontend;
use crate::reconcile::rules::Rules;
use crate::reconcile::scope::Scope;

/// How long after something went into quarantine a fresh state is asked for.
const FETCH_AGAIN: Duration = Duration::from_secs(1);

/// What is remembered of earlier runs, in independent parts.
#[derive(Debug)]
pub(crate) struct Memory {
    pub(crate) history: History,
    pub(crate) schedule: Schedule,
    pub(crate) grace: Grace,
    pub(crate) evidence: Evidence,
    pub(crate) comebacks: Comebacks,
}

/// What a run has to do.
#[derive(Debug)]
pub(crate) struct RunPlan {
    pub(crate) rules: Rules,
    pub(crate) work: Work,
    /// Where to look, by family; `None` for nowhere.
    pub(crate) filters: [Option<Filter>; 2],
    /// Endpoints in their grace time.
    pub(crate) in_grace: usize,
    grace: Grace,
    /// Frontends that the change of the state has removed.
    vanished: BTreeSet<Frontend>,
    pub(crate) comebacks: Comebacks,
}

impl Memory {
    pub(crate) fn new(schedule: Schedule) -> Memory {
        Memory {
            history: History::default(),
            schedule,
            grace: Grace::default(),
            evidence: Evidence::default(),
            comebacks: Comebacks::default(),
        }
    }

    /// When there will be something to do even if the desired state does not change.
    pub(crate) fn due(&self) -> Option<Instant> {
        // A state that is fetched now can settle what has been in quarantine for a moment.
        let fetch = self.evidence.waiting_since().map(|since| since + FETCH_AGAIN);
        self.schedule.due(self.grace.ends.into_iter().chain(fetch).min())
    }

    /// Plans a run for this state at this moment: a look at everything if that is asked for, else
    /// at what is needed.
    pub(crate) fn plan(
        &self,
        desired: &DesiredState,
        scope: &Scope,
        now: Instant,
        everything: bool,
    ) -> RunPlan {
        let grace = self.grace.after(desired, scope, now);
        let spared = grace.spared(now);
        let vanished = self.history.vanished(desired, scope.profile);
        let removed = vanished.iter().chain(self.history.awaited());
        let compile = |given_up: &BTreeSet<Frontend>| {
            Rules::compile(desired, removed.clone(), scope, &spared, given_up)
        };
        let mut comebacks = self.comebacks.clone();
        let given_up = comebacks.given_up();
        let mut rules = compile(&given_up);
        if !given_up.is_empty() {
            comebacks.forget_changed(&rules, self.schedule.seen());
            if comebacks.given_up() != given_up {
                rules = compile(&comebacks.given_up());
            }
        }
        let work = match everything {
            true => Work::everything(),
            false => self.schedule.work(&rules, self.evidence.settled_by(desired), now),
        };
        let filters = work.at.filters(&rules);
        RunPlan { rules, work, filters, in_grace: spared.len(), grace, vanished, comebacks }
    }

    /// Records the result of a plan.
    pub(crate) fn settle(
        &mut self,
        desired: &DesiredState,
        plan: RunPlan,
        outcome: RunOutcome,
        now: Instant,
    ) {
        let outcome = RunOutcome {
            looked: plan.filters.iter().any(Option::is_some),
            removed: plan.vanished,
            ..outcome
        };
        self.evidence.settle(self.history.previous(), desired);
        match plan.work.is_postponed() {
            true => self.history.postpone(desired),
            false => self.history.record(desired, outcome.succeeded),
        }
        self.grace = plan.grace;
        self.schedule.done(plan.rules, plan.work, outcome, now);
        self.history.await_recheck(self.schedule.awaited());
    }
}
