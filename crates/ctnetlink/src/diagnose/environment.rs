//! What the machine says besides ctnetlink: kernel, processors, the whole hash table, the log.

use std::fs::{self, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

use crate::conntrack::stats::CpuStats;

/// The words of the kernel when it drops a packet. From Linux 6.17 on, "in netns N" follows outside
/// the initial namespace.
const FULL: &str = "nf_conntrack: table full";

/// The last time that the kernel's log says the table was full. It says so at most ten times in five
/// seconds, and nothing of clashes and chains: it is no count.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct LogLine {
    /// The line.
    pub text: String,
    /// How long ago. In JSON, seconds.
    #[cfg_attr(feature = "serde", serde(serialize_with = "super::seconds"))]
    pub ago: Duration,
}

/// The release of the kernel, `6.18.44`.
pub(super) fn kernel() -> Option<String> {
    Some(fs::read_to_string("/proc/sys/kernel/osrelease").ok()?.trim().to_owned())
}

/// How many processors are online: what kube-proxy multiplies its limit by.
pub(super) fn processors() -> Option<u32> {
    let text = fs::read_to_string("/sys/devices/system/cpu/online").ok()?;
    count_list(text.trim())
}

/// How many numbers a list such as `0-3,8` has.
fn count_list(list: &str) -> Option<u32> {
    list.split(',').try_fold(0u32, |sum, part| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        sum.checked_add(last.checked_sub(first)?.checked_add(1)?)
    })
}

/// Entries of all namespaces, which share the hash table. Only root can read it.
pub(super) fn entries_of_all_namespaces() -> Option<u64> {
    let text = fs::read_to_string("/proc/slabinfo").ok()?;
    let line = text.lines().find(|line| line.split(' ').next() == Some("nf_conntrack"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// The counters of the thread's namespace, from `/proc` (`CONFIG_NF_CONNTRACK_PROCFS`), which anybody may
/// read: one line for each possible processor, in hexadecimal, under names that the kernel keeps for old
/// programs (`ct_cpu_seq_show`).
pub(super) fn counters() -> Option<Vec<CpuStats>> {
    parse_counters(&fs::read_to_string("/proc/thread-self/net/stat/nf_conntrack").ok()?)
}

fn parse_counters(text: &str) -> Option<Vec<CpuStats>> {
    let mut lines = text.lines();
    let names: Vec<_> = lines.next()?.split_whitespace().collect();
    let place = |name| names.iter().position(|known| *known == name);
    let cpu = |(cpu, line): (usize, &str)| {
        let values: Vec<_> = line.split_whitespace().collect();
        let value = |name| u32::from_str_radix(values.get(place(name)?)?, 16).ok();
        Some(CpuStats {
            cpu: cpu.try_into().ok()?,
            found: value("found"),
            invalid: value("invalid"),
            insert: value("insert"),
            insert_failed: value("insert_failed"),
            drop: value("drop"),
            early_drop: value("early_drop"),
            error: value("icmp_error"),
            search_restart: value("search_restart"),
            clash_resolve: value("clashres"),
            chain_toolong: value("chainlength"),
        })
    };
    lines.enumerate().map(cpu).collect()
}

/// The last line of the kernel's log about a full table, if the log can be read (`CAP_SYSLOG`, or
/// `dmesg_restrict` off). For the host, those that name no namespace; for another one, those that name
/// its inode. Inodes are used again: the caller knows whether this namespace has dropped anything. The
/// error says why not.
pub(super) fn table_full_line(inode: Option<u64>) -> std::io::Result<Option<LogLine>> {
    let mut log = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open("/dev/kmsg")?;
    let (mut record, mut last) = ([0u8; 8192], None);
    loop {
        match log.read(&mut record) {
            Ok(0) => break,
            Ok(length) => {
                let text = String::from_utf8_lossy(&record[..length]).into_owned();
                last = parse(&text, inode).or(last);
            }
            Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => break,
            // The record was overwritten; the next read goes on behind it.
            Err(error) if error.raw_os_error() == Some(libc::EPIPE) => {}
            Err(error) => return Err(error),
        }
    }
    let uptime = fs::read_to_string("/proc/uptime")?;
    let uptime = uptime.split(' ').next().and_then(|text| text.parse().ok());
    let now = uptime.and_then(|uptime| Duration::try_from_secs_f64(uptime).ok());
    let line = last.zip(now);
    Ok(line.map(|((at, text), now)| LogLine { text, ago: now.saturating_sub(at) }))
}

/// A record of `/dev/kmsg` (`priority,sequence,microseconds,flags;text`) about a full table.
fn parse(record: &str, inode: Option<u64>) -> Option<(Duration, String)> {
    let (prefix, text) = record.split_once(';')?;
    let text = text.lines().next()?;
    let rest = text.split_once(FULL)?.1;
    let named = rest.strip_prefix(" in netns ").and_then(|rest| rest.split(',').next());
    if named.map(|named| named.parse().ok()) != inode.map(Some) {
        return None;
    }
    let microseconds = prefix.split(',').nth(2)?.parse().ok()?;
    Some((Duration::from_micros(microseconds), text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_counted() {
        for (list, count) in [("0", Some(1)), ("0-3,8", Some(5)), ("", None), ("3-1", None)] {
            assert_eq!(count_list(list), count, "{list}");
        }
        assert!(processors().is_some_and(|count| count > 0));
        assert!(kernel().is_some());
    }

    #[test]
    fn counters_of_proc() {
        let text = "entries  clashres found new invalid ignore delete chainlength insert insert_failed \
                    drop early_drop icmp_error  expect_new expect_create expect_delete search_restart\n\
                    00000003  00000001 0000000a 0 2 0 0 4 5 6 7 8 9  0 0 0 ff\n\
                    00000003  0 0 0 0 0 0 0 0 0 1 0 0  0 0 0 0\n";
        let cpus = parse_counters(text).unwrap();
        let first = cpus[0];
        assert_eq!((cpus.len(), cpus[1].cpu, cpus[1].drop), (2, 1, Some(1)));
        let counts = [first.clash_resolve, first.found, first.invalid, first.chain_toolong];
        assert_eq!(counts, [1, 10, 2, 4].map(Some));
        let counts = [first.insert, first.insert_failed, first.drop, first.early_drop];
        assert_eq!(counts, [5, 6, 7, 8].map(Some));
        assert_eq!((first.error, first.search_restart), (Some(9), Some(255)));
        // Before 5.10 the columns have other meanings, or none.
        let old = parse_counters("entries searched found delete_list\n1 2 3 4\n").unwrap()[0];
        assert_eq!(
            (old.found, old.clash_resolve, old.chain_toolong, old.drop),
            (Some(3), None, None, None)
        );
    }

    #[test]
    fn records_of_both_forms() {
        let old = "4,1234,5000000,-;nf_conntrack: nf_conntrack: table full, dropping packet\n";
        let new = "4,9,7,-;nf_conntrack: nf_conntrack: table full in netns 4026532177, dropping packet\n SUBSYSTEM=x\n";
        assert_eq!(parse(old, None).unwrap().0, Duration::from_secs(5));
        assert!(parse(new, Some(4_026_532_177)).unwrap().1.ends_with("dropping packet"));
        for other in [None, Some(1)] {
            assert_eq!(parse(new, other), None);
        }
        assert_eq!(parse(old, Some(1)), None);
        assert_eq!(parse("6,1,2,-;eth0: link up\n", None), None);
    }
}
