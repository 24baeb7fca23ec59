//! When a reconciler looks at what: a pure state machine, (state, rules, outcome) -> work.
//!
//! The cost of a run follows the change: where nothing can have become stale, nothing is sent.

use std::time::{Duration, Instant};

use crate::verdict::{Change, Rules};

/// What a reconciler remembers of earlier runs, besides the history of frontends.
#[derive(Debug, Default)]
pub(crate) struct Schedule {
    /// How long after a pass that deleted something its re-check is due; `None` for no re-check.
    pub(crate) recheck_delay: Option<Duration>,
    /// From the end of one pass to the start of the next, re-check included.
    pub(crate) min_interval: Duration,
    /// The rules that were carried out last, if all of it succeeded; without them everything has to
    /// be looked at.
    carried_out: Option<Rules>,
    /// What a pass has deleted at is to be looked at once more, not before this moment: an entry
    /// whose first packet was in flight is in no dump until a moment later.
    recheck: Option<(Instant, Change)>,
    /// When the minimum interval is over.
    not_before: Option<Instant>,
    /// There was something to do, and that was too early.
    postponed: bool,
}

/// What a run has to do.
#[derive(Debug, Clone)]
pub(crate) struct Work {
    /// Where to look.
    pub(crate) at: Change,
    /// The re-check of an earlier run is part of it.
    pub(crate) rechecks: bool,
    /// And more than that: what it deletes is to be looked at once more.
    pub(crate) fresh: bool,
    /// There is something to do, but not yet: `at` is nowhere.
    pub(crate) postponed: bool,
}

impl Work {
    /// All of it, whatever was before.
    pub(crate) fn everything() -> Work {
        Work { at: Change::Everything, rechecks: false, fresh: true, postponed: false }
    }
}

impl Schedule {
    pub(crate) fn new(recheck_delay: Duration) -> Schedule {
        Schedule { recheck_delay: Some(recheck_delay), ..Schedule::default() }
    }

    /// The next run looks at everything.
    pub(crate) fn forget(&mut self) {
        self.carried_out = None;
        self.recheck = None;
    }

    /// When there will be something to do without a change of the desired state. `other` is what
    /// else waits for a moment.
    pub(crate) fn due(&self, other: Option<Instant>) -> Option<Instant> {
        let recheck = self.recheck.as_ref().map(|(due, _)| *due);
        let postponed = self.not_before.filter(|_| self.postponed);
        let due = recheck.into_iter().chain(other).chain(postponed).min()?;
        Some(self.not_before.map_or(due, |not_before| due.max(not_before)))
    }

    /// What to do for these rules at this moment.
    pub(crate) fn work(&self, rules: &Rules, now: Instant) -> Work {
        let at = match &self.carried_out {
            Some(before) => rules.change_since(before),
            None => Change::Everything,
        };
        let fresh = !at.is_nothing();
        let (at, rechecks) = match &self.recheck {
            Some((due, found)) if *due <= now => (at.or(found.clone()), true),
            _ => (at, false),
        };
        if !at.is_nothing() && self.not_before.is_some_and(|not_before| now < not_before) {
            return Work { at: Change::nothing(), rechecks: false, fresh: false, postponed: true };
        }
        Work { at, rechecks, fresh, postponed: false }
    }

    /// Takes note of a run: whether nothing failed in it, and where it deleted.
    pub(crate) fn done(
        &mut self,
        rules: Rules,
        work: &Work,
        succeeded: bool,
        deleted: Change,
        now: Instant,
    ) {
        self.postponed = work.postponed;
        if work.postponed {
            // The rules carried out last stay: what has changed since then is one change.
            return;
        }
        if !work.at.is_nothing() {
            self.not_before = now.checked_add(self.min_interval);
        }
        self.carried_out = succeeded.then_some(rules);
        if work.rechecks {
            self.recheck = None;
        }
        // A re-check alone is not followed by another: what it found had been in flight.
        let found = !deleted.is_nothing() && work.fresh;
        if let (true, Some(due)) = (found, self.recheck_delay.and_then(|d| now.checked_add(d))) {
            let before = self.recheck.take().map(|(_, at)| at);
            let at = before.into_iter().fold(deleted, Change::or);
            self.recheck = Some((due, at));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desired::DesiredState;
    use crate::history::History;
    use crate::tuple::Family;
    use crate::verdict::{Cover, Scope};

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

    fn filter(rules: &Rules, work: &Work) -> Option<String> {
        match &work.at {
            Change::Everything => Some("everything".into()),
            Change::Frontends([v4, _]) => {
                rules.cover_filter(Family::Ipv4, v4).map(|filter| filter.to_string())
            }
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
            let looked = filter(&rules, &work);
            let mut cover = Cover::default();
            let flow = crate::sample::Sample::udp("10.96.0.10:53", "10.244.9.9:53").flow();
            if found {
                cover.add(&flow);
            }
            let deleted = Change::Frontends([cover, Cover::default()]);
            self.schedule.done(rules, &work, succeeded, deleted, self.now);
            looked
        }
    }

    const A: &str = "10.244.1.1:53";
    const B: &str = "10.244.1.2:53";
    const NARROW: Option<&str> = Some("ip and udp and orig dst 10.96.0.10 and orig dst port 53");

    #[test]
    fn the_cost_follows_the_change() {
        let mut machine = Machine::new();
        let everything = Some("everything".to_owned());
        let narrow = NARROW.map(str::to_owned);
        assert_eq!(machine.run(&[A, B], true, false), everything, "at the start");
        assert_eq!(machine.run(&[A, B], true, false), None, "nothing changed");
        assert_eq!(machine.run(&[A], true, false), narrow, "a backend was lost");
        assert_eq!(machine.run(&[A, B], true, false), None, "one came, none was lost");
        assert_eq!(machine.run(&[], true, false), narrow, "all were lost");
        assert_eq!(machine.run(&[], true, false), None);
        assert_eq!(machine.run(&[A], true, false), narrow, "none to some");
        assert_eq!(machine.run(&[A], false, false), None, "a failure is known only afterwards");
        assert_eq!(machine.run(&[A], true, false), everything, "after a failure");
        machine.schedule.forget();
        assert_eq!(machine.run(&[A], true, false), everything, "on request");
    }

    #[test]
    fn one_recheck_not_before_its_time_and_none_after_it() {
        let mut machine = Machine::new();
        let narrow = NARROW.map(str::to_owned);
        machine.run(&[A, B], true, false);
        assert_eq!(machine.run(&[A], true, true), narrow);
        assert_eq!(machine.schedule.due(None), Some(machine.now + DELAY));
        assert_eq!(machine.run(&[A], true, false), None, "too early, and still pending");
        machine.now += DELAY;
        assert_eq!(machine.run(&[A], true, true), narrow, "the next run is the re-check");
        assert_eq!(machine.schedule.due(None), None, "which is not re-checked");
        assert_eq!(machine.run(&[A], true, false), None);
    }

    #[test]
    fn what_comes_faster_than_the_interval_is_one_change() {
        let mut machine = Machine::new();
        machine.schedule.min_interval = 10 * DELAY;
        let narrow = NARROW.map(str::to_owned);
        machine.run(&[A, B], true, true);
        let over = machine.now + 10 * DELAY;
        assert_eq!(machine.schedule.due(None), Some(over), "the re-check waits as well");
        assert_eq!(machine.schedule.due(Some(over + DELAY)), Some(over));
        machine.now += 2 * DELAY;
        assert_eq!(machine.run(&[A], true, false), None, "a change and the re-check, too early");
        assert_eq!(machine.run(&[A, B], true, false), None, "and back: the re-check is left");
        assert_eq!(machine.run(&[A], true, false), None);
        assert_eq!(machine.schedule.due(None), Some(over));
        machine.now = over;
        assert_eq!(machine.run(&[A], true, false), narrow, "one pass for all of it");
        assert_eq!(machine.schedule.due(None), None);
        // A run that sends nothing does not begin a new interval.
        machine.now += 10 * DELAY;
        assert_eq!(machine.run(&[A, B], true, false), None);
        assert_eq!(machine.run(&[B], false, false), narrow);
        assert_eq!(machine.run(&[B], true, false), None, "neither does a failure end it");
        assert_eq!(machine.schedule.due(None), Some(machine.now + 10 * DELAY));
        machine.now += 10 * DELAY;
        assert_eq!(machine.run(&[B], true, false), Some("everything".to_owned()));
    }

    #[test]
    fn without_an_interval_nothing_waits() {
        let mut machine = Machine::new();
        machine.run(&[A, B], true, false);
        assert_eq!(machine.schedule.due(None), None);
        assert_eq!(machine.schedule.due(Some(machine.now)), Some(machine.now));
        assert_eq!(machine.run(&[A], true, false).as_deref(), NARROW);
    }

    #[test]
    fn a_pass_that_is_due_anyway_serves_as_the_recheck() {
        let mut machine = Machine::new();
        machine.run(&[A, B], true, true);
        machine.now += DELAY;
        assert_eq!(machine.run(&[B], true, false).as_deref(), NARROW);
        assert_eq!(machine.schedule.due(None), None);
        // And what it deleted for reasons of its own is looked at again.
        machine.run(&[A], true, true);
        machine.now += DELAY;
        assert_eq!(machine.run(&[B], true, true).as_deref(), NARROW);
        assert_eq!(machine.schedule.due(None), Some(machine.now + DELAY));
    }
}
