//! What has to be seen twice before it is deleted: suspects, and what an observer cannot know yet.
//! Pure, of bounded size.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::model::tuple::Family;
use crate::reconcile::desired::DesiredState;
use crate::reconcile::desired::service::Frontend;
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

/// How long after something went into quarantine a newer state is asked for. The time doubles each
/// time the state has not become newer, up to the longest.
const FETCH_AGAIN: Duration = Duration::from_secs(1);
const LONGEST_FETCH: Duration = Duration::from_secs(60);

/// A frontend, and where an entry leads.
pub(crate) type Pair = (Frontend, SocketAddr);

/// What earlier looks and states have shown.
#[derive(Debug, Clone, Default)]
pub(crate) struct Evidence {
    pub(crate) authority: Authority,
    /// Ids of suspect entries by family.
    suspects: [HashMap<u32, Suspect>; 2],
    /// Pairs that served once, in the order in which they were lost.
    lost: HashSet<Pair>,
    lost_order: VecDeque<Pair>,
    /// Pairs that serve in no state, with the end of the look that saw them first.
    quarantine: HashMap<Pair, Instant>,
    /// Since when there are more pairs than can be remembered.
    overflow: Option<Instant>,
    /// When a newer state is wanted, or was the last time, and how long that was to wait.
    fetch: Option<(Instant, Duration)>,
}

#[derive(Debug, Clone, Copy)]
struct Suspect {
    frontend: Frontend,
    /// The end of the look that met it first.
    since: Instant,
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
    learned: Learned,
}

/// What a look has learned.
#[derive(Debug, Default)]
pub(crate) struct Learned {
    suspects: HashMap<u32, Frontend>,
    quarantine: HashSet<Pair>,
    /// There were more pairs.
    overflow: bool,
}

impl Evidence {
    pub(crate) fn of(authority: Authority) -> Evidence {
        Evidence { authority, ..Evidence::default() }
    }

    pub(crate) fn look(
        &self,
        family: Family,
        desired: &DesiredState,
        suspicion: Option<Duration>,
        started: Instant,
    ) -> Look<'_> {
        let suspicion = suspicion.unwrap_or_default().max(SHORTEST_SUSPICION);
        Look {
            evidence: self,
            family,
            started,
            suspicion,
            fetched: desired.fetched(),
            learned: Learned::default(),
        }
    }

    /// Takes note of a look that has ended, IPv4 first. It forgets suspects that the look should have
    /// met again and has not. What it saw may have appeared at its very end, so its end counts.
    pub(crate) fn learn(&mut self, at: &Affected, learned: [Option<Learned>; 2], ended: Instant) {
        for (learned, suspects) in learned.into_iter().zip(&mut self.suspects) {
            let Some(learned) = learned else { continue };
            let met = |id: &u32| learned.suspects.contains_key(id);
            suspects.retain(|id, suspect| met(id) || !at.covers(&suspect.frontend));
            for (id, frontend) in learned.suspects {
                if suspects.len() < MOST {
                    suspects.entry(id).or_insert(Suspect { frontend, since: ended });
                }
            }
            let mut overflow = learned.overflow;
            for pair in learned.quarantine {
                match self.quarantine.len() < MOST || self.quarantine.contains_key(&pair) {
                    true => drop(self.quarantine.entry(pair).or_insert(ended)),
                    false => overflow = true,
                }
            }
            if overflow {
                self.overflow = Some(ended);
            }
        }
    }

    /// Takes note of a new state before a look: what served by the state before and does not by this
    /// one is lost.
    pub(crate) fn begin(&mut self, before: Option<&DesiredState>, now: &DesiredState) {
        if self.authority == Authority::Rules {
            return;
        }
        let Some(before) = before else { return };
        let serving: HashSet<Pair> = serving_pairs(now).collect();
        for pair in serving_pairs(before).filter(|pair| !serving.contains(pair)) {
            if self.lost.insert(pair) {
                self.lost_order.push_back(pair);
            }
        }
        while self.lost_order.len() > MOST_LOST {
            if let Some(oldest) = self.lost_order.pop_front() {
                self.lost.remove(&oldest);
            }
        }
    }

    /// Takes note after the looks with a state. If nothing failed or was postponed, what serves by
    /// this state, or was judged by it, needs no quarantine. What remains asks for a newer state, at
    /// first after a second, then less and less often.
    pub(crate) fn settle(&mut self, desired: &DesiredState, judged: bool, now: Instant) {
        if !self.waits() {
            return;
        }
        if judged {
            let serving: HashSet<Pair> = serving_pairs(desired).collect();
            let fetched = desired.fetched();
            let is_newer = |since: Instant| fetched.is_some_and(|fetched| fetched > since);
            self.quarantine.retain(|pair, since| !serving.contains(pair) && !is_newer(*since));
            self.overflow = self.overflow.filter(|since| !is_newer(*since));
            if !self.waits() {
                return;
            }
        }
        self.fetch = match self.fetch {
            Some(waiting @ (at, _)) if now < at => Some(waiting),
            // What is deleted and comes back goes into quarantine again.
            Some((at, waited)) if now < at + 2 * waited => {
                let wait = LONGEST_FETCH.min(waited * 2);
                Some((now + wait, wait))
            }
            _ => Some((now + FETCH_AGAIN, FETCH_AGAIN)),
        };
    }

    /// Where a state fetched since can settle what is in quarantine.
    pub(crate) fn settled_by(&self, desired: &DesiredState) -> Affected {
        let mut covers = [Cover::default(), Cover::default()];
        let Some(fetched) = desired.fetched() else { return Affected::nothing() };
        if self.overflow.is_some_and(|since| fetched > since) {
            return Affected::Everything;
        }
        for (pair, since) in &self.quarantine {
            if fetched > *since {
                covers[pair.0.family() as usize].extend(&pair.0);
            }
        }
        Affected::Frontends(covers)
    }

    /// When a newer state is wanted.
    pub(crate) fn fetch(&self) -> Option<Instant> {
        self.fetch.map(|(at, _)| at).filter(|_| self.waits())
    }

    /// Keeps what an evidence that is not used further has seen: a dry run deletes nothing, but what
    /// it saw, it saw.
    pub(crate) fn keep_seen(&mut self, other: &Evidence) {
        for (pair, since) in &other.quarantine {
            if self.quarantine.len() < MOST {
                self.quarantine.entry(*pair).or_insert(*since);
            }
        }
        self.overflow = self.overflow.or(other.overflow);
    }

    /// Whether something waits for a newer state.
    fn waits(&self) -> bool {
        !self.quarantine.is_empty() || self.overflow.is_some()
    }

    /// Pairs in quarantine.
    pub(crate) fn in_quarantine(&self) -> usize {
        self.quarantine.len()
    }
}

/// The frontends of a state with their endpoints that serve.
fn serving_pairs(state: &DesiredState) -> impl Iterator<Item = Pair> {
    state.services().iter().flat_map(move |service| {
        let frontends: BTreeSet<_> =
            service.frontends().chain(state.node_frontends(service)).collect();
        frontends.into_iter().flat_map(move |frontend| {
            let own = move |address: &SocketAddr| Family::of(address.ip()) == frontend.family();
            let serving = service.endpoints.iter().filter(|endpoint| endpoint.serves());
            let addresses = serving.map(|endpoint| endpoint.address);
            addresses.filter(own).map(move |address| (frontend, address))
        })
    })
}

impl Look<'_> {
    /// Whether a suspect is stale: it was suspect long enough ago. If not, it is remembered.
    pub(crate) fn confirms(&mut self, id: Option<u32>, frontend: Frontend) -> bool {
        let Some(id) = id else { return false };
        let first = self.evidence.suspects[self.family as usize].get(&id);
        let confirmed = first.is_some_and(|first| first.since + self.suspicion <= self.started);
        if !confirmed && self.learned.suspects.len() < MOST {
            self.learned.suspects.insert(id, frontend);
        }
        confirmed
    }

    /// Whether it is known that a backend does not serve: who writes the rules knows; an observer
    /// needs evidence, and without it the pair goes into quarantine.
    pub(crate) fn proves(&mut self, pair: Pair) -> bool {
        if self.evidence.authority == Authority::Rules || self.evidence.lost.contains(&pair) {
            return true;
        }
        let since = self.evidence.quarantine.get(&pair).copied();
        let outlived = since.is_some_and(|since| self.fetched.is_some_and(|f| f > since));
        if !outlived {
            match self.learned.quarantine.len() < MOST {
                true => drop(self.learned.quarantine.insert(pair)),
                false => self.learned.overflow = true,
            }
        }
        outlived
    }

    pub(crate) fn learned(self) -> Learned {
        self.learned
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
        let mut evidence = Evidence::of(Authority::Observer);
        let old = state("10.244.1.5:53", at(0));
        let (new, dead) = ("10.244.2.7:53", "10.244.9.9:53");
        let mut look = evidence.look(Family::Ipv4, &old, None, at(1));
        assert!(!look.proves(pair(new)) && !look.proves(pair(dead)));
        let learned = look.learned();
        evidence.learn(&Affected::Everything, [Some(learned), None], at(1));
        assert_eq!(evidence.in_quarantine(), 2);

        // The same state again proves nothing; a newer one does.
        evidence.begin(Some(&old), &old);
        evidence.settle(&old, true, at(1));
        assert_eq!(evidence.fetch(), Some(at(2)));
        evidence.settle(&old, true, at(2));
        evidence.settle(&old, true, at(3));
        assert_eq!(evidence.fetch(), Some(at(4)), "less and less often");
        assert!(!evidence.look(Family::Ipv4, &old, None, at(2)).proves(pair(dead)));
        let newer = state(new, at(3));
        assert!(!evidence.settled_by(&newer).is_nothing());
        evidence.begin(Some(&old), &newer);
        assert!(evidence.look(Family::Ipv4, &newer, None, at(4)).proves(pair(dead)));
        evidence.settle(&newer, false, at(4));
        assert_eq!(evidence.in_quarantine(), 2, "it was not judged");
        evidence.settle(&newer, true, at(4));
        assert_eq!((evidence.in_quarantine(), evidence.fetch()), (0, None));
        // What served by an earlier state needs no quarantine.
        evidence.begin(Some(&old), &newer);
        assert!(evidence.look(Family::Ipv4, &newer, None, at(4)).proves(pair("10.244.1.5:53")));
    }

    #[test]
    fn a_suspect_has_to_be_met_again_later() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut evidence = Evidence::default();
        let nothing = DesiredState::default();
        let frontend = pair("10.244.1.5:53").0;
        let meet = |evidence: &mut Evidence, moment, ids: &[u32]| {
            let mut look = evidence.look(Family::Ipv4, &nothing, None, moment);
            let confirmed: Vec<_> =
                ids.iter().filter(|id| look.confirms(Some(**id), frontend)).copied().collect();
            let learned = look.learned();
            evidence.learn(&Affected::Everything, [Some(learned), None], moment);
            confirmed
        };
        assert!(meet(&mut evidence, at(0), &[1, 2]).is_empty());
        assert!(meet(&mut evidence, at(50), &[1, 2, 3]).is_empty(), "too soon");
        assert_eq!(meet(&mut evidence, at(120), &[1, 3]), [1], "3 is too young");
        assert!(meet(&mut evidence, at(300), &[2]).is_empty(), "it was not met in between");
        // A look elsewhere forgets nothing.
        evidence.learn(&Affected::nothing(), [Some(Learned::default()), None], at(310));
        assert_eq!(meet(&mut evidence, at(410), &[2]), [2]);
    }
}
