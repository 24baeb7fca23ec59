//! Entries that come back after they were deleted: who makes them, and when to stop. Pure, of bounded
//! size.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use crate::reconcile::desired::service::Frontend;
use crate::reconcile::rules::change::Affected;
use crate::reconcile::rules::cover::Cover;
use crate::reconcile::rules::{Reason, Rules};

/// Frontends that are remembered.
const MOST: usize = 256;
/// Looks in a row that found untranslated entries at an address of the node and deleted them, before
/// they are left alone. The looks double their distance, so that these take more than a minute: long
/// enough for rules that are late.
const PATIENCE: u32 = 10;

/// Entries toward a frontend that come back after they were deleted, in a [`Report`](crate::Report):
/// somebody else translates the frontend, or its rules are late.
///
/// ```no_run
/// # fn f(report: ctnetlink::Report) {
/// for back in &report.comes_back {
///     println!("{} -> {} was deleted in {} looks in a row", back.frontend, back.backend, back.looks);
/// }
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ComesBack {
    /// What the clients dial.
    pub frontend: Frontend,
    /// Where the entries lead: who has made them knows this address. The frontend itself where
    /// nothing translates.
    pub backend: SocketAddr,
    /// In how many looks in a row such entries were deleted.
    pub looks: u32,
    /// They are left alone from now on, until the frontend changes: nothing translates there.
    pub given_up: bool,
}

/// What was deleted at a frontend in one look.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Removed {
    pub(crate) frontend: Frontend,
    pub(crate) backend: SocketAddr,
    pub(crate) reason: Reason,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Comebacks {
    looks: BTreeMap<Frontend, (u32, SocketAddr)>,
    given_up: BTreeMap<Frontend, SocketAddr>,
}

impl Comebacks {
    /// Takes note of a look: where it looked, and the groups of entries it deleted. `can_give_up`
    /// is [`Rules::can_give_up`]. `all`: these are all groups, none was too many.
    pub(crate) fn looked(
        &mut self,
        at: &Affected,
        removed: &[Removed],
        all: bool,
        can_give_up: impl Fn(&Frontend) -> bool,
    ) {
        let again: BTreeSet<_> = removed.iter().map(|removed| removed.frontend).collect();
        self.looks.retain(|frontend, _| again.contains(frontend) || !all || !at.covers(frontend));
        for frontend in again {
            let groups = || removed.iter().filter(|removed| removed.frontend == frontend);
            let Some(first) = groups().next() else { continue };
            if self.looks.len() >= MOST && !self.looks.contains_key(&frontend) {
                continue;
            }
            let (looks, backend) = self.looks.entry(frontend).or_insert((0, first.backend));
            *looks += 1;
            *backend = first.backend;
            let untranslated = groups().all(|removed| removed.reason == Reason::NotTranslated);
            let again_and_again = *looks >= PATIENCE && untranslated && can_give_up(&frontend);
            if again_and_again && self.given_up.len() < MOST {
                self.given_up.insert(frontend, first.backend);
                self.looks.remove(&frontend);
            }
        }
    }

    /// Where nothing translates.
    pub(crate) fn given_up(&self) -> BTreeSet<Frontend> {
        self.given_up.keys().copied().collect()
    }

    /// Tries again where a frontend has changed, and says where that is.
    pub(crate) fn forget_changed(&mut self, now: &Rules, before: Option<&Rules>) -> Affected {
        let mut covers = [Cover::default(), Cover::default()];
        self.given_up.retain(|frontend, _| {
            let same = before.is_none_or(|before| now.is_same_at(before, frontend));
            if !same {
                covers[frontend.family() as usize].extend(frontend);
            }
            same
        });
        Affected::Frontends(covers)
    }

    /// What a report says of it: what was deleted at least twice in a row.
    pub(crate) fn report(&self) -> Vec<ComesBack> {
        let again = self.looks.iter().filter(|(_, (looks, _))| *looks > 1);
        let again = again.map(|(frontend, (looks, backend))| ComesBack {
            frontend: *frontend,
            backend: *backend,
            looks: *looks,
            given_up: false,
        });
        let left = self.given_up.iter().map(|(frontend, backend)| ComesBack {
            frontend: *frontend,
            backend: *backend,
            looks: PATIENCE,
            given_up: true,
        });
        again.chain(left).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::protocol::Protocol;

    fn removed(reason: Reason) -> Removed {
        let frontend = Frontend::new("192.0.2.5".parse().unwrap(), 53, Protocol::UDP);
        Removed { frontend, backend: "192.0.2.5:53".parse().unwrap(), reason }
    }

    #[test]
    fn what_nothing_translates_is_left_alone_in_the_end() {
        let mut memory = Comebacks::default();
        let everything = Affected::Everything;
        for look in 1..=PATIENCE {
            assert!(memory.given_up().is_empty(), "{look}");
            memory.looked(&everything, &[removed(Reason::NotTranslated)], true, |_| true);
            let report = memory.report();
            assert_eq!(report.is_empty(), look == 1, "{look}");
        }
        assert_eq!(memory.given_up().len(), 1);
        assert!(memory.report()[0].given_up);
    }

    #[test]
    fn a_look_that_finds_nothing_ends_it_and_other_entries_are_never_given_up() {
        let mut memory = Comebacks::default();
        for _ in 0..3 {
            memory.looked(&Affected::Everything, &[removed(Reason::NotTranslated)], true, |_| true);
        }
        memory.looked(&Affected::nothing(), &[], true, |_| true);
        assert_eq!(memory.report()[0].looks, 3, "it did not look there");
        memory.looked(&Affected::Everything, &[], true, |_| true);
        assert!(memory.report().is_empty());
        for _ in 0..2 * PATIENCE {
            memory.looked(&Affected::Everything, &[removed(Reason::BackendGone)], true, |_| true);
        }
        assert!(memory.given_up().is_empty());
        for _ in 0..2 * PATIENCE {
            memory
                .looked(&Affected::Everything, &[removed(Reason::NotTranslated)], true, |_| false);
        }
        assert!(memory.given_up().is_empty(), "not at an address of the node");
    }
}
