//! `get`.

use std::net::{IpAddr, SocketAddr};

use clap::Args;
use ctnetlink::{Icmp, Key, Protocol, Tuple};

use crate::failure::{Done, Failure};
use crate::options::Namespace;
use crate::output;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The protocol: udp, tcp, sctp, icmp, icmpv6, ..., or a number
    protocol: Protocol,

    /// The source: 10.0.0.1:1001, [fd00::1]:1001, or an address alone for protocols without ports
    source: String,

    /// The destination, likewise
    destination: String,

    /// The tuple is that of the reply direction
    #[arg(long)]
    reply: bool,

    /// The zone
    #[arg(long, default_value_t = 0)]
    zone: u16,

    /// Type, code and id of ICMP, such as 8/0/1234
    #[arg(long, value_name = "TYPE/CODE/ID", value_parser = icmp)]
    icmp: Option<Icmp>,

    /// Print a JSON object
    #[arg(long, conflicts_with = "extended")]
    json: bool,

    /// Print a line as `conntrack -L -o extended,id` does
    #[arg(long)]
    extended: bool,
}

fn icmp(text: &str) -> Result<Icmp, String> {
    let parts: Vec<_> = text.split('/').collect();
    let read = || {
        let [kind, code, id] = parts[..] else { return None };
        Some(Icmp { kind: kind.parse().ok()?, code: code.parse().ok()?, id: id.parse().ok()? })
    };
    read().ok_or_else(|| "expected TYPE/CODE/ID, such as 8/0/1234".into())
}

pub(crate) fn run(namespace: &Namespace, arguments: &Arguments) -> Result<Done, Failure> {
    let tuple = tuple(arguments)?;
    let key = if arguments.reply { Key::reply(tuple) } else { Key::orig(tuple) };
    let flow = namespace.open()?.get(&key.zone(arguments.zone))?;
    output::print(&if arguments.json {
        serde_json::to_string(&flow)?
    } else if arguments.extended {
        flow.line().extended().id().to_string()
    } else {
        flow.to_string()
    })
}

fn tuple(arguments: &Arguments) -> Result<Tuple, Failure> {
    let Arguments { protocol, source, destination, .. } = arguments;
    let bad = |text: &str, expected: &str| {
        Failure::BadInput(format!("{text:?}: expected {expected} for {protocol}"))
    };
    if let (Ok(source), Ok(destination)) =
        (source.parse::<SocketAddr>(), destination.parse::<SocketAddr>())
    {
        return match arguments.icmp {
            None => Ok(Tuple::with_ports(*protocol, source, destination)),
            Some(_) => Err(bad("--icmp", "addresses without ports")),
        };
    }
    let address = |text: &String| {
        let expected = "ADDRESS:PORT twice, or two addresses without ports";
        text.parse::<IpAddr>().map_err(|_why| bad(text, expected))
    };
    let (source, destination) = (address(source)?, address(destination)?);
    Ok(match arguments.icmp {
        Some(icmp) => Tuple::with_icmp(source, destination, icmp),
        None => Tuple::new(*protocol, source, destination),
    })
}
