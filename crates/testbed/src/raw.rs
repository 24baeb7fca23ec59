//! Requests as bytes, for what the library cannot be made to send.

use std::io;

use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR};
use netlink_sys::{Socket, SocketAddr};

/// What came back to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// `NLMSG_ERROR`: 0 or a positive errno.
    Errno(i32),
    /// `NLMSG_DONE`.
    Done,
    /// A message of this type and these flags.
    Data(u16, u16),
}

/// Sends one request in the calling thread's namespace and collects the answers.
/// `kind` is `(subsystem << 8) | message`; `NLM_F_REQUEST` is added to `flags`.
///
/// # Panics
///
/// If the socket fails.
pub fn ask(kind: u16, flags: u16, family: u8, attributes: &[u8]) -> Vec<Answer> {
    send(&request(kind, flags, family, attributes))
}

/// A request as bytes. `kind` and `flags` are those of [`ask`].
pub fn request(kind: u16, flags: u16, family: u8, attributes: &[u8]) -> Vec<u8> {
    let mut message = Vec::new();
    message.extend(u32::try_from(20 + attributes.len()).unwrap_or(0).to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend((NLM_F_REQUEST | flags).to_ne_bytes());
    message.extend(7_u32.to_ne_bytes());
    message.extend([0, 0, 0, 0, family, 0, 0, 0]);
    message.extend(attributes);
    message
}

/// A socket in the calling thread's namespace that receives from the kernel only.
///
/// # Errors
///
/// The errors of `socket(2)`, `bind(2)` and `connect(2)`.
pub fn connected() -> io::Result<Socket> {
    let mut socket = Socket::new(12)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    Ok(socket)
}

/// A socket on which a dump of the whole table is running.
///
/// # Panics
///
/// If the socket fails.
pub fn start_dump() -> Socket {
    let started = connected().and_then(|socket| {
        socket.send(&request(0x101, NLM_F_DUMP, 0, &[]), 0)?;
        Ok(socket)
    });
    started.unwrap_or_else(|e| panic!("raw dump: {e}"))
}

/// The messages of a dump of the whole table as they are, one per entry, headers included.
///
/// # Panics
///
/// If the socket fails.
pub fn capture() -> Vec<Vec<u8>> {
    let socket = start_dump();
    let mut messages = Vec::new();
    let mut datagram = Vec::with_capacity(65536);
    loop {
        datagram.clear();
        socket.recv(&mut datagram, 0).unwrap_or_else(|e| panic!("raw dump: {e}"));
        for message in ctnetlink::wire::Messages::new(&datagram).flatten() {
            if message.kind != 0x100 {
                return messages;
            }
            let start = message.payload_offset;
            messages.push(datagram[start - 16..start + message.payload.len()].to_vec());
        }
    }
}

/// Sends bytes as they are, and collects the answers.
///
/// # Panics
///
/// If the socket fails.
pub fn send(datagram: &[u8]) -> Vec<Answer> {
    let exchange = || -> io::Result<Vec<Answer>> {
        let socket = connected()?;
        socket.send(datagram, 0)?;
        let mut answers = Vec::new();
        let mut buffer = Vec::with_capacity(65536);
        loop {
            buffer.clear();
            match socket.recv(&mut buffer, libc::MSG_DONTWAIT) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(answers),
                Err(e) => return Err(e),
                Ok(_) => {}
            }
            answers.extend(ctnetlink::wire::Messages::new(&buffer).flatten().map(|message| {
                let code = message.payload.first_chunk().copied().map_or(0, i32::from_ne_bytes);
                match message.kind {
                    NLMSG_ERROR => Answer::Errno(-code),
                    NLMSG_DONE => Answer::Done,
                    kind => Answer::Data(kind, message.flags),
                }
            }));
        }
    };
    exchange().unwrap_or_else(|e| panic!("raw request: {e}"))
}
