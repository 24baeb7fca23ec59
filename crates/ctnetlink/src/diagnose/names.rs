//! Names instead of numbers: services and pods.

use std::collections::HashMap;
use std::net::IpAddr;

use super::top::{Top, TopRow};
use crate::reconcile::desired::DesiredState;
use crate::reconcile::desired::service::Frontend;

/// What frontends, backends and sources are called.
///
/// ```
/// use ctnetlink::diagnose::Names;
/// # fn f(desired: &ctnetlink::DesiredState) {
/// let mut names = Names::of(desired); // services, and what serves them
/// names.add("10.244.1.5".parse().unwrap(), "kube-system/coredns-0"); // a pod
/// # }
/// ```
#[derive(Debug, Clone, Default)]
pub struct Names {
    frontends: HashMap<Frontend, String>,
    addresses: HashMap<IpAddr, String>,
}

impl Names {
    /// The services of a desired state: `namespace/name:port` at their frontends, `namespace/name` at
    /// the addresses of their endpoints.
    pub fn of(desired: &DesiredState) -> Names {
        let mut names = Names::default();
        for service in desired.services() {
            let key = &service.key;
            let named = format!("{}/{}", key.namespace, key.name);
            for frontend in service.frontends() {
                let text = match key.port_name.as_str() {
                    "" => format!("{named}:{}", frontend.port),
                    port => format!("{named}:{port}"),
                };
                names.frontends.insert(frontend, text);
            }
            for endpoint in &service.endpoints {
                let address = endpoint.address.ip().to_canonical();
                names.addresses.entry(address).or_insert_with(|| named.clone());
            }
        }
        names
    }

    /// Adds the name of an address, such as a pod's, in place of one it had.
    pub fn add(&mut self, address: IpAddr, name: impl Into<String>) {
        self.addresses.insert(address.to_canonical(), name.into());
    }

    /// Whether no name is known.
    pub fn is_empty(&self) -> bool {
        self.frontends.is_empty() && self.addresses.is_empty()
    }

    /// The name of a frontend: the service's, or that of the address with the port.
    pub fn frontend(&self, frontend: &Frontend) -> Option<String> {
        let of_address = || Some(format!("{}:{}", self.address(frontend.address)?, frontend.port));
        self.frontends.get(frontend).cloned().or_else(of_address)
    }

    /// The name of an address.
    pub fn address(&self, address: IpAddr) -> Option<&str> {
        self.addresses.get(&address.to_canonical()).map(String::as_str)
    }

    pub(super) fn fill_in(&self, top: &mut Top) {
        for row in &mut top.rows {
            // What another set of names has given stays.
            row.name = self.of_row(row).or(row.name.take());
        }
    }

    fn of_row(&self, row: &TopRow) -> Option<String> {
        match (row.port, row.protocol) {
            (Some(port), Some(protocol)) => {
                self.frontend(&Frontend::new(row.address, port, protocol))
            }
            _ => self.address(row.address).map(ToOwned::to_owned),
        }
    }
}
