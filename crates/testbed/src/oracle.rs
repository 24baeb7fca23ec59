//! Reading the table without the library under test: `netlink-packet-netfilter` in full, and the
//! `conntrack` program.

use std::io;
use std::net::{IpAddr, SocketAddr};

use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_netfilter::conntrack::{
    ConntrackAttribute, ConntrackMessage, IPTuple, ProtoTuple, Tuple,
};
use netlink_packet_netfilter::{
    NetfilterHeader, NetfilterMessage, NetfilterMessageInner, NetfilterProtoFamily,
};
use netlink_sys::{Socket, SocketAddr as NetlinkAddress};

use crate::netns::run;

/// One entry as the oracle sees it. Ports are 0 where there are none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seen {
    /// Protocol number.
    pub protocol: u8,
    /// Original source.
    pub orig_src: SocketAddr,
    /// Original destination.
    pub orig_dst: SocketAddr,
    /// Reply source.
    pub reply_src: SocketAddr,
    /// Reply destination.
    pub reply_dst: SocketAddr,
    /// Status bits.
    pub status: u32,
    /// Mark.
    pub mark: u32,
}

/// Dumps the table of the calling thread's namespace with `netlink-packet-netfilter`.
///
/// # Errors
///
/// The errors of the socket. A message that the oracle cannot read is an error too.
pub fn dump(mut each: impl FnMut(Seen)) -> io::Result<()> {
    let mut socket = Socket::new(12)?;
    socket.bind_auto()?;
    socket.connect(&NetlinkAddress::new(0, 0))?;
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let get = NetfilterMessage::new(
        NetfilterHeader::new(NetfilterProtoFamily::Unspec, 0, 0),
        ConntrackMessage::Get(Vec::new()),
    );
    let mut request = NetlinkMessage::new(header, NetlinkPayload::from(get));
    request.finalize();
    let mut bytes = vec![0; request.buffer_len()];
    request.serialize(&mut bytes);
    socket.send(&bytes, 0)?;

    let mut buffer = Vec::with_capacity(65536);
    loop {
        buffer.clear();
        socket.recv(&mut buffer, 0)?;
        let mut at = 0;
        while at < buffer.len() {
            let message = NetlinkMessage::<NetfilterMessage>::deserialize(&buffer[at..])
                .map_err(io::Error::other)?;
            at += (message.header.length as usize).next_multiple_of(4);
            match message.payload {
                NetlinkPayload::Done(_) => return Ok(()),
                NetlinkPayload::Error(e) => return Err(e.to_io()),
                NetlinkPayload::InnerMessage(m) => match m.inner {
                    NetfilterMessageInner::Conntrack(ConntrackMessage::New(attributes)) => {
                        each(seen(&attributes)?);
                    }
                    other => return Err(io::Error::other(format!("unexpected {other:?}"))),
                },
                other => return Err(io::Error::other(format!("unexpected {other:?}"))),
            }
        }
    }
}

/// [`dump`] into a sorted list.
///
/// # Panics
///
/// If the dump fails.
pub fn table() -> Vec<Seen> {
    let mut entries = Vec::new();
    dump(|seen| entries.push(seen)).unwrap_or_else(|e| panic!("oracle: {e}"));
    entries.sort_unstable();
    entries
}

fn seen(attributes: &[ConntrackAttribute]) -> io::Result<Seen> {
    let (mut orig, mut reply, mut status, mut mark) = (None, None, 0, 0);
    for attribute in attributes {
        match attribute {
            ConntrackAttribute::CtaTupleOrig(parts) => orig = direction(parts),
            ConntrackAttribute::CtaTupleReply(parts) => reply = direction(parts),
            ConntrackAttribute::CtaStatus(bits) => status = bits.bits(),
            ConntrackAttribute::CtaMark(value) => mark = *value,
            _ => {}
        }
    }
    let (Some(orig), Some(reply)) = (orig, reply) else {
        return Err(io::Error::other("an entry without tuples"));
    };
    Ok(Seen {
        protocol: orig.0,
        orig_src: orig.1,
        orig_dst: orig.2,
        reply_src: reply.1,
        reply_dst: reply.2,
        status,
        mark,
    })
}

/// Protocol, source and destination of a tuple as the oracle has read it; ports are 0 for protocols
/// without ports.
pub fn direction(parts: &[Tuple]) -> Option<(u8, SocketAddr, SocketAddr)> {
    let (mut src, mut dst, mut protocol): (Option<IpAddr>, Option<IpAddr>, _) = (None, None, None);
    let (mut src_port, mut dst_port) = (0, 0);
    for part in parts {
        match part {
            Tuple::Ip(members) => {
                for member in members {
                    match member {
                        IPTuple::SourceAddress(address) => src = Some(*address),
                        IPTuple::DestinationAddress(address) => dst = Some(*address),
                        _ => {}
                    }
                }
            }
            Tuple::Proto(members) => {
                for member in members {
                    match member {
                        ProtoTuple::Protocol(number) => protocol = Some(u8::from(*number)),
                        ProtoTuple::SourcePort(port) => src_port = *port,
                        ProtoTuple::DestinationPort(port) => dst_port = *port,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    Some((protocol?, SocketAddr::new(src?, src_port), SocketAddr::new(dst?, dst_port)))
}

/// `conntrack -L` in the current namespace, with further arguments: its lines, sorted.
///
/// # Panics
///
/// If the program is missing or fails.
pub fn conntrack_list(arguments: &[&str]) -> Vec<String> {
    let output = run("conntrack", &[&["-L"], arguments].concat());
    let mut lines: Vec<_> = output.lines().map(str::to_owned).collect();
    lines.sort_unstable();
    lines
}
