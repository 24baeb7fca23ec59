//! What a set of frontends has in common: where to look for their entries.

use std::net::IpAddr;

use crate::model::flow::Flow;
use crate::model::protocol::Protocol;
use crate::reconcile::desired::published::Published;
use crate::reconcile::desired::service::Frontend;

/// What a set of frontends has in common, field by field; of constant size.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cover {
    pub(super) protocol: Common<Protocol>,
    pub(super) address: Common<IpAddr>,
    pub(super) port: Common<u16>,
}

/// The values of one field.
#[derive(Debug, Clone, Copy, Default)]
pub(super) enum Common<T> {
    #[default]
    None,
    One(T),
    Several,
}

impl<T: PartialEq> Common<T> {
    fn allows(&self, value: &T) -> bool {
        match self {
            Common::None => false,
            Common::One(one) => one == value,
            Common::Several => true,
        }
    }

    fn extend(&mut self, value: T) {
        match self {
            Common::None => *self = Common::One(value),
            Common::One(one) if *one == value => {}
            _ => *self = Common::Several,
        }
    }

    fn or(mut self, other: Self) -> Self {
        match other {
            Common::None => self,
            Common::One(value) => {
                self.extend(value);
                self
            }
            Common::Several => Common::Several,
        }
    }
}

impl Cover {
    /// Adds the frontend of an entry.
    pub(crate) fn add<B: AsRef<[u8]>>(&mut self, flow: &Flow<B>) {
        let orig = flow.orig().destination();
        self.extend(&Frontend { address: orig.ip(), port: orig.port(), protocol: flow.protocol() });
    }

    pub(crate) fn extend(&mut self, frontend: &Frontend) {
        self.protocol.extend(frontend.protocol);
        self.address.extend(frontend.address);
        self.port.extend(frontend.port);
    }

    /// The frontends of published ports.
    pub(super) fn extend_published(&mut self, published: &Published) {
        self.protocol.extend(published.protocol);
        match &published.addresses[..] {
            [net] if net.prefix_len() == net.max_prefix_len() => self.address.extend(net.addr()),
            _ => self.address = Common::Several,
        }
        match published.host_ports.start() == published.host_ports.end() {
            true => self.port.extend(*published.host_ports.start()),
            false => self.port = Common::Several,
        }
    }

    pub(super) fn extend_any_address(&mut self, protocol: Protocol, port: u16) {
        self.protocol.extend(protocol);
        self.address = Common::Several;
        self.port.extend(port);
    }

    /// Whether a look at what is in common includes this frontend.
    pub(super) fn covers(&self, frontend: &Frontend) -> bool {
        self.protocol.allows(&frontend.protocol)
            && self.address.allows(&frontend.address)
            && self.port.allows(&frontend.port)
    }

    /// Whether there is no frontend at all.
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self.protocol, Common::None)
    }

    /// What two sets have in common.
    pub(crate) fn or(mut self, other: Cover) -> Cover {
        self.protocol = self.protocol.or(other.protocol);
        self.address = self.address.or(other.address);
        self.port = self.port.or(other.port);
        self
    }
}
