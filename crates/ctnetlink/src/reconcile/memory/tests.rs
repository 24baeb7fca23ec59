//! The whole memory against rules and states that lag behind each other.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::model::sample::Sample;
use crate::model::tuple::Family;
use crate::reconcile::desired::builder::DesiredStateBuilder;
use crate::reconcile::rules::cover::Cover;
use crate::reconcile::rules::{Judgement, Reason};
use crate::reconcile::scope::{Authority, Profile};

const DELAY: Duration = Duration::from_millis(100);
const VIP: &str = "10.96.0.10:53";

/// Backends that serve, by number. A number is never used again, as an address is not for a while.
type Serving = BTreeSet<u8>;

fn address(backend: u8) -> String {
    format!("10.244.1.{backend}:53")
}

fn state(serving: &Serving, fetched: Option<Instant>) -> DesiredState {
    let vip: SocketAddr = VIP.parse().unwrap();
    let backends = serving.iter().map(|b| address(*b).parse::<SocketAddr>().unwrap());
    let builder = DesiredState::builder().udp(vip.ip(), vip.port()).backends(backends);
    let builder = builder.made_from_services(1);
    fetched.into_iter().fold(builder, DesiredStateBuilder::fetched_at).build().unwrap()
}

/// What one run did.
struct Ran {
    deleted: Vec<String>,
    /// It read the table.
    looked: bool,
}

/// What one run deletes of a table, as `Pass` does it.
fn run(
    memory: &mut Memory,
    table: &mut BTreeSet<String>,
    desired: &DesiredState,
    succeeds: bool,
    now: Instant,
) -> Ran {
    run_in(&Scope::default(), memory, table, desired, succeeds, now)
}

fn run_in(
    scope: &Scope,
    memory: &mut Memory,
    table: &mut BTreeSet<String>,
    desired: &DesiredState,
    succeeds: bool,
    now: Instant,
) -> Ran {
    if memory.history.check(desired).is_err() {
        return Ran { deleted: Vec::new(), looked: false };
    }
    let plan = memory.plan(desired, scope, now, false);
    let looked = plan.filters[0].is_some();
    memory.evidence.begin(memory.history.previous(), desired);
    let mut look = memory.evidence.look(Family::Ipv4, desired, Some(DELAY), now);
    let (mut cover, mut deleted) = (Cover::default(), Vec::new());
    let looks = plan.filters[0].is_some() && succeeds;
    table.retain(|backend| {
        let flow = Sample::udp(VIP, backend).flow();
        let seen = looks && plan.filters[0].as_ref().is_some_and(|f| f.matches(&flow));
        let stale = seen
            && match plan.rules.judge(&flow) {
                Judgement::Stale(Reason::BackendGone | Reason::BackendPortChanged) => {
                    let dialled = flow.orig().destination();
                    let frontend = Frontend::new(dialled.ip(), dialled.port(), flow.protocol());
                    look.proves((frontend, flow.reply().source()))
                }
                Judgement::Stale(_) => true,
                _ => false,
            };
        if stale {
            cover.add(&flow);
            deleted.push(backend.clone());
        }
        !stale
    });
    let learned = look.learned();
    if looks {
        memory.evidence.learn(&plan.work.at, [Some(learned), None], now);
    }
    let found = crate::reconcile::rules::change::Affected::Frontends([cover, Cover::default()]);
    let outcome = RunOutcome { succeeded: succeeds, found, ..RunOutcome::default() };
    memory.settle(desired, plan, outcome, now);
    Ran { deleted, looked }
}

/// A document that has lost its Services.
fn half(fetched: Instant) -> DesiredState {
    DesiredState::builder().made_from_services(0).fetched_at(fetched).build().unwrap()
}

#[derive(Debug, Clone)]
struct Step {
    /// A backend begins to serve, the oldest one stops.
    begins: bool,
    stops: bool,
    /// The state that is seen is so many steps old; the rules are always the newest.
    lag: usize,
    /// Hundredths of a second since the step before.
    after: u32,
    succeeds: bool,
    /// A document without Services is passed first.
    half: bool,
}

fn any_step() -> impl Strategy<Value = Step> {
    let rarely = || proptest::bool::weighted(0.1);
    let flags = (any::<bool>(), any::<bool>(), rarely(), rarely());
    (flags, 0_usize..4, 0_u32..40).prop_map(|((begins, stops, fails, half), lag, after)| Step {
        begins,
        stops,
        lag,
        after,
        succeeds: !fails,
        half,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, ..ProptestConfig::default() })]

    /// An observer whose state lags behind the rules by several changes, or is only half a picture,
    /// never deletes a flow to a
    /// backend that serves, and after the newest state everything stale is gone, in few runs.
    #[test]
    fn an_observer_that_lags_loses_nothing_and_forgets_nothing(
        steps in prop::collection::vec(any_step(), 1..12),
    ) {
        let mut memory = Memory::new(Schedule::new(DELAY, 0.0));
        memory.evidence.authority = Authority::Observer;
        let mut now = Instant::now();
        let mut history = vec![(Serving::from([1]), now)];
        let (mut next, mut newest_seen) = (2, 0);
        let mut table = BTreeSet::new();
        for step in &steps {
            now += step.after * Duration::from_millis(10) + Duration::from_millis(1);
            let mut serving = history.last().map(|(serving, _)| serving.clone()).unwrap_or_default();
            if step.begins {
                serving.insert(next);
                next += 1;
            }
            if step.stops && serving.len() > 1 {
                serving.pop_first();
            }
            history.push((serving.clone(), now));
            // Clients use the newest rules.
            table.extend(serving.iter().map(|backend| address(*backend)));
            // A watch never goes back.
            let seen = history.len().saturating_sub(1 + step.lag).max(newest_seen);
            newest_seen = seen;
            let (known, fetched) = &history[seen];
            let desired = state(known, Some(*fetched));
            // The first state of a process may be empty: nothing says that it is half of one.
            if step.half && memory.history.previous().is_some() {
                let ran = run(&mut memory, &mut table, &half(now), true, now);
                prop_assert!(ran.deleted.is_empty() && !ran.looked);
            }
            for deleted in run(&mut memory, &mut table, &desired, step.succeeds, now).deleted {
                let healthy = serving.iter().any(|backend| address(*backend) == deleted);
                prop_assert!(!healthy, "{} serves, and was deleted", deleted);
            }
        }
        // Quiet at last: the newest state, fetched now, and again whenever something is due.
        let serving = history.last().map(|(serving, _)| serving.clone()).unwrap_or_default();
        let mut runs = 0;
        now += DELAY;
        loop {
            run(&mut memory, &mut table, &state(&serving, Some(now)), true, now);
            runs += 1;
            prop_assert!(runs < 20, "it never ends: {:?}", memory.due());
            match memory.due() {
                Some(due) => now = now.max(due) + Duration::from_millis(1),
                None => break,
            }
        }
        let expected: BTreeSet<_> = serving.iter().map(|backend| address(*backend)).collect();
        prop_assert!(table.is_subset(&expected), "{:?} is left", table.difference(&expected));
    }

    /// Rules that are written late: for a while clients go on making entries by the old ones. All of
    /// them are gone in the end, and the looks become rare.
    #[test]
    fn late_rules_are_waited_for(late in 1_u32..600, profile in prop_oneof![
        Just(Profile::Strict), Just(Profile::KubeProxy)
    ]) {
        let scope = Scope { profile, ..Scope::default() };
        let run = |memory: &mut Memory, table: &mut BTreeSet<String>, desired, now| {
            run_in(&scope, memory, table, &desired, true, now)
        };
        let mut memory = Memory::new(Schedule::new(DELAY, 0.0));
        let start = Instant::now();
        let mut table = BTreeSet::new();
        run(&mut memory, &mut table, state(&Serving::from([1, 2]), None), start);
        let lost = state(&Serving::from([2]), None);
        let rules_are_written = start + late * Duration::from_millis(100);
        let (mut now, mut runs) = (start, 0);
        loop {
            if now < rules_are_written {
                table.insert(address(1));
            }
            run(&mut memory, &mut table, lost.clone(), now);
            runs += 1;
            match memory.due() {
                Some(due) => now = now.max(due),
                None => break,
            }
            prop_assert!(runs < 15, "{} looks in {:?}", runs, now - start);
        }
        prop_assert!(!table.contains(&address(1)), "written after {} s", f64::from(late) / 10.0);
    }

    /// Whatever state an observer is left with, and whether or not somebody keeps making stale
    /// entries: the runs of an hour are few, and the passes are fewer.
    #[test]
    fn the_passes_of_an_hour_are_bounded(
        observes in any::<bool>(), comes_back in any::<bool>(), fetched_anew in any::<bool>(),
        resync in prop::option::of(60_u64..3600),
    ) {
        let mut memory = Memory::new(Schedule::new(DELAY, 0.0));
        memory.schedule.resync = resync.map(Duration::from_secs);
        if observes {
            memory.evidence.authority = Authority::Observer;
        }
        let start = Instant::now();
        let mut table = BTreeSet::from([address(1), address(9)]);
        let old = state(&Serving::from([1]), Some(start));
        let (mut now, mut runs, mut passes) = (start + DELAY, 0, 0);
        while now < start + Duration::from_secs(3600) {
            if comes_back {
                table.insert(address(9));
            }
            let desired = match fetched_anew {
                true => state(&Serving::from([1]), Some(now)),
                false => old.clone(),
            };
            let ran = run(&mut memory, &mut table, &desired, true, now);
            prop_assert!(!ran.deleted.contains(&address(1)));
            runs += 1;
            passes += u32::from(ran.looked);
            match memory.due() {
                Some(due) => now = now.max(due) + Duration::from_millis(1),
                None => break,
            }
        }
        prop_assert!(runs < 300, "{runs} runs");
        // Once the delays have grown: a re-check a minute, a look with a newer state a minute, and a
        // re-check after each resync.
        let (growing, resyncs) = (12, resync.map_or(0, |every| 3600 / every));
        prop_assert!(u64::from(passes) <= 2 * (60 + resyncs) + growing, "{passes} passes");
    }
}
