//! Builds a desired state, and collects the mistakes in it.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Instant;

use ipnet::IpNet;

use super::published::{HostAddresses, Published};
use super::service::{Endpoint, Frontend, ServiceKey, ServicePort, Unknown};
use super::{DesiredState, State};
use crate::error::{Error, Result};
use crate::model::protocol::Protocol;
use crate::model::tuple::Family;

/// Builds a [`DesiredState`]. Mistakes are reported by [`build`](DesiredStateBuilder::build).
///
/// Without Kubernetes: name each frontend, then its backends.
///
/// ```
/// use ctnetlink::{DesiredState, Endpoint};
/// # use std::net::{IpAddr, SocketAddr};
/// # let (vip, vip6): (IpAddr, IpAddr) = ("10.96.0.10".parse()?, "fd00::10".parse()?);
/// # let (a, b): (SocketAddr, SocketAddr) = ("10.244.1.5:53".parse()?, "10.244.2.7:53".parse()?);
/// let desired = DesiredState::builder()
///     .udp(vip, 53)
///     .backends([Endpoint::from(a), Endpoint::from(b).serving(false)])
///     .udp(vip6, 53)
///     .no_backends() // nothing serves it: every flow to it is stale
///     .build()?;
/// assert_eq!(desired.frontends().count(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
pub struct DesiredStateBuilder {
    services: Vec<ServicePort>,
    node_addresses: Vec<IpAddr>,
    node_port_addresses: Option<Vec<IpAddr>>,
    unknown: Vec<Unknown>,
    extra_backends: BTreeMap<Frontend, Vec<IpNet>>,
    published: Vec<Publication>,
    services_seen: Option<usize>,
    fetched: Option<Instant>,
    notes: Vec<String>,
    /// The last plain frontend still lacks its `backends` call.
    open: bool,
    mistake: Option<String>,
}

impl DesiredStateBuilder {
    /// Adds a UDP frontend. [`backends`](Self::backends) or [`no_backends`](Self::no_backends) must
    /// follow.
    #[must_use]
    pub fn udp(self, address: impl Into<IpAddr>, port: u16) -> Self {
        self.frontend(Protocol::UDP, address.into(), port)
    }

    /// Adds a TCP frontend. [`backends`](Self::backends) or [`no_backends`](Self::no_backends) must
    /// follow. It is judged only by a reconciler that was told to look at TCP.
    #[must_use]
    pub fn tcp(self, address: impl Into<IpAddr>, port: u16) -> Self {
        self.frontend(Protocol::TCP, address.into(), port)
    }

    /// Adds an SCTP frontend. [`backends`](Self::backends) or [`no_backends`](Self::no_backends)
    /// must follow. It is judged only by a reconciler that was told to look at SCTP.
    #[must_use]
    pub fn sctp(self, address: impl Into<IpAddr>, port: u16) -> Self {
        self.frontend(Protocol::SCTP, address.into(), port)
    }

    /// Adds a frontend of any protocol with ports. [`backends`](Self::backends) or
    /// [`no_backends`](Self::no_backends) must follow.
    #[must_use]
    pub fn frontend(mut self, protocol: Protocol, address: IpAddr, port: u16) -> Self {
        self.close();
        let key = ServiceKey {
            namespace: String::new(),
            name: SocketAddr::new(address, port).to_string(),
            port_name: String::new(),
            protocol,
        };
        let mut service = ServicePort::new(key, port);
        service.cluster_ips.push(address);
        self.services.push(service);
        self.open = true;
        self
    }

    /// States that nothing serves the last frontend added.
    #[must_use]
    pub fn no_backends(self) -> Self {
        self.backends::<Endpoint>([])
    }

    /// Sets the backends of the last frontend added, all of them in one call.
    #[must_use]
    pub fn backends<E: Into<Endpoint>>(mut self, backends: impl IntoIterator<Item = E>) -> Self {
        match self.services.last_mut() {
            Some(service) if self.open => {
                service.endpoints.extend(backends.into_iter().map(Into::into));
                self.open = false;
            }
            _ => self.blame("backends(...) or no_backends() must follow a frontend, and only once"),
        }
        self
    }

    /// Adds a service port. Any number of service ports may share a frontend.
    #[must_use]
    pub fn service(mut self, service: ServicePort) -> Self {
        self.close();
        self.services.push(service);
        self
    }

    /// Adds addresses of this node, at which node ports are answered.
    #[must_use]
    pub fn node_addresses(mut self, addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        self.node_addresses.extend(addresses.into_iter().map(|address| address.to_canonical()));
        self
    }

    /// The addresses at which node ports are answered, if not all node addresses: kube-proxy in
    /// nftables mode answers at the primary ones only, and at `127.0.0.1` where it was told to.
    #[must_use]
    pub fn node_port_addresses(mut self, addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        let addresses = addresses.into_iter().map(|address| address.to_canonical());
        self.node_port_addresses.get_or_insert_default().extend(addresses);
        self
    }

    /// Adds a Service whose frontends are not judged.
    #[must_use]
    pub fn unknown(mut self, unknown: Unknown) -> Self {
        self.unknown.push(unknown);
        self
    }

    /// Adds addresses and prefixes that are valid backends of a frontend, on any port, although no
    /// service lists them: something else translates this frontend first, such as a DNS cache on
    /// the node.
    ///
    /// ```
    /// use ctnetlink::{DesiredState, Frontend, IpNet, Protocol};
    /// # use std::net::{IpAddr, SocketAddr};
    /// # let (vip, a): (IpAddr, SocketAddr) = ("10.96.0.10".parse()?, "10.244.1.5:53".parse()?);
    /// let cache: IpNet = "169.254.20.10/32".parse()?;
    /// let desired = DesiredState::builder()
    ///     .udp(vip, 53)
    ///     .backends([a])
    ///     .extra_backends(Frontend::new(vip, 53, Protocol::UDP), [cache])
    ///     .build()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn extra_backends(
        mut self,
        frontend: Frontend,
        backends: impl IntoIterator<Item = IpNet>,
    ) -> Self {
        self.extra_backends.entry(frontend).or_default().extend(backends);
        self
    }

    /// Ports of a container that the host publishes: the first host port leads to the first
    /// container port, and so on. Flows that dial them and lead elsewhere are stale; the container's
    /// own flows to such port numbers are not, because they do not dial an address of the host.
    ///
    /// ```
    /// use ctnetlink::{DesiredState, HostAddresses, Protocol};
    /// # use std::net::IpAddr;
    /// # let (host, container): (IpAddr, IpAddr) = ("192.0.2.5".parse()?, "10.88.0.7".parse()?);
    /// let desired = DesiredState::builder()
    ///     .node_addresses([host])
    ///     .published(Protocol::UDP, 8000..=8099, HostAddresses::AnyLocal, container, 5000..=5099)
    ///     .build()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn published(
        mut self,
        protocol: Protocol,
        host_ports: RangeInclusive<u16>,
        host: impl Into<HostAddresses>,
        container: IpAddr,
        container_ports: RangeInclusive<u16>,
    ) -> Self {
        let torn_down = false;
        let host = host.into();
        self.published.push(Publication {
            protocol,
            host_ports,
            host,
            container,
            container_ports,
            torn_down,
        });
        self
    }

    /// Ports of a container that were published and are no more: flows that dial them and lead to
    /// this container are stale, and so are untranslated ones. Flows that lead elsewhere are kept.
    #[must_use]
    pub fn unpublished(
        mut self,
        protocol: Protocol,
        host_ports: RangeInclusive<u16>,
        host: impl Into<HostAddresses>,
        container: IpAddr,
    ) -> Self {
        let container_ports = host_ports.clone();
        self = self.published(protocol, host_ports, host, container, container_ports);
        if let Some(last) = self.published.last_mut() {
            last.torn_down = true;
        }
        self
    }

    /// States that the input was Kubernetes objects, with this many Services of any protocol. A
    /// [`Reconciler`](crate::Reconciler) then refuses a state without a single Service after one
    /// that had some: every cluster has default/kubernetes, so the input was incomplete.
    #[must_use]
    pub fn made_from_services(mut self, services: usize) -> Self {
        self.services_seen = Some(services);
        self
    }

    /// When the objects were fetched, for reconcilers that only
    /// [observe](crate::Authority::Observer): what was first seen after that moment is not judged by
    /// this state.
    #[must_use]
    pub fn fetched_at(mut self, moment: Instant) -> Self {
        self.fetched = Some(moment);
        self
    }

    /// Adds a remark on the input, to be shown to people.
    #[must_use]
    pub fn note(mut self, text: impl Into<String>) -> Self {
        self.notes.push(text.into());
        self
    }

    fn close(&mut self) {
        if std::mem::take(&mut self.open) {
            let name = self.services.last().map(|s| s.key.to_string()).unwrap_or_default();
            self.blame(format!(
                "frontend {name} has no backends(...); call no_backends() if nothing serves it"
            ));
        }
    }

    /// An extra backend counts only at a frontend of a service.
    fn note_extra_backends_of_nobody(&mut self) {
        let at = self.node_port_addresses.as_ref().unwrap_or(&self.node_addresses);
        let has = |service: &ServicePort, frontend: &Frontend| {
            let is_own = service.frontends().any(|own| own == *frontend);
            let is_node_port = service.node_port == Some(frontend.port)
                && service.key.protocol == frontend.protocol
                && at.contains(&frontend.address);
            is_own || is_node_port
        };
        let nobodys =
            self.extra_backends.keys().filter(|f| !self.services.iter().any(|s| has(s, f)));
        self.notes.extend(
            nobodys.map(|frontend| format!("extra backends of {frontend}: no service has it")),
        );
    }

    fn blame(&mut self, mistake: impl Into<String>) {
        self.mistake.get_or_insert(mistake.into());
    }

    /// Checks everything and makes the state.
    ///
    /// # Errors
    ///
    /// A plain frontend without its `backends` call, a second such call, a port 0, or a node
    /// address that cannot be one (such as `0.0.0.0`). Of published ports: two ranges of different
    /// lengths, a host address that is not one or of another family than the container's, and any
    /// local address without a node address of that family. Nothing is guessed from a half-built
    /// state.
    pub fn build(mut self) -> Result<DesiredState> {
        self.close();
        for service in &self.services {
            let zero_endpoint = service.endpoints.iter().find(|e| e.address.port() == 0);
            if service.port == 0 || service.node_port == Some(0) {
                self.mistake.get_or_insert(format!("service {}: 0 is not a port", service.key));
            } else if let Some(endpoint) = zero_endpoint {
                self.mistake.get_or_insert(format!(
                    "service {}: endpoint {}: 0 is not a port",
                    service.key, endpoint.address
                ));
            }
        }
        let unusable = |a: &&IpAddr| a.is_unspecified() || a.is_multicast();
        let port_addresses = self.node_port_addresses.iter().flatten();
        if let Some(address) = self.node_addresses.iter().chain(port_addresses).find(unusable) {
            self.mistake.get_or_insert(format!("node address {address}: not an address of a node"));
        }
        if let Some(mistake) = self.mistake {
            return Err(Error::Invalid(format!("desired state: {mistake}")));
        }
        self.note_extra_backends_of_nobody();
        let published = self.published.into_iter().map(|p| p.resolve(&self.node_addresses));
        let published = published.collect::<Result<Vec<_>>>()?;
        let notes = &mut self.notes;
        self.services.retain_mut(|service| keep_own_families(service, notes));
        self.node_addresses.sort_unstable();
        self.node_addresses.dedup();
        Ok(DesiredState(Arc::new(State {
            services: self.services,
            node_addresses: self.node_addresses,
            node_port_addresses: self.node_port_addresses.map(|mut addresses| {
                addresses.sort_unstable();
                addresses.dedup();
                addresses
            }),
            unknown: self.unknown,
            extra_backends: self.extra_backends,
            published,
            services_seen: self.services_seen,
            fetched: self.fetched,
            notes: self.notes,
        })))
    }
}

/// A call of `published` or `unpublished`; node addresses may be named later.
#[derive(Debug)]
struct Publication {
    protocol: Protocol,
    host_ports: RangeInclusive<u16>,
    host: HostAddresses,
    container: IpAddr,
    container_ports: RangeInclusive<u16>,
    torn_down: bool,
}

impl Publication {
    fn resolve(self, node_addresses: &[IpAddr]) -> Result<Published> {
        let Publication { protocol, host_ports, host, container, container_ports, torn_down } =
            self;
        let published = Published::new(
            protocol,
            host_ports,
            &host,
            container,
            &container_ports,
            node_addresses,
        )?;
        Ok(Published { torn_down, ..published })
    }
}

/// Makes addresses canonical and drops those of families the service does not exist in. Returns
/// false if the service has no cluster IP, so that it cannot be reached.
fn keep_own_families(service: &mut ServicePort, notes: &mut Vec<String>) -> bool {
    if service.cluster_ips.is_empty() {
        notes.push(format!("service {}: ignored, it has no cluster IP", service.key));
        return false;
    }
    for address in &mut service.cluster_ips {
        *address = address.to_canonical();
    }
    let families = Family::ALL.map(|family| service.exists_in(family).then_some(family));
    let foreign = |address: IpAddr| !families.contains(&Some(Family::of(address)));
    let mut ignored = |what: &str, address: IpAddr| {
        notes.push(format!(
            "service {}: {what} {address} ignored, the service has no cluster IP of that family",
            service.key
        ));
    };
    for (what, addresses) in [
        ("load-balancer IP", &mut service.load_balancer_ips),
        ("external IP", &mut service.external_ips),
    ] {
        addresses.retain_mut(|address| {
            *address = address.to_canonical();
            let keep = !foreign(*address);
            if !keep {
                ignored(what, *address);
            }
            keep
        });
    }
    service.endpoints.retain_mut(|endpoint| {
        let address = endpoint.address.ip().to_canonical();
        endpoint.address = SocketAddr::new(address, endpoint.address.port());
        let keep = !foreign(address);
        if !keep {
            ignored("endpoint", address);
        }
        keep
    });
    true
}
