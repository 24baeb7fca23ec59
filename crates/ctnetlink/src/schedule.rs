//! When a reconciler looks at what: a pure state machine, (state, rules, outcome) -> work.
//!
//! The cost of a run follows the change: where nothing can have become stale, nothing is sent.

use std::time::{Duration, Instant};

use crate::verdict::{Change, Rules};

/// What a reconciler remembers of earlier runs, besides the history of frontends.
#[derive(Debug, Default)]
pub(crate) struct Schedule {
    /// The rules that were carried out last, if all of it succeeded; without them everything has to
    /// be looked at.
    carried_out: Option<Rules>,
    /// What a pass has deleted at is to be looked at once more, not before this moment: an entry
    /// whose first packet was in flight is in no dump until a moment later.
    recheck: Option<(Instant, Change)>,
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
}

impl Work {
    /// All of it, whatever was before.
    pub(crate) fn everything() -> Work {
        Work { at: Change::Everything, rechecks: false, fresh: true }
    }
}

impl Schedule {
    /// The next run looks at everything.
    pub(crate) fn forget(&mut self) {
        *self = Schedule::default();
    }

    /// When a re-check is due, if one is.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.recheck.as_ref().map(|(due, _)| *due)
    }

    /// What to do for these rules at this moment.
    pub(crate) fn work(&self, rules: &Rules, now: Instant) -> Work {
        let at = match &self.carried_out {
            Some(before) => rules.change_since(before),
            None => Change::Everything,
        };
        let fresh = !at.is_nothing();
        match &self.recheck {
            Some((due, found)) if *due <= now => {
                Work { at: at.or(found.clone()), rechecks: true, fresh }
            }
            _ => Work { at, rechecks: false, fresh },
        }
    }

    /// Takes note of a run: whether nothing failed in it, and where it deleted.
    pub(crate) fn done(
        &mut self,
        rules: Rules,
        work: &Work,
        succeeded: bool,
        deleted: Change,
        now: Instant,
        delay: Option<Duration>,
    ) {
        self.carried_out = succeeded.then_some(rules);
        if work.rechecks {
            self.recheck = None;
        }
        // A re-check alone is not followed by another: what it found had been in flight.
        let found = !deleted.is_nothing() && work.fresh;
        if let (true, Some(delay)) = (found, delay) {
            let before = self.recheck.take().map(|(_, at)| at);
            let at = before.into_iter().fold(deleted, Change::or);
            self.recheck = Some((now + delay, at));
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
            Machine { schedule: Schedule::default(), now: Instant::now() }
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
            self.schedule.done(rules, &work, succeeded, deleted, self.now, Some(DELAY));
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
        assert_eq!(machine.schedule.due(), Some(machine.now + DELAY));
        assert_eq!(machine.run(&[A], true, false), None, "too early, and still pending");
        machine.now += DELAY;
        assert_eq!(machine.run(&[A], true, true), narrow, "the next run is the re-check");
        assert_eq!(machine.schedule.due(), None, "which is not re-checked");
        assert_eq!(machine.run(&[A], true, false), None);
    }

    #[test]
    fn a_pass_that_is_due_anyway_serves_as_the_recheck() {
        let mut machine = Machine::new();
        machine.run(&[A, B], true, true);
        machine.now += DELAY;
        assert_eq!(machine.run(&[B], true, false).as_deref(), NARROW);
        assert_eq!(machine.schedule.due(), None);
        // And what it deleted for reasons of its own is looked at again.
        machine.run(&[A], true, true);
        machine.now += DELAY;
        assert_eq!(machine.run(&[B], true, true).as_deref(), NARROW);
        assert_eq!(machine.schedule.due(), Some(machine.now + DELAY));
    }
}
