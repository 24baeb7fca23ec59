//! The rules at frontends of Services that are excluded or cannot be read.

use super::tests::{GONE, KEEP, REMOVED, at, check, ip, rules, scope, service, state};
use super::*;
use crate::reconcile::desired::builder::DesiredStateBuilder;
use crate::reconcile::desired::service::Unknown;
use crate::reconcile::memory::history::History;

/// What is excluded or cannot be read is nobody's to judge, even where it is shared or removed.
#[test]
fn unknown_beats_shared_and_removed() {
    let known = service("a", Protocol::UDP, 8000, &[at("10.0.1.1:1").into()]);
    let with = |services: Vec<ServicePort>, unreadable| {
        let mut unknown = Unknown::new("default", "b");
        unknown.services = vec![service("b", Protocol::UDP, 8000, &[])];
        unknown.unreadable = unreadable;
        let builder =
            services.into_iter().fold(DesiredState::builder(), DesiredStateBuilder::service);
        builder.unknown(unknown).build().unwrap()
    };
    for unreadable in [false, true] {
        let shared = rules(Profile::Strict, &with(vec![known.clone()], unreadable));
        check(&shared, KEEP, "172.30.1.1:8000", "10.9.9.9:1");
        let history = History::after(state(vec![known.clone()], &[]));
        let scope = scope(Profile::Strict);
        let removed = Rules::new(&with(vec![], unreadable), &history, &scope);
        check(&removed, KEEP, "172.30.1.1:8000", "10.0.1.1:1");
    }
    let excluded = rules(Profile::KubeProxy, &with(vec![known.clone()], false));
    check(&excluded, GONE, "172.30.1.1:8000", "10.9.9.9:1");
    let unreadable = rules(Profile::KubeProxy, &with(vec![known], true));
    check(&unreadable, KEEP, "172.30.1.1:8000", "10.9.9.9:1");
}

/// A Service that cannot be read for a while is not removed, and is when it really goes.
#[test]
fn what_cannot_be_read_is_cleaned_when_it_is_gone() {
    let web = service("web", Protocol::UDP, 8000, &[at("10.0.1.1:1").into()]);
    let mut unknown = Unknown::new(&*web.key.namespace, &*web.key.name);
    unknown.unreadable = true;
    let unreadable = DesiredState::builder().unknown(unknown).build().unwrap();
    let gone = DesiredState::default();
    let mut history = History::after(state(vec![web], &[]));
    let scope = scope(Profile::Strict);
    let during = Rules::new(&unreadable, &history, &scope);
    check(&during, KEEP, "172.30.1.1:8000", "10.0.1.1:1");
    history.record(&unreadable, true);
    let after = Rules::new(&gone, &history, &scope);
    check(&after, REMOVED, "172.30.1.1:8000", "10.0.1.1:1");
}

/// Two Services with one frontend, one of which cannot be read at all: earlier states know its part.
#[test]
fn what_earlier_states_give_to_an_unknown_service_is_not_judged() {
    let mut other = service("b", Protocol::UDP, 8000, &[at("10.0.1.2:1").into()]);
    let known = service("a", Protocol::UDP, 8000, &[at("10.0.1.1:1").into()]);
    let unknown = || {
        let mut nameless = Unknown::new("ns", "a");
        nameless.unreadable = true;
        DesiredState::builder().unknown(nameless)
    };
    let scope = scope(Profile::Strict);
    let both = state(vec![known, other.clone()], &[]);
    let unknown_alone = unknown().build().unwrap();
    let shared = unknown().service(other.clone()).build().unwrap();
    for now in [&shared, &unknown_alone] {
        let rules = Rules::new(now, &History::after(both.clone()), &scope);
        check(&rules, KEEP, "172.30.1.1:8000", "10.0.1.1:1");
        check(&rules, KEEP, "172.30.1.1:8000", "10.9.9.9:1");
    }
    other.cluster_ips = vec![ip("172.30.1.2")];
    let elsewhere = Rules::new(&state(vec![other], &[]), &History::after(both), &scope);
    check(&elsewhere, REMOVED, "172.30.1.1:8000", "10.0.1.1:1");
}
