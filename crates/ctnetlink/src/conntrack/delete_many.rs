//! Deleting many entries that were dumped before.

use super::Conntrack;
use super::batch::{Batch, Outcome};
use super::tally::{Failure, Tally};
use crate::error::{Operation, Result};
use crate::model::flow::Flow;

impl Conntrack {
    /// Deletes many entries, each by reply tuple, zone and id as in [`delete`](Conntrack::delete),
    /// 200 to a datagram. A delete that fails does not stop the others.
    ///
    /// # Errors
    ///
    /// Only if nothing could be done at all, for instance without privilege. An error that affects
    /// one entry, or occurs later, is in the result.
    ///
    /// ```no_run
    /// # fn f(ct: &ctnetlink::Conntrack, flows: Vec<ctnetlink::Flow>) -> ctnetlink::Result<()> {
    /// let done = ct.delete_many(&flows)?;
    /// println!("{} deleted, {} already gone", done.deleted, done.already_gone);
    /// for at in done.failed_at {
    ///     eprintln!("still there: {}", flows[at]);
    /// }
    /// # Ok(()) }
    /// ```
    pub fn delete_many<'f, B: AsRef<[u8]> + 'f>(
        &self,
        flows: impl IntoIterator<Item = &'f Flow<B>>,
    ) -> Result<Deletions> {
        let mut tally = Tally::default();
        let mut failed_at = Vec::new();
        let mut add = |at: usize, outcome: Outcome| {
            if outcome.error().is_some() {
                failed_at.push(at);
            }
            tally.add(outcome);
            tally.total()
        };
        let mut batch = Batch::new();
        let mut positions = Vec::new();
        let mut judged = 0;
        let mut flows = flows.into_iter().enumerate().peekable();
        while let Some((at, flow)) = flows.next() {
            match batch.delete(flow) {
                Ok(()) => positions.push(at),
                Err(error) => judged = add(at, Outcome::Failed(error)),
            }
            if batch.is_full() || flows.peek().is_none() {
                let mut at = positions.drain(..);
                let nothing_yet = judged == 0;
                let executed = self.cancellers.check(Operation::Delete).and_then(|()| {
                    self.execute_each(&mut batch, |outcome| {
                        judged = add(at.next().unwrap_or_default(), outcome);
                    })
                });
                match executed {
                    Err(error) if nothing_yet => return Err(error),
                    // Refused as a whole: each of its deletes has failed.
                    Err(error) => {
                        at.for_each(|at| judged = add(at, Outcome::Failed(error.clone())));
                    }
                    Ok(()) => {}
                }
            }
        }
        failed_at.sort_unstable();
        let Tally { deleted, already_gone, unknown, failed, failures } = tally;
        Ok(Deletions { deleted, already_gone, unknown, failed, failures, failed_at })
    }
}

/// The result of [`Conntrack::delete_many`].
///
/// ```no_run
/// # fn f(ct: &ctnetlink::Conntrack, flows: &[ctnetlink::Flow]) -> ctnetlink::Result<()> {
/// let done = ct.delete_many(flows)?;
/// println!("{} deleted, {} had gone, {} failed", done.deleted, done.already_gone, done.failed);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Deletions {
    /// Deleted.
    pub deleted: u64,
    /// Already gone, or replaced. After an overrun of the receive buffer (impossible with the
    /// default size), this includes our own deletes whose answer was lost.
    pub already_gone: u64,
    /// The answer was lost, and asking again gave none either. Deletes are asked again, so this is
    /// 0 unless something is wrong with the socket.
    pub unknown: u64,
    /// Deletes that did not succeed. This includes entries without an id, which cannot be
    /// distinguished from their successors.
    pub failed: u64,
    /// Why deletes failed: the first few different reasons, each with its count.
    pub failures: Vec<Failure>,
    /// Positions of the entries that could not be deleted, from 0, in ascending order.
    pub failed_at: Vec<usize>,
}
