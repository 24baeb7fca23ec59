//! Reads every field of every entry that Python's table has by default, and counts entries. The peer of `python/benches/table.py`.
//!
//! ```text
//! cargo run --release --example read_all
//! ```

use std::hint::black_box;

use ctnetlink::{Conntrack, FlowRef};

fn read(flow: &FlowRef<'_>) {
    black_box((flow.family(), flow.protocol(), flow.orig(), flow.reply()));
    black_box((flow.protocol_state(), flow.status(), flow.timeout(), flow.mark(), flow.zone()));
    black_box((flow.counters_orig(), flow.counters_reply(), flow.timestamps(), flow.id()));
}

fn main() -> ctnetlink::Result<()> {
    let ct = Conntrack::open()?;
    let mut dump = ct.dump(None)?;
    let mut entries = 0_u64;
    while let Some(flow) = dump.next()? {
        read(&flow);
        entries += 1;
    }
    println!("{entries}");
    Ok(())
}
