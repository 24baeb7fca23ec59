//! What should be, as each contender wants to be told.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use ctnetlink::{DesiredState, Protocol, Reason, ServiceKey, ServicePort};
use ctnetlink_testbed::kube::{Fate, KubeTable};
use serde_json::json;

/// A desired state of the UDP services.
pub(crate) struct State {
    pub(crate) desired: DesiredState,
    /// As a Kubernetes `List` of Services and EndpointSlices, in one line.
    pub(crate) document: String,
    /// Frontends and the backends to be cut off from them: what a caller of `conntrack -D` has to
    /// find out by itself.
    pub(crate) dead: Vec<(SocketAddr, SocketAddr)>,
}

impl State {
    /// The table's own, with all that is stale in it.
    pub(crate) fn of(table: &KubeTable) -> State {
        let desired = without_first_endpoint(&table.desired().unwrap(), false);
        let mut dead = BTreeSet::new();
        // The pattern of fates repeats much earlier.
        for i in (0..table.entries.min(100_000)).step_by(10) {
            let (entry, fate) = table.entry(i);
            if matches!(fate, Fate::Stale(reason) if reason != Reason::FrontendRemoved) {
                dead.insert((entry.frontend, entry.backend));
            }
        }
        State { document: document(&desired), dead: dead.into_iter().collect(), desired }
    }

    /// An endpoint of the first UDP service has left, in both families.
    pub(crate) fn endpoint_left(table: &KubeTable) -> State {
        let all = table.desired().unwrap();
        let desired = without_first_endpoint(&all, true);
        let service = all.services().iter().find(|s| s.key.protocol == Protocol::UDP).unwrap();
        let first = |v6: bool| {
            let of_family = |e: &&ctnetlink::Endpoint| e.address.is_ipv6() == v6;
            service.endpoints.iter().find(of_family).unwrap().address
        };
        let vip = |v6: bool| {
            let ip = service.cluster_ips.iter().find(|ip| ip.is_ipv6() == v6).unwrap();
            SocketAddr::new(*ip, service.port)
        };
        let dead = [false, true].map(|v6| (vip(v6), first(v6))).to_vec();
        State { document: document(&desired), dead, desired }
    }

    /// It has come back: nothing is to be cut off.
    pub(crate) fn endpoint_back(table: &KubeTable) -> State {
        State { dead: Vec::new(), ..State::of(table) }
    }
}

/// The UDP services; of the first one, with or without the first endpoint of each family.
fn without_first_endpoint(all: &DesiredState, without: bool) -> DesiredState {
    let mut builder = DesiredState::builder();
    let udp = all.services().iter().filter(|service| service.key.protocol == Protocol::UDP);
    for (at, service) in udp.enumerate() {
        let mut service = service.clone();
        if without && at == 0 {
            for v6 in [false, true] {
                let of_family = |e: &ctnetlink::Endpoint| e.address.is_ipv6() == v6;
                let first = service.endpoints.iter().position(of_family).unwrap();
                service.endpoints.remove(first);
            }
        }
        builder = builder.service(service);
    }
    builder.build().unwrap()
}

fn document(desired: &DesiredState) -> String {
    let mut items = Vec::new();
    for service in desired.services() {
        let family = |v6: bool| if v6 { "IPv6" } else { "IPv4" };
        let families: Vec<_> = service.cluster_ips.iter().map(|ip| family(ip.is_ipv6())).collect();
        let port = |number: u16| json!([{"name": service.key.port_name, "port": number, "protocol": "UDP"}]);
        items.push(json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": service.key.name, "namespace": service.key.namespace},
            "spec": {"type": "ClusterIP", "clusterIP": service.cluster_ips[0],
                     "clusterIPs": service.cluster_ips, "ipFamilies": families,
                     "ports": port(service.port)},
        }));
        for v6 in [false, true] {
            let endpoints: Vec<_> = service
                .endpoints
                .iter()
                .filter(|endpoint| endpoint.address.is_ipv6() == v6)
                .map(|e| json!({"addresses": [e.address.ip()], "conditions": {"serving": e.serves()}}))
                .collect();
            items.push(json!({
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
                "addressType": family(v6),
                "metadata": {"name": format!("{}-{v6}", service.key.name),
                             "namespace": service.key.namespace,
                             "labels": {"kubernetes.io/service-name": service.key.name}},
                "endpoints": endpoints, "ports": port(53),
            }));
        }
    }
    json!({"kind": "List", "apiVersion": "v1", "items": items}).to_string()
}

/// The same services and many more of the kind, each with ten endpoints; nobody talks to those.
pub(crate) fn many_services(desired: &DesiredState, count: u32) -> DesiredState {
    let mut builder = DesiredState::builder();
    for service in desired.services() {
        builder = builder.service(service.clone());
    }
    for n in 0..count {
        let [_, a, b, c] = n.to_be_bytes();
        let key = ServiceKey {
            namespace: "many".into(),
            name: format!("svc-{n}"),
            port_name: String::new(),
            protocol: Protocol::UDP,
        };
        let mut service = ServicePort::new(key, 53);
        service.cluster_ips.push([10, 200 + a, b, c].into());
        let endpoint = |e: u8| SocketAddr::from(([10, 210 + e, b, c], 53)).into();
        service.endpoints = (0..10).map(endpoint).collect();
        builder = builder.service(service);
    }
    builder.build().unwrap()
}
