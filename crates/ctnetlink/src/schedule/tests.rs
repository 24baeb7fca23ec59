//! The state machine, without a kernel and with a clock of the tests.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::desired::{DesiredState, Endpoint, ServiceKey, ServicePort};
use crate::grace::Grace;
use crate::history::History;
use crate::proto::Protocol;
use crate::sample::Sample;
use crate::verdict::{Cover, Reason, Scope, Verdict};

const DELAY: Duration = Duration::from_millis(100);

fn rules(backends: &[&str]) -> Rules {
    let vip: std::net::IpAddr = "10.96.0.10".parse().unwrap();
    let backends = backends.iter().map(|b| b.parse::<std::net::SocketAddr>().unwrap());
    let builder = DesiredState::builder().udp(vip, 53);
    let desired = match backends.len() {
        0 => builder.no_backends().build(),
        _ => builder.backends(backends).build(),
    };
    Rules::new(&desired.unwrap(), &History::default(), &Scope::default())
}

fn filter(rules: &Rules, at: &Change) -> Option<String> {
    match at {
        Change::Everything => Some("everything".into()),
        change => change.filters(rules)[0].as_ref().map(ToString::to_string),
    }
}

struct Machine {
    schedule: Schedule,
    now: Instant,
}

impl Machine {
    fn new() -> Machine {
        Machine { schedule: Schedule::new(DELAY), now: Instant::now() }
    }

    /// One run: where it looks. `found` says that it deleted something there.
    fn run(&mut self, backends: &[&str], succeeded: bool, found: bool) -> Option<String> {
        let rules = rules(backends);
        let work = self.schedule.work(&rules, self.now);
        let looked = filter(&rules, &work.at);
        let mut cover = Cover::default();
        if found {
            cover.add(&Sample::udp("10.96.0.10:53", "10.244.9.9:53").flow());
        }
        let deleted = Change::Frontends([cover, Cover::default()]);
        self.schedule.done(rules, work, succeeded, deleted, self.now);
        looked
    }
}

const A: &str = "10.244.1.1:53";
const B: &str = "10.244.1.2:53";

fn frontend() -> Option<String> {
    Some("ip and udp and orig dst 10.96.0.10 and orig dst port 53".into())
}

fn lost(backend: &str) -> Option<String> {
    let address = backend.trim_end_matches(":53");
    Some(format!("ip and udp and orig dst 10.96.0.10 and orig dst port 53 and reply src {address}"))
}

fn everything() -> Option<String> {
    Some("everything".into())
}

#[test]
fn the_cost_follows_the_change() {
    let mut machine = Machine::new();
    assert_eq!(machine.run(&[A, B], true, false), everything(), "at the start");
    assert_eq!(machine.run(&[A, B], true, false), None, "nothing changed");
    assert_eq!(machine.run(&[A], true, false), lost(B), "a backend was lost");
    assert_eq!(machine.run(&[A, B], true, false), None, "one came, none was lost");
    assert_eq!(machine.run(&[], true, false), frontend(), "all were lost");
    assert_eq!(machine.run(&[], true, false), None);
    assert_eq!(machine.run(&[A], true, false), frontend(), "none to some");
    assert_eq!(machine.run(&[A], false, false), None, "a failure is known only afterwards");
    assert_eq!(machine.run(&[A], true, false), everything(), "after a failure");
    machine.schedule.forget();
    assert_eq!(machine.run(&[A], true, false), everything(), "on request");
}

#[test]
fn after_a_failure_it_wants_to_run_again_soon() {
    let mut machine = Machine::new();
    machine.run(&[A], false, false);
    assert_eq!(machine.schedule.due(None), Some(machine.now + RETRY));
    machine.run(&[A], true, false);
    assert_eq!(machine.schedule.due(None), None);
    machine.schedule.min_interval = 10 * RETRY;
    machine.run(&[], false, false);
    assert_eq!(machine.schedule.due(None), Some(machine.now + 10 * RETRY));
}

#[test]
fn one_recheck_not_before_its_time_and_none_after_it() {
    let mut machine = Machine::new();
    machine.run(&[A, B], true, false);
    assert_eq!(machine.run(&[A], true, true), lost(B));
    assert_eq!(machine.schedule.due(None), Some(machine.now + DELAY));
    assert_eq!(machine.run(&[A], true, false), None, "too early, and still pending");
    assert!(machine.schedule.awaits_recheck());
    machine.now += DELAY;
    assert_eq!(machine.run(&[A], true, true), frontend(), "the next run is the re-check");
    assert_eq!(machine.schedule.due(None), None, "which is not re-checked");
    assert!(!machine.schedule.awaits_recheck());
    assert_eq!(machine.run(&[A], true, false), None);
}

#[test]
fn a_recheck_is_not_put_off_by_later_ones() {
    let mut machine = Machine::new();
    machine.run(&[A, B], true, true);
    let first = machine.now + DELAY;
    for (backends, lost_one) in [(&[A][..], lost(B)), (&[B], lost(A)), (&[A], lost(B))] {
        machine.now += DELAY / 4;
        assert_eq!(machine.run(backends, true, true), lost_one);
        assert_eq!(machine.schedule.due(None), Some(first));
    }
    machine.now = first;
    assert_eq!(machine.run(&[A], true, false), frontend());
    assert_eq!(machine.schedule.due(None), Some(first + DELAY * 3 / 4), "of the later ones");
    machine.now = first + DELAY;
    assert_eq!(machine.run(&[A], true, false), frontend());
    assert_eq!(machine.schedule.due(None), None);
}

#[test]
fn a_pass_that_is_due_anyway_serves_as_the_recheck() {
    let mut machine = Machine::new();
    machine.run(&[A, B], true, true);
    machine.now += DELAY;
    assert_eq!(machine.run(&[B], true, false), frontend());
    assert_eq!(machine.schedule.due(None), None);
    // And what it deleted for reasons of its own is looked at again.
    machine.run(&[A], true, true);
    machine.now += DELAY;
    assert_eq!(machine.run(&[B], true, true), frontend());
    assert_eq!(machine.schedule.due(None), Some(machine.now + DELAY));
}

#[test]
fn what_comes_faster_than_the_interval_is_one_change() {
    let mut machine = Machine::new();
    machine.schedule.min_interval = 10 * DELAY;
    machine.run(&[A, B], true, false);
    let over = machine.now + 10 * DELAY;
    assert_eq!(machine.schedule.due(None), None);
    assert_eq!(machine.schedule.due(Some(machine.now)), Some(over), "nothing comes sooner");
    assert_eq!(machine.schedule.due(Some(over + DELAY)), Some(over + DELAY));
    assert_eq!(machine.run(&[A, B], true, false), None, "nothing has changed");
    assert_eq!(machine.schedule.due(None), None);
    // There and back: entries made meanwhile are stale although the states are alike.
    assert_eq!(machine.run(&[], true, false), None, "too early");
    assert_eq!(machine.schedule.due(None), Some(over));
    assert_eq!(machine.run(&[A, B], true, false), None, "still too early");
    machine.now = over;
    assert_eq!(machine.run(&[A, B], true, false), frontend(), "one pass for all of it");
    assert_eq!(machine.schedule.due(None), None);
    // A run that sends nothing does not begin a new interval; a failure does not end one.
    machine.now += 10 * DELAY;
    assert_eq!(machine.run(&[A, B], true, false), None);
    assert_eq!(machine.run(&[B], false, false), lost(A));
    assert_eq!(machine.run(&[B], true, false), None);
    assert_eq!(machine.schedule.due(None), Some(machine.now + 10 * DELAY));
    machine.now += 10 * DELAY;
    assert_eq!(machine.run(&[B], true, false), everything());
}

#[test]
fn a_recheck_waits_for_the_interval() {
    let mut machine = Machine::new();
    machine.schedule.min_interval = 10 * DELAY;
    machine.run(&[A, B], true, true);
    let over = machine.now + 10 * DELAY;
    assert_eq!(machine.schedule.due(None), Some(over));
    machine.now += DELAY;
    assert_eq!(machine.run(&[A, B], true, false), None);
    machine.now = over;
    assert_eq!(machine.run(&[A, B], true, false), frontend());
}

/// What is listed of one frontend: nothing if there is no service. Which of the endpoints are listed,
/// and which of those serve.
type Listed = Option<[(bool, bool); 2]>;

const VIPS: [&str; 2] = ["10.96.0.10:53", "10.96.0.11:53"];

fn desired(listed: &[Listed; 2]) -> DesiredState {
    let mut builder = DesiredState::builder();
    for (vip, endpoints) in VIPS.into_iter().zip(listed) {
        let vip: std::net::SocketAddr = vip.parse().unwrap();
        let Some(endpoints) = endpoints else { continue };
        let key = ServiceKey {
            namespace: String::new(),
            name: vip.to_string(),
            port_name: String::new(),
            protocol: Protocol::UDP,
        };
        let mut service = ServicePort::new(key, vip.port());
        service.cluster_ips.push(vip.ip());
        for (address, (is_listed, serving)) in [A, B].into_iter().zip(endpoints) {
            if *is_listed {
                let endpoint = Endpoint::new(address.parse().unwrap()).serving(*serving);
                service.endpoints.push(endpoint);
            }
        }
        builder = builder.service(service);
    }
    builder.build().unwrap()
}

/// The entries that clients can make while the packet filter has rules for this state.
fn made(listed: &[Listed; 2]) -> impl Iterator<Item = (&'static str, &'static str)> {
    VIPS.into_iter().zip(*listed).flat_map(|(vip, endpoints)| {
        let endpoints = endpoints.unwrap_or_default();
        let serving = [A, B].into_iter().zip(endpoints);
        let serving: Vec<_> = serving.filter(|(_, e)| e.0 && e.1).map(|(a, _)| a).collect();
        // Nothing is translated where nothing serves.
        let backends = if serving.is_empty() { vec![vip] } else { serving };
        backends.into_iter().map(move |backend| (vip, backend))
    })
}

#[derive(Debug, Clone)]
struct Step {
    listed: [Listed; 2],
    /// Hundredths of a second since the step before.
    after: u32,
    succeeds: bool,
}

fn any_step() -> impl Strategy<Value = Step> {
    let listed = || proptest::option::weighted(0.8, any::<[(bool, bool); 2]>());
    ([listed(), listed()], 0..40_u32, proptest::bool::weighted(0.9))
        .prop_map(|(listed, after, succeeds)| Step { listed, after, succeeds })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2048, ..ProptestConfig::default() })]

    /// Whatever states came, however fast, and whatever failed: a run that leaves nothing to do has
    /// looked at every entry that is stale by then.
    #[test]
    fn nothing_stale_is_forgotten(
        steps in prop::collection::vec(any_step(), 1..12),
        interval in prop_oneof![Just(0_u32), Just(30)],
        grace in prop_oneof![Just(0_u32), Just(50)],
    ) {
        const HUNDREDTH: Duration = Duration::from_millis(10);
        let scope = Scope::default();
        let mut schedule = Schedule::new(DELAY);
        schedule.min_interval = interval * HUNDREDTH;
        let mut grace = Grace::of(grace * HUNDREDTH);
        let (mut history, mut now) = (History::default(), Instant::now());
        // Who knows of every frontend there ever was.
        let mut omniscient = History::default();
        let mut table: BTreeSet<(&str, &str)> = BTreeSet::new();
        for Step { listed, after, succeeds } in steps {
            now += after * HUNDREDTH;
            let desired = desired(&listed);
            grace = grace.after(&desired, &scope, now);
            let spared = grace.spared(now);
            let rules = Rules::sparing(&desired, &history, &scope, &spared);
            let reference = Rules::sparing(&desired, &omniscient, &scope, &spared);
            let work = schedule.work(&rules, now);
            let [filter, _] = work.at.filters(&rules);
            let postponed = work.is_postponed();
            let mut deleted = Cover::default();
            let mut left = Vec::new();
            if !postponed && succeeds {
                table.retain(|(vip, backend)| {
                    let flow = Sample::udp(vip, backend).flow();
                    let looked = filter.as_ref().is_some_and(|filter| filter.matches(&flow));
                    if looked && rules.verdict(&flow) != Verdict::Keep {
                        deleted.add(&flow);
                        return false;
                    }
                    if let Verdict::Stale(reason) = reference.verdict(&flow) {
                        left.push((*vip, *backend, reason));
                    }
                    true
                });
            }
            // Clients go on making them where nothing serves; they are seen to when something does.
            let serves = |vip: &str| made(&listed).any(|(v, backend)| v == vip && backend != vip);
            left.retain(|(vip, _, reason)| *reason != Reason::NotTranslated || serves(vip));
            prop_assert!(left.is_empty(), "{:?}", left);
            let deleted = Change::Frontends([deleted, Cover::default()]);
            schedule.done(rules, work, succeeds, deleted, now);
            match postponed || succeeds && schedule.awaits_recheck() {
                true => history.postpone(&desired),
                false => history.record(&desired, succeeds),
            }
            prop_assert!(schedule.due(None).is_some() || !postponed && succeeds);
            omniscient.record(&desired, false);
            table.extend(made(&listed));
        }
    }

    /// What was in flight at a re-check is judged as it was for the pass before.
    #[test]
    fn a_recheck_judges_by_what_was_removed(state in any_step(), later in 10..40_u32) {
        let scope = Scope::default();
        let mut schedule = Schedule::new(DELAY);
        let (mut history, now) = (History::after(desired(&state.listed)), Instant::now());
        let nothing = DesiredState::default();
        let mut at = now;
        for pass in 0..2 {
            let rules = Rules::new(&nothing, &history, &scope);
            let work = schedule.work(&rules, at);
            let [filter, _] = work.at.filters(&rules);
            let mut deleted = Cover::default();
            for (vip, backend) in made(&state.listed).filter(|(vip, backend)| vip != backend) {
                let flow = Sample::udp(vip, backend).flow();
                let stale = rules.verdict(&flow) != Verdict::Keep;
                let looked = filter.as_ref().is_some_and(|filter| filter.matches(&flow));
                prop_assert!(stale && looked, "pass {}: {} {}", pass, vip, backend);
                deleted.add(&flow);
            }
            let deleted = Change::Frontends([deleted, Cover::default()]);
            schedule.done(rules, work, true, deleted, at);
            match schedule.awaits_recheck() {
                true => history.postpone(&nothing),
                false => history.record(&nothing, true),
            }
            at = now + later * Duration::from_millis(10);
        }
        let rules = Rules::new(&nothing, &history, &scope);
        prop_assert_eq!(rules.frontends(), 0, "and then it is forgotten");
    }
}
