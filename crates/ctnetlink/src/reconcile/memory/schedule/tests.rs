//! The state machine, without a kernel and with a simulated clock.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::model::protocol::Protocol;
use crate::model::sample::Sample;
use crate::reconcile::desired::DesiredState;
use crate::reconcile::desired::service::{Endpoint, ServiceKey, ServicePort};
use crate::reconcile::memory::Memory;
use crate::reconcile::memory::grace::Grace;
use crate::reconcile::memory::history::History;
use crate::reconcile::rules::cover::Cover;
use crate::reconcile::rules::{Reason, Verdict};
use crate::reconcile::scope::{Profile, Scope};

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

fn filter(rules: &Rules, at: &Affected) -> Option<String> {
    match at {
        Affected::Everything => Some("everything".into()),
        change => change.filters(rules)[0].as_ref().map(ToString::to_string),
    }
}

struct Machine {
    schedule: Schedule,
    now: Instant,
}

impl Machine {
    fn new() -> Machine {
        Machine { schedule: Schedule::new(DELAY, 0.0), now: Instant::now() }
    }

    fn changed(&self, rules: &Rules) -> Affected {
        self.schedule.seen().map_or_else(Affected::nothing, |seen| rules.change_since(seen))
    }

    /// One run: where it looks. `found` says that it deleted something there.
    fn run(&mut self, backends: &[&str], succeeded: bool, found: bool) -> Option<String> {
        let rules = rules(backends);
        let work = self.schedule.work(self.changed(&rules), Affected::nothing(), self.now);
        let looked = filter(&rules, &work.at);
        let mut cover = Cover::default();
        if found {
            cover.add(&Sample::udp("10.96.0.10:53", "10.244.9.9:53").flow());
        }
        let found = Affected::Frontends([cover, Cover::default()]);
        let looked_at = looked.is_some();
        let outcome = RunOutcome { looked: looked_at, succeeded, found, ..RunOutcome::default() };
        self.schedule.done(rules, work, outcome, self.now);
        looked
    }
}

const A: &str = "10.244.1.1:53";
const B: &str = "10.244.1.2:53";

fn frontend() -> Option<String> {
    Some("ip and udp and orig dst 10.96.0.10 and orig dst port 53".into())
}

fn everything() -> Option<String> {
    Some("everything".into())
}

#[test]
fn the_cost_follows_the_change() {
    let mut machine = Machine::new();
    assert_eq!(machine.run(&[A, B], true, false), everything(), "at the start");
    assert_eq!(machine.run(&[A, B], true, false), None, "nothing changed");
    assert_eq!(machine.run(&[A], true, false), frontend(), "a backend was lost");
    assert_eq!(machine.run(&[A, B], true, false), None, "one came, none was lost");
    assert_eq!(machine.run(&[], true, false), frontend(), "all were lost");
    assert_eq!(machine.run(&[], true, false), None);
    assert_eq!(machine.run(&[A], true, false), frontend(), "none to some");
    assert_eq!(machine.run(&[A], false, false), None, "a failure is known only afterwards");
    assert_eq!(machine.run(&[A], true, false), everything(), "after a failure");
    machine.schedule.forget(machine.now);
    assert_eq!(machine.schedule.due(None), Some(machine.now));
    assert_eq!(machine.run(&[A], true, false), everything(), "on request");
}

#[test]
fn after_a_failure_it_wants_to_run_again_soon() {
    let mut machine = Machine::new();
    machine.run(&[A], false, false);
    assert_eq!(machine.schedule.due(None), Some(machine.now + RETRY));
    for delay in [2, 4, 8, 16, 32, 60, 60] {
        machine.run(&[A], false, true);
        assert_eq!(machine.schedule.due(None), Some(machine.now + delay * RETRY));
    }
    machine.run(&[A], true, false);
    assert_eq!(machine.schedule.due(None), None);
    machine.schedule.min_interval = 10 * RETRY;
    machine.run(&[], false, false);
    assert_eq!(machine.schedule.due(None), Some(machine.now + 10 * RETRY));
}

#[test]
fn a_failure_serves_rechecks_with_the_next_try() {
    let mut machine = Machine::new();
    machine.run(&[A, B], true, true);
    machine.now += DELAY;
    machine.run(&[A], false, true);
    assert_eq!(machine.schedule.due(None), Some(machine.now + RETRY));
    machine.now += RETRY;
    assert_eq!(machine.run(&[A], true, false), everything());
    // What had changed is re-checked, although that look at everything found nothing.
    assert_eq!(machine.schedule.due(None), Some(machine.now + DELAY));
    machine.now += DELAY;
    assert_eq!(machine.run(&[A], true, false), frontend());
    assert_eq!(machine.schedule.due(None), None);
}

/// A resync that fails is retried like any other run, and not at once.
#[test]
fn a_failing_resync_backs_off() {
    let mut machine = Machine::new();
    machine.schedule.resync = Some(600 * RETRY);
    machine.run(&[A], true, false);
    machine.now = machine.schedule.due(None).unwrap();
    for delay in [1, 2, 4, 8] {
        assert_eq!(machine.run(&[A], false, false), everything());
        assert_eq!(machine.schedule.due(None), Some(machine.now + delay * RETRY));
        machine.now += delay * RETRY;
    }
    machine.run(&[A], true, false);
    assert!(machine.schedule.due(None).unwrap() > machine.now + 500 * RETRY);
}

/// A state that is refused leaves nothing due at once, and does not delay a good one.
#[test]
fn a_refused_state_backs_off() {
    let mut machine = Machine::new();
    machine.run(&[A, B], true, false);
    machine.run(&[A], true, true);
    for delay in [1, 2, 4] {
        machine.now += DELAY;
        machine.schedule.refuse(machine.now);
        assert_eq!(machine.schedule.due(None), Some(machine.now + delay * RETRY));
    }
    assert_eq!(machine.run(&[A], true, false), frontend(), "the re-check");
    assert_eq!(machine.schedule.due(None), None);
}

/// A re-check that is due sooner than the row that waits.
#[test]
fn the_earliest_recheck_is_due() {
    let mut machine = Machine::new();
    machine.run(&[A, B], true, true);
    for _ in 0..6 {
        machine.now = machine.schedule.due(None).unwrap();
        machine.run(&[A, B], true, true);
    }
    assert!(machine.schedule.due(None).unwrap() > machine.now + 2 * RETRY);
    machine.run(&[A], true, false);
    assert_eq!(machine.schedule.due(None), Some(machine.now + DELAY));
}

#[test]
fn the_recheck_looks_at_all_that_has_changed() {
    let mut machine = Machine::new();
    machine.run(&[A, B], true, false);
    let rules = rules(&[A]);
    let work = machine.schedule.work(machine.changed(&rules), Affected::nothing(), machine.now);
    let at = filter(&rules, &work.recheck(Affected::nothing()));
    assert_eq!(at, frontend(), "nothing was found, and something may have been in flight");
    assert!(
        Work::everything(Affected::nothing()).recheck(Affected::nothing()).is_nothing(),
        "too much for a guess"
    );
    let mut elsewhere = Cover::default();
    elsewhere.add(&Sample::udp("10.96.0.11:53", B).flow());
    let found = Affected::Frontends([elsewhere, Cover::default()]);
    let at = filter(&rules, &work.recheck(found.clone())).unwrap();
    assert_eq!(at, "ip and udp and orig dst port 53", "there, and where something was found");
    let at = filter(&rules, &Work::everything(Affected::nothing()).recheck(found)).unwrap();
    assert!(at.contains("orig dst 10.96.0.11"), "{at}");
}

#[test]
fn a_run_without_anything_to_judge_begins_no_interval() {
    let mut machine = Machine::new();
    machine.schedule.min_interval = 10 * DELAY;
    let nothing = Rules::new(&DesiredState::default(), &History::default(), &Scope::default());
    let work = machine.schedule.work(machine.changed(&nothing), Affected::nothing(), machine.now);
    assert!(work.at.filters(&nothing).iter().all(Option::is_none));
    let outcome = RunOutcome { succeeded: true, ..RunOutcome::default() };
    machine.schedule.done(nothing, work, outcome, machine.now);
    assert_eq!(machine.run(&[A], true, false), frontend());
}

#[test]
fn rechecks_follow_while_they_find_something_ever_later() {
    let mut machine = Machine::new();
    machine.run(&[A, B], true, false);
    assert_eq!(machine.run(&[A], true, true), frontend());
    assert_eq!(machine.schedule.due(None), Some(machine.now + DELAY));
    assert_eq!(machine.run(&[A], true, false), None, "too early, and still pending");
    machine.now += DELAY;
    assert_eq!(machine.run(&[A], true, true), frontend(), "the next run is the re-check");
    // The rules may be late: it goes on while it finds something, twice as late each time.
    let mut delay = DELAY;
    for _ in 0..15 {
        delay = (2 * delay).min(LONGEST_RECHECK);
        assert_eq!(machine.schedule.due(None), Some(machine.now + delay));
        machine.now += delay;
        assert_eq!(machine.run(&[A], true, true), frontend());
    }
    assert_eq!(delay, LONGEST_RECHECK);
    machine.now += delay;
    assert_eq!(machine.run(&[A], true, false), frontend());
    assert_eq!(machine.schedule.due(None), None);
    assert_eq!(machine.run(&[A], true, false), None);
}

/// An entry whose first packet was in flight is in no dump: a pass that found nothing says nothing.
#[test]
fn a_pass_that_found_nothing_is_rechecked_too() {
    let mut machine = Machine::new();
    machine.run(&[A, B], true, false);
    assert_eq!(machine.run(&[A], true, false), frontend());
    assert_eq!(machine.schedule.due(None), Some(machine.now + DELAY));
    machine.now += DELAY;
    assert_eq!(machine.run(&[A], true, false), frontend());
    assert_eq!(machine.schedule.due(None), None);
}

#[test]
fn everything_is_looked_at_again_when_asked_for_and_never_too_often() {
    let mut machine = Machine::new();
    let hour = Duration::from_secs(3600);
    machine.schedule.resync = Some(hour);
    machine.schedule.jitter = -1.0;
    machine.run(&[A], true, false);
    assert_eq!(machine.schedule.due(None), Some(machine.now + hour * 9 / 10));
    machine.now += hour / 2;
    assert_eq!(machine.run(&[A], true, false), None);
    machine.now += hour / 2;
    assert_eq!(machine.run(&[A], true, false), everything());
    // One that takes a minute may be made every hundred minutes.
    let rules = rules(&[A]);
    let took = Duration::from_secs(60);
    let outcome = RunOutcome { looked: true, succeeded: true, took, ..RunOutcome::default() };
    machine.schedule.done(rules, Work::everything(Affected::nothing()), outcome, machine.now);
    assert_eq!(machine.schedule.due(None), Some(machine.now + 100 * took));
}

#[test]
fn a_recheck_is_not_put_off_by_later_ones() {
    let mut machine = Machine::new();
    machine.run(&[A, B], true, true);
    let first = machine.now + DELAY;
    for backends in [[A], [B], [A]] {
        machine.now += DELAY / 4;
        assert_eq!(machine.run(&backends, true, true), frontend());
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
fn rechecks_remember_what_was_removed_for_each_of_their_passes() {
    let mut machine = Machine::new();
    machine.run(&[A, B], true, false);
    let frontends = ["10.96.0.1", "10.96.0.2", "10.96.0.3"].map(|address| {
        crate::reconcile::desired::service::Frontend::new(
            address.parse().unwrap(),
            53,
            Protocol::UDP,
        )
    });
    for (frontend, backends) in frontends.into_iter().zip([[A], [B], [A]]) {
        let rules = rules(&backends);
        let work = machine.schedule.work(machine.changed(&rules), Affected::nothing(), machine.now);
        let mut deleted = Cover::default();
        deleted.add(&Sample::udp("10.96.0.10:53", "10.244.9.9:53").flow());
        let found = Affected::Frontends([deleted, Cover::default()]);
        let removed = BTreeSet::from([frontend]);
        let (looked, succeeded) = (true, true);
        let outcome = RunOutcome { looked, succeeded, found, removed, ..RunOutcome::default() };
        machine.schedule.done(rules, work, outcome, machine.now);
        machine.now += DELAY / 4;
    }
    assert_eq!(machine.schedule.awaited(), BTreeSet::from(frontends));
    machine.now += DELAY / 4;
    machine.run(&[A], true, false);
    assert_eq!(machine.schedule.awaited(), BTreeSet::from([frontends[1], frontends[2]]));
    machine.now += DELAY;
    machine.run(&[A], true, false);
    assert!(machine.schedule.awaited().is_empty());
}

#[test]
fn a_pass_that_is_due_anyway_serves_as_the_recheck() {
    let mut machine = Machine::new();
    machine.run(&[A, B], true, true);
    machine.now += DELAY;
    assert_eq!(machine.run(&[B], true, false), frontend());
    // And what it looked at for reasons of its own is looked at again.
    assert_eq!(machine.schedule.due(None), Some(machine.now + DELAY));
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
    // There and back: entries made in between are stale although the states are equal.
    assert_eq!(machine.run(&[], true, false), None, "too early");
    assert_eq!(machine.schedule.due(None), Some(over));
    assert_eq!(machine.run(&[A, B], true, false), None, "still too early");
    machine.now = over;
    assert_eq!(machine.run(&[A, B], true, false), frontend(), "one pass for all of it");
    machine.now += 10 * DELAY;
    assert_eq!(machine.schedule.due(None), Some(machine.now), "its re-check");
    assert_eq!(machine.run(&[A, B], true, false), frontend());
    assert_eq!(machine.schedule.due(None), None);
    // A run that sends nothing does not begin a new interval; a failure does not end one.
    machine.now += 10 * DELAY;
    assert_eq!(machine.run(&[A, B], true, false), None);
    assert_eq!(machine.run(&[B], false, false), frontend());
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

/// What is listed of one frontend: `None` if there is no service, else for each endpoint whether it
/// is listed and whether it serves.
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
    /// looked at every entry that is stale by then, and in the end nothing is due.
    #[test]
    fn nothing_stale_is_forgotten(
        steps in prop::collection::vec(any_step(), 1..12),
        interval in prop_oneof![Just(0_u32), Just(30)],
        grace in prop_oneof![Just(0_u32), Just(50)],
        profile in prop_oneof![Just(Profile::Strict), Just(Profile::KubeProxy)],
    ) {
        const HUNDREDTH: Duration = Duration::from_millis(10);
        let scope = Scope { profile, ..Scope::default() };
        let mut memory = Memory::new(Schedule::new(DELAY, 0.0));
        memory.schedule.min_interval = interval * HUNDREDTH;
        memory.grace = Grace::of(grace * HUNDREDTH);
        let mut now = Instant::now();
        // It knows every frontend there ever was, as `strict` has to until all is clean.
        let mut omniscient = History::default();
        let mut table: BTreeSet<(&str, &str)> = BTreeSet::new();
        let mut run = |listed: &[Listed; 2], succeeds: bool, now: Instant| {
            let desired = desired(listed);
            let plan = memory.plan(&desired, &scope, now, false);
            let postponed = plan.work.is_postponed();
            let spared = memory.grace.after(&desired, &scope, now).spared(now);
            let known = omniscient.vanished(&desired, profile);
            let nothing = BTreeSet::new();
            let reference =
                Rules::compile(&desired, known.iter(), &nothing, &scope, &spared, &nothing);
            let mut deleted = Cover::default();
            let mut left = Vec::new();
            if !postponed && succeeds {
                table.retain(|(vip, backend)| {
                    let flow = Sample::udp(vip, backend).flow();
                    let looked = plan.filters[0].as_ref().is_some_and(|f| f.matches(&flow));
                    if looked && plan.rules.verdict(&flow) != Verdict::Keep {
                        let known = reference.verdict(&flow) != Verdict::Keep;
                        assert!(known || profile == Profile::KubeProxy, "{vip} {backend}");
                        deleted.add(&flow);
                        return false;
                    }
                    if let Verdict::Stale(reason) = reference.verdict(&flow) {
                        left.push((*vip, *backend, reason));
                    }
                    true
                });
            }
            // Clients keep making such entries where nothing serves. They are removed once
            // something serves.
            let serves = |vip: &str| made(listed).any(|(v, backend)| v == vip && backend != vip);
            left.retain(|(vip, _, reason)| *reason != Reason::NotTranslated || serves(vip));
            let deleted = Affected::Frontends([deleted, Cover::default()]);
            let outcome =
                RunOutcome { succeeded: succeeds, found: deleted, ..RunOutcome::default() };
            memory.settle(&desired, plan, outcome, now);
            match profile {
                // It remembers only the vanished services of the last run.
                Profile::KubeProxy if postponed => {}
                Profile::KubeProxy => omniscient = History::after(desired.clone()),
                _ => omniscient.record(&desired, false),
            }
            table.extend(made(listed));
            (postponed, left, memory.due())
        };
        let mut last = None;
        for Step { listed, after, succeeds } in steps {
            now += after * HUNDREDTH;
            let (postponed, left, due) = run(&listed, succeeds, now);
            prop_assert!(left.is_empty(), "{:?}", left);
            prop_assert!(due.is_some() || !postponed && succeeds);
            last = Some((listed, due));
        }
        let Some((listed, mut due)) = last else { return Ok(()) };
        // Clients go on making entries where nothing serves, so re-checks may go on: but ever later.
        let mut runs = 0;
        while let Some(moment) = due {
            now = now.max(moment);
            let (_, left, later) = run(&listed, true, now);
            prop_assert!(left.is_empty() && runs < 20, "{:?} {}", left, runs);
            if later.is_some_and(|later| later - now >= LONGEST_RECHECK) {
                break;
            }
            (due, runs) = (later, runs + 1);
        }
    }

    /// A re-check judges what was in flight as the pass before would have; then it is forgotten.
    #[test]
    fn a_recheck_judges_by_what_was_removed(
        state in any_step(), meanwhile in any::<bool>(), later in 10..40_u32,
        profile in prop_oneof![Just(Profile::Strict), Just(Profile::KubeProxy)],
    ) {
        let scope = Scope { profile, ..Scope::default() };
        let mut memory = Memory::new(Schedule::new(DELAY, 0.0));
        memory.history = History::after(desired(&state.listed));
        let (nothing, now) = (DesiredState::default(), Instant::now());
        let mut at = now;
        for pass in 0..2 {
            let plan = memory.plan(&nothing, &scope, at, false);
            let mut deleted = Cover::default();
            for (vip, backend) in made(&state.listed).filter(|(vip, backend)| vip != backend) {
                let flow = Sample::udp(vip, backend).flow();
                let stale = plan.rules.verdict(&flow) != Verdict::Keep;
                let looked = plan.filters[0].as_ref().is_some_and(|f| f.matches(&flow));
                prop_assert!(stale && looked, "pass {}: {} {}", pass, vip, backend);
                deleted.add(&flow);
            }
            let deleted = Affected::Frontends([deleted, Cover::default()]);
            let outcome = RunOutcome { succeeded: true, found: deleted, ..RunOutcome::default() };
            memory.settle(&nothing, plan, outcome, at);
            if meanwhile && pass == 0 {
                // A run in between, which has nothing to do.
                let plan = memory.plan(&nothing, &scope, at, false);
                let outcome = RunOutcome { succeeded: true, ..RunOutcome::default() };
                memory.settle(&nothing, plan, outcome, at);
            }
            at = now + later * Duration::from_millis(10);
        }
        // The re-check found something, so there is another, which finds nothing.
        at += LONGEST_RECHECK;
        let plan = memory.plan(&nothing, &scope, at, false);
        let outcome = RunOutcome { succeeded: true, ..RunOutcome::default() };
        memory.settle(&nothing, plan, outcome, at);
        let plan = memory.plan(&nothing, &scope, at, false);
        prop_assert_eq!(plan.rules.frontends(), 0, "and then it is forgotten");
    }
}
