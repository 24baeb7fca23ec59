//! The kernel's own numbers, under the kernel's own names.
//!
//! Each constant is named as in `include/uapi/linux/netfilter/nfnetlink*.h` and
//! `nf_conntrack_*.h`. Its text names the Linux version that introduced it, unless it was there
//! already in 4.14, the oldest version read. Netlink's generic constants (`NLM_F_*`, `NLMSG_*`,
//! `NLA_F_*`) come from `netlink-packet-core`.
//!
//! Attribute numbers are public so that [`Flow::attribute`](crate::Flow::attribute) can reach
//! what this crate does not type.

/// `NETLINK_NETFILTER`: the netlink protocol that carries nfnetlink.
pub const NETLINK_NETFILTER: isize = 12;
/// `NFNL_SUBSYS_CTNETLINK`: the conntrack subsystem, high byte of the message type.
pub const NFNL_SUBSYS_CTNETLINK: u8 = 1;
/// Size of `struct nfgenmsg`, which follows every netlink header of nfnetlink.
pub const NFGENMSG_LEN: usize = 4;

/// `AF_INET` as `nfgenmsg.nfgen_family`.
pub const AF_INET: u8 = 2;
/// `AF_INET6` as `nfgenmsg.nfgen_family`.
pub const AF_INET6: u8 = 10;

/// `IPCTNL_MSG_CT_NEW`: create or update an entry; also the type of every dumped entry.
pub const IPCTNL_MSG_CT_NEW: u8 = 0;
/// `IPCTNL_MSG_CT_GET`: get one entry, or dump the table.
pub const IPCTNL_MSG_CT_GET: u8 = 1;
/// `IPCTNL_MSG_CT_DELETE`: delete one entry; **without a tuple it flushes the table**.
pub const IPCTNL_MSG_CT_DELETE: u8 = 2;
/// `IPCTNL_MSG_CT_GET_CTRZERO`: like get, and zeroes the counters it read.
pub const IPCTNL_MSG_CT_GET_CTRZERO: u8 = 3;
/// `IPCTNL_MSG_CT_GET_STATS_CPU`: statistics of each CPU.
pub const IPCTNL_MSG_CT_GET_STATS_CPU: u8 = 4;
/// `IPCTNL_MSG_CT_GET_STATS`: the entry count and limit of the namespace.
pub const IPCTNL_MSG_CT_GET_STATS: u8 = 5;

/// `IPCTNL_MSG_CT_GET_DYING`: entries whose destroy event could not be delivered yet; before
/// Linux 5.19 all dying entries.
pub const IPCTNL_MSG_CT_GET_DYING: u8 = 6;

/// `NFNL_SUBSYS_CTNETLINK_EXP`: expectations.
pub const NFNL_SUBSYS_CTNETLINK_EXP: u8 = 2;
/// `IPCTNL_MSG_EXP_NEW`: create or update an expectation; also the type of every dumped one.
pub const IPCTNL_MSG_EXP_NEW: u8 = 0;
/// `IPCTNL_MSG_EXP_GET`: get one expectation, or dump all of them.
pub const IPCTNL_MSG_EXP_GET: u8 = 1;
/// `IPCTNL_MSG_EXP_DELETE`: delete expectations; **without attributes it removes all of them**.
pub const IPCTNL_MSG_EXP_DELETE: u8 = 2;
/// `IPCTNL_MSG_EXP_GET_STATS_CPU`: expectation statistics of each CPU. The replies carry the
/// subsystem number of conntrack itself.
pub const IPCTNL_MSG_EXP_GET_STATS_CPU: u8 = 3;

/// `NFNL_SUBSYS_CTNETLINK_TIMEOUT`: timeout policies.
pub const NFNL_SUBSYS_CTNETLINK_TIMEOUT: u8 = 8;
/// `IPCTNL_MSG_TIMEOUT_NEW`: create or update a timeout policy.
pub const IPCTNL_MSG_TIMEOUT_NEW: u8 = 0;
/// `IPCTNL_MSG_TIMEOUT_GET`: get one timeout policy, or dump all of them.
pub const IPCTNL_MSG_TIMEOUT_GET: u8 = 1;
/// `IPCTNL_MSG_TIMEOUT_DELETE`: delete a timeout policy; **without a name it removes all that are
/// not in use**.
pub const IPCTNL_MSG_TIMEOUT_DELETE: u8 = 2;
/// `IPCTNL_MSG_TIMEOUT_DEFAULT_SET`: set the default timeouts of a protocol.
pub const IPCTNL_MSG_TIMEOUT_DEFAULT_SET: u8 = 3;
/// `IPCTNL_MSG_TIMEOUT_DEFAULT_GET`: get the default timeouts of a protocol.
pub const IPCTNL_MSG_TIMEOUT_DEFAULT_GET: u8 = 4;

/// Longest name of a helper, without its NUL (`NF_CT_HELPER_NAME_LEN` is 16).
pub const HELPER_NAME_MAX: usize = 15;
/// Longest name of an expectation's function that is sent, without its NUL. The kernel compares it
/// with the names that its modules registered, which are shorter.
pub const EXPECT_FUNCTION_MAX: usize = 31;
/// Longest name of a timeout policy, without its NUL (`CTNL_TIMEOUT_NAME_MAX` is 32).
pub const TIMEOUT_NAME_MAX: usize = 31;

/// The top-level attributes of a conntrack message (`enum ctattr_type`).
pub mod cta {
    /// Original direction tuple, nest of [`tuple`](super::tuple).
    pub const TUPLE_ORIG: u16 = 1;
    /// Reply direction tuple, nest of [`tuple`](super::tuple).
    pub const TUPLE_REPLY: u16 = 2;
    /// Status bits, BE32, see [`Status`](crate::Status).
    pub const STATUS: u16 = 3;
    /// Protocol state, nest of [`protoinfo`](super::protoinfo).
    pub const PROTOINFO: u16 = 4;
    /// Helper, nest {1 name, 2 info}.
    pub const HELP: u16 = 5;
    /// In [`HELP`]: name of the helper.
    pub const HELP_NAME: u16 = 1;
    /// Source NAT range, only in requests.
    pub const NAT_SRC: u16 = 6;
    /// Seconds left, BE32.
    pub const TIMEOUT: u16 = 7;
    /// Connection mark, BE32; absent from kernels without `CONFIG_NF_CONNTRACK_MARK`.
    pub const MARK: u16 = 8;
    /// Original direction counters, nest {1 packets BE64, 2 bytes BE64}.
    pub const COUNTERS_ORIG: u16 = 9;
    /// Reply direction counters, nest like [`COUNTERS_ORIG`].
    pub const COUNTERS_REPLY: u16 = 10;
    /// Reference count, BE32.
    pub const USE: u16 = 11;
    /// Four opaque bytes. Stable over the entry's life, but not an incarnation number: an entry
    /// re-created with the same original tuple commonly gets the same id.
    pub const ID: u16 = 12;
    /// Destination NAT range, only in requests.
    pub const NAT_DST: u16 = 13;
    /// Tuple of the entry that expected this one.
    pub const TUPLE_MASTER: u16 = 14;
    /// Sequence adjustment, original direction.
    pub const SEQ_ADJ_ORIG: u16 = 15;
    /// Sequence adjustment, reply direction.
    pub const SEQ_ADJ_REPLY: u16 = 16;
    /// Obsolete security mark.
    pub const SECMARK: u16 = 17;
    /// Zone that applies to both directions, BE16; absent when zero.
    pub const ZONE: u16 = 18;
    /// Security context, nest {1 name}.
    pub const SECCTX: u16 = 19;
    /// In [`SECCTX`]: the context as text.
    pub const SECCTX_NAME: u16 = 1;
    /// Start and stop, nest {1 start BE64, 2 stop BE64}, nanoseconds since the epoch.
    pub const TIMESTAMP: u16 = 20;
    /// Mask for [`MARK`] in requests.
    pub const MARK_MASK: u16 = 21;
    /// Label bits, 16 bytes in host-endian 32-bit words.
    pub const LABELS: u16 = 22;
    /// Mask for [`LABELS`] in requests.
    pub const LABELS_MASK: u16 = 23;
    /// SYN proxy state, nest.
    pub const SYNPROXY: u16 = 24;
    /// Tuple filter of a request, nest {1 original flags, 2 reply flags} in **host** order; must
    /// carry `NLA_F_NESTED`. Linux 5.8 for dumps, 6.12 for flushes.
    pub const FILTER: u16 = 25;
    /// Mask for [`STATUS`] in requests, Linux 5.15.
    pub const STATUS_MASK: u16 = 26;
    /// Time of an event, BE64 nanoseconds, Linux 6.14.
    pub const TIMESTAMP_EVENT: u16 = 27;
    /// One past the highest number this table knows.
    pub const END: usize = 28;
}

/// Members of a tuple nest (`enum ctattr_tuple`, `ctattr_ip`, `ctattr_l4proto`).
pub mod tuple {
    /// Nest of the addresses.
    pub const IP: u16 = 1;
    /// Nest of the transport protocol.
    pub const PROTO: u16 = 2;
    /// Zone of this direction only, BE16.
    pub const ZONE: u16 = 3;

    /// In [`IP`]: IPv4 source, 4 bytes in network order.
    pub const IP_V4_SRC: u16 = 1;
    /// In [`IP`]: IPv4 destination.
    pub const IP_V4_DST: u16 = 2;
    /// In [`IP`]: IPv6 source, 16 bytes in network order.
    pub const IP_V6_SRC: u16 = 3;
    /// In [`IP`]: IPv6 destination.
    pub const IP_V6_DST: u16 = 4;

    /// In [`PROTO`]: protocol number, u8.
    pub const PROTO_NUM: u16 = 1;
    /// In [`PROTO`]: source port, BE16 (for GRE: the key).
    pub const PROTO_SRC_PORT: u16 = 2;
    /// In [`PROTO`]: destination port, BE16 (for GRE: the key).
    pub const PROTO_DST_PORT: u16 = 3;
    /// In [`PROTO`]: ICMP id, BE16.
    pub const PROTO_ICMP_ID: u16 = 4;
    /// In [`PROTO`]: ICMP type, u8.
    pub const PROTO_ICMP_TYPE: u16 = 5;
    /// In [`PROTO`]: ICMP code, u8.
    pub const PROTO_ICMP_CODE: u16 = 6;
    /// In [`PROTO`]: ICMPv6 id, BE16.
    pub const PROTO_ICMPV6_ID: u16 = 7;
    /// In [`PROTO`]: ICMPv6 type, u8.
    pub const PROTO_ICMPV6_TYPE: u16 = 8;
    /// In [`PROTO`]: ICMPv6 code, u8.
    pub const PROTO_ICMPV6_CODE: u16 = 9;
}

/// Members of the protocol state nest (`enum ctattr_protoinfo*`).
pub mod protoinfo {
    /// TCP nest.
    pub const TCP: u16 = 1;
    /// DCCP nest; DCCP tracking left the kernel in Linux 6.17.
    pub const DCCP: u16 = 2;
    /// SCTP nest.
    pub const SCTP: u16 = 3;

    /// In [`TCP`]: state, u8.
    pub const TCP_STATE: u16 = 1;
    /// In [`TCP`]: window scale of the original direction, u8.
    pub const TCP_WSCALE_ORIGINAL: u16 = 2;
    /// In [`TCP`]: window scale of the reply direction, u8.
    pub const TCP_WSCALE_REPLY: u16 = 3;
    /// In [`TCP`]: flags of the original direction, two bytes {flags, mask}.
    pub const TCP_FLAGS_ORIGINAL: u16 = 4;
    /// In [`TCP`]: flags of the reply direction, two bytes {flags, mask}.
    pub const TCP_FLAGS_REPLY: u16 = 5;

    /// In [`SCTP`]: state, u8.
    pub const SCTP_STATE: u16 = 1;
    /// In [`SCTP`]: verification tag of the original direction, 4 bytes as on the wire.
    pub const SCTP_VTAG_ORIGINAL: u16 = 2;
    /// In [`SCTP`]: verification tag of the reply direction.
    pub const SCTP_VTAG_REPLY: u16 = 3;

    /// In [`DCCP`]: state, u8.
    pub const DCCP_STATE: u16 = 1;
    /// In [`DCCP`]: role of the original direction, u8.
    pub const DCCP_ROLE: u16 = 2;
    /// In [`DCCP`]: handshake sequence number, BE64.
    pub const DCCP_HANDSHAKE_SEQ: u16 = 3;
}

/// `CTA_FILTER`: which tuple fields of a request are compared (`enum ctattr_filter` and the
/// kernel-internal `CTA_FILTER_F_*`). Linux 5.8.
pub mod filter {
    /// `CTA_FILTER_ORIG_FLAGS`, u32 in **host** order.
    pub const ORIG_FLAGS: u16 = 1;
    /// `CTA_FILTER_REPLY_FLAGS`, u32 in **host** order.
    pub const REPLY_FLAGS: u16 = 2;

    /// Compare the source address. Correct for IPv4; inverted for IPv6 in nearly every kernel.
    pub const F_IP_SRC: u32 = 1 << 0;
    /// Compare the destination address. Correct for IPv4; inverted for IPv6 in nearly every
    /// kernel.
    pub const F_IP_DST: u32 = 1 << 1;
    /// Compare the protocol number.
    pub const F_PROTO_NUM: u32 = 1 << 3;
    /// Compare the source port. Evaluated for TCP and UDP only, silently ignored for the rest.
    pub const F_PROTO_SRC_PORT: u32 = 1 << 4;
    /// Compare the destination port. Evaluated for TCP and UDP only.
    pub const F_PROTO_DST_PORT: u32 = 1 << 5;
    /// Compare the ICMP type. Evaluated for ICMP only.
    pub const F_PROTO_ICMP_TYPE: u32 = 1 << 6;
    /// Compare the ICMP code.
    pub const F_PROTO_ICMP_CODE: u32 = 1 << 7;
    /// Compare the ICMP id.
    pub const F_PROTO_ICMP_ID: u32 = 1 << 8;
    /// Compare the ICMPv6 type. Evaluated for ICMPv6 only.
    pub const F_PROTO_ICMPV6_TYPE: u32 = 1 << 9;
    /// Compare the ICMPv6 code.
    pub const F_PROTO_ICMPV6_CODE: u32 = 1 << 10;
    /// Compare the ICMPv6 id.
    pub const F_PROTO_ICMPV6_ID: u32 = 1 << 11;
}

/// Members of the global statistics reply (`enum ctattr_stats_global`).
pub mod stats_global {
    /// Entries of this namespace, BE32.
    pub const ENTRIES: u16 = 1;
    /// `nf_conntrack_max`, BE32, Linux 4.19; 0 means unlimited.
    pub const MAX_ENTRIES: u16 = 2;
}

/// Members of the per-CPU statistics reply (`enum ctattr_stats_cpu`), BE32 each. Numbers the
/// kernel no longer sends are left out.
pub mod stats_cpu {
    /// NAT lookups that found their tuple taken.
    pub const FOUND: u16 = 2;
    /// Packets that could not be tracked.
    pub const INVALID: u16 = 4;
    /// Entries inserted over netlink or BPF, not by packets.
    pub const INSERT: u16 = 8;
    /// Insertions that failed.
    pub const INSERT_FAILED: u16 = 9;
    /// Packets dropped for lack of an entry.
    pub const DROP: u16 = 10;
    /// Entries dropped to make room.
    pub const EARLY_DROP: u16 = 11;
    /// ICMP errors that could not be tracked.
    pub const ERROR: u16 = 12;
    /// Lookups restarted because the table was resized.
    pub const SEARCH_RESTART: u16 = 13;
    /// Clashes resolved, Linux 5.10.
    pub const CLASH_RESOLVE: u16 = 14;
    /// Insertions refused because the hash chain was too long, Linux 5.15.
    pub const CHAIN_TOOLONG: u16 = 15;
}

/// Members of the statistics of expectations (`enum ctattr_expect_stats`), BE32 each.
pub mod stats_expect {
    /// Connections that fulfilled an expectation.
    pub const NEW: u16 = 1;
    /// Expectations inserted, by helpers and over netlink.
    pub const CREATE: u16 = 2;
    /// Deleted.
    pub const DELETE: u16 = 3;
}

/// Members of a NAT nest in a request (`enum ctattr_nat`, `ctattr_protonat`).
pub mod nat {
    /// First IPv4 address.
    pub const V4_MINIP: u16 = 1;
    /// Last IPv4 address; if absent, the range is the first one only.
    pub const V4_MAXIP: u16 = 2;
    /// Nest of the ports.
    pub const PROTO: u16 = 3;
    /// First IPv6 address.
    pub const V6_MINIP: u16 = 4;
    /// Last IPv6 address.
    pub const V6_MAXIP: u16 = 5;
    /// In [`PROTO`]: first port, BE16.
    pub const PORT_MIN: u16 = 1;
    /// In [`PROTO`]: last port.
    pub const PORT_MAX: u16 = 2;
}

/// Attributes of an expectation (`enum ctattr_expect`).
pub mod expect {
    /// Original tuple of the master.
    pub const MASTER: u16 = 1;
    /// The expected tuple.
    pub const TUPLE: u16 = 2;
    /// Which bits of the expected tuple are compared.
    pub const MASK: u16 = 3;
    /// Seconds left, BE32; ignored on creation.
    pub const TIMEOUT: u16 = 4;
    /// Four opaque bytes.
    pub const ID: u16 = 5;
    /// Name of the helper.
    pub const HELP_NAME: u16 = 6;
    /// Zone, BE16; in requests only.
    pub const ZONE: u16 = 7;
    /// Flags, BE32: 1 permanent, 2 inactive, 4 userspace.
    pub const FLAGS: u16 = 8;
    /// Class, BE32.
    pub const CLASS: u16 = 9;
    /// NAT, nest {1 direction BE32, 2 tuple}.
    pub const NAT: u16 = 10;
    /// Name of the kernel function that is called when the expected connection appears.
    pub const FN: u16 = 11;
}

/// Attributes of a timeout policy (`enum ctattr_timeout`).
pub mod timeout {
    /// Name, 31 characters at most.
    pub const NAME: u16 = 1;
    /// Layer 3 protocol, BE16.
    pub const L3PROTO: u16 = 2;
    /// Layer 4 protocol, u8.
    pub const L4PROTO: u16 = 3;
    /// Nest of BE32 seconds, by number of state.
    pub const DATA: u16 = 4;
    /// How many rules use it, BE32.
    pub const USE: u16 = 5;
}
