//! Services, and what serves them.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

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

/// An address and port that a frontend's traffic may go to, and whether it serves.
///
/// A plain socket address converts into an endpoint that serves.
///
/// ```
/// use ctnetlink::Endpoint;
/// let endpoint = Endpoint::new("10.244.1.5:53".parse()?).ready(false);
/// assert!(!endpoint.serves()); // `serving` is not stated, so `ready` counts
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub struct Endpoint {
    /// Address and port.
    pub address: SocketAddr,
    /// Kubernetes' `conditions.serving`. `None` = not stated; what that means depends on the
    /// profile: [`Strict`](crate::Profile::Strict) then uses `ready`,
    /// [`KubeProxy`](crate::Profile::KubeProxy) takes it as true.
    pub serving: Option<bool>,
    /// Kubernetes' `conditions.ready`. `None` = not stated, which means true.
    pub ready: Option<bool>,
    /// Whether it is on this node. `None` = not known. This decides only when a service that keeps
    /// traffic on the node begins to be served here; it never makes an endpoint invalid.
    pub local: Option<bool>,
}

impl Endpoint {
    /// An endpoint whose conditions are unknown.
    pub fn new(address: SocketAddr) -> Self {
        Endpoint { address, serving: None, ready: None, local: None }
    }

    /// Sets `ready`.
    #[must_use]
    pub fn ready(mut self, ready: bool) -> Self {
        self.ready = Some(ready);
        self
    }

    /// Sets `serving`. An endpoint that does not serve is not a backend.
    #[must_use]
    pub fn serving(mut self, serving: bool) -> Self {
        self.serving = Some(serving);
        self
    }

    /// Sets `local`.
    #[must_use]
    pub fn local(mut self, local: bool) -> Self {
        self.local = Some(local);
        self
    }

    /// Whether it serves, as [`Strict`](crate::Profile::Strict) reads it: `serving` if it is
    /// stated, else `ready` if that is stated, else true.
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
/// family are left out by [`DesiredStateBuilder::build`](crate::DesiredStateBuilder::build), with a note.
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
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
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
    /// A traffic policy of the service is `Local`: the rules of a node translate only while one of
    /// its own endpoints serves.
    pub local_traffic: bool,
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
            local_traffic: false,
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

    /// Whether the service exists in this family, that is, has a cluster IP of this family.
    pub fn exists_in(&self, family: Family) -> bool {
        self.cluster_ips.iter().any(|address| Family::of(address.to_canonical()) == family)
    }
}

/// A Service whose frontends are not judged: it belongs to another proxy, or is not completely
/// known.
///
/// Its frontends are kept, even where another service shares them, and never count as removed.
///
/// ```
/// use ctnetlink::{DesiredState, Unknown};
/// let desired = DesiredState::builder().unknown(Unknown::new("default", "web")).build()?;
/// assert_eq!(desired.unknown().len(), 1);
/// # Ok::<(), ctnetlink::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Unknown {
    /// Namespace of the Service.
    pub namespace: String,
    /// Name of the Service.
    pub name: String,
    /// The part of it that can be read. Only the frontends count, not the endpoints.
    pub services: Vec<ServicePort>,
    /// Whether it, or a slice of it, could not be read. If false, it was excluded because it
    /// belongs to another proxy; [`KubeProxy`](crate::Profile::KubeProxy) takes it as absent then.
    pub unreadable: bool,
}

impl Unknown {
    /// An excluded Service of which no frontend is known yet.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Unknown {
        let (namespace, name) = (namespace.into(), name.into());
        Unknown { namespace, name, services: Vec::new(), unreadable: false }
    }
}
