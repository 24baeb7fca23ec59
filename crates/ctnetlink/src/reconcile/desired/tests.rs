use std::net::{IpAddr, SocketAddr};

use super::service::{Endpoint, ServiceKey};
use super::*;
use crate::model::protocol::Protocol;

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
