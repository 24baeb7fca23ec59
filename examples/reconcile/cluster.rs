//! `--cluster FILE`: the table of the namespace this runs in, against a real cluster's objects.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use ctnetlink::{Conntrack, DesiredState, Family, Profile};
use ctnetlink_kube::{Cluster, Options};

use crate::{
    Arguments, Failure, family_names, json_of, print, progress_line, reconciler, shows_progress,
};

/// Notes shown; more are only counted.
const NOTES_SHOWN: usize = 20;

pub(crate) fn run(arguments: &Arguments, file: &Path) -> Result<bool, Failure> {
    if arguments.previous.as_deref() == Some(file) && is_stdin(file) {
        return Err(Failure::BadInput("--cluster and --previous cannot both be \"-\"".into()));
    }
    let desired = load(file, arguments, arguments.no_endpoints_ok)?;
    let mut reconciler = reconciler(arguments);
    if let Some(previous) = &arguments.previous {
        // Only its frontends matter, so it may lack endpoints.
        reconciler = reconciler.previous(load(previous, arguments, true)?);
    }
    say_notes(arguments, &desired);

    let ct = Conntrack::open()?;
    let report = reconciler.run(&ct, &desired);
    if shows_progress(arguments) {
        progress_line("");
    }
    let report = report?;
    if arguments.json {
        print(&json_of(&report)?.to_string())?;
    } else {
        print(&report.to_string())?;
    }
    Ok(report.succeeded())
}

fn load(
    file: &Path,
    arguments: &Arguments,
    no_endpoints_ok: bool,
) -> Result<DesiredState, Failure> {
    let name = if is_stdin(file) { "standard input".into() } else { file.display().to_string() };
    let bad = |problem: String| Failure::BadInput(format!("{name}: {problem}"));
    let json = read(file).map_err(|e| bad(e.to_string()))?;
    let mut options = Options::default();
    options.node_addresses.clone_from(&arguments.node_addresses);
    options.no_endpoints_ok = no_endpoints_ok;
    options.no_services_ok = arguments.no_services_ok;
    if !arguments.node_port_addresses.is_empty() {
        options.node_port_addresses = Some(arguments.node_port_addresses.clone());
    }
    options.node_name.clone_from(&arguments.node_name);
    options.extra_backends.clone_from(&arguments.extra_backends);
    Cluster::from_json(&json).and_then(|cluster| cluster.desired_state(&options)).map_err(|e| {
        let text = e.to_string().replace("no_endpoints_ok", "--no-endpoints-ok");
        bad(text.replace("no_services_ok", "--no-services-ok"))
    })
}

fn is_stdin(file: &Path) -> bool {
    file.as_os_str() == "-"
}

fn read(file: &Path) -> io::Result<Vec<u8>> {
    if is_stdin(file) {
        let mut json = Vec::new();
        io::stdin().lock().read_to_end(&mut json)?;
        return Ok(json);
    }
    fs::read(file)
}

fn say_notes(arguments: &Arguments, desired: &DesiredState) {
    for note in desired.notes().iter().take(NOTES_SHOWN) {
        eprintln!("note: {note}");
    }
    if let more @ 1.. = desired.notes().len().saturating_sub(NOTES_SHOWN) {
        eprintln!("note: {more} more like these");
    }
    let judged = || {
        let in_scope = |s: &&ctnetlink::ServicePort| arguments.protocols.contains(&s.key.protocol);
        desired.services().iter().filter(in_scope)
    };
    if judged().next().is_none() {
        let protocols: Vec<_> = arguments.protocols.iter().map(ToString::to_string).collect();
        eprintln!("note: no usable {} service in the document", protocols.join(" or "));
    }
    if arguments.profile != Profile::Strict {
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
        eprintln!("note: node ports are not judged, no {families} --node-address was given");
    }
    let external = unsettled(|service, family| {
        let mut addresses = service.external_ips.iter().chain(&service.load_balancer_ips);
        addresses.any(|address| Family::of(*address) == family)
    });
    if !external.is_empty() {
        eprintln!(
            "note: without an {} --node-address, a host service at an external or load-balancer IP \
             that is this node's own cannot be distinguished from an untranslated flow",
            family_names(&external)
        );
    }
}
