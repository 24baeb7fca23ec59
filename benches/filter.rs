//! Counting what a filter matches, with the kernel's help and without it, against `conntrack -L`.
//!
//! `cargo bench --bench filter [-- --entries N --rounds R --raise-limit]`, 1,000,000 entries (90 %
//! TCP, 10 % UDP, both families) and 5 interleaved rounds by default, in a private network
//! namespace. So many entries need a higher `nf_conntrack_max`, which is one value for the whole
//! machine: with `--raise-limit` (as root) it is raised for the time of the bench and put back.
#![allow(clippy::unwrap_used, reason = "a measurement that cannot be made should stop")]

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use ctnetlink::{Capabilities, Conntrack, Filter, KernelCriterion};
use ctnetlink_testbed::kube::KubeTable;
use ctnetlink_testbed::netns;

const LIMIT: &str = "/proc/sys/net/netfilter/nf_conntrack_max";
const FILTER: &str = "udp and orig dst port 53";

/// The raised limit, put back when dropped. The file was opened in the initial namespace, where
/// alone it can be written.
struct Raised {
    file: File,
    before: String,
}

impl Raised {
    fn to(entries: u32) -> Raised {
        let before = fs::read_to_string(LIMIT).unwrap();
        let file = OpenOptions::new().write(true).open(LIMIT).unwrap();
        let raised = Raised { file, before };
        raised.write(&entries.to_string());
        raised
    }

    /// At the start of the file: behind it the kernel takes a number without a word and drops it.
    fn write(&self, number: &str) {
        self.file.write_all_at(number.as_bytes(), 0).unwrap();
        // One value for all namespaces, so it can be read from this one.
        assert_eq!(fs::read_to_string(LIMIT).unwrap().trim(), number.trim(), "{LIMIT}");
    }
}

impl Drop for Raised {
    fn drop(&mut self) {
        self.write(&self.before);
    }
}

fn ours(ct: &Conntrack, filter: &Filter) -> (Duration, u64) {
    let started = Instant::now();
    let count = ct.dump(filter).unwrap().count().unwrap();
    (started.elapsed(), count)
}

fn theirs() -> (Duration, u64) {
    let started = Instant::now();
    let output =
        Command::new("conntrack").args(["-L", "-p", "udp", "--dport", "53"]).output().unwrap();
    let count = output.stdout.iter().filter(|byte| **byte == b'\n').count();
    (started.elapsed(), count as u64)
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64()
}

fn argument(name: &str, default: u32) -> u32 {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    arguments.nth(1).map_or(default, |value| value.parse().unwrap())
}

fn main() -> ExitCode {
    let (entries, rounds) = (argument("--entries", 1_000_000), argument("--rounds", 5));
    let limit: u32 = fs::read_to_string(LIMIT).unwrap().trim().parse().unwrap();
    let raise = std::env::args().any(|argument| argument == "--raise-limit");
    let too_low = limit != 0 && limit <= entries;
    if too_low && !raise {
        eprintln!(
            "nf_conntrack_max is {limit}: {entries} entries do not fit. Give --raise-limit to raise \
             it for the time of the bench (as root in the initial namespace), or fewer --entries"
        );
        return ExitCode::from(2);
    }
    let raised = (too_low && raise).then(|| Raised::to(entries + 10_000));
    netns::enter_private().unwrap();
    KubeTable { entries }.fill(|_| ()).unwrap();

    let filter: Filter = FILTER.parse().unwrap();
    let helped = Conntrack::open().unwrap();
    let alone = Conntrack::open().unwrap();
    let nothing = helped.capabilities().unwrap();
    alone.use_capabilities(&KernelCriterion::ALL.into_iter().fold(nothing, Capabilities::distrust));
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
    ExitCode::SUCCESS
}
