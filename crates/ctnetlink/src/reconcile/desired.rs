//! What should be: frontends, and the backends that serve them.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::model::protocol::Protocol;
use crate::model::tuple::Family;

/// Address, port and protocol a client dials.
///
/// Addresses are canonical: an IPv4-mapped IPv6 address is IPv4.
///
/// ```
/// use ctnetlink::{Frontend, Protocol};
/// let dns = Frontend::new("10.96.0.10".parse()?, 53, Protocol::UDP);
/// assert_eq!(dns.to_string(), "udp 10.96.0.10:53");
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Frontend {
    /// The address.
    pub address: IpAddr,
    /// The port, host byte order.
    pub port: u16,
    /// The protocol.
    pub protocol: Protocol,
}

impl Frontend {
    /// A frontend, with its address made canonical.
    pub fn new(address: IpAddr, port: u16, protocol: Protocol) -> Self {
        Frontend { address: address.to_canonical(), port, protocol }
    }

    /// Family of the (canonical) address.
    pub fn family(&self) -> Family {
        Family::of(self.address)
    }
}

impl fmt::Display for Frontend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.protocol, SocketAddr::new(self.address, self.port))
    }
}

impl fmt::Debug for Frontend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Frontend({self})")
    }
}

/// Where a frontend's traffic may go, and whether it counts.
///
/// A plain socket address converts into an endpoint that serves.
///
/// ```
/// use ctnetlink::Endpoint;
/// let endpoint = Endpoint::new("10.244.1.5:53".parse()?).ready(false);
/// assert!(!endpoint.serves()); // `serving` is not said, so `ready` counts
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub struct Endpoint {
    /// Address and port.
    pub address: SocketAddr,
    /// Kubernetes' `conditions.serving`. `None` = not said; what that means depends on the
    /// profile: [`Strict`](crate::Profile::Strict) looks at `ready` then,
    /// [`KubeProxy`](crate::Profile::KubeProxy) takes it as true.
    pub serving: Option<bool>,
    /// Kubernetes' `conditions.ready`. `None` = not said, which means true.
    pub ready: Option<bool>,
}

impl Endpoint {
    /// An endpoint whose conditions are unknown.
    pub fn new(address: SocketAddr) -> Self {
        Endpoint { address, serving: None, ready: None }
    }

    /// Sets `ready`.
    #[must_use]
    pub fn ready(mut self, ready: bool) -> Self {
        self.ready = Some(ready);
        self
    }

    /// Says whether it serves. An endpoint that does not serve is no backend.
    #[must_use]
    pub fn serving(mut self, serving: bool) -> Self {
        self.serving = Some(serving);
        self
    }

    /// Whether it serves, as [`Strict`](crate::Profile::Strict) reads it: what is not said of
    /// `serving` is what is said of `ready`, and what is not said at all is true.
    pub fn serves(&self) -> bool {
        self.serving.or(self.ready).unwrap_or(true)
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        Endpoint::new(address).serving(true)
    }
}

/// Identity of a service port: what kube-proxy calls `ServicePortName`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceKey {
    /// Namespace of the service.
    pub namespace: String,
    /// Name of the service.
    pub name: String,
    /// Name of the port; empty for an unnamed one.
    pub port_name: String,
    /// Protocol of the port.
    pub protocol: Protocol,
}

impl fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.namespace.is_empty() {
            write!(f, "{}/", self.namespace)?;
        }
        f.write_str(&self.name)?;
        if !self.port_name.is_empty() {
            write!(f, ":{}", self.port_name)?;
        }
        Ok(())
    }
}

/// One port of one service, with every address it can be reached at and its endpoints.
///
/// The service exists in the families of its cluster IPs only; addresses and endpoints of another
/// family are left out by [`DesiredStateBuilder::build`], with a note.
///
/// ```
/// use ctnetlink::{DesiredState, Endpoint, Protocol, ServiceKey, ServicePort};
/// # use std::net::{IpAddr, SocketAddr};
/// # let (vip, a): (IpAddr, SocketAddr) = ("10.96.0.10".parse()?, "10.244.1.5:53".parse()?);
/// let key = ServiceKey {
///     namespace: "kube-system".into(),
///     name: "kube-dns".into(),
///     port_name: "dns".into(),
///     protocol: Protocol::UDP,
/// };
/// assert_eq!(key.to_string(), "kube-system/kube-dns:dns");
/// let mut service = ServicePort::new(key, 53);
/// service.cluster_ips.push(vip);
/// service.endpoints.push(Endpoint::from(a));
/// let desired = DesiredState::builder().service(service).build()?;
/// # assert_eq!(desired.frontends().count(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServicePort {
    /// Identity.
    pub key: ServiceKey,
    /// Port at the cluster, external and load-balancer addresses.
    pub port: u16,
    /// Port at the node addresses.
    pub node_port: Option<u16>,
    /// Cluster IPs; at least one.
    pub cluster_ips: Vec<IpAddr>,
    /// Load-balancer IPs (in VIP mode).
    pub load_balancer_ips: Vec<IpAddr>,
    /// External IPs.
    pub external_ips: Vec<IpAddr>,
    /// Endpoints, serving or not.
    pub endpoints: Vec<Endpoint>,
}

impl ServicePort {
    /// A service port with its identity and port, and nothing else yet.
    pub fn new(key: ServiceKey, port: u16) -> Self {
        ServicePort {
            key,
            port,
            node_port: None,
            cluster_ips: Vec::new(),
            load_balancer_ips: Vec::new(),
            external_ips: Vec::new(),
            endpoints: Vec::new(),
        }
    }

    /// The frontends at the service's own addresses, in the order kube-proxy registers them
    /// (cluster, load balancer, external). Node ports are not among them.
    pub fn frontends(&self) -> impl Iterator<Item = Frontend> {
        self.cluster_ips
            .iter()
            .chain(&self.load_balancer_ips)
            .chain(&self.external_ips)
            .map(|address| Frontend::new(*address, self.port, self.key.protocol))
    }

    /// Whether the service exists in this family, that is, has a cluster IP of it.
    pub fn exists_in(&self, family: Family) -> bool {
        self.cluster_ips.iter().any(|address| Family::of(address.to_canonical()) == family)
    }
}

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
    notes: Vec<String>,
}

impl DesiredState {
    /// Starts an empty one.
    pub fn builder() -> DesiredStateBuilder {
        DesiredStateBuilder::default()
    }

    /// The usable service ports: those with at least one frontend.
    pub fn services(&self) -> &[ServicePort] {
        &self.0.services
    }

    /// The addresses at which node ports are answered, canonical.
    pub fn node_addresses(&self) -> &[IpAddr] {
        &self.0.node_addresses
    }

    /// What was left out of the input, one line each, for people.
    pub fn notes(&self) -> &[String] {
        &self.0.notes
    }

    /// Every frontend, the node ports at the node addresses included.
    pub fn frontends(&self) -> impl Iterator<Item = Frontend> {
        self.services()
            .iter()
            .flat_map(|service| service.frontends().chain(self.node_frontends(service)))
    }

    /// A service's node port at each node address of a family the service exists in.
    pub(crate) fn node_frontends(&self, service: &ServicePort) -> impl Iterator<Item = Frontend> {
        let node_addresses = if service.node_port.is_some() { self.node_addresses() } else { &[] };
        node_addresses
            .iter()
            .filter(|address| service.exists_in(Family::of(**address)))
            .zip(std::iter::repeat(service.node_port.unwrap_or(0)))
            .map(|(address, port)| Frontend::new(*address, port, service.key.protocol))
    }
}

/// Collects a [`DesiredState`]. Mistakes are reported by [`build`](DesiredStateBuilder::build).
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
///     .no_backends() // nothing serves: whatever still goes somewhere is stale
///     .build()?;
/// assert_eq!(desired.frontends().count(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
pub struct DesiredStateBuilder {
    services: Vec<ServicePort>,
    node_addresses: Vec<IpAddr>,
    notes: Vec<String>,
    /// The last plain frontend still lacks its `backends` call.
    open: bool,
    mistake: Option<String>,
}

impl DesiredStateBuilder {
    /// A UDP frontend. Its [`backends`](Self::backends) must follow, or
    /// [`no_backends`](Self::no_backends).
    #[must_use]
    pub fn udp(self, address: impl Into<IpAddr>, port: u16) -> Self {
        self.frontend(Protocol::UDP, address.into(), port)
    }

    /// A TCP frontend. It is judged only by a reconciler that was told to look at TCP.
    #[must_use]
    pub fn tcp(self, address: impl Into<IpAddr>, port: u16) -> Self {
        self.frontend(Protocol::TCP, address.into(), port)
    }

    /// An SCTP frontend. It is judged only by a reconciler that was told to look at SCTP.
    #[must_use]
    pub fn sctp(self, address: impl Into<IpAddr>, port: u16) -> Self {
        self.frontend(Protocol::SCTP, address.into(), port)
    }

    /// A frontend of any protocol with ports; see [`udp`](Self::udp).
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

    /// Says that nothing serves the frontend named last.
    #[must_use]
    pub fn no_backends(self) -> Self {
        self.backends::<Endpoint>([])
    }

    /// The backends of the frontend named last, all of them at once.
    #[must_use]
    pub fn backends<E: Into<Endpoint>>(mut self, backends: impl IntoIterator<Item = E>) -> Self {
        match self.services.last_mut() {
            Some(service) if self.open => {
                service.endpoints.extend(backends.into_iter().map(Into::into));
                self.open = false;
            }
            _ => self.blame("backends(...) must follow the frontend they serve, once"),
        }
        self
    }

    /// A whole service port. Any number of them may share a frontend.
    #[must_use]
    pub fn service(mut self, service: ServicePort) -> Self {
        self.close();
        self.services.push(service);
        self
    }

    /// Addresses of this node, at which node ports are answered.
    #[must_use]
    pub fn node_addresses(mut self, addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        self.node_addresses.extend(addresses.into_iter().map(|address| address.to_canonical()));
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
                "frontend {name} has no backends(...); say no_backends() if none serve"
            ));
        }
    }

    fn blame(&mut self, mistake: impl Into<String>) {
        self.mistake.get_or_insert(mistake.into());
    }

    /// Checks everything and makes the state.
    ///
    /// # Errors
    ///
    /// A plain frontend without its `backends` call, a port 0, a node address that is none
    /// (`0.0.0.0`). Nothing is guessed from a half-built state.
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
        if let Some(address) = self.node_addresses.iter().find(unusable) {
            self.mistake.get_or_insert(format!("node address {address}: not an address of a node"));
        }
        if let Some(mistake) = self.mistake {
            return Err(Error::Invalid(format!("desired state: {mistake}")));
        }
        let notes = &mut self.notes;
        self.services.retain_mut(|service| keep_own_families(service, notes));
        self.node_addresses.sort_unstable();
        self.node_addresses.dedup();
        Ok(DesiredState(Arc::new(State {
            services: self.services,
            node_addresses: self.node_addresses,
            notes: self.notes,
        })))
    }
}

/// Makes addresses canonical and drops those of families the service does not exist in. False if
/// nothing is left to reach it at.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn service(cluster_ips: &[&str]) -> ServicePort {
        let key = ServiceKey {
            namespace: "kube-system".into(),
            name: "kube-dns".into(),
            port_name: "dns".into(),
            protocol: Protocol::UDP,
        };
        let mut service = ServicePort::new(key, 53);
        service.cluster_ips = cluster_ips.iter().map(|text| ip(text)).collect();
        service
    }

    #[test]
    fn plain_frontends() {
        let state = DesiredState::builder()
            .udp(ip("10.96.0.10"), 53)
            .backends([at("10.244.1.5:53")])
            .tcp(ip("fd00::10"), 53)
            .backends([Endpoint::new(at("[fd00::1]:53"))])
            .build()
            .unwrap();
        let frontends: Vec<_> = state.frontends().map(|f| f.to_string()).collect();
        assert_eq!(frontends, ["udp 10.96.0.10:53", "tcp [fd00::10]:53"]);
        assert_eq!(state.services()[0].endpoints[0].serving, Some(true));
        assert_eq!(state.services()[1].endpoints[0].serving, None);
    }

    #[test]
    fn half_built_states_are_refused() {
        let udp = || DesiredState::builder().udp(ip("10.96.0.10"), 53);
        let mut zero = service(&["10.0.0.1"]);
        zero.port = 0;
        let mut zero_node = service(&["10.0.0.1"]);
        zero_node.node_port = Some(0);
        for (builder, what) in [
            (udp(), "frontend 10.96.0.10:53 has no backends"),
            (udp().udp(ip("10.96.0.11"), 53).no_backends(), "10.96.0.10:53 has no backends"),
            (udp().service(service(&["10.0.0.1"])), "10.96.0.10:53 has no backends"),
            (DesiredState::builder().no_backends(), "must follow"),
            (udp().no_backends().no_backends(), "must follow"),
            (udp().backends([at("10.0.0.1:0")]), "endpoint 10.0.0.1:0: 0 is not a port"),
            (
                DesiredState::builder().node_addresses([ip("0.0.0.0")]),
                "node address 0.0.0.0: not an address of a node",
            ),
            (DesiredState::builder().node_addresses([ip("ff02::1")]), "ff02::1"),
            (DesiredState::builder().service(zero), "kube-system/kube-dns:dns: 0 is not a port"),
            (DesiredState::builder().service(zero_node), "0 is not a port"),
        ] {
            let error = builder.build().unwrap_err().to_string();
            assert!(error.contains(what), "{error}");
        }
        assert!(udp().no_backends().build().is_ok());
    }

    #[test]
    fn addresses_of_other_families_are_ignored_with_a_note() {
        let mut service = service(&["10.96.0.10"]);
        service.external_ips = vec![ip("192.0.2.1"), ip("2001:db8::1")];
        service.load_balancer_ips = vec![ip("2001:db8::2"), ip("::ffff:192.0.2.2")];
        service.endpoints = vec![
            at("10.244.1.5:53").into(),
            at("[fd00::5]:53").into(),
            at("[::ffff:10.1.1.1]:53").into(),
        ];
        let state = DesiredState::builder().service(service).build().unwrap();
        let frontends: Vec<_> = state.frontends().map(|f| f.address.to_string()).collect();
        assert_eq!(frontends, ["10.96.0.10", "192.0.2.2", "192.0.2.1"]);
        let mapped = super::ServicePort {
            cluster_ips: vec![ip("::ffff:10.96.0.10")],
            ..state.services()[0].clone()
        };
        let mapped = DesiredState::builder().service(mapped).build().unwrap();
        assert_eq!(mapped.services()[0].cluster_ips, [ip("10.96.0.10")]);
        let endpoints: Vec<_> =
            state.services()[0].endpoints.iter().map(|e| e.address.to_string()).collect();
        assert_eq!(endpoints, ["10.244.1.5:53", "10.1.1.1:53"]);
        assert_eq!(state.notes().len(), 3, "{:?}", state.notes());
        assert!(state.notes()[0].contains("load-balancer IP 2001:db8::2 ignored"));
    }

    #[test]
    fn a_service_without_cluster_ip_is_not_usable() {
        let state = DesiredState::builder().service(service(&[])).build().unwrap();
        assert!(state.services().is_empty());
        assert!(state.notes()[0].contains("no cluster IP"));
    }

    #[test]
    fn node_ports_are_frontends_at_node_addresses_of_the_services_families() {
        let mut service = service(&["::ffff:10.96.0.10"]);
        service.node_port = Some(30053);
        let state = DesiredState::builder()
            .service(service)
            .node_addresses([ip("::ffff:192.0.2.1"), ip("192.0.2.1"), ip("2001:db8::1")])
            .build()
            .unwrap();
        assert_eq!(state.node_addresses(), [ip("192.0.2.1"), ip("2001:db8::1")]);
        let frontends: Vec<_> = state.frontends().map(|f| f.to_string()).collect();
        assert_eq!(frontends, ["udp 10.96.0.10:53", "udp 192.0.2.1:30053"]);
    }
}
