//! The command `ctnetlink`, as a function: [`run`].
//!
//! One module has one command, or a family of them. `options` has what all of them take, `failure`
//! how they exit, `output` how they print, `screen` the text of a diagnosis.
#![deny(missing_docs)]

mod capabilities;
mod cluster;
mod delete;
mod doctor;
#[cfg(feature = "exporter")]
mod exporter;
mod failure;
mod get;
mod limits;
mod list;
mod names;
mod options;
mod output;
mod reconcile;
mod report;
mod screen;
mod stats;
mod top;

use std::ffi::OsString;

use clap::{CommandFactory, Parser, Subcommand};

use crate::failure::{Done, Failure};
pub use crate::report::{peak_rss_kib, report_json};

/// Linux connection tracking: what holds the table, what is lost, and what to do.
///
/// Everything needs CAP_NET_ADMIN in the user namespace that owns the network namespace. `doctor`
/// shows what it can without it.
///
/// Exit status: 0 done, 1 something failed, 2 bad input; for `doctor` 0 ok, 1 warning, 2 critical,
/// 3 could not look.
#[derive(Debug, Parser)]
#[command(name = "ctnetlink", version, max_term_width = 100)]
struct Arguments {
    #[command(flatten)]
    namespace: options::Namespace,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Doctor(doctor::Arguments),
    Top(top::Arguments),
    /// List entries
    List(list::Arguments),
    /// Count entries; without a filter, the kernel's own count
    Count(list::CountArguments),
    /// Show one entry
    Get(get::Arguments),
    /// Delete the entries that a filter matches
    Delete(delete::Arguments),
    /// Delete all entries
    Flush(delete::FlushArguments),
    /// Set the counters of entries to zero, and show what they were
    Zero(delete::ZeroArguments),
    /// Show the kernel's counters, and what they say about lost packets
    Stats(stats::Arguments),
    /// Show the limits, timeouts and modes in force, or set them
    Limits(limits::Arguments),
    /// Show what this kernel can be trusted with
    Capabilities(capabilities::Arguments),
    /// Remove the entries whose backend no longer serves, and only those
    Reconcile(Box<reconcile::Arguments>),
    #[cfg(feature = "exporter")]
    Exporter(exporter::Arguments),
    /// Print a script that completes this command in a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write one for each command into a directory
    Man {
        /// Where to write
        #[arg(long, value_name = "DIRECTORY")]
        directory: Option<std::path::PathBuf>,
    },
}

/// Exit status of a monitoring plugin that could not look.
const COULD_NOT_LOOK: u8 = 3;

/// Runs the command with the arguments, the first of which is its name, and returns the exit status.
///
/// It prints to standard output and standard error. `SIGINT` has to have its default action, as in
/// every fresh process: the command does not catch it.
///
/// ```no_run
/// let status = ctnetlink_cli::run(["ctnetlink", "count", "udp"]);
/// # let _ = status;
/// ```
pub fn run<I, T>(arguments: I) -> u8
where
    I: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    let words: Vec<OsString> = arguments.into_iter().map(Into::into).collect();
    let parsed = Arguments::try_parse_from(&words);
    let arguments = match parsed {
        Ok(arguments) => arguments,
        Err(error) => {
            // Nothing can be done if the terminal is gone.
            let _ = error.print();
            let is_doctor = words.iter().skip(1).any(|word| word == "doctor");
            return match u8::try_from(error.exit_code()).unwrap_or(2) {
                // A wrong option must not look like a critical table.
                2 if is_doctor => COULD_NOT_LOOK,
                status => status,
            };
        }
    };
    let is_doctor = matches!(arguments.command, Command::Doctor(_));
    match dispatch(&arguments) {
        Ok(Done(status)) => status,
        Err(Failure::ReaderGone) => failure::READER_GONE,
        Err(failure) => {
            output::clear_progress();
            eprintln!("error: {failure}");
            match failure {
                _ if is_doctor => COULD_NOT_LOOK,
                Failure::BadInput(_) => 2,
                _ => 1,
            }
        }
    }
}

fn dispatch(arguments: &Arguments) -> Result<Done, Failure> {
    let namespace = &arguments.namespace;
    match &arguments.command {
        Command::Doctor(arguments) => doctor::run(namespace, arguments),
        Command::Top(arguments) => top::run(namespace, arguments),
        Command::List(arguments) => list::run(namespace, arguments),
        Command::Count(arguments) => list::count(namespace, arguments),
        Command::Get(arguments) => get::run(namespace, arguments),
        Command::Delete(arguments) => delete::run(namespace, arguments),
        Command::Flush(arguments) => delete::flush(namespace, arguments),
        Command::Zero(arguments) => delete::zero(namespace, arguments),
        Command::Stats(arguments) => stats::run(namespace, arguments),
        Command::Limits(arguments) => limits::run(namespace, arguments),
        Command::Capabilities(arguments) => capabilities::run(namespace, arguments),
        Command::Reconcile(arguments) => reconcile::run(namespace, arguments),
        #[cfg(feature = "exporter")]
        Command::Exporter(arguments) => exporter::run(namespace, arguments),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Arguments::command(), "ctnetlink", &mut script);
            output::print(&String::from_utf8_lossy(&script))
        }
        Command::Man { directory } => man(directory.as_deref()),
    }
}

fn man(directory: Option<&std::path::Path>) -> Result<Done, Failure> {
    let Some(directory) = directory else {
        let mut page = Vec::new();
        clap_mangen::Man::new(Arguments::command()).render(&mut page)?;
        return output::print(&String::from_utf8_lossy(&page));
    };
    clap_mangen::generate_to(Arguments::command(), directory)
        .map_err(|e| Failure::Failed(format!("{}: {e}", directory.display())))?;
    Ok(Done::OK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Arguments::command().debug_assert();
    }
}
