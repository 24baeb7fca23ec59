//! Linux connection tracking, straight from the kernel: dump, count, filter, delete, and reconcile
//! the conntrack table over ctnetlink.
//!
//! ```no_run
//! use ctnetlink::{Conntrack, DesiredState, Filter, Profile, Reconciler};
//! # use std::net::{IpAddr, SocketAddr};
//! # fn f(vip: IpAddr, alive: SocketAddr) -> ctnetlink::Result<()> {
//! let ct = Conntrack::open()?; // or Conntrack::open_in(netns_file)
//! println!("{} of {}", ct.count()?, ct.limit()?);
//!
//! let dns: Filter = "udp and orig dst port 53".parse()?; // or Filter::protocol(..) & ..
//! let mut dump = ct.dump(&dns)?;
//! while let Some(flow) = dump.next()? { // borrowed, nothing allocated
//!     println!("{} -> {}", flow.orig().destination(), flow.reply().source());
//! }
//!
//! // The main job: remove exactly the entries whose backend no longer serves.
//! let desired = DesiredState::builder().udp(vip, 53).backends([alive]).build()?;
//! let report = Reconciler::new(Profile::Strict).run(&ct, &desired)?;
//! println!("{report}");
//! # Ok(()) }
//! ```
//!
//! # The house
//!
//! A room imports only from floors below it. Floors 1 to 4 and `request` never see a socket.
//!
//! | floor | rooms | what lives there |
//! | --- | --- | --- |
//! | 1 | [`uapi`], `error` | kernel constants; one error type |
//! | 2 | [`wire`] | borrowed message and attribute iterators: bytes in, views out |
//! | 3 | `tuple`, `proto`, `status`, `extension`, `labels`, `flow`, `line`, `key`, `entry`, `capability` | the model: [`Flow`] and its view [`FlowRef`], [`Key`], [`NewEntry`] |
//! | 4 | `filter`, `desired`, `scope`, `history`, `grace`, `verdict`, `schedule`, `memory` | pure judgement: which entries are meant, which are stale, and when to look |
//! | 5 | `request`, `reply`, `socket` | bytes out, answers in; the only `unsafe` |
//! | 6 | `command`, `dump`, `batch`, `stats`, `expect`, `timeout`, `probe`, `trial` | operations on a socket |
//! | 7 | `conntrack` | [`Conntrack`], the handle that offers them |
//! | 8 | `reconcile` | [`Reconciler`]: runs the passes and reports |
//!
//! # What never happens
//!
//! * A delete never widens: a flow's is pinned to that entry by reply tuple, zone and id. Only
//!   [`flush`](Conntrack::flush) and its sibling remove everything, and say so by name.
//! * A kernel filter never decides: what comes back is matched again here.
//! * No healthy entry dies in a race: an entry re-created toward a live backend between dump and
//!   delete has another reply tuple, and survives.
//! * Nothing is silently lost: a cut or missing answer is an error or a count in the report.
//! * Only the kernel is believed, every wait ends, and no bytes make it panic.
#![deny(missing_docs, unsafe_op_in_unsafe_fn)]
#![cfg(target_os = "linux")]

mod batch;
mod capability;
mod command;
mod conntrack;
mod desired;
mod dump;
mod entry;
mod error;
mod expect;
mod extension;
mod filter;
mod flow;
mod grace;
mod history;
mod key;
mod labels;
mod line;
mod memory;
mod probe;
mod proto;
mod reconcile;
mod reply;
mod request;
#[cfg(test)]
mod sample;
mod schedule;
mod scope;
#[cfg(feature = "serde")]
mod serialize;
mod socket;
mod stats;
mod status;
mod timeout;
mod trial;
mod tuple;
pub mod uapi;
mod verdict;
pub mod wire;

pub use batch::{Batch, Outcome};
pub use capability::{Capabilities, KernelCriterion, Trust};
pub use conntrack::{Conntrack, DeleteMatching, DeleteReport, Deletions, Echo, Echoing};
pub use desired::{DesiredState, DesiredStateBuilder, Endpoint, Frontend, ServiceKey, ServicePort};
pub use dump::{Dump, Flows};
pub use entry::{Change, NatRange, NewEntry};
pub use error::{DecodeError, Error, Operation, Result};
pub use expect::{ExpectKey, Expectation, NewExpectation};
pub use extension::{Counters, SeqAdj, SynProxy, Timestamps};
pub use filter::{Addresses, Explanation, Filter, Ports};
pub use flow::{Flow, FlowRef};
pub use history::History;
pub use ipnet::IpNet;
pub use key::Key;
pub use labels::{LabelMap, Labels};
pub use line::Line;
pub use proto::{Protocol, ProtocolState, SctpState, TcpState};
pub use reconcile::{Canceller, FamilyReport, Progress, Reasons, Reconciler, Removal, Report};
pub use scope::{Profile, Scope};
pub use stats::{CpuStats, ExpectStats};
pub use status::Status;
pub use timeout::{TimeoutPolicy, Timeouts};
pub use tuple::{Family, Icmp, Tuple};
pub use verdict::{Reason, Rules, Verdict};

/// Doors for the fuzz targets in `fuzz/`, which see what no user does.
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing {
    use crate::error::Operation;
    use crate::wire::Messages;

    /// Reads a datagram as answers to a command.
    pub fn replies(datagram: &[u8]) {
        for message in Messages::new(datagram).flatten() {
            let _ = format!("{:?}", crate::reply::Reply::of(Operation::Dump, message));
        }
    }

    /// The delete that would be sent for this entry, if there is one.
    pub fn delete_request(flow: &crate::FlowRef<'_>) -> Option<Vec<u8>> {
        let mut request = Vec::new();
        crate::request::entry::append_delete(&mut request, flow).ok()?;
        Some(request)
    }

    /// The dumps that would be sent for a filter on a kernel that can be trusted with everything,
    /// and the flushes, if it can be said by them.
    pub fn filter_requests(filter: &crate::Filter) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
        use crate::capability::{KernelCriterion, Trust, Trusts};
        use crate::request::filter as request;
        let mut trusts = Trusts::UNTESTED;
        for criterion in KernelCriterion::ALL {
            trusts.set(criterion, Trust::Proved, Trust::Proved);
        }
        let plan = filter.plan(&trusts).map(|plan| plan.passes).unwrap_or_default();
        let dumps = plan.iter().map(|part| request::dump(1, part)).collect();
        let flushes = filter.flush_plan(&trusts).unwrap_or_default();
        (dumps, flushes.iter().flat_map(request::flush).collect())
    }

    /// The request that would create an entry.
    pub fn create_request(new: &crate::NewEntry) -> Option<Vec<u8>> {
        crate::request::entry::create(new, false).ok()
    }
}
