//! The story end to end, with real packets: a client with a fixed source port talks UDP through
//! nftables DNAT to a backend that goes away.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use ctnetlink::{Conntrack, DesiredState, Filter, Profile, Reconciler, Status};
use ctnetlink_testbed::netns::{Namespace, in_netns, run, sysctl};
use ctnetlink_tests::{at, flows};

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
    let mut rules = "flush ruleset\n".to_owned()
        + "table inet kube {\n  chain services {\n    type nat hook prerouting priority dstnat;\n";
    for (net, family) in [(&V4, "ip"), (&V6, "ip6")] {
        for (vip, backend) in [(net.vip, backend), (net.healthy_vip, 2)] {
            let address = at(vip).ip();
            let backend = net.backends[backend];
            rules +=
                &format!("    {family} daddr {address} udp dport 53 dnat {family} to {backend}\n");
        }
    }
    rules += "  }\n}\n";
    let file = std::env::temp_dir().join(format!("ctnetlink-rules-{}", std::process::id()));
    std::fs::write(&file, rules).unwrap();
    run("nft", &["-f", file.to_str().unwrap()]);
    std::fs::remove_file(file).unwrap();
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
                // A late answer to an earlier question is none to this one.
                match answer.split_once(' ').unwrap() {
                    (number, backend) if number == question => return Some(at(backend)),
                    _ => {}
                }
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return None,
            Err(e) => panic!("{e}"),
        }
    }
}

#[test]
fn a_black_holed_client_reaches_the_new_backend_after_one_reconcile() {
    in_netns(|| {
        let (clients, backends) = hosts();
        let stops = [(); 3].map(|()| AtomicBool::new(false));
        translate(0);
        let ct = Conntrack::open().unwrap();
        std::thread::scope(|scope| {
            for net in [&V4, &V6] {
                for (address, stop) in net.backends.into_iter().zip(&stops) {
                    let socket = backends.run(|| UdpSocket::bind(address).unwrap());
                    scope.spawn(move || serve(&socket, stop));
                }
            }
            let story = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                tell(&ct, &clients, &stops[0]);
            }));
            stops.iter().for_each(|stop| stop.store(true, Ordering::Relaxed));
            story.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
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
