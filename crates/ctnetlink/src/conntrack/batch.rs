//! Operations on entries, many to a datagram, each with its own outcome.

use super::{named, stats};
use crate::error::{Error, Operation, Result};
use crate::model::flow::Flow;
use crate::model::key::Key;
use crate::model::new_entry::{Change, NewEntry};
use crate::request::entry::{self, Update};
use crate::transport::answer::Answer;
use crate::transport::command::Command;

/// Requests per datagram. An error reply is charged 832 bytes of receive buffer, so the default
/// buffer of 212992 bytes holds 256 of them; more requests per datagram gain nothing.
pub(crate) const LIMIT: usize = 200;

/// Lookups per datagram: each is answered with a whole entry, and all answers have to fit the
/// receive buffer.
pub(crate) const LOOKUPS: usize = 64;

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
    /// Finished requests, one after the other.
    requests: Vec<u8>,
    items: Vec<Item>,
}

/// One operation, in the order in which it was added.
#[derive(Debug, Clone)]
struct Item {
    /// Where its bytes start in the collected requests; it may have none.
    start: usize,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    /// A finished delete of exactly one dumped entry.
    Delete,
    /// A finished exclusive creation of the entry with this name.
    Create(Box<Key>),
    /// An update of the entry with this name, or its delete (`None`), after a look at the entry.
    Keyed(Box<Key>, Option<Update>),
    /// A creation, after a look at the master.
    CreateChild(Box<NewEntry>),
    /// A creation or, after a look at the entry, its update.
    CreateOrUpdate(Box<NewEntry>),
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
        let request = entry::create(new)?;
        match new.master_key() {
            Some(_) => self.add(Kind::CreateChild(Box::new(new.clone()))),
            None => {
                self.add(Kind::Create(Box::new(new.key())));
                self.requests.extend(request);
            }
        }
        Ok(())
    }

    /// Adds an operation that creates an entry, or updates the one with its original tuple, as
    /// [`Conntrack::create_or_update`](crate::Conntrack::create_or_update) does.
    ///
    /// # Errors
    ///
    /// As [`create`](Batch::create).
    pub fn create_or_update(&mut self, new: &NewEntry) -> Result<()> {
        entry::create(new)?;
        self.add(Kind::CreateOrUpdate(Box::new(new.clone())));
        Ok(())
    }

    /// Adds an operation that updates an entry, as [`Conntrack::update`](crate::Conntrack::update)
    /// does.
    ///
    /// # Errors
    ///
    /// As [`create`](Batch::create).
    pub fn update(&mut self, key: &Key, change: &Change) -> Result<()> {
        entry::get(key)?;
        self.add(Kind::Keyed(Box::new(*key), Some(Update::of(change)?)));
        Ok(())
    }

    /// Adds an operation that deletes exactly this entry, as it was dumped: by reply tuple, zone
    /// and id.
    ///
    /// # Errors
    ///
    /// An entry without an id, which cannot be distinguished from its successor.
    pub fn delete<B: AsRef<[u8]>>(&mut self, flow: &Flow<B>) -> Result<()> {
        let start = self.requests.len();
        entry::append_delete(&mut self.requests, flow)?;
        self.items.push(Item { start, kind: Kind::Delete });
        Ok(())
    }

    /// Adds an operation that deletes the entry that has this key when the batch runs, as
    /// [`Conntrack::delete_key`](crate::Conntrack::delete_key) does.
    ///
    /// # Errors
    ///
    /// As [`create`](Batch::create).
    pub fn delete_key(&mut self, key: &Key) -> Result<()> {
        entry::get(key)?;
        self.add(Kind::Keyed(Box::new(*key), None));
        Ok(())
    }

    fn add(&mut self, kind: Kind) {
        self.items.push(Item { start: self.requests.len(), kind });
    }

    /// Whether enough for one datagram has been collected.
    pub(crate) fn is_full(&self) -> bool {
        self.items.len() >= LIMIT
    }

    /// Runs everything and hands over one outcome per operation, in order. The batch is empty
    /// afterwards, even after an error.
    ///
    /// Finished requests are sent [`LIMIT`] to a datagram. Operations that name an entry by a key
    /// look at it when all before them are done: those in a row are looked up together, in one
    /// datagram, because none of them can bring an entry that another one names.
    ///
    /// # Errors
    ///
    /// If the first datagram could not be sent, or was refused as a whole, for instance without
    /// `CAP_NET_ADMIN`: then nothing was done. If that happens to a later datagram, its error is
    /// the outcome of all remaining operations.
    pub(crate) fn execute(
        &mut self,
        command: &mut Command,
        check: impl Fn() -> Result<()>,
        mut each: impl FnMut(Outcome),
    ) -> Result<()> {
        let mut requests = std::mem::take(&mut self.requests);
        let items = std::mem::take(&mut self.items);
        let mut rest = items.as_slice();
        let mut broken: Option<Error> = None;
        let mut outcomes = Vec::with_capacity(items.len().min(LIMIT));
        while !rest.is_empty() {
            let (together, after) = rest.split_at(run_length(rest));
            if broken.is_none() {
                let first = together.first().map_or(0, |item| item.start);
                let end = after.first().map_or(requests.len(), |item| item.start);
                let bytes = &mut requests[first..end];
                match check().and_then(|()| run(command, bytes, together, &mut outcomes)) {
                    Ok(()) => {}
                    Err(error) if rest.len() == items.len() => return Err(error),
                    // Earlier datagrams were executed, which an error alone would hide.
                    Err(error) => broken = Some(error),
                }
            }
            match &broken {
                None => outcomes.drain(..).for_each(|o| each(o.unwrap_or(Outcome::Done))),
                Some(error) => together.iter().for_each(|_| each(Outcome::Failed(error.clone()))),
            }
            rest = after;
        }
        // Keeps the allocation for the next use.
        requests.clear();
        self.requests = requests;
        Ok(())
    }
}

/// How many of the first items can run together.
fn run_length(items: &[Item]) -> usize {
    let alike = |is: fn(&Kind) -> bool, limit: usize| {
        items.iter().take(limit).take_while(|item| is(&item.kind)).count()
    };
    match items.first().map(|item| &item.kind) {
        None => 0,
        Some(Kind::Delete | Kind::Create(_)) => {
            alike(|kind| matches!(kind, Kind::Delete | Kind::Create(_)), LIMIT)
        }
        Some(Kind::Keyed(..)) => alike(|kind| matches!(kind, Kind::Keyed(..)), LOOKUPS),
        // Whether it creates depends on what it sees, so nothing runs beside it.
        Some(Kind::CreateChild(_) | Kind::CreateOrUpdate(_)) => 1,
    }
}

/// Runs items that can run together.
fn run(
    command: &mut Command,
    bytes: &mut [u8],
    items: &[Item],
    outcomes: &mut Vec<Option<Outcome>>,
) -> Result<()> {
    const BATCH: Operation = Operation::Batch;
    match items {
        [Item { kind: Kind::CreateChild(new), .. }] => {
            let created = named::create(command, BATCH, new, Command::act);
            alone(command, created, outcomes)
        }
        [Item { kind: Kind::CreateOrUpdate(new), .. }] => {
            let done = named::create_or_update(command, BATCH, new, Command::act);
            alone(command, done, outcomes)
        }
        [Item { kind: Kind::Keyed(..), .. }, ..] => looked_up(command, items, outcomes),
        _ => {
            let base = items.first().map_or(0, |item| item.start);
            let requests = items.iter().map(|item| Request {
                start: item.start - base,
                after_loss: match &item.kind {
                    Kind::Create(key) => AfterLoss::LookUp(key),
                    _ => AfterLoss::Repeat,
                },
            });
            let requests: Vec<_> = requests.collect();
            send(command, bytes, &requests, outcomes)
        }
    }
}

/// The outcome of an operation that ran alone. A lack of privilege is an error of the whole.
fn alone(
    command: &mut Command,
    result: Result<()>,
    outcomes: &mut Vec<Option<Outcome>>,
) -> Result<()> {
    let outcome = result.map_or_else(failed, |()| Outcome::Done);
    if let Some(refusal) = outcome.error().filter(|error| is_refusal(command, error)) {
        return Err(refusal.clone());
    }
    outcomes.clear();
    outcomes.push(Some(outcome));
    Ok(())
}

/// Looks up the entries that the keys name, all in one datagram, and acts on those that are there.
fn looked_up(
    command: &mut Command,
    items: &[Item],
    outcomes: &mut Vec<Option<Outcome>>,
) -> Result<()> {
    let keyed = items.iter().filter_map(|item| match &item.kind {
        Kind::Keyed(key, update) => Some((&**key, update)),
        _ => None,
    });
    let (keys, updates): (Vec<&Key>, Vec<_>) = keyed.unzip();
    let found = named::find_many(command, Operation::Batch, &keys)?;
    let (mut bytes, mut requests, mut places) = (Vec::new(), Vec::new(), Vec::new());
    let mut all: Vec<Option<Outcome>> = Vec::with_capacity(items.len());
    for (at, ((key, update), found)) in keys.into_iter().zip(updates).zip(found).enumerate() {
        let start = bytes.len();
        let added = found.and_then(|flow| match update {
            Some(update) => {
                entry::append_update(&mut bytes, &flow, update).map(|()| AfterLoss::LookUp(key))
            }
            None => entry::append_delete(&mut bytes, &flow).map(|()| AfterLoss::Repeat),
        });
        all.push(match added {
            Ok(after_loss) => {
                requests.push(Request { start, after_loss });
                places.push(at);
                None
            }
            Err(error) => Some(failed(error)),
        });
    }
    if !requests.is_empty() {
        send(command, &mut bytes, &requests, outcomes)?;
        for (at, outcome) in places.into_iter().zip(outcomes.drain(..)) {
            all[at] = outcome;
        }
    }
    *outcomes = all;
    Ok(())
}

/// A finished request in a datagram.
#[derive(Debug)]
struct Request<'k> {
    /// Where it starts in the datagram.
    start: usize,
    after_loss: AfterLoss<'k>,
}

/// How to find out the result of a request whose answer was lost.
#[derive(Debug)]
enum AfterLoss<'k> {
    /// A delete of exactly one entry: it can be repeated, as long as nothing in the datagram can
    /// have brought the entry back.
    Repeat,
    /// Looking for the entry with this name shows whether it is there.
    LookUp(&'k Key),
}

/// Sends one datagram. Requests without an answer have succeeded, unless answers were lost.
///
/// # Errors
///
/// Only if none of it was executed. Problems with the answers are reported in the outcomes.
fn send(
    command: &mut Command,
    datagram: &mut [u8],
    requests: &[Request<'_>],
    outcomes: &mut Vec<Option<Outcome>>,
) -> Result<()> {
    let count = requests.len();
    outcomes.clear();
    outcomes.resize(count, None);

    // Only failures are answered, but the last request always is: its answer proves that all
    // requests before it were executed, because the kernel processes a datagram in order.
    let starts = requests.iter().map(|request| request.start);
    let first = command.send_many(Operation::Batch, datagram, starts, |at| at + 1 == count)?;
    let drained = command.drain_many(Operation::Batch, first, |at, answer| {
        if let Some(slot) = outcomes.get_mut(at) {
            *slot = Some(outcome(answer));
        }
        Ok(())
    });
    let refusal = refused_as_a_whole(outcomes).cloned();
    let all_is_here = matches!(drained, Ok(false)) && outcomes.len() > 1;
    let as_a_whole = |error: &Error| all_is_here || is_refusal(command, error);
    if let Some(refusal) = refusal.filter(as_a_whole) {
        return Err(refusal);
    }
    // Answers are missing after an overrun, or after an answer that cannot be read, because others
    // may have followed it.
    let complete = matches!(drained, Ok(false)) && outcomes.last().is_none_or(Option::is_some);
    if !complete {
        ask_again(command, datagram, requests, outcomes);
    }
    Ok(())
}

/// A datagram is refused as a whole with one `EPERM`, under the number of its first request; the
/// rest is discarded without an answer. If the datagram had been executed, the last request would
/// have been answered. A datagram of one request can be refused so, or its request can
/// ([`is_refusal`] tells).
fn refused_as_a_whole(outcomes: &[Option<Outcome>]) -> Option<&Error> {
    let error = outcomes.first()?.as_ref()?.error()?;
    let rest_unanswered = outcomes.iter().skip(1).all(Option::is_none);
    (rest_unanswered && error.raw_os_error() == Some(libc::EPERM)).then_some(error)
}

/// Whether an `EPERM` means that nothing may be done here at all. An entry alone can be refused so,
/// too (`FIXED_TIMEOUT`); then a request that everybody may send who may send any succeeds.
fn is_refusal(command: &mut Command, error: &Error) -> bool {
    let denied = |error: &Error| error.raw_os_error() == Some(libc::EPERM);
    denied(error) && stats::totals(command).err().is_some_and(|error| denied(&error))
}

/// Requests without an answer were executed with an unknown result.
///
/// If the datagram holds only deletes of exact entries, they are repeated, one by one. Anything
/// else is never repeated, because a later request of the datagram may have undone it or built on
/// it: the entry is looked up instead.
fn ask_again(
    command: &mut Command,
    datagram: &mut [u8],
    requests: &[Request<'_>],
    outcomes: &mut [Option<Outcome>],
) {
    let length = datagram.len();
    let only_deletes = requests.iter().all(|item| matches!(item.after_loss, AfterLoss::Repeat));
    let ends = requests.iter().skip(1).map(|item| item.start).chain([length]);
    for ((item, end), slot) in requests.iter().zip(ends).zip(outcomes) {
        if slot.is_some() {
            continue;
        }
        let own = &mut datagram[item.start..end];
        *slot = Some(match &item.after_loss {
            AfterLoss::Repeat if only_deletes => {
                let repeated = command.act(Operation::Batch, own.to_vec());
                repeated.map_or_else(failed, |()| Outcome::Done)
            }
            AfterLoss::Repeat => {
                entry::make_get(own);
                unknown(exists(command, own))
            }
            AfterLoss::LookUp(key) => {
                unknown(named::find(command, Operation::Batch, key).map(|_| true))
            }
        });
    }
}

/// Whether the entry that a finished get pins is there.
fn exists(command: &mut Command, get: &[u8]) -> Result<bool> {
    let flow = command.fetch_entry(Operation::Batch, get.to_vec())?;
    Ok(entry::is_about(get, &flow))
}

/// The outcome of a request whose answer was lost, according to a look at the entry.
fn unknown(exists: Result<bool>) -> Outcome {
    match exists {
        Ok(exists) => Outcome::Unknown { exists },
        Err(error) if error.is_not_found() => Outcome::Unknown { exists: false },
        Err(error) => Outcome::Failed(error),
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
    fn what_a_look_at_the_entry_tells() {
        let error = |errno| Err(Error::kernel(Operation::Batch, errno));
        let exists = |outcome| match outcome {
            Outcome::Unknown { exists } => Some(exists),
            _ => None,
        };
        assert_eq!(exists(unknown(Ok(true))), Some(true));
        assert_eq!(exists(unknown(Ok(false))), Some(false));
        assert_eq!(exists(unknown(error(libc::ENOENT))), Some(false));
        assert!(unknown(error(libc::EPERM)).error().is_some());
        let lost = unknown(Err(Error::Overrun { operation: Operation::Batch }));
        assert!(lost.error().is_some_and(Error::is_incomplete));
    }
}
