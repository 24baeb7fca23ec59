//! Ports that a container engine publishes at addresses of the host, without Kubernetes.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;

use ipnet::IpNet;

use crate::error::{Error, Result};
use crate::model::protocol::Protocol;
use crate::model::tuple::Family;
use crate::reconcile::desired::service::Frontend;

/// Where a port of a container is published: at some addresses of the host, or at all of them.
///
/// ```
/// use ctnetlink::HostAddresses;
/// # use std::net::IpAddr;
/// # let address: IpAddr = "192.0.2.5".parse()?;
/// let one = HostAddresses::from(address);
/// let all = HostAddresses::AnyLocal; // `-p 8080:80`
/// # assert_ne!(one, all);
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostAddresses {
    /// Every address of the host in the container's family: its node addresses, and the loopback
    /// ones. The state has to say at least one
    /// [node address](crate::DesiredStateBuilder::node_addresses) of that family.
    AnyLocal,
    /// These addresses.
    These(Vec<IpAddr>),
}

impl From<IpAddr> for HostAddresses {
    fn from(address: IpAddr) -> Self {
        HostAddresses::These(vec![address])
    }
}

/// A range of host ports that leads, or led, to as many ports of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Published {
    pub(crate) protocol: Protocol,
    pub(crate) host_ports: RangeInclusive<u16>,
    /// Host addresses of the container's family.
    pub(crate) addresses: Vec<IpNet>,
    pub(crate) container: IpAddr,
    pub(crate) first_container_port: u16,
    /// It is no longer published.
    pub(crate) torn_down: bool,
}

impl Published {
    /// Resolves the host's addresses.
    ///
    /// # Errors
    ///
    /// Ranges of different lengths or with port 0, an address of another family than the
    /// container's, and any local address where none of the host is known.
    pub(crate) fn new(
        protocol: Protocol,
        host_ports: RangeInclusive<u16>,
        host: &HostAddresses,
        container: IpAddr,
        container_ports: &RangeInclusive<u16>,
        node_addresses: &[IpAddr],
    ) -> Result<Published> {
        let container = container.to_canonical();
        let family = Family::of(container);
        let name = format!("published ports {}-{}", host_ports.start(), host_ports.end());
        let refuse = |problem: String| Err(Error::Invalid(format!("{name}: {problem}")));
        if host_ports.is_empty() || host_ports.len() != container_ports.len() {
            return refuse(format!(
                "{} ports of the host and {} of the container; expected as many, and at least one",
                host_ports.len(),
                container_ports.len()
            ));
        }
        if *host_ports.start() == 0 || *container_ports.start() == 0 {
            return refuse("0 is not a port".into());
        }
        let addresses: Vec<IpNet> = match host {
            HostAddresses::These(addresses) => {
                let addresses: Vec<_> = addresses.iter().map(IpAddr::to_canonical).collect();
                // The wildcard address of a socket is never the destination of a packet.
                if let Some(address) = addresses.iter().find(|a| a.is_unspecified()) {
                    return refuse(format!(
                        "{address} is not one address of the host; publish at any local address"
                    ));
                }
                if let Some(address) = addresses.iter().find(|a| Family::of(**a) != family) {
                    return refuse(format!("{address} is not of the family of {container}"));
                }
                addresses.into_iter().map(IpNet::from).collect()
            }
            HostAddresses::AnyLocal => {
                let own = node_addresses.iter().filter(|a| Family::of(**a) == family);
                let own: Vec<_> = own.map(|address| IpNet::from(*address)).collect();
                if own.is_empty() {
                    return refuse(format!(
                        "published at any local address, and no {family} node address is known"
                    ));
                }
                let loopback = match family {
                    Family::Ipv4 => IpNet::new_assert(IpAddr::from([127, 0, 0, 0]), 8),
                    Family::Ipv6 => IpNet::from(IpAddr::V6(std::net::Ipv6Addr::LOCALHOST)),
                };
                own.into_iter().chain([loopback]).collect()
            }
        };
        let first_container_port = *container_ports.start();
        let torn_down = false;
        Ok(Published {
            protocol,
            host_ports,
            addresses,
            container,
            first_container_port,
            torn_down,
        })
    }

    /// Whether it is about flows to this frontend.
    pub(crate) fn is_at(&self, frontend: &Frontend) -> bool {
        self.protocol == frontend.protocol
            && self.host_ports.contains(&frontend.port)
            && self.addresses.iter().any(|net| net.contains(&frontend.address))
    }

    /// Where a flow to this frontend has to go.
    pub(crate) fn backend(&self, frontend: &Frontend) -> SocketAddr {
        let offset = frontend.port.saturating_sub(*self.host_ports.start());
        SocketAddr::new(self.container, self.first_container_port.saturating_add(offset))
    }
}
