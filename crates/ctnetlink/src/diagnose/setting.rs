//! The sysctls of conntrack, by name, unit and default.

use std::fmt;
use std::str::FromStr;

use crate::error::Error;

/// What the number of a [`Setting`] counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Unit {
    /// Entries, buckets, packets: a plain number.
    Number,
    /// Seconds.
    Seconds,
    /// A switch or a mode, from 0.
    Mode,
}

/// The largest number that any setting takes; the kernel takes less for some.
const MAX: u32 = u32::MAX / 2;

macro_rules! settings {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $unit:ident, $default:expr, $most:expr;)*) => {
        /// A sysctl of conntrack, `/proc/sys/net/netfilter/NAME`.
        ///
        /// Which of them exist depends on the kernel and its configuration. All belong to the network
        /// namespace, but for those that [`is_global`](Setting::is_global) names.
        ///
        /// ```
        /// use ctnetlink::diagnose::{Setting, Unit};
        /// let setting: Setting = "tcp_timeout_established".parse()?; // or with `nf_conntrack_`
        /// assert_eq!(setting.name(), "nf_conntrack_tcp_timeout_established");
        /// assert_eq!((setting.unit(), setting.default_value()), (Unit::Seconds, Some(432_000)));
        /// # Ok::<(), ctnetlink::Error>(())
        /// ```
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Setting {
            $($(#[$doc])* $variant,)*
        }

        impl Setting {
            /// All settings, in the order in which they are shown.
            pub const ALL: &'static [Setting] = &[$(Setting::$variant,)*];

            /// The name of the file, such as `nf_conntrack_max`.
            pub fn name(self) -> &'static str {
                match self { $(Setting::$variant => $name,)* }
            }

            /// What its number counts.
            pub fn unit(self) -> Unit {
                match self { $(Setting::$variant => Unit::$unit,)* }
            }

            /// The kernel's default; `None` if it depends on the machine's memory.
            pub fn default_value(self) -> Option<u32> {
                match self { $(Setting::$variant => $default,)* }
            }

            /// The largest value that makes sense. The kernel refuses some that are smaller.
            pub fn largest_value(self) -> u32 {
                match self { $(Setting::$variant => $most,)* }
            }
        }
    };
}

settings! {
    /// How many entries each namespace may have.
    Max = "nf_conntrack_max", Number, None, MAX;
    /// Buckets of the hash table, which all namespaces share.
    Buckets = "nf_conntrack_buckets", Number, None, MAX;
    /// How many expectations each namespace may have.
    ExpectMax = "nf_conntrack_expect_max", Number, None, MAX;
    /// A SYN was seen.
    TcpSynSent = "nf_conntrack_tcp_timeout_syn_sent", Seconds, Some(120), MAX;
    /// A SYN and its SYN-ACK were seen.
    TcpSynRecv = "nf_conntrack_tcp_timeout_syn_recv", Seconds, Some(60), MAX;
    /// Established. The kernel's five days; kube-proxy sets one.
    TcpEstablished = "nf_conntrack_tcp_timeout_established", Seconds, Some(432_000), MAX;
    /// The first FIN was seen.
    TcpFinWait = "nf_conntrack_tcp_timeout_fin_wait", Seconds, Some(120), MAX;
    /// The first FIN was acknowledged. kube-proxy sets one hour.
    TcpCloseWait = "nf_conntrack_tcp_timeout_close_wait", Seconds, Some(60), MAX;
    /// Both FINs were seen.
    TcpLastAck = "nf_conntrack_tcp_timeout_last_ack", Seconds, Some(30), MAX;
    /// The last ACK was seen.
    TcpTimeWait = "nf_conntrack_tcp_timeout_time_wait", Seconds, Some(120), MAX;
    /// Reset.
    TcpClose = "nf_conntrack_tcp_timeout_close", Seconds, Some(10), MAX;
    /// Retransmitted [`TcpMaxRetrans`](Setting::TcpMaxRetrans) times without an answer.
    TcpMaxRetransTimeout = "nf_conntrack_tcp_timeout_max_retrans", Seconds, Some(300), MAX;
    /// Data that nobody has acknowledged.
    TcpUnacknowledged = "nf_conntrack_tcp_timeout_unacknowledged", Seconds, Some(300), MAX;
    /// UDP, without an answer or younger than two seconds.
    Udp = "nf_conntrack_udp_timeout", Seconds, Some(30), MAX;
    /// UDP with traffic in both directions for two seconds.
    UdpStream = "nf_conntrack_udp_timeout_stream", Seconds, Some(120), MAX;
    /// ICMP.
    Icmp = "nf_conntrack_icmp_timeout", Seconds, Some(30), MAX;
    /// ICMPv6.
    Icmpv6 = "nf_conntrack_icmpv6_timeout", Seconds, Some(30), MAX;
    /// Protocols that conntrack does not know.
    Generic = "nf_conntrack_generic_timeout", Seconds, Some(600), MAX;
    /// GRE without an answer.
    Gre = "nf_conntrack_gre_timeout", Seconds, Some(30), MAX;
    /// GRE with traffic in both directions.
    GreStream = "nf_conntrack_gre_timeout_stream", Seconds, Some(180), MAX;
    /// SCTP: closed.
    SctpClosed = "nf_conntrack_sctp_timeout_closed", Seconds, Some(10), MAX;
    /// SCTP: INIT was seen.
    SctpCookieWait = "nf_conntrack_sctp_timeout_cookie_wait", Seconds, Some(3), MAX;
    /// SCTP: COOKIE ECHO was seen.
    SctpCookieEchoed = "nf_conntrack_sctp_timeout_cookie_echoed", Seconds, Some(3), MAX;
    /// SCTP: established.
    SctpEstablished = "nf_conntrack_sctp_timeout_established", Seconds, Some(210), MAX;
    /// SCTP: SHUTDOWN of the original side was seen.
    SctpShutdownSent = "nf_conntrack_sctp_timeout_shutdown_sent", Seconds, Some(3), MAX;
    /// SCTP: SHUTDOWN of the reply side was seen.
    SctpShutdownRecd = "nf_conntrack_sctp_timeout_shutdown_recd", Seconds, Some(3), MAX;
    /// SCTP: SHUTDOWN ACK was seen.
    SctpShutdownAckSent = "nf_conntrack_sctp_timeout_shutdown_ack_sent", Seconds, Some(3), MAX;
    /// SCTP: HEARTBEAT was seen on a new path.
    SctpHeartbeatSent = "nf_conntrack_sctp_timeout_heartbeat_sent", Seconds, Some(30), MAX;
    /// TCP entries that rest in a flow table (only with `CONFIG_NF_FLOW_TABLE`).
    FlowtableTcp = "nf_flowtable_tcp_timeout", Seconds, Some(30), MAX;
    /// UDP entries that rest in a flow table.
    FlowtableUdp = "nf_flowtable_udp_timeout", Seconds, Some(30), MAX;
    /// Whether connections are picked up in the middle.
    TcpLoose = "nf_conntrack_tcp_loose", Mode, Some(1), 255;
    /// Whether only RST segments out of the window are invalid.
    TcpBeLiberal = "nf_conntrack_tcp_be_liberal", Mode, Some(0), 255;
    /// Whether an RST that is invalid is let through. Linux 5.13.
    TcpIgnoreInvalidRst = "nf_conntrack_tcp_ignore_invalid_rst", Mode, Some(0), 255;
    /// Retransmissions without an answer until a shorter timeout applies.
    TcpMaxRetrans = "nf_conntrack_tcp_max_retrans", Number, Some(3), 255;
    /// Whether packets and bytes of new entries are counted.
    Accounting = "nf_conntrack_acct", Mode, Some(0), 1;
    /// Whether new entries have their start time.
    Timestamps = "nf_conntrack_timestamp", Mode, Some(0), 1;
    /// Whether new entries report events: 0 no, 1 yes, 2 if somebody listens when they are made.
    Events = "nf_conntrack_events", Mode, Some(2), 2;
    /// Whether packets with a bad checksum are invalid.
    Checksum = "nf_conntrack_checksum", Mode, Some(1), 1;
    /// Whether invalid packets of a protocol are logged: its number, 255 for all, 0 for none.
    LogInvalid = "nf_conntrack_log_invalid", Mode, Some(0), 255;
}

impl Setting {
    /// The file in the namespace of the thread that opens it.
    pub fn path(self) -> String {
        format!("/proc/sys/net/netfilter/{}", self.name())
    }

    /// Whether it is one for all network namespaces. It is read-only outside the initial one
    /// (Linux 5.13).
    pub fn is_global(self) -> bool {
        matches!(self, Setting::Max | Setting::Buckets | Setting::ExpectMax)
    }

    pub(super) fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Setting {
    /// The name of the file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Setting {
    type Err = Error;

    /// Accepts the file's name, with or without `nf_conntrack_`, or with `net.netfilter.` before it.
    fn from_str(text: &str) -> Result<Self, Error> {
        let name = text.strip_prefix("net.netfilter.").unwrap_or(text);
        let same = |setting: &&Setting| {
            let full = setting.name();
            full == name || full.strip_prefix("nf_conntrack_") == Some(name)
        };
        Setting::ALL.iter().find(same).copied().ok_or_else(|| {
            Error::Invalid(format!(
                "unknown setting {text:?}: expected one such as \"max\", \"buckets\", \
                 \"tcp_timeout_established\" or \"udp_timeout\""
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_and_are_unique() {
        for (index, setting) in Setting::ALL.iter().enumerate() {
            assert_eq!(setting.index(), index);
            assert_eq!(setting.name().parse::<Setting>().unwrap(), *setting);
            let dotted = format!("net.netfilter.{setting}");
            assert_eq!(dotted.parse::<Setting>().unwrap(), *setting);
            if let Some(short) = setting.name().strip_prefix("nf_conntrack_") {
                assert_eq!(short.parse::<Setting>().unwrap(), *setting);
            }
            assert!(
                setting.default_value().is_none_or(|default| default <= setting.largest_value())
            );
        }
        assert!("nf_conntrack_".parse::<Setting>().is_err());
    }
}
