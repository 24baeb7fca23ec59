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
//! # Where to find what
//!
//! Each folder of the source imports only from those below it in this list.
//!
//! * **`diagnose`** (a feature) says what holds a table, what is lost, and what to do:
//!   [`Conntrack::diagnose`].
//! * **`reconcile`** is the main job. [`Reconciler`] runs the passes and reports, [`DesiredState`]
//!   is the wanted state. `reconcile/rules` decides what is stale, and why: [`Rules::verdict`]
//!   ([source](../src/ctnetlink/reconcile/rules/mod.rs.html)). `reconcile/memory` is what is kept
//!   between two runs. Both are pure: no socket, no clock of their own.
//! * **`conntrack`** is the handle, [`Conntrack`], with every operation on the table, and what an
//!   operation gives back: [`Dump`], [`Batch`], [`DeleteReport`], [`CpuStats`].
//! * **`probe`** finds out what the running kernel can be trusted with:
//!   [`Conntrack::capabilities`].
//! * **`transport`** is one netlink socket, connected to the kernel, in the right network
//!   namespace. It has the only `unsafe` code. [`Error::Overrun`] explains what
//!   a lost answer means.
//! * **`request`** makes the bytes that are sent. Every delete of an entry is built in one function
//!   ([source](../src/ctnetlink/request/entry.rs.html)).
//! * **`filter`** has one expression type for everything, [`Filter`], and the planner that decides
//!   which part of a filter the kernel may evaluate.
//! * **`model`** has entries ([`Flow`], and the borrowed view [`FlowRef`]), their parts, names of
//!   entries ([`Key`]), and entries to be created or changed ([`NewEntry`], [`Change`]).
//! * [`wire`] reads bytes: borrowed iterators over messages and attributes. [`uapi`] has the kernel's
//!   numbers. [`Error`] is the one error type.
//!
//! # What never happens
//!
//! * A delete never widens: the delete of a flow is pinned to that entry by its reply tuple, zone
//!   and id. Only
//!   [`flush`](Conntrack::flush) and its siblings remove everything, and their names say so.
//! * A kernel filter never decides: every entry that comes back is matched again in user space.
//! * No healthy entry dies in a race: an entry re-created toward a live backend between dump and
//!   delete has another reply tuple, and survives.
//! * Nothing is silently lost: a cut or missing answer is an error or a count in the report.
//! * Only messages from the kernel are accepted, every wait ends, and no input causes a panic.
#![deny(missing_docs, unsafe_op_in_unsafe_fn)]
#![cfg(target_os = "linux")]

mod conntrack;
#[cfg(feature = "diagnose")]
pub mod diagnose;
mod error;
mod filter;
#[cfg(fuzzing)]
pub mod fuzzing;
mod model;
mod probe;
mod reconcile;
mod request;
mod transport;
pub mod uapi;
pub mod wire;

/// The examples of the README compile.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;

pub use ipnet::IpNet;

pub use conntrack::Conntrack;
pub use conntrack::batch::{Batch, Outcome};
pub use conntrack::cancel::Canceller;
pub use conntrack::delete_many::Deletions;
pub use conntrack::delete_matching::{DeleteMatching, DeleteReport};
pub use conntrack::dump::{Dump, Flows, Step};
pub use conntrack::echo::{Echo, Echoing};
pub use conntrack::stats::{CpuStats, ExpectStats};
pub use conntrack::tally::Failure;
pub use error::{DecodeError, Error, Operation, Result};
pub use filter::Filter;
pub use filter::explain::{Explanation, Stayed};
pub use filter::set::{Addresses, Ports};
pub use model::capability::{Capabilities, KernelCriterion, Trust};
pub use model::expectation::{ExpectFlags, ExpectKey, ExpectNat, Expectation, NewExpectation};
pub use model::extension::{Counters, SeqAdj, SynProxy, Timestamps};
pub use model::flow::{Flow, FlowRef};
pub use model::key::{Key, KeyDirection};
pub use model::labels::{LabelMap, Labels};
pub use model::line::Line;
pub use model::new_entry::{Change, NatRange, NewEntry};
pub use model::protocol::{Protocol, ProtocolState, SctpState, TcpState};
pub use model::status::Status;
pub use model::timeout_policy::{TimeoutPolicy, Timeouts};
pub use model::tuple::{Family, Icmp, Tuple};
pub use reconcile::Reconciler;
pub use reconcile::desired::DesiredState;
pub use reconcile::desired::builder::DesiredStateBuilder;
pub use reconcile::desired::published::HostAddresses;
pub use reconcile::desired::service::{Endpoint, Frontend, ServiceKey, ServicePort, Unknown};
pub use reconcile::memory::comebacks::ComesBack;
pub use reconcile::memory::history::History;
pub use reconcile::progress::Progress;
pub use reconcile::report::{FamilyReport, Reasons, Removal, Report};
pub use reconcile::rules::{Reason, Rules, Verdict};
pub use reconcile::scope::{Authority, Profile, Scope, Zones};
