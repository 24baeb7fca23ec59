//! The storm: an endpoint of one UDP service leaves, comes back, and so on.

use std::time::{Duration, Instant};

use ctnetlink_testbed::kube::KubeTable;

use crate::contender::{Contender, Cost};
use crate::state::State;

/// What came of one.
pub(crate) struct Outcome {
    pub(crate) cost: Cost,
    /// Runs made, and how many of them sent nothing.
    pub(crate) runs: u32,
    pub(crate) silent: u32,
    /// Seconds from the last change to the end.
    pub(crate) behind: f64,
}

/// Has one contender follow the changes, which come so far apart; 0 is back to back. Whoever can
/// goes on with the newest state, and passes over those that came while it was busy.
pub(crate) fn storm(
    contender: &mut Contender,
    table: &KubeTable,
    changes: u32,
    apart: Duration,
) -> Outcome {
    let states = [State::endpoint_left(table), State::endpoint_back(table)];
    let state = |change: u32| &states[change as usize % 2];
    // Whoever remembers has to have seen the table once; what is stale from before is gone then.
    contender.clean(&State::of(table));
    let mut outcome = Outcome { cost: Cost::default(), runs: 0, silent: 0, behind: 0.0 };
    let mut run = |contender: &mut Contender, change: u32| {
        let run = contender.clean(state(change));
        outcome.cost.add(run.cost);
        outcome.runs += 1;
        outcome.silent += u32::from(run.silent);
        run.due
    };
    let started = Instant::now();
    let mut change = 0;
    let mut due;
    loop {
        due = run(contender, change);
        if change + 1 == changes {
            break;
        }
        let wait = (apart * (change + 1)).saturating_sub(started.elapsed());
        std::thread::sleep(wait);
        let arrived = (0..changes).rev().find(|at| apart * *at <= started.elapsed()).unwrap_or(0);
        change = match contender.is_level_triggered() && !apart.is_zero() {
            true => arrived,
            false => change + 1,
        };
    }
    let behind = (started.elapsed().as_secs_f64() - (apart * change).as_secs_f64()).max(0.0);
    // What it has left to do is part of the work.
    while let Some(seconds) = due {
        std::thread::sleep(Duration::from_secs_f64(seconds));
        due = run(contender, change);
    }
    outcome.behind = behind;
    table.restore().unwrap();
    outcome
}
