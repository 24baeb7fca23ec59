//! The desired state: frontends, and the backends that serve them.

pub(crate) mod builder;
pub(crate) mod published;
pub(crate) mod service;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use ipnet::IpNet;

use self::builder::DesiredStateBuilder;
use self::published::Published;
use self::service::{Frontend, ServicePort, Unknown};
use crate::model::tuple::Family;

/// The desired state: services, endpoints and node addresses. Immutable, and cheap to clone.
///
/// Made by a [builder](DesiredState::builder), or from Kubernetes objects by the crate
/// `ctnetlink-kube`.
///
/// ```
/// use ctnetlink::DesiredState;
/// # use std::net::{IpAddr, SocketAddr};
/// let vip: IpAddr = "10.96.0.10".parse()?;
/// let alive: SocketAddr = "10.244.1.5:53".parse()?;
/// let desired = DesiredState::builder().udp(vip, 53).backends([alive]).build()?;
/// assert_eq!(desired.services().len(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct DesiredState(Arc<State>);

#[derive(Debug, Default)]
struct State {
    services: Vec<ServicePort>,
    node_addresses: Vec<IpAddr>,
    /// Where node ports are answered, if not at all node addresses.
    node_port_addresses: Option<Vec<IpAddr>>,
    unknown: Vec<Unknown>,
    extra_backends: BTreeMap<Frontend, Vec<IpNet>>,
    published: Vec<Published>,
    /// Service objects it was made from; `None` if it was not made from Kubernetes objects.
    services_seen: Option<usize>,
    fetched: Option<Instant>,
    notes: Vec<String>,
}

impl DesiredState {
    /// Starts an empty builder.
    pub fn builder() -> DesiredStateBuilder {
        DesiredStateBuilder::default()
    }

    /// The usable service ports: those with at least one frontend.
    pub fn services(&self) -> &[ServicePort] {
        &self.0.services
    }

    /// The addresses of this node, canonical.
    pub fn node_addresses(&self) -> &[IpAddr] {
        &self.0.node_addresses
    }

    /// The addresses at which node ports are answered, canonical: those of the node, unless the
    /// builder was given [others](DesiredStateBuilder::node_port_addresses).
    pub fn node_port_addresses(&self) -> &[IpAddr] {
        self.0.node_port_addresses.as_deref().unwrap_or(&self.0.node_addresses)
    }

    /// Services that are not judged, because they belong to another proxy or are not completely
    /// known.
    pub fn unknown(&self) -> &[Unknown] {
        &self.0.unknown
    }

    /// When it was [fetched](DesiredStateBuilder::fetched_at), if that is known.
    pub fn fetched(&self) -> Option<Instant> {
        self.0.fetched
    }

    /// The valid backends of a frontend that no service lists.
    pub(crate) fn extra_backends(&self) -> &BTreeMap<Frontend, Vec<IpNet>> {
        &self.0.extra_backends
    }

    /// The ports that are published, or were.
    pub(crate) fn published(&self) -> &[Published] {
        &self.0.published
    }

    /// Whether an earlier state had Services and this one, also made from Kubernetes objects, does
    /// not have a single one: its input was incomplete.
    pub(crate) fn lost_all_services_of(&self, before: &DesiredState) -> bool {
        self.0.services_seen == Some(0) && before.0.services_seen.is_some_and(|seen| seen > 0)
    }

    /// What was left out of the input, one line each, for people.
    pub fn notes(&self) -> &[String] {
        &self.0.notes
    }

    /// Every frontend, including the node ports at the node addresses.
    pub fn frontends(&self) -> impl Iterator<Item = Frontend> {
        self.services()
            .iter()
            .flat_map(|service| service.frontends().chain(self.node_frontends(service)))
    }

    /// A service's node port at each node address of a family the service exists in.
    pub(crate) fn node_frontends(&self, service: &ServicePort) -> impl Iterator<Item = Frontend> {
        let addresses = if service.node_port.is_some() { self.node_port_addresses() } else { &[] };
        addresses
            .iter()
            .filter(|address| service.exists_in(Family::of(**address)))
            .zip(std::iter::repeat(service.node_port.unwrap_or(0)))
            .map(|(address, port)| Frontend::new(*address, port, service.key.protocol))
    }
}
