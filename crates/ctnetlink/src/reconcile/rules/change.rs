//! What a change of the rules can have made stale.

use std::net::SocketAddr;

use super::cover::Cover;
use super::{Backends, FamilyRules, Here, Rules};
use crate::filter::Filter;
use crate::model::tuple::Family;
use crate::reconcile::desired::service::Frontend;

/// Where entries may have become stale that were not before: pure, and of constant size.
#[derive(Debug, Clone)]
pub(crate) enum Affected {
    /// Anywhere.
    Everything,
    /// Toward these frontends, by family in the order of [`Family::ALL`]; two empty covers mean
    /// nowhere.
    Frontends([Cover; 2]),
}

impl Default for Affected {
    fn default() -> Self {
        Affected::nothing()
    }
}

impl Affected {
    /// Nowhere.
    pub(crate) fn nothing() -> Affected {
        Affected::Frontends([Cover::default(), Cover::default()])
    }

    /// Whether a look there includes this frontend.
    pub(crate) fn covers(&self, frontend: &Frontend) -> bool {
        match self {
            Affected::Everything => true,
            Affected::Frontends(covers) => covers[frontend.family() as usize].covers(frontend),
        }
    }

    pub(crate) fn is_nothing(&self) -> bool {
        matches!(self, Affected::Frontends(covers) if covers.iter().all(Cover::is_empty))
    }

    /// Filters that let through what can be stale there, by family; `None` for a
    /// family in which nothing can be.
    pub(crate) fn filters(&self, rules: &Rules) -> [Option<Filter>; 2] {
        match self {
            Affected::Everything => Family::ALL.map(|family| rules.filter(family)),
            Affected::Frontends([v4, v6]) => {
                [rules.cover_filter(Family::Ipv4, v4), rules.cover_filter(Family::Ipv6, v6)]
            }
        }
    }

    /// The union of two places.
    pub(crate) fn or(self, other: Affected) -> Affected {
        match (self, other) {
            (Affected::Frontends([v4, v6]), Affected::Frontends([more_v4, more_v6])) => {
                Affected::Frontends([v4.or(more_v4), v6.or(more_v6)])
            }
            _ => Affected::Everything,
        }
    }
}

impl Rules {
    /// Where these rules may judge an entry stale that the previous rules, once carried out, kept:
    /// at a frontend that is new, has vanished, has lost a backend, or has gone from no backend to
    /// some.
    pub(crate) fn change_since(&self, before: &Rules) -> Affected {
        if self.scope != before.scope {
            return Affected::Everything;
        }
        let mut covers = [Cover::default(), Cover::default()];
        for (family, cover) in Family::ALL.into_iter().zip(&mut covers) {
            let (now, then) = (self.family(family), before.family(family));
            // An untranslated flow to an address that is no longer the node's no longer belongs to
            // a host service.
            if !then.node_addresses.iter().all(|address| now.node_addresses.contains(address)) {
                return Affected::Everything;
            }
            now.change_since(then, cover);
        }
        Affected::Frontends(covers)
    }
}

impl Rules {
    /// Whether both judge entries at this frontend alike.
    pub(crate) fn is_same_at(&self, before: &Rules, frontend: &Frontend) -> bool {
        let family = frontend.family();
        let (now, then) = (self.family(family), before.family(family));
        match (now.frontends.get(frontend), then.frontends.get(frontend)) {
            (Some(now), Some(then)) => {
                !now.kept_less_than(Some(then))
                    && !then.kept_less_than(Some(now))
                    && (now.served, now.served_here) == (then.served, then.served_here)
            }
            (None, None) => now.published_at(frontend).eq(then.published_at(frontend)),
            _ => false,
        }
    }
}

impl Rules {
    /// Where ports of containers are published, or are no longer.
    pub(crate) fn published_places(&self) -> Affected {
        Affected::Frontends(Family::ALL.map(|family| {
            let mut cover = Cover::default();
            for published in &self.family(family).published {
                cover.extend_published(published);
            }
            cover
        }))
    }
}

impl FamilyRules {
    fn change_since(&self, before: &FamilyRules, cover: &mut Cover) {
        for (some, others) in
            [(&self.published, &before.published), (&before.published, &self.published)]
        {
            for published in some.iter().filter(|published| !others.contains(published)) {
                cover.extend_published(published);
            }
        }
        // Where nothing else decides any more, published ports do.
        let freed = |frontend: &&Frontend| {
            !self.frontends.contains_key(*frontend)
                && !self.unknown.contains(*frontend)
                && self.is_published(frontend)
        };
        for frontend in before.frontends.keys().chain(&before.unknown).filter(freed) {
            cover.extend(frontend);
        }
        if !self.published.is_empty() {
            let gone = before.node_ports.keys().filter(|key| !self.node_ports.contains_key(*key));
            gone.for_each(|key| cover.extend_any_address(key.0, key.1));
        }
        for (frontend, backends) in &self.frontends {
            if backends.kept_less_than(before.frontends.get(frontend)) {
                cover.extend(frontend);
            }
        }
        for (key, backends) in &self.node_ports {
            if backends.kept_less_than(before.node_ports.get(key)) {
                cover.extend_any_address(key.0, key.1);
            }
        }
    }
}

impl Backends {
    /// Whether an entry that was valid before may be stale now.
    fn kept_less_than(&self, before: Option<&Backends>) -> bool {
        let Some(Backends { valid, extra, stages, served, served_here, node_port, removed }) =
            before
        else {
            return true;
        };
        self.removed != *removed
            // While no backend serves, nothing is translated and clients keep making such entries.
            // They have to be looked for once one serves. The same is true of a node on which a
            // `Local` policy prevents translation.
            || self.served && !served
            || self.begins_here(*served_here, valid)
            || self.node_port && !node_port
            || !valid.iter().all(|backend| self.serve(*backend))
            || !extra.iter().all(|net| self.extra.contains(net))
            || !stages.iter().all(|stage| self.stages.contains(stage))
    }

    /// The rules of this node begin to translate, or may: with a `Local` policy that is decided by
    /// the endpoints of the node, and where those are not known, any new one may be one of them.
    fn begins_here(&self, before: Here, valid: &[SocketAddr]) -> bool {
        match self.served_here {
            Here::No => false,
            // The policy no longer asks.
            Here::NotAsked => self.served && matches!(before, Here::No | Here::Unknown),
            Here::Yes => before != Here::Yes,
            Here::Unknown => !self.valid.iter().all(|backend| valid.binary_search(backend).is_ok()),
        }
    }
}
