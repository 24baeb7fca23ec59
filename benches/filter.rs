//! Counting what a filter matches, with the kernel's help and without it, against `conntrack -L`.
//!
//! `cargo bench --bench filter [-- --entries N --rounds R --raise-limit]`, 1,000,000 entries (90 %
//! TCP, 10 % UDP, both families) and 5 interleaved rounds by default, in a private network
//! namespace. So many entries need a higher `nf_conntrack_max`, which is one value for the whole
//! machine: with `--raise-limit` (as root) it is raised for the time of the bench and put back.
#![allow(clippy::unwrap_used, reason = "a measurement that cannot be made should stop")]

use std::process::Command;
use std::time::Instant;

use ctnetlink::{Capabilities, Conntrack, Filter, KernelCriterion};
use ctnetlink_benches::{Raised, argument, median};
use ctnetlink_testbed::kube::KubeTable;
use ctnetlink_testbed::netns;

const FILTER: &str = "udp and orig dst port 53";

fn ours(ct: &Conntrack, filter: &Filter) -> (f64, u64) {
    let started = Instant::now();
    let count = ct.dump(filter).unwrap().count().unwrap();
    (started.elapsed().as_secs_f64(), count)
}

fn theirs() -> (f64, u64) {
    let started = Instant::now();
    let output =
        Command::new("conntrack").args(["-L", "-p", "udp", "--dport", "53"]).output().unwrap();
    let count = output.stdout.iter().filter(|byte| **byte == b'\n').count();
    (started.elapsed().as_secs_f64(), count as u64)
}

fn main() {
    let (entries, rounds) = (argument("--entries", 1_000_000), argument("--rounds", 5));
    let raised = Raised::for_entries(entries);
    netns::enter_private().unwrap();
    KubeTable { entries }.fill(|_| ()).unwrap();

    let filter: Filter = FILTER.parse().unwrap();
    let helped = Conntrack::open().unwrap();
    let alone = Conntrack::open().unwrap();
    let nothing = helped.capabilities().unwrap();
    alone
        .use_capabilities(&KernelCriterion::ALL.into_iter().fold(nothing, Capabilities::distrust))
        .unwrap();
    println!("{entries} entries, \"{FILTER}\": {}", helped.dump(&filter).unwrap().pushdown());

    let (mut pushed, mut here, mut program) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let (time, expected) = ours(&helped, &filter);
        pushed.push(time);
        let (time, count) = ours(&alone, &filter);
        assert_eq!(count, expected);
        here.push(time);
        let (time, count) = theirs();
        assert_eq!(count, expected, "conntrack -L");
        program.push(time);
    }
    let (pushed, here, program) = (median(pushed), median(here), median(program));
    println!("pushed down          {:8.1} ms (median of {rounds})", pushed * 1e3);
    println!("user space alone     {:8.1} ms   {:5.2} x", here * 1e3, here / pushed);
    println!("conntrack -L         {:8.1} ms   {:5.2} x", program * 1e3, program / pushed);
    drop(raised);
}
