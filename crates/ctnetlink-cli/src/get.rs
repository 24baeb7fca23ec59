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
    let flow = namespace.open()?.get(&key.zone(arguments.zone)).map_err(|error| {
        match error.is_not_found() {
            true => Failure::Failed(format!("there is no such entry: {tuple} ({error})")),
            false => error.into(),
        }
    })?;
    output::print(&if arguments.json {
        serde_json::to_string(&flow)?
    } else if arguments.extended {
        flow.line().extended().id().to_string()
    } else {
        flow.to_string()
    })
}

/// GRE has keys in their place.
fn has_ports(protocol: Protocol) -> bool {
    use Protocol as P;
    [P::TCP, P::UDP, P::UDPLITE, P::SCTP, P::DCCP, P::GRE].contains(&protocol)
}

fn same_family(source: IpAddr, destination: IpAddr) -> Result<(), Failure> {
    match source.is_ipv4() == destination.is_ipv4() {
        true => Ok(()),
        false => Err(Failure::BadInput(format!("{source} and {destination} are of two families"))),
    }
}

fn tuple(arguments: &Arguments) -> Result<Tuple, Failure> {
    let Arguments { protocol, source, destination, .. } = arguments;
    let bad = |text: &str, expected: &str| {
        Failure::BadInput(format!("{text:?}: expected {expected} for {protocol}"))
    };
    if let (Ok(source), Ok(destination)) =
        (source.parse::<SocketAddr>(), destination.parse::<SocketAddr>())
    {
        same_family(source.ip(), destination.ip())?;
        return match arguments.icmp {
            None if !has_ports(*protocol) => Err(bad(&arguments.source, "addresses without ports")),
            None => Ok(Tuple::with_ports(*protocol, source, destination)),
            Some(_) => Err(bad("--icmp", "addresses without ports")),
        };
    }
    let address = |text: &String| {
        let expected = "ADDRESS:PORT twice, or two addresses without ports";
        text.parse::<IpAddr>().map_err(|_why| bad(text, expected))
    };
    let (source, destination) = (address(source)?, address(destination)?);
    same_family(source, destination)?;
    let is_icmp = matches!(*protocol, Protocol::ICMP | Protocol::ICMPV6);
    match arguments.icmp {
        Some(icmp) if is_icmp => Ok(Tuple::with_icmp(source, destination, icmp)),
        Some(_) => Err(bad("--icmp", "no --icmp")),
        None if is_icmp => Err(bad("no --icmp", "--icmp TYPE/CODE/ID")),
        None if has_ports(*protocol) => Err(bad(&arguments.source, "ADDRESS:PORT twice")),
        None => Ok(Tuple::new(*protocol, source, destination)),
    }
}
