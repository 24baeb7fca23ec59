//! Finding out what the running kernel can be trusted with. The questions here are harmless and are
//! asked in the handle's namespace. What has to be tried out in a scratch namespace is in
//! `trial.rs` (every criterion, for people) and `proof.rs` (the shape of one request, on demand).

pub(crate) mod proof;
mod trial;

use std::fs;
use std::time::Instant;

use self::trial::Trial;
use crate::error::{Error, Operation, Result};
use crate::model::capability::Capabilities;
use crate::request::{expect, probe, timeout};
use crate::transport::command::{Command, refusal};
use crate::transport::namespace::Namespace;

const OPERATION: Operation = Operation::Probe;

/// What the trial found, or why it could not run. It takes a while, and uses no socket of the
/// handle.
pub(crate) fn try_out(
    deadline: Option<Instant>,
    is_cancelled: &(dyn Fn() -> bool + Sync),
) -> Trial {
    let is_late = || is_cancelled() || deadline.is_some_and(|deadline| Instant::now() >= deadline);
    let tried = Namespace::scratch(|| trial::run(&is_late));
    tried.unwrap_or_else(|error| Trial { untested: Some(error.to_string()), ..Trial::default() })
}

/// Which boot of the machine this is. Namespaces and containers have the machine's.
pub(crate) fn boot_id() -> Option<String> {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(text.trim().to_owned())
}

/// Asks all questions in the handle's namespace. It is an error only if the kernel does not behave
/// like ctnetlink at all.
pub(crate) fn capabilities(
    namespace: &Namespace,
    command: &mut Command,
    (entries, limit): (u32, u32),
    mut trial: Trial,
) -> Result<Capabilities> {
    match refusal(command.act(OPERATION, probe::control()))? {
        Some(libc::ENOENT) => {}
        errno => return Err(Error::kernel(OPERATION, errno.unwrap_or(libc::EINVAL))),
    }
    let flush_filter = command.act(OPERATION, probe::flush_filter());
    let flush_filter = matches!(refusal(flush_filter)?, Some(libc::EINVAL | libc::EOPNOTSUPP));
    let known = |request| -> Result<bool> {
        let mut command = Command::new(namespace.socket()?)?;
        Ok(refusal(command.first(OPERATION, request))?.is_some())
    };
    let dump_filter = known(probe::dump_filter())?;
    if !dump_filter {
        trial.trusts.without_dump_filter();
    }
    let [accounting, timestamps, events] = namespace.run(|| {
        Ok(["acct", "timestamp", "events"].map(|name| {
            let path = format!("/proc/sys/net/netfilter/nf_conntrack_{name}");
            fs::read_to_string(path).ok()?.trim().parse::<u8>().ok()
        }))
    })?;
    Ok(Capabilities {
        boot_id: boot_id(),
        dump_filter,
        flush_filter,
        status_filter: known(probe::status_filter())?,
        zone_filter: known(probe::zone_filter())?,
        untested: trial.untested,
        trusts: trial.trusts,
        accounting: accounting.map(|value| value != 0),
        timestamps: timestamps.map(|value| value != 0),
        events,
        marks: trial.marks,
        zones: trial.zones,
        labels: trial.labels,
        expectations: !known(expect::dump(None)?)?,
        timeout_policies: !known(timeout::dump())?,
        entries,
        limit,
    })
}
