//! A table as a Kubernetes node has it, of any size, with a known fate for every entry.
//!
//! Entry `i` is a pure function of `i`, and its number can be read back from its client address,
//! so nothing about the table has to be kept in memory to audit it afterwards.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ctnetlink::{DesiredState, Endpoint, Error, Protocol, Reason, ServiceKey, ServicePort};

use crate::fill::{Entry, Filler};
use crate::oracle;

/// Ports of a client address that carry the entry number.
const CLIENT_PORTS: u32 = 50_000;
const FIRST_CLIENT_PORT: u16 = 10_000;
const DNS_FRONTENDS: u32 = 2;
const DNS_BACKENDS: u32 = 4;
const TCP_SERVICES: u32 = 100;
const TCP_BACKENDS: u32 = 3;

/// A table of this many entries: 90 % TCP to a hundred services, 10 % UDP of which one in ten is
/// stale, half of it IPv4 and half IPv6 in runs of a hundred.
#[derive(Debug, Clone, Copy)]
pub struct KubeTable {
    /// How many.
    pub entries: u32,
}

/// What a reconciliation has to do with an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Must survive.
    Healthy,
    /// Must go, for this reason.
    Stale(Reason),
}

/// The result of [`KubeTable::recount`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Recount {
    /// Entries of the table that are there.
    pub present: u64,
    /// Healthy entries that are missing.
    pub healthy_lost: u64,
    /// Stale entries that are there.
    pub stale_left: u64,
}

/// Which entries are there: one bit for each.
struct Present(Vec<u64>);

impl Present {
    fn has(&self, i: u32) -> bool {
        self.0[i as usize / 64] >> (i % 64) & 1 == 1
    }
}

/// Address number `low` of network `net`, in the given family.
fn address(v6: bool, net: u8, low: u32) -> IpAddr {
    if v6 {
        let [a, b, c, d] = low.to_be_bytes().map(u16::from);
        Ipv6Addr::new(0xfd00, net.into(), 0, 0, 0, 0, a << 8 | b, c << 8 | d).into()
    } else {
        let [_, b, c, d] = low.to_be_bytes();
        Ipv4Addr::new(10, net.wrapping_add(b), c, d).into()
    }
}

fn dns_frontend(v6: bool, n: u32) -> SocketAddr {
    SocketAddr::new(address(v6, 96, 10 + n), 53)
}

fn dns_backend(v6: bool, n: u32) -> SocketAddr {
    SocketAddr::new(address(v6, 97, 5 + n), 53)
}

fn tcp_frontend(v6: bool, n: u32) -> SocketAddr {
    SocketAddr::new(address(v6, 96, 0x100 + n), 443)
}

fn tcp_backend(v6: bool, service: u32, n: u32) -> SocketAddr {
    SocketAddr::new(address(v6, 97, 0x10000 + service * 0x100 + n), 8443)
}

/// A DNS service that existed once.
fn old_frontend(v6: bool) -> SocketAddr {
    SocketAddr::new(address(v6, 96, 99), 53)
}

/// A backend that served once.
fn dead_backend(v6: bool) -> SocketAddr {
    SocketAddr::new(address(v6, 97, 200), 53)
}

impl KubeTable {
    /// Entry number `i`, and what has to become of it. None of them expires within a day.
    pub fn entry(&self, i: u32) -> (Entry, Fate) {
        let (entry, fate) = self.recipe(i);
        (Entry { timeout: 24 * 3600, ..entry }, fate)
    }

    fn recipe(&self, i: u32) -> (Entry, Fate) {
        let v6 = (i / 100) % 2 == 1;
        let client = SocketAddr::new(
            address(v6, 128, 1 + i / CLIENT_PORTS),
            FIRST_CLIENT_PORT + u16::try_from(i % CLIENT_PORTS).unwrap_or(0),
        );
        if !i.is_multiple_of(10) {
            let service = i % TCP_SERVICES;
            let backend = tcp_backend(v6, service, (i / TCP_SERVICES) % TCP_BACKENDS);
            return (Entry::tcp(client, tcp_frontend(v6, service), backend), Fate::Healthy);
        }
        let udp = i / 10;
        let frontend = dns_frontend(v6, udp % DNS_FRONTENDS);
        let entry = |frontend, backend| Entry::udp(client, frontend, backend);
        let mut other_port = frontend;
        other_port.set_port(9153);
        let outside = SocketAddr::new(address(v6, 8, 0x0808), 53);
        match udp % 10 {
            0 => {
                let (reason, frontend, backend) = match (udp / 20) % 4 {
                    0 => (Reason::BackendGone, frontend, dead_backend(v6)),
                    1 => {
                        let mut old_port = dns_backend(v6, 0);
                        old_port.set_port(5353);
                        (Reason::BackendPortChanged, frontend, old_port)
                    }
                    2 => (Reason::NotTranslated, frontend, frontend),
                    _ => (Reason::FrontendRemoved, old_frontend(v6), dead_backend(v6)),
                };
                // Nobody answers at a dead backend, so no reply was seen.
                (Entry { status: 0x8, ..entry(frontend, backend) }, Fate::Stale(reason))
            }
            // What looks similar and must survive: another port of the frontend's address, a DNS
            // server that is not a service, and a frontend that is not ours.
            7 => (entry(other_port, dead_backend(v6)), Fate::Healthy),
            8 => (entry(outside, outside), Fate::Healthy),
            9 => (entry(outside, dead_backend(v6)), Fate::Healthy),
            n => (entry(frontend, dns_backend(v6, n % DNS_BACKENDS)), Fate::Healthy),
        }
    }

    /// The number of the entry with this client.
    pub fn number(&self, client: SocketAddr) -> Option<u32> {
        let low = match client.ip() {
            IpAddr::V4(a) => u32::from(a) & 0xff_ffff,
            IpAddr::V6(a) => u32::from(a.segments()[6]) << 16 | u32::from(a.segments()[7]),
        };
        let base = if client.is_ipv4() { 128 << 16 } else { 0 };
        let high = low.checked_sub(base + 1)?;
        let port = client.port().checked_sub(FIRST_CLIENT_PORT)?;
        let i = high.checked_mul(CLIENT_PORTS)?.checked_add(port.into())?;
        (i < self.entries && self.entry(i).0.client == client).then_some(i)
    }

    /// Creates all entries in the calling thread's namespace. Calls back now and then with the
    /// number made so far.
    ///
    /// # Errors
    ///
    /// The kernel's answer to an entry it refuses.
    pub fn fill(&self, progress: impl FnMut(u32)) -> io::Result<()> {
        self.fill_from(0, progress)
    }

    /// Creates the entries from this number on, as [`fill`](KubeTable::fill) does. A smaller table
    /// can grow in this way, because it is the beginning of a larger one.
    ///
    /// # Errors
    ///
    /// As [`fill`](KubeTable::fill).
    pub fn fill_from(&self, first: u32, mut progress: impl FnMut(u32)) -> io::Result<()> {
        let mut filler = Filler::open()?;
        for i in first..self.entries {
            filler.create(&self.entry(i).0)?;
            if i % 10_000 == 0 {
                progress(i);
            }
        }
        filler.flush()
    }

    /// The desired state: the services as they are.
    ///
    /// # Errors
    ///
    /// None, unless the table itself has a mistake.
    pub fn desired(&self) -> Result<DesiredState, Error> {
        let mut builder = DesiredState::builder();
        for n in 0..DNS_FRONTENDS {
            let mut service = service(&format!("dns-{n}"), Protocol::UDP, |v6| dns_frontend(v6, n));
            for v6 in [false, true] {
                let serving = (0..DNS_BACKENDS).map(|b| Endpoint::from(dns_backend(v6, b)));
                service.endpoints.extend(serving);
                service.endpoints.push(Endpoint::from(dead_backend(v6)).serving(false));
            }
            builder = builder.service(service);
        }
        for n in 0..TCP_SERVICES {
            let mut service = service(&format!("web-{n}"), Protocol::TCP, |v6| tcp_frontend(v6, n));
            for v6 in [false, true] {
                let backends = (0..TCP_BACKENDS).map(|b| Endpoint::from(tcp_backend(v6, n, b)));
                service.endpoints.extend(backends);
            }
            builder = builder.service(service);
        }
        builder.build()
    }

    /// The previous state: only the service that has been removed since.
    ///
    /// # Errors
    ///
    /// As [`desired`](KubeTable::desired).
    pub fn previous(&self) -> Result<DesiredState, Error> {
        DesiredState::builder().service(service("dns-old", Protocol::UDP, old_frontend)).build()
    }

    /// Counts what is in the table with the oracle, entry by entry against the recipe. Keeps one
    /// bit per entry.
    ///
    /// # Errors
    ///
    /// The errors of the oracle's dump.
    pub fn recount(&self) -> io::Result<Recount> {
        Ok(self.recount_of(&self.present()?))
    }

    /// Creates what is missing, and says what had been there before.
    ///
    /// # Errors
    ///
    /// The errors of the oracle's dump, and the kernel's answer to an entry it refuses.
    pub fn restore(&self) -> io::Result<Recount> {
        let present = self.present()?;
        let mut filler = Filler::open()?;
        for i in (0..self.entries).filter(|i| !present.has(*i)) {
            filler.create(&self.entry(i).0)?;
        }
        filler.flush()?;
        Ok(self.recount_of(&present))
    }

    fn present(&self) -> io::Result<Present> {
        let mut present = Present(vec![0; self.entries as usize / 64 + 1]);
        oracle::dump(|seen| {
            let Some(i) = self.number(seen.orig_src) else { return };
            let (entry, _) = self.entry(i);
            if (seen.protocol, seen.orig_dst, seen.reply_src)
                == (entry.protocol, entry.frontend, entry.backend)
            {
                present.0[i as usize / 64] |= 1 << (i % 64);
            }
        })?;
        Ok(present)
    }

    fn recount_of(&self, present: &Present) -> Recount {
        let mut recount = Recount::default();
        for i in 0..self.entries {
            let is_present = present.has(i);
            recount.present += u64::from(is_present);
            match self.entry(i).1 {
                Fate::Healthy => recount.healthy_lost += u64::from(!is_present),
                Fate::Stale(_) => recount.stale_left += u64::from(is_present),
            }
        }
        recount
    }

    /// How many entries are stale by the recipe.
    pub fn stale(&self) -> u64 {
        let stale = (0..self.entries).step_by(10).filter(|i| self.entry(*i).1 != Fate::Healthy);
        stale.count() as u64
    }
}

fn service(name: &str, protocol: Protocol, frontend: impl Fn(bool) -> SocketAddr) -> ServicePort {
    let key = ServiceKey {
        namespace: "demo".into(),
        name: name.into(),
        port_name: String::new(),
        protocol,
    };
    let mut service = ServicePort::new(key, frontend(false).port());
    service.cluster_ips = vec![frontend(false).ip(), frontend(true).ip()];
    service
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_can_be_read_back_and_the_shares_are_right() {
        let table = KubeTable { entries: 200_000 };
        let (mut udp, mut stale, mut v6) = (0, 0, 0);
        let mut by_reason = [0; 4];
        for i in 0..table.entries {
            let (entry, fate) = table.entry(i);
            assert_eq!(table.number(entry.client), Some(i));
            udp += u32::from(entry.protocol == 17);
            v6 += u32::from(entry.client.is_ipv6());
            if let Fate::Stale(reason) = fate {
                stale += 1;
                by_reason[reason as usize] += 1;
            }
        }
        assert_eq!((udp, stale, v6), (20_000, 2_000, 100_000));
        assert_eq!(by_reason, [500; 4]);
        assert_eq!(table.stale(), 2_000);
        assert_eq!(table.number("10.0.0.1:1".parse().unwrap()), None);
    }

    #[test]
    fn the_rules_agree_with_the_fates_on_paper() {
        let table = KubeTable { entries: 1 };
        let (desired, previous) = (table.desired().unwrap(), table.previous().unwrap());
        assert_eq!(desired.services().len(), 102);
        assert!(desired.notes().is_empty());
        assert_eq!(previous.frontends().count(), 2);
    }
}
