//! Operations on entries, many to a datagram, each with its own outcome.

use crate::error::{Error, Operation, Result};
use crate::model::flow::Flow;
use crate::model::key::Key;
use crate::model::new_entry::{Change, NewEntry};
use crate::request::{self, entry};
use crate::transport::answer::Answer;
use crate::transport::command::Command;

/// Requests per datagram. An error reply is charged 832 bytes of receive buffer, so the default
/// buffer of 212992 bytes holds 256 of them; more requests per datagram gain nothing.
pub(crate) const LIMIT: usize = 200;

/// The outcome of one operation of a [`Batch`].
///
/// ```no_run
/// # fn f(ct: &ctnetlink::Conntrack, mut batch: ctnetlink::Batch) -> ctnetlink::Result<()> {
/// use ctnetlink::Outcome;
/// for (at, outcome) in ct.execute(&mut batch)?.into_iter().enumerate() {
///     match outcome {
///         Outcome::Done | Outcome::NotFound => {}
///         Outcome::Failed(error) => eprintln!("operation {at}: {error}"),
///         other => eprintln!("operation {at}: {other:?}"),
///     }
/// }
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Outcome {
    /// The operation is done.
    Done,
    /// No such entry (`ENOENT`). For a delete: the entry was already gone, or was replaced by one
    /// toward another backend; the kernel does not distinguish the two.
    NotFound,
    /// The kernel refused, or the request could not be sent.
    Failed(Error),
    /// The answer was lost (an overrun of the receive buffer), and repeating the operation could do
    /// harm: all that is known is whether the entry is there now. It never happens in a batch of
    /// [deletes](Batch::delete) alone, because those can be repeated.
    Unknown {
        /// The entry is there.
        exists: bool,
    },
}

impl Outcome {
    /// Whether the operation is done.
    pub fn is_done(&self) -> bool {
        matches!(self, Outcome::Done)
    }

    /// Whether there was no such entry.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Outcome::NotFound)
    }

    /// Why it failed, if it did.
    pub fn error(&self) -> Option<&Error> {
        match self {
            Outcome::Failed(error) => Some(error),
            _ => None,
        }
    }
}

/// Operations to be sent together, 200 to a datagram, with an outcome for each.
///
/// A batch is not a transaction: an operation that fails does not stop the others. The kernel
/// answers only failures, so a batch costs little more than the work itself.
///
/// ```no_run
/// use ctnetlink::{Batch, Change, Conntrack, Outcome};
/// # fn f(ct: &Conntrack, stale: &[ctnetlink::Flow], key: ctnetlink::Key) -> ctnetlink::Result<()> {
/// let mut batch = Batch::new();
/// batch.update(&key, &Change::new().mark(7))?;
/// for flow in stale {
///     batch.delete(flow)?;
/// }
/// let outcomes = ct.execute(&mut batch)?;
/// assert_eq!(outcomes.len(), 1 + stale.len());
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Default)]
pub struct Batch {
    datagram: Vec<u8>,
    items: Vec<Item>,
}

#[derive(Debug, Clone)]
struct Item {
    /// Where the request starts in the datagram.
    start: usize,
    after_loss: AfterLoss,
}

/// How to find out the result of a request whose answer was lost.
#[derive(Debug, Clone)]
enum AfterLoss {
    /// A delete of exactly one dumped entry: it can be repeated, as long as nothing in the datagram
    /// can have brought the entry back.
    Repeat,
    /// A delete by key: a get with the same attributes shows whether the entry is there.
    GetSame,
    /// A request that shows whether the entry is there.
    Get(Vec<u8>),
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Batch {
        Batch::default()
    }

    /// How many operations it holds.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether it holds no operations.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Adds an operation that creates an entry. Its outcome is `EEXIST` if there is an entry with
    /// either of its tuples.
    ///
    /// # Errors
    ///
    /// What cannot be expressed as a request. Nothing is added then.
    pub fn create(&mut self, new: &NewEntry) -> Result<()> {
        self.add_creation(new, false)
    }

    /// Adds an operation that creates an entry, or updates the one with its original tuple.
    ///
    /// # Errors
    ///
    /// As [`create`](Batch::create).
    pub fn create_or_update(&mut self, new: &NewEntry) -> Result<()> {
        self.add_creation(new, true)
    }

    fn add_creation(&mut self, new: &NewEntry, or_update: bool) -> Result<()> {
        let request = entry::create(new, or_update)?;
        let key = Key { zone: new.zone, ..Key::orig(new.orig) };
        self.add(request, AfterLoss::Get(entry::get(&key)?));
        Ok(())
    }

    /// Adds an operation that updates an entry.
    ///
    /// # Errors
    ///
    /// As [`create`](Batch::create).
    pub fn update(&mut self, key: &Key, change: &Change) -> Result<()> {
        self.add(entry::update(key, change)?, AfterLoss::Get(entry::get(key)?));
        Ok(())
    }

    /// Adds an operation that deletes exactly this entry, as it was dumped: by reply tuple, zone
    /// and id.
    ///
    /// # Errors
    ///
    /// An entry without an id, which cannot be distinguished from its successor.
    pub fn delete<B: AsRef<[u8]>>(&mut self, flow: &Flow<B>) -> Result<()> {
        let start = self.datagram.len();
        entry::append_delete(&mut self.datagram, flow)?;
        self.items.push(Item { start, after_loss: AfterLoss::Repeat });
        Ok(())
    }

    /// Adds an operation that deletes the entry that has this key when the batch runs.
    ///
    /// # Errors
    ///
    /// As [`create`](Batch::create).
    pub fn delete_key(&mut self, key: &Key) -> Result<()> {
        self.add(entry::delete(key)?, AfterLoss::GetSame);
        Ok(())
    }

    fn add(&mut self, request: Vec<u8>, after_loss: AfterLoss) {
        self.items.push(Item { start: self.datagram.len(), after_loss });
        self.datagram.extend(request);
    }

    /// Whether enough for one datagram has been collected.
    pub(crate) fn is_full(&self) -> bool {
        self.items.len() >= LIMIT
    }

    /// Sends everything and hands over one outcome per operation, in order. The batch is empty
    /// afterwards, even after an error.
    ///
    /// # Errors
    ///
    /// If the first datagram could not be sent, or was refused as a whole, for instance without
    /// `CAP_NET_ADMIN`: then nothing was done. If that happens to a later datagram, its error is
    /// the outcome of all remaining operations.
    pub(crate) fn execute(
        &mut self,
        command: &mut Command,
        mut each: impl FnMut(Outcome),
    ) -> Result<()> {
        let mut datagram = std::mem::take(&mut self.datagram);
        let items = std::mem::take(&mut self.items);
        let mut outcomes = Vec::with_capacity(items.len().min(LIMIT));
        let mut broken = None;
        for (nth, chunk) in items.chunks(LIMIT).enumerate() {
            if broken.is_none() {
                let first = chunk.first().map_or(0, |item| item.start);
                let next = items.get((nth + 1) * LIMIT).map_or(datagram.len(), |item| item.start);
                match send(command, &mut datagram[first..next], chunk, &mut outcomes) {
                    Ok(()) => {}
                    Err(error) if nth == 0 => return Err(error),
                    // Earlier datagrams were executed, which an error alone would hide.
                    Err(error) => broken = Some(error),
                }
            }
            match &broken {
                None => outcomes.drain(..).for_each(|o| each(o.unwrap_or(Outcome::Done))),
                Some(error) => chunk.iter().for_each(|_| each(Outcome::Failed(error.clone()))),
            }
        }
        // Keeps the allocation for the next use.
        datagram.clear();
        self.datagram = datagram;
        Ok(())
    }
}

/// Sends one datagram. Requests without an answer have succeeded, unless answers were lost.
///
/// # Errors
///
/// Only if none of it was executed. Problems with the answers are reported in the outcomes.
fn send(
    command: &mut Command,
    datagram: &mut [u8],
    items: &[Item],
    outcomes: &mut Vec<Option<Outcome>>,
) -> Result<()> {
    let base = items.first().map_or(0, |item| item.start);
    let count = items.len();
    outcomes.clear();
    outcomes.resize(count, None);

    // Only failures are answered, but the last request always is: its answer proves that all
    // requests before it were executed, because the kernel processes a datagram in order.
    let first_sequence = command.reserve(count);
    for (at, (sequence, item)) in (first_sequence..).zip(items).enumerate() {
        request::seal(&mut datagram[item.start - base..], sequence, at + 1 == count);
    }
    command.send(Operation::Batch, datagram)?;
    let drained = command.drain(Operation::Batch, |sequence, answer| {
        let at = sequence.wrapping_sub(first_sequence) as usize;
        if let Some(slot) = outcomes.get_mut(at) {
            *slot = Some(outcome(answer));
        }
        Ok(())
    });
    if let Some(refusal) = refused_as_a_whole(outcomes) {
        return Err(refusal.clone());
    }
    // Answers are missing after an overrun, or after an answer that cannot be read, because others
    // may have followed it.
    let complete = matches!(drained, Ok(false)) && outcomes.last().is_none_or(Option::is_some);
    if !complete {
        ask_again(command, datagram, items, outcomes);
    }
    Ok(())
}

/// A datagram is refused as a whole with one `EPERM`, under the number of its first request; the
/// rest is discarded without an answer. If the datagram had been executed, the last request would
/// have been answered.
fn refused_as_a_whole(outcomes: &[Option<Outcome>]) -> Option<&Error> {
    let error = outcomes.first()?.as_ref()?.error()?;
    let rest_unanswered = outcomes.iter().skip(1).all(Option::is_none);
    (rest_unanswered && error.raw_os_error() == Some(libc::EPERM)).then_some(error)
}

/// Requests without an answer were executed with an unknown result.
///
/// If the datagram holds only deletes of dumped entries, they are repeated, one by one. Anything
/// else is never repeated, because a later request of the datagram may have undone it or built on
/// it: the entry is looked up instead.
fn ask_again(
    command: &mut Command,
    datagram: &mut [u8],
    items: &[Item],
    outcomes: &mut [Option<Outcome>],
) {
    let base = items.first().map_or(0, |item| item.start);
    let length = datagram.len();
    let only_deletes = items.iter().all(|item| matches!(item.after_loss, AfterLoss::Repeat));
    let ends = items.iter().skip(1).map(|item| item.start - base).chain([length]);
    for ((item, end), slot) in items.iter().zip(ends).zip(outcomes) {
        if slot.is_some() {
            continue;
        }
        let own = &mut datagram[item.start - base..end];
        let request = match &item.after_loss {
            AfterLoss::Repeat if only_deletes => own.to_vec(),
            AfterLoss::Repeat | AfterLoss::GetSame => {
                entry::make_get(own);
                own.to_vec()
            }
            AfterLoss::Get(request) => request.clone(),
        };
        *slot = Some(second_answer(command.act(Operation::Batch, request), only_deletes));
    }
}

/// The outcome according to the answer to the repeated request, or to the lookup of the entry.
fn second_answer(answer: Result<()>, repeated: bool) -> Outcome {
    match answer.map_or_else(failed, |()| Outcome::Done) {
        Outcome::Done if !repeated => Outcome::Unknown { exists: true },
        Outcome::NotFound if !repeated => Outcome::Unknown { exists: false },
        outcome => outcome,
    }
}

fn outcome(answer: Answer<'_>) -> Outcome {
    match answer {
        Answer::Error(error) => failed(error),
        _ => Outcome::Done,
    }
}

fn failed(error: Error) -> Outcome {
    if error.is_not_found() { Outcome::NotFound } else { Outcome::Failed(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn eperm() -> Option<Outcome> {
        Some(Outcome::Failed(Error::kernel(Operation::Batch, libc::EPERM)))
    }

    #[test]
    fn a_refused_datagram_is_told_from_refused_requests() {
        const DONE: Option<Outcome> = Some(Outcome::Done);
        for (outcomes, refused) in [
            (vec![eperm()], true),
            (vec![eperm(), None, None], true),
            (vec![eperm(), None, DONE], false),
            (vec![eperm(), eperm(), None], false),
            (vec![None, eperm(), DONE], false),
            (vec![None, None], false),
            (vec![DONE], false),
            (vec![], false),
        ] {
            assert_eq!(refused_as_a_whole(&outcomes).is_some(), refused, "{outcomes:?}");
        }
    }

    #[test]
    fn what_a_second_answer_tells() {
        let error = |errno| Err(Error::kernel(Operation::Batch, errno));
        let unknown = |outcome| match outcome {
            Outcome::Unknown { exists } => Some(exists),
            _ => None,
        };
        assert_eq!(unknown(second_answer(Ok(()), false)), Some(true));
        assert_eq!(unknown(second_answer(error(libc::ENOENT), false)), Some(false));
        assert!(second_answer(error(libc::EPERM), false).error().is_some());
        assert!(second_answer(Ok(()), true).is_done());
        assert!(second_answer(error(libc::ENOENT), true).is_not_found());
        let lost = second_answer(Err(Error::Overrun { operation: Operation::Batch }), true);
        assert!(lost.error().is_some_and(Error::is_incomplete));
    }
}
