//! One reconciliation of a Kubernetes-like table, and the storm: ours against a bare loop and against
//! kube-proxy's own code.
//!
//! `cargo bench --bench reconcile [-- --entries N --rounds R --changes C --raise-limit]`, 100,000
//! entries (90 % TCP, 10 % UDP, of which one in ten is stale), 9 interleaved rounds and 20 endpoint
//! changes by default, in a private network namespace. `benches/peers/kube-proxy/build` builds the
//! programs of kube-proxy first; it takes Go.
//!
//! The bare loop receives the same filtered dumps, looks at nothing, and sends deletes that were
//! made beforehand. Ours parses, judges and deletes; with and without the second pass (without its
//! delay, which is no work). kube-proxy reads Services and EndpointSlices, which is a few
//! milliseconds of its time.
#![allow(clippy::unwrap_used, reason = "a measurement that cannot be made should stop")]

#[path = "peers/kube_proxy.rs"]
mod kube_proxy;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ctnetlink::{
    Conntrack, DesiredState, FlowRef, History, Profile, Protocol, Reason, Reconciler, Report,
    Rules, Scope, ServiceKey, ServicePort, Verdict,
};
use ctnetlink_benches::{Raised, argument, median};
use ctnetlink_testbed::fill::{Filler, attribute, nest};
use ctnetlink_testbed::kube::{Fate, KubeTable};
use ctnetlink_testbed::{netns, raw};
use kube_proxy::KubeProxy;
use netlink_sys::{Socket, SocketAddr as NetlinkAddress};
use serde_json::{Value, json};

const VERSIONS: [&str; 2] = ["v1.37.2", "v1.32.13"];

/// The services of the table that are UDP, as Kubernetes has them; `dropped` endpoints of the first
/// are left out.
fn document(desired: &DesiredState, dropped: usize) -> String {
    let mut items = Vec::new();
    for (at, service) in desired.services().iter().enumerate() {
        if service.key.protocol != Protocol::UDP {
            continue;
        }
        let families: Vec<_> = service
            .cluster_ips
            .iter()
            .map(|ip| if ip.is_ipv4() { "IPv4" } else { "IPv6" })
            .collect();
        items.push(json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": service.key.name, "namespace": service.key.namespace},
            "spec": {"type": "ClusterIP", "clusterIP": service.cluster_ips[0],
                     "clusterIPs": service.cluster_ips, "ipFamilies": families,
                     "ports": [{"name": service.key.port_name, "port": service.port, "protocol": "UDP"}]},
        }));
        for v6 in [false, true] {
            let endpoints: Vec<_> = service
                .endpoints
                .iter()
                .filter(|endpoint| endpoint.address.is_ipv6() == v6)
                .skip(if at == 0 { dropped } else { 0 })
                .map(|endpoint| {
                    let serving = endpoint.serving.unwrap_or(true);
                    json!({"addresses": [endpoint.address.ip()], "conditions": {"serving": serving}})
                })
                .collect();
            let family = if v6 { "IPv6" } else { "IPv4" };
            items.push(json!({
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": family,
                "metadata": {"name": format!("{}-{v6}", service.key.name),
                             "namespace": service.key.namespace,
                             "labels": {"kubernetes.io/service-name": service.key.name}},
                "endpoints": endpoints,
                "ports": [{"name": service.key.port_name, "port": 53, "protocol": "UDP"}],
            }));
        }
    }
    json!({"kind": "List", "apiVersion": "v1", "items": items}).to_string()
}

/// The same state for us: the UDP services.
fn udp_services(desired: &DesiredState, dropped: usize) -> DesiredState {
    let mut builder = DesiredState::builder();
    for (at, service) in desired.services().iter().enumerate() {
        if service.key.protocol == Protocol::UDP {
            let mut service = service.clone();
            if at == 0 {
                let (v4, v6): (Vec<_>, Vec<_>) =
                    service.endpoints.into_iter().partition(|e| e.address.is_ipv4());
                service.endpoints =
                    v4.into_iter().skip(dropped).chain(v6.into_iter().skip(dropped)).collect();
            }
            builder = builder.service(service);
        }
    }
    builder.build().unwrap()
}

/// Puts the stale entries back.
fn refill(table: &KubeTable) {
    let mut filler = Filler::open().unwrap();
    for i in 0..table.entries {
        let (entry, fate) = table.entry(i);
        // Without the state before, nobody here knows of removed frontends: those stay.
        if matches!(fate, Fate::Stale(reason) if reason != Reason::FrontendRemoved) {
            filler.create(&entry).unwrap();
        }
    }
    filler.flush().unwrap();
}

/// The floor: dumps filtered to UDP port 53, received and not looked at, and deletes made beforehand.
struct Floor {
    deletes: Vec<Vec<u8>>,
}

fn header(kind: u16, flags: u16, family: u8, attributes: &[u8]) -> Vec<u8> {
    let mut message = u32::try_from(20 + attributes.len()).unwrap().to_ne_bytes().to_vec();
    message.extend(kind.to_ne_bytes());
    message.extend((1 | flags).to_ne_bytes());
    message.extend([1, 0, 0, 0, 0, 0, 0, 0, family, 0, 0, 0]);
    message.extend(attributes);
    message
}

fn connected() -> Socket {
    let mut socket = Socket::new(12).unwrap();
    socket.bind_auto().unwrap();
    socket.connect(&NetlinkAddress::new(0, 0)).unwrap();
    socket
}

impl Floor {
    fn prepare(rules: &Rules) -> Floor {
        let mut deletes = vec![Vec::new()];
        let mut in_last = 0;
        for message in raw::capture() {
            let flow = FlowRef::parse(&message[16..]).unwrap();
            if !matches!(rules.verdict(&flow), Verdict::Stale(_)) {
                continue;
            }
            let mut attributes = Vec::new();
            nest(&mut attributes, 2, |out| out.extend(flow.attribute(2).unwrap()));
            attribute(&mut attributes, 12, flow.attribute(12).unwrap());
            if in_last == 200 {
                deletes.push(Vec::new());
                in_last = 0;
            }
            in_last += 1;
            deletes.last_mut().unwrap().extend(header(0x102, 0, message[16], &attributes));
        }
        Floor { deletes }
    }

    fn pass(&self, deletes: &[Vec<u8>]) {
        let command = connected();
        let mut buffer = Vec::with_capacity(65536);
        for family in [2, 10] {
            let mut filter = Vec::new();
            nest(&mut filter, 1, |out| {
                nest(out, 2, |out| {
                    attribute(out, 1, &[17]);
                    attribute(out, 3, &53_u16.to_be_bytes());
                });
            });
            nest(&mut filter, 25, |out| attribute(out, 1, &0x28_u32.to_ne_bytes()));
            let socket = connected();
            socket.send(&header(0x101, 0x300, family, &filter), 0).unwrap();
            loop {
                buffer.clear();
                socket.recv(&mut buffer, 0).unwrap();
                if buffer[4..6] == 3_u16.to_ne_bytes() {
                    break;
                }
            }
        }
        for datagram in deletes {
            command.send(datagram, 0).unwrap();
        }
    }
}

/// Seconds of CPU this process has used.
fn usage() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap();
    // Behind the name in parentheses; utime and stime are fields 14 and 15, in ticks of 10 ms.
    let fields: Vec<_> = text.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks = |at: usize| fields[at].parse::<u32>().map_or(0.0, f64::from);
    (ticks(11) + ticks(12)) / 100.0
}

fn reconcile(ct: &Conntrack, desired: &DesiredState, recheck: Option<Duration>) -> Report {
    let mut reconciler = Reconciler::new(Profile::Strict).recheck(recheck);
    let report = reconciler.run(ct, desired).unwrap();
    assert!(report.succeeded(), "{report}");
    report
}

fn timed(work: impl FnOnce()) -> Duration {
    let started = Instant::now();
    work();
    started.elapsed()
}

/// The same services and many more of the kind, each with ten endpoints; nobody talks to those.
fn many_services(desired: &DesiredState, count: u32) -> DesiredState {
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

/// A few services against ten thousand, on the same table with the same pushdown.
fn services(ct: &Conntrack, table: &KubeTable, desired: &DesiredState, rounds: u32) {
    let many = many_services(desired, 10_000);
    let (mut few_times, mut many_times) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        for (state, times) in [(desired, &mut few_times), (&many, &mut many_times)] {
            let started = Instant::now();
            let report = reconcile(ct, state, None);
            times.push(started.elapsed());
            assert_eq!(report.families[0].pushdown, "ip and udp and orig dst port 53");
            refill(table);
        }
    }
    let (few, many) = (median(few_times), median(many_times));
    println!("\n{} UDP services       {:9.1} ms", desired.services().len(), few * 1e3);
    println!("and 10,000 more      {:9.1} ms   {:6.3} x", many * 1e3, many / few);
}

fn storm(ct: &Conntrack, table: &DesiredState, changes: usize, peers: &mut [KubeProxy]) {
    println!("\nstorm: {changes} endpoint changes of one UDP service, back to back");
    let mut reconciler =
        Reconciler::new(Profile::Strict).recheck(Some(Duration::ZERO)).defer_recheck(true);
    reconciler.run(ct, &udp_services(table, 0)).unwrap();
    let states = [1, 0].map(|dropped| udp_services(table, dropped));
    let (before, started, mut silent) = (usage(), Instant::now(), 0);
    for change in 0..changes {
        let report = reconciler.run(ct, &states[change % 2]).unwrap();
        silent += u32::from(report.nothing_changed);
    }
    let (ours, wall) = (usage() - before, started.elapsed().as_secs_f64());
    println!(
        "  ours               {ours:8.2} s CPU  {wall:8.2} s wall   ({silent} runs sent nothing)"
    );
    for peer in peers {
        let (mut cpu, mut wall, mut peak) = (0.0, 0.0, 0);
        for change in 0..changes {
            let answer = peer.clean(&document(table, 1 - change % 2));
            cpu += answer["cpu_s"].as_f64().unwrap();
            wall += answer["wall_s"].as_f64().unwrap();
            peak = answer["peak_kib"].as_u64().unwrap();
        }
        let peak = peak / 1024;
        println!(
            "  kube-proxy {:<9}{cpu:7.2} s CPU  {wall:8.2} s wall   {peak} MiB   {:.0} x our CPU",
            peer.version,
            cpu / ours.max(0.01)
        );
    }
}

fn main() {
    let (entries, rounds) = (argument("--entries", 100_000), argument("--rounds", 9));
    let changes = argument("--changes", 20) as usize;
    let raised = Raised::for_entries(entries);
    netns::enter_private().unwrap();
    let mut peers = VERSIONS.map(KubeProxy::start);
    let table = KubeTable { entries };
    table.fill(|_| ()).unwrap();
    let all = table.desired().unwrap();
    let (desired, text) = (udp_services(&all, 0), document(&all, 0));
    let rules = Rules::new(&desired, &History::default(), &Scope::default());
    let ct = Conntrack::open().unwrap();

    let (mut floor_one, mut floor_two) = (Vec::new(), Vec::new());
    let (mut one, mut two) = (Vec::new(), Vec::new());
    let mut theirs = [Vec::new(), Vec::new()];
    let mut last: [Value; 2] = [Value::Null, Value::Null];
    let mut deleted = 0;
    for round in 0..rounds {
        let floor = Floor::prepare(&rules);
        floor_one.push(timed(|| floor.pass(&floor.deletes)));
        refill(&table);
        let floor = Floor::prepare(&rules);
        floor_two.push(timed(|| {
            floor.pass(&floor.deletes);
            floor.pass(&[]);
        }));
        refill(&table);
        one.push(timed(|| {
            let report = reconcile(&ct, &desired, None);
            deleted = report.families.iter().map(|family| family.deleted).sum();
        }));
        refill(&table);
        two.push(timed(|| drop(reconcile(&ct, &desired, Some(Duration::ZERO)))));
        refill(&table);
        // The slow ones less often, where the table is large.
        if entries <= 200_000 || round == 0 {
            for ((peer, times), last) in peers.iter_mut().zip(&mut theirs).zip(&mut last) {
                let count = ct.count().unwrap();
                *last = peer.clean(&text);
                times.push(Duration::from_secs_f64(last["wall_s"].as_f64().unwrap()));
                let removed = u64::from(count - ct.count().unwrap());
                // The older one does not look at the endpoint's port.
                assert!(removed == deleted || peer.version != VERSIONS[0], "{removed} removed");
                reconcile(&ct, &desired, None);
                refill(&table);
            }
        }
    }
    println!("{entries} entries, {deleted} deleted, median of {rounds} rounds");
    let (floor_one, floor_two) = (median(floor_one), median(floor_two));
    let (one, two) = (median(one), median(two));
    println!(
        "bare loop            {:9.1} ms, two passes {:9.1} ms",
        floor_one * 1e3,
        floor_two * 1e3
    );
    println!("ours, one pass       {:9.1} ms   {:6.3} x the bare loop", one * 1e3, one / floor_one);
    println!("ours, with re-check  {:9.1} ms   {:6.3} x the bare loop", two * 1e3, two / floor_two);
    for ((peer, times), last) in peers.iter().zip(theirs).zip(last) {
        let (time, peak) = (median(times), last["peak_kib"].as_u64().unwrap() / 1024);
        println!(
            "kube-proxy {:<9} {:9.1} ms   {:6.1} x ours, {peak} MiB",
            peer.version,
            time * 1e3,
            time / one
        );
    }
    services(&ct, &table, &desired, rounds);
    storm(&ct, &all, changes, &mut peers[..1]);
    drop(raised);
}
