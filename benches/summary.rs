//! What `diagnose` costs: a summary of the whole table, against a bare receive loop that looks at
//! nothing, and its memory; and `ctnetlink list` against `conntrack -L`.
//!
//! `cargo bench --bench summary [-- --entries N --rounds R --distinct --raise-limit]`: 200,000 entries and 7
//! interleaved rounds by default, in a private network namespace. For the second part, build the
//! command first: `cargo build --release -p ctnetlink-cli`.
#![allow(clippy::unwrap_used, reason = "a measurement that cannot be made should stop")]

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use ctnetlink::Conntrack;
use ctnetlink_benches::{Raised, argument, flag, median};
use ctnetlink_testbed::fill::{Entry, Filler};
use ctnetlink_testbed::kube::KubeTable;
use ctnetlink_testbed::{netns, raw};

/// The floor: receives the dump into one buffer and looks only for its end.
fn bare_loop() -> f64 {
    let started = Instant::now();
    let socket = raw::start_dump();
    let mut buffer = Vec::with_capacity(65536);
    loop {
        buffer.clear();
        socket.recv(&mut buffer, 0).unwrap();
        if buffer[4..6] == 3_u16.to_ne_bytes() {
            return started.elapsed().as_secs_f64();
        }
    }
}

/// The worst case for memory: half of the frontends, backends and sources are different ones.
fn fill_distinct(entries: u32) {
    let mut filler = Filler::open().unwrap();
    let place = |network: u32, n: u32, port| {
        SocketAddr::new(std::net::Ipv4Addr::from(network + n).into(), port)
    };
    for n in 0..entries {
        let port = 1024 + u16::from(n % 2 == 0);
        let client = place(0x0a00_0000, n / 2, port);
        let (frontend, backend) = (place(0x6440_0000, n / 2, 53), place(0x1400_0000, n / 2, 53));
        filler.create(&Entry::udp(client, frontend, backend)).unwrap();
    }
    filler.flush().unwrap();
}

fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Processor time of the children that ended so far, in hundredths of a second.
fn children() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields = stat.rsplit(')').next().unwrap().split_whitespace();
    fields.skip(13).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum()
}

/// Processor time of a program, in hundredths of a second; its output goes nowhere.
fn program(path: &str, arguments: &[&str]) -> u64 {
    let before = children();
    let status = Command::new(path)
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "{path}: {status}");
    children() - before
}

fn main() {
    let (entries, rounds) = (argument("--entries", 200_000), argument("--rounds", 7));
    let raised = Raised::for_entries(entries);
    if let Some(raised) = &raised {
        raised.buckets_for(entries);
    }
    netns::enter_private().unwrap();
    if flag("--distinct") {
        fill_distinct(entries);
    } else {
        KubeTable { entries }.fill(|_| ()).unwrap();
    }
    let ct = Conntrack::open().unwrap();
    let (mut bare, mut summed) = (Vec::new(), Vec::new());
    let before = peak_kib();
    for round in 0..=rounds {
        let floor = bare_loop();
        let started = Instant::now();
        let summary = ct.summary(10).unwrap();
        let time = started.elapsed().as_secs_f64();
        assert_eq!(summary.entries, u64::from(entries));
        if round == 0 {
            // The first round warms up.
            let (f, b, s) = (&summary.frontends, &summary.backends, &summary.sources);
            println!(
                "{entries} entries; different: frontends {:?}, backends {:?}, sources {:?} (error {})",
                f.different, b.different, s.different, s.maximum_error
            );
            continue;
        }
        bare.push(floor);
        summed.push(time);
    }
    println!(
        "peak memory          {:8.1} MiB, {:.1} before",
        peak_kib() as f64 / 1024.0,
        before as f64 / 1024.0
    );
    let (bare, summed) = (median(bare), median(summed));
    println!("bare receive loop    {:8.1} ms (median of {rounds})", bare * 1e3);
    println!("summary              {:8.1} ms", summed * 1e3);
    println!("ratio                {:8.3}", summed / bare);

    let ours = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/release/ctnetlink");
    if !Path::new(ours).exists() {
        println!("no {ours}: not compared with conntrack -L");
        return;
    }
    // Sums, because the clock is coarse.
    let (mut list, mut theirs, mut start) = (0, 0, Vec::new());
    for _ in 0..rounds {
        list += program(ours, &["list"]);
        theirs += program("conntrack", &["-L"]);
        let started = Instant::now();
        program(ours, &["--version"]);
        start.push(started.elapsed().as_secs_f64());
    }
    let each = |ticks: u64| ticks as f64 * 10.0 / f64::from(rounds);
    println!("ctnetlink list       {:8.1} ms of processor time", each(list));
    println!("conntrack -L         {:8.1} ms", each(theirs));
    println!("ratio                {:8.3}", each(list) / each(theirs));
    println!("ctnetlink --version  {:8.1} ms", median(start) * 1e3);
}
