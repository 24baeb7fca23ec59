//! The verdict: what the rules of one family say of one entry. Nothing else decides.

use std::net::SocketAddr;

use super::{Backends, FamilyRules, Judgement, Reason};
use crate::reconcile::desired::published::Published;
use crate::reconcile::desired::service::Frontend;
use crate::reconcile::scope::Zones;

/// What the rules read of an entry. Nothing else may influence a verdict.
pub(super) struct Entry {
    pub(super) frontend: Frontend,
    pub(super) backend: SocketAddr,
    pub(super) zone: u16,
    /// Packets of both directions were seen.
    pub(super) answered: bool,
}

impl Entry {
    pub(super) fn untranslated(&self) -> bool {
        self.backend == SocketAddr::new(self.frontend.address, self.frontend.port)
    }
}

impl FamilyRules {
    pub(super) fn strict(&self, entry: &Entry, zones: &Zones) -> Judgement {
        match self.frontends.get(&entry.frontend) {
            // What was a Service's can be a container's by now.
            Some(backends) if !(backends.removed && self.is_published(&entry.frontend)) => {
                self.at_frontend(backends, entry, zones)
            }
            _ => self.at_published_port(entry, zones),
        }
    }

    pub(super) fn published_at(&self, frontend: &Frontend) -> impl Iterator<Item = &Published> {
        self.published.iter().filter(|published| published.is_at(frontend))
    }

    pub(super) fn is_published(&self, frontend: &Frontend) -> bool {
        self.published_at(frontend).next().is_some()
    }

    fn at_frontend(&self, backends: &Backends, entry: &Entry, zones: &Zones) -> Judgement {
        if backends.removed {
            return match entry.untranslated() {
                true => Judgement::Keep,
                false => Judgement::Stale(Reason::FrontendRemoved),
            };
        }
        if backends.serve(entry.backend) {
            return Judgement::Keep;
        }
        if entry.untranslated() {
            return self.untranslated(backends, entry, zones);
        }
        if backends.stages.binary_search(&entry.backend).is_ok() {
            return Judgement::Keep;
        }
        Judgement::Stale(backends.reason(entry))
    }

    /// The entry leads to the frontend itself: nothing has translated it.
    fn untranslated(&self, backends: &Backends, entry: &Entry, zones: &Zones) -> Judgement {
        let stale = Judgement::Stale(Reason::NotTranslated);
        // In another zone it is a stage of another datapath, unless the caller knows better.
        if entry.zone != 0 && !zones.names(entry.zone) {
            return Judgement::Keep;
        }
        if !self.node_addresses.contains(&entry.frontend.address) && !backends.node_port {
            return stale;
        }
        // From here on the address is the node's own. Nothing would translate it:
        if !backends.served {
            return Judgement::Keep;
        }
        if self.given_up.contains(&entry.frontend) {
            return Judgement::GivenUp;
        }
        // A client was faster than the rules, and would be black-holed forever (kubernetes#98305).
        if backends.node_port {
            return stale;
        }
        // A host service at an external or load-balancer IP of the node (kubernetes#129982).
        if entry.answered {
            return Judgement::Keep;
        }
        Judgement::Suspect(Reason::NotTranslated)
    }

    /// A published port of a container decides. A port that is no longer published decides only
    /// that untranslated flows and flows to its container are stale.
    fn at_published_port(&self, entry: &Entry, zones: &Zones) -> Judgement {
        let mut here = self.published_at(&entry.frontend).peekable();
        if here.peek().is_none() || self.unknown.contains(&entry.frontend) {
            return Judgement::Keep;
        }
        let (mut published, mut leads_elsewhere) = (false, Reason::BackendGone);
        let mut torn_down = false;
        for port in here {
            let own = port.container == entry.backend.ip();
            if port.torn_down {
                torn_down |= own;
            } else if port.backend(&entry.frontend) == entry.backend {
                return Judgement::Keep;
            } else {
                published = true;
                if own {
                    leads_elsewhere = Reason::BackendPortChanged;
                }
            }
        }
        match (entry.untranslated(), published, torn_down) {
            // In another zone it is a stage of another datapath, unless the caller knows better.
            (true, _, _) if entry.zone != 0 && !zones.names(entry.zone) => Judgement::Keep,
            // Nothing translates what the host sends to itself: a proxy of the container engine
            // answers it.
            (true, _, _) if entry.answered && entry.frontend.address.is_loopback() => {
                Judgement::Keep
            }
            (true, _, _) if self.given_up.contains(&entry.frontend) => Judgement::GivenUp,
            (true, _, _) => Judgement::Stale(Reason::NotTranslated),
            (false, true, _) => Judgement::Stale(leads_elsewhere),
            (false, false, true) => Judgement::Stale(Reason::FrontendRemoved),
            (false, false, false) => Judgement::Keep,
        }
    }

    pub(super) fn kube_proxy(&self, entry: &Entry, zones: &Zones) -> Judgement {
        let by_address = self.frontends.get(&entry.frontend);
        let by_node_port = self.node_ports.get(&(entry.frontend.protocol, entry.frontend.port));
        // As in kube-proxy, the node port is judged even if the frontend was found and the entry is
        // valid there.
        let failed = by_address.into_iter().chain(by_node_port).find(|b| !b.serve(entry.backend));
        match failed {
            Some(backends) => Judgement::Stale(backends.reason(entry)),
            None if by_address.is_none() && by_node_port.is_none() => {
                self.at_published_port(entry, zones)
            }
            None => Judgement::Keep,
        }
    }
}
