//! `reconcile`.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::Args;
use ctnetlink::{Family, Frontend, IpNet, Profile, Progress, Protocol, Reconciler, Report, Zones};
use serde_json::Value;

use crate::cluster;
use crate::failure::{Done, Failure};
use crate::options::Namespace;
use crate::output;
use crate::report::report_json;

#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("source").args(["cluster", "cluster_command"]).required(true)))]
pub(crate) struct Arguments {
    /// Reconcile the network namespace this runs in with a cluster: the output of
    /// `kubectl get services,endpointslices -A -o json` (`-` = standard input)
    #[arg(long, value_name = "FILE")]
    pub(crate) cluster: Option<PathBuf>,

    /// Run this shell command and use its output as the cluster document. It runs a second time if
    /// the table shows backends that the document does not know yet, before their flows are judged
    #[arg(long, value_name = "COMMAND")]
    pub(crate) cluster_command: Option<String>,

    /// Refuse a document that was written longer ago: backends may have come since
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 600,
        requires = "cluster",
        conflicts_with = "cluster_command"
    )]
    pub(crate) max_age: u64,

    /// The document of the last run that succeeded; entries of frontends that have vanished since
    /// are removed
    #[arg(long, value_name = "FILE")]
    pub(crate) previous: Option<PathBuf>,

    /// An address of this node (repeatable; name all): node ports are judged there, and host
    /// services at it are kept
    #[arg(long = "node-address", value_name = "IP")]
    pub(crate) node_addresses: Vec<IpAddr>,

    /// Accept services without a single EndpointSlice: then nothing serves, and all is stale
    #[arg(long)]
    pub(crate) no_endpoints_ok: bool,

    /// Accept a document without Services, or without those of its EndpointSlices. The missing
    /// Services count as deleted: with --previous, entries to their frontends are removed
    #[arg(long)]
    pub(crate) no_services_ok: bool,

    /// An address at which node ports are answered, if not all node addresses (repeatable)
    #[arg(long = "node-port-address", value_name = "IP")]
    pub(crate) node_port_addresses: Vec<IpAddr>,

    /// Name of this node, by which endpoints on it are known
    #[arg(long, value_name = "NAME")]
    pub(crate) node_name: Option<String>,

    /// A valid backend that no service lists: PROTOCOL/FRONTEND=ADDRESS, such as
    /// udp/10.96.0.10:53=169.254.20.10 (repeatable; the address may be a prefix)
    #[arg(long = "extra-backend", value_name = "RULE", value_parser = extra_backend)]
    pub(crate) extra_backends: Vec<(Frontend, IpNet)>,

    /// Look at this zone (repeatable), or at `all`; by default at zone 0, with the profile kube-proxy
    /// at all
    #[arg(long = "zone", value_name = "N", value_parser = zone)]
    pub(crate) zones: Vec<Option<u16>>,

    /// Protocol to look at: udp, tcp, sctp (repeatable, or comma-separated)
    #[arg(
        long = "protocol", value_name = "NAME", value_delimiter = ',', default_value = "udp",
        value_parser = protocol
    )]
    pub(crate) protocols: Vec<Protocol>,

    /// Whose rules to use: strict or kube-proxy
    #[arg(long, default_value = "strict", value_parser = profile)]
    pub(crate) profile: Profile,

    /// Delete nothing if more than N entries are stale
    #[arg(long, value_name = "N")]
    pub(crate) max: Option<u64>,

    /// Judge and count, but delete nothing
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Print one JSON object instead of text
    #[arg(long)]
    pub(crate) json: bool,
}

pub(crate) fn run(namespace: &Namespace, arguments: &Arguments) -> Result<Done, Failure> {
    let ct = namespace.open()?;
    match (&arguments.cluster, &arguments.cluster_command) {
        (Some(file), _) => cluster::run_with_document(&ct, arguments, file),
        (None, Some(command)) => cluster::run_with_command(&ct, arguments, command),
        // clap asks for one of them.
        (None, None) => Err(Failure::BadInput("--cluster or --cluster-command is needed".into())),
    }
}

/// Refuses a run that would delete more than it should.
pub(crate) fn check_max(arguments: &Arguments, dry: &Report) -> Result<(), Failure> {
    let stale: u64 = dry.families.iter().map(|family| family.stale).sum();
    match arguments.max {
        Some(max) if stale > max => Err(Failure::Failed(format!(
            "{stale} entries are stale, more than --max {max}: nothing was deleted"
        ))),
        _ => Ok(()),
    }
}

/// The reconciler that the options describe.
pub(crate) fn reconciler(arguments: &Arguments) -> Reconciler {
    let mut reconciler = Reconciler::new(arguments.profile)
        .protocols(arguments.protocols.iter().copied())
        .dry_run(arguments.dry_run);
    if arguments.zones.contains(&None) {
        reconciler = reconciler.zones(Zones::All);
    } else if !arguments.zones.is_empty() {
        let zones = arguments.zones.iter().copied().flatten().collect::<Vec<_>>();
        reconciler = reconciler.zones(zones);
    }
    if output::shows_progress(arguments.json) {
        reconciler = reconciler.on_progress(|progress: &Progress| {
            let Progress { family, pass, received, stale, .. } = progress;
            output::progress(&format!("{family}, pass {pass}: {received} received, {stale} stale"));
        });
    }
    reconciler
}

/// The report as JSON. Failures are printed on standard error, because the JSON only counts them.
pub(crate) fn json_of(report: &Report) -> Result<Value, Failure> {
    for family in &report.families {
        for failure in &family.failures {
            let (count, error) = (failure.count, &failure.error);
            eprintln!("error: {}: {count} deletes failed: {error}", family.family);
        }
        if let Some(error) = &family.error {
            eprintln!("error: {}: incomplete: {error}", family.family);
        }
    }
    report_json(report).map_err(Failure::Failed)
}

fn protocol(text: &str) -> Result<Protocol, String> {
    match text.parse() {
        Ok(known @ (Protocol::UDP | Protocol::TCP | Protocol::SCTP)) => Ok(known),
        _ => Err(r#"expected "udp", "tcp" or "sctp""#.into()),
    }
}

/// A zone's number, or `None` for all zones.
fn zone(text: &str) -> Result<Option<u16>, String> {
    if text == "all" {
        return Ok(None);
    }
    let number = text.parse().map(Some);
    number.map_err(|e| format!("{e}: expected a number from 0 to 65535, or \"all\""))
}

fn extra_backend(text: &str) -> Result<(Frontend, IpNet), String> {
    let parse = || {
        let (protocol, rest) = text.split_once('/')?;
        let (frontend, backend) = rest.split_once('=')?;
        let frontend: SocketAddr = frontend.parse().ok()?;
        let backend =
            backend.parse().ok().or_else(|| Some(IpNet::from(backend.parse::<IpAddr>().ok()?)));
        Some((Frontend::new(frontend.ip(), frontend.port(), protocol.parse().ok()?), backend?))
    };
    parse().ok_or_else(|| "expected PROTOCOL/ADDRESS:PORT=ADDRESS".into())
}

fn profile(text: &str) -> Result<Profile, String> {
    text.parse().map_err(|e: ctnetlink::Error| e.to_string())
}

/// Families by name, for notes: "IPv4 and IPv6".
pub(crate) fn family_names(families: &[Family]) -> String {
    families.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ")
}
