//! One streamed pass of judgement over the table, both families at once.

use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use super::desired::DesiredState;
use super::memory::comebacks::Removed;
use super::memory::evidence::{Evidence, Learned, Look};
use super::progress::{Progress, ProgressCallback};
use super::report::FamilyReport;
use super::rules::cover::Cover;
use super::rules::{Judgement, Reason, Rules};
use crate::conntrack::Conntrack;
use crate::conntrack::batch::Outcome;
use crate::conntrack::sweep::{Sweeper, sweep};
use crate::error::Error;
use crate::filter::Filter;
use crate::model::flow::FlowRef;

/// Entries between two calls of the progress callback.
const PROGRESS_INTERVAL: u64 = 4096;
/// Groups of deleted entries that a pass remembers for each family.
pub(super) const REMOVED_KEPT: usize = 64;
/// Walks of a family in a pass, if the kernel's hash table is resized during each.
const WALKS: u32 = 3;

/// What the passes of a run have in common.
pub(super) struct Pass<'a> {
    pub(super) ct: &'a Conntrack,
    pub(super) rules: &'a Rules,
    pub(super) desired: &'a DesiredState,
    pub(super) delete: bool,
    /// How long an entry has to have been suspect before it is deleted.
    pub(super) suspicion: Option<Duration>,
    pub(super) progress: &'a Mutex<Option<Box<ProgressCallback>>>,
}

/// What a pass has found in a family.
#[derive(Default)]
pub(super) struct Found {
    /// What the stale entries have in common.
    pub(super) stale: Cover,
    /// What the suspect entries have in common.
    pub(super) suspect: Cover,
    pub(super) removed: Vec<Removed>,
    /// `None` if the family was not walked.
    pub(super) learned: Option<Learned>,
}

impl Pass<'_> {
    /// Walks the families that have a filter. An error that stops a walk is stored in the family's
    /// report. The second look of a dry run counts `only_suspects`, because everything else has
    /// been counted before.
    pub(super) fn run(
        &self,
        filters: &[Option<Filter>; 2],
        [ipv4, ipv6]: &mut [FamilyReport; 2],
        evidence: &Evidence,
        only_suspects: bool,
    ) -> [Found; 2] {
        let started = Instant::now();
        let walk = |filter: &Filter, report: &mut FamilyReport| {
            let look = evidence.look(report.family, self.desired, self.suspicion, started);
            self.walk(filter, report, look, only_suspects)
        };
        match filters {
            // The kernel walks the whole table for each family, so two walks at once take the time
            // of one. (A dump holds nfnl_lock, and keeps others waiting, only until its first full
            // datagram.)
            [Some(filter4), Some(filter6)] => {
                let mut found6 = None;
                let mut found4 = thread::scope(|scope| {
                    let other = thread::Builder::new()
                        .name("ctnetlink-ipv6".into())
                        .spawn_scoped(scope, || found6 = Some(walk(filter6, ipv6)));
                    let found4 = walk(filter4, ipv4);
                    if let Ok(Err(panic)) = other.map(thread::ScopedJoinHandle::join) {
                        std::panic::resume_unwind(panic);
                    }
                    found4
                });
                // If no other thread could be started, this one walks both families.
                let mut found6 = found6.unwrap_or_else(|| walk(filter6, ipv6));
                // Nor can there be two sockets at once where the process has one descriptor left.
                for (filter, report, found) in
                    [(filter4, ipv4, &mut found4), (filter6, ipv6, &mut found6)]
                {
                    if report.forget_lack_of_descriptors() {
                        *found = walk(filter, report);
                    }
                }
                [found4, found6]
            }
            [filter4, filter6] => [
                filter4.as_ref().map_or_else(Found::default, |filter| walk(filter, ipv4)),
                filter6.as_ref().map_or_else(Found::default, |filter| walk(filter, ipv6)),
            ],
        }
    }

    fn walk(
        &self,
        filter: &Filter,
        report: &mut FamilyReport,
        look: Look<'_>,
        only_suspects: bool,
    ) -> Found {
        report.begin_pass();
        let mut found = Found::default();
        let mut walk = Walk {
            pass: self,
            look,
            only_suspects,
            found: &mut found,
            before: report.received,
            next_call: report.received + PROGRESS_INTERVAL,
            report,
        };
        let mut result = walk.once(filter);
        for _ in 1..WALKS {
            // The hash table was resized meanwhile: entries may have been missed.
            let Err(Error::DumpInterrupted) = &result else { break };
            walk.before = walk.report.received;
            walk.report.count_again(!self.delete);
            result = walk.once(filter);
        }
        let learned = walk.look.learned();
        found.learned = Some(learned);
        if let Err(error) = result {
            report.error.get_or_insert(error);
        }
        report.close_pass(!self.delete);
        self.tell(report);
        found
    }

    fn tell(&self, report: &FamilyReport) {
        // A callback that has panicked has poisoned the lock, and is not called again.
        let Ok(mut progress) = self.progress.lock() else { return };
        if let Some(callback) = &mut *progress {
            callback(&Progress {
                family: report.family,
                pass: report.passes,
                received: report.received,
                stale: report.reasons.total(),
            });
        }
    }
}

/// A walk over one family.
struct Walk<'a> {
    pass: &'a Pass<'a>,
    look: Look<'a>,
    only_suspects: bool,
    found: &'a mut Found,
    report: &'a mut FamilyReport,
    /// Entries received before this walk.
    before: u64,
    /// The number of received entries at which the progress callback is called next.
    next_call: u64,
}

impl Walk<'_> {
    fn once(&mut self, filter: &Filter) -> Result<(), Error> {
        let dump = self.pass.ct.dump(filter)?;
        self.report.begun = true;
        if self.report.passes == 1 {
            self.report.pushdown = dump.pushdown().to_owned();
        }
        sweep(self.pass.ct, dump, self.pass.delete, self)
    }

    fn stale(&mut self, flow: &FlowRef<'_>, reason: Reason) -> bool {
        self.report.found(flow, reason);
        self.found.stale.add(flow);
        let frontend = FamilyReport::frontend_of(flow);
        let known = |removed: &Removed| (removed.frontend, removed.reason) == (frontend, reason);
        if self.found.removed.len() < REMOVED_KEPT && !self.found.removed.iter().any(known) {
            let backend = flow.reply().source();
            self.found.removed.push(Removed { frontend, backend, reason });
        }
        true
    }
}

impl Sweeper for Walk<'_> {
    fn judge(&mut self, flow: &FlowRef<'_>) -> bool {
        match self.pass.rules.judge(flow) {
            Judgement::Keep => false,
            Judgement::OtherZone => {
                self.report.other_zones += 1;
                false
            }
            Judgement::GivenUp => {
                self.report.given_up += 1;
                false
            }
            Judgement::Stale(_) if self.only_suspects => false,
            Judgement::Stale(reason @ (Reason::BackendGone | Reason::BackendPortChanged)) => {
                let pair = (FamilyReport::frontend_of(flow), flow.reply().source());
                if self.look.proves(pair) {
                    return self.stale(flow, reason);
                }
                self.report.quarantined += 1;
                false
            }
            Judgement::Stale(reason) => self.stale(flow, reason),
            Judgement::Suspect(reason) => {
                if self.look.confirms(flow.id(), FamilyReport::frontend_of(flow)) {
                    return self.stale(flow, reason);
                }
                self.report.suspect += 1;
                self.found.suspect.add(flow);
                false
            }
        }
    }

    fn received(&mut self, entries: u64) {
        self.report.received = self.before + entries;
        if self.report.received >= self.next_call {
            self.next_call = self.report.received + PROGRESS_INTERVAL;
            self.pass.tell(self.report);
        }
    }

    fn deleted(&mut self, outcome: Outcome) {
        self.report.tally.add(outcome);
    }
}
