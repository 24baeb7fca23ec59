//! What a container engine embeds: when a container goes, the UDP entries of its published ports go,
//! so that its successor gets the traffic (moby#8795 and its like). Nothing is done before the first
//! call: no thread, no socket.
//!
//! ```text
//! cargo run --release --example embed -- 172.17.0.2
//! ```

use std::net::IpAddr;
use std::process::ExitCode;

use ctnetlink::{Conntrack, Filter, Protocol};

/// Deletes the UDP entries whose answers come from an address of the container, whatever port.
fn container_is_gone(address: IpAddr) -> ctnetlink::Result<u64> {
    let stale = Filter::protocol(Protocol::UDP) & Filter::reply_src(address);
    let report = Conntrack::open()?.delete_matching(&stale).run()?;
    match report.error {
        Some(error) => Err(error),
        None => Ok(report.deleted),
    }
}

fn main() -> ExitCode {
    let Some(Ok(address)) = std::env::args().nth(1).map(|text| text.parse()) else {
        eprintln!("usage: embed ADDRESS-OF-THE-CONTAINER");
        return ExitCode::from(2);
    };
    match container_is_gone(address) {
        Ok(deleted) => {
            println!("{deleted} deleted");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
