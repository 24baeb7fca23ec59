//! Lists the conntrack table of the namespace it runs in, one line per entry, or counts it.
//!
//! ```text
//! cargo run --release --example dump                # everything
//! cargo run --release --example dump -- udp 53      # UDP to port 53
//! cargo run --release --example dump -- --count     # or --json, --extended
//! ```

use std::error::Error;
use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use clap::Parser;
use ctnetlink::{Conntrack, Filter, Protocol};

/// Lists the conntrack table of this network namespace.
#[derive(Debug, Parser)]
struct Arguments {
    /// Only this protocol, by name or number
    #[arg(value_parser = protocol)]
    protocol: Option<Protocol>,

    /// Only this original destination port
    port: Option<u16>,

    /// Print how many entries there are, like `conntrack -C`
    #[arg(long, conflicts_with = "protocol")]
    count: bool,

    /// Print one JSON object a line
    #[arg(long, conflicts_with_all = ["count", "extended"])]
    json: bool,

    /// Print the lines of `conntrack -L -o extended,id`
    #[arg(long, conflicts_with = "count")]
    extended: bool,
}

fn protocol(text: &str) -> Result<Protocol, String> {
    text.parse().map_err(|e: ctnetlink::Error| e.to_string())
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("dump: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let ct = Conntrack::open()?;
    let mut out = BufWriter::new(io::stdout().lock());
    if arguments.count {
        writeln!(out, "{}", ct.count()?)?;
        return Ok(out.flush()?);
    }
    let parts =
        [arguments.protocol.map(Filter::protocol), arguments.port.map(Filter::orig_dst_port)];
    let filter = parts.into_iter().flatten().reduce(|a, b| a & b);
    let mut dump = ct.dump(filter.as_ref())?;
    while let Some(flow) = dump.next()? {
        if arguments.json {
            serde_json::to_writer(&mut out, &flow)?;
            writeln!(out)?;
        } else if arguments.extended {
            writeln!(out, "{}", flow.line().extended().id())?;
        } else {
            writeln!(out, "{flow}")?;
        }
    }
    Ok(out.flush()?)
}
