"""Types of arguments, for annotations."""

from collections.abc import Iterable
from datetime import timedelta
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Literal, SupportsIndex, TypeAlias, TypedDict

Address: TypeAlias = IPv4Address | IPv6Address
"""An address, as this package returns it."""

AnyAddress: TypeAlias = str | IPv4Address | IPv6Address
"""An address, as it can be given."""

AnyFamily: TypeAlias = Literal["ipv4", "ipv6"] | int | str
"""``ipv4``, ``ipv6``, a ``Family``, ``socket.AF_INET`` or ``socket.AF_INET6``."""

Integer: TypeAlias = int | SupportsIndex
"""A number, also of numpy."""

Seconds: TypeAlias = float | timedelta
"""A time span."""

AnyStatus: TypeAlias = int | str | Iterable[str]
"""Status bits: a ``Status``, a number, or names."""

_OneNet: TypeAlias = str | IPv4Address | IPv6Address | IPv4Network | IPv6Network
_OnePort: TypeAlias = Integer | range | str
_OneProtocol: TypeAlias = str | Integer

Addresses: TypeAlias = _OneNet | Iterable[_OneNet]
"""Addresses and prefixes."""

Ports: TypeAlias = _OnePort | Iterable[_OnePort]
"""Ports and ranges of them."""

Integers: TypeAlias = Integer | Iterable[Integer]
"""A number, or several."""

Texts: TypeAlias = str | Iterable[str]
"""A text, or several."""

TcpStates: TypeAlias = Texts
"""A TCP state by name, or several."""

SctpStates: TypeAlias = Texts
"""An SCTP state by name, or several."""

Families: TypeAlias = AnyFamily | Iterable[AnyFamily]
"""A family, or several."""

Protocols: TypeAlias = _OneProtocol | Iterable[_OneProtocol]
"""Protocols by name or number."""

Amount: TypeAlias = Integer | tuple[Integer | None, Integer | None]
"""A number, or the least and the most, where ``None`` is no limit."""


class Criteria(TypedDict, total=False):
    """The keywords of a filter, with what they can be. Annotate your own with it."""

    family: Families | None
    protocol: Protocols | None
    orig_src: Addresses | None
    orig_dst: Addresses | None
    reply_src: Addresses | None
    reply_dst: Addresses | None
    orig_src_port: Ports | None
    orig_dst_port: Ports | None
    reply_src_port: Ports | None
    reply_dst_port: Ports | None
    host: Addresses | None
    icmp_type: Integers | None
    icmp_code: Integers | None
    icmp_id: Integers | None
    status: AnyStatus | None
    status_unset: AnyStatus | None
    snat: bool | None
    dnat: bool | None
    nat: bool | None
    unreplied: bool | None
    mark: Integer | tuple[Integer, Integer] | None
    zone: Integers | None
    orig_zone: Integers | None
    reply_zone: Integers | None
    label: Integers | None
    labels: Integers | None
    helper: Texts | None
    tcp_state: TcpStates | None
    sctp_state: SctpStates | None
    timeout: Amount | timedelta | None
    age: Amount | timedelta | None
    packets: Amount | None
    orig_packets: Amount | None
    reply_packets: Amount | None
    bytes: Amount | None
    orig_bytes: Amount | None
    reply_bytes: Amount | None
