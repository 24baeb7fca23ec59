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
