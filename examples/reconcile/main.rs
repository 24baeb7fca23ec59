//! The main job: remove exactly the conntrack entries whose backend no longer serves.
//!
//! Without arguments it works in a private network namespace that it fills with a kube-like table,
//! and audits itself afterwards. With `--cluster-command` or `--cluster FILE` it reconciles the
//! namespace it runs in:
//!
//! ```text
//! reconcile --cluster-command 'kubectl get services,endpointslices -A -o json' \
//!     --node-address 192.0.2.5
//! ```

mod cluster;
mod demo;

use std::io::{self, IsTerminal, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use ctnetlink::{Family, Frontend, IpNet, Profile, Progress, Protocol, Reconciler, Report, Zones};
use ctnetlink_examples::report_json;
use serde_json::Value;

/// Removes conntrack entries whose backend no longer serves, and only those.
///
/// Without --cluster and --cluster-command: a demonstration in a private network namespace; nothing
/// of this host is touched.
///
/// Exit status: 0 done, 1 something failed, 2 bad input.
#[derive(Debug, Parser)]
#[command(name = "reconcile", max_term_width = 100)]
#[command(group(clap::ArgGroup::new("source").args(["cluster", "cluster_command"])))]
struct Arguments {
    /// Reconcile the network namespace this runs in with a cluster: the output of
    /// `kubectl get services,endpointslices -A -o json` (`-` = standard input)
    #[arg(long, value_name = "FILE")]
    cluster: Option<PathBuf>,

    /// Run this shell command and use its output as the cluster document. It runs a second time if
    /// the table shows backends that the document does not know yet, before their flows are judged
    #[arg(long, value_name = "COMMAND")]
    cluster_command: Option<String>,

    /// Refuse a document that was written longer ago: backends may have come since
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 600,
        requires = "cluster",
        conflicts_with = "cluster_command"
    )]
    max_age: u64,

    /// The document of the last run that succeeded; entries of frontends that have vanished since
    /// are removed
    #[arg(long, value_name = "FILE", requires = "source")]
    previous: Option<PathBuf>,

    /// An address of this node (repeatable; name all): node ports are judged there, and host
    /// services at it are kept
    #[arg(long = "node-address", value_name = "IP", requires = "source")]
    node_addresses: Vec<IpAddr>,

    /// Accept services without a single EndpointSlice: then nothing serves, and all is stale
    #[arg(long, requires = "source")]
    no_endpoints_ok: bool,

    /// Accept a document without Services, or without those of its EndpointSlices. The missing
    /// Services count as deleted: with --previous, entries to their frontends are removed
    #[arg(long, requires = "source")]
    no_services_ok: bool,

    /// An address at which node ports are answered, if not all node addresses (repeatable)
    #[arg(long = "node-port-address", value_name = "IP", requires = "source")]
    node_port_addresses: Vec<IpAddr>,

    /// Name of this node, by which endpoints on it are known
    #[arg(long, value_name = "NAME", requires = "source")]
    node_name: Option<String>,

    /// A valid backend that no service lists: PROTOCOL/FRONTEND=ADDRESS, such as
    /// udp/10.96.0.10:53=169.254.20.10 (repeatable; the address may be a prefix)
    #[arg(long = "extra-backend", value_name = "RULE", value_parser = extra_backend, requires = "source")]
    extra_backends: Vec<(Frontend, IpNet)>,

    /// Look at this zone (repeatable), or at `all`; by default at zone 0, with the profile kube-proxy
    /// at all
    #[arg(long = "zone", value_name = "N", value_parser = zone, requires = "source")]
    zones: Vec<Option<u16>>,

    /// Protocol to look at: udp, tcp, sctp (repeatable, or comma-separated)
    #[arg(
        long = "protocol", value_name = "NAME", value_delimiter = ',', default_value = "udp",
        value_parser = protocol, requires = "source"
    )]
    protocols: Vec<Protocol>,

    /// Whose rules to use: strict or kube-proxy
    #[arg(long, default_value = "strict", value_parser = profile)]
    profile: Profile,

    /// Entries in the demonstration's table
    #[arg(
        long, value_name = "N", default_value_t = 100_000, conflicts_with = "source",
        value_parser = clap::value_parser!(u32).range(1..=8_000_000)
    )]
    entries: u32,

    /// Judge and count, but delete nothing
    #[arg(long)]
    dry_run: bool,

    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

/// What ends the program early, with the message.
#[derive(Debug)]
enum Failure {
    /// Something failed: exit status 1.
    Failed(String),
    /// The input cannot be used: exit status 2.
    BadInput(String),
}

impl From<ctnetlink::Error> for Failure {
    fn from(error: ctnetlink::Error) -> Self {
        match error.is_half_state() {
            true => Failure::BadInput(error.to_string()),
            false => Failure::Failed(error.to_string()),
        }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match (&arguments.cluster, &arguments.cluster_command) {
        (Some(file), _) => cluster::run_with_document(&arguments, file),
        (None, Some(command)) => cluster::run_with_command(&arguments, command),
        (None, None) => demo::run(&arguments),
    };
    if shows_progress(&arguments) {
        progress_line("");
    }
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(Failure::Failed(message)) => {
            eprintln!("error: {message}");
            ExitCode::from(1)
        }
        Err(Failure::BadInput(message)) => {
            eprintln!("error: {message}");
            ExitCode::from(2)
        }
    }
}

/// The reconciler both modes share.
fn reconciler(arguments: &Arguments) -> Reconciler {
    let mut reconciler = Reconciler::new(arguments.profile)
        .protocols(arguments.protocols.iter().copied())
        .dry_run(arguments.dry_run);
    if arguments.zones.contains(&None) {
        reconciler = reconciler.zones(Zones::All);
    } else if !arguments.zones.is_empty() {
        let zones = arguments.zones.iter().copied().flatten().collect::<Vec<_>>();
        reconciler = reconciler.zones(zones);
    }
    if shows_progress(arguments) {
        reconciler = reconciler.on_progress(|progress: &Progress| {
            let Progress { family, pass, received, stale, .. } = progress;
            progress_line(&format!("{family}, pass {pass}: {received} received, {stale} stale"));
        });
    }
    reconciler
}

fn shows_progress(arguments: &Arguments) -> bool {
    !arguments.json && io::stderr().is_terminal()
}

/// Replaces the line at the bottom of the terminal; an empty text removes it.
fn progress_line(text: &str) {
    let mut stderr = io::stderr().lock();
    // A terminal that is gone is not a reason to stop the work.
    let _ = write!(stderr, "\r\x1b[K{text}").and_then(|()| stderr.flush());
}

/// Prints to standard output. If the reader is gone, that is a failure like any other.
fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{text}")
        .and_then(|()| stdout.flush())
        .map_err(|e| Failure::Failed(format!("standard output: {e}")))
}

/// The report as JSON. Failures are printed on standard error, because the JSON only counts them.
fn json_of(report: &Report) -> Result<Value, Failure> {
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
fn family_names(families: &[Family]) -> String {
    families.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ")
}
