//! Puts entries into the table, fast: hand-made `CT_NEW` requests, a thousand to a datagram.

use std::io;
use std::net::{IpAddr, SocketAddr};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST, NLMSG_ERROR};
use netlink_sys::{Socket, SocketAddr as NetlinkAddress};

const BATCH: usize = 1000;
const NETLINK_NETFILTER: isize = 12;
const IPCTNL_MSG_CT_NEW: u16 = 0x100;
const NESTED: u16 = 0x8000;

/// An entry to be created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Protocol number; one with ports.
    pub protocol: u8,
    /// Original source, reply destination.
    pub client: SocketAddr,
    /// Original destination.
    pub frontend: SocketAddr,
    /// Reply source.
    pub backend: SocketAddr,
    /// Status bits; `CONFIRMED` (8) is always added.
    pub status: u32,
    /// Seconds.
    pub timeout: u32,
    /// Mark.
    pub mark: u32,
    /// Zone of both directions.
    pub zone: u16,
    /// TCP state, for TCP.
    pub tcp_state: u8,
}

impl Entry {
    /// A replied UDP entry that lives for an hour.
    pub fn udp(client: SocketAddr, frontend: SocketAddr, backend: SocketAddr) -> Entry {
        Entry {
            protocol: 17,
            client,
            frontend,
            backend,
            status: 0xe,
            timeout: 3600,
            mark: 0,
            zone: 0,
            tcp_state: 0,
        }
    }

    /// An established TCP entry.
    pub fn tcp(client: SocketAddr, frontend: SocketAddr, backend: SocketAddr) -> Entry {
        Entry { protocol: 6, tcp_state: 3, ..Entry::udp(client, frontend, backend) }
    }

    fn append(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend([0; 4]);
        out.extend(IPCTNL_MSG_CT_NEW.to_ne_bytes());
        out.extend((NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL).to_ne_bytes());
        out.extend([0; 8]);
        out.extend([if self.client.is_ipv4() { 2 } else { 10 }, 0, 0, 0]);
        tuple(out, 1, self.client, self.frontend, self.protocol);
        tuple(out, 2, self.backend, self.client, self.protocol);
        attribute(out, 3, &(self.status | 8).to_be_bytes());
        attribute(out, 7, &self.timeout.to_be_bytes());
        if self.mark != 0 {
            attribute(out, 8, &self.mark.to_be_bytes());
        }
        if self.zone != 0 {
            attribute(out, 18, &self.zone.to_be_bytes());
        }
        if self.protocol == 6 {
            nest(out, 4, |out| nest(out, 1, |out| attribute(out, 1, &[self.tcp_state])));
        }
        let length = u32::try_from(out.len() - start).unwrap_or(u32::MAX);
        out[start..start + 4].copy_from_slice(&length.to_ne_bytes());
    }
}

/// Appends a tuple with ports.
pub fn tuple(out: &mut Vec<u8>, kind: u16, src: SocketAddr, dst: SocketAddr, protocol: u8) {
    nest(out, kind, |out| {
        nest(out, 1, |out| {
            for (address, v4, v6) in [(src.ip(), 1, 3), (dst.ip(), 2, 4)] {
                match address {
                    IpAddr::V4(address) => attribute(out, v4, &address.octets()),
                    IpAddr::V6(address) => attribute(out, v6, &address.octets()),
                }
            }
        });
        nest(out, 2, |out| {
            attribute(out, 1, &[protocol]);
            attribute(out, 2, &src.port().to_be_bytes());
            attribute(out, 3, &dst.port().to_be_bytes());
        });
    });
}

/// Appends an attribute.
pub fn attribute(out: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
    out.extend(length.to_ne_bytes());
    out.extend(kind.to_ne_bytes());
    out.extend(value);
    out.resize(out.len().next_multiple_of(4), 0);
}

/// Appends a nested attribute, whose members a closure appends.
pub fn nest(out: &mut Vec<u8>, kind: u16, members: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend([0; 2]);
    out.extend((kind | NESTED).to_ne_bytes());
    members(out);
    let length = u16::try_from(out.len() - start).unwrap_or(u16::MAX);
    out[start..start + 2].copy_from_slice(&length.to_ne_bytes());
}

/// Creates entries in the network namespace of the thread that opened it.
#[derive(Debug)]
pub struct Filler {
    socket: Socket,
    datagram: Vec<u8>,
    pending: usize,
}

impl Filler {
    /// Opens a socket.
    ///
    /// # Errors
    ///
    /// The errors of `socket(2)`, `bind(2)` and `connect(2)`.
    pub fn open() -> io::Result<Filler> {
        let mut socket = Socket::new(NETLINK_NETFILTER)?;
        socket.bind_auto()?;
        socket.connect(&NetlinkAddress::new(0, 0))?;
        Ok(Filler { socket, datagram: Vec::new(), pending: 0 })
    }

    /// Creates an entry, at the latest when the filler is [flushed](Filler::flush).
    ///
    /// # Errors
    ///
    /// The kernel's answer to any entry of the datagram, such as `EEXIST` for one that exists
    /// already.
    pub fn create(&mut self, entry: &Entry) -> io::Result<()> {
        entry.append(&mut self.datagram);
        self.pending += 1;
        if self.pending == BATCH { self.flush() } else { Ok(()) }
    }

    /// Creates all pending entries.
    ///
    /// # Errors
    ///
    /// As [`create`](Filler::create).
    pub fn flush(&mut self) -> io::Result<()> {
        if self.pending == 0 {
            return Ok(());
        }
        self.socket.send(&self.datagram, 0)?;
        self.datagram.clear();
        self.pending = 0;
        // Without NLM_F_ACK only failures answer, and they are queued when send returns.
        let mut answer = Vec::with_capacity(8192);
        match self.socket.recv(&mut answer, libc::MSG_DONTWAIT) {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(e) => return Err(e),
            Ok(_) => {}
        }
        let kind = answer.get(4..6).map(|b| u16::from_ne_bytes([b[0], b[1]]));
        match (kind, answer.get(16..20)) {
            (Some(NLMSG_ERROR), Some(code)) => {
                let code = i32::from_ne_bytes([code[0], code[1], code[2], code[3]]);
                Err(io::Error::from_raw_os_error(-code))
            }
            _ => Err(io::Error::other("unexpected answer to CT_NEW")),
        }
    }
}

/// Creates some entries.
///
/// # Panics
///
/// If the kernel refuses one.
pub fn fill<'e>(entries: impl IntoIterator<Item = &'e Entry>) {
    let filled = Filler::open().and_then(|mut filler| {
        entries.into_iter().try_for_each(|entry| filler.create(entry))?;
        filler.flush()
    });
    filled.unwrap_or_else(|e| panic!("filling the table: {e}"));
}
