//! What a container engine does after it has changed the rules of published ports: one blocking call.
//!
//! It runs in a private network namespace, with entries as the rules would have made them.

use std::error::Error;
use std::net::IpAddr;

use ctnetlink::{Conntrack, DesiredState, HostAddresses, Profile, Protocol, Reconciler, Report};
use ctnetlink_testbed::fill::{self, Entry};
use ctnetlink_testbed::netns;

/// The container that now serves the host ports 8000 to 8099/udp, and the one that did before.
struct Replaced {
    host: Vec<IpAddr>,
    now: IpAddr,
    before: IpAddr,
}

/// Call this when the rules are written. It takes one socket and no thread that outlives it.
fn clean_up(ct: &Conntrack, replaced: &Replaced) -> ctnetlink::Result<Report> {
    let any = || HostAddresses::AnyLocal;
    let desired = DesiredState::builder()
        .node_addresses(replaced.host.iter().copied())
        .published(Protocol::UDP, 8000..=8099, any(), replaced.now, 53..=152)
        .unpublished(Protocol::UDP, 8000..=8099, any(), replaced.before)
        .build()?;
    Reconciler::new(Profile::Strict).run(ct, &desired)
}

fn main() -> Result<(), Box<dyn Error>> {
    netns::enter_private()?;
    let entry = |client: &str, host: &str, container: &str| -> Result<Entry, Box<dyn Error>> {
        Ok(Entry::udp(client.parse()?, host.parse()?, container.parse()?))
    };
    fill::fill(&[
        entry("198.51.100.1:40001", "192.0.2.5:8000", "10.88.0.7:53")?,
        entry("198.51.100.1:40002", "192.0.2.5:8001", "10.88.0.6:54")?,
        // The container's own flow to such a port number elsewhere.
        entry("10.88.0.7:40003", "203.0.113.9:8000", "203.0.113.9:8000")?,
    ]);
    let replaced = Replaced {
        host: vec!["192.0.2.5".parse()?],
        now: "10.88.0.7".parse()?,
        before: "10.88.0.6".parse()?,
    };
    let ct = Conntrack::open()?;
    let report = clean_up(&ct, &replaced)?;
    println!("{report}");
    assert_eq!(report.families[0].deleted, 1, "the flow to the old container");
    assert_eq!(ct.count()?, 2, "and no other");
    Ok(())
}
