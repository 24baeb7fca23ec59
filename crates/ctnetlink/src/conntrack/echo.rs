//! Operations whose effect the kernel tells (`NLM_F_ECHO`).

use netlink_packet_core::NLM_F_ECHO;

use super::{Conntrack, owned, pinned_delete};
use crate::entry::{Change, NewEntry};
use crate::error::{Operation, Result};
use crate::flow::Flow;
use crate::key::Key;
use crate::request::entry;

/// What an operation touched, if the kernel told.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "short-lived, and one per call")]
pub enum Echo {
    /// The entry after the operation; for a delete as it was at its end, with final counters.
    Told(Flow),
    /// It is done, but the entry has no event extension, so the kernel does not speak of it. That
    /// is decided when an entry is created: `nf_conntrack_events` was 0, or 2 (the default since
    /// Linux 5.19) and nobody listened to events at that moment.
    Untold,
}

impl Echo {
    /// The entry, if the kernel told.
    pub fn flow(&self) -> Option<&Flow> {
        match self {
            Echo::Told(flow) => Some(flow),
            Echo::Untold => None,
        }
    }
}

/// A handle whose operations come back with the entry they touched. Made by [`Conntrack::echo`].
///
/// One at a time only: in a mass operation the echo of a full buffer would be repeated to every
/// listener, so batches and flushes do not offer it.
#[derive(Debug, Clone, Copy)]
pub struct Echoing<'c>(&'c Conntrack);

impl Conntrack {
    /// The same operations, with what the kernel tells of their effect.
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
    /// [`Conntrack::create`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn create(&self, new: &NewEntry) -> Result<Echo> {
        self.act(Operation::Create, entry::create(new, false)?)
    }

    /// [`Conntrack::create_or_update`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn create_or_update(&self, new: &NewEntry) -> Result<Echo> {
        self.act(Operation::Create, entry::create(new, true)?)
    }

    /// [`Conntrack::update`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn update(&self, key: &Key, change: &Change) -> Result<Echo> {
        self.act(Operation::Update, entry::update(key, change)?)
    }

    /// [`Conntrack::delete`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn delete<B: AsRef<[u8]>>(&self, flow: &Flow<B>) -> Result<Echo> {
        self.act(Operation::Delete, pinned_delete(flow)?)
    }

    /// [`Conntrack::delete_key`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn delete_key(&self, key: &Key) -> Result<Echo> {
        self.act(Operation::Delete, entry::delete(key)?)
    }

    fn act(&self, operation: Operation, mut request: Vec<u8>) -> Result<Echo> {
        let flags = u16::from_ne_bytes([request[6], request[7]]) | NLM_F_ECHO;
        request[6..8].copy_from_slice(&flags.to_ne_bytes());
        let mut echo = Echo::Untold;
        self.0.ask(|command| {
            command.request(operation, request, |message| {
                echo = Echo::Told(owned(operation, message)?);
                Ok(())
            })
        })?;
        Ok(echo)
    }
}
