//! A real cluster's objects, from a file, from standard input or from a command, and the table against
//! them.

use std::fs;
use std::io::{self, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Instant, SystemTime};

use ctnetlink::{Authority, Conntrack, DesiredState, Family, Profile, Reconciler, Report};
use ctnetlink_kube::{Cluster, Options};

use crate::failure::{Done, Failure};
use crate::output::{self, note};
use crate::reconcile::{Arguments, check_max, family_names, json_of, reconciler};

/// Notes shown; more are only counted.
const NOTES_SHOWN: usize = 20;

/// Judges at once: that is what it was started for with this document.
pub(crate) fn run_with_document(
    ct: &Conntrack,
    arguments: &Arguments,
    file: &Path,
) -> Result<Done, Failure> {
    if arguments.previous.as_deref() == Some(file) && is_stdin(file) {
        return Err(Failure::BadInput("--cluster and --previous cannot both be \"-\"".into()));
    }
    check_age(arguments, file)?;
    let desired = load(file, arguments, arguments.no_endpoints_ok)?;
    say_notes(arguments, &desired);
    let previous = previous(arguments)?;
    let make = || with_previous(arguments, previous.as_ref());
    if arguments.max.is_some() && !arguments.dry_run {
        check_max(arguments, &reconcile(arguments, &mut make().dry_run(true), ct, &desired)?)?;
    }
    finish(arguments, reconcile(arguments, &mut make(), ct, &desired)?)
}

/// Fetches the document itself. The rules may know a backend that it does not have yet, so flows to
/// unknown backends are judged by a second document, fetched after they were seen.
pub(crate) fn run_with_command(
    ct: &Conntrack,
    arguments: &Arguments,
    command: &str,
) -> Result<Done, Failure> {
    let fetch = || {
        let fetched = Instant::now();
        let output = Command::new("sh").args(["-c", command]).stderr(Stdio::inherit()).output();
        let bad = |problem: String| Failure::BadInput(format!("{command:?}: {problem}"));
        let output = output.map_err(|e| bad(e.to_string()))?;
        // Half an output is not taken for the whole.
        if !output.status.success() {
            return Err(bad(output.status.to_string()));
        }
        let source = Source { name: format!("{command:?}"), fetched: Some(fetched) };
        desired_state(&output.stdout, source, arguments, arguments.no_endpoints_ok)
    };
    let previous = previous(arguments)?;
    let observer = with_previous(arguments, previous.as_ref()).authority(Authority::Observer);
    let mut desired = fetch()?;
    say_notes(arguments, &desired);
    let mut observer = observer.dry_run(true);
    let mut seen = reconcile(arguments, &mut observer, ct, &desired)?;
    if seen.in_quarantine > 0 {
        desired = fetch()?;
        if arguments.max.is_some() && !arguments.dry_run {
            seen = reconcile(arguments, &mut observer, ct, &desired)?;
        }
    } else if arguments.dry_run {
        return finish(arguments, seen);
    }
    if !arguments.dry_run {
        check_max(arguments, &seen)?;
    }
    let mut observer = observer.dry_run(arguments.dry_run);
    finish(arguments, reconcile(arguments, &mut observer, ct, &desired)?)
}

/// Only its frontends matter, so it may lack endpoints.
fn previous(arguments: &Arguments) -> Result<Option<DesiredState>, Failure> {
    arguments.previous.as_ref().map(|file| load(file, arguments, true)).transpose()
}

fn with_previous(arguments: &Arguments, previous: Option<&DesiredState>) -> Reconciler {
    let reconciler = reconciler(arguments);
    match previous {
        Some(previous) => reconciler.previous(previous.clone()),
        None => reconciler,
    }
}

fn reconcile(
    arguments: &Arguments,
    reconciler: &mut Reconciler,
    ct: &Conntrack,
    desired: &DesiredState,
) -> Result<Report, Failure> {
    let report = reconciler.run(ct, desired);
    if output::shows_progress(arguments.json) {
        output::progress("");
    }
    Ok(report?)
}

fn finish(arguments: &Arguments, report: Report) -> Result<Done, Failure> {
    match arguments.json {
        true => output::print_json(&json_of(&report)?)?,
        false => output::print(&report.to_string())?,
    };
    Ok(Done::succeeded(report.succeeded()))
}

/// Says how old a document is, and refuses one that is too old.
fn check_age(arguments: &Arguments, file: &Path) -> Result<(), Failure> {
    // A pipe and the like are written as they are read. Standard input can be a file.
    let opened = if is_stdin(file) { Path::new("/dev/stdin") } else { file };
    let written = fs::metadata(opened).ok().filter(fs::Metadata::is_file);
    let written = written.and_then(|metadata| metadata.modified().ok());
    let Some(age) = written.map(|w| SystemTime::now().duration_since(w).unwrap_or_default()) else {
        return Ok(());
    };
    let (seconds, name) = (age.as_secs(), name_of(file));
    if seconds > arguments.max_age {
        return Err(Failure::BadInput(format!(
            "{name}: written {seconds} s ago; backends may have come since, and their flows would be \
             deleted: fetch it again, or allow it with --max-age"
        )));
    }
    if seconds > 0 {
        note(format_args!("{name} was written {seconds} s ago"));
    }
    Ok(())
}

/// Where a document comes from, for errors, and when it was fetched.
struct Source {
    name: String,
    fetched: Option<Instant>,
}

fn load(
    file: &Path,
    arguments: &Arguments,
    no_endpoints_ok: bool,
) -> Result<DesiredState, Failure> {
    let name = name_of(file);
    let json = read(file).map_err(|e| Failure::BadInput(format!("{name}: {e}")))?;
    desired_state(&json, Source { name, fetched: None }, arguments, no_endpoints_ok)
}

fn desired_state(
    json: &[u8],
    source: Source,
    arguments: &Arguments,
    no_endpoints_ok: bool,
) -> Result<DesiredState, Failure> {
    let mut options = Options::default();
    options.node_addresses.clone_from(&arguments.node_addresses);
    options.no_endpoints_ok = no_endpoints_ok;
    options.no_services_ok = arguments.no_services_ok;
    if !arguments.node_port_addresses.is_empty() {
        options.node_port_addresses = Some(arguments.node_port_addresses.clone());
    }
    options.node_name.clone_from(&arguments.node_name);
    options.extra_backends.clone_from(&arguments.extra_backends);
    options.fetched = source.fetched;
    Cluster::from_json(json).and_then(|cluster| cluster.desired_state(&options)).map_err(|e| {
        let text = e.to_string().replace("no_endpoints_ok", "--no-endpoints-ok");
        let text = text.replace("no_services_ok", "--no-services-ok");
        Failure::BadInput(format!("{}: {text}", source.name))
    })
}

pub(crate) fn name_of(file: &Path) -> String {
    if is_stdin(file) { "standard input".into() } else { file.display().to_string() }
}

pub(crate) fn is_stdin(file: &Path) -> bool {
    file.as_os_str() == "-"
}

pub(crate) fn read(file: &Path) -> io::Result<Vec<u8>> {
    if is_stdin(file) {
        let mut json = Vec::new();
        io::stdin().lock().read_to_end(&mut json)?;
        return Ok(json);
    }
    fs::read(file)
}

fn say_notes(arguments: &Arguments, desired: &DesiredState) {
    for text in desired.notes().iter().take(NOTES_SHOWN) {
        note(text);
    }
    if let more @ 1.. = desired.notes().len().saturating_sub(NOTES_SHOWN) {
        note(format_args!("{more} more like these"));
    }
    let judged = || {
        let in_scope = |s: &&ctnetlink::ServicePort| arguments.protocols.contains(&s.key.protocol);
        desired.services().iter().filter(in_scope)
    };
    if judged().next().is_none() {
        let protocols: Vec<_> = arguments.protocols.iter().map(ToString::to_string).collect();
        note(format_args!("no usable {} service in the document", protocols.join(" or ")));
    }
    if arguments.profile != Profile::Strict {
        if !arguments.extra_backends.is_empty() {
            note(format_args!(
                "--extra-backend has no effect on the profile {}",
                arguments.profile
            ));
        }
        return;
    }
    // Families in which a judged service needs a node address, but none is known.
    let unsettled = |matter: fn(&ctnetlink::ServicePort, Family) -> bool| -> Vec<Family> {
        let known = |family| desired.node_addresses().iter().any(|a| Family::of(*a) == family);
        let concerned = |family| judged().any(|service| matter(service, family));
        Family::ALL.into_iter().filter(|f| concerned(*f) && !known(*f)).collect()
    };
    let node_ports = unsettled(|service, f| service.node_port.is_some() && service.exists_in(f));
    if !node_ports.is_empty() {
        let families = family_names(&node_ports);
        note(format_args!("node ports are not judged, no {families} --node-address was given"));
    }
    let external = unsettled(|service, family| {
        let mut addresses = service.external_ips.iter().chain(&service.load_balancer_ips);
        addresses.any(|address| Family::of(*address) == family)
    });
    if !external.is_empty() {
        note(format_args!(
            "without an {} --node-address, a host service at an external or load-balancer IP \
             that is this node's own cannot be distinguished from an untranslated flow",
            family_names(&external)
        ));
    }
}
