//! One netlink socket: datagrams in and out.
#![allow(unsafe_code, reason = "poll(2) has no safe form in the crates used")]

use std::io;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use netlink_sys::SocketAddr;

use crate::error::{Error, Operation, Result};
use crate::uapi::NETLINK_NETFILTER;

/// What one receive buffer holds. The kernel never sends more than 32 KiB in a dump datagram,
/// whatever the buffer (`netlink_dump` caps it).
pub(crate) const RECEIVE_CAPACITY: usize = 64 * 1024;

/// Every wait for the kernel ends after this. Ctnetlink works inside `sendmsg` and `recvmsg`, so
/// an answer that is not there at once is not expected at all.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// One socket of `NETLINK_NETFILTER`.
///
/// It is connected to port id 0: the kernel refuses what any other process sends to it
/// (`netlink_getsockbyportid`), so every message received is from the kernel.
#[derive(Debug)]
pub(crate) struct Socket {
    // Never cloned: netlink_sys::Socket::clone shares the descriptor and closes it twice.
    inner: netlink_sys::Socket,
}

impl Socket {
    /// Opens a socket in the network namespace of the calling thread.
    pub(crate) fn open() -> Result<Socket> {
        let failed = |call| move |source| Error::io(Operation::Open, call, source);
        let mut inner = netlink_sys::Socket::new(NETLINK_NETFILTER).map_err(failed("socket"))?;
        inner.bind_auto().map_err(failed("bind"))?;
        inner.connect(&SocketAddr::new(0, 0)).map_err(failed("connect"))?;
        // Both are optional (Linux 4.12): smaller error replies, and the kernel's error messages.
        let _ = inner.set_cap_ack(true);
        let _ = inner.set_ext_ack(true);
        Ok(Socket { inner })
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

    /// Sends one datagram. When this returns, the kernel has executed every request in it.
    pub(crate) fn send(&self, operation: Operation, datagram: &[u8]) -> Result<()> {
        loop {
            match self.inner.send(datagram, 0) {
                Ok(length) if length == datagram.len() => return Ok(()),
                Ok(_) => {
                    let source = io::Error::from(io::ErrorKind::WriteZero);
                    return Err(Error::io(operation, "send", source));
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(Error::io(operation, "send", e)),
            }
        }
    }

    /// Receives one datagram into `buffer`, whose contents it replaces. False if none is queued.
    pub(crate) fn try_receive(&self, operation: Operation, buffer: &mut Vec<u8>) -> Result<bool> {
        loop {
            // recv appends to a Vec, and never beyond its capacity as long as that is not zero.
            buffer.clear();
            match self.inner.recv(buffer, libc::MSG_DONTWAIT | libc::MSG_TRUNC) {
                Ok(length) if length > buffer.len() => {
                    let capacity = buffer.len();
                    return Err(Error::Truncated { operation, length, capacity });
                }
                Ok(_) => return Ok(true),
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
