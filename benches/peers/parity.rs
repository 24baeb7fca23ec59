//! Our rule for kube-proxy against kube-proxy's own code, on the same tables in the same namespace.
//!
//! `make parity` builds the Go programs of `kube-proxy/` and runs this: for each case the table is
//! filled, the real `CleanStaleEntries` of each version runs, and what survives is compared with what
//! survives `Profile::KubeProxy`. Every difference is either what the rule of that generation says,
//! or unexplained and an error. `-- --cases N --seed S` draw other random cases.
#![allow(clippy::unwrap_used, reason = "a comparison that cannot be made should stop")]

mod cases;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};

use cases::{Case, Generation};
use ctnetlink::{Conntrack, Profile, Reconciler};
use ctnetlink_kube::{Cluster, Options};
use ctnetlink_testbed::fill::{Entry, fill};
use ctnetlink_testbed::{netns, oracle};
use serde_json::Value;

const VERSIONS: [(&str, Generation); 3] =
    [("v1.32.0", Generation::G1), ("v1.32.13", Generation::G2), ("v1.37.2", Generation::G5)];

/// A kube-proxy of one version, waiting for documents.
struct KubeProxy {
    version: &'static str,
    generation: Generation,
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    modules: String,
    treated_differently: u64,
    cases_differing: u64,
    by_map_order: u64,
}

impl KubeProxy {
    fn start(directory: &Path, version: &'static str, generation: Generation) -> KubeProxy {
        let program = directory.join(version).join("kube-proxy");
        let mut child = Command::new(&program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // It logs each run; what it says of failures is looked for in the table.
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|e| panic!("{}: {e}; `make parity` builds it", program.display()));
        let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        KubeProxy {
            version,
            generation,
            child,
            stdin,
            stdout: BufReader::new(stdout),
            modules: String::new(),
            treated_differently: 0,
            cases_differing: 0,
            by_map_order: 0,
        }
    }

    fn clean(&mut self, document: &str) {
        writeln!(self.stdin, "{document}").unwrap();
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        let answer: Value = serde_json::from_str(&line)
            .unwrap_or_else(|e| panic!("{}: {e}: {line:?}", self.version));
        self.modules =
            format!("k8s.io/kubernetes {}, netlink {}", answer["kubernetes"], answer["netlink"])
                .replace('"', "");
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

fn argument(name: &str, default: u64) -> u64 {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    arguments.nth(1).map_or(default, |value| value.parse().unwrap())
}

fn main() -> ExitCode {
    let directory = std::env::var("CTNETLINK_KUBE_PROXY")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../target/kube-proxy").into());
    let (count, seed) = (argument("--cases", 500), argument("--seed", 1));
    netns::enter_private().unwrap();
    let ct = Conntrack::open().unwrap();
    let mut peers = VERSIONS
        .map(|(version, generation)| KubeProxy::start(directory.as_ref(), version, generation));

    let fixed = cases::unit_tests();
    let random =
        (0..count).map(|n| (cases::random(seed.wrapping_mul(1_000_003).wrapping_add(n)), None));
    let all = fixed.into_iter().map(|(case, deleted)| (case, Some(deleted))).chain(random);
    let (mut compared, mut entries, mut deleted, mut unexplained) = (0_u64, 0, 0, 0_u64);
    for (case, expected) in all {
        let document = case.document();
        let ours = after(&ct, &case, || {
            let cluster = Cluster::from_json(document.as_bytes()).unwrap();
            let mut options = Options::default();
            options.no_endpoints_ok = true;
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
        let _ = peer.child.kill();
        let _ = peer.child.wait();
    }
    println!("{compared} cases, {unexplained} unexplained");
    if unexplained == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
