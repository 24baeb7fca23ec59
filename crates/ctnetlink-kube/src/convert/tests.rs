//! Every rule of the conversion, on documents as kubectl prints them.

use ctnetlink::{DesiredState, ServicePort};
use serde_json::{Value, json};

use crate::{Cluster, Error, Options};

/// A dual-stack DNS service with everything, as the base that tests change.
fn service() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"namespace": "kube-system", "name": "kube-dns"},
        "spec": {
            "type": "LoadBalancer",
            "clusterIP": "10.96.0.10",
            "clusterIPs": ["10.96.0.10", "fd00:96::a"],
            "externalIPs": ["192.0.2.1"],
            "ports": [
                {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": 5353, "nodePort": 30053},
                {"name": "dns-tcp", "port": 53, "protocol": "TCP", "targetPort": 5353},
            ],
        },
        "status": {"loadBalancer": {"ingress": [
            {"ip": "198.51.100.1"},
            {"ip": "198.51.100.2", "ipMode": "VIP"},
            {"ip": "198.51.100.3", "ipMode": "Proxy"},
            {"hostname": "lb.example.org"},
        ]}},
    })
}

fn slice() -> Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "namespace": "kube-system",
            "name": "kube-dns-abc",
            "labels": {"kubernetes.io/service-name": "kube-dns"},
        },
        "addressType": "IPv4",
        "endpoints": [
            {"addresses": ["10.244.1.5", "10.244.1.6"], "conditions": {"ready": true, "serving": true}},
            {"addresses": ["10.244.2.7"], "conditions": {"ready": false, "serving": false}},
        ],
        "ports": [
            {"name": "dns", "port": 5353, "protocol": "UDP"},
            {"name": "dns-tcp", "port": 5353, "protocol": "TCP"},
        ],
    })
}

fn convert_with(items: &[Value], options: &Options) -> Result<DesiredState, Error> {
    let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
    Cluster::from_json(list.to_string().as_bytes()).unwrap().desired_state(options)
}

fn convert(items: &[Value]) -> DesiredState {
    convert_with(items, &Options::default()).unwrap()
}

/// The base with one member replaced; `Value::Null` removes it.
fn with(mut base: Value, pointer: &str, value: Value) -> Value {
    let (parent, member) = pointer.rsplit_once('/').unwrap();
    let parent = base.pointer_mut(parent).unwrap();
    match (parent, value) {
        (Value::Object(parent), Value::Null) => _ = parent.remove(member),
        (Value::Object(parent), value) => _ = parent.insert(member.into(), value),
        (Value::Array(parent), value) => parent[member.parse::<usize>().unwrap()] = value,
        _ => panic!("{pointer}"),
    }
    base
}

fn endpoints(service: &ServicePort) -> Vec<String> {
    service
        .endpoints
        .iter()
        .map(|e| format!("{} {:?} {:?}", e.address, e.serving, e.ready))
        .collect()
}

#[test]
fn a_service_with_everything() {
    let options =
        Options { node_addresses: vec!["203.0.113.5".parse().unwrap()], ..Options::default() };
    let state = convert_with(&[service(), slice()], &options).unwrap();
    let [udp, tcp] = state.services() else { panic!("two ports") };
    assert_eq!(udp.key.to_string(), "kube-system/kube-dns:dns");
    assert_eq!((udp.port, udp.node_port, tcp.node_port), (53, Some(30053), None));
    assert_eq!(
        endpoints(udp),
        ["10.244.1.5:5353 Some(true) Some(true)", "10.244.2.7:5353 Some(false) Some(false)"]
    );
    let frontends: Vec<_> = state.frontends().map(|f| f.to_string()).collect();
    let own =
        ["10.96.0.10:53", "[fd00:96::a]:53", "198.51.100.1:53", "198.51.100.2:53", "192.0.2.1:53"];
    let mut expected: Vec<_> = own.iter().map(|f| format!("udp {f}")).collect();
    expected.push("udp 203.0.113.5:30053".into());
    expected.extend(own.iter().map(|f| format!("tcp {f}")));
    assert_eq!(frontends, expected);
    assert!(state.notes().is_empty(), "{:?}", state.notes());
}

#[test]
fn skipped_services() {
    for (what, changed) in [
        ("headless", with(service(), "/spec/clusterIPs", json!(["None"]))),
        (
            "headless, single field",
            with(
                with(service(), "/spec/clusterIPs", Value::Null),
                "/spec/clusterIP",
                json!("None"),
            ),
        ),
        ("external name", with(service(), "/spec/type", json!("ExternalName"))),
        (
            "another proxy",
            with(
                service(),
                "/metadata/labels",
                json!({"service.kubernetes.io/service-proxy-name": "other"}),
            ),
        ),
    ] {
        assert!(convert(&[changed, slice()]).services().is_empty(), "{what}");
    }
}

#[test]
fn a_service_without_cluster_ip_yet_is_noted() {
    let changed =
        with(with(service(), "/spec/clusterIPs", Value::Null), "/spec/clusterIP", json!(""));
    let state = convert(&[changed, slice()]);
    assert!(state.services().is_empty());
    assert!(state.notes()[0].contains("no cluster IP"), "{:?}", state.notes());
}

#[test]
fn the_single_cluster_ip_field_is_enough() {
    let state = convert(&[with(service(), "/spec/clusterIPs", Value::Null), slice()]);
    assert_eq!(
        state.services()[0].cluster_ips,
        ["10.96.0.10".parse::<std::net::IpAddr>().unwrap()]
    );
}

#[test]
fn slices_join_by_label_and_namespace_and_are_merged() {
    let other = |pointer, value| with(slice(), pointer, json!(value));
    let second = with(
        slice(),
        "/endpoints",
        json!([
            {"addresses": ["10.244.2.7"], "conditions": {"serving": true}},
            {"addresses": ["10.244.3.3"]},
        ]),
    );
    let state = convert(&[
        slice(),
        service(),
        other("/metadata/namespace", "default"),
        with(slice(), "/metadata/labels", json!({"kubernetes.io/service-name": "other"})),
        with(slice(), "/metadata/labels", Value::Null),
        second,
    ]);
    assert_eq!(
        endpoints(&state.services()[0]),
        [
            "10.244.1.5:5353 Some(true) Some(true)",
            "10.244.2.7:5353 Some(false) Some(false)",
            "10.244.2.7:5353 Some(true) None",
            "10.244.3.3:5353 None None",
        ]
    );
}

#[test]
fn ports_join_by_name_and_protocol() {
    let unnamed_service = with(service(), "/spec/ports", json!([{"port": 53, "protocol": "UDP"}]));
    let unnamed_slice = with(
        slice(),
        "/ports",
        json!([
            {"name": "", "port": 1, "protocol": "UDP"},
            {"port": 2, "protocol": "UDP"},
            {"name": "", "port": 3},
            {"name": "x", "port": 4, "protocol": "UDP"},
        ]),
    );
    let one = with(unnamed_slice, "/endpoints", json!([{"addresses": ["10.244.1.5"]}]));
    let state = convert(&[unnamed_service, one]);
    assert_eq!(
        endpoints(&state.services()[0]),
        ["10.244.1.5:1 None None", "10.244.1.5:2 None None"]
    );
}

#[test]
fn a_protocol_that_is_not_said_is_tcp() {
    let service = with(service(), "/spec/ports", json!([{"name": "dns-tcp", "port": 53}]));
    let state = convert(&[service, slice()]);
    assert_eq!(state.services()[0].key.protocol, ctnetlink::Protocol::TCP);
    assert_eq!(state.services()[0].endpoints.len(), 2);
}

#[test]
fn a_slice_port_without_a_number_is_skipped_with_a_note() {
    let state =
        convert(&[service(), with(slice(), "/ports/0", json!({"name": "dns", "protocol": "UDP"}))]);
    assert!(state.services()[0].endpoints.is_empty());
    assert_eq!(
        state.notes(),
        ["EndpointSlice kube-system/kube-dns-abc: ports[0].port has no number, skipped"]
    );
}

#[test]
fn slices_of_other_families_and_types() {
    let v6 = with(
        with(slice(), "/addressType", json!("IPv6")),
        "/endpoints",
        json!([
            {"addresses": ["fd00::5"]},
        ]),
    );
    let fqdn = with(
        with(slice(), "/addressType", json!("FQDN")),
        "/endpoints",
        json!([
            {"addresses": ["dns.example.org"]},
        ]),
    );
    let state = convert(&[service(), v6.clone(), fqdn]);
    assert_eq!(endpoints(&state.services()[0]), ["[fd00::5]:5353 None None"]);

    let v4_only = with(service(), "/spec/clusterIPs", json!(["10.96.0.10"]));
    let state = convert(&[v4_only, v6]);
    assert!(state.services()[0].endpoints.is_empty());
    assert!(state.notes()[0].contains("endpoint fd00::5 ignored"), "{:?}", state.notes());
}

#[test]
fn an_endpoint_without_address_is_skipped_with_a_note() {
    let state = convert(&[service(), with(slice(), "/endpoints", json!([{"addresses": []}]))]);
    assert!(state.services()[0].endpoints.is_empty());
    assert!(state.notes()[0].contains("endpoints[0] has no address"), "{:?}", state.notes());
}

#[test]
fn values_that_cannot_be_are_named_with_object_and_field() {
    let dns = "Service kube-system/kube-dns: ";
    let abc = "EndpointSlice kube-system/kube-dns-abc: ";
    for (items, who, what) in [
        (
            [with(service(), "/spec/clusterIPs", json!(["10.96.0.300"])), slice()],
            dns,
            "spec.clusterIPs[0]: \"10.96.0.300\" is not an IP address",
        ),
        (
            [with(service(), "/spec/externalIPs", json!(["192.0.2.1", "x"])), slice()],
            dns,
            "spec.externalIPs[1]: \"x\" is not an IP address",
        ),
        (
            [with(service(), "/status/loadBalancer/ingress/1", json!({"ip": "y"})), slice()],
            dns,
            "status.loadBalancer.ingress[1].ip: \"y\" is not an IP address",
        ),
        (
            [with(service(), "/spec/ports/1/port", json!(65536)), slice()],
            dns,
            "spec.ports[1].port: 65536 is not a port",
        ),
        (
            [with(service(), "/spec/ports/1/port", Value::Null), slice()],
            dns,
            "spec.ports[1].port: 0 is not a port",
        ),
        (
            [with(service(), "/spec/ports/0/nodePort", json!(-1)), slice()],
            dns,
            "spec.ports[0].nodePort: -1 is not a port",
        ),
        (
            [with(service(), "/spec/ports/0/protocol", json!("QUIC")), slice()],
            dns,
            "spec.ports[0].protocol: \"QUIC\" is not TCP, UDP or SCTP",
        ),
        ([with(service(), "/spec", Value::Null), slice()], dns, "spec: missing"),
        (
            [service(), with(slice(), "/metadata/namespace", Value::Null)],
            "EndpointSlice kube-dns-abc: ",
            "metadata.namespace: missing",
        ),
        (
            [service(), with(slice(), "/metadata/name", json!(""))],
            "EndpointSlice kube-system/?: ",
            "metadata.name: missing",
        ),
        (
            [with(service(), "/metadata/namespace", json!("")), slice()],
            "Service kube-dns: ",
            "metadata.namespace: missing",
        ),
        (
            [service(), with(slice(), "/endpoints/0/addresses/0", json!("10.244.1"))],
            abc,
            "endpoints[0].addresses[0]: \"10.244.1\" is not an IP address",
        ),
        (
            [service(), with(slice(), "/endpoints/1/addresses/0", json!("fd00::5"))],
            abc,
            "endpoints[1].addresses[0]: \"fd00::5\" is not an IPv4 address",
        ),
        (
            [service(), with(slice(), "/ports/0/port", json!(0))],
            abc,
            "ports[0].port: 0 is not a port",
        ),
        (
            [service(), with(slice(), "/ports/0/protocol", json!("udp"))],
            abc,
            "ports[0].protocol: \"udp\" is not TCP, UDP or SCTP",
        ),
        (
            [service(), with(slice(), "/addressType", json!("IPv5"))],
            abc,
            "addressType: \"IPv5\" is not IPv4, IPv6 or FQDN",
        ),
    ] {
        // One odd object does not stop the others: unless it cannot be said whose it is, it is noted
        // and its Service is not judged.
        match convert_with(&items, &Options::default()) {
            Ok(state) => {
                let note = format!("{who}{what}; Service kube-system/kube-dns is not judged");
                assert_eq!(state.notes(), [note]);
                assert!(state.services().is_empty());
                let [unknown] = state.unknown() else { panic!("{:?}", state.unknown()) };
                assert_eq!((&*unknown.namespace, &*unknown.name), ("kube-system", "kube-dns"));
                assert!(unknown.unreadable);
                // What can be read of it is known to be unknown.
                let vip: std::net::IpAddr = "10.96.0.10".parse().unwrap();
                let readable = || unknown.services.iter().flat_map(ServicePort::frontends);
                let all_unreadable = what.starts_with("spec:");
                assert_eq!(readable().any(|f| f.address == vip), !all_unreadable, "{what}");
            }
            Err(error) => {
                assert_eq!(error.to_string(), format!("{who}{what}"));
                assert!(what.starts_with("metadata."), "{what}");
            }
        }
    }
}

/// `10.244.2.003` is .3 to Kubernetes, which reads decimal numbers with leading zeros.
#[test]
fn leading_zeros_are_decimal() {
    let zeros = with(service(), "/spec/clusterIPs", json!(["010.096.000.010", "fd00:96::a"]));
    let zeros = with(zeros, "/spec/externalIPs", json!(["::ffff:192.000.002.001"]));
    let slice = with(slice(), "/endpoints/0/addresses/0", json!("10.244.2.003"));
    let state = convert(&[zeros, slice]);
    let udp = &state.services()[0];
    let expected: [std::net::IpAddr; 2] =
        ["10.96.0.10".parse().unwrap(), "fd00:96::a".parse().unwrap()];
    assert_eq!(udp.cluster_ips, expected);
    assert_eq!(udp.external_ips, ["192.0.2.1".parse::<std::net::IpAddr>().unwrap()]);
    assert_eq!(udp.endpoints[0].address.to_string(), "10.244.2.3:5353");
    assert!(state.notes().is_empty(), "{:?}", state.notes());
    for bad in ["10.244.2.0x3", "10..2.3", "10.244.2.", "0.0.0.0.1", "", ".", "1e1.0.0.1"] {
        let odd = with(service(), "/spec/externalIPs", json!([bad]));
        assert_eq!(convert(&[odd, self::slice()]).unknown().len(), 1, "{bad:?}");
    }
}

/// The labels that hide an object from kube-proxy's watches: its frontends are another's.
#[test]
fn excluded_services_and_slices_are_unknown() {
    for label in ["service.kubernetes.io/service-proxy-name", "service.kubernetes.io/headless"] {
        let excluded = with(service(), "/metadata/labels", json!({label: ""}));
        let labels = json!({"kubernetes.io/service-name": "kube-dns", label: "x"});
        let foreign_slice = with(slice(), "/metadata/labels", labels);
        // An excluded slice leaves the Service there for kube-proxy, too.
        for (items, unreadable) in
            [([excluded, slice()], false), ([service(), foreign_slice], true)]
        {
            let state = convert(&items);
            assert!(state.services().is_empty());
            let [unknown] = state.unknown() else { panic!("{:?}", state.unknown()) };
            assert_eq!(unknown.unreadable, unreadable);
            assert_eq!(unknown.services.len(), 2, "both ports");
        }
    }
}

#[test]
fn endpoints_know_their_node_and_services_their_policies() {
    let here = with(slice(), "/endpoints/0/nodeName", json!("node-1"));
    let options = Options { node_name: Some("node-1".into()), ..Options::default() };
    for policy in ["internalTrafficPolicy", "externalTrafficPolicy"] {
        let local = with(service(), &format!("/spec/{policy}"), json!("Local"));
        let state = convert_with(&[local, here.clone()], &options).unwrap();
        assert!(state.services()[0].local_traffic);
        let local: Vec<_> = state.services()[0].endpoints.iter().map(|e| e.local).collect();
        assert_eq!(local, [Some(true), Some(false)]);
    }
    let state = convert(&[service(), here]);
    assert!(!state.services()[0].local_traffic);
    assert_eq!(state.services()[0].endpoints[0].local, None, "the node's name is not known");
}

#[test]
fn services_without_any_slice_are_half_an_input() {
    let error = convert_with(&[service()], &Options::default()).unwrap_err();
    assert!(matches!(error, Error::NoEndpointSlices { services: 2, endpoints: 0 }), "{error}");
    let meant = Options { no_endpoints_ok: true, ..Options::default() };
    assert_eq!(convert_with(&[service()], &meant).unwrap().services().len(), 2);
    // Without a usable service there is nothing to get wrong.
    let headless = with(service(), "/spec/clusterIPs", json!(["None"]));
    assert!(convert(&[headless]).services().is_empty());
}

/// The mirror image: slices without their Services, or nothing at all.
#[test]
fn slices_without_services_are_half_an_input() {
    let stranger = || with(slice(), "/metadata/namespace", json!("elsewhere"));
    let kubernetes = with(slice(), "/metadata/namespace", json!("default"));
    let labels = json!({"kubernetes.io/service-name": "kubernetes"});
    let kubernetes = with(kubernetes, "/metadata/labels", labels);
    for (items, expected) in [
        (vec![], "not one Service in the document (0 EndpointSlices)"),
        (vec![slice()], "not one Service in the document (1 EndpointSlices)"),
        (vec![service(), stranger()], "but not the Service of any of them"),
        (vec![service(), slice(), kubernetes], "but not the Service default/kubernetes"),
    ] {
        let text = convert_with(&items, &Options::default()).unwrap_err().to_string();
        assert!(text.contains(expected), "{text}");
        let meant = Options { no_services_ok: true, ..Options::default() };
        assert!(convert_with(&items, &meant).is_ok());
    }
    // A single slice lingers after its Service is deleted.
    let state = convert(&[service(), slice(), stranger()]);
    assert_eq!(state.services()[0].endpoints.len(), 2);
    let [note] = state.notes() else { panic!("{:?}", state.notes()) };
    assert!(note.contains("Service elsewhere/kube-dns"), "{note}");
}

/// Slices whose labels are lost belong to no Service: that is half a picture, and not Services without
/// backends.
#[test]
fn slices_of_no_service_are_half_a_picture() {
    let stripped = with(slice(), "/metadata/labels", json!({}));
    let error = convert_with(&[service(), stripped.clone()], &Options::default()).unwrap_err();
    assert!(error.to_string().contains("the Service of any of them"), "{error}");
    // One of them is only said.
    let state = convert(&[service(), slice(), stripped]);
    assert!(state.notes().iter().any(|note| note.contains("lacks the label")));
}

/// An unreadable slice does not say that its Service is there.
#[test]
fn an_unreadable_slice_is_not_a_service() {
    let odd = with(slice(), "/endpoints", json!(7));
    let error = convert_with(&[slice(), odd], &Options::default()).unwrap_err();
    assert!(error.to_string().contains("not one Service"), "{error}");
}
