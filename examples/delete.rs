//! Deletes the entries of this network namespace that a filter matches, after a dry run.
//!
//! ```text
//! cargo run --release --example delete -- udp and orig dst port 53 and reply src 10.244.1.5
//! ```
//!
//! The command `ctnetlink delete` does more, and asks before it deletes most of the table.

use std::error::Error;

use ctnetlink::{Conntrack, Filter};

fn main() -> Result<(), Box<dyn Error>> {
    let filter: Filter = std::env::args().skip(1).collect::<Vec<_>>().join(" ").parse()?;
    let ct = Conntrack::open()?;
    println!("{}", ct.delete_matching(&filter).dry_run(true).run()?);
    println!("{}", ct.delete_matching(&filter).run()?);
    Ok(())
}
