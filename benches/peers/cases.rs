//! Services, endpoints and tables for the comparison with kube-proxy: the tables of its own unit
//! tests, and random ones. Each case knows what the rule of a generation makes of an entry.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ctnetlink_testbed::fill::Entry;
use serde_json::{Value, json};

/// Which rule a kube-proxy follows (the generations are those of its history).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Generation {
    /// 1.32.0: addresses without ports.
    G1,
    /// 1.32 with both fixes: the service's port, but not the endpoint's; nothing for services without
    /// serving endpoints.
    G2,
    /// 1.37: endpoint ports, and services without serving endpoints.
    G5,
}

/// A service port of one family.
#[derive(Debug, Clone)]
pub(crate) struct Port {
    pub(crate) protocol: &'static str,
    pub(crate) port: u16,
    pub(crate) node_port: u16,
    pub(crate) frontends: Vec<IpAddr>,
    pub(crate) serving: Vec<SocketAddr>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Case {
    pub(crate) name: String,
    /// Objects of a Kubernetes List.
    pub(crate) items: Vec<Value>,
    pub(crate) ports: Vec<Port>,
    pub(crate) entries: Vec<Entry>,
}

impl Case {
    pub(crate) fn document(&self) -> String {
        json!({"kind": "List", "apiVersion": "v1", "items": self.items}).to_string()
    }

    /// What a generation does to an entry: `None` where it depends on the order of a Go map.
    pub(crate) fn deletes(&self, generation: Generation, entry: &Entry) -> Option<bool> {
        if entry.protocol != 17 {
            return Some(false);
        }
        let udp = self.ports.iter().filter(|port| {
            port.protocol == "UDP"
                && port.frontends.first().is_some_and(|ip| ip.is_ipv4() == entry.frontend.is_ipv4())
        });
        let by_ip_alone = generation == Generation::G1;
        let serves = |port: &Port| match generation {
            Generation::G5 => port.serving.contains(&entry.backend),
            _ => port.serving.iter().any(|serving| serving.ip() == entry.backend.ip()),
        };
        let skipped = |port: &Port| generation == Generation::G2 && port.serving.is_empty();
        let (mut address, mut node) = (Vec::new(), Vec::new());
        for port in udp.filter(|port| !skipped(port)) {
            let to_port = by_ip_alone || port.port == entry.frontend.port();
            if to_port && port.frontends.contains(&entry.frontend.ip()) {
                address.push(serves(port));
            }
            let registered = !port.serving.is_empty() || by_ip_alone;
            if port.node_port == entry.frontend.port() && port.node_port != 0 && registered {
                node.push(serves(port));
            }
        }
        // Of several ports under one key the last of the map wins.
        let stale = |found: &[bool]| match found {
            [] => Some(false),
            [first, rest @ ..] if rest.iter().all(|other| other == first) => Some(!first),
            _ => None,
        };
        Some(stale(&address)? | stale(&node)?)
    }
}

const VIPS: [&str; 3] = ["172.30.1.1", "192.168.99.100", "1.2.3.4"];

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
}

fn service(name: &str, cluster_ips: &[IpAddr], spec: Value) -> Value {
    let families =
        cluster_ips.iter().map(|ip| if ip.is_ipv4() { "IPv4" } else { "IPv6" }).collect::<Vec<_>>();
    let mut service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "test"},
        "spec": {"type": "ClusterIP", "clusterIP": cluster_ips[0], "clusterIPs": cluster_ips,
                 "ipFamilies": families},
    });
    for (key, value) in spec.as_object().into_iter().flatten() {
        if key == "status" {
            service["status"] = value.clone();
        } else {
            service["spec"][key] = value.clone();
        }
    }
    service
}

fn slice(service: &str, v6: bool, endpoints: &[Value], ports: &[Value]) -> Value {
    let family = if v6 { "IPv6" } else { "IPv4" };
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": family,
        "metadata": {"name": format!("{service}-{}", family.to_lowercase()), "namespace": "test",
                     "labels": {"kubernetes.io/service-name": service}},
        "endpoints": endpoints, "ports": ports,
    })
}

/// The service of kube-proxy's own tests: a cluster IP, an external IP, a load balancer; node port
/// 32000 for UDP and SCTP; one endpoint that serves and one that does not.
fn unit_test_service(name: &str, serving: bool) -> Case {
    let names = [("TCP", 0), ("UDP", 32000), ("SCTP", 32001)];
    let ports: Vec<_> = names
        .iter()
        .map(|(protocol, node)| {
            json!({"name": protocol.to_lowercase(), "port": 8000, "protocol": protocol, "nodePort": node})
        })
        .collect();
    let spec = json!({
        "type": "LoadBalancer", "ports": ports, "externalIPs": [VIPS[1]],
        "status": {"loadBalancer": {"ingress": [{"ip": VIPS[2]}]}},
    });
    let endpoints = [("10.240.0.4", serving), ("10.240.1.5", false)];
    let endpoints: Vec<_> = endpoints
        .iter()
        .map(|(ip, serving)| json!({"addresses": [ip], "conditions": {"ready": serving, "serving": serving}}))
        .collect();
    let targets: Vec<_> = names
        .iter()
        .map(|(protocol, _)| json!({"name": protocol.to_lowercase(), "port": 9090, "protocol": protocol}))
        .collect();
    let backend = SocketAddr::new(ip("10.240.0.4"), 9090);
    let port = |(protocol, node_port): &(&'static str, u16)| Port {
        protocol,
        port: 8000,
        node_port: *node_port,
        frontends: VIPS.map(ip).to_vec(),
        serving: serving.then_some(backend).into_iter().collect(),
    };
    Case {
        name: name.into(),
        items: vec![
            service("svc", &[ip(VIPS[0])], spec),
            slice("svc", false, &endpoints, &targets),
        ],
        ports: names.iter().map(port).collect(),
        entries: Vec::new(),
    }
}

/// Entries of a table, each with a client of its own.
struct Table(Vec<Entry>);

impl Table {
    fn add(&mut self, protocol: u8, frontend: (&str, u16), backend: (&str, u16)) {
        let number = u16::try_from(self.0.len()).unwrap_or(u16::MAX);
        let client = SocketAddr::new(ip("10.9.0.1"), 1000 + number);
        let at = |(host, port)| SocketAddr::new(ip(host), port);
        self.0.push(Entry { protocol, ..Entry::udp(client, at(frontend), at(backend)) });
    }
}

/// The tables of kube-proxy's unit tests, with the number its newest generation deletes.
pub(crate) fn unit_tests() -> Vec<(Case, usize)> {
    let backends = ["10.240.0.4", "10.240.1.5", "10.240.2.6"];
    let others = [6, 132];
    let anywhere = "10.8.7.6";

    let mut clean = Table(Vec::new());
    for vip in VIPS {
        clean.add(17, (vip, 8000), (backends[0], 8080));
        for backend in backends {
            clean.add(17, (vip, 8000), (backend, 9090));
            clean.add(17, (vip, 3000), (backend, 9090));
            for (protocol, port) in others.iter().flat_map(|p| [(*p, 8000), (*p, 3000)]) {
                clean.add(protocol, (vip, port), (backend, 9090));
            }
        }
        clean.add(17, (vip, 8000), (vip, 8000));
        clean.add(17, (vip, 3000), (vip, 3000));
    }
    for backend in backends {
        for protocol in [17, 6, 132] {
            clean.add(protocol, (anywhere, 32000), (backend, 9090));
        }
    }
    let mut empty = Table(Vec::new());
    for vip in VIPS {
        empty.add(17, (vip, 8000), (backends[0], 9090));
        empty.add(17, (vip, 8000), (backends[2], 9090));
    }
    empty.add(17, (VIPS[1], 3000), (backends[2], 9090));
    empty.add(6, (VIPS[1], 8000), (backends[2], 9090));
    empty.add(17, (anywhere, 32000), (backends[2], 9090));
    let mut many = Table(Vec::new());
    many.add(17, (VIPS[1], 8000), (backends[0], 9090));
    (7900..8100).for_each(|port| many.add(17, (VIPS[1], port), (backends[2], 9090)));

    let with =
        |name, serving, table: Table| Case { entries: table.0, ..unit_test_service(name, serving) };
    vec![
        (with("TestCleanStaleEntries", true, clean), 14),
        (with("TestServiceWithoutEndpoints", false, empty), 6),
        (with("TestPerformance", true, many), 1),
    ]
}

/// `splitmix64`: the same cases for the same seed, everywhere.
#[derive(Debug, Clone, Copy)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[usize::try_from(self.below(all.len() as u64)).unwrap_or(0)]
    }
}

fn address(v6: bool, net: u8, host: u64) -> IpAddr {
    let host = u8::try_from(host).unwrap_or(u8::MAX);
    match v6 {
        false => Ipv4Addr::new(10, 96, net, host).into(),
        true => Ipv6Addr::new(0xfd00, 0x96, 0, 0, 0, 0, net.into(), host.into()).into(),
    }
}

/// A few services of one or both families, and entries that are near them. No two services share a
/// frontend: which of them kube-proxy follows depends on the order of a map.
pub(crate) fn random(seed: u64) -> Case {
    let mut r = Random(seed);
    let mut case = Case { name: format!("random {seed}"), ..Case::default() };
    for number in 0..1 + r.below(4) {
        random_service(&mut r, number, &mut case);
    }
    for number in 0..10 + r.below(40) {
        let entry = random_entry(&mut r, u16::try_from(number).unwrap_or(0), &case);
        case.entries.push(entry);
    }
    case
}

fn random_service(r: &mut Random, number: u64, case: &mut Case) {
    let name = format!("svc{number}");
    let families: &[bool] = match r.below(4) {
        0 => &[true],
        1 => &[false, true],
        2 => &[true, false],
        _ => &[false],
    };
    let first = number * 10 + 10;
    let cluster_ips: Vec<_> = families.iter().map(|v6| address(*v6, 0, first)).collect();
    let external: Vec<_> =
        families.iter().filter(|_| r.chance(40)).map(|v6| address(*v6, 1, first)).collect();
    let balancer: Vec<_> = families
        .iter()
        .map(|v6| (address(*v6, 2, first), r.below(100)))
        .filter(|(_, chance)| *chance < 40)
        .map(|(ip, chance)| (ip, chance < 32))
        .collect();
    let node = r.chance(50);

    let mut names = vec![("UDP", "a", 53)];
    if r.chance(50) {
        names.push(("TCP", "b", 53));
    }
    if r.chance(40) {
        names.push(("UDP", "c", 54));
    }
    let node_port = |at: usize| match node {
        true => 30_000 + u16::try_from(number).unwrap_or(0) * 10 + u16::try_from(at).unwrap_or(0),
        false => 0,
    };
    let ports: Vec<_> = names
        .iter()
        .enumerate()
        .map(|(at, (protocol, name, port))| {
            json!({"name": name, "port": port, "protocol": protocol, "nodePort": node_port(at)})
        })
        .collect();
    let ingress: Vec<_> = balancer
        .iter()
        .map(|(ip, vip)| json!({"ip": ip, "ipMode": if *vip { "VIP" } else { "Proxy" }}))
        .collect();
    let kind = match (balancer.is_empty(), node) {
        (false, _) => "LoadBalancer",
        (true, true) => "NodePort",
        (true, false) => "ClusterIP",
    };
    let spec = json!({
        "type": kind, "ports": ports, "externalIPs": external,
        "status": {"loadBalancer": {"ingress": ingress}},
    });
    case.items.push(service(&name, &cluster_ips, spec));

    for v6 in families {
        let mut endpoints = Vec::new();
        let mut serving_ips = Vec::new();
        for host in 0..r.below(4) {
            let ip = address(*v6, 200, number * 4 + host);
            let serving = r.of(&[Some(true), Some(true), Some(false), None]);
            let ready = r.of(&[Some(true), Some(false), None]);
            let terminating = r.of(&[Some(true), Some(false), None]);
            endpoints.push(json!({
                "addresses": [ip],
                "conditions": {"ready": ready, "serving": serving, "terminating": terminating},
            }));
            if serving.unwrap_or(true) {
                serving_ips.push(ip);
            }
        }
        let targets: Vec<_> = names
            .iter()
            .map(|(protocol, name, port)| json!({"name": name, "port": port + 5000, "protocol": protocol}))
            .collect();
        case.items.push(slice(&name, *v6, &endpoints, &targets));
        let of_family = |ip: &&IpAddr| ip.is_ipv6() == *v6;
        let balancers = balancer.iter().filter(|(_, vip)| *vip).map(|(ip, _)| ip);
        let frontends: Vec<_> = cluster_ips
            .iter()
            .chain(&external)
            .chain(balancers)
            .filter(of_family)
            .copied()
            .collect();
        for (at, (protocol, _, port)) in names.iter().enumerate() {
            case.ports.push(Port {
                protocol,
                port: *port,
                node_port: node_port(at),
                frontends: frontends.clone(),
                serving: serving_ips.iter().map(|ip| SocketAddr::new(*ip, port + 5000)).collect(),
            });
        }
    }
}

fn random_entry(r: &mut Random, number: u16, case: &Case) -> Entry {
    let v6 = r.chance(40);
    let near: Vec<_> = case
        .ports
        .iter()
        .filter(|port| port.frontends.first().is_some_and(|ip| ip.is_ipv6() == v6))
        .collect();
    let known = !near.is_empty() && r.chance(85);
    let (mut frontend, mut port, mut backend, mut target) =
        (address(v6, 9, r.below(5)), 53, address(v6, 201, r.below(5)), 5053);
    if known {
        let service = r.of(&near);
        if r.chance(80) {
            frontend = r.of(&service.frontends);
        }
        port = match service.node_port {
            0 => service.port,
            node if r.chance(30) => node,
            _ => service.port,
        };
        if !service.serving.is_empty() && r.chance(70) {
            let serving = r.of(&service.serving);
            (backend, target) = (serving.ip(), serving.port());
        }
    }
    if r.chance(10) {
        port = r.of(&[53, 54, 4789, 30_001]);
    }
    if r.chance(15) {
        target = r.of(&[53, 5053, 5054]);
    }
    if r.chance(10) {
        (backend, target) = (frontend, port);
    }
    let client = SocketAddr::new(address(v6, 250, 1 + r.below(3)), 10_000 + number);
    let (frontend, backend) = (SocketAddr::new(frontend, port), SocketAddr::new(backend, target));
    Entry {
        protocol: r.of(&[17, 17, 17, 17, 17, 17, 6, 132, 136]),
        zone: r.of(&[0, 0, 0, 7]),
        ..Entry::udp(client, frontend, backend)
    }
}
