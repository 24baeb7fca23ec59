//! `list` and `count`.

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use crate::failure::{Done, Failure};
use crate::options::{self, Namespace};
use crate::output;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// A filter, such as: udp and orig dst port 53 and not reply src 10.244.1.5
    #[arg(value_name = "FILTER")]
    filter: Vec<String>,

    /// Print one JSON object per line
    #[arg(long, conflicts_with = "extended")]
    json: bool,

    /// Print lines as `conntrack -L -o extended,id` does
    #[arg(long)]
    extended: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CountArguments {
    /// A filter, such as: udp and orig dst port 53
    #[arg(value_name = "FILTER")]
    filter: Vec<String>,

    /// Print one JSON object
    #[arg(long)]
    json: bool,

    /// Count again and again, by default every 2 s
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true, default_missing_value = "2")]
    watch: Option<f64>,
}

pub(crate) fn run(namespace: &Namespace, arguments: &Arguments) -> Result<Done, Failure> {
    let filter = options::filter(&arguments.filter)?;
    let ct = namespace.open()?;
    let mut out = output::stdout();
    let mut dump = ct.dump(&filter)?;
    // A line is made in memory, which is cheaper than to write its parts.
    let mut line = String::new();
    while let Some(flow) = dump.next()? {
        line.clear();
        // Writing to a string cannot fail.
        let _ = if arguments.json {
            line += &serde_json::to_string(&flow)?;
            Ok(())
        } else if arguments.extended {
            write!(line, "{}", flow.line().extended().id())
        } else {
            write!(line, "{flow}")
        };
        line.push('\n');
        out.write_all(line.as_bytes())?;
    }
    out.flush()?;
    Ok(Done::OK)
}

pub(crate) fn count(namespace: &Namespace, arguments: &CountArguments) -> Result<Done, Failure> {
    let filter = options::filter(&arguments.filter)?;
    let ct = namespace.open()?;
    let counted = || -> Result<String, Failure> {
        let entries = match &filter {
            Some(filter) => ct.dump(filter)?.count()?,
            None => ct.count()?.into(),
        };
        Ok(match arguments.json {
            true => json!({ "entries": entries, "limit": ct.limit()? }).to_string(),
            false => entries.to_string(),
        })
    };
    match arguments.watch {
        Some(seconds) => output::watch(interval(seconds)?, counted),
        None => output::print(&counted()?),
    }
}

/// Seconds between two looks.
pub(crate) fn interval(seconds: f64) -> Result<Duration, Failure> {
    match Duration::try_from_secs_f64(seconds) {
        Ok(interval) if interval >= Duration::from_millis(100) => Ok(interval),
        _ => Err(Failure::BadInput(format!("{seconds} seconds: expected 0.1 or more"))),
    }
}
