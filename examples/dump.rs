//! Lists the conntrack table of the namespace it runs in, one line per entry, or counts it.
//!
//! ```text
//! cargo run --release --example dump                # everything
//! cargo run --release --example dump -- udp and orig dst port 53
//! cargo run --release --example dump -- --count     # or --json, --extended
//! ```

use std::error::Error;
use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use clap::Parser;
use ctnetlink::{Conntrack, Filter};

/// Lists the conntrack table of this network namespace.
#[derive(Debug, Parser)]
struct Arguments {
    /// A filter, such as: udp and orig dst port 53 and not reply src 10.244.1.5
    #[arg(value_name = "FILTER")]
    filter: Vec<String>,

    /// Print the number of entries; without a filter, the kernel's count as in `conntrack -C`
    #[arg(long)]
    count: bool,

    /// Print one JSON object per line
    #[arg(long, conflicts_with_all = ["count", "extended"])]
    json: bool,

    /// Print lines as `conntrack -L -o extended,id` does
    #[arg(long, conflicts_with = "count")]
    extended: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let text = arguments.filter.join(" ");
    let filter = match text.parse::<Filter>() {
        _ if text.is_empty() => None,
        Ok(filter) => Some(filter),
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(2);
        }
    };
    match run(&arguments, filter.as_ref()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments, filter: Option<&Filter>) -> Result<(), Box<dyn Error>> {
    if let Some(why) = filter.and_then(Filter::never_matches) {
        eprintln!("note: the filter matches nothing: {why}");
    }
    let ct = Conntrack::open()?;
    let mut out = BufWriter::new(io::stdout().lock());
    if arguments.count {
        match filter {
            Some(_) => writeln!(out, "{}", ct.dump(filter)?.count()?)?,
            None => writeln!(out, "{}", ct.count()?)?,
        }
        return Ok(out.flush()?);
    }
    let mut dump = ct.dump(filter)?;
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
