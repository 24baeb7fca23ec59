//! The floor: dumps filtered to UDP port 53, of both families at once, received and not looked at,
//! and deletes made beforehand.

use std::net::{IpAddr, Ipv4Addr};

use ctnetlink::{Conntrack, Filter, History, Rules, Scope, Verdict};
use ctnetlink_testbed::fill::{attribute, nest};
use ctnetlink_testbed::raw::{connected, request};

use crate::contender::Cost;
use crate::state::State;

/// Numbers of the families.
const FAMILIES: [u8; 2] = [2, 10];

pub(crate) struct Floor {
    /// By family.
    deletes: [Vec<Vec<u8>>; 2],
    /// The frontend that all stale entries lead to: a second pass is narrowed to it.
    frontend: Ipv4Addr,
}

impl Floor {
    /// Makes the deletes of all that is stale now, 200 a datagram.
    pub(crate) fn prepare(ct: &Conntrack, state: &State) -> Floor {
        let rules = Rules::new(&state.desired, &History::default(), &Scope::default());
        let filter: Filter = "udp and orig dst port 53".parse().unwrap();
        let mut dump = ct.dump(&filter).unwrap();
        let mut requests = [Vec::new(), Vec::new()];
        while let Some(flow) = dump.next().unwrap() {
            if !matches!(rules.verdict(&flow), Verdict::Stale(_)) {
                continue;
            }
            let mut attributes = Vec::new();
            nest(&mut attributes, 2, |out| out.extend(flow.attribute(2).unwrap()));
            attribute(&mut attributes, 12, flow.attribute(12).unwrap());
            let v6 = flow.orig().source().is_ipv6();
            requests[usize::from(v6)].push(request(
                0x102,
                0,
                FAMILIES[usize::from(v6)],
                &attributes,
            ));
        }
        let deletes = requests.map(|each| each.chunks(200).map(<[_]>::concat).collect());
        let frontends = state.dead.iter().map(|(frontend, _)| frontend.ip());
        let mut v4: Vec<_> = frontends
            .filter_map(|ip| if let IpAddr::V4(ip) = ip { Some(ip) } else { None })
            .collect();
        v4.dedup();
        assert_eq!(v4.len(), 1, "all that is stale leads to one frontend");
        Floor { deletes, frontend: v4[0] }
    }

    /// The dumps and the deletes, and the narrower dumps of a second pass.
    pub(crate) fn run(&self, passes: u32) -> Cost {
        Cost::of(|| {
            for pass in 0..passes {
                std::thread::scope(|scope| {
                    scope.spawn(|| self.walk(1, pass));
                    self.walk(0, pass);
                });
            }
        })
    }

    fn walk(&self, family: usize, pass: u32) {
        let narrow = (family == 0 && pass > 0).then_some(self.frontend);
        dump(FAMILIES[family], narrow);
        if pass == 0 {
            let command = connected().unwrap();
            for datagram in &self.deletes[family] {
                command.send(datagram, 0).unwrap();
            }
        }
    }
}

/// Dumps UDP port 53, of one address or of any.
fn dump(family: u8, address: Option<Ipv4Addr>) {
    let mut filter = Vec::new();
    nest(&mut filter, 1, |out| {
        if let Some(address) = address {
            nest(out, 1, |out| attribute(out, 2, &address.octets()));
        }
        nest(out, 2, |out| {
            attribute(out, 1, &[17]);
            attribute(out, 3, &53_u16.to_be_bytes());
        });
    });
    let flags: u32 = if address.is_some() { 0x2a } else { 0x28 };
    nest(&mut filter, 25, |out| attribute(out, 1, &flags.to_ne_bytes()));
    let socket = connected().unwrap();
    socket.send(&request(0x101, 0x300, family, &filter), 0).unwrap();
    let mut buffer = Vec::with_capacity(65536);
    loop {
        buffer.clear();
        socket.recv(&mut buffer, 0).unwrap();
        if buffer[4..6] == 3_u16.to_ne_bytes() {
            return;
        }
    }
}
