//! One streamed walk that deletes: dump, judge, delete in batches, keep nothing.

use super::Conntrack;
use super::batch::{Batch, Outcome};
use super::dump::{Dump, Step};
use crate::error::{Error, Operation, Result};
use crate::model::flow::FlowRef;

/// Who sweeps: judges each entry, and is told what became of it.
pub(crate) trait Sweeper {
    /// Whether this entry is to go. Called for each that matches the dump's filter.
    fn judge(&mut self, flow: &FlowRef<'_>) -> bool;

    /// How many entries the dump has brought so far, matching or not.
    fn received(&mut self, entries: u64);

    /// Whether to end the walk here. What was judged until now is dealt with.
    fn is_cancelled(&self) -> bool {
        false
    }

    /// What became of one that was to go, in the order of judgement.
    fn deleted(&mut self, outcome: Outcome);
}

/// Walks a dump to its end. With `delete`, what is to go is deleted by reply tuple, zone and id as
/// dumped, while the walk goes on.
///
/// # Errors
///
/// What ended the walk early. What was judged until then was dealt with.
pub(crate) fn sweep(
    ct: &Conntrack,
    mut dump: Dump,
    delete: bool,
    sweeper: &mut impl Sweeper,
) -> Result<()> {
    let mut batch = Batch::new();
    let streamed = stream(ct, &mut dump, delete, sweeper, &mut batch);
    // Also after an error: what was judged up to there is to go.
    streamed.and(execute(ct, &mut batch, sweeper))
}

fn stream(
    ct: &Conntrack,
    dump: &mut Dump,
    delete: bool,
    sweeper: &mut impl Sweeper,
    batch: &mut Batch,
) -> Result<()> {
    loop {
        let step = dump.step();
        let more = match &step {
            Ok(Step::Entry(flow)) => {
                if sweeper.judge(flow)
                    && delete
                    && let Err(error) = batch.delete(flow)
                {
                    sweeper.deleted(Outcome::Failed(error));
                }
                Ok(true)
            }
            Ok(Step::Datagram) => Ok(true),
            Ok(Step::End) => Ok(false),
            Err(_) => step.map(|_| false),
        };
        // Whatever came counts, also before an error.
        sweeper.received(dump.received());
        if !more? {
            return Ok(());
        }
        if sweeper.is_cancelled() {
            return Err(Error::Cancelled { operation: Operation::Dump });
        }
        if batch.is_full() {
            execute(ct, batch, sweeper)?;
        }
    }
}

/// Sends the deletes that have been collected. A batch that is refused as a whole has failed in each
/// of its deletes.
fn execute(ct: &Conntrack, batch: &mut Batch, sweeper: &mut impl Sweeper) -> Result<()> {
    let pending = batch.len();
    let executed = ct.execute_each(batch, |outcome| sweeper.deleted(outcome));
    if let Err(error) = &executed {
        (0..pending).for_each(|_| sweeper.deleted(Outcome::Failed(error.clone())));
    }
    executed
}
