//! The story end to end, with real packets: a client with a fixed source port talks UDP through
//! nftables DNAT to a backend that goes away.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use ctnetlink::{
    Conntrack, DesiredState, Filter, HostAddresses, Profile, Protocol, Reconciler, ServicePort,
    Status,
};
use ctnetlink_testbed::netns::{Namespace, in_netns, run, sysctl};
use ctnetlink_tests::{at, flows};

use crate::reconcile::service;

/// Addresses of one family.
struct Net {
    client: &'static str,
    vip: &'static str,
    healthy_vip: &'static str,
    backends: [&'static str; 3],
}

const V4: Net = Net {
    client: "10.9.0.2:12345",
    vip: "10.96.0.10:53",
    healthy_vip: "10.96.0.11:53",
    backends: ["10.244.0.11:5353", "10.244.0.12:5353", "10.244.0.13:5353"],
};

const V6: Net = Net {
    client: "[fd00:9::2]:12345",
    vip: "[fd00:96::a]:53",
    healthy_vip: "[fd00:96::b]:53",
    backends: ["[fd00:244::11]:5353", "[fd00:244::12]:5353", "[fd00:244::13]:5353"],
};

fn ip(words: &str) {
    run("ip", &words.split(' ').collect::<Vec<_>>());
}

/// Three hosts: clients, a router that translates (the current namespace), backends.
fn hosts() -> (Namespace, Namespace) {
    let (clients, backends) = (Namespace::new(), Namespace::new());
    for (name, host, net4, net6) in
        [("c", &clients, "10.9.0", "fd00:9:"), ("b", &backends, "10.244.0", "fd00:244:")]
    {
        ip(&format!("link add {name}0 type veth peer name {name}1"));
        ip(&format!("link set {name}1 netns {}", host.path()));
        ip(&format!("addr add {net4}.1/24 dev {name}0"));
        ip(&format!("addr add {net6}:1/64 dev {name}0 nodad"));
        ip(&format!("link set {name}0 up"));
        host.run(|| {
            ip(&format!("link set {name}1 up"));
            for last in if name == "c" { vec!["2"] } else { vec!["11", "12", "13"] } {
                ip(&format!("addr add {net4}.{last}/24 dev {name}1"));
                ip(&format!("addr add {net6}:{last}/64 dev {name}1 nodad"));
            }
            ip(&format!("route add default via {net4}.1"));
            ip(&format!("-6 route add default via {net6}:1"));
        });
    }
    sysctl("net/ipv4/ip_forward", "1");
    sysctl("net/ipv6/conf/all/forwarding", "1");
    (clients, backends)
}

/// What kube-proxy does: the frontend goes to one backend, the healthy one to another.
fn translate(backend: usize) {
    let both = [&V4, &V6].into_iter();
    dnat(
        both.flat_map(|net| [(net.vip, net.backends[backend]), (net.healthy_vip, net.backends[2])]),
    );
}

/// Rules that translate these frontends, and no others.
fn dnat<'a>(frontends: impl IntoIterator<Item = (&'a str, &'a str)>) {
    let mut rules = "flush ruleset\n".to_owned()
        + "table inet kube {\n  chain services {\n    type nat hook prerouting priority dstnat;\n";
    for (frontend, backend) in frontends {
        let frontend = at(frontend);
        let family = if frontend.is_ipv4() { "ip" } else { "ip6" };
        let (address, port) = (frontend.ip(), frontend.port());
        rules +=
            &format!("    {family} daddr {address} udp dport {port} dnat {family} to {backend}\n");
    }
    rules += "  }\n}\n";
    run("nft", &[&rules]);
}

/// Answers every question with its number and the own address, until told to stop.
fn serve(socket: &UdpSocket, stop: &AtomicBool) {
    let name = socket.local_addr().unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let mut buffer = [0; 64];
    while !stop.load(Ordering::Relaxed) {
        if let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let question = std::str::from_utf8(&buffer[..length]).unwrap();
            socket.send_to(format!("{question} {name}").as_bytes(), from).unwrap();
        }
    }
}

/// Asks a frontend and says which backend answered, if any did.
fn ask(client: &UdpSocket, frontend: &str) -> Option<SocketAddr> {
    static QUESTIONS: AtomicU32 = AtomicU32::new(0);
    let question = QUESTIONS.fetch_add(1, Ordering::Relaxed).to_string();
    client.send_to(question.as_bytes(), frontend).unwrap();
    let mut buffer = [0; 64];
    loop {
        match client.recv_from(&mut buffer) {
            Ok((length, from)) => {
                assert_eq!(from, at(frontend), "the answer comes from the frontend");
                let answer = std::str::from_utf8(&buffer[..length]).unwrap();
                // A late answer to an earlier question does not answer this one.
                match answer.split_once(' ').unwrap() {
                    (number, backend) if number == question => return Some(at(backend)),
                    _ => {}
                }
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return None,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => panic!("{e}"),
        }
    }
}

#[test]
fn a_black_holed_client_reaches_the_new_backend_after_one_reconcile() {
    in_netns(|| {
        let (clients, backends) = hosts();
        translate(0);
        let ct = Conntrack::open().unwrap();
        with_backends(&backends, |stops| tell(&ct, &clients, &stops[0]));
    });
}

/// Tells a story while the backends of both families serve, each until its flag is set.
fn with_backends(backends: &Namespace, story: impl FnOnce(&[AtomicBool; 3])) {
    let stops = [(); 3].map(|()| AtomicBool::new(false));
    std::thread::scope(|scope| {
        for net in [&V4, &V6] {
            for (address, stop) in net.backends.into_iter().zip(&stops) {
                let socket = backends.run(|| UdpSocket::bind(address).unwrap());
                scope.spawn(move || serve(&socket, stop));
            }
        }
        let told = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| story(&stops)));
        stops.iter().for_each(|stop| stop.store(true, Ordering::Relaxed));
        told.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
}

/// A client with a port of its own, patient enough for a noisy machine.
fn client(clients: &Namespace, net: &Net, port: u16) -> UdpSocket {
    let mut address = at(net.client);
    address.set_port(port);
    let socket = clients.run(|| UdpSocket::bind(address).unwrap());
    socket.set_read_timeout(Some(Duration::from_millis(400))).unwrap();
    socket
}

/// Addresses of the router that are frontends: a node port, and a load-balancer IP that the node
/// itself holds.
const NODE_PORTS: [&str; 2] = ["10.9.0.1:30053", "[fd00:9::1]:30053"];
const OWN_VIPS: [&str; 2] = ["10.9.0.1:53", "[fd00:9::1]:53"];

fn node_service(net: &Net, vip: &str) -> ServicePort {
    let mut service = service(net.vip, &at(net.vip).ip().to_string(), 53, &[net.backends[0]]);
    service.node_port = Some(30053);
    service.load_balancer_ips.push(at(vip).ip());
    service
}

/// A client was faster than the rules: its entry leads to the node itself, and would be black-holed
/// forever (kubernetes#98305, #91236; kubernetes#136213, k3s#2807 for load-balancer IPs that the node
/// holds). A host service at such an IP, on a port that is answered, lives (kubernetes#129982).
#[test]
fn untranslated_at_a_node_address_is_answered_after_one_reconcile() {
    in_netns(|| {
        let (clients, backends) = hosts();
        let ct = Conntrack::open().unwrap();
        // Tracking has to be on before there are rules.
        dnat([("10.99.0.1:9", V4.backends[2]), ("[fd00:99::1]:9", V6.backends[2])]);
        with_backends(&backends, |_| {
            let host_stops = AtomicBool::new(false);
            std::thread::scope(|scope| {
                // A host service at the same addresses, which answers on another port.
                for vip in OWN_VIPS {
                    let mut address = at(vip);
                    address.set_port(54);
                    let host = UdpSocket::bind(address).unwrap();
                    let stop = &host_stops;
                    scope.spawn(move || serve(&host, stop));
                }
                let told = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    faster_than_the_rules(&ct, &clients);
                }));
                host_stops.store(true, Ordering::Relaxed);
                told.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            });
        });
    });
}

fn faster_than_the_rules(ct: &Conntrack, clients: &Namespace) {
    let nets = [&V4, &V6];
    let sockets = nets.map(|net| [1, 2, 3].map(|n| client(clients, net, 20_000 + n)));
    let hosts = OWN_VIPS.map(|vip| vip.replace(":53", ":54"));
    for ([at_port, at_vip, at_host], n) in sockets.iter().zip(0..) {
        let settled = (0..20).any(|_| ask(at_host, &hosts[n]).is_some());
        assert!(settled, "{} never answers", hosts[n]);
        assert_eq!(ask(at_port, NODE_PORTS[n]), None, "nothing listens there");
        assert_eq!(ask(at_vip, OWN_VIPS[n]), None);
    }
    let to_backends = |n: usize| [NODE_PORTS[n], OWN_VIPS[n]].map(|f| (f, nets[n].backends[0]));
    dnat((0..2).flat_map(to_backends));
    for ([at_port, at_vip, _], n) in sockets.iter().zip(0..) {
        assert_eq!(ask(at_port, NODE_PORTS[n]), None, "black-holed");
        assert_eq!(ask(at_vip, OWN_VIPS[n]), None, "black-holed");
    }

    // The host service's port is another frontend's, too: what is answered there is not touched.
    let mut builder = DesiredState::builder().node_addresses(OWN_VIPS.map(|vip| at(vip).ip()));
    for (net, vip) in nets.into_iter().zip(OWN_VIPS) {
        let mut other = node_service(net, vip);
        (other.port, other.node_port) = (54, None);
        other.key.name += " of the host";
        builder = builder.service(node_service(net, vip)).service(other);
    }
    let report = Reconciler::new(Profile::Strict).run(ct, &builder.build().unwrap()).unwrap();
    for family in &report.families {
        assert_eq!(family.reasons.not_translated, 2, "{report}");
        assert_eq!(
            (family.deleted, family.passes),
            (2, 2),
            "the suspect in the re-check: {report}"
        );
    }
    for ([at_port, at_vip, at_host], n) in sockets.iter().zip(0..) {
        let backend = Some(at(nets[n].backends[0]));
        assert_eq!(ask(at_port, NODE_PORTS[n]), backend, "{}", NODE_PORTS[n]);
        assert_eq!(ask(at_vip, OWN_VIPS[n]), backend, "{}", OWN_VIPS[n]);
        assert_eq!(ask(at_host, &hosts[n]), Some(at(&hosts[n])), "the host service");
    }
}

/// What a container engine does when a container with a published port is replaced by another, and
/// when it is torn down.
#[test]
fn published_ports_follow_their_container() {
    in_netns(|| {
        let (clients, backends) = hosts();
        let ct = Conntrack::open().unwrap();
        let nets = [&V4, &V6];
        let ports = ["10.9.0.1:8053", "[fd00:9::1]:8053"];
        let lead_to = |backend: usize| dnat((0..2).map(|n| (ports[n], nets[n].backends[backend])));
        let state = |container: usize, torn_down: bool| {
            let host = ports.map(|port| at(port).ip());
            let mut builder = DesiredState::builder().node_addresses(host);
            for net in nets {
                let container = at(net.backends[container]);
                let (any, inside) = (HostAddresses::AnyLocal, container.port());
                builder = match torn_down {
                    false => builder.published(
                        Protocol::UDP,
                        8000..=8099,
                        any,
                        container.ip(),
                        inside - 53..=inside + 46,
                    ),
                    true => builder.unpublished(Protocol::UDP, 8000..=8099, any, container.ip()),
                };
            }
            builder.build().unwrap()
        };
        let deleted = |desired: &DesiredState| {
            let report = Reconciler::new(Profile::Strict).recheck(None).run(&ct, desired).unwrap();
            assert!(report.succeeded(), "{report}");
            report.families.each_ref().map(|family| family.deleted)
        };
        lead_to(0);
        with_backends(&backends, |stops| {
            let sockets = nets.map(|net| client(&clients, net, 21_000));
            for (n, socket) in sockets.iter().enumerate() {
                assert!((0..20).any(|_| ask(socket, ports[n]).is_some()), "{}", ports[n]);
            }
            assert_eq!(deleted(&state(0, false)), [0, 0], "healthy");
            stops[0].store(true, Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(100));
            lead_to(1);
            assert_eq!(ask(&sockets[0], ports[0]), None, "black-holed");
            assert_eq!(deleted(&state(1, false)), [1, 1], "the new container's state is enough");
            for (n, socket) in sockets.iter().enumerate() {
                assert_eq!(ask(socket, ports[n]), Some(at(nets[n].backends[1])));
            }
            assert_eq!(deleted(&state(0, true)), [0, 0], "the old one has no flows left");
            assert_eq!(deleted(&state(1, true)), [1, 1]);
        });
    });
}

fn tell(ct: &Conntrack, clients: &Namespace, first_backend_stops: &AtomicBool) {
    let sockets = [&V4, &V6].map(|net| {
        let bound = clients.run(|| {
            let mut second = at(net.client);
            second.set_port(12346);
            [UdpSocket::bind(net.client).unwrap(), UdpSocket::bind(second).unwrap()]
        });
        for socket in &bound {
            socket.set_read_timeout(Some(Duration::from_millis(400))).unwrap();
        }
        (net, bound)
    });
    let id_of_healthy = |net: &Net| {
        let filter = Filter::orig_dst(at(net.healthy_vip).ip());
        let found = flows(ct, Some(&filter));
        assert_eq!(found.len(), 1);
        assert!(found[0].status().contains(Status::DST_NAT | Status::SEEN_REPLY));
        found[0].id()
    };

    // Both flows work, as soon as the links have settled (IPv6 routers take a moment).
    for (net, [client, healthy]) in &sockets {
        let settled = (0..20).any(|_| ask(client, net.vip).is_some());
        assert!(settled, "{} never answers", net.vip);
        assert_eq!(ask(client, net.vip), Some(at(net.backends[0])));
        assert_eq!(ask(healthy, net.healthy_vip), Some(at(net.backends[2])));
    }
    let ids = [&V4, &V6].map(id_of_healthy);

    // Backend 1 goes away and the rule moves to backend 2, but the entry lives on.
    first_backend_stops.store(true, Ordering::Relaxed);
    std::thread::sleep(Duration::from_millis(100));
    translate(1);
    for (net, [client, healthy]) in &sockets {
        assert_eq!(ask(client, net.vip), None, "black-holed");
        assert_eq!(ask(client, net.vip), None, "and kept alive by its own retries");
        assert_eq!(ask(healthy, net.healthy_vip), Some(at(net.backends[2])));
    }

    // One reconcile.
    let mut builder = DesiredState::builder();
    for net in [&V4, &V6] {
        for (vip, backend) in [(net.vip, 1), (net.healthy_vip, 2)] {
            let vip = at(vip);
            builder = builder.udp(vip.ip(), vip.port()).backends([at(net.backends[backend])]);
        }
    }
    let report = Reconciler::new(Profile::Strict).run(ct, &builder.build().unwrap()).unwrap();
    for family in &report.families {
        assert_eq!((family.deleted, family.reasons.backend_gone), (1, 1), "{report}");
    }

    for (net, [client, healthy]) in &sockets {
        assert_eq!(ask(client, net.vip), Some(at(net.backends[1])), "reaches the new backend");
        assert_eq!(ask(healthy, net.healthy_vip), Some(at(net.backends[2])));
    }
    assert_eq!([&V4, &V6].map(id_of_healthy), ids, "the healthy flow never noticed");
}
