//! What has to be seen twice before it is deleted: suspects, and what an observer cannot know yet.
//! Pure, of bounded size.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::model::tuple::Family;
use crate::reconcile::desired::DesiredState;
use crate::reconcile::desired::service::{Endpoint, Frontend};
use crate::reconcile::rules::change::Affected;
use crate::reconcile::rules::cover::Cover;
use crate::reconcile::scope::Authority;

/// Suspects of a family, and pairs in quarantine, that are remembered. What does not fit is left for
/// the next look, and counted.
const MOST: usize = 4096;
/// Pairs that were valid in an earlier state and are remembered as that.
const MOST_LOST: usize = 65_536;
/// How long a suspect stays one, at least: a host service answers within this.
const SHORTEST_SUSPICION: Duration = Duration::from_millis(100);

/// A frontend, and where an entry leads.
pub(crate) type Pair = (Frontend, SocketAddr);

/// What earlier looks and states have shown.
#[derive(Debug, Clone, Default)]
pub(crate) struct Evidence {
    pub(crate) authority: Authority,
    /// Ids of suspect entries by family, with the moment of the first look that met them.
    suspects: [HashMap<u32, Instant>; 2],
    /// Pairs that were valid once, in the order in which they were lost.
    lost: HashSet<Pair>,
    lost_order: VecDeque<Pair>,
    /// Pairs that no state knows, with the moment they were first seen.
    quarantine: HashMap<Pair, Instant>,
}

/// What one look may know, and what it learns; each family has its own.
#[derive(Debug)]
pub(crate) struct Look<'a> {
    evidence: &'a Evidence,
    family: Family,
    started: Instant,
    /// How long an entry has to have been suspect.
    suspicion: Duration,
    fetched: Option<Instant>,
    /// Backends that the state lists and that do not serve: it knows them.
    listed: HashSet<Pair>,
    suspects: HashMap<u32, Instant>,
    quarantine: HashMap<Pair, Instant>,
}

/// What a look has learned.
#[derive(Debug, Default)]
pub(crate) struct Learned {
    suspects: HashMap<u32, Instant>,
    quarantine: HashMap<Pair, Instant>,
}

impl Evidence {
    pub(crate) fn look(
        &self,
        family: Family,
        desired: &DesiredState,
        suspicion: Option<Duration>,
        started: Instant,
    ) -> Look<'_> {
        let suspicion = suspicion.unwrap_or_default().max(SHORTEST_SUSPICION);
        let listed = match self.authority {
            Authority::Rules => HashSet::new(),
            Authority::Observer => pairs(desired, |endpoint| !endpoint.serves()).collect(),
        };
        Look {
            evidence: self,
            family,
            started,
            suspicion,
            fetched: desired.fetched(),
            listed,
            suspects: HashMap::new(),
            quarantine: HashMap::new(),
        }
    }

    /// Takes note of a look, IPv4 first. Suspects it has not met again are none any more.
    pub(crate) fn learn(&mut self, [ipv4, ipv6]: [Option<Learned>; 2]) {
        for (learned, suspects) in [ipv4, ipv6].into_iter().zip(&mut self.suspects) {
            let Some(learned) = learned else { continue };
            *suspects = learned.suspects;
            for (pair, since) in learned.quarantine {
                if self.quarantine.len() < MOST {
                    self.quarantine.entry(pair).or_insert(since);
                }
            }
        }
    }

    /// Takes note of a new state: what the one before allowed and this one does not was valid once,
    /// and what this one allows or has outlived needs no quarantine.
    pub(crate) fn settle(&mut self, before: Option<&DesiredState>, now: &DesiredState) {
        if self.authority == Authority::Rules {
            return;
        }
        let any = |_: &Endpoint| true;
        let valid: HashSet<Pair> = pairs(now, any).collect();
        let earlier = before.into_iter().flat_map(|before| pairs(before, any));
        for pair in earlier.filter(|pair| !valid.contains(pair)) {
            if self.lost.insert(pair) {
                self.lost_order.push_back(pair);
            }
        }
        while self.lost_order.len() > MOST_LOST {
            if let Some(oldest) = self.lost_order.pop_front() {
                self.lost.remove(&oldest);
            }
        }
        let fetched = now.fetched();
        self.quarantine.retain(|pair, since| {
            !valid.contains(pair) && fetched.is_none_or(|fetched| fetched <= *since)
        });
    }

    /// Where a state fetched since can settle what is in quarantine.
    pub(crate) fn settled_by(&self, desired: &DesiredState) -> Affected {
        let mut covers = [Cover::default(), Cover::default()];
        for (pair, since) in &self.quarantine {
            if desired.fetched().is_some_and(|fetched| fetched > *since) {
                covers[pair.0.family() as usize].extend(&pair.0);
            }
        }
        Affected::Frontends(covers)
    }

    /// Since when something waits for a newer state.
    pub(crate) fn waiting_since(&self) -> Option<Instant> {
        self.quarantine.values().min().copied()
    }

    /// Pairs in quarantine.
    pub(crate) fn in_quarantine(&self) -> usize {
        self.quarantine.len()
    }
}

/// The frontends of a state with some of their endpoints.
fn pairs(
    state: &DesiredState,
    wanted: impl Fn(&Endpoint) -> bool + Copy,
) -> impl Iterator<Item = Pair> {
    state.services().iter().flat_map(move |service| {
        let frontends: BTreeSet<_> =
            service.frontends().chain(state.node_frontends(service)).collect();
        frontends.into_iter().flat_map(move |frontend| {
            let own = move |address: &SocketAddr| Family::of(address.ip()) == frontend.family();
            let wanted = service.endpoints.iter().filter(move |endpoint| wanted(endpoint));
            let addresses = wanted.map(|endpoint| endpoint.address);
            addresses.filter(own).map(move |address| (frontend, address))
        })
    })
}

impl Look<'_> {
    /// Whether a suspect is to go: it was suspect long enough ago. If not, it is remembered.
    pub(crate) fn confirms(&mut self, id: Option<u32>) -> bool {
        let Some(id) = id else { return false };
        let first = self.evidence.suspects[self.family as usize].get(&id).copied();
        let confirmed = first.is_some_and(|first| first + self.suspicion <= self.started);
        if !confirmed && self.suspects.len() < MOST {
            self.suspects.insert(id, first.unwrap_or(self.started));
        }
        confirmed
    }

    /// Whether it is known that a backend does not serve: who writes the rules knows; an observer
    /// needs evidence, and without it the pair goes into quarantine.
    pub(crate) fn proves(&mut self, pair: Pair) -> bool {
        if self.evidence.authority == Authority::Rules
            || self.evidence.lost.contains(&pair)
            || self.listed.contains(&pair)
        {
            return true;
        }
        let since = self.evidence.quarantine.get(&pair).copied();
        let outlived = since.is_some_and(|since| self.fetched.is_some_and(|f| f > since));
        if !outlived && self.quarantine.len() < MOST {
            self.quarantine.entry(pair).or_insert(since.unwrap_or(self.started));
        }
        outlived
    }

    pub(crate) fn learned(self) -> Learned {
        Learned { suspects: self.suspects, quarantine: self.quarantine }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(backend: &str, fetched: Instant) -> DesiredState {
        let vip: std::net::IpAddr = "10.96.0.10".parse().unwrap();
        let backend: SocketAddr = backend.parse().unwrap();
        let builder = DesiredState::builder().udp(vip, 53).backends([backend]);
        builder.fetched_at(fetched).build().unwrap()
    }

    fn pair(backend: &str) -> Pair {
        let vip = "10.96.0.10".parse().unwrap();
        let frontend = Frontend::new(vip, 53, crate::model::protocol::Protocol::UDP);
        (frontend, backend.parse().unwrap())
    }

    /// The rules know a backend before the observer does: its flows live. One that a state fetched
    /// later still lacks is gone.
    #[test]
    fn an_observer_needs_evidence() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut evidence = Evidence { authority: Authority::Observer, ..Evidence::default() };
        let old = state("10.244.1.5:53", at(0));
        let (new, dead) = ("10.244.2.7:53", "10.244.9.9:53");
        let mut look = evidence.look(Family::Ipv4, &old, None, at(1));
        assert!(!look.proves(pair(new)) && !look.proves(pair(dead)));
        let learned = look.learned();
        evidence.learn([Some(learned), None]);
        assert_eq!(evidence.in_quarantine(), 2);

        // The same state again proves nothing; a newer one does.
        evidence.settle(Some(&old), &old);
        assert!(!evidence.look(Family::Ipv4, &old, None, at(2)).proves(pair(dead)));
        let newer = state(new, at(3));
        assert!(!evidence.settled_by(&newer).is_nothing());
        assert!(evidence.look(Family::Ipv4, &newer, None, at(4)).proves(pair(dead)));
        evidence.settle(Some(&old), &newer);
        assert_eq!(evidence.in_quarantine(), 0);
        // What was in an earlier state needs no quarantine.
        assert!(evidence.look(Family::Ipv4, &newer, None, at(4)).proves(pair("10.244.1.5:53")));
    }

    #[test]
    fn a_suspect_has_to_be_met_again_later() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut evidence = Evidence::default();
        let nothing = DesiredState::default();
        let meet = |evidence: &mut Evidence, moment, ids: &[u32]| {
            let mut look = evidence.look(Family::Ipv4, &nothing, None, moment);
            let confirmed: Vec<_> =
                ids.iter().filter(|id| look.confirms(Some(**id))).copied().collect();
            let learned = look.learned();
            evidence.learn([Some(learned), None]);
            confirmed
        };
        assert!(meet(&mut evidence, at(0), &[1, 2]).is_empty());
        assert!(meet(&mut evidence, at(50), &[1, 2, 3]).is_empty(), "too soon");
        assert_eq!(meet(&mut evidence, at(120), &[1, 3]), [1], "3 is too young");
        assert!(meet(&mut evidence, at(300), &[2]).is_empty(), "it was not met in between");
    }
}
