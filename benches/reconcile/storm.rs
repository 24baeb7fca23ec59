//! The storm: an endpoint of one UDP service leaves, comes back, and so on.

use std::time::{Duration, Instant};

use ctnetlink_testbed::fill::Entry;
use ctnetlink_testbed::kube::KubeTable;

use crate::contender::{Contender, Cost};
use crate::state::State;
use crate::{count, restore};

/// What came of one.
pub(crate) struct Outcome {
    pub(crate) cost: Cost,
    /// Runs made, and how many of them sent nothing.
    pub(crate) runs: u32,
    pub(crate) silent: u32,
    /// Seconds from the last change to the end.
    pub(crate) behind: f64,
}

/// Has one contender follow the changes, which come so far apart; 0 is back to back, one run for each.
/// Whoever can goes on with the newest state, and passes over those that came while it was busy. No
/// client comes back to the endpoint meanwhile.
pub(crate) fn storm(
    contender: &mut Contender,
    table: &KubeTable,
    changes: u32,
    apart: Duration,
) -> Outcome {
    let states = [State::endpoint_left(table), State::endpoint_back(table)];
    let state = |change: u32| &states[change as usize % 2];
    // Whoever remembers has to have seen the table once; what is stale from before is gone then.
    contender.rest();
    contender.clean(&State::of(table));
    let mut outcome = Outcome { cost: Cost::default(), runs: 0, silent: 0, behind: 0.0 };
    let mut run = |contender: &mut Contender, change: u32| {
        let run = contender.clean(state(change));
        outcome.cost.add(run.cost);
        outcome.runs += 1;
        outcome.silent += u32::from(run.silent);
        run.due.map(|seconds| Instant::now() + Duration::from_secs_f64(seconds))
    };
    let wait_until = |moment: Instant| {
        std::thread::sleep(moment.saturating_duration_since(Instant::now()));
    };
    let started = Instant::now();
    let mut change = 0;
    loop {
        let mut due = run(contender, change);
        let next = started + apart * (change + 1);
        let is_last = change + 1 == changes;
        // What it has left to do is part of the work, and done before the next change comes.
        while let Some(moment) = due.filter(|due| is_last || *due < next) {
            wait_until(moment);
            due = run(contender, change);
        }
        if is_last {
            break;
        }
        wait_until(next);
        let arrived = (0..changes).rev().find(|at| started + apart * *at <= Instant::now());
        change = match contender.is_level_triggered() && !apart.is_zero() {
            true => arrived.unwrap_or(change + 1),
            false => change + 1,
        };
    }
    outcome.behind = started.elapsed().saturating_sub(apart * change).as_secs_f64();
    // Gone is what was stale, and what led to the endpoint.
    let led_there = |entry: &Entry, _| states[0].dead.contains(&(entry.frontend, entry.backend));
    let (audit, away) = (restore(table), count(table, led_there));
    assert!(audit.healthy_lost <= away, "{}: {audit:?}, {away}", contender.name);
    assert_eq!(audit.stale_left, 0, "{}: {audit:?}", contender.name);
    outcome
}
