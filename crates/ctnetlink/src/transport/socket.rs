//! One netlink socket: datagrams in and out.
#![allow(unsafe_code, reason = "poll(2) has no safe form in the crates used")]

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::thread;
use std::time::{Duration, Instant};

use netlink_sys::SocketAddr;

use crate::error::{Error, Operation, Result};
use crate::transport::process::ProcessId;
use crate::uapi::NETLINK_NETFILTER;

/// What one receive buffer holds. The kernel never sends more than 32 KiB in a dump datagram,
/// whatever the buffer (`netlink_dump` caps it).
pub(crate) const RECEIVE_CAPACITY: usize = 64 * 1024;

/// Every wait for the kernel ends after this. Ctnetlink works inside `sendmsg` and `recvmsg`, so
/// an answer that is not there at once is not expected at all.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// How often a datagram is sent again for which the kernel has no memory, and how long it is given
/// to find some.
const SEND_AGAIN: usize = 5;
const SEND_PAUSE: Duration = Duration::from_millis(2);

/// One socket of `NETLINK_NETFILTER`.
///
/// Only the kernel is believed. The socket is connected to port id 0, so that the kernel refuses
/// what any other process sends to it (`netlink_getsockbyportid`). It is connected at once, which
/// also binds it: before that it has no port id that anybody could send to. What comes between the
/// kernel's own bind and connect is discarded, and the sender of each datagram is compared.
#[derive(Debug)]
pub(crate) struct Socket {
    // Never cloned: netlink_sys::Socket::clone shares the descriptor and closes it twice.
    inner: netlink_sys::Socket,
    /// The process that opened it. In a forked one, both would receive from the same queue.
    process: ProcessId,
}

/// The first number of a series of requests. It is random, so that no answer can be forged or, in a
/// process with the same descriptors, be mistaken for one's own.
pub(crate) fn first_sequence() -> u32 {
    // The standard library's only source of random numbers, keyed by getrandom(2).
    let [low @ .., _, _, _, _] = RandomState::new().build_hasher().finish().to_ne_bytes();
    // 0 is the number of events.
    u32::from_ne_bytes(low).max(1)
}

/// An empty receive buffer.
///
/// # Errors
///
/// `ENOMEM`: a failed allocation does not end the process.
pub(crate) fn receive_buffer(operation: Operation) -> Result<Vec<u8>> {
    buffer_of(operation, RECEIVE_CAPACITY)
}

fn buffer_of(operation: Operation, capacity: usize) -> Result<Vec<u8>> {
    let mut buffer = Vec::new();
    match buffer.try_reserve_exact(capacity) {
        Ok(()) => Ok(buffer),
        Err(_) => {
            let source = io::Error::from_raw_os_error(libc::ENOMEM);
            Err(Error::io(operation, "allocating a receive buffer", source))
        }
    }
}

impl Socket {
    /// Opens a socket in the network namespace of the calling thread.
    pub(crate) fn open() -> Result<Socket> {
        let failed = |call| move |source| Error::io(Operation::Open, call, source);
        Socket::settle(netlink_sys::Socket::new(NETLINK_NETFILTER).map_err(failed("socket"))?)
    }

    /// Connects a new socket to the kernel, and discards what came before that.
    fn settle(inner: netlink_sys::Socket) -> Result<Socket> {
        let failed = |call| move |source| Error::io(Operation::Open, call, source);
        inner.connect(&SocketAddr::new(0, 0)).map_err(failed("connect"))?;
        let socket = Socket { inner, process: ProcessId::current() };
        let mut buffer = buffer_of(Operation::Open, 4096)?;
        loop {
            match socket.try_receive(Operation::Open, &mut buffer) {
                Ok(false) => break,
                Ok(true) | Err(Error::Truncated { .. } | Error::Overrun { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        // Both are optional (Linux 4.12): smaller error replies, and the kernel's error messages.
        let _ = socket.inner.set_cap_ack(true);
        let _ = socket.inner.set_ext_ack(true);
        Ok(socket)
    }

    /// The error of a socket that another process opened.
    fn check_process(&self, operation: Operation) -> Result<()> {
        if ProcessId::current() == self.process {
            return Ok(());
        }
        Err(Error::Invalid(format!(
            "{operation}: it was started in another process, from which this one was forked; start \
             it here"
        )))
    }

    /// The port id the kernel gave the socket.
    pub(crate) fn port_id(&self) -> Result<u32> {
        let mut address = SocketAddr::new(0, 0);
        let asked = self.inner.get_address(&mut address);
        asked.map_err(|source| Error::io(Operation::Open, "getsockname", source))?;
        Ok(address.port_number())
    }

    /// Asks for a receive buffer of this size and returns the real size: the kernel doubles the
    /// number, and silently limits it to `net.core.rmem_max`.
    pub(crate) fn set_receive_buffer(&self, bytes: i32) -> Result<usize> {
        let failed = |call| move |source| Error::io(Operation::Open, call, source);
        self.inner.set_rx_buf_sz(bytes).map_err(failed("setsockopt SO_RCVBUF"))?;
        self.inner.get_rx_buf_sz().map_err(failed("getsockopt SO_RCVBUF"))
    }

    /// Sends one datagram. When this returns, the kernel has executed every request in it; after an
    /// error it has executed none.
    pub(crate) fn send(&self, operation: Operation, datagram: &[u8]) -> Result<()> {
        self.check_process(operation)?;
        let mut again = 0;
        loop {
            match self.inner.send(datagram, 0) {
                Ok(length) if length == datagram.len() => return Ok(()),
                Ok(_) => {
                    let source = io::Error::from(io::ErrorKind::WriteZero);
                    return Err(Error::io(operation, "send", source));
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                // No memory for the datagram (netlink_sendmsg), which was not executed.
                Err(e) if e.raw_os_error() == Some(libc::ENOBUFS) && again < SEND_AGAIN => {
                    again += 1;
                    thread::sleep(SEND_PAUSE);
                }
                Err(e) => return Err(Error::io(operation, "send", e)),
            }
        }
    }

    /// Receives one datagram into `buffer`, whose contents it replaces. False if none is queued.
    pub(crate) fn try_receive(&self, operation: Operation, buffer: &mut Vec<u8>) -> Result<bool> {
        self.check_process(operation)?;
        loop {
            // recv_from appends to a Vec, and never beyond its capacity as long as that is not zero.
            buffer.clear();
            match self.inner.recv_from(buffer, libc::MSG_DONTWAIT | libc::MSG_TRUNC) {
                // Not from the kernel.
                Ok((_, sender)) if sender.port_number() != 0 => {}
                Ok((length, _)) if length > buffer.len() => {
                    let capacity = buffer.len();
                    return Err(Error::Truncated { operation, length, capacity });
                }
                Ok(_) => return Ok(true),
                Err(e) if e.raw_os_error() == Some(libc::ENOBUFS) => {
                    return Err(Error::Overrun { operation });
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(e) => return Err(Error::io(operation, "recv", e)),
            }
        }
    }

    /// Receives one datagram, waiting for it no longer than [`PATIENCE`].
    pub(crate) fn receive(&self, operation: Operation, buffer: &mut Vec<u8>) -> Result<()> {
        self.receive_within(PATIENCE, operation, buffer)
    }

    fn receive_within(
        &self,
        patience: Duration,
        operation: Operation,
        buffer: &mut Vec<u8>,
    ) -> Result<()> {
        let deadline = Instant::now() + patience;
        while !self.try_receive(operation, buffer)? {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Error::NoAnswer { operation, seconds: patience.as_secs() });
            }
            self.wait(operation, left)?;
        }
        Ok(())
    }

    /// Fills the receive buffer with answers nobody reads until one is lost.
    #[cfg(test)]
    pub(crate) fn overflow(&self) {
        use crate::request::probe;
        self.set_receive_buffer(1).unwrap();
        (0..20).for_each(|_| self.send(Operation::Probe, &probe::control()).unwrap());
    }

    fn wait(&self, operation: Operation, at_most: Duration) -> Result<()> {
        let mut descriptor =
            libc::pollfd { fd: self.inner.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        let milliseconds = i32::try_from(at_most.as_millis().max(1)).unwrap_or(i32::MAX);
        // SAFETY: the pointer is to one valid pollfd that lives through the call, and the
        // descriptor is open as long as `self` is.
        let result = unsafe { libc::poll(&raw mut descriptor, 1, milliseconds) };
        match result {
            0.. => Ok(()),
            _ => match io::Error::last_os_error() {
                e if e.kind() == io::ErrorKind::Interrupted => Ok(()),
                e => Err(Error::io(operation, "poll", e)),
            },
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use ctnetlink_testbed::fill::{Entry, fill};
    use ctnetlink_testbed::netns::in_netns;

    use super::*;
    use crate::filter::kernel_part::KernelPart;
    use crate::request::{entry, filter};

    fn receive(socket: &Socket, capacity: usize) -> Result<bool> {
        socket.try_receive(Operation::Dump, &mut Vec::with_capacity(capacity))
    }

    /// A process that is not the kernel sends to our port id: the kernel itself refuses it.
    #[test]
    fn only_the_kernel_is_believed() {
        in_netns(|| {
            let ours = Socket::open().unwrap();
            let mut address = SocketAddr::new(0, 0);
            ours.inner.get_address(&mut address).unwrap();
            let forged = entry::stats(1);
            let stranger = netlink_sys::Socket::new(NETLINK_NETFILTER).unwrap();
            let refused = stranger.send_to(&forged, &address, 0).unwrap_err();
            assert_eq!(refused.raw_os_error(), Some(libc::ECONNREFUSED));
            assert!(!receive(&ours, 4096).unwrap());

            // A socket that is not connected receives the same message: so the test can fail.
            let mut open = netlink_sys::Socket::new(NETLINK_NETFILTER).unwrap();
            let address = open.bind_auto().unwrap();
            stranger.send_to(&forged, &address, 0).unwrap();
            let length = open.recv(&mut Vec::with_capacity(4096), libc::MSG_DONTWAIT).unwrap();
            assert_eq!(length, forged.len());
        });
    }

    /// The kernel binds a socket a moment before it is connected. What a stranger sends to it in
    /// between is discarded: it is neither an answer nor an overrun.
    #[test]
    fn what_came_before_the_connection_is_discarded() {
        in_netns(|| {
            for messages in [1, 1000] {
                let mut early = netlink_sys::Socket::new(NETLINK_NETFILTER).unwrap();
                let address = early.bind_auto().unwrap();
                let stranger = netlink_sys::Socket::new(NETLINK_NETFILTER).unwrap();
                let done = [20, 0, 0, 0, 3, 0, 2, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
                let sent = (0..messages)
                    .take_while(|_| stranger.send_to(&done, &address, libc::MSG_DONTWAIT).is_ok());
                assert!(sent.count() > 0);
                let ours = Socket::settle(early).unwrap();
                assert!(!receive(&ours, 4096).unwrap());
                // And if some were left, they are not from the kernel.
                assert!(stranger.send_to(&done, &address, 0).is_err());
                ours.send(Operation::Count, &entry::stats(1)).unwrap();
                assert!(receive(&ours, 4096).unwrap());
            }
        });
    }

    /// A datagram from anybody else is skipped, even where nothing else keeps it out.
    #[test]
    fn the_sender_of_each_datagram_is_compared() {
        in_netns(|| {
            let mut inner = netlink_sys::Socket::new(NETLINK_NETFILTER).unwrap();
            let address = inner.bind_auto().unwrap();
            let stranger = netlink_sys::Socket::new(NETLINK_NETFILTER).unwrap();
            stranger.send_to(&entry::stats(1), &address, 0).unwrap();
            let ours = Socket { inner, process: ProcessId::current() };
            assert!(!receive(&ours, 4096).unwrap());
        });
    }

    #[test]
    fn numbers_begin_somewhere() {
        let numbers: std::collections::BTreeSet<_> = (0..16).map(|_| first_sequence()).collect();
        assert!(numbers.len() > 10 && !numbers.contains(&0), "{numbers:?}");
    }

    #[test]
    fn a_failed_allocation_is_an_error() {
        let error = buffer_of(Operation::Dump, usize::MAX).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOMEM));
        let text = error.to_string();
        assert!(text.starts_with("dump: allocating a receive buffer: "), "{text}");
    }

    #[test]
    fn a_socket_of_another_process_is_refused() {
        in_netns(|| {
            let mut socket = Socket::open().unwrap();
            socket.process = ProcessId::of_nobody();
            let request = entry::stats(1);
            for error in [
                socket.send(Operation::Dump, &request).unwrap_err(),
                receive(&socket, 4096).unwrap_err(),
            ] {
                assert!(error.to_string().contains("started in another process"), "{error}");
            }
        });
    }

    #[test]
    fn no_hang() {
        in_netns(|| {
            let socket = Socket::open().unwrap();
            let started = Instant::now();
            let patience = Duration::from_millis(50);
            let mut buffer = Vec::with_capacity(4096);
            let error = socket.receive_within(patience, Operation::Dump, &mut buffer).unwrap_err();
            assert!(matches!(error, Error::NoAnswer { .. }), "{error}");
            assert!(started.elapsed() >= patience);
            assert!(started.elapsed() < PATIENCE);
        });
    }

    #[test]
    fn a_cut_datagram_is_an_error() {
        in_netns(|| {
            let at = |text: &str| text.parse().unwrap();
            let (frontend, backend) = (at("10.0.0.2:2"), at("10.0.0.3:3"));
            fill(&[
                Entry::udp(at("10.0.0.1:1"), frontend, backend),
                Entry::udp(at("10.0.0.1:2"), frontend, backend),
            ]);
            let socket = Socket::open().unwrap();
            socket.send(Operation::Dump, &filter::dump(1, &KernelPart::default())).unwrap();
            let error = receive(&socket, 200).unwrap_err();
            assert!(
                matches!(error, Error::Truncated { capacity: 200, length, .. } if length > 200),
                "{error}"
            );
            assert!(error.is_incomplete());
        });
    }
}
