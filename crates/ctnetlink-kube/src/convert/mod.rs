//! From typed objects to the desired state.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use ctnetlink::{DesiredState, Endpoint, Family, Protocol, ServiceKey, ServicePort, Unknown};
use k8s_openapi::api::core::v1::{self as core, Service, ServiceSpec};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::error::{Error, Result};
use crate::{Cluster, Options};

/// Labels whose presence hides an object from kube-proxy, whose watches leave them out: a Service for
/// another proxy, and one without a virtual address.
const EXCLUDING_LABELS: [&str; 2] =
    ["service.kubernetes.io/service-proxy-name", "service.kubernetes.io/headless"];
/// Joins a slice to its service.
pub(crate) const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";

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
    let mut notes = cluster.notes.clone();
    for slice in &cluster.endpoint_slices {
        let (namespace, name) = identity("EndpointSlice", &slice.metadata)?;
        match label(&slice.metadata, SERVICE_NAME_LABEL) {
            Some(service) => slices.entry((namespace, service)).or_default().push(slice),
            None => notes.push(format!(
                "{}: it lacks the label {SERVICE_NAME_LABEL}, and belongs to no Service",
                object_name("EndpointSlice", namespace, name)
            )),
        }
    }
    let mut names = BTreeSet::new();
    for service in &cluster.services {
        names.insert(identity("Service", &service.metadata)?);
    }
    check_halves(cluster, &names, &slices, options, &mut notes)?;

    let mut builder =
        DesiredState::builder().node_addresses(options.node_addresses.iter().copied());
    // None at all comes this far only if that is meant.
    let services = names.len() + cluster.unreadable.len();
    if services > 0 {
        builder = builder.made_from_services(services);
    }
    if let Some(addresses) = &options.node_port_addresses {
        builder = builder.node_port_addresses(addresses.iter().copied());
    }
    for (frontend, backend) in &options.extra_backends {
        builder = builder.extra_backends(*frontend, [*backend]);
    }
    if let Some(moment) = options.fetched {
        builder = builder.fetched_at(moment);
    }
    for service in &cluster.services {
        let (namespace, name) = identity("Service", &service.metadata)?;
        let key = (namespace, name);
        let own_slices = slices.get(&key).map(Vec::as_slice).unwrap_or_default();
        let mut unknown = Unknown::new(namespace, name);
        let excluded = is_excluded(&service.metadata);
        // The slices of a Service whose other slices are another's are not all of its backends. The
        // Service itself is there.
        let unreadable = [&cluster.unreadable, &cluster.unreadable_slices]
            .into_iter()
            .any(|names| contains(names, key))
            || own_slices.iter().any(|slice| is_excluded(&slice.metadata));
        let mut own_notes = Vec::new();
        match service_ports(service, (namespace, name), own_slices, options, &mut own_notes) {
            Ok(ports) if !excluded && !unreadable => {
                notes.append(&mut own_notes);
                builder = ports.into_iter().fold(builder, ctnetlink::DesiredStateBuilder::service);
                continue;
            }
            Ok(ports) => unknown.services = ports,
            Err(error) if excluded => drop(error),
            Err(error) => {
                notes.push(unknown_note(&error, namespace, name));
                unknown.unreadable = true;
            }
        }
        unknown.unreadable |= unreadable;
        if unknown.services.is_empty() {
            unknown.services = readable_frontends(service, namespace, name);
        }
        builder = builder.unknown(unknown);
    }
    for (namespace, name) in cluster.unreadable.union(&cluster.unreadable_slices) {
        if !names.contains(&(namespace, name)) {
            let mut unknown = Unknown::new(namespace, name);
            unknown.unreadable = true;
            builder = builder.unknown(unknown);
        }
    }
    let builder = notes.into_iter().fold(builder, ctnetlink::DesiredStateBuilder::note);
    let state = builder.build()?;

    let services = state.services().len();
    if services > 0 && cluster.endpoint_slices.is_empty() && !options.no_endpoints_ok {
        return Err(Error::NoEndpointSlices { services, endpoints: cluster.endpoints });
    }
    Ok(state)
}

/// Refuses incomplete input, which must not mean that everything is gone: Services and their slices
/// come together.
fn check_halves(
    cluster: &Cluster,
    names: &BTreeSet<(&str, &str)>,
    slices: &Slices<'_>,
    options: &Options,
    notes: &mut Vec<String>,
) -> Result<()> {
    let is_there = |key: &(&str, &str)| names.contains(key) || contains(&cluster.unreadable, *key);
    let count = cluster.endpoint_slices.len();
    if !options.no_services_ok {
        if names.is_empty() && cluster.unreadable.is_empty() {
            return Err(Error::NoServices { slices: count });
        }
        let lost = |missing| Err(Error::LostServices { slices: count, missing });
        if count > 0 && !slices.keys().any(is_there) {
            return lost("the Service of any of them");
        }
        // The API server writes both, always.
        let kubernetes = ("default", "kubernetes");
        if slices.contains_key(&kubernetes) && !is_there(&kubernetes) {
            return lost("the Service default/kubernetes");
        }
    }
    // A slice lingers for a moment after its Service is deleted.
    for (namespace, name) in slices.keys().filter(|key| !is_there(key)) {
        notes.push(format!(
            "EndpointSlices of Service {namespace}/{name}: it is not in the document"
        ));
    }
    Ok(())
}

fn contains(names: &BTreeSet<(String, String)>, (namespace, name): (&str, &str)) -> bool {
    names.contains(&(namespace.to_owned(), name.to_owned()))
}

fn label<'a>(metadata: &'a ObjectMeta, name: &str) -> Option<&'a str> {
    metadata.labels.as_ref()?.get(name).map(String::as_str)
}

fn is_excluded(metadata: &ObjectMeta) -> bool {
    EXCLUDING_LABELS.iter().any(|name| label(metadata, name).is_some())
}

/// The note about a Service that is not judged because a part of it cannot be read.
pub(crate) fn unknown_note(error: &Error, namespace: &str, name: &str) -> String {
    format!("{error}; {} is not judged", object_name("Service", namespace, name))
}

/// Those frontends that can be read of a Service that cannot be read completely.
fn readable_frontends(service: &Service, namespace: &str, name: &str) -> Vec<ServicePort> {
    let object = Object(object_name("Service", namespace, name));
    let Some(spec) = &service.spec else { return Vec::new() };
    let readable = |texts: Option<&Vec<String>>| -> Vec<IpAddr> {
        let texts = texts.into_iter().flatten();
        texts.filter_map(|text| object.address(String::new, text).ok()).collect()
    };
    let mut cluster_ips = readable(spec.cluster_ips.as_ref());
    if cluster_ips.is_empty() {
        cluster_ips.extend(spec.cluster_ip.iter().flat_map(|ip| object.address(String::new, ip)));
    }
    let mut all = Vec::new();
    for port in spec.ports.iter().flatten() {
        let protocol = object.protocol(String::new, port.protocol.as_deref());
        let (Ok(protocol), Ok(number)) = (protocol, object.port(String::new, port.port)) else {
            continue;
        };
        let key = ServiceKey {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            port_name: port.name.clone().unwrap_or_default(),
            protocol,
        };
        let mut service_port = ServicePort::new(key, number);
        service_port.cluster_ips.clone_from(&cluster_ips);
        service_port.external_ips = readable(spec.external_ips.as_ref());
        service_port.load_balancer_ips = load_balancer_ips(&object, service).unwrap_or_default();
        let node_port = port.node_port.and_then(|n| object.port(String::new, n).ok());
        service_port.node_port = node_port;
        all.push(service_port);
    }
    all
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

/// Decimal numbers with leading zeros, as Kubernetes reads them (`netutils.ParseIPSloppy`): the
/// standard library refuses them, because others read them as octal.
fn without_leading_zeros(text: &str) -> Option<String> {
    // In an IPv6 address with an embedded IPv4 one only the last part is decimal.
    let (head, decimal) = text.rsplit_once(':').map_or(("", text), |(head, last)| (head, last));
    let parts = decimal.split('.').map(|part| match part.trim_start_matches('0') {
        "" if !part.is_empty() => "0",
        rest => rest,
    });
    let decimal = decimal.contains('.').then(|| parts.collect::<Vec<_>>().join("."))?;
    Some(if head.is_empty() { decimal } else { format!("{head}:{decimal}") })
}

/// An object under conversion, for errors.
struct Object(String);

impl Object {
    fn bad(&self, field: impl Into<String>, problem: impl Into<String>) -> Error {
        Error::Object { object: self.0.clone(), field: field.into(), problem: problem.into() }
    }

    fn address(&self, field: impl Fn() -> String, text: &str) -> Result<IpAddr> {
        // This says more about a bad address than the standard library's error.
        let address = text.parse().ok().or_else(|| without_leading_zeros(text)?.parse().ok());
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
    (namespace, name): (&str, &str),
    slices: &[&EndpointSlice],
    options: &Options,
    notes: &mut Vec<String>,
) -> Result<Vec<ServicePort>> {
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
        let local = |policy: &Option<String>| policy.as_deref() == Some("Local");
        service_port.local_traffic =
            local(&spec.internal_traffic_policy) || local(&spec.external_traffic_policy);
        service_port.node_port = match port.node_port {
            None | Some(0) => None,
            Some(number) => Some(object.port(|| format!("spec.ports[{at}].nodePort"), number)?),
        };
        for slice in slices {
            add_endpoints(&mut service_port, slice, options.node_name.as_deref(), notes)?;
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

/// Adds the endpoints of a slice, for those of its ports that belong to this service port.
fn add_endpoints(
    service_port: &mut ServicePort,
    slice: &EndpointSlice,
    node_name: Option<&str>,
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
            new.local = node_name.map(|name| endpoint.node_name.as_deref() == Some(name));
            service_port.endpoints.push(new);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
