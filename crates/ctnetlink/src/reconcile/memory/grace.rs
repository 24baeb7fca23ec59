//! Endpoints that have stopped serving, and how long their flows are kept.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::reconcile::desired::DesiredState;
use crate::reconcile::desired::service::ServiceKey;
use crate::reconcile::rules::Spared;
use crate::reconcile::scope::Scope;

/// Memory of endpoints that are listed and have stopped serving: pure state, no I/O.
///
/// Without a grace time, a readiness probe that fails for a moment ends every flow of its endpoint
/// at once (kubernetes#137986, #108523). In its grace time, an endpoint keeps its flows. An
/// endpoint that is no longer listed has no grace time: its address may be another pod's by now.
#[derive(Debug, Default)]
pub(crate) struct Grace {
    pub(crate) length: Duration,
    /// The last state seen, which shows who was serving.
    seen: DesiredState,
    /// When each endpoint was first seen not serving.
    since: HashMap<ServiceKey, HashMap<SocketAddr, Instant>>,
    /// When the first grace time ends.
    pub(crate) ends: Option<Instant>,
}

impl Grace {
    #[cfg(test)]
    pub(crate) fn of(length: Duration) -> Grace {
        Grace { length, ..Grace::default() }
    }

    /// This memory, as if this state had just been seen.
    pub(crate) fn after_state(self, seen: DesiredState) -> Grace {
        Grace { seen, ..self }
    }

    /// The memory after a look at this state.
    pub(crate) fn after(&self, desired: &DesiredState, scope: &Scope, now: Instant) -> Grace {
        if self.length.is_zero() {
            return Grace::default();
        }
        let in_scope = |protocol| scope.protocols.contains(&protocol);
        let before: HashMap<_, _> = self.seen.services().iter().map(|s| (&s.key, s)).collect();
        let mut since: HashMap<ServiceKey, HashMap<_, _>> = HashMap::new();
        for service in desired.services().iter().filter(|s| in_scope(s.key.protocol)) {
            for endpoint in service.endpoints.iter().filter(|e| !scope.profile.serves(e)) {
                let earlier = self.since.get(&service.key).and_then(|s| s.get(&endpoint.address));
                let has_served = || {
                    before.get(&service.key).is_some_and(|before| {
                        let mut same = before.endpoints.iter();
                        same.any(|e| e.address == endpoint.address && scope.profile.serves(e))
                    })
                };
                let first = earlier.copied().or_else(|| has_served().then_some(now));
                if let Some(first) = first {
                    let endpoints = since.entry(service.key.clone()).or_default();
                    endpoints.insert(endpoint.address, first);
                }
            }
        }
        let ends = since.values().flat_map(HashMap::values).map(|since| *since + self.length);
        let ends = ends.filter(|end| now < *end).min();
        Grace { length: self.length, seen: desired.clone(), since, ends }
    }

    /// The endpoints that are in their grace time.
    pub(crate) fn spared(&self, now: Instant) -> Spared {
        let mut spared = Spared::default();
        for (service, endpoints) in &self.since {
            for (endpoint, since) in endpoints {
                if now < *since + self.length {
                    spared.0.entry(service.clone()).or_default().insert(*endpoint);
                }
            }
        }
        spared
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::protocol::Protocol;
    use crate::reconcile::desired::service::Endpoint;
    use crate::reconcile::scope::Profile;
    use std::net::IpAddr;

    const A: &str = "10.244.1.1:53";
    const B: &str = "10.244.1.2:53";
    const SECOND: Duration = Duration::from_secs(1);

    fn state(endpoints: &[(&str, bool)]) -> DesiredState {
        let vip: IpAddr = "10.96.0.10".parse().unwrap();
        let endpoints = endpoints
            .iter()
            .map(|(address, ready)| Endpoint::new(address.parse().unwrap()).ready(*ready));
        DesiredState::builder().udp(vip, 53).backends(endpoints).build().unwrap()
    }

    struct Look {
        grace: Grace,
        scope: Scope,
        start: Instant,
    }

    impl Look {
        fn new(profile: Profile) -> Look {
            let grace = Grace::of(10 * SECOND);
            let scope = Scope { profile, ..Scope::default() };
            Look { grace, scope, start: Instant::now() }
        }

        /// Who is spared after a look this many seconds from the start, and when the first grace
        /// time ends.
        fn at(&mut self, second: u32, endpoints: &[(&str, bool)]) -> (Vec<String>, Option<u64>) {
            let (desired, now) = (state(endpoints), self.start + second * SECOND);
            self.grace = self.grace.after(&desired, &self.scope, now);
            let spared = self.grace.spared(now);
            let key = &desired.services()[0].key;
            let all = [A, B].map(str::to_owned);
            let names = all.into_iter().filter(|a| spared.contains(key, a.parse().unwrap()));
            let names: Vec<_> = names.collect();
            assert_eq!(names.len(), spared.len());
            (names, self.grace.ends.map(|ends| (ends - self.start).as_secs()))
        }
    }

    fn spared(names: &[&str], ends: impl Into<Option<u64>>) -> (Vec<String>, Option<u64>) {
        (names.iter().map(ToString::to_string).collect(), ends.into())
    }

    #[test]
    fn an_endpoint_is_spared_from_when_it_was_first_seen_not_to_serve_any_more() {
        let mut look = Look::new(Profile::Strict);
        assert_eq!(look.at(0, &[(A, true), (B, true)]), spared(&[], None));
        assert_eq!(look.at(5, &[(A, true), (B, false)]), spared(&[B], 15));
        assert_eq!(look.at(14, &[(A, false), (B, false)]), spared(&[A, B], 15));
        assert_eq!(look.at(15, &[(A, false), (B, false)]), spared(&[A], 24));
        // An endpoint that served again starts anew; one that is not listed has no grace time.
        look.at(16, &[(A, true), (B, true)]);
        assert_eq!(look.at(17, &[(B, false)]), spared(&[B], 27));
        assert_eq!(look.at(18, &[(A, true)]), spared(&[], None));
        assert_eq!(
            look.at(19, &[(A, true), (B, false)]),
            spared(&[], None),
            "has not served since"
        );
    }

    #[test]
    fn an_endpoint_that_nobody_saw_serving_has_no_grace() {
        let mut look = Look::new(Profile::Strict);
        assert_eq!(look.at(0, &[(A, false)]), spared(&[], None), "at the start");
        assert_eq!(look.at(1, &[(A, false), (B, false)]), spared(&[], None), "a pod starts");
        let mut look = Look::new(Profile::Strict);
        look.grace = look.grace.after_state(state(&[(A, true)]));
        assert_eq!(look.at(0, &[(A, false)]), spared(&[A], 10), "an earlier process saw it");
    }

    #[test]
    fn what_is_not_judged_is_not_spared() {
        let mut tcp_only = Look::new(Profile::Strict);
        tcp_only.scope.protocols = vec![Protocol::TCP];
        tcp_only.at(0, &[(A, true)]);
        assert_eq!(tcp_only.at(1, &[(A, false)]), spared(&[], None));
        // For kube-proxy, an endpoint that is not ready serves, unless `serving` says otherwise.
        let mut kube_proxy = Look::new(Profile::KubeProxy);
        kube_proxy.at(0, &[(A, true)]);
        assert_eq!(kube_proxy.at(1, &[(A, false)]), spared(&[], None));
        let mut without = Look::new(Profile::Strict);
        without.grace.length = Duration::ZERO;
        without.at(0, &[(A, true)]);
        assert_eq!(without.at(1, &[(A, false)]), spared(&[], None));
    }
}
