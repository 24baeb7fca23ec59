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
use std::time::Instant;

use self::comebacks::Comebacks;
use self::evidence::Evidence;
use self::grace::Grace;
use self::history::History;
use self::schedule::{RunOutcome, Schedule, Work};
use crate::filter::Filter;
use crate::reconcile::desired::DesiredState;
use crate::reconcile::desired::service::Frontend;
use crate::reconcile::rules::{Rules, Spared};
use crate::reconcile::scope::Scope;

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
        self.schedule.due(self.grace.ends.into_iter().chain(self.evidence.fetch()).min())
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
        let unknown = self.history.unknown(desired, scope.profile);
        let compile = |given_up: &BTreeSet<Frontend>| {
            Rules::compile(desired, removed.clone(), &unknown, scope, &spared, given_up)
        };
        let mut comebacks = self.comebacks.clone();
        let given_up = comebacks.given_up();
        let mut rules = compile(&given_up);
        let mut also = self.evidence.settled_by(desired);
        if !given_up.is_empty() {
            let tried_again = comebacks.forget_changed(&rules, self.schedule.seen());
            if !tried_again.is_nothing() {
                rules = compile(&comebacks.given_up());
                also = also.or(tried_again);
            }
        }
        let changed = match (self.schedule.seen(), self.history.previous()) {
            (Some(seen), _) => rules.change_since(seen),
            // The first run of a process.
            (None, Some(previous)) => {
                let nothing = BTreeSet::new();
                let spared = Spared::default();
                let before =
                    Rules::compile(previous, nothing.iter(), &nothing, scope, &spared, &nothing);
                rules.change_since(&before)
            }
            (None, None) => rules.published_places(),
        };
        let work = match everything {
            true => Work::everything(changed),
            false => self.schedule.work(changed, also, now),
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
        self.evidence.settle(desired, outcome.succeeded && !plan.work.is_postponed(), now);
        match plan.work.is_postponed() {
            true => self.history.postpone(desired),
            false => self.history.record(desired, outcome.succeeded),
        }
        self.grace = plan.grace;
        self.schedule.done(plan.rules, plan.work, outcome, now);
        self.history.await_recheck(self.schedule.awaited());
    }
}
