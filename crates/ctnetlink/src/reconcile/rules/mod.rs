//! Which entry is stale, and why: pure rules over one entry and the desired state.
//!
//! [`Rules`] is compiled once per run from the desired state and asked once per entry. It does no
//! I/O, so it can be tested against other implementations on random tables, and reused by anyone
//! who has a table from elsewhere.

pub(crate) mod change;
pub(crate) mod cover;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use self::cover::{Common, Cover};
use crate::filter::Filter;
use crate::model::flow::Flow;
use crate::model::protocol::Protocol;
use crate::model::tuple::Family;
use crate::reconcile::desired::{DesiredState, Endpoint, Frontend, ServiceKey, ServicePort};
use crate::reconcile::scope::{Profile, Scope};

/// Why an entry is stale. The order is the order of the tests.
///
/// ```
/// use ctnetlink::Reason;
/// assert_eq!(Reason::BackendGone.name(), "backend_gone"); // for programs
/// assert_eq!(Reason::BackendGone.to_string(), "backend gone"); // for people
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Reason {
    /// No service owns the frontend any more.
    FrontendRemoved,
    /// The entry was made before the rules existed: the "backend" is the frontend itself.
    NotTranslated,
    /// The backend's address serves the frontend, but on another port.
    BackendPortChanged,
    /// The backend does not serve the frontend.
    BackendGone,
}

impl Reason {
    /// The name used in reports: `backend_gone` and so on.
    pub fn name(self) -> &'static str {
        match self {
            Reason::FrontendRemoved => "frontend_removed",
            Reason::NotTranslated => "not_translated",
            Reason::BackendPortChanged => "backend_port_changed",
            Reason::BackendGone => "backend_gone",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Reason::FrontendRemoved => "frontend removed",
            Reason::NotTranslated => "not translated",
            Reason::BackendPortChanged => "backend port changed",
            Reason::BackendGone => "backend gone",
        })
    }
}

/// The judgement on one entry.
///
/// ```no_run
/// # fn f(rules: &ctnetlink::Rules, flow: ctnetlink::FlowRef<'_>) {
/// use ctnetlink::Verdict;
/// match rules.verdict(&flow) {
///     Verdict::Keep => {}
///     Verdict::Stale(reason) => println!("{reason}: {flow}"),
/// }
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Healthy, or none of our business.
    Keep,
    /// To be removed.
    Stale(Reason),
}

/// The compiled rules of one run.
///
/// ```
/// use ctnetlink::{DesiredState, FlowRef, History, Rules, Scope, Verdict};
/// # use std::net::{IpAddr, SocketAddr};
/// # let (vip, a): (IpAddr, SocketAddr) = ("10.96.0.10".parse()?, "10.244.1.5:53".parse()?);
/// let desired = DesiredState::builder().udp(vip, 53).backends([a]).build()?;
/// let rules = Rules::new(&desired, &History::default(), &Scope::default());
/// # fn f(rules: Rules, flow: FlowRef<'_>) {
/// if let Verdict::Stale(reason) = rules.verdict(&flow) {
///     println!("{reason}: {flow}");
/// }
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Rules {
    scope: Scope,
    ipv4: FamilyRules,
    ipv6: FamilyRules,
    node_ports_judged: bool,
}

/// The rules of one family: families never mix.
#[derive(Debug, Default)]
struct FamilyRules {
    frontends: HashMap<Frontend, Backends>,
    /// `kube-proxy` only: node ports, which there match whatever the address.
    node_ports: HashMap<(Protocol, u16), Backends>,
    /// `strict` only: an untranslated flow to one of these is a host service's.
    node_addresses: Vec<IpAddr>,
}

/// The endpoints of a frontend whose flows are valid.
#[derive(Debug, Default)]
struct Backends {
    /// Those that serve and those in their grace time, sorted.
    valid: Vec<SocketAddr>,
    /// Some of them serve, so that the rules of the packet filter translate.
    served: bool,
    /// No live service owns the frontend.
    removed: bool,
}

/// Endpoints whose flows are kept although they do not serve, by service port.
#[derive(Debug, Default)]
pub(crate) struct Spared(pub(crate) HashMap<ServiceKey, HashSet<SocketAddr>>);

impl Spared {
    pub(crate) fn contains(&self, service: &ServiceKey, endpoint: SocketAddr) -> bool {
        self.0.get(service).is_some_and(|endpoints| endpoints.contains(&endpoint))
    }

    pub(crate) fn len(&self) -> usize {
        self.0.values().map(HashSet::len).sum()
    }
}

/// What the rules read of an entry. Nothing else may influence a verdict.
struct Entry {
    frontend: Frontend,
    backend: SocketAddr,
}

impl Rules {
    /// Compiles the rules for a desired state. `removed` are frontends that are removed unless a
    /// live service owns them; `spared` are endpoints whose flows are kept although they do not
    /// serve.
    pub(crate) fn compile<'f>(
        desired: &DesiredState,
        removed: impl Iterator<Item = &'f Frontend>,
        scope: &Scope,
        spared: &Spared,
    ) -> Rules {
        let mut rules = Rules {
            scope: scope.clone(),
            ipv4: FamilyRules::default(),
            ipv6: FamilyRules::default(),
            node_ports_judged: true,
        };
        // One frontend a service and family is what most have.
        for family in [&mut rules.ipv4, &mut rules.ipv6] {
            family.frontends.reserve(desired.services().len());
        }
        match scope.profile {
            Profile::Strict => rules.fill_strict(desired, spared),
            Profile::KubeProxy => rules.fill_kube_proxy(desired, spared),
        }
        for frontend in removed.filter(|f| scope.protocols.contains(&f.protocol)) {
            let backends = Backends { removed: true, ..Backends::default() };
            rules.family_mut(frontend.family()).frontends.entry(*frontend).or_insert(backends);
        }
        for family in [&mut rules.ipv4, &mut rules.ipv6] {
            for backends in family.frontends.values_mut().chain(family.node_ports.values_mut()) {
                backends.valid.sort_unstable();
                backends.valid.dedup();
            }
        }
        rules
    }

    fn fill_strict(&mut self, desired: &DesiredState, spared: &Spared) {
        for service in self.in_scope(desired) {
            for frontend in service.frontends().chain(desired.node_frontends(service)) {
                let family = frontend.family();
                let backends = self.family_mut(family).frontends.entry(frontend).or_default();
                backends.extend(service, family, Profile::Strict, spared);
            }
            // A node port nobody can find is not judged, and the report has to say so.
            let judged = |family| {
                !service.exists_in(family)
                    || desired.node_addresses().iter().any(|a| Family::of(*a) == family)
            };
            if service.node_port.is_some() && !Family::ALL.into_iter().all(judged) {
                self.node_ports_judged = false;
            }
        }
        for address in desired.node_addresses() {
            self.family_mut(Family::of(*address)).node_addresses.push(*address);
        }
    }

    fn fill_kube_proxy(&mut self, desired: &DesiredState, spared: &Spared) {
        for service in self.in_scope(desired) {
            let backends_in = |family| {
                let mut backends = Backends::default();
                backends.extend(service, family, Profile::KubeProxy, spared);
                backends
            };
            for frontend in service.frontends() {
                let backends = backends_in(frontend.family());
                self.family_mut(frontend.family()).frontends.insert(frontend, backends);
            }
            for family in Family::ALL {
                let (Some(port), true) = (service.node_port, service.exists_in(family)) else {
                    continue;
                };
                let backends = backends_in(family);
                // Without an address test an empty set would delete every flow to that port
                // number, so kube-proxy does not register it.
                if backends.served {
                    let key = (service.key.protocol, port);
                    self.family_mut(family).node_ports.insert(key, backends);
                }
            }
        }
    }

    fn in_scope<'a>(
        &self,
        desired: &'a DesiredState,
    ) -> impl Iterator<Item = &'a ServicePort> + use<'a> {
        let protocols = self.scope.protocols.clone();
        desired.services().iter().filter(move |s| protocols.contains(&s.key.protocol))
    }

    fn family(&self, family: Family) -> &FamilyRules {
        match family {
            Family::Ipv4 => &self.ipv4,
            Family::Ipv6 => &self.ipv6,
        }
    }

    fn family_mut(&mut self, family: Family) -> &mut FamilyRules {
        match family {
            Family::Ipv4 => &mut self.ipv4,
            Family::Ipv6 => &mut self.ipv6,
        }
    }

    /// Judges one entry. Time is at most logarithmic in the number of services and backends.
    pub fn verdict<B: AsRef<[u8]>>(&self, flow: &Flow<B>) -> Verdict {
        if !self.scope.protocols.contains(&flow.protocol()) {
            return Verdict::Keep;
        }
        if self.scope.zones.as_ref().is_some_and(|zones| !zones.contains(&flow.zone())) {
            return Verdict::Keep;
        }
        let orig = flow.orig().destination();
        let reply = flow.reply().source();
        let entry = Entry {
            frontend: Frontend::new(orig.ip(), orig.port(), flow.protocol()),
            backend: SocketAddr::new(reply.ip().to_canonical(), reply.port()),
        };
        let rules = self.family(flow.family());
        let stale = match self.scope.profile {
            Profile::Strict => rules.strict(&entry),
            Profile::KubeProxy => rules.kube_proxy(&entry),
        };
        stale.map_or(Verdict::Keep, Verdict::Stale)
    }

    /// The narrowest filter that lets every entry through that could be stale in this family;
    /// `None` if none could.
    pub fn filter(&self, family: Family) -> Option<Filter> {
        let rules = self.family(family);
        let mut cover = Cover::default();
        for frontend in rules.frontends.keys() {
            cover.extend(frontend);
        }
        for (protocol, port) in rules.node_ports.keys() {
            cover.extend_any_address(*protocol, *port);
        }
        self.filter_of(family, &cover)
    }

    /// The same for some frontends; `None` for none.
    pub(crate) fn cover_filter(&self, family: Family, some: &Cover) -> Option<Filter> {
        let mut cover = some.clone();
        // Where node ports match any address, what was found at one says nothing of the others.
        if !self.family(family).node_ports.is_empty() {
            cover.address = Common::Several;
        }
        self.filter_of(family, &cover)
    }

    fn filter_of(&self, family: Family, cover: &Cover) -> Option<Filter> {
        let mut filter = Filter::family(family);
        filter = match cover.protocol {
            Common::None => return None,
            Common::One(protocol) => filter & Filter::protocol(protocol),
            Common::Several => {
                let each = self.scope.protocols.iter().map(|p| Filter::protocol(*p));
                each.reduce(|a, b| a | b).map_or(filter.clone(), |any| filter & any)
            }
        };
        if let Common::One(address) = cover.address {
            filter = filter & Filter::orig_dst(address);
        }
        if let Common::One(port) = cover.port {
            filter = filter & Filter::orig_dst_port(port);
        }
        Some(filter)
    }

    /// False if services have node ports in a family of which no node address is known, so that
    /// flows to those ports are not judged. Always true for [`Profile::KubeProxy`], which asks for
    /// no address.
    pub fn node_ports_judged(&self) -> bool {
        self.node_ports_judged
    }

    /// Frontends that some rule is about.
    pub fn frontends(&self) -> usize {
        [&self.ipv4, &self.ipv6].map(|f| f.frontends.len() + f.node_ports.len()).iter().sum()
    }
}

impl FamilyRules {
    fn strict(&self, entry: &Entry) -> Option<Reason> {
        let backends = self.frontends.get(&entry.frontend)?;
        if backends.removed {
            return (!entry.untranslated()).then_some(Reason::FrontendRemoved);
        }
        if backends.serve(entry.backend) {
            return None;
        }
        if entry.untranslated() && self.node_addresses.contains(&entry.frontend.address) {
            return None;
        }
        Some(backends.reason(entry))
    }

    fn kube_proxy(&self, entry: &Entry) -> Option<Reason> {
        let by_address = self.frontends.get(&entry.frontend);
        let by_node_port = self.node_ports.get(&(entry.frontend.protocol, entry.frontend.port));
        // The second arm also runs when the first looked and found the entry valid.
        let failed =
            by_address.into_iter().chain(by_node_port).find(|b| !b.serve(entry.backend))?;
        Some(failed.reason(entry))
    }
}

impl Backends {
    fn extend(&mut self, service: &ServicePort, family: Family, profile: Profile, spared: &Spared) {
        let own = |e: &&Endpoint| Family::of(e.address.ip()) == family;
        self.valid.reserve(service.endpoints.len());
        for endpoint in service.endpoints.iter().filter(own) {
            let serves = profile.serves(endpoint);
            self.served |= serves;
            if serves || spared.contains(&service.key, endpoint.address) {
                self.valid.push(endpoint.address);
            }
        }
    }

    fn serve(&self, backend: SocketAddr) -> bool {
        self.valid.binary_search(&backend).is_ok()
    }

    /// Why a backend that does not serve is stale.
    fn reason(&self, entry: &Entry) -> Reason {
        let address = entry.backend.ip();
        let first = self.valid.partition_point(|valid| valid.ip() < address);
        let same_address = self.valid.get(first).is_some_and(|valid| valid.ip() == address);
        if self.removed {
            Reason::FrontendRemoved
        } else if entry.untranslated() {
            Reason::NotTranslated
        } else if same_address {
            Reason::BackendPortChanged
        } else {
            Reason::BackendGone
        }
    }
}

impl Entry {
    fn untranslated(&self) -> bool {
        self.backend == SocketAddr::new(self.frontend.address, self.frontend.port)
    }
}

#[cfg(test)]
mod naive;
#[cfg(test)]
pub(crate) mod tests;
