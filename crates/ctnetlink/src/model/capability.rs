//! What a kernel can do: data only. [`Conntrack::capabilities`](crate::Conntrack::capabilities)
//! finds it out.

use std::fmt;
use std::str::FromStr;

use crate::error::Error;

/// A criterion a kernel may be asked to filter by.
///
/// ```
/// use ctnetlink::KernelCriterion;
/// assert_eq!("orig_ipv6".parse::<KernelCriterion>()?, KernelCriterion::OrigIpv6);
/// assert_eq!(KernelCriterion::OrigIpv6.to_string(), "original IPv6 address");
/// # Ok::<(), ctnetlink::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum KernelCriterion {
    /// Address family. Dumps always honour it; flushes since 4.20, and since 5.3 only in some
    /// forms.
    Family,
    /// Protocol number.
    Protocol,
    /// Ports of the original direction, TCP and UDP.
    Ports,
    /// Ports of the original direction, other protocols (SCTP, UDP-Lite): ignored by every kernel.
    OtherPorts,
    /// Type, code and id of the original direction, ICMP and ICMPv6.
    Icmp,
    /// Original IPv4 addresses.
    OrigIpv4,
    /// Original IPv6 addresses: inverted from 5.8 on, until a stable release of a series fixed it
    /// (6.12.117 is right, 6.1.192 and 6.18.44 are not).
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
    /// All criteria, in the order in which they are reported.
    pub const ALL: [KernelCriterion; 13] = [
        KernelCriterion::Family,
        KernelCriterion::Protocol,
        KernelCriterion::Ports,
        KernelCriterion::OtherPorts,
        KernelCriterion::Icmp,
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
            KernelCriterion::Family => "family",
            KernelCriterion::Protocol => "protocol",
            KernelCriterion::Ports => "original ports, TCP and UDP",
            KernelCriterion::OtherPorts => "original ports, others",
            KernelCriterion::Icmp => "ICMP type, code and id",
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

impl KernelCriterion {
    /// A name for use in programs, such as `orig_ipv4`. `FromStr` parses it.
    pub fn name(self) -> &'static str {
        match self {
            KernelCriterion::Family => "family",
            KernelCriterion::Protocol => "protocol",
            KernelCriterion::Ports => "ports",
            KernelCriterion::OtherPorts => "other_ports",
            KernelCriterion::Icmp => "icmp",
            KernelCriterion::OrigIpv4 => "orig_ipv4",
            KernelCriterion::OrigIpv6 => "orig_ipv6",
            KernelCriterion::ReplyIpv4 => "reply_ipv4",
            KernelCriterion::ReplyIpv6 => "reply_ipv6",
            KernelCriterion::ReplyPorts => "reply_ports",
            KernelCriterion::Mark => "mark",
            KernelCriterion::Status => "status",
            KernelCriterion::Zone => "zone",
        }
    }
}

impl FromStr for KernelCriterion {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let found = KernelCriterion::ALL.into_iter().find(|criterion| criterion.name() == text);
        found.ok_or_else(|| {
            let names = KernelCriterion::ALL.map(KernelCriterion::name).join("\", \"");
            Error::Invalid(format!("unknown criterion {text:?}: expected one of \"{names}\""))
        })
    }
}

impl fmt::Display for KernelCriterion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.words())
    }
}

/// What a probe found about one criterion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Trust {
    /// It selects exactly what it says: proved on this kernel.
    Proved,
    /// Not tried out, but still used in dumps, because no kernel can hide an entry by it.
    Assumed,
    /// It selects something else: inverted, or ignored.
    Wrong,
    /// The kernel refuses it, with this errno.
    Refused(i32),
    /// The probe could not run, or had no entries that could show a difference.
    Untested,
    /// Set aside by [`Capabilities::distrust`].
    Distrusted,
}

impl fmt::Display for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Trust::Proved => "proved",
            Trust::Assumed => "assumed",
            Trust::Wrong => "WRONG",
            Trust::Refused(_) => "refused",
            Trust::Untested => "untested",
            Trust::Distrusted => "distrusted",
        })
    }
}

/// What is trusted, in dumps and in flushes, for each of [`KernelCriterion::ALL`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(into = "ByCriterion", from = "ByCriterion"))]
pub(crate) struct Trusts([(Trust, Trust); KernelCriterion::ALL.len()]);

impl Trusts {
    /// Nothing was tried out.
    pub(crate) const UNTESTED: Trusts =
        Trusts([(Trust::Untested, Trust::Untested); KernelCriterion::ALL.len()]);

    /// Everything was proved.
    pub(crate) const PROVED: Trusts =
        Trusts([(Trust::Proved, Trust::Proved); KernelCriterion::ALL.len()]);

    /// Those to plan a dump with, from the most to the least: a plan is used if the running kernel
    /// proves its requests. What is left out, step by step, is what kernels are known to lack or to
    /// get wrong; this only saves proofs, and decides nothing.
    pub(crate) fn to_be_proved() -> [Trusts; 4] {
        use KernelCriterion::{OrigIpv6, ReplyIpv4, ReplyIpv6, ReplyPorts, Status, Zone};
        let mut trusts = Trusts::PROVED;
        let mut without = |criteria: &[KernelCriterion]| {
            for criterion in criteria {
                trusts.set(*criterion, Trust::Untested, Trust::Untested);
            }
            trusts.clone()
        };
        [
            without(&[]),
            without(&[OrigIpv6, ReplyIpv6]),
            without(&[Zone]),
            without(&[Status, ReplyIpv4, ReplyPorts]),
        ]
    }

    /// Of what is untested, only criteria by which no kernel can hide entries are assumed to be
    /// right.
    pub(crate) fn dump(&self, criterion: KernelCriterion) -> Trust {
        use KernelCriterion::{Family, OrigIpv4, Ports, Protocol};
        match (self.0[criterion as usize].0, criterion) {
            (Trust::Untested, Family | Protocol | Ports | OrigIpv4) => Trust::Assumed,
            (trust, _) => trust,
        }
    }

    pub(crate) fn flush(&self, criterion: KernelCriterion) -> Trust {
        self.0[criterion as usize].1
    }

    /// Keeps the distrust that was set by request before.
    pub(crate) fn keep_distrust(&mut self, before: &Trusts) {
        for (now, before) in self.0.iter_mut().zip(before.0) {
            if before.0 == Trust::Distrusted {
                now.0 = before.0;
            }
            if before.1 == Trust::Distrusted {
                now.1 = before.1;
            }
        }
    }

    /// The dumps of this kernel are known to ignore filters on tuples.
    pub(crate) fn without_dump_filter(&mut self) {
        use KernelCriterion::{OrigIpv4, Ports, Protocol};
        for criterion in [Protocol, Ports, OrigIpv4] {
            let trust = &mut self.0[criterion as usize].0;
            if *trust == Trust::Untested {
                *trust = Trust::Wrong;
            }
        }
    }

    pub(crate) fn set(&mut self, criterion: KernelCriterion, dump: Trust, flush: Trust) {
        self.0[criterion as usize] = (dump, flush);
    }
}

/// What the running kernel filters, flushes, counts and stamps, as found by probing; never
/// concluded from a version number.
///
/// `Display` prints one screen of text, which also says how to get what is missing.
///
/// With the feature `serde` it can be saved and read again, for another process of the same boot of
/// this machine: `trusts` has for each [`KernelCriterion`] the [`Trust`] in dumps and the one in
/// flushes. [`Conntrack::use_capabilities`](crate::Conntrack::use_capabilities) refuses those of
/// another boot.
///
/// ```no_run
/// # fn f(ct: &ctnetlink::Conntrack) -> ctnetlink::Result<()> {
/// use ctnetlink::{KernelCriterion, Trust};
/// let found = ct.capabilities()?;
/// if found.dump(KernelCriterion::OrigIpv6) == Trust::Wrong {
///     println!("this kernel compares IPv6 addresses wrongly; they are matched in user space");
/// }
/// println!("{found}"); // one screen
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Capabilities {
    /// The boot of the machine on which this was found (`/proc/sys/kernel/random/boot_id`). `None` =
    /// cannot be read, and then the capabilities cannot be saved.
    #[cfg_attr(
        feature = "serde",
        serde(serialize_with = "write_boot_id", deserialize_with = "read_boot_id")
    )]
    pub boot_id: Option<String>,
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
    pub(crate) trusts: Trusts,
    /// New entries count packets and bytes (`nf_conntrack_acct`). `None` = cannot be read.
    pub accounting: Option<bool>,
    /// New entries get timestamps (`nf_conntrack_timestamp`). `None` = cannot be read.
    pub timestamps: Option<bool>,
    /// `nf_conntrack_events`: 0 never, 1 always, 2 only entries made while somebody listens.
    pub events: Option<u8>,
    /// Entries carry marks (`CONFIG_NF_CONNTRACK_MARK`); `None` = could not be tried out.
    pub marks: Option<bool>,
    /// Entries can be in zones (`CONFIG_NF_CONNTRACK_ZONES`); `None` = could not be tried out.
    pub zones: Option<bool>,
    /// Entries can have labels (`CONFIG_NF_CONNTRACK_LABELS`) once a rule of the namespace uses
    /// labels; `None` = could not be tried out.
    pub labels: Option<bool>,
    /// Expectations can be listed.
    pub expectations: bool,
    /// Timeout policies are available (`nfnetlink_cttimeout`).
    pub timeout_policies: bool,
    /// Entries of this namespace.
    pub entries: u32,
    /// Entries the kernel lets each namespace have (`nf_conntrack_max`); 0 means unlimited.
    pub limit: u32,
}

impl Capabilities {
    /// Whether the kernel may filter a dump by this criterion.
    ///
    /// Without a test, only family, protocol, TCP and UDP ports, and original IPv4 addresses are
    /// [assumed](Trust::Assumed): a kernel that does not know them sends more entries, and no
    /// kernel hides any.
    pub fn dump(&self, criterion: KernelCriterion) -> Trust {
        self.trusts.dump(criterion)
    }

    /// Whether the kernel may filter a flush by this criterion. Untested means no.
    pub fn flush(&self, criterion: KernelCriterion) -> Trust {
        self.trusts.flush(criterion)
    }

    /// These capabilities, but without trust in one criterion: it is matched in user space,
    /// whatever the probe found. If all criteria are distrusted, the kernel does not filter dumps
    /// at all.
    ///
    /// ```no_run
    /// use ctnetlink::{Conntrack, KernelCriterion};
    /// # fn f() -> ctnetlink::Result<()> {
    /// let ct = Conntrack::open()?;
    /// let careful = ct.capabilities()?.distrust(KernelCriterion::Zone);
    /// ct.use_capabilities(&careful)?;
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn distrust(mut self, criterion: KernelCriterion) -> Capabilities {
        self.trusts.set(criterion, Trust::Distrusted, Trust::Distrusted);
        self
    }

    /// These capabilities, but without trust in any filtered flush: as on kernels before 6.12,
    /// deletes by filter are done one by one, and never in the kernel.
    #[must_use]
    pub fn distrust_flushes(mut self) -> Capabilities {
        for criterion in KernelCriterion::ALL {
            let dump = self.trusts.0[criterion as usize].0;
            self.trusts.set(criterion, dump, Trust::Distrusted);
        }
        self
    }
}

impl fmt::Display for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let yes = |yes: bool| if yes { "yes" } else { "no" };
        let Capabilities { entries, limit, .. } = self;
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
            Some(why) => writeln!(f, "  could not be tried out ({why}):")?,
        }
        writeln!(f, "    {:<30} {:<10} flush", "criterion", "dump")?;
        let mut wrong = false;
        for criterion in KernelCriterion::ALL {
            let (dump, flush) = (self.dump(criterion), self.flush(criterion));
            wrong |= [dump, flush].contains(&Trust::Wrong);
            writeln!(f, "    {:<30} {dump:<10} {flush}", criterion.words())?;
        }
        if wrong {
            let meaning =
                "this kernel selects the wrong entries by it; it is matched in user space";
            writeln!(f, "    WRONG: {meaning}")?;
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
        let features = [
            ("marks", self.marks, "CONFIG_NF_CONNTRACK_MARK"),
            ("zones", self.zones, "CONFIG_NF_CONNTRACK_ZONES"),
            ("labels (once a rule uses them)", self.labels, "CONFIG_NF_CONNTRACK_LABELS"),
            ("expectations", Some(self.expectations), "use another kernel"),
            ("timeout policies", Some(self.timeout_policies), "modprobe nfnetlink_cttimeout"),
        ];
        let named = |wanted| {
            let names = features.iter().filter(|(_, there, _)| *there == wanted);
            names.map(|(name, ..)| *name).collect::<Vec<_>>().join(", ")
        };
        write!(f, "  {:<18} {}", "offers", named(Some(true)))?;
        for (name, _, remedy) in features.iter().filter(|(_, there, _)| *there == Some(false)) {
            write!(f, "\n  {:<18} {name}: {remedy}", "lacks")?;
        }
        match named(None) {
            unknown if unknown.is_empty() => Ok(()),
            unknown => write!(f, "\n  {:<18} {unknown}", "untested"),
        }
    }
}

/// The saved form: for each criterion the trust in dumps and in flushes.
#[cfg(feature = "serde")]
type ByCriterion = std::collections::BTreeMap<KernelCriterion, (Trust, Trust)>;

#[cfg(feature = "serde")]
impl From<Trusts> for ByCriterion {
    fn from(trusts: Trusts) -> ByCriterion {
        KernelCriterion::ALL.into_iter().zip(trusts.0).collect()
    }
}

#[cfg(feature = "serde")]
impl From<ByCriterion> for Trusts {
    /// A criterion that is not there was not tried out.
    fn from(saved: ByCriterion) -> Trusts {
        let mut trusts = Trusts::UNTESTED;
        for (criterion, (dump, flush)) in saved {
            trusts.set(criterion, dump, flush);
        }
        trusts
    }
}

/// Only what is known to belong to one boot can be saved.
#[cfg(feature = "serde")]
#[expect(clippy::ref_option, reason = "serde's signature")]
fn write_boot_id<S: serde::Serializer>(
    boot_id: &Option<String>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let unknown = "the boot id of this machine could not be read, so the capabilities cannot be \
                   saved: mount /proc and find them again";
    match boot_id {
        Some(boot_id) => serializer.serialize_str(boot_id),
        None => Err(serde::ser::Error::custom(unknown)),
    }
}

#[cfg(feature = "serde")]
fn read_boot_id<'d, D: serde::Deserializer<'d>>(
    deserializer: D,
) -> Result<Option<String>, D::Error> {
    <String as serde::Deserialize>::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capabilities(trust: Trust) -> Capabilities {
        Capabilities {
            boot_id: Some("7a1b".into()),
            dump_filter: true,
            flush_filter: false,
            status_filter: true,
            zone_filter: false,
            untested: (trust == Trust::Untested).then(|| "unshare: not permitted".into()),
            trusts: Trusts([(trust, trust); KernelCriterion::ALL.len()]),
            accounting: Some(false),
            timestamps: Some(true),
            events: Some(2),
            marks: Some(true),
            zones: Some(false),
            labels: None,
            expectations: true,
            timeout_policies: false,
            entries: 3,
            limit: 0,
        }
    }

    #[test]
    fn untested_is_trusted_only_where_nothing_can_be_hidden() {
        let untested = capabilities(Trust::Untested);
        let trusted = KernelCriterion::ALL.map(|c| untested.dump(c) == Trust::Assumed);
        assert_eq!(trusted.iter().filter(|t| **t).count(), 4);
        assert_eq!(untested.dump(KernelCriterion::OrigIpv4), Trust::Assumed);
        assert!(KernelCriterion::ALL.iter().all(|c| untested.flush(*c) == Trust::Untested));
        let wrong = capabilities(Trust::Wrong);
        assert!(KernelCriterion::ALL.iter().all(|c| wrong.dump(*c) == Trust::Wrong));
        let none = KernelCriterion::ALL.into_iter().fold(untested, Capabilities::distrust);
        assert!(KernelCriterion::ALL.iter().all(|c| none.dump(*c) == Trust::Distrusted));
        let proved = capabilities(Trust::Proved).distrust_flushes();
        assert!(KernelCriterion::ALL.iter().all(|c| proved.dump(*c) == Trust::Proved));
        assert!(KernelCriterion::ALL.iter().all(|c| proved.flush(*c) == Trust::Distrusted));
    }

    #[test]
    fn names_round_trip() {
        for criterion in KernelCriterion::ALL {
            assert_eq!(criterion.name().parse::<KernelCriterion>().unwrap(), criterion);
        }
        let error = "ipv6".parse::<KernelCriterion>().unwrap_err().to_string();
        assert!(error.contains("\"ipv6\": expected one of \"family\", \"protocol\""), "{error}");
    }

    #[cfg(feature = "serde")]
    #[test]
    fn they_can_be_saved() {
        let mut found = capabilities(Trust::Proved).distrust(KernelCriterion::Zone);
        found.trusts.set(KernelCriterion::Icmp, Trust::Wrong, Trust::Refused(22));
        let text = serde_json::to_string(&found).unwrap();
        for part in [
            r#""boot_id":"7a1b","dump_filter":true"#,
            r#""icmp":["wrong",{"refused":22}]"#,
            r#""zone":["distrusted","distrusted"]"#,
            r#""labels":null"#,
        ] {
            assert!(text.contains(part), "{part} is missing in {text}");
        }
        assert_eq!(serde_json::from_str::<Capabilities>(&text).unwrap(), found);

        let older =
            text.replace(r#""zone":["distrusted","distrusted"]"#, r#""mark":["proved","proved"]"#);
        let read: Capabilities = serde_json::from_str(&older).unwrap();
        assert_eq!(read.flush(KernelCriterion::Zone), Trust::Untested);

        let nowhere = text.replace(r#""boot_id":"7a1b""#, r#""boot_id":null"#);
        assert!(serde_json::from_str::<Capabilities>(&nowhere).is_err());
        found.boot_id = None;
        let error = serde_json::to_string(&found).unwrap_err().to_string();
        assert!(error.contains("mount /proc"), "{error}");
    }

    #[test]
    fn one_screen_with_remedies() {
        let text = capabilities(Trust::Untested).to_string();
        assert!(text.lines().count() <= 25, "{text}");
        for words in [
            "3, unlimited",
            "could not be tried out (unshare: not permitted)",
            "counters           off; for new entries: sysctl net.netfilter.nf_conntrack_acct=1",
            "timestamps         on",
            "offers             marks, expectations\n",
            "lacks              timeout policies: modprobe nfnetlink_cttimeout",
            "untested           labels",
        ] {
            assert!(text.contains(words), "{words:?} is missing in\n{text}");
        }
        assert!(!text.contains("WRONG"), "{text}");
        let wrong = capabilities(Trust::Wrong).to_string();
        assert!(
            wrong.contains("\n    WRONG: this kernel selects the wrong entries by it"),
            "{wrong}"
        );
    }
}
