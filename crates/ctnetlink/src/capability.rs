//! What a kernel can do: data only. [`Conntrack::capabilities`](crate::Conntrack::capabilities)
//! finds it out.

use std::fmt;

/// A criterion a kernel may be asked to filter by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum KernelCriterion {
    /// Protocol number.
    Protocol,
    /// Ports of the original direction, TCP and UDP.
    Ports,
    /// Ports of the original direction, other protocols (SCTP, UDP-Lite).
    OtherPorts,
    /// Original IPv4 addresses.
    OrigIpv4,
    /// Original IPv6 addresses: inverted in every kernel up to 6.19.
    OrigIpv6,
    /// Reply IPv4 addresses: broken from 5.8 to 5.15.
    ReplyIpv4,
    /// Reply IPv6 addresses.
    ReplyIpv6,
    /// Ports of the reply direction, TCP and UDP.
    ReplyPorts,
    /// Mark under a mask.
    Mark,
    /// Status under a mask. Linux 5.15.
    Status,
    /// Zone, in any direction. Linux 6.8.
    Zone,
}

impl KernelCriterion {
    /// All of them, in the order of reports.
    pub const ALL: [KernelCriterion; 11] = [
        KernelCriterion::Protocol,
        KernelCriterion::Ports,
        KernelCriterion::OtherPorts,
        KernelCriterion::OrigIpv4,
        KernelCriterion::OrigIpv6,
        KernelCriterion::ReplyIpv4,
        KernelCriterion::ReplyIpv6,
        KernelCriterion::ReplyPorts,
        KernelCriterion::Mark,
        KernelCriterion::Status,
        KernelCriterion::Zone,
    ];

    fn words(self) -> &'static str {
        match self {
            KernelCriterion::Protocol => "protocol",
            KernelCriterion::Ports => "original ports, TCP and UDP",
            KernelCriterion::OtherPorts => "original ports, others",
            KernelCriterion::OrigIpv4 => "original IPv4 address",
            KernelCriterion::OrigIpv6 => "original IPv6 address",
            KernelCriterion::ReplyIpv4 => "reply IPv4 address",
            KernelCriterion::ReplyIpv6 => "reply IPv6 address",
            KernelCriterion::ReplyPorts => "reply ports, TCP and UDP",
            KernelCriterion::Mark => "mark",
            KernelCriterion::Status => "status",
            KernelCriterion::Zone => "zone",
        }
    }
}

/// What a probe found about one criterion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Trust {
    /// It selects exactly what it says: proved on this kernel.
    Proved,
    /// It selects something else: inverted, or ignored.
    Wrong,
    /// The kernel refuses it, with this errno.
    Refused(i32),
    /// The probe could not run.
    Untested,
}

impl fmt::Display for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Trust::Proved => "proved",
            Trust::Wrong => "WRONG",
            Trust::Refused(_) => "refused",
            Trust::Untested => "untested",
        })
    }
}

/// What the running kernel filters, flushes, counts and stamps, as found by probing; never
/// concluded from a version number.
///
/// `Display` is one screen of text, with what to do about what is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// Dumps understand `CTA_FILTER`. Linux 5.8.
    pub dump_filter: bool,
    /// Flushes understand `CTA_FILTER`. Linux 6.12.
    pub flush_filter: bool,
    /// Dumps understand a status filter. Linux 5.15.
    pub status_filter: bool,
    /// Dumps understand a zone filter. Linux 6.8.
    pub zone_filter: bool,
    /// Why the criteria could not be tried out in a scratch namespace, if they could not.
    pub untested: Option<String>,
    /// For each of [`KernelCriterion::ALL`]: trust in dumps, trust in flushes.
    pub(crate) trust: [(Trust, Trust); KernelCriterion::ALL.len()],
    /// New entries count packets and bytes (`nf_conntrack_acct`). `None` = cannot be read.
    pub accounting: Option<bool>,
    /// New entries are stamped (`nf_conntrack_timestamp`).
    pub timestamps: Option<bool>,
    /// `nf_conntrack_events`: 0 never, 1 always, 2 only entries made while somebody listens.
    pub events: Option<u8>,
    /// Entries carry marks.
    pub marks: bool,
    /// Expectations can be listed.
    pub expectations: bool,
    /// Timeout policies are there (`nfnetlink_cttimeout`).
    pub timeout_policies: bool,
    /// Entries of this namespace, and how many the kernel allows (0 = unlimited).
    pub entries: (u32, u32),
}

impl Capabilities {
    /// Whether a dump may be filtered by this in the kernel.
    ///
    /// Untested, only protocol, TCP and UDP ports, and original IPv4 addresses count as proved:
    /// a kernel that does not know them sends more, and none hides anything.
    pub fn dump(&self, criterion: KernelCriterion) -> Trust {
        use KernelCriterion::{OrigIpv4, Ports, Protocol};
        match (self.trust[criterion as usize].0, criterion) {
            (Trust::Untested, Protocol | Ports | OrigIpv4) => Trust::Proved,
            (trust, _) => trust,
        }
    }

    /// Whether a flush may be filtered by this in the kernel. Untested means no.
    pub fn flush(&self, criterion: KernelCriterion) -> Trust {
        self.trust[criterion as usize].1
    }
}

impl fmt::Display for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let yes = |yes: bool| if yes { "yes" } else { "no" };
        let (entries, limit) = self.entries;
        writeln!(f, "conntrack of this kernel and network namespace")?;
        match limit {
            0 => writeln!(f, "  entries            {entries}, unlimited")?,
            _ => writeln!(f, "  entries            {entries} of {limit}")?,
        }
        writeln!(
            f,
            "  filters known      dump: tuple {}, status {}, zone {}; flush: tuple {}",
            yes(self.dump_filter),
            yes(self.status_filter),
            yes(self.zone_filter),
            yes(self.flush_filter)
        )?;
        match &self.untested {
            None => writeln!(f, "  tried out in a scratch namespace:")?,
            Some(why) => writeln!(f, "  could not be tried out ({why}); trusted all the same:")?,
        }
        writeln!(f, "    {:<30} {:<10} flush", "criterion", "dump")?;
        for criterion in KernelCriterion::ALL {
            let (dump, flush) = (self.dump(criterion), self.flush(criterion));
            writeln!(f, "    {:<30} {dump:<10} {flush}", criterion.words())?;
        }
        let sysctl = |f: &mut fmt::Formatter<'_>, what: &str, on: Option<bool>, name: &str| match on
        {
            Some(true) => writeln!(f, "  {what:<18} on"),
            Some(false) => {
                writeln!(f, "  {what:<18} off; for new entries: sysctl net.netfilter.{name}=1")
            }
            None => writeln!(f, "  {what:<18} unknown: net.netfilter.{name} cannot be read"),
        };
        sysctl(f, "counters", self.accounting, "nf_conntrack_acct")?;
        sysctl(f, "timestamps", self.timestamps, "nf_conntrack_timestamp")?;
        let events = match self.events {
            Some(0) => "none; for new entries: sysctl net.netfilter.nf_conntrack_events=1",
            Some(1) => "of every new entry",
            Some(_) => {
                "of entries made while somebody listens; for all: sysctl \
                 net.netfilter.nf_conntrack_events=1"
            }
            None => "unknown: net.netfilter.nf_conntrack_events cannot be read",
        };
        writeln!(f, "  {:<18} {events}", "events")?;
        let config = |there: bool, what: &'static str| if there { "yes" } else { what };
        writeln!(f, "  {:<18} {}", "marks", config(self.marks, "no: CONFIG_NF_CONNTRACK_MARK"))?;
        writeln!(f, "  {:<18} {}", "expectations", yes(self.expectations))?;
        write!(
            f,
            "  {:<18} {}",
            "timeout policies",
            config(self.timeout_policies, "no: modprobe nfnetlink_cttimeout")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capabilities(trust: Trust) -> Capabilities {
        Capabilities {
            dump_filter: true,
            flush_filter: false,
            status_filter: true,
            zone_filter: false,
            untested: (trust == Trust::Untested).then(|| "unshare: not permitted".into()),
            trust: [(trust, trust); KernelCriterion::ALL.len()],
            accounting: Some(false),
            timestamps: Some(true),
            events: Some(2),
            marks: true,
            expectations: true,
            timeout_policies: false,
            entries: (3, 0),
        }
    }

    #[test]
    fn untested_is_trusted_only_where_nothing_can_be_hidden() {
        let untested = capabilities(Trust::Untested);
        let trusted = KernelCriterion::ALL.map(|c| untested.dump(c) == Trust::Proved);
        assert_eq!(trusted.iter().filter(|t| **t).count(), 3);
        assert_eq!(untested.dump(KernelCriterion::OrigIpv4), Trust::Proved);
        assert!(KernelCriterion::ALL.iter().all(|c| untested.flush(*c) == Trust::Untested));
        let wrong = capabilities(Trust::Wrong);
        assert!(KernelCriterion::ALL.iter().all(|c| wrong.dump(*c) == Trust::Wrong));
    }

    #[test]
    fn one_screen_with_remedies() {
        let text = capabilities(Trust::Untested).to_string();
        assert!(text.lines().count() <= 24, "{text}");
        for words in [
            "3, unlimited",
            "could not be tried out (unshare: not permitted)",
            "counters           off; for new entries: sysctl net.netfilter.nf_conntrack_acct=1",
            "timestamps         on",
            "no: modprobe nfnetlink_cttimeout",
        ] {
            assert!(text.contains(words), "{words:?} is missing in\n{text}");
        }
    }
}
