//! The command socket: exchanges that the caller waits for, one at a time.

use crate::error::{Error, Operation, Result};
use crate::model::flow::Flow;
use crate::request;
use crate::transport::answer::{self, Answer};
use crate::transport::socket::{Socket, first_sequence, receive_buffer};
use crate::wire::{Message, Messages};

/// A socket with its buffer and its own count of sequence numbers. Dumps of the table have their
/// own sockets, so only answers to commands arrive here.
#[derive(Debug)]
pub(crate) struct Command {
    socket: Socket,
    buffer: Vec<u8>,
    next_sequence: u32,
}

impl Command {
    pub(crate) fn new(socket: Socket) -> Result<Command> {
        let buffer = receive_buffer(Operation::Open)?;
        Ok(Command { socket, buffer, next_sequence: first_sequence() })
    }

    pub(crate) fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Reserves consecutive sequence numbers and returns the first. 0 is never used, because it is
    /// the number of events.
    pub(crate) fn reserve(&mut self, count: usize) -> u32 {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        if self.next_sequence > u32::MAX - count {
            self.next_sequence = 1;
        }
        let end = self.next_sequence.saturating_add(count);
        std::mem::replace(&mut self.next_sequence, end)
    }

    /// Sends a datagram. When this returns, the kernel has executed the requests and queued all
    /// answers: it works inside `sendmsg`. If it fails, nothing was executed.
    pub(crate) fn send(&mut self, operation: Operation, datagram: &[u8]) -> Result<()> {
        self.socket.send(operation, datagram)
    }

    /// Hands over every message that is queued, without waiting for any. True if the receive buffer
    /// overflowed, so that some are missing.
    pub(crate) fn drain(
        &mut self,
        operation: Operation,
        mut each: impl FnMut(u32, Answer<'_>) -> Result<()>,
    ) -> Result<bool> {
        let mut lost = false;
        // An error in the middle leaves answers queued; the next exchange skips them by number.
        loop {
            match self.socket.try_receive(operation, &mut self.buffer) {
                Ok(true) => {}
                Ok(false) => return Ok(lost),
                // The kernel reports it once, before the messages that did fit.
                Err(Error::Overrun { .. }) => {
                    lost = true;
                    continue;
                }
                Err(error) => return Err(error),
            }
            for message in Messages::new(&self.buffer) {
                let message = message.map_err(|source| Error::decode(operation, source))?;
                each(message.sequence, Answer::of(operation, message))?;
            }
        }
    }

    /// Sends a datagram and hands over every message that is queued in answer to it.
    pub(crate) fn exchange(
        &mut self,
        operation: Operation,
        datagram: &[u8],
        each: impl FnMut(u32, Answer<'_>) -> Result<()>,
    ) -> Result<bool> {
        self.send(operation, datagram)?;
        self.drain(operation, each)
    }

    /// Sends finished requests in one datagram and returns the number of the first, for
    /// [`drain_many`](Command::drain_many). `starts` says where each begins, `acknowledged` which
    /// of them ask for an acknowledgement. If it fails, nothing was executed.
    pub(crate) fn send_many(
        &mut self,
        operation: Operation,
        datagram: &mut [u8],
        starts: impl ExactSizeIterator<Item = usize>,
        acknowledged: impl Fn(usize) -> bool,
    ) -> Result<u32> {
        let first = self.reserve(starts.len());
        for (at, (sequence, start)) in (first..).zip(starts).enumerate() {
            request::seal(&mut datagram[start..], sequence, acknowledged(at));
        }
        self.send(operation, datagram)?;
        Ok(first)
    }

    /// [`drain`](Command::drain) with the position of the request that each message answers. What
    /// answers another datagram has a position beyond the last.
    pub(crate) fn drain_many(
        &mut self,
        operation: Operation,
        first: u32,
        mut each: impl FnMut(usize, Answer<'_>) -> Result<()>,
    ) -> Result<bool> {
        self.drain(operation, |sequence, answer| {
            each(sequence.wrapping_sub(first) as usize, answer)
        })
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
        let lost = self.exchange(operation, &request, |number, answer| {
            match answer {
                Answer::Data(message) if number == sequence || number == 0 => each(&message)?,
                _ if number != sequence => {}
                Answer::Ack => answered = Some(Ok(())),
                Answer::Error(error) => answered = Some(Err(error)),
                Answer::Data(_) | Answer::Done | Answer::Noise => {}
            }
            Ok(())
        })?;
        match answered {
            Some(result) => result,
            None if lost => Err(Error::Overrun { operation }),
            None => Err(Error::NoAnswer { operation, seconds: 0 }),
        }
    }

    /// A request that is answered with one message.
    pub(crate) fn fetch<T>(
        &mut self,
        operation: Operation,
        request: Vec<u8>,
        read: impl Fn(&Message<'_>) -> Result<T>,
    ) -> Result<T> {
        let mut found = None;
        self.request(operation, request, |message| {
            found = Some(read(message)?);
            Ok(())
        })?;
        found.ok_or(Error::NoAnswer { operation, seconds: 0 })
    }

    /// A request that is answered with one entry.
    pub(crate) fn fetch_entry(&mut self, operation: Operation, request: Vec<u8>) -> Result<Flow> {
        self.fetch(operation, request, |message| answer::entry(operation, message))
    }

    /// A request that is only acknowledged.
    pub(crate) fn act(&mut self, operation: Operation, request: Vec<u8>) -> Result<()> {
        self.request(operation, request, |_| Ok(()))
    }

    /// Starts a dump and returns an error if the kernel refuses it. The dumped data is not read, so
    /// the socket cannot be used afterwards.
    pub(crate) fn first(&mut self, operation: Operation, mut request: Vec<u8>) -> Result<()> {
        let sequence = self.reserve(1);
        request::seal(&mut request, sequence, false);
        self.socket.send(operation, &request)?;
        self.socket.receive(operation, &mut self.buffer)?;
        match Messages::new(&self.buffer).next() {
            Some(Ok(message)) => match Answer::of(operation, message) {
                Answer::Error(error) => Err(error),
                _ => Ok(()),
            },
            Some(Err(source)) => Err(Error::decode(operation, source)),
            None => Err(Error::NoAnswer { operation, seconds: 0 }),
        }
    }

    /// A small dump on this socket: statistics, expectations, timeout policies. It also asks for an
    /// acknowledgement, because some dumps without data send no `NLMSG_DONE`.
    pub(crate) fn collect(
        &mut self,
        operation: Operation,
        mut request: Vec<u8>,
        mut each: impl FnMut(&Message<'_>) -> Result<()>,
    ) -> Result<()> {
        let sequence = self.reserve(1);
        request::seal(&mut request, sequence, true);
        self.socket.send(operation, &request)?;
        // A message that the reader refuses does not end the loop: as long as a dump is unfinished,
        // the next one on this socket is EBUSY.
        let mut result = Ok(());
        let mut lost = false;
        loop {
            match self.socket.receive(operation, &mut self.buffer) {
                Ok(()) => {}
                // The kernel reports it once, before the messages that did fit. The dump is still
                // read to its end, for the reason above.
                Err(Error::Overrun { .. }) => {
                    lost = true;
                    continue;
                }
                // The end of the dump was lost, too.
                Err(Error::NoAnswer { .. }) if lost => return Err(Error::Overrun { operation }),
                Err(error) => return Err(error),
            }
            for message in Messages::new(&self.buffer) {
                let message = message.map_err(|source| Error::decode(operation, source))?;
                if message.sequence != sequence {
                    continue;
                }
                match Answer::of(operation, message) {
                    Answer::Data(message) => result = result.and_then(|()| each(&message)),
                    Answer::Done | Answer::Ack if lost => return Err(Error::Overrun { operation }),
                    Answer::Done | Answer::Ack => return result,
                    Answer::Error(error) => return Err(error),
                    Answer::Noise => {}
                }
            }
        }
    }
}

/// The errno if the kernel refused the request; `None` if it did not. A lack of privilege, and any
/// other error, is returned as an error.
pub(crate) fn refusal(result: Result<()>) -> Result<Option<i32>> {
    match result {
        Ok(()) => Ok(None),
        Err(Error::Kernel { errno, .. }) if errno != libc::EPERM => Ok(Some(errno)),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use ctnetlink_testbed::fill::{Entry, fill};
    use ctnetlink_testbed::netns::in_netns;

    use super::*;
    use crate::filter::kernel_part::KernelPart;
    use crate::request::filter;

    #[test]
    fn sequence_numbers_wrap_around_zero() {
        in_netns(|| {
            let mut command = Command::new(Socket::open().unwrap()).unwrap();
            command.next_sequence = 1;
            assert_eq!((command.reserve(1), command.reserve(200), command.reserve(1)), (1, 2, 202));
            command.next_sequence = u32::MAX - 100;
            assert_eq!(command.reserve(200), 1, "not split, and never 0");
            command.next_sequence = u32::MAX - 1;
            assert_eq!((command.reserve(1), command.reserve(1)), (u32::MAX - 1, 1));
        });
    }

    /// The answers to a command did not fit the receive buffer. The command was executed, and its
    /// result is unknown: that is an error. An answer that fits is the result, as always.
    #[test]
    fn lost_answers_of_a_command_are_an_overrun() {
        in_netns(|| {
            let mut command = Command::new(Socket::open().unwrap()).unwrap();
            command.socket.overflow();
            let error = command.act(Operation::Flush, crate::request::entry::flush(None));
            assert!(
                matches!(error, Err(Error::Overrun { operation: Operation::Flush })),
                "{error:?}"
            );
            command.act(Operation::Flush, crate::request::entry::flush(None)).unwrap();
        });
    }

    /// An unknown part of a dump on the command socket is missing. The dump is read to its end, so
    /// that the next one is not `EBUSY`.
    #[test]
    fn lost_answers_of_a_collected_dump_are_an_overrun() {
        in_netns(|| {
            let mut command = Command::new(Socket::open().unwrap()).unwrap();
            command.socket.overflow();
            let stats = || crate::request::entry::stats_cpu();
            let error = command.collect(Operation::Stats, stats(), |_| Ok(()));
            assert!(
                matches!(error, Err(Error::Overrun { operation: Operation::Stats })),
                "{error:?}"
            );
            let mut cpus = 0;
            let all = command.collect(Operation::Stats, stats(), |_| {
                cpus += 1;
                Ok(())
            });
            all.unwrap();
            assert!(cpus > 0);
        });
    }

    /// A dump of several datagrams, whose first entry the reader refuses.
    #[test]
    fn a_dump_is_read_to_its_end_whatever_its_reader_says() {
        in_netns(|| {
            let at = |host: &str, port: u16| format!("10.0.0.{host}:{port}").parse().unwrap();
            let entries: Vec<_> =
                (1..=300).map(|n| Entry::udp(at("1", n), at("2", 53), at("3", 53))).collect();
            fill(&entries);
            let mut command = Command::new(Socket::open().unwrap()).unwrap();
            let dump = || filter::dump(0, &KernelPart::default());
            let error = command
                .collect(Operation::Dump, dump(), |_| Err(Error::Invalid("not this one".into())));
            assert_eq!(error.unwrap_err().to_string(), "not this one");
            let mut seen = 0;
            command
                .collect(Operation::Dump, dump(), |_| {
                    seen += 1;
                    Ok(())
                })
                .unwrap();
            assert_eq!(seen, 300);
        });
    }
}
