//! What holds the table: one pass, in bounded memory.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::limits::Limits;
use super::names::Names;
use super::setting::Setting;
use super::statistics::as_f64;
use super::top::{Counter, Top, TopRow};
use crate::conntrack::Conntrack;
use crate::error::Result;
use crate::model::flow::Flow;
use crate::model::protocol::{Protocol, ProtocolState, SctpState, TcpState};
use crate::model::status::Status;
use crate::model::tuple::Family;
use crate::reconcile::desired::service::Frontend;

/// Different frontends, backends and sources that are counted exactly: three quarters of it.
const COUNTED: usize = 65_536;
/// The same for what only findings ask for.
const COUNTED_BESIDES: usize = 4_096;
/// How long ago an entry may have been refreshed to count as new.
const FRESH: u64 = 10;
const DNS: u16 = 53;
/// VXLAN and its older port: NOTRACK would save these.
const TUNNEL_PORTS: [u16; 2] = [4789, 8472];
/// syslog and statsd never answer.
const ONE_WAY_PORTS: [u16; 2] = [514, 8125];
const HOUR: u64 = 3600;

/// Entries of one family, protocol and state.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Group {
    /// Family.
    #[cfg_attr(feature = "serde", serde(serialize_with = "super::display"))]
    pub family: Family,
    /// Protocol.
    #[cfg_attr(feature = "serde", serde(serialize_with = "super::display"))]
    pub protocol: Protocol,
    /// The state of TCP and SCTP by the kernel's name (`ESTABLISHED`); of other protocols
    /// `unreplied`, `replied` or `assured`; of entries that rest in a flow table `offloaded`.
    pub state: String,
    /// Entries.
    pub entries: u64,
}

/// Connections that come and go, read off the remaining timeouts: an entry with more than T - 10 s
/// left was refreshed within the last 10 s.
///
/// It is absent where more than one in a hundred entries has more time left than the setting gives,
/// because the setting was changed, or a timeout policy applies.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Churn {
    /// New UDP flows a second: entries that are not `ASSURED` and fresh. A flow that goes on without
    /// an answer counts once in ten seconds.
    pub udp: Option<f64>,
    /// TCP connections closed a second: entries that have just come to `TIME_WAIT`.
    pub tcp_closed: Option<f64>,
    /// Of the UDP flows, those to port 53.
    pub dns: Option<f64>,
}

impl Churn {
    /// Connections a second, of all kinds that are known; `None` if none is.
    pub fn new_per_second(&self) -> Option<f64> {
        match (self.udp, self.tcp_closed) {
            (None, None) => None,
            (udp, tcp) => Some(udp.unwrap_or(0.0) + tcp.unwrap_or(0.0)),
        }
    }
}

/// Entries without an answer, by what they are. A TCP handshake that nobody has answered yet is not
/// among them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Unreplied {
    /// All of them.
    pub entries: u64,
    /// UDP to port 4789 or 8472: VXLAN.
    pub tunnel: u64,
    /// UDP to port 514 or 8125: syslog and statsd, which never answer.
    pub one_way: u64,
}

/// What holds the table of a namespace, from one pass over it. Its memory is bounded (16 MiB), whatever
/// the size of the table.
///
/// ```no_run
/// # fn f(ct: &ctnetlink::Conntrack) -> ctnetlink::Result<()> {
/// let summary = ct.summary(10)?;
/// for row in &summary.frontends.rows {
///     println!("{row} {}", row.at_least);
/// }
/// println!("{} in TIME_WAIT", summary.in_state(ctnetlink::Protocol::TCP, "TIME_WAIT"));
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Summary {
    /// How long the pass took. In JSON, seconds.
    #[cfg_attr(feature = "serde", serde(serialize_with = "super::seconds"))]
    pub elapsed: Duration,
    /// Entries that the dump has shown.
    pub entries: u64,
    /// Entries with `ASSURED`: the kernel does not evict them.
    pub assured: u64,
    /// Entries by family, protocol and state, in that order; none with 0.
    pub groups: Vec<Group>,
    /// Entries by zone.
    pub zones: BTreeMap<u16, u64>,
    /// Entries without an answer, outside the TCP handshake.
    pub unreplied: Unreplied,
    /// Entries of DNS: UDP to or from port 53.
    pub dns: u64,
    /// Established connections on which nothing has come for an hour: at least so many, if the timeout in
    /// force tells. Those whose data is not acknowledged yet have a timeout of their own.
    pub idle_for_an_hour: Option<u64>,
    /// Connections that come and go.
    pub churn: Churn,
    /// The original destinations, before NAT: services, and what is dialled elsewhere.
    pub frontends: Top,
    /// The sources of replies: who answers, after NAT.
    pub backends: Top,
    /// The original sources, addresses alone.
    pub sources: Top,
    /// Sources of connections without an answer to their SYN, or to the SYN-ACK.
    pub syn_sources: Top,
    /// Where source-translated connections go, for each address that they have after NAT: each uses a
    /// source port of it. (A destination can be in several rows.)
    pub translated: Top,
}

impl Summary {
    /// Entries of a protocol, of both families.
    pub fn of_protocol(&self, protocol: Protocol) -> u64 {
        self.sum(|group| group.protocol == protocol)
    }

    /// Entries of a protocol in a state ([`Group::state`]).
    pub fn in_state(&self, protocol: Protocol, state: &str) -> u64 {
        self.sum(|group| group.protocol == protocol && group.state == state)
    }

    /// Entries without `ASSURED`, which the kernel evicts when the table is full.
    pub fn evictable(&self) -> u64 {
        self.entries.saturating_sub(self.assured)
    }

    fn sum(&self, of: impl Fn(&Group) -> bool) -> u64 {
        self.groups.iter().filter(|group| of(group)).map(|group| group.entries).sum()
    }

    /// Gives rows their names.
    pub fn name(&mut self, names: &Names) {
        for top in [
            &mut self.frontends,
            &mut self.backends,
            &mut self.sources,
            &mut self.syn_sources,
            &mut self.translated,
        ] {
            names.fill_in(top);
        }
    }
}

/// Entries that were refreshed lately, by a timeout that every packet sets anew.
#[derive(Default)]
struct Fresh {
    /// The timeout in force, and the window in seconds.
    rule: Option<(u64, u64)>,
    seen: u64,
    fresh: u64,
    beyond: u64,
}

impl Fresh {
    fn of(timeout: Option<u32>) -> Fresh {
        let rule = timeout.map(u64::from).filter(|timeout| *timeout >= 3);
        Fresh { rule: rule.map(|timeout| (timeout, FRESH.min(timeout / 3))), ..Fresh::default() }
    }

    /// Counts an entry; whether it is fresh.
    fn add(&mut self, left: Duration) -> bool {
        let Some((timeout, window)) = self.rule else { return false };
        // The time left is rounded down: one that has just been set shows T or T - 1.
        let left = left.as_secs();
        let fresh = left >= timeout - window && left <= timeout;
        self.seen += 1;
        self.fresh += u64::from(fresh);
        self.beyond += u64::from(left > timeout);
        fresh
    }

    fn per_second(&self, count: u64) -> Option<f64> {
        let (_, window) = self.rule.filter(|_| self.beyond.saturating_mul(100) <= self.seen)?;
        Some(as_f64(count) / as_f64(window))
    }
}

/// Counts flows, one after another, for a [`Summary`]. It needs no kernel.
pub struct Summarizer {
    start: Instant,
    entries: u64,
    assured: u64,
    /// By family, protocol and state: its number for TCP and SCTP, or else 0 to 2.
    groups: Vec<u64>,
    zones: BTreeMap<u16, u64>,
    unreplied: Unreplied,
    dns: u64,
    dns_fresh: u64,
    udp: Fresh,
    closed: Fresh,
    established: Option<u64>,
    /// The longest timeout of a connection with data on its way.
    unacknowledged: u64,
    idle: u64,
    frontends: Counter<Frontend>,
    backends: Counter<Frontend>,
    sources: Counter<IpAddr>,
    fresh_frontends: Counter<Frontend>,
    syn_sources: Counter<IpAddr>,
    /// With the address that source NAT has given: its ports are what is used up.
    translated: Counter<(Frontend, IpAddr)>,
}

const STATES: usize = 16;
/// The place of entries that rest in a flow table: the kernel sends neither their state nor a timeout.
const OFFLOADED: usize = STATES - 1;
const REPLIES: [&str; 3] = ["unreplied", "replied", "assured"];

fn group(family: Family, protocol: Protocol, state: usize) -> usize {
    (usize::from(family == Family::Ipv6) * 256 + usize::from(protocol.0)) * STATES + state
}

impl Summarizer {
    /// A summarizer for a table with these timeouts in force.
    pub fn new(limits: &Limits) -> Summarizer {
        Summarizer {
            start: Instant::now(),
            entries: 0,
            assured: 0,
            groups: vec![0; 2 * 256 * STATES],
            zones: BTreeMap::new(),
            unreplied: Unreplied::default(),
            dns: 0,
            dns_fresh: 0,
            udp: Fresh::of(limits.get(Setting::Udp)),
            closed: Fresh::of(limits.get(Setting::TcpTimeWait)),
            established: limits.get(Setting::TcpEstablished).map(u64::from),
            unacknowledged: [Setting::TcpUnacknowledged, Setting::TcpMaxRetransTimeout]
                .into_iter()
                .filter_map(|setting| limits.get(setting))
                .max()
                .map_or(0, u64::from),
            idle: 0,
            frontends: Counter::new(COUNTED),
            backends: Counter::new(COUNTED),
            sources: Counter::new(COUNTED),
            fresh_frontends: Counter::new(COUNTED_BESIDES),
            syn_sources: Counter::new(COUNTED_BESIDES),
            translated: Counter::new(COUNTED_BESIDES),
        }
    }

    /// Counts a flow.
    pub fn add<B: AsRef<[u8]>>(&mut self, flow: &Flow<B>) {
        let (protocol, status) = (flow.protocol(), flow.status());
        let (orig, reply) = (flow.orig(), flow.reply());
        self.entries += 1;
        self.assured += u64::from(status.contains(Status::ASSURED));
        *self.zones.entry(flow.zone()).or_default() += 1;
        let port = |socket: std::net::SocketAddr| Frontend {
            address: socket.ip(),
            port: socket.port(),
            protocol,
        };
        let (frontend, backend) = (port(orig.destination()), port(reply.source()));
        self.frontends.add(frontend);
        self.backends.add(backend);
        self.sources.add(orig.src());
        if status.contains(Status::SRC_NAT) {
            self.translated.add((backend, reply.dst()));
        }
        let replied = usize::from(status.contains(Status::SEEN_REPLY));
        let by_reply = if status.contains(Status::ASSURED) { 2 } else { replied };
        let state = flow.protocol_state();
        let number = match state {
            Some(ProtocolState::Tcp { state: Some(state), .. }) => state.number(),
            Some(ProtocolState::Sctp { state: Some(state), .. }) => state.number(),
            _ if matches!(protocol, Protocol::TCP | Protocol::SCTP) => 0,
            _ => u8::try_from(by_reply).unwrap_or_default(),
        };
        let offloaded = status.intersects(Status::OFFLOAD | Status::HW_OFFLOAD);
        let number = if offloaded { OFFLOADED } else { usize::from(number).min(OFFLOADED - 1) };
        self.groups[group(flow.family(), protocol, number)] += 1;
        let mut handshake = false;
        if protocol == Protocol::TCP {
            let state = TcpState::from(u8::try_from(number).unwrap_or_default());
            handshake = matches!(state, TcpState::SynSent | TcpState::SynRecv | TcpState::SynSent2);
            self.add_tcp(flow, state, handshake, frontend);
        }
        self.unreplied.entries += u64::from(by_reply == 0 && !handshake);
        if protocol == Protocol::UDP {
            let dns = frontend.port == DNS || backend.port == DNS;
            self.dns += u64::from(dns);
            if by_reply == 0 {
                self.unreplied.tunnel += u64::from(TUNNEL_PORTS.contains(&frontend.port));
                self.unreplied.one_way += u64::from(ONE_WAY_PORTS.contains(&frontend.port));
            }
            if by_reply < 2 && flow.timeout().is_some_and(|left| self.udp.add(left)) {
                self.dns_fresh += u64::from(dns);
                self.fresh_frontends.add(frontend);
            }
        }
    }

    fn add_tcp<B: AsRef<[u8]>>(
        &mut self,
        flow: &Flow<B>,
        state: TcpState,
        handshake: bool,
        frontend: Frontend,
    ) {
        let left = flow.timeout();
        if handshake {
            self.syn_sources.add(flow.orig().src());
        } else if state == TcpState::TimeWait && left.is_some_and(|left| self.closed.add(left)) {
            self.fresh_frontends.add(frontend);
        } else if let (TcpState::Established, Some(timeout), Some(left)) =
            (state, self.established, left.map(|left| left.as_secs()))
        {
            self.idle += u64::from(left > self.unacknowledged && left + HOUR <= timeout);
        }
    }

    /// The summary, with so many rows of each kind.
    pub fn finish(self, rows: usize) -> Summary {
        let churn = Churn {
            udp: self.udp.per_second(self.udp.fresh),
            tcp_closed: self.closed.per_second(self.closed.fresh),
            dns: self.udp.per_second(self.dns_fresh),
        };
        let place = |place: &Frontend| TopRow {
            address: place.address,
            port: (place.port != 0).then_some(place.port),
            protocol: Some(place.protocol),
            name: None,
            at_least: 0,
            at_most: 0,
            new_per_second: None,
        };
        let with_rate = |frontend: &Frontend| {
            let fresh = self.fresh_frontends.exactly(frontend);
            let new_per_second = fresh.and_then(|fresh| match frontend.protocol {
                Protocol::UDP => self.udp.per_second(fresh),
                Protocol::TCP => self.closed.per_second(fresh),
                _ => None,
            });
            TopRow { new_per_second, ..place(frontend) }
        };
        let address = |address: &IpAddr| TopRow {
            protocol: None,
            port: None,
            ..place(&Frontend { address: *address, port: 0, protocol: Protocol(0) })
        };
        Summary {
            elapsed: self.start.elapsed(),
            entries: self.entries,
            assured: self.assured,
            groups: named(&self.groups),
            unreplied: self.unreplied,
            dns: self.dns,
            idle_for_an_hour: self.established.filter(|t| *t > HOUR).map(|_| self.idle),
            churn,
            frontends: self.frontends.top(rows, with_rate),
            backends: self.backends.top(rows, place),
            sources: self.sources.top(rows, address),
            syn_sources: self.syn_sources.top(rows, address),
            translated: self.translated.top(rows, |(backend, _)| place(backend)),
            zones: self.zones,
        }
    }
}

fn named(groups: &[u64]) -> Vec<Group> {
    let mut found = Vec::new();
    for family in Family::ALL {
        for protocol in (0..=u8::MAX).map(Protocol) {
            for state in 0..STATES {
                let entries = groups[group(family, protocol, state)];
                if entries == 0 {
                    continue;
                }
                let number = u8::try_from(state).unwrap_or_default();
                let state = match protocol {
                    _ if state == OFFLOADED => "offloaded".to_owned(),
                    Protocol::TCP => TcpState::from(number).to_string(),
                    Protocol::SCTP => SctpState::from(number).to_string(),
                    _ => REPLIES[state.min(2)].to_owned(),
                };
                found.push(Group { family, protocol, state, entries });
            }
        }
    }
    found
}

impl Conntrack {
    /// Dumps the table once and says what holds it, with so many rows of each kind.
    ///
    /// # Errors
    ///
    /// Those of [`dump`](Conntrack::dump).
    pub fn summary(&self, rows: usize) -> Result<Summary> {
        let mut summarizer = Summarizer::new(&self.limits()?);
        let mut dump = self.dump(None)?;
        while let Some(flow) = dump.next()? {
            summarizer.add(&flow);
        }
        Ok(summarizer.finish(rows))
    }
}
