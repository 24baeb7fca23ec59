//! All that a reconciler remembers, and what it makes of a desired state: pure, with the caller's
//! clock.

pub(crate) mod grace;
pub(crate) mod history;
pub(crate) mod schedule;

use std::collections::BTreeSet;
use std::time::Instant;

use self::grace::Grace;
use self::history::History;
use self::schedule::{RunOutcome, Schedule, Work};
use crate::filter::Filter;
use crate::reconcile::desired::{DesiredState, Frontend};
use crate::reconcile::rules::Rules;
use crate::reconcile::rules::change::Affected;
use crate::reconcile::scope::Scope;

/// What earlier runs have left, in three parts that know nothing of each other.
#[derive(Debug)]
pub(crate) struct Memory {
    pub(crate) history: History,
    pub(crate) schedule: Schedule,
    pub(crate) grace: Grace,
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
}

impl Memory {
    pub(crate) fn new(schedule: Schedule) -> Memory {
        Memory { history: History::default(), schedule, grace: Grace::default() }
    }

    /// When there will be something to do without a change of the desired state.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.schedule.due(self.grace.ends)
    }

    /// What to do for this state at this moment; everything in any case, or what has to be.
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
        let rules = Rules::compile(desired, removed, scope, &spared);
        let work = match everything {
            true => Work::everything(),
            false => self.schedule.work(&rules, now),
        };
        let filters = work.at.filters(&rules);
        RunPlan { rules, work, filters, in_grace: spared.len(), grace, vanished }
    }

    /// Takes note of what came of a plan: whether nothing failed, and where entries were deleted.
    pub(crate) fn settle(
        &mut self,
        desired: &DesiredState,
        plan: RunPlan,
        succeeded: bool,
        deleted: Affected,
        now: Instant,
    ) {
        let outcome = RunOutcome {
            looked: plan.filters.iter().any(Option::is_some),
            succeeded,
            deleted,
            removed: plan.vanished,
        };
        match plan.work.is_postponed() {
            true => self.history.postpone(desired),
            false => self.history.record(desired, succeeded),
        }
        self.grace = plan.grace;
        self.schedule.done(plan.rules, plan.work, outcome, now);
        self.history.await_recheck(self.schedule.awaited());
    }
}
