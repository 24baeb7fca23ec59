//! The floor: dumps filtered to UDP port 53, of both families at once, received and not looked at,
//! and deletes made beforehand.

use ctnetlink::{Conntrack, Filter, History, Rules, Scope, Verdict};
use ctnetlink_testbed::fill::{attribute, nest};
use netlink_sys::{Socket, SocketAddr as NetlinkAddress};

use crate::contender::Cost;
use crate::state::State;

pub(crate) struct Floor {
    deletes: Vec<Vec<u8>>,
}

fn message(kind: u16, flags: u16, family: u8, attributes: &[u8]) -> Vec<u8> {
    let mut message = u32::try_from(20 + attributes.len()).unwrap().to_ne_bytes().to_vec();
    message.extend(kind.to_ne_bytes());
    message.extend((1 | flags).to_ne_bytes());
    message.extend([1, 0, 0, 0, 0, 0, 0, 0, family, 0, 0, 0]);
    message.extend(attributes);
    message
}

fn connected() -> Socket {
    let mut socket = Socket::new(12).unwrap();
    socket.bind_auto().unwrap();
    socket.connect(&NetlinkAddress::new(0, 0)).unwrap();
    socket
}

impl Floor {
    /// Makes the deletes of all that is stale now, 200 a datagram.
    pub(crate) fn prepare(ct: &Conntrack, state: &State) -> Floor {
        let rules = Rules::new(&state.desired, &History::default(), &Scope::default());
        let filter: Filter = "udp and orig dst port 53".parse().unwrap();
        let mut dump = ct.dump(&filter).unwrap();
        let mut deletes = vec![Vec::new()];
        let mut in_last = 0;
        while let Some(flow) = dump.next().unwrap() {
            if !matches!(rules.verdict(&flow), Verdict::Stale(_)) {
                continue;
            }
            let mut attributes = Vec::new();
            nest(&mut attributes, 2, |out| out.extend(flow.attribute(2).unwrap()));
            attribute(&mut attributes, 12, flow.attribute(12).unwrap());
            if in_last == 200 {
                deletes.push(Vec::new());
                in_last = 0;
            }
            in_last += 1;
            let family = if flow.orig().source().is_ipv4() { 2 } else { 10 };
            deletes.last_mut().unwrap().extend(message(0x102, 0, family, &attributes));
        }
        Floor { deletes }
    }

    /// The dumps and the deletes; the dumps alone as often as there are more passes.
    pub(crate) fn run(&self, passes: u32) -> Cost {
        Cost::of(|| {
            for pass in 0..passes {
                let command = connected();
                std::thread::scope(|scope| {
                    scope.spawn(|| dump(10));
                    dump(2);
                });
                for datagram in self.deletes.iter().filter(|_| pass == 0) {
                    command.send(datagram, 0).unwrap();
                }
            }
        })
    }
}

fn dump(family: u8) {
    let mut filter = Vec::new();
    nest(&mut filter, 1, |out| {
        nest(out, 2, |out| {
            attribute(out, 1, &[17]);
            attribute(out, 3, &53_u16.to_be_bytes());
        });
    });
    nest(&mut filter, 25, |out| attribute(out, 1, &0x28_u32.to_ne_bytes()));
    let socket = connected();
    socket.send(&message(0x101, 0x300, family, &filter), 0).unwrap();
    let mut buffer = Vec::with_capacity(65536);
    loop {
        buffer.clear();
        socket.recv(&mut buffer, 0).unwrap();
        if buffer[4..6] == 3_u16.to_ne_bytes() {
            return;
        }
    }
}
