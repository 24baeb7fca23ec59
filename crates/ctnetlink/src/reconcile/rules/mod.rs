//! Which entry is stale, and why: pure rules over one entry and the desired state.
//!
//! [`Rules`] is compiled once per run from the desired state and asked once per entry. It does no
//! I/O, so it can be tested against other implementations on random tables, and reused by anyone
//! who has a table from elsewhere.

pub(crate) mod change;
pub(crate) mod cover;
mod verdict;

use self::verdict::Entry;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use self::cover::{Common, Cover};
use crate::filter::Filter;
use crate::model::flow::Flow;
use crate::model::protocol::Protocol;
use crate::model::status::Status;
use crate::model::tuple::Family;
use crate::reconcile::desired::DesiredState;
use crate::reconcile::desired::published::Published;
use crate::reconcile::desired::service::{Endpoint, Frontend, ServiceKey, ServicePort};
use crate::reconcile::scope::{Profile, Scope};

/// Why an entry is stale. If several reasons apply, the first of them is given.
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
///     Verdict::Stale(reason) => println!("{reason}: {flow}"),
///     Verdict::Suspect(reason) => println!("{reason}, if it is still unanswered soon: {flow}"),
///     _ => {}
/// }
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Verdict {
    /// Healthy, or not judged by these rules.
    Keep,
    /// To be removed.
    Stale(Reason),
    /// To be removed if the same entry is still unanswered a moment later: an untranslated entry to
    /// an external or load-balancer IP that is the node's own. Either it is a host service's, which
    /// will answer, or it was made before the rules existed and will never be answered.
    Suspect(Reason),
}

/// A verdict, with what a report shows of entries that are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Judgement {
    Keep,
    Stale(Reason),
    Suspect(Reason),
    /// It would be stale or suspect, but its zone is not looked at.
    OtherZone,
    /// It is untranslated at an address of the node where nothing translates: deleting it again and
    /// again has not helped.
    GivenUp,
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
    /// `kube-proxy` only: node ports, which match at any address.
    node_ports: HashMap<(Protocol, u16), Backends>,
    /// `strict` only: an untranslated flow to one of these may belong to a host service.
    node_addresses: Vec<IpAddr>,
    /// Ports of containers, published and no longer published.
    published: Vec<Published>,
    /// Frontends of unknown Services: nothing is judged there.
    unknown: HashSet<Frontend>,
    /// Where nothing translates: untranslated entries at these addresses of the node come back
    /// whenever they are deleted.
    given_up: BTreeSet<Frontend>,
}

/// The endpoints of a frontend to which flows are valid.
#[derive(Debug, Default)]
struct Backends {
    /// Those that serve and those in their grace time, sorted.
    valid: Vec<SocketAddr>,
    /// Valid addresses that no service lists, on any port.
    extra: Vec<IpNet>,
    /// The cluster IP frontends of the same service ports: one stage of a chain, from which another
    /// translator goes on.
    stages: Vec<SocketAddr>,
    /// At least one of them serves, so that the packet filter translates new flows.
    served: bool,
    /// The rules of this node translate, as far as a `Local` traffic policy lets them: what is known
    /// of its own endpoints.
    served_here: Here,
    /// It is a node port of a live service, at which no host service can listen.
    node_port: bool,
    /// No live service owns the frontend.
    removed: bool,
}

/// Whether a service is served by endpoints of this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Here {
    /// No policy asks.
    #[default]
    NotAsked,
    No,
    Yes,
    /// A `Local` policy asks, and which endpoints are on this node is not known.
    Unknown,
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

impl Rules {
    /// Compiles the rules for a desired state. `removed` are frontends that are removed unless a
    /// live service owns them; `spared` are endpoints whose flows are kept although they do not
    /// serve; at the frontends in `given_up` nothing translates. Nothing is judged at those in
    /// `unknown`, which earlier states give to Services that are unknown now.
    pub(crate) fn compile<'f>(
        desired: &DesiredState,
        removed: impl Iterator<Item = &'f Frontend>,
        unknown: &BTreeSet<Frontend>,
        scope: &Scope,
        spared: &Spared,
        given_up: &BTreeSet<Frontend>,
    ) -> Rules {
        let mut rules = Rules {
            scope: scope.clone(),
            ipv4: FamilyRules::default(),
            ipv6: FamilyRules::default(),
            node_ports_judged: true,
        };
        // Most services have one frontend per family.
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
        rules.add_published(desired);
        rules.forget_unknown(desired);
        for frontend in unknown {
            rules.forget(*frontend);
        }
        for frontend in given_up {
            rules.family_mut(frontend.family()).given_up.insert(*frontend);
        }
        for family in [&mut rules.ipv4, &mut rules.ipv6] {
            for backends in family.frontends.values_mut().chain(family.node_ports.values_mut()) {
                for addresses in [&mut backends.valid, &mut backends.stages] {
                    addresses.sort_unstable();
                    addresses.dedup();
                }
            }
        }
        rules
    }

    fn fill_strict(&mut self, desired: &DesiredState, spared: &Spared) {
        for service in self.in_scope(desired) {
            let own = service.frontends().map(|frontend| (frontend, false));
            let at_node = desired.node_frontends(service).map(|frontend| (frontend, true));
            for (frontend, node_port) in own.chain(at_node) {
                let family = frontend.family();
                let backends = self.family_mut(family).frontends.entry(frontend).or_default();
                backends.extend(service, family, Profile::Strict, spared);
                backends.node_port |= node_port;
                backends.add_stages(service, &frontend);
            }
            // A node port is not judged if no node address of its family is known. The report shows
            // that.
            let judged = |family| {
                !service.exists_in(family)
                    || desired.node_port_addresses().iter().any(|a| Family::of(*a) == family)
            };
            if service.node_port.is_some() && !Family::ALL.into_iter().all(judged) {
                self.node_ports_judged = false;
            }
        }
        for address in desired.node_addresses() {
            self.family_mut(Family::of(*address)).node_addresses.push(*address);
        }
        for (frontend, extra) in desired.extra_backends() {
            let rules = self.family_mut(frontend.family());
            if let Some(backends) = rules.frontends.get_mut(frontend) {
                backends.extra.extend(extra);
            }
        }
    }

    fn add_published(&mut self, desired: &DesiredState) {
        let protocols = self.scope.protocols.clone();
        for published in desired.published().iter().filter(|p| protocols.contains(&p.protocol)) {
            let rules = self.family_mut(Family::of(published.container));
            rules.published.push(published.clone());
        }
    }

    /// Drops the frontends of unknown Services, even shared or removed ones: nothing is judged
    /// there.
    fn forget_unknown(&mut self, desired: &DesiredState) {
        let strict = self.scope.profile == Profile::Strict;
        for unknown in desired.unknown().iter().filter(|unknown| strict || unknown.unreadable) {
            for service in &unknown.services {
                for frontend in service.frontends().chain(desired.node_frontends(service)) {
                    self.forget(frontend);
                }
                if let Some(port) = service.node_port {
                    for family in Family::ALL {
                        let key = (service.key.protocol, port);
                        self.family_mut(family).node_ports.remove(&key);
                    }
                }
            }
        }
    }

    fn forget(&mut self, frontend: Frontend) {
        let rules = self.family_mut(frontend.family());
        rules.frontends.remove(&frontend);
        rules.unknown.insert(frontend);
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

    /// Judges one entry. Time is logarithmic in the number of services and backends, and linear in
    /// the number of published ranges, node addresses and extra backends.
    pub fn verdict<B: AsRef<[u8]>>(&self, flow: &Flow<B>) -> Verdict {
        match self.judge(flow) {
            Judgement::Stale(reason) => Verdict::Stale(reason),
            Judgement::Suspect(reason) => Verdict::Suspect(reason),
            Judgement::Keep | Judgement::OtherZone | Judgement::GivenUp => Verdict::Keep,
        }
    }

    /// Like [`verdict`](Rules::verdict), with what a report shows of entries that are kept.
    pub(crate) fn judge<B: AsRef<[u8]>>(&self, flow: &Flow<B>) -> Judgement {
        if !self.scope.protocols.contains(&flow.protocol()) {
            return Judgement::Keep;
        }
        let orig = flow.orig().destination();
        let reply = flow.reply().source();
        let entry = Entry {
            frontend: Frontend::new(orig.ip(), orig.port(), flow.protocol()),
            backend: SocketAddr::new(reply.ip().to_canonical(), reply.port()),
            zone: flow.zone(),
            answered: flow.status().contains(Status::SEEN_REPLY),
        };
        let Scope { profile, zones, .. } = &self.scope;
        let rules = self.family(flow.family());
        let judgement = match profile {
            Profile::Strict => rules.strict(&entry, zones),
            Profile::KubeProxy => rules.kube_proxy(&entry, zones),
        };
        match judgement {
            Judgement::Stale(_) | Judgement::Suspect(_)
                if !zones.looks_at(entry.zone, *profile) =>
            {
                Judgement::OtherZone
            }
            judgement => judgement,
        }
    }

    /// A filter that lets through every entry of this family that could be stale; `None` if no entry
    /// could be. It names the protocol, the address and the port that all frontends have in common.
    pub fn filter(&self, family: Family) -> Option<Filter> {
        let rules = self.family(family);
        let mut cover = Cover::default();
        for frontend in rules.frontends.keys() {
            cover.extend(frontend);
        }
        for (protocol, port) in rules.node_ports.keys() {
            cover.extend_any_address(*protocol, *port);
        }
        for published in &rules.published {
            cover.extend_published(published);
        }
        self.filter_of(family, &cover)
    }

    /// A filter that lets through every entry of this family that could be stale at some frontends;
    /// `None` if there are no such frontends.
    pub(crate) fn cover_filter(&self, family: Family, some: &Cover) -> Option<Filter> {
        let mut cover = some.clone();
        // If node ports match at any address, an entry found at one address says nothing about the
        // others.
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

    /// Whether untranslated entries at this frontend are left alone in the end, if they come back
    /// whenever they are deleted: where a program of the node itself can be, and not by kube-proxy's
    /// rules, which delete them always.
    pub(crate) fn can_give_up(&self, frontend: &Frontend) -> bool {
        let rules = self.family(frontend.family());
        let at_node = || rules.node_addresses.contains(&frontend.address);
        self.scope.profile == Profile::Strict
            && match rules.frontends.get(frontend) {
                Some(backends) if !backends.removed => backends.node_port || at_node(),
                _ => rules.is_published(frontend),
            }
    }

    /// False if services have node ports in a family for which no node address is known; flows to
    /// those ports are not judged. Always true for [`Profile::KubeProxy`], which needs no node
    /// address.
    pub fn node_ports_judged(&self) -> bool {
        self.node_ports_judged
    }

    /// How many frontends have rules, including the node ports that match at any address; a range
    /// of published ports counts as one.
    pub fn frontends(&self) -> usize {
        let of = |f: &FamilyRules| f.frontends.len() + f.node_ports.len() + f.published.len();
        of(&self.ipv4) + of(&self.ipv6)
    }
}

impl Backends {
    fn extend(&mut self, service: &ServicePort, family: Family, profile: Profile, spared: &Spared) {
        let own = |e: &&Endpoint| Family::of(e.address.ip()) == family;
        self.valid.reserve(service.endpoints.len());
        for endpoint in service.endpoints.iter().filter(own) {
            let serves = profile.serves(endpoint);
            self.served |= serves;
            if service.local_traffic && serves {
                self.served_here = self.served_here.or(match endpoint.local {
                    Some(true) => Here::Yes,
                    Some(false) => Here::No,
                    None => Here::Unknown,
                });
            }
            if serves || spared.contains(&service.key, endpoint.address) {
                self.valid.push(endpoint.address);
            }
        }
    }

    /// The cluster IPs of the service, as what a load-balancer IP may lead to in another zone.
    fn add_stages(&mut self, service: &ServicePort, frontend: &Frontend) {
        let addresses = service.cluster_ips.iter().map(|ip| SocketAddr::new(*ip, service.port));
        let own = SocketAddr::new(frontend.address, frontend.port);
        let own_family = |stage: &SocketAddr| stage.is_ipv4() == own.is_ipv4();
        self.stages.extend(addresses.filter(|stage| own_family(stage) && *stage != own));
    }

    fn serve(&self, backend: SocketAddr) -> bool {
        self.valid.binary_search(&backend).is_ok()
            || self.extra.iter().any(|net| net.contains(&backend.ip()))
    }

    /// Why a backend that does not serve is stale.
    fn reason(&self, entry: &Entry) -> Reason {
        let address = entry.backend.ip();
        // `valid` is sorted by address, then port: if the address serves on any port, the first
        // endpoint that is not below it has this address.
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

impl Here {
    fn or(self, other: Here) -> Here {
        match (self, other) {
            (Here::Yes, _) | (_, Here::Yes) => Here::Yes,
            (Here::Unknown, _) | (_, Here::Unknown) => Here::Unknown,
            _ => Here::No,
        }
    }
}

#[cfg(test)]
mod containers;
#[cfg(test)]
mod naive;
#[cfg(test)]
pub(crate) mod tests;
#[cfg(test)]
mod unknown;
