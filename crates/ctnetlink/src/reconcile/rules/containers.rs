//! The rules of ports that a container engine publishes.

use super::tests::{
    GONE, KEEP, PORT, REMOVED, UNTRANSLATED, check, ip, rules, scope, service, state,
};
use super::*;
use crate::model::sample::Sample;
use crate::reconcile::desired::builder::DesiredStateBuilder;
use crate::reconcile::desired::published::HostAddresses;
use crate::reconcile::desired::service::Unknown;
use crate::reconcile::memory::history::History;
use crate::reconcile::scope::Zones;

fn published(build: impl Fn(DesiredStateBuilder) -> DesiredStateBuilder) -> Rules {
    let host = [ip("192.0.2.5"), ip("2001:db8::5")];
    let desired = build(DesiredState::builder().node_addresses(host)).build().unwrap();
    rules(Profile::Strict, &desired)
}

#[test]
fn ports_published_without_kubernetes() {
    let container = ip("10.88.0.7");
    let any = published(|b| {
        b.published(Protocol::UDP, 8000..=8099, HostAddresses::AnyLocal, container, 5000..=5099)
    });
    check(&any, KEEP, "192.0.2.5:8003", "10.88.0.7:5003");
    check(&any, KEEP, "127.0.0.1:8099", "10.88.0.7:5099");
    check(&any, PORT, "192.0.2.5:8003", "10.88.0.7:5004");
    check(&any, GONE, "192.0.2.5:8003", "10.88.0.6:5003");
    check(&any, UNTRANSLATED, "192.0.2.5:8003", "192.0.2.5:8003");
    check(&any, KEEP, "192.0.2.5:8100", "10.88.0.6:5003");
    // The container's own flow to such a port number of somebody else.
    check(&any, KEEP, "198.51.100.1:8003", "198.51.100.1:8003");
    check(&any, KEEP, "[2001:db8::5]:8003", "[fd00::9]:5003");

    let gone = published(|b| {
        b.unpublished(Protocol::UDP, 8000..=8099, HostAddresses::AnyLocal, container)
    });
    check(&gone, REMOVED, "192.0.2.5:8003", "10.88.0.7:5003");
    check(&gone, UNTRANSLATED, "192.0.2.5:8003", "192.0.2.5:8003");
    check(&gone, KEEP, "192.0.2.5:8003", "10.88.0.6:5003");
    let moved = published(|b| {
        let b = b.unpublished(Protocol::UDP, 8000..=8099, HostAddresses::AnyLocal, container);
        b.published(Protocol::UDP, 8003..=8003, ip("192.0.2.5"), ip("10.88.0.8"), 53..=53)
    });
    check(&moved, KEEP, "192.0.2.5:8003", "10.88.0.8:53");
    check(&moved, GONE, "192.0.2.5:8003", "10.88.0.9:53");
    check(&moved, REMOVED, "192.0.2.5:8004", "10.88.0.7:5004");
    let filter = any.filter(Family::Ipv4).unwrap().to_string();
    assert_eq!(filter, "ip and udp");
    let one =
        published(|b| b.published(Protocol::UDP, 53..=53, ip("192.0.2.5"), container, 53..=53));
    let filter = one.filter(Family::Ipv4).unwrap().to_string();
    assert_eq!(filter, "ip and udp and orig dst 192.0.2.5 and orig dst port 53");

    for (ports, host, to, why) in [
        (80..=81, HostAddresses::AnyLocal, 80..=80, "2 ports of the host and 1 of the container"),
        (0..=0, HostAddresses::AnyLocal, 1..=1, "0 is not a port"),
        (1..=1, ip("0.0.0.0").into(), 1..=1, "at any local address"),
        (1..=1, ip("::1").into(), 1..=1, "not of the family"),
    ] {
        let build = |nodes: &[IpAddr]| {
            DesiredState::builder()
                .node_addresses(nodes.iter().copied())
                .published(Protocol::UDP, ports.clone(), host.clone(), container, to.clone())
                .build()
        };
        let error = build(&[ip("192.0.2.5")]).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
    let lost = DesiredState::builder()
        .published(Protocol::UDP, 1..=1, HostAddresses::AnyLocal, container, 1..=1)
        .build();
    assert!(lost.unwrap_err().to_string().contains("no ipv4 node address is known"));
}

/// What was a Service's frontend can be a container's by now, in other zones other datapaths work, and
/// what the host sends to itself is answered by a proxy of the container engine.
#[test]
fn published_ports_against_services_zones_and_loopback() {
    let container = ip("10.88.0.7");
    let mut dns = service("dns", Protocol::UDP, 8000, &[]);
    dns.external_ips = vec![ip("192.0.2.5")];
    let before = History::after(state(vec![dns.clone()], &["192.0.2.5"]));
    let builder = || DesiredState::builder().node_addresses([ip("192.0.2.5")]);
    let publish = |builder: DesiredStateBuilder| {
        let any = HostAddresses::AnyLocal;
        builder.published(Protocol::UDP, 8000..=8009, any, container, 80..=89)
    };
    let strict = scope(Profile::Strict);
    let now = Rules::new(&publish(builder()).build().unwrap(), &before, &strict);
    check(&now, KEEP, "192.0.2.5:8000", "10.88.0.7:80");
    check(&now, GONE, "192.0.2.5:8000", "10.240.0.4:9090");
    check(&now, REMOVED, "172.30.1.1:8000", "10.240.0.4:9090");
    assert!(now.can_give_up(&Frontend::new(ip("192.0.2.5"), 8000, Protocol::UDP)));
    assert!(!now.can_give_up(&Frontend::new(ip("172.30.1.1"), 8000, Protocol::UDP)));

    let mut unknown = Unknown::new("ns", "dns");
    unknown.services = vec![dns];
    let unknown = publish(builder()).unknown(unknown).build().unwrap();
    let unknown = Rules::new(&unknown, &History::default(), &strict);
    check(&unknown, KEEP, "192.0.2.5:8000", "10.240.0.4:9090");
    check(&unknown, GONE, "192.0.2.5:8001", "10.240.0.4:9090");

    let published = publish(builder()).build().unwrap();
    let sample = |frontend: &str, zone, answered| {
        let sample = Sample::udp(frontend, frontend).zone(zone);
        Sample { answered, ..sample }.flow()
    };
    for (zones, frontend, zone, answered, expected) in [
        (Zones::All, "192.0.2.5:8003", 0, true, UNTRANSLATED),
        (Zones::All, "192.0.2.5:8003", 12, true, KEEP),
        (Zones::Only(vec![12]), "192.0.2.5:8003", 12, true, UNTRANSLATED),
        (Zones::All, "127.0.0.1:8003", 0, true, KEEP),
        (Zones::All, "127.0.0.1:8003", 0, false, UNTRANSLATED),
    ] {
        let scope = Scope { zones, ..scope(Profile::Strict) };
        let rules = Rules::new(&published, &History::default(), &scope);
        let flow = sample(frontend, zone, answered);
        assert_eq!(rules.verdict(&flow), expected, "{frontend}, zone {zone}, {answered}");
    }
}

/// Where ports are published anew, or no longer, is where to look; no more.
#[test]
fn a_change_of_published_ports_is_narrow() {
    let publish = |ports: &[u16]| {
        published(|builder| {
            ports.iter().fold(builder, |builder, port| {
                let (host, own) = (ip("192.0.2.5"), ip("10.88.0.7"));
                builder.published(Protocol::UDP, *port..=*port, host, own, *port..=*port)
            })
        })
    };
    let text = |now: &Rules, then: &Rules| {
        let filter = now.change_since(then).filters(now)[0].as_ref().map(ToString::to_string);
        filter.unwrap_or_default()
    };
    let (one, two) = (publish(&[53]), publish(&[53, 54]));
    let expected = "ip and udp and orig dst 192.0.2.5 and orig dst port 54";
    assert_eq!(text(&two, &one), expected);
    assert_eq!(text(&one, &two), expected);
    assert_eq!(text(&one, &one), "");
    let all = two.published_places().filters(&two)[0].as_ref().map(ToString::to_string);
    assert_eq!(all.unwrap(), "ip and udp and orig dst 192.0.2.5");
}
