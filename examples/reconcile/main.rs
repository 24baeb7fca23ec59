//! The main job: remove exactly the conntrack entries whose backend no longer serves.
//!
//! It works in a private network namespace that it fills with a kube-like table, and audits itself
//! afterwards. `ctnetlink reconcile` does it in a real one:
//!
//! ```text
//! ctnetlink reconcile --cluster-command 'kubectl get services,endpointslices -A -o json' \
//!     --node-address 192.0.2.5
//! ```

mod demo;

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use clap::Parser;
use ctnetlink::Profile;

/// Removes conntrack entries whose backend no longer serves, and only those: a demonstration in a
/// private network namespace; nothing of this host is touched.
///
/// Exit status: 0 done, 1 something failed.
#[derive(Debug, Parser)]
#[command(name = "reconcile", max_term_width = 100)]
struct Arguments {
    /// Entries in the table
    #[arg(
        long, value_name = "N", default_value_t = 100_000,
        value_parser = clap::value_parser!(u32).range(1..=8_000_000)
    )]
    entries: u32,

    /// Whose rules to use: strict or kube-proxy
    #[arg(long, default_value = "strict", value_parser = profile)]
    profile: Profile,

    /// Judge and count, but delete nothing
    #[arg(long)]
    dry_run: bool,

    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = demo::run(&arguments);
    if shows_progress(&arguments) {
        progress_line("");
    }
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(1)
        }
    }
}

fn shows_progress(arguments: &Arguments) -> bool {
    !arguments.json && io::stderr().is_terminal()
}

/// Replaces the line at the bottom of the terminal; an empty text removes it.
fn progress_line(text: &str) {
    let mut stderr = io::stderr().lock();
    // A terminal that is gone is not a reason to stop the work.
    let _ = write!(stderr, "\r\x1b[K{text}").and_then(|()| stderr.flush());
}

fn profile(text: &str) -> Result<Profile, String> {
    text.parse().map_err(|e: ctnetlink::Error| e.to_string())
}
