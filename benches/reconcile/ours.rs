//! Ours as a program of its own, so that it is measured as the others are: a document a line.

use std::io::{BufRead, Write};
use std::time::{Duration, Instant};

use ctnetlink::{Conntrack, Profile, Reconciler};
use ctnetlink_kube::{Cluster, Options};
use serde_json::json;

use crate::contender::{Cost, peak_rss_kib};

/// How it works, by the argument that makes this bench be it.
pub(crate) const ONE_PASS: &str = "--ours-one-pass";
/// With the re-check, but without its delay, which is no work.
pub(crate) const RECHECK: &str = "--ours-recheck";
/// One reconciler for all lines.
pub(crate) const DAEMON: &str = "--ours-daemon";

fn reconciler(mode: &str) -> Reconciler {
    let reconciler = Reconciler::new(Profile::Strict);
    match mode {
        ONE_PASS => reconciler.recheck(None),
        RECHECK => reconciler.recheck(Some(Duration::ZERO)),
        _ => reconciler.defer_recheck(true),
    }
}

pub(crate) fn serve(mode: &str) {
    let ct = Conntrack::open().unwrap();
    let mut kept = reconciler(mode);
    for line in std::io::stdin().lock().lines() {
        let line = line.unwrap();
        let mut answer = json!({});
        let cost = Cost::of(|| {
            let cluster = Cluster::from_json(line.as_bytes()).unwrap();
            let desired = cluster.desired_state(&Options::default()).unwrap();
            if mode != DAEMON {
                kept = reconciler(mode);
            }
            let report = kept.run(&ct, &desired).unwrap();
            assert!(report.succeeded(), "{report}");
            let due = kept.due().map(|due| due.saturating_duration_since(Instant::now()));
            answer =
                json!({"silent": report.nothing_changed, "due_s": due.map(|d| d.as_secs_f64())});
        });
        answer["wall_s"] = cost.wall.into();
        answer["cpu_s"] = cost.cpu.into();
        answer["peak_kib"] = peak_rss_kib("/proc/self/status").unwrap().into();
        println!("{answer}");
        std::io::stdout().flush().unwrap();
    }
}
