//! Endpoints that have stopped serving, and how long their flows are kept.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::desired::{DesiredState, ServiceKey};

/// Memory of endpoints that are listed and do not serve: pure state, no I/O.
///
/// A readiness probe that fails for a moment ends every flow of its endpoint at once
/// (kubernetes#137986, #108523). An endpoint in its grace time counts as serving. One that is no
/// longer listed has none: its address may be another pod's by now.
#[derive(Debug, Default)]
pub(crate) struct Grace {
    pub(crate) length: Duration,
    /// Since when each has been seen not to serve.
    since: HashMap<(ServiceKey, SocketAddr), Instant>,
}

/// What the grace time makes of a desired state.
#[derive(Debug)]
pub(crate) struct Spared {
    /// The state, with the endpoints in their grace time serving.
    pub(crate) desired: DesiredState,
    /// How many those are.
    pub(crate) endpoints: usize,
    /// When the first of them ends.
    pub(crate) ends: Option<Instant>,
}

impl Grace {
    /// The memory after a look at this state: who does not serve, and since when.
    pub(crate) fn after(&self, desired: &DesiredState, now: Instant) -> Grace {
        let mut since = HashMap::new();
        if !self.length.is_zero() {
            for service in desired.services() {
                for endpoint in service.endpoints.iter().filter(|endpoint| !endpoint.serves()) {
                    let who = (service.key.clone(), endpoint.address);
                    let first = self.since.get(&who).copied().unwrap_or(now);
                    since.insert(who, first);
                }
            }
        }
        Grace { length: self.length, since }
    }

    /// Applies the grace time to the state it has just looked at.
    pub(crate) fn spare(&self, desired: &DesiredState, now: Instant) -> Spared {
        // A grace time beyond the end of the clock does not end.
        let end = |since: &Instant| since.checked_add(self.length);
        let is_spared = |since: &Instant| end(since).is_none_or(|end| now < end);
        let spared = || self.since.values().filter(|since| is_spared(since));
        let (endpoints, ends) = (spared().count(), spared().filter_map(end).min());
        let desired = match endpoints {
            0 => desired.clone(),
            _ => desired.with_serving(|service, endpoint| {
                let who = (service.clone(), endpoint.address);
                !endpoint.serves() && self.since.get(&who).is_some_and(is_spared)
            }),
        };
        Spared { desired, endpoints, ends }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desired::Endpoint;
    use std::net::IpAddr;

    const A: &str = "10.244.1.1:53";
    const B: &str = "10.244.1.2:53";

    fn state(endpoints: &[(&str, bool)]) -> DesiredState {
        let vip: IpAddr = "10.96.0.10".parse().unwrap();
        let endpoints = endpoints
            .iter()
            .map(|(address, serving)| Endpoint::new(address.parse().unwrap()).ready(*serving));
        DesiredState::builder().udp(vip, 53).backends(endpoints).build().unwrap()
    }

    fn serving(spared: &Spared) -> Vec<String> {
        let endpoints = spared.desired.services()[0].endpoints.iter();
        endpoints.filter(|e| e.serves()).map(|e| e.address.to_string()).collect()
    }

    #[test]
    fn an_endpoint_is_spared_from_when_it_was_first_seen_not_to_serve() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut grace = Grace { length: 10 * second, ..Grace::default() };
        let mut look = |endpoints: &[(&str, bool)], at: u32| {
            let (desired, now) = (state(endpoints), start + at * second);
            grace = grace.after(&desired, now);
            grace.spare(&desired, now)
        };
        assert_eq!(look(&[(A, true), (B, true)], 0).endpoints, 0);
        let spared = look(&[(A, true), (B, false)], 5);
        assert_eq!((serving(&spared), spared.endpoints), (vec![A.into(), B.into()], 1));
        assert_eq!(spared.ends, Some(start + 15 * second));
        let spared = look(&[(A, false), (B, false)], 14);
        assert_eq!((spared.endpoints, spared.ends), (2, Some(start + 15 * second)));
        let spared = look(&[(A, false), (B, false)], 15);
        assert_eq!((serving(&spared), spared.ends), (vec![A.into()], Some(start + 24 * second)));
        // One that served again begins anew; one that is not listed has no grace.
        look(&[(A, true), (B, true)], 16);
        assert_eq!(look(&[(B, false)], 17).ends, Some(start + 27 * second));
        let spared = look(&[(A, true)], 18);
        assert_eq!((serving(&spared), spared.ends), (vec![A.into()], None));
    }

    #[test]
    fn without_a_grace_time_nothing_is_spared_or_remembered() {
        let (desired, now) = (state(&[(A, false)]), Instant::now());
        let grace = Grace::default().after(&desired, now);
        assert!(grace.since.is_empty() && serving(&grace.spare(&desired, now)).is_empty());
        let for_ever = Grace { length: Duration::MAX, ..Grace::default() }.after(&desired, now);
        let spared = for_ever.spare(&desired, now);
        assert_eq!((spared.endpoints, spared.ends), (1, None));
    }
}
