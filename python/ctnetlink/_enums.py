"""Enumerations: the kernel's bits and states under the kernel's names, and this package's words.

Members that are text equal their text: ``flow.family == "ipv4"``.
"""

from enum import KEEP, IntFlag, StrEnum


class _Bits(IntFlag, boundary=KEEP):
    """Bits whose ``str()`` is their names."""

    def __str__(self) -> str:
        known = [member for member in type(self) if member in self]
        rest = int(self)
        for member in known:
            rest &= ~int(member)
        names = [str(member.name) for member in known]
        return " | ".join(names + [hex(rest)] * (rest != 0)) or "0"


class Status(_Bits):
    """Status bits of an entry (``enum ip_conntrack_status``). Unknown bits are kept."""

    EXPECTED = 1 << 0
    SEEN_REPLY = 1 << 1
    ASSURED = 1 << 2
    CONFIRMED = 1 << 3
    SRC_NAT = 1 << 4
    DST_NAT = 1 << 5
    SEQ_ADJUST = 1 << 6
    SRC_NAT_DONE = 1 << 7
    DST_NAT_DONE = 1 << 8
    DYING = 1 << 9
    FIXED_TIMEOUT = 1 << 10
    TEMPLATE = 1 << 11
    NAT_CLASH = 1 << 12
    HELPER = 1 << 13
    OFFLOAD = 1 << 14
    HW_OFFLOAD = 1 << 15


class ExpectFlags(_Bits):
    """Flags of an expectation (``NF_CT_EXPECT_*``). Unknown bits are kept."""

    PERMANENT = 1 << 0
    INACTIVE = 1 << 1
    USERSPACE = 1 << 2


class Family(StrEnum):
    """Address family."""

    IPV4 = "ipv4"
    IPV6 = "ipv6"


class TcpState(StrEnum):
    """State of a TCP connection (``enum tcp_conntrack``)."""

    NONE = "NONE"
    SYN_SENT = "SYN_SENT"
    SYN_RECV = "SYN_RECV"
    ESTABLISHED = "ESTABLISHED"
    FIN_WAIT = "FIN_WAIT"
    CLOSE_WAIT = "CLOSE_WAIT"
    LAST_ACK = "LAST_ACK"
    TIME_WAIT = "TIME_WAIT"
    CLOSE = "CLOSE"
    SYN_SENT2 = "SYN_SENT2"


class SctpState(StrEnum):
    """State of an SCTP association (``enum sctp_conntrack``)."""

    NONE = "NONE"
    CLOSED = "CLOSED"
    COOKIE_WAIT = "COOKIE_WAIT"
    COOKIE_ECHOED = "COOKIE_ECHOED"
    ESTABLISHED = "ESTABLISHED"
    SHUTDOWN_SENT = "SHUTDOWN_SENT"
    SHUTDOWN_RECD = "SHUTDOWN_RECD"
    SHUTDOWN_ACK_SENT = "SHUTDOWN_ACK_SENT"
    HEARTBEAT_SENT = "HEARTBEAT_SENT"


class Profile(StrEnum):
    """Whose rules a reconciliation follows."""

    STRICT = "strict"
    KUBE_PROXY = "kube-proxy"


class Authority(StrEnum):
    """Who reconciles: the one who writes the rules of the node, or one who observes the cluster."""

    RULES = "rules"
    OBSERVER = "observer"


class Reason(StrEnum):
    """Why an entry is stale."""

    BACKEND_GONE = "backend_gone"
    BACKEND_PORT_CHANGED = "backend_port_changed"
    NOT_TRANSLATED = "not_translated"
    FRONTEND_REMOVED = "frontend_removed"


class VerdictKind(StrEnum):
    """What is to be done with a flow."""

    KEEP = "keep"
    STALE = "stale"
    SUSPECT = "suspect"


class OutcomeKind(StrEnum):
    """What came of an operation of a batch."""

    DONE = "done"
    NOT_FOUND = "not_found"
    UNKNOWN = "unknown"
    FAILED = "failed"


class KernelCriterion(StrEnum):
    """A criterion that a kernel may be asked to filter by."""

    FAMILY = "family"
    PROTOCOL = "protocol"
    PORTS = "ports"
    OTHER_PORTS = "other_ports"
    ICMP = "icmp"
    ORIG_IPV4 = "orig_ipv4"
    ORIG_IPV6 = "orig_ipv6"
    REPLY_IPV4 = "reply_ipv4"
    REPLY_IPV6 = "reply_ipv6"
    REPLY_PORTS = "reply_ports"
    MARK = "mark"
    STATUS = "status"
    ZONE = "zone"


class Trust(StrEnum):
    """What a probe found about a criterion."""

    PROVED = "proved"
    ASSUMED = "assumed"
    WRONG = "WRONG"
    REFUSED = "refused"
    UNTESTED = "untested"
    DISTRUSTED = "distrusted"


class Level(StrEnum):
    """How bad something is."""

    OK = "ok"
    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class FindingId(StrEnum):
    """What a finding is about."""

    PACKETS_DROPPED = "packets-dropped"
    FULL_AND_ASSURED = "full-and-assured"
    EVICTING = "evicting"
    CHAINS_TOO_LONG = "chains-too-long"
    TABLE_NEAR_FULL = "table-near-full"
    SNAT_PORT_RACE = "snat-port-race"
    SOURCE_PORTS_EXHAUSTED = "source-ports-exhausted"
    TIME_WAIT = "time-wait"
    DNS_SHARE = "dns-share"
    SYN_FLOOD = "syn-flood"
    UNREPLIED = "unreplied"
    ESTABLISHED_5_DAYS = "established-5-days"
    CLOSE_WAIT_1_HOUR = "close-wait-1-hour"
    ONE_FRONTEND = "one-frontend"
    ONE_SOURCE = "one-source"
    ONE_BACKEND = "one-backend"
    STALE_ENTRIES = "stale-entries"
    BELOW_KUBE_PROXY = "below-kube-proxy"
    NOT_YOUR_LIMIT = "not-your-limit"
    HIDDEN_ENTRIES = "hidden-entries"
    EXPECTATIONS_FULL = "expectations-full"


class Unit(StrEnum):
    """What the number of a setting counts."""

    NUMBER = "number"
    SECONDS = "seconds"
    MODE = "mode"


class Setting(StrEnum):
    """A sysctl of conntrack, ``/proc/sys/net/netfilter/NAME``."""

    MAX = "nf_conntrack_max"
    BUCKETS = "nf_conntrack_buckets"
    EXPECT_MAX = "nf_conntrack_expect_max"
    TCP_SYN_SENT = "nf_conntrack_tcp_timeout_syn_sent"
    TCP_SYN_RECV = "nf_conntrack_tcp_timeout_syn_recv"
    TCP_ESTABLISHED = "nf_conntrack_tcp_timeout_established"
    TCP_FIN_WAIT = "nf_conntrack_tcp_timeout_fin_wait"
    TCP_CLOSE_WAIT = "nf_conntrack_tcp_timeout_close_wait"
    TCP_LAST_ACK = "nf_conntrack_tcp_timeout_last_ack"
    TCP_TIME_WAIT = "nf_conntrack_tcp_timeout_time_wait"
    TCP_CLOSE = "nf_conntrack_tcp_timeout_close"
    TCP_MAX_RETRANS_TIMEOUT = "nf_conntrack_tcp_timeout_max_retrans"
    TCP_UNACKNOWLEDGED = "nf_conntrack_tcp_timeout_unacknowledged"
    UDP = "nf_conntrack_udp_timeout"
    UDP_STREAM = "nf_conntrack_udp_timeout_stream"
    ICMP = "nf_conntrack_icmp_timeout"
    ICMPV6 = "nf_conntrack_icmpv6_timeout"
    GENERIC = "nf_conntrack_generic_timeout"
    GRE = "nf_conntrack_gre_timeout"
    GRE_STREAM = "nf_conntrack_gre_timeout_stream"
    SCTP_CLOSED = "nf_conntrack_sctp_timeout_closed"
    SCTP_COOKIE_WAIT = "nf_conntrack_sctp_timeout_cookie_wait"
    SCTP_COOKIE_ECHOED = "nf_conntrack_sctp_timeout_cookie_echoed"
    SCTP_ESTABLISHED = "nf_conntrack_sctp_timeout_established"
    SCTP_SHUTDOWN_SENT = "nf_conntrack_sctp_timeout_shutdown_sent"
    SCTP_SHUTDOWN_RECD = "nf_conntrack_sctp_timeout_shutdown_recd"
    SCTP_SHUTDOWN_ACK_SENT = "nf_conntrack_sctp_timeout_shutdown_ack_sent"
    SCTP_HEARTBEAT_SENT = "nf_conntrack_sctp_timeout_heartbeat_sent"
    FLOWTABLE_TCP = "nf_flowtable_tcp_timeout"
    FLOWTABLE_UDP = "nf_flowtable_udp_timeout"
    TCP_LOOSE = "nf_conntrack_tcp_loose"
    TCP_BE_LIBERAL = "nf_conntrack_tcp_be_liberal"
    TCP_IGNORE_INVALID_RST = "nf_conntrack_tcp_ignore_invalid_rst"
    TCP_MAX_RETRANS = "nf_conntrack_tcp_max_retrans"
    ACCOUNTING = "nf_conntrack_acct"
    TIMESTAMPS = "nf_conntrack_timestamp"
    EVENTS = "nf_conntrack_events"
    CHECKSUM = "nf_conntrack_checksum"
    LOG_INVALID = "nf_conntrack_log_invalid"

    @property
    def unit(self) -> Unit:
        """What its number counts."""
        return Unit(self._known()[0])

    @property
    def default_value(self) -> int | None:
        """The kernel's default; ``None`` if it depends on the machine's memory."""
        return self._known()[1]

    @property
    def is_global(self) -> bool:
        """Whether it is one for all network namespaces, and read-only outside the initial one."""
        return self._known()[2]

    @property
    def path(self) -> str:
        """The file in the namespace of the thread that opens it."""
        return self._known()[3]

    @property
    def largest_value(self) -> int:
        """The largest value that makes sense. The kernel refuses some that are smaller."""
        return self._known()[4]

    def _known(self) -> tuple[str, int | None, bool, str, int]:
        from ctnetlink._ctnetlink import _setting

        return _setting(self)
