//! Our rule for kube-proxy against kube-proxy's own code, on the same tables in the same namespace.
//!
//! `make parity` builds the Go programs of `kube-proxy/` and runs this: for each case the table is
//! filled, the real `CleanStaleEntries` of each version runs, and what survives is compared with what
//! survives `Profile::KubeProxy`. Every difference is either what the rule of that generation says,
//! or unexplained and an error. `-- --cases N --seed S` draw other random cases.
#![allow(clippy::unwrap_used, reason = "a comparison that cannot be made should stop")]

mod cases;
mod program;

use std::collections::BTreeSet;
use std::process::ExitCode;

use cases::{Case, Generation};
use ctnetlink::{Conntrack, Profile, Reconciler};
use ctnetlink_benches::argument;
use ctnetlink_kube::{Cluster, Options};
use ctnetlink_testbed::fill::{Entry, fill};
use ctnetlink_testbed::{netns, oracle};
use program::Program;

const VERSIONS: [(&str, Generation); 3] =
    [("v1.32.0", Generation::G1), ("v1.32.13", Generation::G2), ("v1.37.2", Generation::G5)];

/// What is said of one version in the end.
struct Peer {
    version: &'static str,
    program: Program,
    generation: Generation,
    modules: String,
    treated_differently: u64,
    cases_differing: u64,
    by_map_order: u64,
}

impl Peer {
    fn start(version: &'static str, generation: Generation) -> Peer {
        Peer {
            version,
            program: Program::kube_proxy(version, &[]),
            generation,
            modules: String::new(),
            treated_differently: 0,
            cases_differing: 0,
            by_map_order: 0,
        }
    }

    fn clean(&mut self, document: &str) {
        let answer = self.program.clean(document);
        let text =
            format!("k8s.io/kubernetes {}, netlink {}", answer["kubernetes"], answer["netlink"]);
        self.modules = text.replace('"', "");
    }
}

/// Clients of the entries that are there: each entry has its own, within its protocol and zone.
type Survivors = BTreeSet<(u8, String)>;

fn survivors() -> Survivors {
    oracle::table().iter().map(|seen| (seen.protocol, seen.orig_src.to_string())).collect()
}

fn key(entry: &Entry) -> (u8, String) {
    (entry.protocol, entry.client.to_string())
}

/// Fills the table, lets somebody clean it, and says who survived.
fn after(ct: &Conntrack, case: &Case, clean: impl FnOnce()) -> Survivors {
    ct.flush_all().unwrap();
    fill(&case.entries);
    assert_eq!(survivors().len(), case.entries.len(), "{}", case.name);
    clean();
    survivors()
}

fn main() -> ExitCode {
    let (count, seed) = (argument("--cases", 500), argument("--seed", 1));
    netns::enter_private().unwrap();
    let ct = Conntrack::open().unwrap();
    let mut peers = VERSIONS.map(|(version, generation)| Peer::start(version, generation));

    let fixed = cases::unit_tests();
    let random =
        (0..count).map(|n| (cases::random(u64::from(seed) * 1_000_003 + u64::from(n)), None));
    let all = fixed.into_iter().map(|(case, deleted)| (case, Some(deleted))).chain(random);
    let (mut compared, mut entries, mut deleted, mut unexplained) = (0_u64, 0, 0, 0_u64);
    for (case, expected) in all {
        let document = case.document();
        let ours = after(&ct, &case, || {
            let cluster = Cluster::from_json(document.as_bytes()).unwrap();
            let mut options = Options::default();
            options.no_endpoints_ok = true;
            options.no_services_ok = true;
            let desired = cluster.desired_state(&options).unwrap();
            let mut reconciler = Reconciler::new(Profile::KubeProxy).recheck(None);
            let report = reconciler.run(&ct, &desired).unwrap();
            assert!(report.succeeded(), "{report}");
        });
        compared += 1;
        entries += case.entries.len();
        deleted += case.entries.len() - ours.len();
        if let Some(expected) = expected.filter(|n| *n != case.entries.len() - ours.len()) {
            unexplained += 1;
            println!(
                "{}: {} deleted, its own test says {expected}",
                case.name,
                case.entries.len() - ours.len()
            );
        }
        for peer in &mut peers {
            let theirs = after(&ct, &case, || peer.clean(&document));
            let mut differs = false;
            for entry in &case.entries {
                let (kept, kept_by_us) = (theirs.contains(&key(entry)), ours.contains(&key(entry)));
                let rule = case.deletes(peer.generation, entry);
                if kept != kept_by_us {
                    differs = true;
                    peer.treated_differently += 1;
                    peer.by_map_order += u64::from(rule.is_none());
                }
                // The newest has to do as we do; an older one as its rule says.
                let newest = peer.version == VERSIONS[2].0;
                if rule.is_some_and(|deletes| deletes == kept) || (newest && kept != kept_by_us) {
                    unexplained += 1;
                    println!(
                        "{}, {}: {entry:?}: kept {kept}, by us {kept_by_us}, its rule deletes: {rule:?}\n{document}",
                        case.name, peer.version
                    );
                }
            }
            peer.cases_differing += u64::from(differs);
        }
    }
    println!("{entries} entries, {deleted} of them stale by our rule");
    for peer in &mut peers {
        println!(
            "{:<9} ({}): {} entries in {} cases treated differently from ours, by its rule ({:?}){}",
            peer.version,
            peer.modules,
            peer.treated_differently,
            peer.cases_differing,
            peer.generation,
            match peer.by_map_order {
                0 => String::new(),
                some => format!(", {some} of them by the order of a Go map"),
            }
        );
    }
    println!("{compared} cases, {unexplained} unexplained");
    if unexplained == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
