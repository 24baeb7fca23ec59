//! One streamed walk that deletes: dump, judge, delete in batches, keep nothing.

use super::Conntrack;
use super::batch::{Batch, Outcome};
use super::dump::{Dump, Step};
use crate::error::Result;
use crate::model::flow::FlowRef;

/// The caller's part of a sweep: judges each entry, and receives the outcome of each delete.
pub(crate) trait Sweeper {
    /// Whether to delete this entry. Called for each entry that matches the dump's filter.
    fn judge(&mut self, flow: &FlowRef<'_>) -> bool;

    /// How many entries the dump has brought so far, matching or not.
    fn received(&mut self, entries: u64);

    /// Receives the outcome of the delete of one entry.
    fn deleted(&mut self, outcome: Outcome);
}

/// Walks a dump to its end. With `delete`, the entries that the sweeper wants deleted are deleted
/// by reply tuple, zone and id as dumped, while the walk goes on.
///
/// # Errors
///
/// The error that ended the walk early. Entries judged before it were dealt with.
pub(crate) fn sweep(
    ct: &Conntrack,
    mut dump: Dump,
    delete: bool,
    sweeper: &mut impl Sweeper,
) -> Result<()> {
    let mut batch = Batch::new();
    let streamed = stream(ct, &mut dump, delete, sweeper, &mut batch);
    // Even after an error: entries judged before it are still to be deleted.
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
                if sweeper.judge(flow) && delete {
                    if let Err(error) = batch.delete(flow) {
                        sweeper.deleted(Outcome::Failed(error));
                    }
                }
                Ok(true)
            }
            Ok(Step::Datagram) => Ok(true),
            Ok(Step::End) => Ok(false),
            Err(_) => step.map(|_| false),
        };
        // Entries that came before an error count too.
        sweeper.received(dump.received());
        if !more? {
            return Ok(());
        }
        if batch.is_full() {
            execute(ct, batch, sweeper)?;
        }
    }
}

/// Sends the collected deletes. If the batch is refused as a whole, each of its deletes has failed.
fn execute(ct: &Conntrack, batch: &mut Batch, sweeper: &mut impl Sweeper) -> Result<()> {
    let pending = batch.len();
    let executed = ct.execute_each(batch, |outcome| sweeper.deleted(outcome));
    if let Err(error) = &executed {
        (0..pending).for_each(|_| sweeper.deleted(Outcome::Failed(error.clone())));
    }
    executed
}
