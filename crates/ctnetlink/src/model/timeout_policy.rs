//! Timeout policies: how long entries live in which state (`nfnetlink_cttimeout`).

use std::collections::BTreeMap;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::model::protocol::Protocol;
use crate::model::tuple::Family;
use crate::uapi::{NFGENMSG_LEN, timeout as x};
use crate::wire::Attributes;

/// A timeout for the kernel, in its unit. Part of a second is rounded up, because 0 means something
/// else: the entry expires at once. The kernel limits the maximum.
pub(crate) fn whole_seconds(timeout: Duration) -> u32 {
    let whole = timeout.as_secs().saturating_add(u64::from(timeout.subsec_nanos() > 0));
    u32::try_from(whole).unwrap_or(u32::MAX)
}

/// Timeouts of one protocol by state. The states have the kernel's names.
///
/// ```
/// use std::time::Duration;
/// use ctnetlink::{Protocol, Timeouts};
/// let udp = Timeouts::of(Protocol::UDP).set("REPLIED", Duration::from_secs(60))?;
/// assert_eq!(udp.get("REPLIED"), Some(Duration::from_secs(60)));
/// assert_eq!(udp.get("UNREPLIED"), None);
/// # Ok::<(), ctnetlink::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeouts {
    protocol: Protocol,
    /// Seconds by number of state.
    pub(crate) seconds: BTreeMap<u16, u32>,
}

/// The names of a protocol's states, from number 1 on (`enum ctattr_timeout_tcp` and so on).
fn states(protocol: Protocol) -> &'static [&'static str] {
    match protocol {
        Protocol::TCP => &[
            "SYN_SENT",
            "SYN_RECV",
            "ESTABLISHED",
            "FIN_WAIT",
            "CLOSE_WAIT",
            "LAST_ACK",
            "TIME_WAIT",
            "CLOSE",
            "SYN_SENT2",
            "RETRANS",
            "UNACK",
        ],
        Protocol::UDP | Protocol::UDPLITE | Protocol::GRE => &["UNREPLIED", "REPLIED"],
        Protocol::SCTP => &[
            "CLOSED",
            "COOKIE_WAIT",
            "COOKIE_ECHOED",
            "ESTABLISHED",
            "SHUTDOWN_SENT",
            "SHUTDOWN_RECD",
            "SHUTDOWN_ACK_SENT",
            "HEARTBEAT_SENT",
        ],
        _ => &["TIMEOUT"],
    }
}

fn number(protocol: Protocol, state: &str) -> Option<u16> {
    let at = states(protocol).iter().position(|name| *name == state)?;
    u16::try_from(at + 1).ok()
}

impl Timeouts {
    /// An empty set of timeouts: a state that is not set keeps its default. Protocol 255 is the
    /// generic one.
    pub fn of(protocol: Protocol) -> Timeouts {
        Timeouts { protocol, seconds: BTreeMap::new() }
    }

    /// Reads the payload of a message about a policy or about a protocol's own timeouts.
    pub(crate) fn parse(payload: &[u8]) -> Timeouts {
        let attributes = payload.get(NFGENMSG_LEN..).unwrap_or_default();
        let data = Attributes::find(attributes, x::DATA).map(|a| a.value).unwrap_or_default();
        let protocol = Attributes::find(attributes, x::L4PROTO).and_then(|a| a.u8()).unwrap_or(0);
        let members = Attributes::new(data).readable();
        Timeouts {
            protocol: Protocol(protocol),
            seconds: members.filter_map(|a| Some((a.kind, a.be32()?))).collect(),
        }
    }

    /// The protocol whose states these are.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Sets the timeout of one state. The kernel counts whole seconds; part of a second is rounded
    /// up.
    ///
    /// # Errors
    ///
    /// A state the protocol does not have; the error lists those it has.
    pub fn set(mut self, state: &str, timeout: Duration) -> Result<Timeouts> {
        let protocol = self.protocol;
        let Some(number) = number(protocol, state) else {
            let known = states(protocol).join("\", \"");
            return Err(Error::Invalid(format!(
                "timeout: {protocol} has no state {state:?}: expected one of \"{known}\""
            )));
        };
        self.seconds.insert(number, whole_seconds(timeout));
        Ok(self)
    }

    /// The timeout of one state, if it is known.
    pub fn get(&self, state: &str) -> Option<Duration> {
        let seconds = self.seconds.get(&number(self.protocol, state)?)?;
        Some(Duration::from_secs((*seconds).into()))
    }

    /// Every state whose timeout is set, with the timeout.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, Duration)> {
        states(self.protocol).iter().filter_map(|state| Some((*state, self.get(state)?)))
    }
}

/// A named set of timeouts, which rules attach to connections (`ct timeout` of nftables).
///
/// ```no_run
/// # fn f(ct: &ctnetlink::Conntrack) -> ctnetlink::Result<()> {
/// use ctnetlink::{Family, Protocol, TimeoutPolicy, Timeouts};
/// use std::time::Duration;
/// let timeouts = Timeouts::of(Protocol::UDP).set("UNREPLIED", Duration::from_secs(5))?;
/// ct.create_timeout_policy(&TimeoutPolicy::new("short", Family::Ipv4, timeouts))?;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeoutPolicy {
    /// Name, 31 bytes at most.
    pub name: String,
    /// Layer 3 protocol. `None` is one other than IPv4 and IPv6, found in the kernel, which accepts
    /// any number there; no entry is of such a protocol, and no request can be made with it.
    pub family: Option<Family>,
    /// The timeouts, and with them the layer 4 protocol.
    pub timeouts: Timeouts,
    /// How many rules use the policy; known only for a policy that was read from the kernel.
    pub users: Option<u32>,
}

impl TimeoutPolicy {
    /// A policy to be created.
    pub fn new(name: impl Into<String>, family: Family, timeouts: Timeouts) -> TimeoutPolicy {
        TimeoutPolicy { name: name.into(), family: Some(family), timeouts, users: None }
    }

    /// Reads the payload of a message about a policy.
    pub(crate) fn parse(payload: &[u8]) -> TimeoutPolicy {
        let attributes = payload.get(NFGENMSG_LEN..).unwrap_or_default();
        let find = |kind| Attributes::find(attributes, kind);
        let name = find(x::NAME).map(|a| a.text().into_owned()).unwrap_or_default();
        let family = find(x::L3PROTO).and_then(|a| a.be16()).and_then(|n| u8::try_from(n).ok());
        TimeoutPolicy {
            name,
            family: family.and_then(Family::from_number),
            timeouts: Timeouts::parse(payload),
            users: find(x::USE).and_then(|a| a.be32()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn part_of_a_second_is_not_zero() {
        for (milliseconds, seconds) in [(0, 0), (1, 1), (999, 1), (1000, 1), (1001, 2)] {
            assert_eq!(whole_seconds(Duration::from_millis(milliseconds)), seconds);
        }
        assert_eq!(whole_seconds(Duration::MAX), u32::MAX);
    }

    #[test]
    fn states_are_the_protocols_own() {
        let seconds = Duration::from_secs;
        let tcp = Timeouts::of(Protocol::TCP).set("UNACK", seconds(9)).unwrap();
        assert_eq!(tcp.seconds.get(&11), Some(&9));
        assert_eq!(tcp.iter().collect::<Vec<_>>(), [("UNACK", seconds(9))]);
        let sctp = Timeouts::of(Protocol::SCTP).set("HEARTBEAT_SENT", seconds(1)).unwrap();
        assert_eq!(sctp.seconds.get(&8), Some(&1));
        let error = Timeouts::of(Protocol::UDP).set("ESTABLISHED", seconds(1)).unwrap_err();
        assert!(error.to_string().contains("one of \"UNREPLIED\", \"REPLIED\""), "{error}");
        assert!(Timeouts::of(Protocol(255)).set("TIMEOUT", seconds(1)).is_ok());
    }
}
