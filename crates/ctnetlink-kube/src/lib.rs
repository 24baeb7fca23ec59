//! Kubernetes Services and EndpointSlices as the desired state of ctnetlink's reconciler.
//!
//! The input is what `kubectl get services,endpointslices -A -o json` prints, or the same objects
//! from a watch. This crate contains no netlink and no Kubernetes client.
//!
//! ```
//! # let json = br#"{"kind":"List","apiVersion":"v1","items":[
//! #   {"apiVersion":"v1","kind":"Service","metadata":{"name":"kube-dns","namespace":"kube-system"},
//! #    "spec":{"clusterIP":"10.96.0.10","ports":[{"name":"dns","port":53,"protocol":"UDP"}]}},
//! #   {"apiVersion":"discovery.k8s.io/v1","kind":"EndpointSlice","addressType":"IPv4",
//! #    "metadata":{"name":"kube-dns-x","namespace":"kube-system",
//! #                "labels":{"kubernetes.io/service-name":"kube-dns"}},
//! #    "endpoints":[{"addresses":["10.244.1.5"],"conditions":{"serving":true}}],
//! #    "ports":[{"name":"dns","port":53,"protocol":"UDP"}]}]}"#;
//! use ctnetlink_kube::{Cluster, Options};
//! let cluster = Cluster::from_json(json)?;
//! let desired = cluster.desired_state(&Options::default())?;
//! for note in desired.notes() {
//!     eprintln!("{note}");
//! }
//! # assert_eq!(desired.services()[0].endpoints.len(), 1);
//! # Ok::<(), ctnetlink_kube::Error>(())
//! ```
//!
//! # Rules
//!
//! * Headless and `ExternalName` services are skipped. Services, and slices of services, with the label
//!   `service.kubernetes.io/service-proxy-name` or `service.kubernetes.io/headless` belong to
//!   another proxy: their frontends are not judged, and do not count as removed.
//! * Frontends are the cluster IPs of both families, external IPs, load-balancer IPs (not those in
//!   `Proxy` ipMode; hostnames are ignored), and node ports at the node addresses given in
//!   [`Options`]. A service exists in the families of its cluster IPs only.
//! * Slices join by the label `kubernetes.io/service-name` within the namespace and are merged;
//!   ports join by name and protocol, a port without a name being `""`. Only the first address of
//!   an endpoint counts. A slice port without a number is skipped with a note.
//! * Incomplete input is an error, because it must not mean "everything is stale": usable services
//!   without a single slice ([`Options::no_endpoints_ok`]), no Service at all, slices without their
//!   Services ([`Options::no_services_ok`]), the first page of a list.
//! * Addresses with leading zeros are decimal, as Kubernetes reads them. An object that cannot be read
//!   is noted, and its service is not judged.
//!
//! # Features
//!
//! This crate enables none of `k8s-openapi`'s `v1_*` features: the application chooses one.
#![deny(missing_docs)]

mod convert;
mod document;
mod error;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Instant;

use ctnetlink::{Frontend, IpNet};

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;

pub use crate::error::{Error, Result};

/// The objects the desired state is made from.
#[derive(Debug, Clone, Default)]
pub struct Cluster {
    /// Services of all namespaces.
    pub services: Vec<Service>,
    /// EndpointSlices of all namespaces.
    pub endpoint_slices: Vec<EndpointSlice>,
    /// Addresses of pods, with `namespace/name`. Only for showing; pods of the host's network are left
    /// out, because they have the node's address.
    pub pods: Vec<(IpAddr, String)>,
    /// How many v1 Endpoints there were, which are not read.
    endpoints: usize,
    /// What was skipped on reading.
    notes: Vec<String>,
    /// Namespace and name of Services that could not be read.
    unreadable: BTreeSet<(String, String)>,
    /// Namespace and name of Services of which a slice could not be read.
    unreadable_slices: BTreeSet<(String, String)>,
}

/// What the objects do not contain.
///
/// ```
/// let mut options = ctnetlink_kube::Options::default();
/// options.node_addresses = vec!["192.0.2.5".parse()?];
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Options {
    /// Addresses of this node, at which node ports are answered. Without any, the `strict` profile
    /// judges no node ports, and cannot recognize a host service at an external IP that is the
    /// node's own address.
    pub node_addresses: Vec<IpAddr>,
    /// Addresses at which node ports are answered, if not all node addresses: kube-proxy in nftables
    /// mode answers at the primary ones only, and at 127.0.0.1 where it was told to.
    pub node_port_addresses: Option<Vec<IpAddr>>,
    /// Name of this node, by which endpoints on it are known. It decides only when a service with a
    /// `Local` traffic policy begins to be served here.
    pub node_name: Option<String>,
    /// Valid backends of frontends that no service lists, by address or prefix: somebody else
    /// translates these frontends first, such as a DNS cache on the node.
    pub extra_backends: Vec<(Frontend, IpNet)>,
    /// When the objects were fetched, for a reconciler that only observes.
    pub fetched: Option<Instant>,
    /// Accept usable services without a single EndpointSlice: then nothing serves them.
    pub no_endpoints_ok: bool,
    /// Accept a document without Services, or without the Services of its EndpointSlices: then they
    /// count as deleted.
    pub no_services_ok: bool,
}

impl Cluster {
    /// Reads a `v1` `List` as `kubectl get services,endpointslices -A -o json` prints it, and as
    /// other programs do: a `ServiceList` or an `EndpointSliceList`, lists in lists, a single
    /// object, several documents one after the other. Objects of other kinds and unknown fields are
    /// ignored; a list of another kind is skipped with a note.
    ///
    /// An object with a field of the wrong type does not stop the others: it is noted, and its
    /// Service is not judged ([`ctnetlink::Unknown`]).
    ///
    /// # Errors
    ///
    /// Text that is not JSON or ends early, a document of another kind, a list that continues on
    /// another page (`metadata.continue`), and an object that cannot be read and does not say which
    /// Service it belongs to.
    ///
    /// ```
    /// # use ctnetlink_kube::Cluster;
    /// let error = Cluster::from_json(br#"{"kind": "Pod"}"#).unwrap_err();
    /// assert!(error.to_string().contains("kind is \"Pod\""));
    /// ```
    pub fn from_json(json: &[u8]) -> Result<Cluster> {
        document::parse(json)
    }

    /// Makes the desired state.
    ///
    /// # Errors
    ///
    /// Incomplete input: usable services without any EndpointSlice (see
    /// [`Options::no_endpoints_ok`]); no Service at all, EndpointSlices none of which has its
    /// Service here, or an EndpointSlice of default/kubernetes without that Service (see
    /// [`Options::no_services_ok`]). A Service with a value that is not valid (an address, a port)
    /// is noted, with the field, and is not judged.
    pub fn desired_state(&self, options: &Options) -> Result<ctnetlink::DesiredState> {
        convert::desired_state(self, options)
    }
}
