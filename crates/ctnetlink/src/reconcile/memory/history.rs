//! What earlier desired states left to clean up.

use std::collections::{BTreeSet, HashSet};

use crate::model::tuple::Family;
use crate::reconcile::desired::{DesiredState, Frontend, ServicePort};
use crate::reconcile::rules::{Rules, Spared};
use crate::reconcile::scope::{Profile, Scope};

/// The reconciler's memory of frontends between runs: pure state, no I/O.
///
/// The two profiles remember differently. `strict` goes by frontend: one that no live service owns
/// stays on the list until a run in which nothing failed. `kube-proxy` goes by service port name,
/// and only compares with the state before: what a failed run missed is forgotten.
///
/// ```
/// use ctnetlink::{DesiredState, History, Rules, Scope};
/// # use std::net::IpAddr;
/// # let vip: IpAddr = "10.96.0.10".parse()?;
/// let before = DesiredState::builder().udp(vip, 53).no_backends().build()?;
/// let now = DesiredState::default();
/// // The frontend that has vanished is what these rules are about.
/// let rules = Rules::new(&now, &History::after(before), &Scope::default());
/// assert_eq!(rules.frontends(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct History {
    previous: Option<DesiredState>,
    /// `strict`: frontends of other states than that one which are not known to be clean.
    known: BTreeSet<Known>,
    /// What was removed in the pass before a re-check that is still to come.
    awaited: BTreeSet<Frontend>,
}

/// A frontend that some state had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Known {
    frontend: Frontend,
    /// It was a node port at a node address.
    at_node: bool,
}

fn known(state: &DesiredState) -> impl Iterator<Item = Known> {
    state.services().iter().flat_map(|service| {
        let own = service.frontends().map(|frontend| Known { frontend, at_node: false });
        let at_node = state.node_frontends(service);
        own.chain(at_node.map(|frontend| Known { frontend, at_node: true }))
    })
}

impl History {
    /// As if a run with this desired state had just succeeded.
    pub fn after(previous: DesiredState) -> Self {
        History { previous: Some(previous), ..History::default() }
    }

    /// Takes note of a run: what it was about, and whether nothing failed in it.
    ///
    /// Not called for a dry run, which cleans nothing.
    pub fn record(&mut self, desired: &DesiredState, succeeded: bool) {
        self.known = if succeeded { BTreeSet::new() } else { self.not_owned(desired) };
        self.previous = Some(desired.clone());
    }

    /// Takes note of a state that no run was made for: what the last run was about stays, and
    /// `strict` remembers the frontends of both.
    pub(crate) fn postpone(&mut self, desired: &DesiredState) {
        self.known.extend(known(desired));
    }

    /// What a re-check has to judge as removed, besides what the states say.
    pub(crate) fn await_recheck(&mut self, removed: BTreeSet<Frontend>) {
        self.awaited = removed;
    }

    /// What is to be judged as removed besides what has [vanished](Self::vanished).
    pub(crate) fn awaited(&self) -> &BTreeSet<Frontend> {
        &self.awaited
    }

    /// Frontends that the change of the state has removed.
    pub(crate) fn vanished(&self, desired: &DesiredState, profile: Profile) -> BTreeSet<Frontend> {
        match profile {
            Profile::Strict => self.frontends_removed(desired),
            Profile::KubeProxy => self.frontends_of_vanished_keys(desired),
        }
    }

    /// What earlier states had and this one has not.
    fn not_owned(&self, desired: &DesiredState) -> BTreeSet<Known> {
        let previous = self.previous.iter().flat_map(known);
        let mut all: BTreeSet<_> = self.known.iter().copied().chain(previous).collect();
        if !all.is_empty() {
            let live: HashSet<_> = desired.frontends().collect();
            all.retain(|known| !live.contains(&known.frontend));
        }
        all
    }

    /// `strict`: frontends of earlier states that no live service owns. A node port is owned by its
    /// service at whatever address: one that is not the node's any more, or not known to be, is not
    /// judged.
    fn frontends_removed(&self, desired: &DesiredState) -> BTreeSet<Frontend> {
        let all = self.not_owned(desired);
        let mut node_ports = HashSet::new();
        if all.iter().any(|known| known.at_node) {
            for service in desired.services() {
                for family in Family::ALL.into_iter().filter(|family| service.exists_in(*family)) {
                    let port = service.node_port;
                    node_ports.extend(port.map(|port| (family, service.key.protocol, port)));
                }
            }
        }
        let is_owned = |Known { frontend, at_node }: &Known| {
            *at_node && node_ports.contains(&(frontend.family(), frontend.protocol, frontend.port))
        };
        all.into_iter().filter(|known| !is_owned(known)).map(|known| known.frontend).collect()
    }

    /// `kube-proxy`: frontends (node ports excepted) of service ports that were in the state before
    /// and are not in this one. It runs one proxier per family, so a service that drops a family
    /// vanishes in that family.
    fn frontends_of_vanished_keys(&self, desired: &DesiredState) -> BTreeSet<Frontend> {
        let Some(previous) = &self.previous else { return BTreeSet::new() };
        let mut vanished = BTreeSet::new();
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

impl Rules {
    /// Compiles the rules for a desired state, given what earlier ones left to clean up.
    ///
    /// ```
    /// use ctnetlink::{DesiredState, History, Rules, Scope};
    /// # use std::net::{IpAddr, SocketAddr};
    /// # let (vip, a): (IpAddr, SocketAddr) = ("10.96.0.10".parse()?, "10.244.1.5:53".parse()?);
    /// let before = DesiredState::builder().udp(vip, 53).backends([a]).build()?;
    /// let now = DesiredState::default(); // the service is deleted
    /// let rules = Rules::new(&now, &History::after(before), &Scope::default());
    /// assert_eq!(rules.frontends(), 1); // its frontend is to be cleaned
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new(desired: &DesiredState, history: &History, scope: &Scope) -> Rules {
        let vanished = history.vanished(desired, scope.profile);
        let removed = vanished.iter().chain(history.awaited());
        Rules::compile(desired, removed, scope, &Spared::default())
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
        history.vanished(desired, Profile::Strict).iter().map(|f| f.address.to_string()).collect()
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
        assert_eq!(history.vanished(&none, Profile::KubeProxy).len(), 1, "of the last run");
        history.record(&none, true);
        assert!(removed(&history, &none).is_empty());
    }

    #[test]
    fn kube_proxy_remembers_keys_of_the_last_state_only() {
        let mut history = History::after(state(&["10.0.0.1", "10.0.0.2"]));
        let one = state(&["10.0.0.1"]);
        let vanished = history.vanished(&one, Profile::KubeProxy);
        assert_eq!(vanished.len(), 1);
        assert_eq!(vanished.first().unwrap().address.to_string(), "10.0.0.2");
        history.record(&one, false);
        assert!(history.vanished(&one, Profile::KubeProxy).is_empty());
        assert!(History::default().vanished(&one, Profile::KubeProxy).is_empty());
    }

    #[test]
    fn a_node_port_without_a_known_address_is_not_removed() {
        use crate::model::protocol::Protocol;
        use crate::reconcile::desired::ServiceKey;
        let with = |addresses: &[&str], node_port| {
            let (namespace, name, port_name) = ("ns".into(), "dns".into(), String::new());
            let key = ServiceKey { namespace, name, port_name, protocol: Protocol::UDP };
            let mut service = ServicePort::new(key, 53);
            service.cluster_ips.push("10.0.0.1".parse().unwrap());
            service.node_port = node_port;
            let addresses = addresses.iter().map(|address| address.parse::<IpAddr>().unwrap());
            DesiredState::builder().node_addresses(addresses).service(service).build().unwrap()
        };
        let history = History::after(with(&["192.0.2.1"], Some(30053)));
        assert!(removed(&history, &with(&[], Some(30053))).is_empty(), "no address is known");
        assert!(removed(&history, &with(&["192.0.2.2"], Some(30053))).is_empty(), "it has moved");
        assert_eq!(removed(&history, &with(&[], Some(30054))), ["192.0.2.1"]);
        assert_eq!(removed(&history, &state(&["10.0.0.1"])), ["192.0.2.1"]);
    }

    #[test]
    fn what_a_recheck_waits_for_is_judged_until_it_is_told_otherwise() {
        let mut history = History::after(state(&["10.0.0.1"]));
        let none = state(&[]);
        for profile in [Profile::Strict, Profile::KubeProxy] {
            let vanished = history.vanished(&none, profile);
            history.record(&none, true);
            history.await_recheck(vanished.clone());
            assert!(history.vanished(&none, profile).is_empty());
            assert_eq!(*history.awaited(), vanished);
            let scope = Scope { profile, ..Scope::default() };
            let judged = |history: &History| Rules::new(&none, history, &scope).frontends();
            assert_eq!((judged(&history), vanished.len()), (1, 1));
            history.await_recheck(BTreeSet::new());
            assert_eq!(judged(&history), 0);
            history.record(&state(&["10.0.0.1"]), true);
        }
    }
}
