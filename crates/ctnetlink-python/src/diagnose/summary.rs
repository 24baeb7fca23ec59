//! What holds a table: `Summary` and its parts, `Summarizer`, `Names`.

use std::collections::BTreeMap;
use std::sync::Mutex;

use ctnetlink::diagnose as core;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use super::limits::Limits;
use crate::desired::DesiredState;
use crate::flow::Flow;
use crate::record::record;
use crate::service::Frontend;
use crate::value::{Address, Family, Protocol, lock};

record! {
    [hash] []
    /// Entries of one family, protocol and state.
    #[derive(Eq, Hash)]
    Group {
        /// Family.
        family: Family,
        /// Protocol.
        protocol: Protocol,
        /// The state of TCP and SCTP by the kernel's name.
        ///
        /// Of other protocols it is ``unreplied``, ``replied`` or ``assured``.
        state: String,
        /// Entries.
        entries: u64,
    }
}

record! {
    [] []
    /// Connections that come and go, read off the remaining timeouts. ``None`` where those do not tell.
    Churn {
        /// New UDP flows a second.
        udp: Option<f64>,
        /// TCP connections closed a second.
        tcp_closed: Option<f64>,
        /// Of the UDP flows, those to port 53.
        dns: Option<f64>,
    }
}

#[pymethods]
impl Churn {
    /// Return connections a second, of all kinds that are known; ``None`` if none is.
    fn new_per_second(&self) -> Option<f64> {
        let mut churn = core::Churn::default();
        (churn.udp, churn.tcp_closed) = (self.udp, self.tcp_closed);
        churn.new_per_second()
    }
}

record! {
    [hash] []
    /// Entries without an answer, outside the TCP handshake, by what they are.
    #[derive(Eq, Hash)]
    Unreplied {
        /// All of them.
        entries: u64,
        /// UDP to port 4789 or 8472: VXLAN.
        tunnel: u64,
        /// UDP to port 514 or 8125: syslog and statsd, which never answer.
        one_way: u64,
    }
}

record! {
    [] []
    /// One of those with the most entries.
    TopRow {
        /// The address.
        address: Address,
        /// The port; ``None`` for a source, and where the protocol has no ports.
        port: Option<u16>,
        /// The protocol; ``None`` for a source.
        protocol: Option<Protocol>,
        /// What it is called, if names were given.
        name: Option<String>,
        /// It has at least so many entries.
        at_least: u64,
        /// It has at most so many entries; the same number if the counts are exact.
        at_most: u64,
        /// New connections a second, where the timeouts tell.
        new_per_second: Option<f64>,
    }
}

record! {
    [] []
    /// Those with the most entries, most first. Up to 49,152 different ones the counts are exact.
    Top {
        /// The rows.
        rows: Vec<TopRow>,
        /// How many entries the others have together, at most.
        other: u64,
        /// How many different ones there are, if the counts are exact.
        different: Option<u64>,
        /// How far a count can be off: 0 if the counts are exact.
        maximum_error: u64,
    }
}

impl From<&core::Top> for Top {
    fn from(top: &core::Top) -> Self {
        let row = |row: &core::TopRow| TopRow {
            address: Address(row.address),
            port: row.port,
            protocol: row.protocol.map(Protocol),
            name: row.name.clone(),
            at_least: row.at_least,
            at_most: row.at_most,
            new_per_second: row.new_per_second,
        };
        Top {
            rows: top.rows.iter().map(row).collect(),
            other: top.other,
            different: top.different,
            maximum_error: top.maximum_error,
        }
    }
}

record! {
    [] []
    /// What holds the table of a namespace, from one pass over it.
    Summary {
        /// How long the pass took, in seconds.
        elapsed: f64,
        /// Entries that the dump has shown.
        entries: u64,
        /// Entries with ``ASSURED``: the kernel does not evict them.
        assured: u64,
        /// Entries by family, protocol and state; none with 0.
        groups: Vec<Group>,
        /// Entries by zone.
        zones: BTreeMap<u16, u64>,
        /// Entries without an answer, outside the TCP handshake.
        unreplied: Unreplied,
        /// Entries of DNS: UDP to or from port 53.
        dns: u64,
        /// Established connections on which nothing has come for an hour, if the timeout tells.
        idle_for_an_hour: Option<u64>,
        /// Connections that come and go.
        churn: Churn,
        /// The original destinations, before NAT.
        frontends: Top,
        /// The sources of replies: who answers, after NAT.
        backends: Top,
        /// The original sources, addresses alone.
        sources: Top,
        /// Sources of connections without an answer to their SYN, or to the SYN-ACK.
        syn_sources: Top,
        /// Where source-translated connections go: each uses a source port toward it.
        translated: Top,
    }
}

impl From<&core::Summary> for Summary {
    fn from(summary: &core::Summary) -> Self {
        let group = |group: &core::Group| Group {
            family: Family(group.family),
            protocol: Protocol(group.protocol),
            state: group.state.clone(),
            entries: group.entries,
        };
        let core::Unreplied { entries, tunnel, one_way, .. } = summary.unreplied;
        let core::Churn { udp, tcp_closed, dns, .. } = summary.churn;
        Summary {
            elapsed: summary.elapsed.as_secs_f64(),
            entries: summary.entries,
            assured: summary.assured,
            groups: summary.groups.iter().map(group).collect(),
            zones: summary.zones.clone(),
            unreplied: Unreplied { entries, tunnel, one_way },
            dns: summary.dns,
            idle_for_an_hour: summary.idle_for_an_hour,
            churn: Churn { udp, tcp_closed, dns },
            frontends: (&summary.frontends).into(),
            backends: (&summary.backends).into(),
            sources: (&summary.sources).into(),
            syn_sources: (&summary.syn_sources).into(),
            translated: (&summary.translated).into(),
        }
    }
}

#[pymethods]
impl Summary {
    /// Return the entries of a protocol, of both families.
    fn of_protocol(&self, protocol: Protocol) -> u64 {
        self.groups.iter().filter(|g| g.protocol == protocol).map(|g| g.entries).sum()
    }

    /// Return the entries of a protocol in a state.
    fn in_state(&self, protocol: Protocol, state: &str) -> u64 {
        let of = |group: &&Group| group.protocol == protocol && group.state == state;
        self.groups.iter().filter(of).map(|group| group.entries).sum()
    }

    /// Return the entries without ``ASSURED``, which the kernel evicts when the table is full.
    fn evictable(&self) -> u64 {
        self.entries.saturating_sub(self.assured)
    }
}

/// Counts flows, one after another, for a ``Summary``. It needs no kernel.
#[pyclass(frozen, module = "ctnetlink")]
pub(crate) struct Summarizer(Mutex<Option<core::Summarizer>>);

#[pymethods]
impl Summarizer {
    #[new]
    fn new(limits: &Limits) -> Self {
        Summarizer(Mutex::new(Some(core::Summarizer::new(&limits.0))))
    }

    /// Count a flow.
    fn add(&self, flow: &Flow) -> PyResult<()> {
        let mut summarizer = lock(&self.0);
        summarizer.as_mut().ok_or_else(finished)?.add(&flow.0);
        Ok(())
    }

    /// Return the summary, with so many rows of each kind. It is finished then.
    #[pyo3(signature = (rows=10, *, names=None))]
    fn finish(&self, rows: usize, names: Option<&Names>) -> PyResult<Summary> {
        let summarizer = lock(&self.0).take().ok_or_else(finished)?;
        let mut summary = summarizer.finish(rows);
        if let Some(names) = names {
            summary.name(&lock(&names.0));
        }
        Ok(Summary::from(&summary))
    }
}

fn finished() -> PyErr {
    PyValueError::new_err("the summarizer is finished")
}

/// What frontends, backends and sources are called.
///
/// ``Names(desired)`` has the services of a desired state, and what serves them.
#[pyclass(frozen, module = "ctnetlink")]
pub(crate) struct Names(pub(super) Mutex<core::Names>);

#[pymethods]
impl Names {
    #[new]
    #[pyo3(signature = (desired=None))]
    fn new(desired: Option<&DesiredState>) -> Self {
        Names(Mutex::new(desired.map_or_else(Default::default, |d| core::Names::of(d.core()))))
    }

    /// Add the name of an address, such as a pod's, in place of one it had.
    fn add(&self, address: Address, name: String) {
        lock(&self.0).add(address.0, name);
    }

    /// Return whether no name is known.
    fn is_empty(&self) -> bool {
        lock(&self.0).is_empty()
    }

    /// Return the name of a frontend: the service's, or that of the address with the port.
    fn frontend(&self, frontend: &Frontend) -> Option<String> {
        lock(&self.0).frontend(&ctnetlink::Frontend::from(*frontend))
    }

    /// Return the name of an address.
    fn address(&self, address: Address) -> Option<String> {
        lock(&self.0).address(address.0).map(ToOwned::to_owned)
    }
}
