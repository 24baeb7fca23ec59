//! Reconciling without Kubernetes: a desired state written by hand.
//!
//! A resolver at 192.0.2.53 is balanced over two servers; the second is being drained. In a private
//! network namespace this makes the entries of three clients, and removes the one that still points
//! at a server that is gone.

use std::error::Error;
use std::net::{IpAddr, SocketAddr};

use ctnetlink::{Conntrack, DesiredState, Endpoint, Profile, Reconciler};
use ctnetlink_testbed::{fill, netns};

fn main() -> Result<(), Box<dyn Error>> {
    netns::enter_private()?;
    let resolver: SocketAddr = "192.0.2.53:53".parse()?;
    let [alive, drained, gone]: [SocketAddr; 3] =
        ["10.1.0.1:53".parse()?, "10.1.0.2:53".parse()?, "10.1.0.3:53".parse()?];
    for (client, server) in
        [("10.9.0.1:1000", alive), ("10.9.0.2:1000", alive), ("10.9.0.3:1000", gone)]
    {
        fill::fill([&fill::Entry::udp(client.parse()?, resolver, server)]);
    }

    let vip: IpAddr = resolver.ip();
    let desired = DesiredState::builder()
        .udp(vip, resolver.port())
        .backends([Endpoint::from(alive), Endpoint::from(drained).serving(false)])
        .build()?;

    let ct = Conntrack::open()?;
    let report = Reconciler::new(Profile::Strict).run(&ct, &desired)?;
    println!("{report}");
    println!("{} entries are left", ct.count()?);
    assert_eq!(ct.count()?, 2);
    Ok(())
}
