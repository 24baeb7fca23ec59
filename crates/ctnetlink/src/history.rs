//! What earlier desired states left to clean up.

use std::collections::{BTreeSet, HashSet};

use crate::desired::{DesiredState, Frontend, ServicePort};
use crate::tuple::Family;

/// The reconciler's memory between runs: pure state, no I/O.
///
/// The two profiles remember differently. `strict` goes by frontend: one that no live service owns
/// stays on the list until a run in which nothing failed. `kube-proxy` goes by service port name,
/// and only compares with the state before: what a failed run missed is forgotten.
#[derive(Debug, Clone, Default)]
pub struct History {
    previous: Option<DesiredState>,
    /// Frontends of states before that one which are not known to be clean; of those that are live
    /// again nothing is to be cleaned.
    removed: BTreeSet<Frontend>,
}

impl History {
    /// As if a run with this desired state had just succeeded.
    pub fn after(previous: DesiredState) -> Self {
        History { previous: Some(previous), removed: BTreeSet::new() }
    }

    /// Takes note of a run: what it was about, and whether nothing failed in it.
    ///
    /// Not called for a dry run, which cleans nothing.
    pub fn record(&mut self, desired: &DesiredState, succeeded: bool) {
        self.removed = if succeeded { BTreeSet::new() } else { self.removed_frontends(desired) };
        self.previous = Some(desired.clone());
    }

    /// Takes note of a state whose run has left something to do (it was postponed, or its re-check
    /// is still to come): what the last run was about stays, and `strict` remembers the frontends of
    /// both.
    pub(crate) fn postpone(&mut self, desired: &DesiredState) {
        self.removed.extend(desired.frontends());
    }

    /// `strict`: frontends of earlier states that no live service owns.
    pub(crate) fn removed_frontends(&self, desired: &DesiredState) -> BTreeSet<Frontend> {
        let previous = self.previous.iter().flat_map(DesiredState::frontends);
        let mut removed: BTreeSet<_> = self.removed.iter().copied().chain(previous).collect();
        if !removed.is_empty() {
            for frontend in desired.frontends() {
                removed.remove(&frontend);
            }
        }
        removed
    }

    /// `kube-proxy`: frontends (node ports excepted) of service ports that were in the state before
    /// and are not in this one. It runs one proxier per family, so a service that drops a family
    /// vanishes in that family.
    pub(crate) fn frontends_of_vanished_keys(&self, desired: &DesiredState) -> Vec<Frontend> {
        let Some(previous) = &self.previous else { return Vec::new() };
        let mut vanished = Vec::new();
        for family in Family::ALL {
            let exists = |service: &&ServicePort| service.exists_in(family);
            let live = desired.services().iter().filter(exists);
            let live: HashSet<_> = live.map(|service| &service.key).collect();
            let gone = previous.services().iter().filter(exists).filter(|s| !live.contains(&s.key));
            for service in gone {
                vanished.extend(service.frontends().filter(|f| f.family() == family));
            }
        }
        vanished
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;

    fn state(addresses: &[&str]) -> DesiredState {
        let mut builder = DesiredState::builder();
        for address in addresses {
            builder = builder.udp(address.parse::<IpAddr>().unwrap(), 53).no_backends();
        }
        builder.build().unwrap()
    }

    fn removed(history: &History, desired: &DesiredState) -> Vec<String> {
        history.removed_frontends(desired).iter().map(|f| f.address.to_string()).collect()
    }

    #[test]
    fn a_vanished_frontend_is_remembered_until_a_run_succeeded() {
        let mut history = History::default();
        let both = state(&["10.0.0.1", "10.0.0.2"]);
        assert!(removed(&history, &both).is_empty());
        history.record(&both, true);

        let one = state(&["10.0.0.1"]);
        assert_eq!(removed(&history, &one), ["10.0.0.2"]);
        history.record(&one, false);
        assert_eq!(removed(&history, &one), ["10.0.0.2"], "the run failed");

        let none = state(&[]);
        assert_eq!(removed(&history, &none), ["10.0.0.1", "10.0.0.2"]);
        history.record(&none, false);
        assert_eq!(removed(&history, &both), [""; 0], "both are back");
        history.record(&none, true);
        assert_eq!(removed(&history, &none), [""; 0], "cleaned");
    }

    #[test]
    fn a_state_that_was_passed_over_is_remembered_by_both() {
        let mut history = History::after(state(&["10.0.0.1"]));
        history.postpone(&state(&["10.0.0.1", "10.0.0.2"]));
        assert!(removed(&history, &state(&["10.0.0.1", "10.0.0.2"])).is_empty());
        let none = state(&[]);
        assert_eq!(removed(&history, &none), ["10.0.0.1", "10.0.0.2"]);
        history.postpone(&none);
        assert_eq!(history.frontends_of_vanished_keys(&none).len(), 1, "of the last run");
        history.record(&none, true);
        assert!(removed(&history, &none).is_empty());
    }

    #[test]
    fn kube_proxy_remembers_keys_of_the_last_state_only() {
        let mut history = History::after(state(&["10.0.0.1", "10.0.0.2"]));
        let one = state(&["10.0.0.1"]);
        let vanished = history.frontends_of_vanished_keys(&one);
        assert_eq!(vanished.len(), 1);
        assert_eq!(vanished[0].address.to_string(), "10.0.0.2");
        history.record(&one, false);
        assert!(history.frontends_of_vanished_keys(&one).is_empty());
        assert!(History::default().frontends_of_vanished_keys(&one).is_empty());
    }
}
