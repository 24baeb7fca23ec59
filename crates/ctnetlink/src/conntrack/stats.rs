//! Figures of the whole table.

use crate::error::{Error, Operation, Result};
use crate::request::{entry, expect};
use crate::transport::answer::Answer;
use crate::transport::command::Command;
use crate::uapi::{NFGENMSG_LEN, stats_cpu as cpu, stats_expect, stats_global};
use crate::wire::{Attributes, Message};

/// Statistics of one CPU in one namespace (`CT_GET_STATS_CPU`). Counters that the kernel does not
/// send are `None`.
///
/// ```no_run
/// # fn f(ct: &ctnetlink::Conntrack) -> ctnetlink::Result<()> {
/// let dropped: u64 = ct.stats_per_cpu()?.iter().filter_map(|cpu| cpu.drop).map(u64::from).sum();
/// println!("{dropped} packets dropped");
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct CpuStats {
    /// Number of the CPU.
    pub cpu: u16,
    /// NAT lookups that found their tuple already in use.
    pub found: Option<u32>,
    /// Packets that could not be tracked.
    pub invalid: Option<u32>,
    /// Entries inserted over netlink or BPF, not by packets.
    pub insert: Option<u32>,
    /// Insertions that failed because another entry was inserted first.
    pub insert_failed: Option<u32>,
    /// Packets dropped because no entry could be made.
    pub drop: Option<u32>,
    /// Entries dropped early to make room.
    pub early_drop: Option<u32>,
    /// ICMP errors that could not be tracked.
    pub error: Option<u32>,
    /// Lookups restarted because the table was being resized.
    pub search_restart: Option<u32>,
    /// Clashes resolved. Linux 5.10.
    pub clash_resolve: Option<u32>,
    /// Insertions refused because the hash chain was too long. Linux 5.15.
    pub chain_toolong: Option<u32>,
}

/// Statistics of expectations on one CPU (`EXP_GET_STATS_CPU`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ExpectStats {
    /// Number of the CPU.
    pub cpu: u16,
    /// Connections that fulfilled an expectation.
    pub new: Option<u32>,
    /// Expectations inserted, by helpers and over netlink.
    pub create: Option<u32>,
    /// Expectations deleted.
    pub delete: Option<u32>,
}

/// Entry count and limit of a namespace (`CT_GET_STATS`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) entries: u32,
    /// Absent before Linux 4.19.
    pub(crate) limit: Option<u32>,
}

/// Asks for the totals. The answer carries `NLM_F_MULTI` but no `NLMSG_DONE` follows.
pub(crate) fn totals(command: &mut Command) -> Result<Totals> {
    let sequence = command.reserve(1);
    let mut answer = None;
    let lost =
        command.exchange(Operation::Count, &entry::stats(sequence), |answered, message| {
            if answered != sequence {
                return Ok(());
            }
            if let Some(totals) = interpret(message)? {
                answer = Some(totals);
            }
            Ok(())
        })?;
    match answer {
        Some(totals) => Ok(totals),
        None if lost => Err(Error::Overrun { operation: Operation::Count }),
        None => Err(Error::NoAnswer { operation: Operation::Count, seconds: 0 }),
    }
}

fn interpret(answer: Answer<'_>) -> Result<Option<Totals>> {
    match answer {
        Answer::Data(message) => {
            let number = reader(&message);
            let entries = number(stats_global::ENTRIES);
            Ok(entries.map(|entries| Totals { entries, limit: number(stats_global::MAX_ENTRIES) }))
        }
        // The request contains nothing that could be invalid, so EINVAL means that the kernel has
        // no ctnetlink.
        Answer::Error(Error::Kernel { operation, errno: errno @ libc::EINVAL, .. }) => {
            Err(Error::NotSupported { operation, errno })
        }
        Answer::Error(error) => Err(error),
        Answer::Ack | Answer::Done | Answer::Noise => Ok(None),
    }
}

pub(crate) fn per_cpu(command: &mut Command) -> Result<Vec<CpuStats>> {
    let mut all = Vec::new();
    command.collect(Operation::Stats, entry::stats_cpu(), |message| {
        let number = reader(message);
        all.push(CpuStats {
            cpu: cpu_of(message),
            found: number(cpu::FOUND),
            invalid: number(cpu::INVALID),
            insert: number(cpu::INSERT),
            insert_failed: number(cpu::INSERT_FAILED),
            drop: number(cpu::DROP),
            early_drop: number(cpu::EARLY_DROP),
            error: number(cpu::ERROR),
            search_restart: number(cpu::SEARCH_RESTART),
            clash_resolve: number(cpu::CLASH_RESOLVE),
            chain_toolong: number(cpu::CHAIN_TOOLONG),
        });
        Ok(())
    })?;
    Ok(all)
}

pub(crate) fn expect_per_cpu(command: &mut Command) -> Result<Vec<ExpectStats>> {
    let mut all = Vec::new();
    command.collect(Operation::Stats, expect::stats_cpu(), |message| {
        let number = reader(message);
        all.push(ExpectStats {
            cpu: cpu_of(message),
            new: number(stats_expect::NEW),
            create: number(stats_expect::CREATE),
            delete: number(stats_expect::DELETE),
        });
        Ok(())
    })?;
    Ok(all)
}

/// Reads BE32 attributes of a message.
fn reader<'a>(message: &Message<'a>) -> impl Fn(u16) -> Option<u32> + use<'a> {
    let attributes = message.payload.get(NFGENMSG_LEN..).unwrap_or_default();
    move |kind| Attributes::find(attributes, kind).and_then(|a| a.be32())
}

/// The CPU is in `nfgenmsg.res_id`, big endian.
fn cpu_of(message: &Message<'_>) -> u16 {
    message.payload.get(2..4).and_then(crate::wire::be16).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(payload: &[u8]) -> Answer<'_> {
        let (kind, flags, sequence, payload_offset) = (0x105, 2, 1, 16);
        Answer::Data(Message { kind, flags, sequence, payload, payload_offset })
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn totals_with_and_without_a_limit() {
        let bytes = [0, 0, 0, 0, 8, 0, 1, 0, 0, 0, 0, 5, 8, 0, 2, 0, 0, 0, 1, 0];
        let totals = Totals { entries: 5, limit: Some(256) };
        assert_eq!(interpret(message(&bytes)).unwrap(), Some(totals));
        let old = Totals { entries: 5, limit: None };
        assert_eq!(interpret(message(&bytes[..12])).unwrap(), Some(old));
        assert_eq!(interpret(message(&[])).unwrap(), None);
        assert_eq!(interpret(Answer::Ack).unwrap(), None);
    }

    /// An answer that did not fit the receive buffer is an overrun, and not a missing answer.
    #[test]
    fn a_lost_answer_is_an_overrun() {
        ctnetlink_testbed::netns::in_netns(|| {
            let socket = crate::transport::socket::Socket::open().unwrap();
            socket.overflow();
            let mut command = Command::new(socket).unwrap();
            let error = totals(&mut command).unwrap_err();
            assert!(matches!(error, Error::Overrun { operation: Operation::Count }), "{error}");
            assert_eq!(totals(&mut command).unwrap().entries, 0);
        });
    }

    /// A kernel without `nf_conntrack_netlink` answers EINVAL to a request that is always valid.
    #[test]
    fn a_kernel_without_ctnetlink() {
        let refused = |errno| interpret(Answer::Error(Error::kernel(Operation::Count, errno)));
        let missing = refused(libc::EINVAL).unwrap_err();
        assert!(missing.is_not_supported());
        assert!(missing.to_string().contains("modprobe nf_conntrack_netlink"), "{missing}");
        assert!(refused(libc::EPERM).unwrap_err().is_permission_denied());
    }
}
