//! Services, and what serves them: `Frontend`, `Endpoint`, `ServiceKey`, `ServicePort`, `Unknown`.

use pyo3::prelude::*;

use crate::record::record;
use crate::value::{Address, Family, Protocol, Socket, socket, socket_address};

record! {
    [hash] []
    /// Address, port and protocol that a client dials.
    #[derive(Eq, Hash, Copy)]
    Frontend {
        /// The address. An IPv4-mapped IPv6 address is IPv4.
        address: Address,
        /// The port.
        port: u16,
        /// Name of the protocol (``udp``), or its number in digits.
        protocol: Protocol,
    }
}

#[pymethods]
impl Frontend {
    /// Family of the address.
    #[getter]
    fn family(&self) -> Family {
        Family(ctnetlink::Frontend::from(*self).family())
    }

    fn __str__(&self) -> String {
        ctnetlink::Frontend::from(*self).to_string()
    }
}

impl From<ctnetlink::Frontend> for Frontend {
    fn from(frontend: ctnetlink::Frontend) -> Self {
        Frontend {
            address: Address(frontend.address),
            port: frontend.port,
            protocol: Protocol(frontend.protocol),
        }
    }
}

impl From<Frontend> for ctnetlink::Frontend {
    fn from(frontend: Frontend) -> Self {
        ctnetlink::Frontend::new(frontend.address.0, frontend.port, frontend.protocol.0)
    }
}

record! {
    [hash] [address, serving=None, ready=None, local=None]
    /// An address and port that a frontend's traffic may go to, and whether it serves.
    #[derive(Eq, Hash, Copy)]
    Endpoint {
        /// ``(address, port)``.
        address: Socket,
        /// Kubernetes' ``conditions.serving``; ``None`` = not stated.
        ///
        /// What that means depends on the profile: ``strict`` then uses ``ready``, ``kube-proxy`` takes
        /// it as true.
        serving: Option<bool>,
        /// Kubernetes' ``conditions.ready``; ``None`` = not stated, which means true.
        ready: Option<bool>,
        /// Whether it is on this node; ``None`` = not known.
        local: Option<bool>,
    }
}

#[pymethods]
impl Endpoint {
    /// Whether it serves, as ``strict`` reads it: ``serving``, else ``ready``, else true.
    #[getter]
    fn serves(&self) -> bool {
        ctnetlink::Endpoint::from(*self).serves()
    }
}

impl From<Endpoint> for ctnetlink::Endpoint {
    fn from(endpoint: Endpoint) -> Self {
        let mut own = ctnetlink::Endpoint::new(socket_address(endpoint.address));
        own.serving = endpoint.serving;
        own.ready = endpoint.ready;
        own.local = endpoint.local;
        own
    }
}

impl From<ctnetlink::Endpoint> for Endpoint {
    fn from(endpoint: ctnetlink::Endpoint) -> Self {
        let ctnetlink::Endpoint { address, serving, ready, local, .. } = endpoint;
        Endpoint { address: socket(address), serving, ready, local }
    }
}

record! {
    [hash] []
    /// Identity of a service port: what kube-proxy calls ``ServicePortName``.
    #[derive(Eq, Hash)]
    ServiceKey {
        /// Namespace of the service.
        namespace: String,
        /// Name of the service.
        name: String,
        /// Name of the port; empty for an unnamed one.
        port_name: String,
        /// Protocol of the port.
        protocol: Protocol,
    }
}

#[pymethods]
impl ServiceKey {
    fn __str__(&self) -> String {
        ctnetlink::ServiceKey::from(self.clone()).to_string()
    }
}

impl From<ServiceKey> for ctnetlink::ServiceKey {
    fn from(key: ServiceKey) -> Self {
        let ServiceKey { namespace, name, port_name, protocol } = key;
        ctnetlink::ServiceKey { namespace, name, port_name, protocol: protocol.0 }
    }
}

impl From<ctnetlink::ServiceKey> for ServiceKey {
    fn from(key: ctnetlink::ServiceKey) -> Self {
        let ctnetlink::ServiceKey { namespace, name, port_name, protocol } = key;
        ServiceKey { namespace, name, port_name, protocol: Protocol(protocol) }
    }
}

record! {
    [hash] [
        key, port, node_port=None, cluster_ips=Vec::new(), load_balancer_ips=Vec::new(),
        external_ips=Vec::new(), endpoints=Vec::new(), local_traffic=false
    ]
    /// One port of one service, with every address it can be reached at and its endpoints.
    ///
    /// The service exists in the families of its cluster IPs only; addresses and endpoints of another
    /// family are left out of a desired state, with a note.
    #[derive(Eq, Hash)]
    ServicePort {
        /// Identity.
        key: ServiceKey,
        /// Port at the cluster, external and load-balancer addresses.
        port: u16,
        /// Port at the node addresses.
        node_port: Option<u16>,
        /// Cluster IPs; at least one.
        cluster_ips: Vec<Address>,
        /// Load-balancer IPs (in VIP mode).
        load_balancer_ips: Vec<Address>,
        /// External IPs.
        external_ips: Vec<Address>,
        /// Endpoints, serving or not.
        endpoints: Vec<Endpoint>,
        /// A traffic policy of the service is ``Local``.
        ///
        /// Then the rules of a node translate only while one of its own endpoints serves.
        local_traffic: bool,
    }
}

#[pymethods]
impl ServicePort {
    /// The frontends at the service's own addresses. Node ports are not among them.
    #[getter]
    fn frontends(&self) -> Vec<Frontend> {
        ctnetlink::ServicePort::from(self.clone()).frontends().map(Frontend::from).collect()
    }

    /// Return whether the service exists in this family, that is, has a cluster IP of this family.
    fn exists_in(&self, family: Family) -> bool {
        ctnetlink::ServicePort::from(self.clone()).exists_in(family.0)
    }
}

impl From<ServicePort> for ctnetlink::ServicePort {
    fn from(service: ServicePort) -> Self {
        let mut own = ctnetlink::ServicePort::new(service.key.into(), service.port);
        let addresses = |all: Vec<Address>| all.into_iter().map(|address| address.0).collect();
        own.node_port = service.node_port;
        own.cluster_ips = addresses(service.cluster_ips);
        own.load_balancer_ips = addresses(service.load_balancer_ips);
        own.external_ips = addresses(service.external_ips);
        own.endpoints = service.endpoints.into_iter().map(ctnetlink::Endpoint::from).collect();
        own.local_traffic = service.local_traffic;
        own
    }
}

impl From<&ctnetlink::ServicePort> for ServicePort {
    fn from(service: &ctnetlink::ServicePort) -> Self {
        let addresses = |all: &[std::net::IpAddr]| all.iter().copied().map(Address).collect();
        ServicePort {
            key: service.key.clone().into(),
            port: service.port,
            node_port: service.node_port,
            cluster_ips: addresses(&service.cluster_ips),
            load_balancer_ips: addresses(&service.load_balancer_ips),
            external_ips: addresses(&service.external_ips),
            endpoints: service.endpoints.iter().copied().map(Endpoint::from).collect(),
            local_traffic: service.local_traffic,
        }
    }
}

record! {
    [hash] [namespace, name, services=Vec::new(), unreadable=false]
    /// A Service whose frontends are not judged.
    ///
    /// It belongs to another proxy, or is not completely known.
    #[derive(Eq, Hash)]
    Unknown {
        /// Namespace of the Service.
        namespace: String,
        /// Name of the Service.
        name: String,
        /// The part of it that can be read. Only the frontends count, not the endpoints.
        services: Vec<ServicePort>,
        /// Whether it, or a slice of it, could not be read. If false, it belongs to another proxy.
        unreadable: bool,
    }
}

impl From<Unknown> for ctnetlink::Unknown {
    fn from(unknown: Unknown) -> Self {
        let mut own = ctnetlink::Unknown::new(unknown.namespace, unknown.name);
        own.services = unknown.services.into_iter().map(ctnetlink::ServicePort::from).collect();
        own.unreadable = unknown.unreadable;
        own
    }
}

impl From<&ctnetlink::Unknown> for Unknown {
    fn from(unknown: &ctnetlink::Unknown) -> Self {
        Unknown {
            namespace: unknown.namespace.clone(),
            name: unknown.name.clone(),
            services: unknown.services.iter().map(ServicePort::from).collect(),
            unreadable: unknown.unreadable,
        }
    }
}
