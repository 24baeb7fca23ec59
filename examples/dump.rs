//! Lists the conntrack table of the namespace it runs in, one line per entry, or counts it.
//!
//! ```text
//! cargo run --release --example dump                # everything
//! cargo run --release --example dump -- udp 53      # UDP to port 53
//! cargo run --release --example dump -- --count
//! ```

use std::error::Error;
use std::io::{self, BufWriter, Write};

use ctnetlink::{Conntrack, Filter, Protocol};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let ct = Conntrack::open()?;
    let filter = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--count"] => {
            println!("{} of {}", ct.count()?, ct.limit()?);
            return Ok(());
        }
        [] => None,
        [protocol] => Some(Filter::protocol(protocol.parse::<Protocol>()?)),
        [protocol, port] => {
            let protocol = Filter::protocol(protocol.parse::<Protocol>()?);
            Some(protocol & Filter::orig_dst_port(port.parse()?))
        }
        _ => return Err("usage: dump [--count | PROTOCOL [ORIGINAL-DESTINATION-PORT]]".into()),
    };

    let mut out = BufWriter::new(io::stdout().lock());
    let mut dump = ct.dump(filter.as_ref())?;
    while let Some(flow) = dump.next()? {
        writeln!(out, "{flow}")?;
    }
    out.flush()?;
    Ok(())
}
