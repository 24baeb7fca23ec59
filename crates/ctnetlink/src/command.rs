//! The command socket: exchanges that the caller waits for, one at a time.

use crate::error::{Error, Operation, Result};
use crate::reply::Reply;
use crate::request;
use crate::socket::{RECEIVE_CAPACITY, Socket};
use crate::wire::{Message, Messages};

/// A socket with its buffer and its own count of sequence numbers. Dumps of the table have sockets
/// of their own, so nothing but answers to commands arrives here.
#[derive(Debug)]
pub(crate) struct Command {
    socket: Socket,
    buffer: Vec<u8>,
    next_sequence: u32,
}

impl Command {
    pub(crate) fn new(socket: Socket) -> Command {
        Command { socket, buffer: Vec::with_capacity(RECEIVE_CAPACITY), next_sequence: 1 }
    }

    pub(crate) fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Reserves consecutive sequence numbers and returns the first. 0 is never used: events have
    /// it.
    pub(crate) fn reserve(&mut self, count: usize) -> u32 {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        if self.next_sequence > u32::MAX - count {
            self.next_sequence = 1;
        }
        let end = self.next_sequence.saturating_add(count);
        std::mem::replace(&mut self.next_sequence, end)
    }

    /// Sends a datagram and hands over every message that is queued in answer to it.
    ///
    /// Nothing is waited for: when send returns, the kernel has executed the requests and queued
    /// all answers (it works inside `sendmsg`). True if the receive buffer overflowed, so that
    /// some are missing.
    pub(crate) fn exchange(
        &mut self,
        operation: Operation,
        datagram: &[u8],
        mut each: impl FnMut(u32, Reply<'_>) -> Result<()>,
    ) -> Result<bool> {
        let mut lost = false;
        // An error in the middle leaves answers queued; the next exchange skips them by number.
        self.socket.send(operation, datagram)?;
        loop {
            match self.socket.try_receive(operation, &mut self.buffer) {
                Ok(true) => {}
                Ok(false) => return Ok(lost),
                // Reported once, before what did fit.
                Err(Error::Overrun { .. }) => {
                    lost = true;
                    continue;
                }
                Err(error) => return Err(error),
            }
            for message in Messages::new(&self.buffer) {
                let message = message.map_err(|source| Error::decode(operation, source))?;
                each(message.sequence, Reply::of(operation, message))?;
            }
        }
    }

    /// One request that is acknowledged. Data that comes before the acknowledgement is handed
    /// over, echoed events (sequence 0) included.
    pub(crate) fn request(
        &mut self,
        operation: Operation,
        mut request: Vec<u8>,
        mut each: impl FnMut(&Message<'_>) -> Result<()>,
    ) -> Result<()> {
        let sequence = self.reserve(1);
        request::seal(&mut request, sequence, true);
        let mut answered = None;
        let lost = self.exchange(operation, &request, |number, reply| {
            match reply {
                Reply::Data(message) if number == sequence || number == 0 => each(&message)?,
                _ if number != sequence => {}
                Reply::Ack => answered = Some(Ok(())),
                Reply::Error(error) => answered = Some(Err(error)),
                Reply::Data(_) | Reply::Done | Reply::Noise => {}
            }
            Ok(())
        })?;
        match answered {
            Some(result) => result,
            None if lost => Err(Error::Overrun { operation }),
            None => Err(Error::NoAnswer { operation, seconds: 0 }),
        }
    }

    /// The start of a dump: whether the kernel refuses it. What it dumps is not looked at, and the
    /// socket is of no use afterwards.
    pub(crate) fn first(&mut self, operation: Operation, mut request: Vec<u8>) -> Result<()> {
        let sequence = self.reserve(1);
        request::seal(&mut request, sequence, false);
        self.socket.send(operation, &request)?;
        self.socket.receive(operation, &mut self.buffer)?;
        match Messages::new(&self.buffer).next() {
            Some(Ok(message)) => match Reply::of(operation, message) {
                Reply::Error(error) => Err(error),
                _ => Ok(()),
            },
            Some(Err(source)) => Err(Error::decode(operation, source)),
            None => Err(Error::NoAnswer { operation, seconds: 0 }),
        }
    }

    /// A dump that fits an exchange: statistics, expectations, timeout policies. It asks for an
    /// acknowledgement too, because some dumps that have nothing to say send no `NLMSG_DONE`.
    pub(crate) fn collect(
        &mut self,
        operation: Operation,
        mut request: Vec<u8>,
        mut each: impl FnMut(&Message<'_>) -> Result<()>,
    ) -> Result<()> {
        let sequence = self.reserve(1);
        request::seal(&mut request, sequence, true);
        self.socket.send(operation, &request)?;
        loop {
            self.socket.receive(operation, &mut self.buffer)?;
            for message in Messages::new(&self.buffer) {
                let message = message.map_err(|source| Error::decode(operation, source))?;
                if message.sequence != sequence {
                    continue;
                }
                match Reply::of(operation, message) {
                    Reply::Data(message) => each(&message)?,
                    Reply::Done | Reply::Ack => return Ok(()),
                    Reply::Error(error) => return Err(error),
                    Reply::Noise => {}
                }
            }
        }
    }
}
