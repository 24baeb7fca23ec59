//! Deletes the entries a filter matches, in the network namespace it runs in.
//!
//! ```text
//! cargo run --release --example delete -- --dry-run 'udp and orig dst port 53 and reply src 10.244.1.5'
//! cargo run --release --example delete -- --explain 'ip6 and orig dst 2001:db8::10'
//! cargo run --release --example delete -- 'udp and unreplied and timeout < 10'
//! ```
//!
//! Exit status: 0 done, 1 something failed, 2 the filter or the arguments are wrong.

use std::error::Error;
use std::process::ExitCode;

use clap::Parser;
use ctnetlink::{Conntrack, Filter};

/// Deletes the entries of this network namespace that a filter matches.
#[derive(Debug, Parser)]
struct Arguments {
    /// A filter, such as: udp and orig dst port 53 and not reply src 10.244.1.5
    #[arg(value_name = "FILTER", required = true)]
    filter: Vec<String>,

    /// Count the matching entries and delete nothing
    #[arg(long)]
    dry_run: bool,

    /// Explain what the kernel would filter by, and why not by more; delete nothing
    #[arg(long, conflicts_with = "dry_run")]
    explain: bool,

    /// Print each entry that matches
    #[arg(long, short, conflicts_with_all = ["explain", "in_kernel"])]
    verbose: bool,

    /// Let the kernel delete, by filtered flushes and without counts; only if that is proved safe
    #[arg(long, conflicts_with_all = ["explain", "dry_run"])]
    in_kernel: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = match arguments.filter.join(" ").parse::<Filter>() {
        Ok(filter) => filter,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(2);
        }
    };
    match run(&arguments, &filter) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments, filter: &Filter) -> Result<bool, Box<dyn Error>> {
    let ct = Conntrack::open()?;
    if arguments.explain {
        println!("{}", filter.explain(&ct.capabilities()?)?);
        return Ok(true);
    }
    if let Some(why) = filter.never_matches() {
        eprintln!("note: the filter matches nothing: {why}");
    }
    let mut deletion = ct.delete_matching(filter).dry_run(arguments.dry_run);
    if arguments.in_kernel {
        deletion.in_kernel()?;
        println!("done in the kernel, which does not count; {} entries are left", ct.count()?);
        return Ok(true);
    }
    if arguments.verbose {
        deletion = deletion.on_match(|flow| println!("{flow}"));
    }
    let report = deletion.run()?;
    println!("{report}");
    Ok(report.succeeded())
}
