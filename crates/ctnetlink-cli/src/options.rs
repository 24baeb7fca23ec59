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
    /// (repeatable for `exporter`)
    #[arg(long, global = true, value_name = "NAME|PATH", conflicts_with_all = ["pid", "host"])]
    pub(crate) netns: Vec<String>,

    /// Look at the network namespace of a process
    #[arg(long, global = true, value_name = "PID", conflicts_with = "host")]
    pub(crate) pid: Option<u32>,

    /// Look at the network namespace of process 1: the host's, also from a container that shares the
    /// host's processes (hostPID; it needs CAP_SYS_ADMIN and CAP_SYS_PTRACE)
    #[arg(long, global = true)]
    pub(crate) host: bool,
}

impl Namespace {
    /// Opens it.
    pub(crate) fn open(&self) -> Result<Conntrack, Failure> {
        Ok(match (&self.netns[..], self.pid, self.host) {
            ([_, _, ..], ..) => {
                return Err(Failure::BadInput("--netns can be given once for this command".into()));
            }
            ([name], ..) => named(name)?,
            ([], Some(pid), _) => Conntrack::open_pid(pid)?,
            ([], None, true) => Conntrack::open_pid(1)?,
            ([], None, false) => Conntrack::open()?,
        })
    }

    /// Opens each that is named, with its name; or the only one, without.
    #[cfg(feature = "exporter")]
    pub(crate) fn open_each(&self) -> Result<Vec<(Option<String>, Conntrack)>, Failure> {
        if self.netns.is_empty() {
            return Ok(vec![(None, self.open()?)]);
        }
        for (place, name) in self.netns.iter().enumerate() {
            if self.netns[..place].contains(name) {
                return Err(Failure::BadInput(format!("--netns {name} is given twice")));
            }
        }
        self.netns.iter().map(|name| Ok((Some(name.clone()), named(name)?))).collect()
    }

    /// The options that name it, for a command that is to be run later.
    pub(crate) fn words(&self) -> String {
        match (self.netns.first(), self.pid, self.host) {
            (Some(name), ..) => format!(" --netns {name}"),
            (None, Some(pid), _) => format!(" --pid {pid}"),
            (None, None, true) => " --host".into(),
            (None, None, false) => String::new(),
        }
    }
}

/// A namespace by its name, or by a path, which has a slash.
fn named(name: &str) -> Result<Conntrack, Failure> {
    Ok(match name.contains('/') {
        true => Conntrack::open_path(Path::new(name))?,
        false => Conntrack::open_named(name)?,
    })
}

/// Reads a filter from words; `None` if there are no words.
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
