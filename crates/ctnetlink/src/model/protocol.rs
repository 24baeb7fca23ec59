//! Transport protocols and what conntrack knows of their state.

use std::fmt;
use std::str::FromStr;

use crate::error::Error;
use crate::uapi::protoinfo as uapi;
use crate::wire::Attributes;

/// A transport protocol number (`IPPROTO_*`). Prints as the name that `conntrack` uses, or else as
/// the number, and parses from both.
///
/// ```
/// use ctnetlink::Protocol;
/// assert_eq!("udp".parse::<Protocol>()?, Protocol::UDP);
/// assert_eq!(Protocol::UDPLITE.to_string(), "udplite");
/// assert_eq!("89".parse::<Protocol>()?, Protocol(89));
/// # Ok::<(), ctnetlink::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Protocol(pub u8);

const NAMES: [(Protocol, &str); 8] = [
    (Protocol::ICMP, "icmp"),
    (Protocol::TCP, "tcp"),
    (Protocol::UDP, "udp"),
    (Protocol::DCCP, "dccp"),
    (Protocol::GRE, "gre"),
    (Protocol::ICMPV6, "icmpv6"),
    (Protocol::SCTP, "sctp"),
    (Protocol::UDPLITE, "udplite"),
];

impl Protocol {
    /// ICMP for IPv4, 1.
    pub const ICMP: Protocol = Protocol(1);
    /// TCP, 6.
    pub const TCP: Protocol = Protocol(6);
    /// UDP, 17.
    pub const UDP: Protocol = Protocol(17);
    /// DCCP, 33. Tracked up to Linux 6.16; later it is a protocol without ports.
    pub const DCCP: Protocol = Protocol(33);
    /// GRE, 47. Its "ports" are the keys.
    pub const GRE: Protocol = Protocol(47);
    /// ICMP for IPv6, 58.
    pub const ICMPV6: Protocol = Protocol(58);
    /// SCTP, 132.
    pub const SCTP: Protocol = Protocol(132);
    /// UDP-Lite, 136. Not UDP.
    pub const UDPLITE: Protocol = Protocol(136);

    /// The name, if this crate has one for the protocol.
    pub fn name(self) -> Option<&'static str> {
        NAMES.iter().find(|(protocol, _)| *protocol == self).map(|(_, name)| *name)
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.pad(name),
            None => fmt::Display::fmt(&self.0, f),
        }
    }
}

impl fmt::Debug for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Protocol({self})")
    }
}

impl FromStr for Protocol {
    type Err = Error;

    /// Accepts the names that [`name`](Protocol::name) gives, in any case, and numbers.
    fn from_str(text: &str) -> Result<Self, Error> {
        let by_name = NAMES.iter().find(|(_, name)| name.eq_ignore_ascii_case(text));
        match (by_name, text.parse()) {
            (Some((protocol, _)), _) => Ok(*protocol),
            (None, Ok(number)) => Ok(Protocol(number)),
            (None, Err(_)) => Err(Error::Invalid(format!(
                "unknown protocol {text:?}: expected \"tcp\", \"udp\", \"udplite\", \"sctp\", \
                 \"icmp\", \"icmpv6\", \"gre\", \"dccp\" or a number from 0 to 255"
            ))),
        }
    }
}

/// An enumeration of states from one table: variant, the kernel's number, the kernel's name.
macro_rules! states {
    ($(#[$doc:meta])* $state:ident, $protocol:literal {
        $($(#[$variant_doc:meta])* $variant:ident = $number:literal, $name:literal;)*
    }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $state {
            $($(#[$variant_doc])* $variant,)*
            /// A number this crate does not know.
            Other(u8),
        }

        impl $state {
            /// Every known state with the kernel's number and name.
            const TABLE: &'static [($state, u8, &'static str)] =
                &[$(($state::$variant, $number, $name),)*];

            /// The kernel's number.
            pub fn number(self) -> u8 {
                match self {
                    $($state::$variant => $number,)*
                    $state::Other(number) => number,
                }
            }
        }

        impl From<u8> for $state {
            fn from(number: u8) -> Self {
                match number {
                    $($number => $state::$variant,)*
                    other => $state::Other(other),
                }
            }
        }

        impl FromStr for $state {
            type Err = Error;

            /// Accepts the kernel's names in any case, and numbers.
            fn from_str(text: &str) -> Result<Self, Error> {
                let known = $state::TABLE.iter().find(|row| row.2.eq_ignore_ascii_case(text));
                let by_number = || text.parse::<u8>().ok().map($state::from);
                known.map(|row| row.0).or_else(by_number).ok_or_else(|| {
                    let names: Vec<_> = $state::TABLE.iter().map(|row| row.2).collect();
                    Error::Invalid(format!(
                        "unknown {} state {text:?}: expected one of \"{}\" or a number",
                        $protocol,
                        names.join("\", \""),
                    ))
                })
            }
        }

        impl fmt::Display for $state {
            /// The kernel's name, or the number of a state this crate does not know.
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match $state::TABLE.iter().find(|row| row.0 == *self) {
                    Some(row) => f.pad(row.2),
                    None => fmt::Display::fmt(&self.number(), f),
                }
            }
        }
    };
}

states! {
    /// State of a TCP entry (`enum tcp_conntrack`).
    TcpState, "TCP" {
        /// No state: a created entry that has seen no packet.
        None = 0, "NONE";
        /// SYN seen.
        SynSent = 1, "SYN_SENT";
        /// SYN and SYN-ACK seen.
        SynRecv = 2, "SYN_RECV";
        /// Established.
        Established = 3, "ESTABLISHED";
        /// First FIN seen.
        FinWait = 4, "FIN_WAIT";
        /// The FIN was acknowledged.
        CloseWait = 5, "CLOSE_WAIT";
        /// Both FINs seen.
        LastAck = 6, "LAST_ACK";
        /// Last ACK seen.
        TimeWait = 7, "TIME_WAIT";
        /// Reset.
        Close = 8, "CLOSE";
        /// SYN seen from both sides.
        SynSent2 = 9, "SYN_SENT2";
    }
}

states! {
    /// State of an SCTP entry (`enum sctp_conntrack`).
    SctpState, "SCTP" {
        /// No state.
        None = 0, "NONE";
        /// Closed.
        Closed = 1, "CLOSED";
        /// INIT seen.
        CookieWait = 2, "COOKIE_WAIT";
        /// COOKIE ECHO seen.
        CookieEchoed = 3, "COOKIE_ECHOED";
        /// Established.
        Established = 4, "ESTABLISHED";
        /// SHUTDOWN seen from the original side.
        ShutdownSent = 5, "SHUTDOWN_SENT";
        /// SHUTDOWN seen from the reply side.
        ShutdownRecd = 6, "SHUTDOWN_RECD";
        /// SHUTDOWN ACK seen.
        ShutdownAckSent = 7, "SHUTDOWN_ACK_SENT";
        /// HEARTBEAT seen on a new path.
        HeartbeatSent = 8, "HEARTBEAT_SENT";
    }
}

/// What `CTA_PROTOINFO` says. Members the kernel left out are `None`.
///
/// ```no_run
/// # fn f(flow: ctnetlink::Flow) {
/// use ctnetlink::{ProtocolState, TcpState};
/// if let Some(ProtocolState::Tcp { state: Some(TcpState::SynSent), .. }) = flow.protocol_state() {
///     println!("nobody has answered yet");
/// }
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProtocolState {
    /// TCP.
    Tcp {
        /// State.
        state: Option<TcpState>,
        /// Window scale of the original direction (shift count).
        wscale_orig: Option<u8>,
        /// Window scale of the reply direction.
        wscale_reply: Option<u8>,
        /// Flags of the original direction (`IP_CT_TCP_FLAG_*`).
        flags_orig: Option<u8>,
        /// Flags of the reply direction.
        flags_reply: Option<u8>,
    },
    /// SCTP.
    Sctp {
        /// State.
        state: Option<SctpState>,
        /// Verification tag of the original direction, big endian as on the wire.
        vtag_orig: Option<u32>,
        /// Verification tag of the reply direction.
        vtag_reply: Option<u32>,
    },
    /// DCCP, up to Linux 6.16.
    Dccp {
        /// State (`enum ct_dccp_states`).
        state: Option<u8>,
        /// Role of the original direction: 0 client, 1 server.
        role: Option<u8>,
        /// Handshake sequence number.
        handshake_seq: Option<u64>,
    },
}

impl ProtocolState {
    /// Reads the value of `CTA_PROTOINFO`. `None` for a protocol this crate does not know.
    pub(crate) fn parse(value: &[u8]) -> Option<Self> {
        let outer = Attributes::new(value).readable().next()?;
        let members = Attributes::new(outer.value).readable();
        match outer.kind {
            uapi::TCP => {
                let (mut state, mut wscale_orig, mut wscale_reply) = (None, None, None);
                let (mut flags_orig, mut flags_reply) = (None, None);
                for member in members {
                    match member.kind {
                        uapi::TCP_STATE => state = member.u8().map(TcpState::from),
                        uapi::TCP_WSCALE_ORIGINAL => wscale_orig = member.u8(),
                        uapi::TCP_WSCALE_REPLY => wscale_reply = member.u8(),
                        uapi::TCP_FLAGS_ORIGINAL => flags_orig = member.u8(),
                        uapi::TCP_FLAGS_REPLY => flags_reply = member.u8(),
                        _ => {}
                    }
                }
                Some(ProtocolState::Tcp {
                    state,
                    wscale_orig,
                    wscale_reply,
                    flags_orig,
                    flags_reply,
                })
            }
            uapi::SCTP => {
                let (mut state, mut vtag_orig, mut vtag_reply) = (None, None, None);
                for member in members {
                    match member.kind {
                        uapi::SCTP_STATE => state = member.u8().map(SctpState::from),
                        uapi::SCTP_VTAG_ORIGINAL => vtag_orig = member.be32(),
                        uapi::SCTP_VTAG_REPLY => vtag_reply = member.be32(),
                        _ => {}
                    }
                }
                Some(ProtocolState::Sctp { state, vtag_orig, vtag_reply })
            }
            uapi::DCCP => {
                let (mut state, mut role, mut handshake_seq) = (None, None, None);
                for member in members {
                    match member.kind {
                        uapi::DCCP_STATE => state = member.u8(),
                        uapi::DCCP_ROLE => role = member.u8(),
                        uapi::DCCP_HANDSHAKE_SEQ => handshake_seq = member.be64(),
                        _ => {}
                    }
                }
                Some(ProtocolState::Dccp { state, role, handshake_seq })
            }
            _ => None,
        }
    }
}

impl fmt::Display for ProtocolState {
    /// The state alone, as `conntrack -L` prints it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProtocolState::Tcp { state: Some(state), .. } => fmt::Display::fmt(state, f),
            ProtocolState::Sctp { state: Some(state), .. } => fmt::Display::fmt(state, f),
            ProtocolState::Dccp { state: Some(state), .. } => fmt::Display::fmt(state, f),
            _ => f.pad("NONE"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_round_trip() {
        for number in 0..=255 {
            let protocol = Protocol(number);
            assert_eq!(protocol.to_string().parse::<Protocol>().unwrap(), protocol);
        }
        assert_eq!("UDP".parse::<Protocol>().unwrap(), Protocol::UDP);
        let error = "256".parse::<Protocol>().unwrap_err().to_string();
        assert!(error.contains("\"256\"") && error.contains("udplite"), "{error}");
    }

    #[test]
    fn states_have_the_kernels_names() {
        assert_eq!(TcpState::from(3).to_string(), "ESTABLISHED");
        assert_eq!(TcpState::from(9).to_string(), "SYN_SENT2");
        assert_eq!(TcpState::from(77), TcpState::Other(77));
        assert_eq!(SctpState::from(8).to_string(), "HEARTBEAT_SENT");
        for number in 0..=255 {
            assert_eq!(TcpState::from(number).number(), number);
            assert_eq!(SctpState::from(number).number(), number);
            let (tcp, sctp) = (TcpState::from(number), SctpState::from(number));
            assert_eq!(tcp.to_string().parse::<TcpState>().unwrap(), tcp);
            assert_eq!(sctp.to_string().to_lowercase().parse::<SctpState>().unwrap(), sctp);
        }
    }

    #[test]
    fn unknown_states_are_refused() {
        let error = "ESTAB".parse::<TcpState>().unwrap_err().to_string();
        assert!(error.contains("unknown TCP state \"ESTAB\""), "{error}");
        assert!("256".parse::<SctpState>().is_err());
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn tcp_and_sctp_nests() {
        let tcp = [
            48, 0, 1, 0x80, 5, 0, 1, 0, 3, 0, 0, 0, 5, 0, 2, 0, 7, 0, 0, 0, 5, 0, 3, 0, 8, 0, 0, 0,
            6, 0, 4, 0, 0x23, 0, 0, 0, 6, 0, 5, 0, 0x2b, 0, 0, 0, 0, 0, 0, 0,
        ];
        assert_eq!(
            ProtocolState::parse(&tcp),
            Some(ProtocolState::Tcp {
                state: Some(TcpState::Established),
                wscale_orig: Some(7),
                wscale_reply: Some(8),
                flags_orig: Some(0x23),
                flags_reply: Some(0x2b),
            })
        );
        let sctp = [
            28, 0, 3, 0x80, 5, 0, 1, 0, 4, 0, 0, 0, 8, 0, 2, 0, 1, 2, 3, 4, 8, 0, 3, 0, 5, 6, 7, 8,
        ];
        assert_eq!(
            ProtocolState::parse(&sctp),
            Some(ProtocolState::Sctp {
                state: Some(SctpState::Established),
                vtag_orig: Some(0x0102_0304),
                vtag_reply: Some(0x0506_0708),
            })
        );
        assert_eq!(ProtocolState::parse(&[4, 0, 9, 0]), None);
        assert_eq!(ProtocolState::parse(&[]), None);
    }
}
