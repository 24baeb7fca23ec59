//! Deletes, many to a datagram, each with an outcome of its own.

use netlink_packet_core::NLM_F_ACK;

use crate::command::Command;
use crate::error::{Error, Operation, Result};
use crate::flow::Flow;
use crate::reply::Reply;
use crate::request;

/// Requests per datagram. An error reply is charged 832 bytes of receive buffer, so the default
/// buffer of 212992 bytes holds 256 of them; more gains nothing.
pub(crate) const LIMIT: usize = 200;

/// What became of one delete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// It is deleted.
    Deleted,
    /// No such entry (`ENOENT`): it had gone already, or was replaced by one toward another
    /// backend, which the kernel does not tell apart.
    AlreadyGone,
    /// The kernel refused with this errno.
    Failed(i32),
}

/// Deletes to be sent together. Each is pinned to one entry by reply tuple, zone and id.
#[derive(Debug, Default)]
pub(crate) struct DeleteBatch {
    datagram: Vec<u8>,
    /// Where each request starts.
    starts: Vec<usize>,
    outcomes: Vec<Option<Outcome>>,
}

impl DeleteBatch {
    pub(crate) fn push<B: AsRef<[u8]>>(&mut self, flow: &Flow<B>) -> Result<()> {
        let start = self.datagram.len();
        if !request::append_delete(&mut self.datagram, 0, false, flow) {
            return Err(Error::Invalid(
                "delete: an entry without an id cannot be told from its successor".into(),
            ));
        }
        self.starts.push(start);
        Ok(())
    }

    pub(crate) fn is_full(&self) -> bool {
        self.starts.len() >= LIMIT
    }

    /// Sends what was pushed, and hands over one outcome per request, in order. The batch is
    /// empty afterwards, also after an error.
    ///
    /// # Errors
    ///
    /// When the datagram as a whole was refused, for instance without `CAP_NET_ADMIN`.
    pub(crate) fn execute(
        &mut self,
        command: &mut Command,
        mut each: impl FnMut(Outcome),
    ) -> Result<()> {
        let result = self.send_all(command);
        if result.is_ok() {
            self.outcomes.iter().map(|o| o.unwrap_or(Outcome::Deleted)).for_each(&mut each);
        }
        self.datagram.clear();
        self.starts.clear();
        result
    }

    fn send_all(&mut self, command: &mut Command) -> Result<()> {
        self.outcomes.clear();
        let Some(last) = self.starts.last().copied() else { return Ok(()) };
        let count = self.starts.len();
        self.outcomes.resize(count, None);

        // Only failures answer, except for the last request: its answer proves that all before it
        // were executed, as the kernel works through a datagram in order.
        let first_sequence = command.reserve(count);
        for (sequence, start) in (first_sequence..).zip(&self.starts) {
            self.datagram[start + 8..start + 12].copy_from_slice(&sequence.to_ne_bytes());
        }
        let flags = u16::from_ne_bytes([self.datagram[last + 6], self.datagram[last + 7]]);
        self.datagram[last + 6..last + 8].copy_from_slice(&(flags | NLM_F_ACK).to_ne_bytes());

        let outcomes = &mut self.outcomes;
        let lost = command.exchange(Operation::Delete, &self.datagram, |sequence, reply| {
            let at = sequence.wrapping_sub(first_sequence) as usize;
            if let Some(slot) = outcomes.get_mut(at) {
                *slot = Some(outcome(reply)?);
            }
            Ok(())
        })?;

        match outcomes.last() {
            Some(None) if !lost => {
                // Nobody answers for the end of the datagram, so it was refused as a whole: the
                // one errno there is, under the number of the first request, is the reason.
                let errno = outcomes.iter().find_map(|o| match o {
                    Some(Outcome::Failed(errno)) => Some(*errno),
                    _ => None,
                });
                Err(errno.map_or(
                    Error::NoAnswer { operation: Operation::Delete, seconds: 0 },
                    |errno| Error::kernel(Operation::Delete, errno),
                ))
            }
            // A datagram of one request that is refused for lack of privilege.
            Some(Some(Outcome::Failed(libc::EPERM))) if count == 1 => {
                Err(Error::kernel(Operation::Delete, libc::EPERM))
            }
            _ if lost => self.ask_again(command),
            _ => Ok(()),
        }
    }

    /// After an overrun, requests without an answer were executed with an unknown result. Asking
    /// again one by one is harmless, since each is pinned to its entry.
    fn ask_again(&mut self, command: &mut Command) -> Result<()> {
        let ends = self.starts.iter().skip(1).copied().chain([self.datagram.len()]);
        for ((start, end), slot) in self.starts.iter().zip(ends).zip(&mut self.outcomes) {
            if slot.is_some() {
                continue;
            }
            let request = &mut self.datagram[*start..end];
            let sequence = command.reserve(1);
            request[8..12].copy_from_slice(&sequence.to_ne_bytes());
            let flags = u16::from_ne_bytes([request[6], request[7]]) | NLM_F_ACK;
            request[6..8].copy_from_slice(&flags.to_ne_bytes());
            command.exchange(Operation::Delete, request, |answered, reply| {
                if answered == sequence {
                    *slot = Some(outcome(reply)?);
                }
                Ok(())
            })?;
            slot.get_or_insert(Outcome::Failed(libc::ENOBUFS));
        }
        Ok(())
    }
}

fn outcome(reply: Reply<'_>) -> Result<Outcome> {
    Ok(match reply {
        Reply::Error(error) => match error.raw_os_error() {
            Some(libc::ENOENT) => Outcome::AlreadyGone,
            Some(errno) => Outcome::Failed(errno),
            None => return Err(error),
        },
        _ => Outcome::Deleted,
    })
}
