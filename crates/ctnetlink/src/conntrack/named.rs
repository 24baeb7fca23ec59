//! Operations on the entry that a key names, and on no other.
//!
//! The kernel looks up a tuple among the tuples of *both* directions (`nf_conntrack_find_get`). So
//! a request for the original tuple A->B also finds the entry B->A, whose reply tuple it is. That
//! is an everyday case where both sides use the same port (SIP, NTP, WireGuard). And the kernel
//! compares the id in deletes only. So each entry is fetched and compared with its key before it is
//! touched, and then named by its own reply tuple, zone and id.
//!
//! What can still change in between: a delete compares the id, which the kernel computes from the
//! original tuple, so it deletes the same entry or nothing. Updates and zeroing ignore the id. They
//! would touch an entry that took the place of this one in the meantime, if one of its tuples is
//! this reply tuple.

use crate::error::{Error, Operation, Result};
use crate::model::flow::Flow;
use crate::model::key::Key;
use crate::model::new_entry::NewEntry;
use crate::request::entry::{self, Update};
use crate::transport::answer::{self, Answer};
use crate::transport::command::Command;

/// Fetches the entry that the key names.
///
/// # Errors
///
/// `ENOENT`, or [`Error::AnotherEntry`] if the kernel found an entry that the key does not name.
pub(super) fn find(command: &mut Command, operation: Operation, key: &Key) -> Result<Flow> {
    let flow = command.fetch_entry(operation, entry::get(key)?)?;
    checked(operation, key, flow)
}

/// [`find`] for several keys, with a result for each, in one datagram.
///
/// # Errors
///
/// If the datagram could not be sent, or was refused as a whole.
pub(super) fn find_many(
    command: &mut Command,
    operation: Operation,
    keys: &[&Key],
) -> Result<Vec<Result<Flow>>> {
    let (mut datagram, mut starts) = (Vec::new(), Vec::new());
    for key in keys {
        starts.push(datagram.len());
        datagram.extend(entry::get(key)?);
    }
    let (flows, _) = ask_many(command, operation, &mut datagram, &starts)?;
    let each = keys.iter().zip(flows).map(|(key, flow)| match flow {
        Some(flow) => flow.and_then(|flow| checked(operation, key, flow)),
        // The answer was lost. A lookup can be repeated.
        None => find(command, operation, key),
    });
    Ok(each.collect())
}

/// What came back to each of several requests; `None` for one without an answer.
pub(super) type Answers = Vec<Option<Result<Flow>>>;

/// Sends finished requests, each of which is answered with an entry or an error, in one datagram.
/// The second result says that answers were lost.
///
/// # Errors
///
/// If the datagram could not be sent (nothing was executed then), or `EPERM` if it was refused as a
/// whole.
pub(super) fn ask_many(
    command: &mut Command,
    operation: Operation,
    datagram: &mut [u8],
    starts: &[usize],
) -> Result<(Answers, Result<()>)> {
    let first = command.send_many(operation, datagram, starts.iter().copied(), |_| false)?;
    let mut answers: Answers = (0..starts.len()).map(|_| None).collect();
    let drained = command.drain_many(operation, first, |at, answer| {
        let Some(slot) = answers.get_mut(at) else { return Ok(()) };
        match answer {
            Answer::Data(message) => *slot = Some(answer::entry(operation, &message)),
            Answer::Error(error) => *slot = Some(Err(error)),
            Answer::Ack | Answer::Done | Answer::Noise => {}
        }
        Ok(())
    });
    // A refusal of the whole is answered once, with EPERM, under the first number. No single
    // lookup is ever answered so.
    match answers.first() {
        Some(Some(Err(error))) if error.raw_os_error() == Some(libc::EPERM) => {
            return Err(error.clone());
        }
        _ => {}
    }
    let complete = match drained {
        Ok(false) => Ok(()),
        Ok(true) => Err(Error::Overrun { operation }),
        Err(error) => Err(error),
    };
    Ok((answers, complete))
}

/// The entry, if the key names it.
fn checked(operation: Operation, key: &Key, flow: Flow) -> Result<Flow> {
    match key.names(&flow) {
        true => Ok(flow),
        false => Err(Error::AnotherEntry { operation, found: flow.to_string() }),
    }
}

/// Sends a finished request, in the way the caller wants: with or without an echo.
pub(super) trait Act<T>: FnMut(&mut Command, Operation, Vec<u8>) -> Result<T> {}

impl<T, F: FnMut(&mut Command, Operation, Vec<u8>) -> Result<T>> Act<T> for F {}

pub(super) fn delete<T>(
    command: &mut Command,
    operation: Operation,
    key: &Key,
    mut act: impl Act<T>,
) -> Result<T> {
    let flow = find(command, operation, key)?;
    act(command, operation, entry::delete(&flow)?)
}

pub(super) fn update<T>(
    command: &mut Command,
    operation: Operation,
    key: &Key,
    update: &Update,
    mut act: impl Act<T>,
) -> Result<T> {
    let flow = find(command, operation, key)?;
    act(command, operation, entry::update(&flow, update)?)
}

pub(super) fn create<T>(
    command: &mut Command,
    operation: Operation,
    new: &NewEntry,
    mut act: impl Act<T>,
) -> Result<T> {
    let request = entry::create(new)?;
    find_master(command, operation, new)?;
    act(command, operation, request)
}

/// The kernel looks up the master by a tuple of either direction, too.
fn find_master(command: &mut Command, operation: Operation, new: &NewEntry) -> Result<()> {
    match new.master_key() {
        Some(master) => find(command, operation, &master).map(|_| ()),
        None => Ok(()),
    }
}

/// How often a creation is tried if an entry that was in its way is gone a moment later.
const TRIES: usize = 3;

/// Creates, or updates the entry that has the original tuple. The creation is always exclusive: the
/// kernel's own choice would update an entry that has the tuple in the other direction.
pub(super) fn create_or_update<T>(
    command: &mut Command,
    operation: Operation,
    new: &NewEntry,
    mut act: impl Act<T>,
) -> Result<T> {
    let (request, update) = (entry::create(new)?, Update::of_existing(new)?);
    let mut tries = 1;
    loop {
        find_master(command, operation, new)?;
        let exists = match act(command, operation, request.clone()) {
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => error,
            result => return result,
        };
        let updated = self::update(command, operation, &new.key(), &update, &mut act);
        match updated {
            // Another entry has one of the tuples. The kernel's words are the better ones.
            Err(Error::AnotherEntry { .. }) => return Err(exists),
            Err(error) if error.is_not_found() && tries == TRIES => return Err(exists),
            Err(error) if error.is_not_found() => tries += 1,
            result => return result,
        }
    }
}
