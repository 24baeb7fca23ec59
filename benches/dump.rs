//! Dumping a table with every field read, against a bare receive loop that looks at nothing.
//!
//! `cargo bench --bench dump [-- --entries N --rounds R]`, 200,000 entries and 11 interleaved rounds
//! by default, in a private network namespace. What counts is the ratio of the medians: the machine
//! is noisy, and both run in turn.
#![allow(clippy::unwrap_used, reason = "a measurement that cannot be made should stop")]

use std::hint::black_box;
use std::time::Instant;

use ctnetlink::Conntrack;
use ctnetlink_benches::{argument, median};
use ctnetlink_testbed::kube::KubeTable;
use ctnetlink_testbed::{netns, raw};

/// The floor: receives the dump into one buffer and looks only for its end.
fn bare_loop() -> (f64, u64) {
    let started = Instant::now();
    let socket = raw::start_dump();
    let mut buffer = Vec::with_capacity(65536);
    let mut bytes = 0;
    loop {
        buffer.clear();
        bytes += socket.recv(&mut buffer, 0).unwrap() as u64;
        // NLMSG_DONE comes in a datagram of its own.
        if buffer[4..6] == 3_u16.to_ne_bytes() {
            return (started.elapsed().as_secs_f64(), bytes);
        }
    }
}

fn ours(ct: &Conntrack) -> (f64, u64) {
    let started = Instant::now();
    let mut dump = ct.dump(None).unwrap();
    let mut entries = 0;
    while let Some(flow) = dump.next().unwrap() {
        black_box((flow.orig(), flow.reply(), flow.status(), flow.timeout(), flow.mark()));
        black_box((flow.zone(), flow.id(), flow.protocol_state(), flow.use_count()));
        black_box((flow.counters_orig(), flow.counters_reply(), flow.timestamps(), flow.labels()));
        black_box((flow.helper(), flow.master(), flow.seq_adj_orig(), flow.seq_adj_reply()));
        black_box((flow.synproxy(), flow.security_context(), flow.event_time()));
        entries += 1;
    }
    (started.elapsed().as_secs_f64(), entries)
}

fn main() {
    let (entries, rounds) = (argument("--entries", 200_000), argument("--rounds", 11));
    netns::enter_private().unwrap();
    netns::sysctl("net/netfilter/nf_conntrack_acct", "1");
    KubeTable { entries }.fill(|_| ()).unwrap();
    let ct = Conntrack::open().unwrap();
    let (mut bare, mut read) = (Vec::new(), Vec::new());
    for round in 0..=rounds {
        let (floor, bytes) = bare_loop();
        let (time, seen) = ours(&ct);
        assert_eq!(seen, u64::from(entries));
        // The first round warms up.
        if round > 0 {
            bare.push(floor);
            read.push(time);
        } else {
            println!("{entries} entries, {bytes} bytes");
        }
    }
    let (bare, read) = (median(bare), median(read));
    println!("bare receive loop    {:8.1} ms (median of {rounds})", bare * 1e3);
    println!("every field read     {:8.1} ms", read * 1e3);
    println!("ratio                {:8.3}", read / bare);
}
