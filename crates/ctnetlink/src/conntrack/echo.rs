//! Operations whose effect the kernel reports (`NLM_F_ECHO`).

use super::{Conntrack, named};
use crate::error::{Operation, Result};
use crate::model::flow::Flow;
use crate::model::key::Key;
use crate::model::new_entry::{Change, NewEntry};
use crate::request;
use crate::request::entry::{self, Update};
use crate::transport::answer;
use crate::transport::command::Command;

/// What an operation touched, if the kernel reported it.
///
/// ```no_run
/// # fn f(ct: &ctnetlink::Conntrack, flow: &ctnetlink::Flow) -> ctnetlink::Result<()> {
/// use ctnetlink::Echo;
/// match ct.echo().delete(flow)? {
///     Echo::Reported(last) => println!("{:?} in the end", last.counters_orig()),
///     Echo::NotReported => println!("deleted"),
/// }
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "short-lived, and one per call")]
pub enum Echo {
    /// The entry after the operation; for a delete as it was at its end, with final counters.
    Reported(Flow),
    /// The operation is done, but the entry has no event extension, so the kernel reports nothing
    /// about it. This is decided when an entry is created: `nf_conntrack_events` was 0, or it was 2
    /// (the default since Linux 5.19) and nobody listened to events at that moment.
    NotReported,
}

impl Echo {
    /// The entry, if the kernel reported it.
    pub fn flow(&self) -> Option<&Flow> {
        match self {
            Echo::Reported(flow) => Some(flow),
            Echo::NotReported => None,
        }
    }
}

/// A handle whose operations return the entry they touched. Made by [`Conntrack::echo`].
///
/// It has single operations only. A batch or a flush could overflow the receive buffer, and the
/// kernel would then repeat the undelivered events to every listener.
#[derive(Debug, Clone, Copy)]
pub struct Echoing<'c>(&'c Conntrack);

impl Conntrack {
    /// A handle whose operations return the entry they touched, if the kernel reports it.
    ///
    /// ```no_run
    /// # fn f(ct: &ctnetlink::Conntrack, flow: &ctnetlink::Flow) -> ctnetlink::Result<()> {
    /// match ct.echo().delete(flow)?.flow() {
    ///     Some(last) => println!("{:?} in the end", last.counters_orig()),
    ///     None => println!("deleted; the kernel did not say more"),
    /// }
    /// # Ok(()) }
    /// ```
    pub fn echo(&self) -> Echoing<'_> {
        Echoing(self)
    }
}

impl Echoing<'_> {
    /// Like [`Conntrack::create`], but returns the entry it touched.
    ///
    /// # Errors
    ///
    /// `EEXIST` if either tuple collides with an entry of the zone; `ENOMEM` if the table is full.
    pub fn create(&self, new: &NewEntry) -> Result<Echo> {
        self.0.ask(|command| named::create(command, Operation::Create, new, act))
    }

    /// Like [`Conntrack::create_or_update`], but returns the entry it touched.
    ///
    /// # Errors
    ///
    /// Those of [`Conntrack::create`] and [`Conntrack::update`].
    pub fn create_or_update(&self, new: &NewEntry) -> Result<Echo> {
        self.0.ask(|command| named::create_or_update(command, Operation::Create, new, act))
    }

    /// Like [`Conntrack::update`], but returns the entry it touched.
    ///
    /// # Errors
    ///
    /// Those of [`Conntrack::update`].
    pub fn update(&self, key: &Key, change: &Change) -> Result<Echo> {
        let update = Update::of(change)?;
        self.0.ask(|command| named::update(command, Operation::Update, key, &update, act))
    }

    /// Like [`Conntrack::delete`], but returns the entry it touched.
    ///
    /// # Errors
    ///
    /// [`is_not_found`](crate::Error::is_not_found) if it was already gone (or replaced).
    pub fn delete<B: AsRef<[u8]>>(&self, flow: &Flow<B>) -> Result<Echo> {
        let request = entry::delete(flow)?;
        self.0.ask(|command| act(command, Operation::Delete, request))
    }

    /// Like [`Conntrack::delete_key`], but returns the entry it touched.
    ///
    /// # Errors
    ///
    /// [`is_not_found`](crate::Error::is_not_found), even if only the id differs from the key's.
    pub fn delete_key(&self, key: &Key) -> Result<Echo> {
        self.0.ask(|command| named::delete(command, Operation::Delete, key, act))
    }
}

/// Sends a request and waits for the entry it touched.
fn act(command: &mut Command, operation: Operation, mut request: Vec<u8>) -> Result<Echo> {
    request::ask_for_echo(&mut request);
    let mut echo = Echo::NotReported;
    command.request(operation, request, |message| {
        echo = Echo::Reported(answer::entry(operation, message)?);
        Ok(())
    })?;
    Ok(echo)
}
