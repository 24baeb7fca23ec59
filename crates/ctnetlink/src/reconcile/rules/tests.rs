//! The rules, line by line.

use super::change::Affected;
use super::*;
use crate::model::sample::Sample;
use crate::reconcile::desired::builder::DesiredStateBuilder;
use crate::reconcile::desired::service::ServiceKey;
use crate::reconcile::memory::grace::Grace;
use crate::reconcile::memory::history::History;
use crate::reconcile::scope::{Scope, Zones};

pub(super) const GONE: Verdict = Verdict::Stale(Reason::BackendGone);
pub(super) const PORT: Verdict = Verdict::Stale(Reason::BackendPortChanged);
pub(super) const UNTRANSLATED: Verdict = Verdict::Stale(Reason::NotTranslated);
pub(super) const REMOVED: Verdict = Verdict::Stale(Reason::FrontendRemoved);
pub(super) const KEEP: Verdict = Verdict::Keep;

pub(super) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(super) fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

pub(super) fn service(
    name: &str,
    protocol: Protocol,
    port: u16,
    endpoints: &[Endpoint],
) -> ServicePort {
    let key =
        ServiceKey { namespace: "ns".into(), name: name.into(), port_name: "p".into(), protocol };
    let mut service = ServicePort::new(key, port);
    service.cluster_ips = vec![ip("172.30.1.1"), ip("fd00:30::1")];
    service.endpoints = endpoints.to_vec();
    service
}

/// The services of kube-proxy's TestCleanStaleEntries: cluster, external and load-balancer IP, one
/// serving and one non-serving endpoint; UDP and SCTP with a node port.
fn kube_services() -> Vec<ServicePort> {
    let endpoints = [
        Endpoint::from(at("10.240.0.4:9090")),
        Endpoint::from(at("10.240.1.5:9090")).serving(false),
    ];
    [Protocol::TCP, Protocol::UDP, Protocol::SCTP]
        .map(|protocol| {
            let mut s = service("svc", protocol, 8000, &endpoints);
            s.external_ips = vec![ip("192.168.99.100")];
            s.load_balancer_ips = vec![ip("1.2.3.4")];
            s.node_port = (protocol != Protocol::TCP).then_some(32000);
            s
        })
        .to_vec()
}

pub(super) fn state(services: Vec<ServicePort>, node_addresses: &[&str]) -> DesiredState {
    let builder = services.into_iter().fold(
        DesiredState::builder(),
        crate::reconcile::desired::builder::DesiredStateBuilder::service,
    );
    builder.node_addresses(node_addresses.iter().map(|text| ip(text))).build().unwrap()
}

pub(super) fn scope(profile: Profile) -> Scope {
    Scope { profile, ..Scope::default() }
}

pub(super) fn rules(profile: Profile, desired: &DesiredState) -> Rules {
    Rules::new(desired, &History::default(), &scope(profile))
}

#[track_caller]
pub(super) fn check(rules: &Rules, expected: Verdict, frontend: &str, backend: &str) {
    let sample = Sample::udp(frontend, backend);
    assert_eq!(rules.verdict(&sample.flow()), expected, "{frontend} -> {backend}");
}

const VIPS: [&str; 3] = ["172.30.1.1", "192.168.99.100", "1.2.3.4"];
const ENDPOINTS: [&str; 3] = ["10.240.0.4", "10.240.1.5", "10.240.2.6"];

/// All 72 entries of kube-proxy's TestCleanStaleEntries.
#[test]
fn kube_proxys_own_table() {
    let rules = rules(Profile::KubeProxy, &state(kube_services(), &[]));
    let (mut deleted, mut kept) = (0, 0);
    let mut count = |sample: Sample, stale: bool| {
        let verdict = rules.verdict(&sample.flow());
        assert_eq!(verdict != KEEP, stale, "{sample:?}: {verdict:?}");
        *if stale { &mut deleted } else { &mut kept } += 1;
    };
    for vip in VIPS {
        let to = |port: u16, backend: String| Sample::udp(&format!("{vip}:{port}"), &backend);
        count(to(8000, "10.240.0.4:8080".into()), true); // a
        for (at, endpoint) in ENDPOINTS.into_iter().enumerate() {
            count(to(8000, format!("{endpoint}:9090")), at > 0); // b1, b2, b3
            count(to(3000, format!("{endpoint}:9090")), false); // b4
            for protocol in [Protocol::TCP, Protocol::SCTP] {
                for port in [8000, 3000] {
                    count(to(port, format!("{endpoint}:9090")).protocol(protocol), false); // b5
                }
            }
        }
        count(Sample { portless_reply: true, ..to(8000, format!("{vip}:0")) }, true); // d1
        count(Sample { portless_reply: true, ..to(3000, format!("{vip}:0")) }, false); // d2
    }
    for (at, endpoint) in ENDPOINTS.into_iter().enumerate() {
        let sample = Sample::udp("0.0.0.0:32000", &format!("{endpoint}:9090"));
        count(sample, at > 0); // c1, c2
        count(sample.protocol(Protocol::TCP), false); // c3
        count(sample.protocol(Protocol::SCTP), false);
    }
    assert_eq!((deleted, kept), (14, 58));
}

#[test]
fn strict_reasons_in_their_order() {
    let rules = rules(Profile::Strict, &state(kube_services(), &[]));
    for vip in VIPS {
        let frontend = format!("{vip}:8000");
        check(&rules, KEEP, &frontend, "10.240.0.4:9090");
        check(&rules, UNTRANSLATED, &frontend, &frontend);
        check(&rules, PORT, &frontend, "10.240.0.4:8080");
        check(&rules, GONE, &frontend, "10.240.1.5:9090");
        check(&rules, GONE, &frontend, "10.240.2.6:9090");
        check(&rules, KEEP, &format!("{vip}:8001"), "10.240.2.6:9090");
    }
    check(&rules, KEEP, "8.8.8.8:8000", "10.240.2.6:9090");
    assert_eq!(
        rules.verdict(
            &Sample::udp("1.2.3.4:8000", "10.240.2.6:1").protocol(Protocol::UDPLITE).flow()
        ),
        KEEP,
        "UDP-Lite is not UDP"
    );
}

#[test]
fn other_protocols_are_opt_in() {
    let desired = state(kube_services(), &[]);
    let scope = Scope { protocols: vec![Protocol::TCP, Protocol::SCTP], ..Scope::default() };
    let rules = Rules::new(&desired, &History::default(), &scope);
    let sample = Sample::udp("1.2.3.4:8000", "10.240.2.6:9090");
    assert_eq!(rules.verdict(&sample.flow()), KEEP);
    assert_eq!(rules.verdict(&sample.protocol(Protocol::TCP).flow()), GONE);
    assert_eq!(rules.verdict(&sample.protocol(Protocol::SCTP).flow()), GONE);
}

/// One live flow through OVN has entries in zones 0, 12 and 64001 (ovn-kubernetes#2829).
#[test]
fn only_the_default_zone_is_judged_unless_others_are_named() {
    let desired = state(kube_services(), &[]);
    let stale = Sample::udp("1.2.3.4:8000", "10.240.2.6:9090");
    let untranslated = Sample::udp("1.2.3.4:8000", "1.2.3.4:8000");
    let with = |profile, zones| {
        let scope = Scope { profile, zones, ..Scope::default() };
        Rules::new(&desired, &History::default(), &scope)
    };
    let default = with(Profile::Strict, Zones::Default);
    assert_eq!(default.verdict(&stale.flow()), GONE);
    assert_eq!(default.verdict(&stale.zone(12).flow()), KEEP);
    assert_eq!(default.judge(&stale.zone(12).flow()), Judgement::OtherZone);
    let all = with(Profile::Strict, Zones::All);
    assert_eq!(all.verdict(&stale.zone(64001).flow()), GONE);
    assert_eq!(all.verdict(&untranslated.flow()), UNTRANSLATED);
    assert_eq!(all.verdict(&untranslated.zone(64001).flow()), KEEP, "a stage of another datapath");
    let some = with(Profile::Strict, Zones::Only(vec![0, 9]));
    for zone in [0, 9] {
        assert_eq!(some.verdict(&stale.zone(zone).flow()), GONE);
        assert_eq!(some.verdict(&untranslated.zone(zone).flow()), UNTRANSLATED, "it was named");
    }
    assert_eq!(some.verdict(&stale.zone(7).flow()), KEEP);
    let kube_proxy = with(Profile::KubeProxy, Zones::Default);
    assert_eq!(kube_proxy.verdict(&stale.zone(7).flow()), GONE, "it looks at all");
}

/// Load-balancer IP to cluster IP in one zone, cluster IP to pod in another: a chain of healthy
/// entries.
#[test]
fn a_stage_of_a_chain_lives() {
    let rules = rules(Profile::Strict, &state(kube_services(), &[]));
    check(&rules, KEEP, "1.2.3.4:8000", "172.30.1.1:8000");
    check(&rules, GONE, "1.2.3.4:8000", "172.30.1.1:8001");
    check(&rules, GONE, "172.30.1.1:8000", "1.2.3.4:8000");
}

#[test]
fn what_another_translates_first_is_valid_if_it_is_said() {
    let vip = Frontend::new(ip("172.30.1.1"), 8000, Protocol::UDP);
    let build = |extra: &[&str]| {
        let builder =
            kube_services().into_iter().fold(DesiredState::builder(), DesiredStateBuilder::service);
        builder.extra_backends(vip, extra.iter().map(|net| net.parse().unwrap())).build().unwrap()
    };
    let said = rules(Profile::Strict, &build(&["169.254.20.10/32", "198.51.100.0/24"]));
    check(&said, KEEP, "172.30.1.1:8000", "169.254.20.10:53");
    check(&said, KEEP, "172.30.1.1:8000", "198.51.100.7:1");
    check(&said, GONE, "172.30.1.1:8000", "169.254.20.11:53");
    check(&said, GONE, "1.2.3.4:8000", "169.254.20.10:53");
    let no_more = rules(Profile::Strict, &build(&[]));
    assert!(!no_more.change_since(&said).is_nothing(), "it is no longer valid");
}

/// What was given up is tried again where anything has changed, and a policy that no longer asks for
/// endpoints of this node makes the rules translate.
#[test]
fn any_change_of_a_frontend_is_one() {
    let (a, b) = (Endpoint::from(at("10.0.1.1:1")), Endpoint::from(at("10.0.1.2:1")));
    let with = |endpoints: &[Endpoint], local| {
        let mut s = service("s", Protocol::UDP, 53, endpoints);
        s.local_traffic = local;
        rules(Profile::Strict, &state(vec![s], &[]))
    };
    let frontend = Frontend::new(ip("172.30.1.1"), 53, Protocol::UDP);
    let all = [
        with(&[], false),
        with(std::slice::from_ref(&a), false),
        with(&[a, b], false),
        with(&[a.local(false)], true),
        with(&[a.local(true)], true),
    ];
    for (n, now) in all.iter().enumerate() {
        for (m, then) in all.iter().enumerate() {
            assert_eq!(now.is_same_at(then, &frontend), n == m, "{m} -> {n}");
        }
    }
    let nothing = |now: &Rules, then: &Rules| now.change_since(then).is_nothing();
    assert!(!nothing(&all[1], &all[3]), "from Local to Cluster");
    assert!(nothing(&all[3], &all[1]), "it stops to translate, which makes nothing stale");
}

/// {here, there} -> {there} -> an untranslated entry -> {there, new}: with a `Local` policy the node
/// translates only while one of its own endpoints serves.
#[test]
fn a_local_policy_that_begins_to_serve_here_is_a_change() {
    let with = |endpoints: &[(&str, Option<bool>)]| {
        let endpoints: Vec<_> = endpoints
            .iter()
            .map(|(address, local)| Endpoint { local: *local, ..Endpoint::from(at(address)) })
            .collect();
        let mut local = service("local", Protocol::UDP, 8000, &endpoints);
        local.local_traffic = true;
        rules(Profile::Strict, &state(vec![local], &[]))
    };
    let (there, here) = (("10.0.2.1:1", Some(false)), ("10.0.1.1:1", Some(true)));
    let elsewhere = with(&[there]);
    check(&elsewhere, KEEP, "172.30.1.1:8000", "10.0.2.1:1");
    assert!(!with(&[there, here]).change_since(&elsewhere).is_nothing());
    assert!(with(&[there, here]).change_since(&with(&[there, here])).is_nothing());
    assert!(with(&[there, ("10.0.2.2:1", Some(false))]).change_since(&elsewhere).is_nothing());
    // Who does not know the node looks whenever there is a new endpoint.
    let unknown = with(&[("10.0.2.1:1", None)]);
    let more = with(&[("10.0.2.1:1", None), ("10.0.1.1:1", None)]);
    assert!(!more.change_since(&unknown).is_nothing());
    assert!(unknown.change_since(&unknown).is_nothing());
}

#[test]
fn node_ports_are_judged_at_node_addresses_only_in_strict() {
    let strict = rules(Profile::Strict, &state(kube_services(), &["192.0.2.1", "2001:db8::1"]));
    assert!(strict.node_ports_judged());
    check(&strict, KEEP, "192.0.2.1:32000", "10.240.0.4:9090");
    check(&strict, GONE, "192.0.2.1:32000", "10.240.2.6:9090");
    check(&strict, KEEP, "8.8.8.8:32000", "8.8.8.8:32000");
    check(&strict, KEEP, "8.8.8.8:32000", "10.240.2.6:9090");

    let kube_proxy = rules(Profile::KubeProxy, &state(kube_services(), &["192.0.2.1"]));
    check(&kube_proxy, UNTRANSLATED, "8.8.8.8:32000", "8.8.8.8:32000");
    check(&kube_proxy, GONE, "8.8.8.8:32000", "10.240.2.6:9090");
    assert!(kube_proxy.node_ports_judged());
}

#[test]
fn node_ports_without_a_node_address_are_reported() {
    let judged = |nodes| rules(Profile::Strict, &state(kube_services(), nodes)).node_ports_judged();
    assert!(!judged(&[]));
    assert!(!judged(&["192.0.2.1"]), "the service is dual stack");
    assert!(judged(&["192.0.2.1", "2001:db8::1"]));
    let tcp_only = vec![kube_services().remove(0)];
    assert!(rules(Profile::Strict, &state(tcp_only, &[])).node_ports_judged());
    let mut tcp_node_port = vec![kube_services().remove(0)];
    tcp_node_port[0].node_port = Some(32000);
    assert!(rules(Profile::Strict, &state(tcp_node_port, &[])).node_ports_judged(), "out of scope");
}

#[test]
fn an_exact_frontend_decides_alone_in_strict() {
    let mut other = service("other", Protocol::UDP, 53, &[at("10.240.9.9:53").into()]);
    other.cluster_ips = vec![ip("172.30.9.9")];
    other.node_port = Some(8000);
    let mut services = kube_services();
    services.push(other);
    let desired = state(services, &["172.30.1.1"]);
    check(&rules(Profile::Strict, &desired), KEEP, "1.2.3.4:8000", "10.240.0.4:9090");
    check(&rules(Profile::KubeProxy, &desired), GONE, "1.2.3.4:8000", "10.240.0.4:9090");
}

#[test]
fn a_shared_frontend_is_served_by_all_its_services_in_strict() {
    let services = vec![
        service("a", Protocol::UDP, 8000, &[at("10.0.1.1:1").into()]),
        service("b", Protocol::UDP, 8000, &[at("10.0.1.2:2").into()]),
    ];
    let desired = state(services, &[]);
    let strict = rules(Profile::Strict, &desired);
    check(&strict, KEEP, "172.30.1.1:8000", "10.0.1.1:1");
    check(&strict, KEEP, "172.30.1.1:8000", "10.0.1.2:2");
    check(&strict, PORT, "172.30.1.1:8000", "10.0.1.1:2");
    let kube_proxy = rules(Profile::KubeProxy, &desired);
    check(&kube_proxy, GONE, "172.30.1.1:8000", "10.0.1.1:1");
    check(&kube_proxy, KEEP, "172.30.1.1:8000", "10.0.1.2:2");
}

#[test]
fn a_service_without_endpoints_serves_nothing() {
    let mut empty = service("empty", Protocol::UDP, 8000, &[]);
    empty.node_port = Some(32000);
    let desired = state(vec![empty], &["192.0.2.1", "2001:db8::1"]);
    for profile in [Profile::Strict, Profile::KubeProxy] {
        check(&rules(profile, &desired), GONE, "172.30.1.1:8000", "10.0.1.1:1");
        check(&rules(profile, &desired), GONE, "[fd00:30::1]:8000", "[fd00::9]:1");
    }
    check(&rules(Profile::Strict, &desired), GONE, "192.0.2.1:32000", "10.0.1.1:1");
    check(&rules(Profile::KubeProxy, &desired), KEEP, "192.0.2.1:32000", "10.0.1.1:1");
}

/// What is untranslated at an address of the node: a host service, or a client that was faster than
/// the rules.
#[test]
fn untranslated_at_an_address_of_the_node() {
    let suspect = Verdict::Suspect(Reason::NotTranslated);
    let desired = state(kube_services(), &["192.168.99.100", "2001:db8::1"]);
    let strict = rules(Profile::Strict, &desired);
    let at_external = Sample::udp("192.168.99.100:8000", "192.168.99.100:8000");
    let at_node_port = Sample::udp("192.168.99.100:32000", "192.168.99.100:32000");
    assert_eq!(strict.verdict(&at_external.flow()), KEEP, "a host service that answers");
    assert_eq!(strict.verdict(&at_external.unanswered().flow()), suspect);
    for sample in [at_node_port, at_node_port.unanswered()] {
        assert_eq!(strict.verdict(&sample.flow()), UNTRANSLATED, "no host service can be there");
    }
    check(&strict, GONE, "192.168.99.100:8000", "10.240.2.6:9090");
    check(&strict, UNTRANSLATED, "1.2.3.4:8000", "1.2.3.4:8000");

    // Nothing serves, so nothing would translate it.
    let mut idle = kube_services();
    idle.iter_mut().for_each(|service| service.endpoints.clear());
    let idle = rules(Profile::Strict, &state(idle, &["192.168.99.100", "2001:db8::1"]));
    for sample in [at_external, at_node_port] {
        assert_eq!(idle.verdict(&sample.unanswered().flow()), KEEP);
    }
    // Node ports are answered elsewhere only.
    let elsewhere =
        kube_services().into_iter().fold(DesiredState::builder(), DesiredStateBuilder::service);
    let elsewhere = elsewhere
        .node_addresses([ip("192.168.99.100"), ip("192.0.2.1"), ip("2001:db8::1")])
        .node_port_addresses([ip("192.0.2.1"), ip("127.0.0.1"), ip("2001:db8::1")])
        .build()
        .unwrap();
    let elsewhere = rules(Profile::Strict, &elsewhere);
    assert_eq!(elsewhere.verdict(&at_node_port.flow()), KEEP);
    check(&elsewhere, UNTRANSLATED, "192.0.2.1:32000", "192.0.2.1:32000");
    check(&elsewhere, GONE, "127.0.0.1:32000", "10.9.9.9:1");
    let kube_proxy = rules(Profile::KubeProxy, &desired);
    check(&kube_proxy, UNTRANSLATED, "192.168.99.100:8000", "192.168.99.100:8000");
}

#[test]
fn an_untranslated_entry_is_healthy_where_the_frontend_is_its_own_backend() {
    let desired =
        state(vec![service("self", Protocol::UDP, 53, &[at("172.30.1.1:53").into()])], &[]);
    for profile in [Profile::Strict, Profile::KubeProxy] {
        check(&rules(profile, &desired), KEEP, "172.30.1.1:53", "172.30.1.1:53");
    }
}

#[test]
fn what_serving_means_where_it_is_not_said() {
    let verdict = |profile, serving, ready| {
        let endpoint = Endpoint { serving, ready, ..Endpoint::new(at("10.0.1.1:1")) };
        let desired = state(vec![service("s", Protocol::UDP, 53, &[endpoint])], &[]);
        let entry = Sample::udp("172.30.1.1:53", "10.0.1.1:1");
        rules(profile, &desired).verdict(&entry.flow()) == KEEP
    };
    for (serving, ready, strict, kube_proxy) in [
        (None, None, true, true),
        (None, Some(true), true, true),
        (None, Some(false), false, true),
        (Some(true), Some(false), true, true),
        (Some(false), Some(true), false, false),
        (Some(false), None, false, false),
    ] {
        assert_eq!(verdict(Profile::Strict, serving, ready), strict, "{serving:?} {ready:?}");
        assert_eq!(
            verdict(Profile::KubeProxy, serving, ready),
            kube_proxy,
            "{serving:?} {ready:?}"
        );
    }
}

#[test]
fn removed_frontends() {
    let mut old = service("old", Protocol::UDP, 53, &[]);
    old.cluster_ips = vec![ip("172.30.2.2")];
    old.node_port = Some(31000);
    let mut renamed = service("renamed", Protocol::UDP, 8000, &[]);
    renamed.cluster_ips = vec![ip("172.30.1.1")];
    let mut tcp = service("tcp", Protocol::TCP, 80, &[]);
    tcp.cluster_ips = vec![ip("172.30.2.2")];
    let history = History::after(state(vec![old, renamed, tcp], &["192.0.2.1"]));
    let desired = state(kube_services(), &["192.0.2.1", "2001:db8::1"]);

    let strict = Rules::new(&desired, &history, &scope(Profile::Strict));
    check(&strict, REMOVED, "172.30.2.2:53", "10.0.1.1:1");
    check(&strict, KEEP, "172.30.2.2:53", "172.30.2.2:53");
    check(&strict, REMOVED, "192.0.2.1:31000", "10.0.1.1:1");
    check(&strict, KEEP, "172.30.1.1:8000", "10.240.0.4:9090");
    check(&strict, GONE, "172.30.1.1:8000", "10.0.1.1:1");

    let kube_proxy = Rules::new(&desired, &history, &scope(Profile::KubeProxy));
    check(&kube_proxy, REMOVED, "172.30.2.2:53", "10.0.1.1:1");
    check(&kube_proxy, REMOVED, "172.30.2.2:53", "172.30.2.2:53");
    check(&kube_proxy, KEEP, "192.0.2.1:31000", "10.0.1.1:1");
    check(&kube_proxy, KEEP, "172.30.1.1:8000", "10.240.0.4:9090");
    check(&kube_proxy, GONE, "172.30.1.1:8000", "10.0.1.1:1");

    for rules in [strict, kube_proxy] {
        let tcp = Sample::udp("172.30.2.2:80", "10.0.1.1:1").protocol(Protocol::TCP);
        assert_eq!(rules.verdict(&tcp.flow()), KEEP);
        assert!(!format!("{:?}", rules.ipv4.frontends).contains("tcp"), "out of scope");
    }
}

#[test]
fn a_service_that_drops_a_family_vanishes_there() {
    let both = service("dns", Protocol::UDP, 53, &[]);
    let mut single = both.clone();
    single.cluster_ips.truncate(1);
    let history = History::after(state(vec![both], &[]));
    let desired = state(vec![single], &[]);
    for profile in [Profile::Strict, Profile::KubeProxy] {
        let rules = Rules::new(&desired, &history, &scope(profile));
        check(&rules, REMOVED, "[fd00:30::1]:53", "[fd00::9]:53");
        check(&rules, GONE, "172.30.1.1:53", "10.0.1.1:1");
    }
}

/// The addresses of an entry are canonical on both sides, which shows in the reason.
#[test]
fn mapped_entries_are_compared_in_canonical_form() {
    let mut s = service("s", Protocol::UDP, 53, &[at("[fd00::5]:1").into()]);
    s.node_port = Some(32000);
    let rules = rules(Profile::KubeProxy, &state(vec![s], &[]));
    check(&rules, UNTRANSLATED, "[::ffff:1.2.3.4]:32000", "[::ffff:1.2.3.4]:32000");
    check(&rules, GONE, "[::ffff:1.2.3.4]:32000", "[::ffff:1.2.3.5]:32000");
}

#[test]
fn a_change_that_makes_nothing_stale_needs_no_look() {
    let service = |endpoints: &[&str]| {
        let endpoints: Vec<_> = endpoints.iter().map(|e| Endpoint::new(at(e))).collect();
        service("10.96.0.10", Protocol::UDP, 53, &endpoints)
    };
    let with = |services: Vec<ServicePort>, nodes: &[&str]| {
        rules(Profile::Strict, &state(services, nodes))
    };
    let one = with(vec![service(&["10.244.1.1:53"])], &["192.0.2.1"]);
    let two = with(vec![service(&["10.244.1.1:53", "10.244.1.2:53"])], &["192.0.2.1"]);
    assert!(one.change_since(&one).is_nothing());
    assert!(two.change_since(&one).is_nothing(), "a backend came");
    assert!(!one.change_since(&two).is_nothing(), "a backend was lost");
    let more = with(vec![service(&["10.244.1.1:53"])], &["192.0.2.1", "192.0.2.2"]);
    assert!(more.change_since(&one).is_nothing(), "a node address, and no node port");
    assert!(matches!(one.change_since(&more), Affected::Everything), "one that is no more");
    let other = Scope { zones: Zones::Only(vec![7]), ..scope(Profile::Strict) };
    let zoned = Rules::new(&state(vec![], &["192.0.2.1"]), &History::default(), &other);
    assert!(matches!(zoned.change_since(&one), Affected::Everything), "other things are judged");
}

#[test]
fn the_recheck_is_narrowed_to_what_was_found() {
    let mut metrics = service("metrics", Protocol::UDP, 9153, &[]);
    metrics.node_port = Some(32000);
    metrics.endpoints = vec![at("10.0.1.1:1").into()];
    let desired = state(vec![service("dns", Protocol::UDP, 53, &[]), metrics], &["192.0.2.1"]);
    let text = |profile, found: &[&str]| {
        let mut cover = Cover::default();
        found.iter().for_each(|f| cover.add(&Sample::udp(f, "10.0.0.9:1").flow()));
        let filter = rules(profile, &desired).cover_filter(Family::Ipv4, &cover);
        filter.map(|filter| filter.to_string()).unwrap_or_default()
    };
    let (dns, metrics) = ("172.30.1.1:53", "172.30.1.1:9153");
    let one = "ip and udp and orig dst 172.30.1.1 and orig dst port 53";
    assert_eq!(text(Profile::Strict, &[dns, dns]), one);
    assert_eq!(text(Profile::Strict, &[dns, metrics]), "ip and udp and orig dst 172.30.1.1");
    assert_eq!(text(Profile::Strict, &[]), "");
    assert_eq!(text(Profile::KubeProxy, &[dns]), "ip and udp and orig dst port 53");
}

#[test]
fn mapped_addresses_are_ipv4_and_families_never_mix() {
    let mut mapped = service("s", Protocol::UDP, 53, &[at("[::ffff:10.0.1.1]:1").into()]);
    mapped.cluster_ips = vec![ip("::ffff:172.30.1.1")];
    mapped.node_port = Some(32000);
    let desired = state(vec![mapped], &["192.0.2.1"]);
    for profile in [Profile::Strict, Profile::KubeProxy] {
        let rules = rules(profile, &desired);
        check(&rules, KEEP, "172.30.1.1:53", "10.0.1.1:1");
        check(&rules, GONE, "172.30.1.1:53", "10.0.1.2:1");
        check(&rules, KEEP, "[::ffff:172.30.1.1]:53", "[::ffff:10.0.1.2]:1");
        check(&rules, KEEP, "[fd00::1]:32000", "[fd00::2]:1");
    }
}

#[test]
fn a_backend_of_mapped_form_is_compared_as_ipv4() {
    let endpoints = [at("[fd00::5]:1").into(), at("[fd00::6]:1").into()];
    let desired = state(vec![service("s", Protocol::UDP, 53, &endpoints)], &[]);
    let strict = rules(Profile::Strict, &desired);
    check(&strict, KEEP, "[fd00:30::1]:53", "[fd00::6]:1");
    check(&strict, PORT, "[fd00:30::1]:53", "[fd00::6]:2");
    check(&strict, GONE, "[fd00:30::1]:53", "[::ffff:10.0.0.1]:1");
}

#[test]
fn the_filter_is_the_narrowest_that_hides_nothing_stale() {
    let text = |rules: &Rules| {
        Family::ALL.map(|f| rules.filter(f).map(|filter| filter.to_string()).unwrap_or_default())
    };
    let dns = || service("dns", Protocol::UDP, 53, &[]);
    let one = state(vec![dns()], &[]);
    let expected = [
        "ip and udp and orig dst 172.30.1.1 and orig dst port 53",
        "ip6 and udp and orig dst fd00:30::1 and orig dst port 53",
    ];
    assert_eq!(text(&rules(Profile::Strict, &one)), expected);

    let mut more = dns();
    more.external_ips = vec![ip("192.0.2.9")];
    let mut metrics = dns();
    metrics.port = 9153;
    metrics.cluster_ips = vec![ip("172.30.1.1")];
    let two = state(vec![more, metrics], &[]);
    assert_eq!(text(&rules(Profile::Strict, &two))[0], "ip and udp");

    let mut node = dns();
    node.cluster_ips.truncate(1);
    node.endpoints = vec![at("10.0.1.1:1").into()];
    node.node_port = Some(32000);
    let node_port = state(vec![node], &["192.0.2.1"]);
    assert_eq!(text(&rules(Profile::Strict, &node_port)), ["ip and udp", ""]);
    assert_eq!(text(&rules(Profile::KubeProxy, &node_port)), ["ip and udp", ""]);

    let both = Scope { protocols: vec![Protocol::UDP, Protocol::TCP], ..Scope::default() };
    let tcp = service("dns-tcp", Protocol::TCP, 53, &[]);
    let rules = Rules::new(&state(vec![dns(), tcp], &[]), &History::default(), &both);
    assert_eq!(text(&rules)[0], "ip and (udp or tcp) and orig dst 172.30.1.1 and orig dst port 53");
    assert_eq!(rules.frontends(), 4);
}

#[test]
fn nothing_desired_and_nothing_removed_is_nothing_to_do() {
    let rules = rules(Profile::Strict, &DesiredState::default());
    assert_eq!(Family::ALL.map(|f| rules.filter(f)), [None, None]);
    check(&rules, KEEP, "172.30.1.1:53", "10.0.1.1:1");
}

/// Flows to endpoints in their grace time are kept, and no others.
#[test]
fn an_endpoint_in_its_grace_time_keeps_its_flows_and_serves_nobody() {
    let second = std::time::Duration::from_secs(1);
    let now = std::time::Instant::now();
    for profile in [Profile::Strict, Profile::KubeProxy] {
        let scope = scope(profile);
        let desired = |serving: bool| {
            let endpoint = Endpoint::from(at("10.240.1.5:9090")).serving(serving);
            let mut s = service("svc", Protocol::UDP, 8000, &[endpoint]);
            s.node_port = Some(32000);
            state(vec![s], &[])
        };
        let grace = Grace::of(second).after(&desired(true), &scope, now);
        let grace = grace.after(&desired(false), &scope, now + second);
        let sparing = |at| {
            let spared = grace.spared(now + at);
            Rules::compile(
                &desired(false),
                std::iter::empty(),
                &BTreeSet::new(),
                &scope,
                &spared,
                &BTreeSet::new(),
            )
        };
        let (during, behind) = (sparing(second), sparing(2 * second));
        let flow = |backend| Sample::udp("172.30.1.1:8000", backend).flow();
        assert_eq!(during.verdict(&flow("10.240.1.5:9090")), KEEP);
        assert_eq!(during.verdict(&flow("10.240.1.6:9090")), GONE);
        assert_eq!(behind.verdict(&flow("10.240.1.5:9090")), GONE);
        // kube-proxy ignores the address, and a node port counts only while its service serves.
        let foreign = Sample::udp("203.0.113.9:32000", "203.0.113.9:32000").flow();
        assert_eq!(during.verdict(&foreign), KEEP);
        // Nothing was translated in the meantime. Such entries are looked for once it serves again.
        let serving = Rules::new(&desired(true), &History::default(), &scope);
        let Affected::Frontends([cover, _]) = serving.change_since(&during) else { panic!() };
        let untranslated = flow("172.30.1.1:8000");
        assert_eq!(serving.verdict(&untranslated), UNTRANSLATED);
        let filter = serving.cover_filter(Family::Ipv4, &cover).unwrap();
        assert!(filter.matches(&untranslated));
    }
}
