//! Entries as the kernel would dump them, for tests of what never sees a kernel.

use std::net::{IpAddr, SocketAddr};

use crate::model::flow::{Flow, FlowRef};
use crate::model::protocol::Protocol;
use crate::model::tuple::Family;
use crate::uapi::{cta, tuple as t};

/// What a test wants to say about an entry.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    pub(crate) protocol: Protocol,
    pub(crate) client: SocketAddr,
    /// Original destination.
    pub(crate) frontend: SocketAddr,
    /// Reply source.
    pub(crate) backend: SocketAddr,
    pub(crate) zone: u16,
    /// Packets of the reply direction were seen.
    pub(crate) answered: bool,
    /// Leave the reply tuple without ports.
    pub(crate) portless_reply: bool,
}

impl Sample {
    pub(crate) fn udp(frontend: &str, backend: &str) -> Sample {
        let frontend: SocketAddr = frontend.parse().unwrap();
        let client = if frontend.is_ipv4() { "10.0.0.1:1001" } else { "[fd00::1]:1001" };
        Sample {
            protocol: Protocol::UDP,
            client: client.parse().unwrap(),
            frontend,
            backend: backend.parse().unwrap(),
            zone: 0,
            answered: true,
            portless_reply: false,
        }
    }

    pub(crate) fn protocol(self, protocol: Protocol) -> Sample {
        Sample { protocol, ..self }
    }

    pub(crate) fn zone(self, zone: u16) -> Sample {
        Sample { zone, ..self }
    }

    pub(crate) fn unanswered(self) -> Sample {
        Sample { answered: false, ..self }
    }

    pub(crate) fn flow(&self) -> Flow {
        let family = Family::of(self.frontend.ip());
        let mut payload = vec![family.number(), 0, 0, 0];
        let orig = self.tuple(self.client, self.frontend, false);
        let reply = self.tuple(self.backend, self.client, self.portless_reply);
        push(&mut payload, cta::TUPLE_ORIG, &orig);
        push(&mut payload, cta::TUPLE_REPLY, &reply);
        if self.zone != 0 {
            push(&mut payload, cta::ZONE, &self.zone.to_be_bytes());
        }
        let status: u32 = if self.answered { 0x1aa } else { 0x1a8 };
        push(&mut payload, cta::STATUS, &status.to_be_bytes());
        push(&mut payload, cta::ID, &[1, 2, 3, 4]);
        FlowRef::parse(&payload).unwrap().to_owned()
    }

    fn tuple(&self, src: SocketAddr, dst: SocketAddr, portless: bool) -> Vec<u8> {
        let (mut ip, mut proto, mut tuple) = (Vec::new(), Vec::new(), Vec::new());
        for (address, v4, v6) in
            [(src.ip(), t::IP_V4_SRC, t::IP_V6_SRC), (dst.ip(), t::IP_V4_DST, t::IP_V6_DST)]
        {
            match address {
                IpAddr::V4(address) => push(&mut ip, v4, &address.octets()),
                IpAddr::V6(address) => push(&mut ip, v6, &address.octets()),
            }
        }
        push(&mut proto, t::PROTO_NUM, &[self.protocol.0]);
        if !portless {
            push(&mut proto, t::PROTO_SRC_PORT, &src.port().to_be_bytes());
            push(&mut proto, t::PROTO_DST_PORT, &dst.port().to_be_bytes());
        }
        push(&mut tuple, t::IP, &ip);
        push(&mut tuple, t::PROTO, &proto);
        tuple
    }
}

fn push(bytes: &mut Vec<u8>, kind: u16, value: &[u8]) {
    bytes.extend(u16::try_from(value.len() + 4).unwrap().to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}
