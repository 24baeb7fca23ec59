//! From typed objects to the desired state.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use ctnetlink::{DesiredState, Endpoint, Family, Protocol, ServiceKey, ServicePort};
use k8s_openapi::api::core::v1::{self as core, Service, ServiceSpec};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::error::{Error, Result};
use crate::{Cluster, Options};

/// Set by whoever wants another service proxy than kube-proxy.
const PROXY_NAME_LABEL: &str = "service.kubernetes.io/service-proxy-name";
/// Joins a slice to its service.
const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";

/// A list that is optional in some versions of the API types and mandatory in others
/// (`EndpointSlice.endpoints` changed with 1.36).
trait Items {
    type Item;
    fn items(&self) -> &[Self::Item];
}

impl<T> Items for Vec<T> {
    type Item = T;
    fn items(&self) -> &[T] {
        self
    }
}

impl<T> Items for Option<Vec<T>> {
    type Item = T;
    fn items(&self) -> &[T] {
        self.as_deref().unwrap_or_default()
    }
}

/// Slices by namespace and service name.
type Slices<'a> = BTreeMap<(&'a str, &'a str), Vec<&'a EndpointSlice>>;

pub(crate) fn desired_state(cluster: &Cluster, options: &Options) -> Result<DesiredState> {
    let mut slices = Slices::new();
    for slice in &cluster.endpoint_slices {
        let (namespace, _) = identity("EndpointSlice", &slice.metadata)?;
        let labels = slice.metadata.labels.as_ref();
        if let Some(service) = labels.and_then(|labels| labels.get(SERVICE_NAME_LABEL)) {
            slices.entry((namespace, service)).or_default().push(slice);
        }
    }

    let mut builder =
        DesiredState::builder().node_addresses(options.node_addresses.iter().copied());
    let mut notes = Vec::new();
    for service in &cluster.services {
        let (namespace, name) = identity("Service", &service.metadata)?;
        let own_slices = slices.get(&(namespace, name)).map(Vec::as_slice).unwrap_or_default();
        for port in service_ports(service, namespace, name, own_slices, &mut notes)? {
            builder = builder.service(port);
        }
    }
    let builder = notes.into_iter().fold(builder, ctnetlink::DesiredStateBuilder::note);
    let state = builder.build()?;

    let services = state.services().len();
    if services > 0 && cluster.endpoint_slices.is_empty() && !options.no_endpoints_ok {
        return Err(Error::NoEndpointSlices { services });
    }
    Ok(state)
}

/// Names an object in an error: `Service kube-system/kube-dns`.
pub(crate) fn object_name(kind: &str, namespace: &str, name: &str) -> String {
    match namespace {
        "" => format!("{kind} {name}"),
        _ => format!("{kind} {namespace}/{name}"),
    }
}

/// Namespace and name. An object without them cannot be joined with its other half, and a slice
/// that silently joins nothing would make healthy entries stale.
fn identity<'a>(kind: &str, metadata: &'a ObjectMeta) -> Result<(&'a str, &'a str)> {
    let [namespace, name] = [&metadata.namespace, &metadata.name]
        .map(|text| text.as_deref().filter(|text| !text.is_empty()));
    match (namespace, name) {
        (Some(namespace), Some(name)) => Ok((namespace, name)),
        (_, name) => {
            let object = object_name(kind, namespace.unwrap_or_default(), name.unwrap_or("?"));
            let field = if name.is_none() { "metadata.name" } else { "metadata.namespace" };
            Err(Object(object).bad(field, "missing"))
        }
    }
}

/// An object under conversion, for errors.
struct Object(String);

impl Object {
    fn bad(&self, field: impl Into<String>, problem: impl Into<String>) -> Error {
        Error::Object { object: self.0.clone(), field: field.into(), problem: problem.into() }
    }

    fn address(&self, field: impl Fn() -> String, text: &str) -> Result<IpAddr> {
        // What the standard library says of a bad address is less than this.
        let address = text.parse().ok();
        address.ok_or_else(|| self.bad(field(), format!("{text:?} is not an IP address")))
    }

    fn addresses(&self, field: &str, texts: Option<&Vec<String>>) -> Result<Vec<IpAddr>> {
        let texts = texts.into_iter().flatten().enumerate();
        texts.map(|(at, text)| self.address(|| format!("{field}[{at}]"), text)).collect()
    }

    fn port(&self, field: impl Fn() -> String, number: i32) -> Result<u16> {
        match u16::try_from(number) {
            Ok(port) if port != 0 => Ok(port),
            _ => Err(self.bad(field(), format!("{number} is not a port"))),
        }
    }

    /// Absent means TCP, as in the API.
    fn protocol(&self, field: impl Fn() -> String, text: Option<&str>) -> Result<Protocol> {
        match text.unwrap_or("TCP") {
            "TCP" => Ok(Protocol::TCP),
            "UDP" => Ok(Protocol::UDP),
            "SCTP" => Ok(Protocol::SCTP),
            other => Err(self.bad(field(), format!("{other:?} is not TCP, UDP or SCTP"))),
        }
    }
}

fn service_ports(
    service: &Service,
    namespace: &str,
    name: &str,
    slices: &[&EndpointSlice],
    notes: &mut Vec<String>,
) -> Result<Vec<ServicePort>> {
    let labels = service.metadata.labels.as_ref();
    if labels.is_some_and(|labels| labels.contains_key(PROXY_NAME_LABEL)) {
        return Ok(Vec::new());
    }
    let object = Object(object_name("Service", namespace, name));
    let spec = service.spec.as_ref().ok_or_else(|| object.bad("spec", "missing"))?;
    if is_headless_or_external(spec) {
        return Ok(Vec::new());
    }
    let cluster_ips = match &spec.cluster_ips {
        Some(addresses) if !addresses.is_empty() => {
            object.addresses("spec.clusterIPs", Some(addresses))?
        }
        _ => {
            let single = spec.cluster_ip.iter().filter(|text| !text.is_empty());
            single
                .map(|text| object.address(|| "spec.clusterIP".into(), text))
                .collect::<Result<_>>()?
        }
    };
    let external_ips = object.addresses("spec.externalIPs", spec.external_ips.as_ref())?;
    let load_balancer_ips = load_balancer_ips(&object, service)?;

    let mut service_ports = Vec::new();
    for (at, port) in spec.ports.iter().flatten().enumerate() {
        let protocol =
            object.protocol(|| format!("spec.ports[{at}].protocol"), port.protocol.as_deref())?;
        let key = ServiceKey {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            port_name: port.name.clone().unwrap_or_default(),
            protocol,
        };
        let number = object.port(|| format!("spec.ports[{at}].port"), port.port)?;
        let mut service_port = ServicePort::new(key, number);
        service_port.cluster_ips.clone_from(&cluster_ips);
        service_port.external_ips.clone_from(&external_ips);
        service_port.load_balancer_ips.clone_from(&load_balancer_ips);
        service_port.node_port = match port.node_port {
            None | Some(0) => None,
            Some(number) => Some(object.port(|| format!("spec.ports[{at}].nodePort"), number)?),
        };
        for slice in slices {
            add_endpoints(&mut service_port, slice, notes)?;
        }
        service_ports.push(service_port);
    }
    Ok(service_ports)
}

fn is_headless_or_external(spec: &ServiceSpec) -> bool {
    let first = spec.cluster_ips.iter().flatten().next().or(spec.cluster_ip.as_ref());
    spec.type_.as_deref() == Some("ExternalName") || first.is_some_and(|ip| ip == "None")
}

/// Ingress IPs in VIP mode. In `Proxy` mode the load balancer delivers to the node or pod itself,
/// and never with its own address as destination.
fn load_balancer_ips(object: &Object, service: &Service) -> Result<Vec<IpAddr>> {
    let status = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let ingress = status.and_then(|status| status.ingress.as_ref());
    let vip = |ingress: &core::LoadBalancerIngress| ingress.ip_mode.as_deref() != Some("Proxy");
    let mut addresses = Vec::new();
    for (at, ingress) in ingress.into_iter().flatten().enumerate().filter(|(_, i)| vip(i)) {
        if let Some(ip) = ingress.ip.as_deref().filter(|ip| !ip.is_empty()) {
            let field = || format!("status.loadBalancer.ingress[{at}].ip");
            addresses.push(object.address(field, ip)?);
        }
    }
    Ok(addresses)
}

/// Adds a slice's endpoints for the slice ports that are this service port's.
fn add_endpoints(
    service_port: &mut ServicePort,
    slice: &EndpointSlice,
    notes: &mut Vec<String>,
) -> Result<()> {
    let namespace = slice.metadata.namespace.as_deref().unwrap_or_default();
    let name = slice.metadata.name.as_deref().unwrap_or_default();
    let object = Object(object_name("EndpointSlice", namespace, name));
    let family = match slice.address_type.as_str() {
        "IPv4" => Family::Ipv4,
        "IPv6" => Family::Ipv6,
        "FQDN" => return Ok(()),
        other => {
            let problem = format!("{other:?} is not IPv4, IPv6 or FQDN");
            return Err(object.bad("addressType", problem));
        }
    };
    for (at, port) in slice.ports.iter().flatten().enumerate() {
        let field = |member: &str| format!("ports[{at}].{member}");
        let protocol = object.protocol(|| field("protocol"), port.protocol.as_deref())?;
        let port_name = port.name.as_deref().unwrap_or_default();
        if (port_name, protocol) != (&service_port.key.port_name, service_port.key.protocol) {
            continue;
        }
        let Some(number) = port.port else {
            notes.push(format!("{}: {} has no number, skipped", object.0, field("port")));
            continue;
        };
        let number = object.port(|| field("port"), number)?;
        for (at, endpoint) in slice.endpoints.items().iter().enumerate() {
            let field = || format!("endpoints[{at}].addresses[0]");
            let Some(text) = endpoint.addresses.first() else {
                notes.push(format!("{}: endpoints[{at}] has no address, skipped", object.0));
                continue;
            };
            let address = object.address(field, text)?;
            if Family::of(address) != family {
                let problem = format!("{text:?} is not an {} address", slice.address_type);
                return Err(object.bad(field(), problem));
            }
            let conditions = endpoint.conditions.as_ref();
            let mut new = Endpoint::new(SocketAddr::new(address, number));
            new.serving = conditions.and_then(|c| c.serving);
            new.ready = conditions.and_then(|c| c.ready);
            service_port.endpoints.push(new);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
