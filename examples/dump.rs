//! Lists the entries of this network namespace that a filter matches.
//!
//! ```text
//! cargo run --release --example dump -- udp and orig dst port 53
//! ```
//!
//! The command `ctnetlink list` does more.

use std::error::Error;

use ctnetlink::{Conntrack, Filter};

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<_> = std::env::args().skip(1).collect();
    let filter: Option<Filter> =
        if words.is_empty() { None } else { Some(words.join(" ").parse()?) };
    let mut dump = Conntrack::open()?.dump(&filter)?;
    while let Some(flow) = dump.next()? {
        println!("{flow}");
    }
    Ok(())
}
