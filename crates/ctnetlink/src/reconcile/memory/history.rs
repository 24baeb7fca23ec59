//! What earlier desired states left to clean up.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use crate::error::{Error, Result};
use crate::model::tuple::Family;
use crate::reconcile::desired::DesiredState;
use crate::reconcile::desired::service::{Frontend, ServiceKey, ServicePort, Unknown};
use crate::reconcile::rules::{Rules, Spared};
use crate::reconcile::scope::{Profile, Scope};

/// The reconciler's memory of frontends between runs: pure state, no I/O.
///
/// The two profiles remember differently. `strict` goes by frontend: one that no live service owns
/// stays on the list until a run in which nothing failed. `kube-proxy` goes by service port name,
/// and only compares with the previous state: what a failed run missed is forgotten.
///
/// ```
/// use ctnetlink::{DesiredState, History, Rules, Scope};
/// # use std::net::IpAddr;
/// # let vip: IpAddr = "10.96.0.10".parse()?;
/// let before = DesiredState::builder().udp(vip, 53).no_backends().build()?;
/// let now = DesiredState::default();
/// // These rules are about the frontend that has vanished.
/// let rules = Rules::new(&now, &History::after(before), &Scope::default());
/// assert_eq!(rules.frontends(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct History {
    previous: Option<DesiredState>,
    /// `strict`: frontends of other states than that one which are not known to be clean, with their
    /// Services.
    known: BTreeMap<Known, BTreeSet<Owner>>,
    /// Frontends that a re-check which is still to come has to judge as removed.
    awaited: BTreeSet<Frontend>,
}

/// A frontend that some state had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Known {
    frontend: Frontend,
    /// It was a node port at a node address.
    at_node: bool,
}

/// Namespace and name of a Service.
type Owner = (String, String);

fn known(state: &DesiredState) -> impl Iterator<Item = (Known, &ServiceKey)> {
    state.services().iter().flat_map(|service| {
        let own = service.frontends().map(|frontend| Known { frontend, at_node: false });
        let at_node = state.node_frontends(service);
        let at_node = at_node.map(|frontend| Known { frontend, at_node: true });
        own.chain(at_node).map(|known| (known, &service.key))
    })
}

fn owner(key: &ServiceKey) -> Owner {
    (key.namespace.clone(), key.name.clone())
}

impl History {
    /// The history after a run with this desired state that succeeded.
    pub fn after(previous: DesiredState) -> Self {
        History { previous: Some(previous), ..History::default() }
    }

    /// Records a run: its desired state, and whether it succeeded.
    ///
    /// Do not record a dry run, because it cleans nothing.
    pub fn record(&mut self, desired: &DesiredState, succeeded: bool) {
        let mut known = self.not_owned(desired);
        if succeeded {
            // What could not be read may turn out to be deleted in a later state.
            let unreadable: HashSet<_> = unknown(desired).filter(|u| u.unreadable).collect();
            let is_unreadable = |(namespace, name): &Owner| {
                unreadable.iter().any(|u| u.namespace == *namespace && u.name == *name)
            };
            known.retain(|_, owners| owners.iter().any(is_unreadable));
        }
        self.known = known;
        self.previous = Some(desired.clone());
    }

    /// Records a state whose run was postponed: the state of the last run stays, and `strict`
    /// remembers the frontends of both.
    pub(crate) fn postpone(&mut self, desired: &DesiredState) {
        for (known, key) in known(desired) {
            self.known.entry(known).or_default().insert(owner(key));
        }
    }

    /// Sets the frontends that a re-check has to judge as removed, besides those that have
    /// vanished.
    pub(crate) fn await_recheck(&mut self, removed: BTreeSet<Frontend>) {
        self.awaited = removed;
    }

    /// The frontends to be judged as removed, besides those that have [vanished](Self::vanished).
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

    /// The state of the last run.
    pub(crate) fn previous(&self) -> Option<&DesiredState> {
        self.previous.as_ref()
    }

    /// A state that has lost every Service of the one before is refused.
    ///
    /// # Errors
    ///
    /// [`Error::HalfState`].
    pub(crate) fn check(&self, desired: &DesiredState) -> Result<()> {
        match &self.previous {
            Some(previous) if desired.lost_all_services_of(previous) => Err(Error::HalfState {
                problem: "it has no Service, but the state before it had some".into(),
            }),
            _ => Ok(()),
        }
    }

    /// Frontends that earlier states had and this one does not have.
    fn not_owned(&self, desired: &DesiredState) -> BTreeMap<Known, BTreeSet<Owner>> {
        let live: HashSet<_> = desired.frontends().collect();
        let mut gone = self.known.clone();
        gone.retain(|known, _| !live.contains(&known.frontend));
        let previous = self.previous.iter().flat_map(known);
        for (known, key) in previous.filter(|(known, _)| !live.contains(&known.frontend)) {
            gone.entry(known).or_default().insert(owner(key));
        }
        gone
    }

    /// Frontends that earlier states give to a Service which is unknown now: what it has there today,
    /// alone or with others, is not known.
    pub(crate) fn unknown(&self, desired: &DesiredState, profile: Profile) -> BTreeSet<Frontend> {
        let strict = profile == Profile::Strict;
        let unknown: HashSet<_> = unknown(desired)
            .filter(|unknown| strict || unknown.unreadable)
            .map(|u| (u.namespace.as_str(), u.name.as_str()))
            .collect();
        if unknown.is_empty() {
            return BTreeSet::new();
        }
        let is_unknown = |(namespace, name): &Owner| unknown.contains(&(&**namespace, &**name));
        let earlier = self.known.iter().filter(|(_, owners)| owners.iter().any(is_unknown));
        let earlier = earlier.map(|(known, _)| known.frontend);
        let previous = self.previous.iter().flat_map(known);
        let previous = previous
            .filter(|(_, key)| unknown.contains(&(key.namespace.as_str(), key.name.as_str())));
        earlier.chain(previous.map(|(known, _)| known.frontend)).collect()
    }

    /// `strict`: frontends of earlier states that no live service owns. A live service owns its
    /// node port at every address: at an address that is no longer the node's, or is not known to
    /// be, the port is not judged. Neither are the frontends of a Service that is unknown now.
    fn frontends_removed(&self, desired: &DesiredState) -> BTreeSet<Frontend> {
        let all = self.not_owned(desired);
        if all.is_empty() {
            return BTreeSet::new();
        }
        let unknown: HashSet<_> =
            unknown(desired).map(|u| (u.namespace.as_str(), u.name.as_str())).collect();
        let mut node_ports = HashSet::new();
        if all.keys().any(|known| known.at_node) {
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
        let is_unknown = |(namespace, name): &Owner| unknown.contains(&(&**namespace, &**name));
        let unowned = all.iter().filter(|(known, _)| !is_owned(known));
        let gone = unowned.filter(|(_, owners)| !owners.iter().any(is_unknown));
        gone.map(|(known, _)| known.frontend).collect()
    }

    /// `kube-proxy`: frontends (node ports excepted) of service ports that were in the state before
    /// and are not in this one. kube-proxy runs one proxier per family, so a service that drops a
    /// family vanishes in that family.
    fn frontends_of_vanished_keys(&self, desired: &DesiredState) -> BTreeSet<Frontend> {
        let Some(previous) = &self.previous else { return BTreeSet::new() };
        let mut vanished = BTreeSet::new();
        for family in Family::ALL {
            let exists = |service: &&ServicePort| service.exists_in(family);
            let live = desired.services().iter().filter(exists);
            let live: HashSet<_> = live.map(|service| &service.key).collect();
            // What could not be read is not gone; what is excluded is, for kube-proxy's watches.
            let unread = |key: &ServiceKey| {
                let same = |u: &&Unknown| u.namespace == key.namespace && u.name == key.name;
                unknown(desired).filter(|u| u.unreadable).any(|u| same(&u))
            };
            let gone = previous.services().iter().filter(exists);
            let gone = gone.filter(|s| !live.contains(&s.key) && !unread(&s.key));
            for service in gone {
                vanished.extend(service.frontends().filter(|f| f.family() == family));
            }
        }
        vanished
    }
}

fn unknown(desired: &DesiredState) -> impl Iterator<Item = &Unknown> {
    desired.unknown().iter()
}

impl Rules {
    /// Compiles the rules for a desired state, given what earlier states left to clean up.
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
        let unknown = history.unknown(desired, scope.profile);
        Rules::compile(desired, removed, &unknown, scope, &Spared::default(), &BTreeSet::new())
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
        use crate::reconcile::desired::service::ServiceKey;
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
