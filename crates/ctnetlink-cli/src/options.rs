//! What all commands take: the namespace to look at, and a filter.

use std::path::Path;

use clap::Args;
use ctnetlink::{Conntrack, Filter};

use crate::failure::Failure;
use crate::output;

/// Which network namespace is looked at. Without one of these, the one this runs in.
#[derive(Debug, Args)]
pub(crate) struct Namespace {
    /// Look at a network namespace: its name (`ip netns`), or a path such as /proc/PID/ns/net
    #[arg(long, global = true, value_name = "NAME|PATH", conflicts_with_all = ["pid", "host"])]
    pub(crate) netns: Option<String>,

    /// Look at the network namespace of a process
    #[arg(long, global = true, value_name = "PID", conflicts_with = "host")]
    pub(crate) pid: Option<u32>,

    /// Look at the network namespace of process 1: the host's, if this runs in a container that
    /// shares the host's processes (hostPID)
    #[arg(long, global = true)]
    pub(crate) host: bool,
}

impl Namespace {
    /// Opens it.
    pub(crate) fn open(&self) -> Result<Conntrack, Failure> {
        Ok(match (&self.netns, self.pid, self.host) {
            (Some(name), ..) if name.contains('/') => Conntrack::open_path(Path::new(name))?,
            (Some(name), ..) => Conntrack::open_named(name)?,
            (None, Some(pid), _) => Conntrack::open_pid(pid)?,
            (None, None, true) => Conntrack::open_pid(1)?,
            (None, None, false) => Conntrack::open()?,
        })
    }

    /// The options that name it, for a command that is to be run later.
    pub(crate) fn words(&self) -> String {
        match (&self.netns, self.pid, self.host) {
            (Some(name), ..) => format!(" --netns {name}"),
            (None, Some(pid), _) => format!(" --pid {pid}"),
            (None, None, true) => " --host".into(),
            (None, None, false) => String::new(),
        }
    }
}

/// Reads a filter from words; `None` if there are none.
pub(crate) fn filter(words: &[String]) -> Result<Option<Filter>, Failure> {
    let text = words.join(" ");
    if text.trim().is_empty() {
        return Ok(None);
    }
    let filter: Filter =
        text.parse().map_err(|e: ctnetlink::Error| Failure::BadInput(e.to_string()))?;
    if let Some(why) = filter.never_matches() {
        output::note(format_args!("the filter matches nothing: {why}"));
    }
    Ok(Some(filter))
}
