//! The rules against naive transcriptions of the two profiles, on random states and entries.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::change::Affected;
use super::tests::{GONE, KEEP, PORT, REMOVED, UNTRANSLATED, rules, scope};
use super::*;
use crate::model::sample::Sample;
use crate::reconcile::desired::builder::DesiredStateBuilder;
use crate::reconcile::desired::published::Published;
use crate::reconcile::desired::service::{ServiceKey, Unknown};
use crate::reconcile::memory::history::History;
use crate::reconcile::scope::Zones;

// Values are drawn from small pools, so that they often coincide.

fn any_address(v6: bool) -> impl Strategy<Value = IpAddr> {
    (1u8..6).prop_map(move |n| match v6 {
        false => IpAddr::from([10, 0, 0, n]),
        true => IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, u16::from(n)]),
    })
}

fn any_socket(v6: bool) -> impl Strategy<Value = SocketAddr> {
    (any_address(v6), 1u16..4).prop_map(SocketAddr::from)
}

fn any_protocol() -> impl Strategy<Value = Protocol> {
    prop_oneof![3 => Just(Protocol::UDP), 1 => Just(Protocol::TCP)]
}

prop_compose! {
    fn any_service()(
        name in "[ab]", port_name in "[pq]", protocol in any_protocol(), port in 1u16..4,
        node_port in prop::option::of(1u16..4),
        families in prop_oneof![Just((true, false)), Just((false, true)), Just((true, true))],
        v4 in (any_address(false), prop::collection::vec(any_address(false), 0..2)),
        v6 in (any_address(true), prop::collection::vec(any_address(true), 0..2)),
        endpoints in prop::collection::vec(
            (
                any::<bool>().prop_flat_map(any_socket),
                any::<Option<bool>>(),
                any::<Option<bool>>(),
            ),
            0..5,
        ),
    ) -> ServicePort {
        let key = ServiceKey { namespace: String::new(), name, port_name, protocol };
        let mut service = ServicePort::new(key, port);
        service.node_port = node_port;
        if families.0 {
            service.cluster_ips.push(v4.0);
        }
        if families.1 {
            service.cluster_ips.push(v6.0);
        }
        service.external_ips = v4.1;
        service.load_balancer_ips = v6.1;
        service.endpoints = endpoints
            .into_iter()
            .map(|(address, serving, ready)| Endpoint { serving, ready, ..Endpoint::new(address) })
            .collect();
        service
    }
}

prop_compose! {
    fn any_state()(
        services in prop::collection::vec(any_service(), 0..5),
        nodes in prop::collection::vec(any::<bool>().prop_flat_map(any_address), 0..3),
        answering in prop::option::of(
            prop::collection::vec(any::<bool>().prop_flat_map(any_address), 0..3)
        ),
        extra in prop::collection::vec(any::<bool>().prop_flat_map(
            |v6| (any_socket(v6), any_protocol(), any_address(v6))
        ), 0..3),
        unknown in prop::collection::vec(("[ac]", any_service(), any::<bool>()), 0..2),
        published in prop::collection::vec(any::<bool>().prop_flat_map(
            |v6| (any_address(v6), any_socket(v6), 1u16..3, any_protocol(), any::<bool>())
        ), 0..2),
    ) -> DesiredState {
        let builder = services.into_iter().fold(DesiredState::builder(), DesiredStateBuilder::service);
        let mut builder = builder.node_addresses(nodes);
        if let Some(answering) = answering {
            builder = builder.node_port_addresses(answering);
        }
        for (frontend, protocol, backend) in extra {
            let frontend = Frontend::new(frontend.ip(), frontend.port(), protocol);
            builder = builder.extra_backends(frontend, [IpNet::from(backend)]);
        }
        for (name, mut service, unreadable) in unknown {
            service.key.name.clone_from(&name);
            let mut unknown = Unknown::new("", name);
            (unknown.services, unknown.unreadable) = (vec![service], unreadable);
            builder = builder.unknown(unknown);
        }
        for (host, container, ports, protocol, torn_down) in published {
            let own = container.port()..=container.port() + ports - 1;
            let (to, at) = (container.ip(), 1..=ports);
            builder = match torn_down {
                true => builder.unpublished(protocol, at, host, to),
                false => builder.published(protocol, at, host, to, own),
            };
        }
        builder.build().unwrap()
    }
}

fn any_entry() -> impl Strategy<Value = Sample> {
    let ends = any::<bool>().prop_flat_map(|v6| (any_socket(v6), any_socket(v6)));
    let zone = prop_oneof![3 => Just(0), 1 => 1u16..3];
    (ends, any_protocol(), zone, any::<bool>()).prop_map(
        |((frontend, backend), protocol, zone, answered)| {
            let sample = Sample::udp(&frontend.to_string(), &backend.to_string());
            Sample { answered, ..sample.protocol(protocol).zone(zone) }
        },
    )
}

/// The rule of `strict`, sentence by sentence, over plain lists (docs/stale-entries.md).
fn naive_strict(
    desired: &DesiredState,
    previous: &DesiredState,
    zones: &Zones,
    e: &Sample,
) -> Verdict {
    let (looked_at, named) = match zones {
        Zones::Default => (e.zone == 0, false),
        Zones::All => (true, false),
        Zones::Only(some) => (some.contains(&e.zone), some.contains(&e.zone)),
    };
    if !looked_at {
        return KEEP;
    }
    let v6 = e.frontend.is_ipv6();
    let exists = |s: &ServicePort| {
        s.key.protocol == e.protocol && s.cluster_ips.iter().any(|a| a.is_ipv6() == v6)
    };
    let at_vip = |s: &&ServicePort| {
        let in_family = |a: &&IpAddr| a.is_ipv6() == v6;
        let mut own = s.cluster_ips.iter().chain(&s.external_ips).chain(&s.load_balancer_ips);
        exists(s) && own.any(|a| in_family(&a) && SocketAddr::new(*a, s.port) == e.frontend)
    };
    let has_port = |s: &&ServicePort| exists(s) && s.node_port == Some(e.frontend.port());
    let node = |state: &DesiredState| state.node_addresses().contains(&e.frontend.ip());
    let answers = |state: &DesiredState| state.node_port_addresses().contains(&e.frontend.ip());
    let owns = |state: &DesiredState, s: &&ServicePort| at_vip(s) || answers(state) && has_port(s);
    let frontend = Frontend::new(e.frontend.ip(), e.frontend.port(), e.protocol);
    // What is unknown, now or by what it was, is not judged.
    let known_as = |s: &ServicePort, u: &Unknown| s.key.name == u.name;
    for unknown in desired.unknown() {
        // Its addresses may be incomplete, so that it seems not to exist in a family.
        let has = |s: &ServicePort| {
            s.frontends().chain(desired.node_frontends(s)).any(|own| own == frontend)
        };
        if unknown.services.iter().any(has)
            || previous.services().iter().any(|s| known_as(s, unknown) && owns(previous, &s))
        {
            return KEEP;
        }
    }
    let services = desired.services().iter();
    let owners: Vec<_> = services.filter(|s| owns(desired, s)).collect();
    let untranslated = e.backend == e.frontend;
    if owners.is_empty() {
        let removed = previous.services().iter().any(|s| at_vip(&s))
            || answers(previous)
                && previous.services().iter().any(|s| has_port(&s))
                && !desired.services().iter().any(|s| has_port(&s));
        if is_published(desired, e) {
            return naive_published(desired, named, e);
        }
        return if removed && !untranslated { REMOVED } else { KEEP };
    }
    let extra = desired.extra_backends().iter().filter(|(at, _)| **at == frontend);
    if extra.flat_map(|(_, nets)| nets).any(|net| net.contains(&e.backend.ip())) {
        return KEEP;
    }
    let backends: Vec<_> = owners
        .iter()
        .flat_map(|s| &s.endpoints)
        .filter(|endpoint| endpoint.serving.or(endpoint.ready).unwrap_or(true))
        .map(|endpoint| endpoint.address)
        .collect();
    if backends.contains(&e.backend) {
        KEEP
    } else if untranslated {
        let is_node_port = owners.iter().any(|s| answers(desired) && has_port(s));
        if e.zone != 0 && !named {
            KEEP
        } else if !node(desired) && !is_node_port {
            UNTRANSLATED
        } else if !backends.iter().any(|b| b.is_ipv6() == v6) {
            KEEP
        } else if is_node_port {
            UNTRANSLATED
        } else if e.answered {
            KEEP
        } else {
            Verdict::Suspect(Reason::NotTranslated)
        }
    } else if owners
        .iter()
        .flat_map(|s| s.cluster_ips.iter().map(|ip| SocketAddr::new(*ip, s.port)))
        .any(|stage| stage != e.frontend && stage == e.backend)
    {
        KEEP
    } else if backends.iter().any(|b| b.ip() == e.backend.ip()) {
        PORT
    } else {
        GONE
    }
}

fn published_at<'a>(
    desired: &'a DesiredState,
    e: &Sample,
) -> impl Iterator<Item = &'a Published> + use<'a> {
    let (at, protocol) = (e.frontend, e.protocol);
    desired.published().iter().filter(move |p| {
        p.protocol == protocol
            && p.host_ports.contains(&at.port())
            && p.addresses.iter().any(|net| net.contains(&at.ip()))
    })
}

fn is_published(desired: &DesiredState, e: &Sample) -> bool {
    published_at(desired, e).next().is_some()
}

/// The rule of published ports.
fn naive_published(desired: &DesiredState, named: bool, e: &Sample) -> Verdict {
    let here: Vec<_> = published_at(desired, e).collect();
    let live: Vec<_> = here.iter().filter(|p| !p.torn_down).collect();
    let to = |p: &Published| {
        let port = p.first_container_port + (e.frontend.port() - p.host_ports.start());
        SocketAddr::new(p.container, port)
    };
    let leads_to = |p: &Published| p.container == e.backend.ip();
    if here.is_empty() || live.iter().any(|p| to(p) == e.backend) {
        KEEP
    } else if e.backend == e.frontend {
        if e.zone != 0 && !named { KEEP } else { UNTRANSLATED }
    } else if live.iter().any(|p| leads_to(p)) {
        PORT
    } else if !live.is_empty() {
        GONE
    } else if here.iter().any(|p| leads_to(p)) {
        REMOVED
    } else {
        KEEP
    }
}

/// The rule of the newest kube-proxy, with text keys as in its Go code.
fn naive_kube_proxy(desired: &DesiredState, previous: &DesiredState, e: &Sample) -> Verdict {
    let v6 = e.frontend.is_ipv6();
    let relevant = |state: &DesiredState| -> Vec<ServicePort> {
        let of_family = |s: &&ServicePort| s.cluster_ips.iter().any(|a| a.is_ipv6() == v6);
        let services = state.services().iter().filter(of_family);
        services.filter(|s| s.key.protocol == Protocol::UDP).cloned().collect()
    };
    let vips = |s: &ServicePort| -> Vec<String> {
        let all = s.cluster_ips.iter().chain(&s.load_balancer_ips).chain(&s.external_ips);
        let own = all.filter(|a| a.is_ipv6() == v6);
        own.map(|a| SocketAddr::new(*a, s.port).to_string()).collect()
    };
    let unread = |name: &str| desired.unknown().iter().any(|u| u.unreadable && u.name == name);
    let mut by_frontend: BTreeMap<String, (bool, Vec<SocketAddr>)> = BTreeMap::new();
    let mut by_node_port: BTreeMap<u16, Vec<SocketAddr>> = BTreeMap::new();
    for gone in relevant(previous) {
        if !relevant(desired).iter().any(|s| s.key == gone.key) && !unread(&gone.key.name) {
            for vip in vips(&gone) {
                by_frontend.insert(vip, (true, Vec::new()));
            }
        }
    }
    for live in relevant(desired) {
        let endpoints: Vec<_> = live
            .endpoints
            .iter()
            .filter(|endpoint| endpoint.serving != Some(false))
            .map(|endpoint| endpoint.address)
            .filter(|a| a.is_ipv6() == v6)
            .collect();
        for vip in vips(&live) {
            by_frontend.insert(vip, (false, endpoints.clone()));
        }
        if let (Some(port), false) = (live.node_port, endpoints.is_empty()) {
            by_node_port.insert(port, endpoints);
        }
    }
    let reason = |removed: bool, endpoints: &[SocketAddr]| {
        if removed {
            REMOVED
        } else if e.backend == e.frontend {
            UNTRANSLATED
        } else if endpoints.iter().any(|b| b.ip() == e.backend.ip()) {
            PORT
        } else {
            GONE
        }
    };
    if e.protocol != Protocol::UDP {
        return KEEP;
    }
    // It reads everything; what cannot be read, now or by what it was, is not judged.
    let unreadable = || desired.unknown().iter().filter(|u| u.unreadable);
    let now = unreadable().flat_map(|u| &u.services).map(|s| (desired, s));
    let before = previous.services().iter().filter(|s| unread(&s.key.name));
    let not_known: BTreeSet<String> = now
        .chain(before.map(|s| (previous, s)))
        .flat_map(|(state, s)| s.frontends().chain(state.node_frontends(s)))
        .filter(|frontend| frontend.protocol == Protocol::UDP)
        .map(|frontend| SocketAddr::new(frontend.address, frontend.port).to_string())
        .collect();
    by_frontend.retain(|vip, _| !not_known.contains(vip));
    for service in unreadable().flat_map(|u| &u.services) {
        if service.key.protocol == Protocol::UDP {
            by_node_port.retain(|port, _| Some(*port) != service.node_port);
        }
    }
    if let Some((removed, endpoints)) = by_frontend.get(&e.frontend.to_string())
        && !endpoints.contains(&e.backend)
    {
        return reason(*removed, endpoints);
    }
    match by_node_port.get(&e.frontend.port()) {
        Some(endpoints) if !endpoints.contains(&e.backend) => reason(false, endpoints),
        Some(_) => KEEP,
        None if by_frontend.contains_key(&e.frontend.to_string()) => KEEP,
        None if not_known.contains(&e.frontend.to_string()) => KEEP,
        None => naive_published(desired, false, e),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    /// `strict` deletes only what kube-proxy's rule deletes, except in the two cases listed below.
    #[test]
    fn strict_deletes_a_subset_of_what_kube_proxys_rule_deletes_plus_what_is_listed(
        desired in any_state(), entries in prop::collection::vec(any_entry(), 64),
    ) {
        let strict = rules(Profile::Strict, &desired);
        let kube_proxy = rules(Profile::KubeProxy, &desired);
        for entry in entries {
            let flow = entry.flow();
            if strict.verdict(&flow) == KEEP || kube_proxy.verdict(&flow) != KEEP {
                continue;
            }
            // The node port of a service without serving endpoints, at a node address.
            let node_port = desired.node_port_addresses().contains(&entry.frontend.ip())
                && desired.services().iter().any(|s| s.node_port == Some(entry.frontend.port()));
            // An endpoint that says only `ready: false`.
            let not_ready = desired.services().iter().flat_map(|s| &s.endpoints).any(|endpoint| {
                endpoint.address == entry.backend
                    && (endpoint.serving, endpoint.ready) == (None, Some(false))
            });
            // kube-proxy matches node ports at any address, and then looks no further.
            let published = is_published(&desired, &entry);
            prop_assert!(node_port || not_ready || published, "{:?}: {:?}", entry, strict.verdict(&flow));
        }
    }

    /// Every entry that the new rules judge stale and the old rules kept lies where `change_since`
    /// says.
    #[test]
    fn a_change_says_where_something_can_have_become_stale(
        before in any_state(), after in any_state(),
        entries in prop::collection::vec(any_entry(), 64),
    ) {
        for profile in [Profile::Strict, Profile::KubeProxy] {
            let scope = Scope { protocols: vec![Protocol::UDP, Protocol::TCP], ..scope(profile) };
            let then = Rules::new(&before, &History::default(), &scope);
            let now = Rules::new(&after, &History::after(before.clone()), &scope);
            let Affected::Frontends(covers) = now.change_since(&then) else { continue };
            for entry in &entries {
                let flow = entry.flow();
                let family = flow.family();
                let newly = now.verdict(&flow) != KEEP && then.verdict(&flow) == KEEP;
                let cover = &covers[usize::from(family == Family::Ipv6)];
                let looked = now.cover_filter(family, cover).is_some_and(|f| f.matches(&flow));
                prop_assert!(!newly || looked, "{:?}: {:?}", profile, entry);
            }
        }
    }

    #[test]
    fn verdicts_equal_the_naive_transcriptions(
        desired in any_state(),
        previous in any_state(),
        zones in prop_oneof![Just(Zones::Default), Just(Zones::All), Just(Zones::Only(vec![0, 1]))],
        entries in prop::collection::vec(any_entry(), 64),
    ) {
        let history = History::after(previous.clone());
        let protocols = vec![Protocol::UDP, Protocol::TCP];
        let both = Scope { protocols, zones: zones.clone(), ..Scope::default() };
        let strict = Rules::new(&desired, &history, &both);
        let kube_proxy = Rules::new(&desired, &history, &scope(Profile::KubeProxy));
        for entry in entries {
            let flow = entry.flow();
            let expected = naive_strict(&desired, &previous, &zones, &entry);
            prop_assert_eq!(strict.verdict(&flow), expected, "strict {:?}", entry);
            let expected = naive_kube_proxy(&desired, &previous, &entry);
            prop_assert_eq!(kube_proxy.verdict(&flow), expected, "kube-proxy {:?}", entry);
            for rules in [&strict, &kube_proxy] {
                if rules.verdict(&flow) != KEEP {
                    let filter = rules.filter(flow.family());
                    prop_assert!(filter.is_some_and(|f| f.matches(&flow)), "hidden: {:?}", entry);
                }
            }
        }
    }
}
