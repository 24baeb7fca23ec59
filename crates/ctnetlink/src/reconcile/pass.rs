//! One streamed pass of judgement over the table, both families at once.

use std::sync::Mutex;
use std::thread;

use super::progress::{Canceller, Progress, ProgressCallback};
use super::report::FamilyReport;
use super::rules::cover::Cover;
use super::rules::{Rules, Verdict};
use crate::conntrack::Conntrack;
use crate::conntrack::batch::Outcome;
use crate::conntrack::sweep::{Sweeper, sweep};
use crate::error::{Error, Operation};
use crate::filter::Filter;
use crate::model::flow::FlowRef;

/// Entries between two calls of the progress callback.
const PROGRESS_INTERVAL: u64 = 4096;

/// What the passes of a run have in common.
pub(super) struct Pass<'a> {
    pub(super) ct: &'a Conntrack,
    pub(super) rules: &'a Rules,
    pub(super) delete: bool,
    pub(super) canceller: &'a Canceller,
    pub(super) progress: &'a Mutex<Option<Box<ProgressCallback>>>,
}

impl Pass<'_> {
    /// Walks the families that have a filter, and says for each what the stale entries had in
    /// common. What stops a walk is noted in its report.
    pub(super) fn run(
        &self,
        filters: &[Option<Filter>; 2],
        [ipv4, ipv6]: &mut [FamilyReport; 2],
    ) -> [Cover; 2] {
        match filters {
            // The kernel walks the whole table for either family: two at once take the time of one.
            // (Up to its first full datagram a dump keeps others out, nfnl_lock; from then on not.)
            [Some(filter4), Some(filter6)] => {
                let mut cover6 = None;
                let cover4 = thread::scope(|scope| {
                    let other = thread::Builder::new()
                        .name("ctnetlink-ipv6".into())
                        .spawn_scoped(scope, || cover6 = Some(self.walk(filter6, ipv6)));
                    let cover4 = self.walk(filter4, ipv4);
                    if let Ok(Err(panic)) = other.map(thread::ScopedJoinHandle::join) {
                        std::panic::resume_unwind(panic);
                    }
                    cover4
                });
                // Where there cannot be another thread, one does both.
                [cover4, cover6.unwrap_or_else(|| self.walk(filter6, ipv6))]
            }
            [filter4, filter6] => [
                filter4.as_ref().map_or_else(Cover::default, |filter| self.walk(filter, ipv4)),
                filter6.as_ref().map_or_else(Cover::default, |filter| self.walk(filter, ipv6)),
            ],
        }
    }

    fn walk(&self, filter: &Filter, report: &mut FamilyReport) -> Cover {
        report.passes += 1;
        let before = report.received;
        let mut walk = Walk {
            pass: self,
            report,
            cover: Cover::default(),
            before,
            next_call: before + PROGRESS_INTERVAL,
        };
        let dump = match self.canceller.is_cancelled() {
            true => Err(Error::Cancelled { operation: Operation::Dump }),
            false => self.ct.dump(filter),
        };
        let result = dump.and_then(|dump| {
            if walk.report.passes == 1 {
                walk.report.pushdown = dump.pushdown().to_owned();
            }
            sweep(self.ct, dump, self.delete, &mut walk)
        });
        let cover = walk.cover;
        if let Err(error) = result {
            report.error.get_or_insert(error);
        }
        report.close_pass(!self.delete);
        self.tell(report);
        cover
    }

    fn tell(&self, report: &FamilyReport) {
        // A callback that has panicked is not called again.
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
    report: &'a mut FamilyReport,
    /// What the stale entries have in common.
    cover: Cover,
    /// Entries received before this pass.
    before: u64,
    /// The progress callback is due when so many are received.
    next_call: u64,
}

impl Sweeper for Walk<'_> {
    fn judge(&mut self, flow: &FlowRef<'_>) -> bool {
        let Verdict::Stale(reason) = self.pass.rules.verdict(flow) else { return false };
        self.report.found(flow, reason);
        self.cover.add(flow);
        true
    }

    fn received(&mut self, entries: u64) {
        self.report.received = self.before + entries;
        if self.report.received >= self.next_call {
            self.next_call = self.report.received + PROGRESS_INTERVAL;
            self.pass.tell(self.report);
        }
    }

    fn is_cancelled(&self) -> bool {
        self.pass.canceller.is_cancelled()
    }

    fn deleted(&mut self, outcome: Outcome) {
        self.report.tally.add(outcome);
    }
}
