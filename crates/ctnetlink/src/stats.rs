//! Figures of the whole table.

use crate::command::Command;
use crate::error::{Error, Operation, Result};
use crate::reply::Reply;
use crate::request;
use crate::uapi::{NFGENMSG_LEN, stats_global};
use crate::wire::Attributes;

/// Entry count and limit of a namespace (`CT_GET_STATS`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) entries: u32,
    /// Absent before Linux 4.19.
    pub(crate) limit: Option<u32>,
}

/// Asks for the totals. The reply carries `NLM_F_MULTI` but no `NLMSG_DONE` follows.
pub(crate) fn totals(command: &mut Command) -> Result<Totals> {
    let sequence = command.reserve(1);
    let mut answer = None;
    command.exchange(Operation::Count, &request::stats(sequence), |answered, reply| {
        if answered != sequence {
            return Ok(());
        }
        match reply {
            Reply::Data(message) => {
                let attributes = message.payload.get(NFGENMSG_LEN..).unwrap_or_default();
                let number = |kind| Attributes::find(attributes, kind).and_then(|a| a.be32());
                answer = number(stats_global::ENTRIES)
                    .map(|entries| Totals { entries, limit: number(stats_global::MAX_ENTRIES) });
                Ok(())
            }
            // The request has nothing in it that could be invalid.
            Reply::Error(Error::Kernel { operation, errno: errno @ libc::EINVAL, .. }) => {
                Err(Error::NotSupported { operation, errno })
            }
            Reply::Error(error) => Err(error),
            Reply::Ack | Reply::Done | Reply::Noise => Ok(()),
        }
    })?;
    answer.ok_or(Error::NoAnswer { operation: Operation::Count, seconds: 0 })
}
