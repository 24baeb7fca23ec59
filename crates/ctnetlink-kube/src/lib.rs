//! Kubernetes Services and EndpointSlices as the desired state of ctnetlink's reconciler.
//!
//! The input is what `kubectl get services,endpointslices -A -o json` prints, or the same objects
//! from a watch. There is no netlink in here, and no client either.
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
//! * Headless and `ExternalName` services, and those labelled
//!   `service.kubernetes.io/service-proxy-name`, are skipped.
//! * Frontends are the cluster IPs of both families, external IPs, load-balancer IPs (not those in
//!   `Proxy` ipMode; hostnames are ignored), and node ports at the node addresses given in
//!   [`Options`]. A service exists in the families of its cluster IPs only.
//! * Slices join by the label `kubernetes.io/service-name` within the namespace and are merged;
//!   ports join by name and protocol, a port without a name being `""`. Of an endpoint's addresses
//!   the first counts. A slice port without a number is skipped with a note.
//! * Usable services and not one slice in the whole input is a half-built state and an error, unless
//!   [`Options::no_endpoints_ok`] says otherwise: it must not mean "everything is stale".
//!
//! # Features
//!
//! This crate enables none of `k8s-openapi`'s `v1_*` features: the application chooses one.
#![deny(missing_docs)]

mod convert;
mod document;
mod error;

use std::net::IpAddr;

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
}

/// What the objects do not say.
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
    /// judges no node ports, and cannot know a host service at an external IP that is the node's
    /// own address.
    pub node_addresses: Vec<IpAddr>,
    /// Take usable services without a single EndpointSlice at their word: nothing serves.
    pub no_endpoints_ok: bool,
}

impl Cluster {
    /// Reads a `v1` `List` as `kubectl get services,endpointslices -A -o json` prints it. Objects
    /// of other kinds and unknown fields are ignored.
    ///
    /// # Errors
    ///
    /// Text that is not JSON or ends early, a document that is not a `List`, and objects whose
    /// fields have the wrong type; the error names the object and the field.
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
    /// Values that cannot be what they should be (an address, a port), with object and field; and
    /// services without any EndpointSlice, see [`Options::no_endpoints_ok`].
    pub fn desired_state(&self, options: &Options) -> Result<ctnetlink::DesiredState> {
        convert::desired_state(self, options)
    }
}
