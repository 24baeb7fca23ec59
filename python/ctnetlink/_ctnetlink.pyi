"""The native module. Import its names from ``ctnetlink``."""

from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address
from os import PathLike
from types import TracebackType
from typing import Literal, Protocol, Self, TypeAlias, TypedDict, Unpack, final

from ctnetlink._enums import Status

__all__ = [
    "Conntrack",
    "DecodeError",
    "Deletions",
    "DesiredState",
    "Dump",
    "DumpInterrupted",
    "FamilyReport",
    "Filter",
    "Flow",
    "Icmp",
    "Reasons",
    "Removal",
    "Report",
    "Tuple",
    "__version__",
]

__version__: str

_Address: TypeAlias = IPv4Address | IPv6Address
_AnyAddress: TypeAlias = str | IPv4Address | IPv6Address
_Family: TypeAlias = Literal["ipv4", "ipv6"]

class _HasFileno(Protocol):
    def fileno(self) -> int: ...

class _Readable(Protocol):
    def read(self) -> str | bytes: ...

class _Criteria(TypedDict, total=False):
    family: _Family | None
    protocol: str | int | None
    orig_src: _AnyAddress | None
    orig_dst: _AnyAddress | None
    reply_src: _AnyAddress | None
    reply_dst: _AnyAddress | None
    orig_src_port: int | None
    orig_dst_port: int | None
    reply_src_port: int | None
    reply_dst_port: int | None
    status: int | None
    status_unset: int | None
    mark: int | tuple[int, int] | None
    zone: int | None

class DecodeError(ValueError):
    """An answer of the kernel is not what the protocol says, or was cut."""

class DumpInterrupted(RuntimeError):
    """The kernel marked a dump as inconsistent; try again."""

@final
class Conntrack:
    """The conntrack table of one network namespace.

    Everything but opening needs ``CAP_NET_ADMIN`` in the user namespace that owns the network
    namespace; without it calls raise :class:`PermissionError`, which says what to do. All calls
    release the interpreter lock, and one handle can be used by several threads.
    """

    def __new__(cls, netns: str | PathLike[str] | int | _HasFileno | None = None) -> Self:
        """Open this thread's network namespace, or one by path, descriptor or file object."""
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        *_exception: type[BaseException] | BaseException | TracebackType | None,
    ) -> None: ...
    def close(self) -> None:
        """Close the handle. Dumps that are running go on."""
    def count(self) -> int:
        """Entries in the table, expired and dying ones included."""
    def limit(self) -> int:
        """Entries the kernel allows (``nf_conntrack_max``); 0 means unlimited."""
    def dump(self, filter: Filter | str | None = None, **criteria: Unpack[_Criteria]) -> Dump:
        """Stream the entries that match a filter or keywords; all of them without either.

        A filter is an object or text, such as ``udp and orig dst port 53``; see
        :meth:`Filter.parse`.

        The kernel filters what it can be trusted with; everything is matched again here.
        """
    def delete(self, flow: Flow) -> None:
        """Delete exactly this entry, by reply tuple, zone and id as dumped.

        Raises :class:`FileNotFoundError` if it is gone, or was re-created toward another backend.
        """
    def delete_all(self, flows: Iterable[Flow]) -> Deletions:
        """Delete many entries, each as :meth:`delete` does; one failure does not stop the rest."""
    def reconcile(
        self,
        desired: DesiredState,
        *,
        profile: Literal["strict", "kube-proxy"] = "strict",
        dry_run: bool = False,
        protocols: Sequence[str | int] | None = None,
        zones: Sequence[int] | None = None,
        recheck: float | None = 0.1,
        previous: DesiredState | None = None,
    ) -> Report:
        """Remove the entries that are stale with respect to a desired state, and only those.

        :param protocols: protocols to look at, UDP alone by default.
        :param zones: zones to look at, all by default.
        :param recheck: seconds until the second pass that follows a pass which deleted anything;
            ``None`` for no second pass.
        :param previous: the desired state of the last run; its vanished frontends are cleaned.
        """

@final
class Dump(Iterator[Flow]):
    """A running dump. It is not a snapshot; see the notes on ``Dump`` of the Rust crate."""

    def __iter__(self) -> Self: ...
    def __next__(self) -> Flow: ...

@final
class Flow:
    """One conntrack entry, as it was dumped. ``str()`` is the line ``conntrack -L`` prints."""

    @property
    def family(self) -> _Family: ...
    @property
    def protocol(self) -> str:
        """Name of the protocol (``udp``), or its number in digits."""
    @property
    def protocol_number(self) -> int: ...
    @property
    def orig(self) -> Tuple:
        """The original direction: who connected, and to which frontend."""
    @property
    def reply(self) -> Tuple:
        """The reply direction: which backend answers, and to whom."""
    @property
    def status(self) -> Status: ...
    @property
    def timeout(self) -> int | None:
        """Seconds left; ``None`` for offloaded entries."""
    @property
    def mark(self) -> int | None:
        """Connection mark; ``None`` where the kernel has none."""
    @property
    def zone(self) -> int: ...
    @property
    def id(self) -> int | None:
        """Stable over the entry's life, but not unique over time."""
    @property
    def state(self) -> str | None:
        """State of a TCP, SCTP or DCCP entry, such as ``ESTABLISHED``."""

@final
class Tuple:
    """One direction of an entry."""

    @property
    def src(self) -> _Address: ...
    @property
    def dst(self) -> _Address: ...
    @property
    def src_port(self) -> int | None:
        """Source port; ``None`` for protocols without ports. For GRE the key."""
    @property
    def dst_port(self) -> int | None: ...
    @property
    def protocol(self) -> str: ...
    @property
    def icmp(self) -> Icmp | None: ...
    @property
    def zone(self) -> int | None:
        """The zone, if it applies to this direction only."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...

@final
class Icmp:
    """ICMP and ICMPv6 fields of a tuple."""

    @property
    def type(self) -> int: ...
    @property
    def code(self) -> int: ...
    @property
    def id(self) -> int: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...

@final
class Filter:
    """Which entries are meant. Combine with ``&``, ``|`` and ``~``.

    ``status`` and ``status_unset`` want all of the bits set, or none of them. ``mark`` is the whole
    mark, or ``(value, mask)``. ``protocol`` is a name or a number. A filter without any criterion
    is a :class:`ValueError`.
    """

    def __new__(
        cls,
        *,
        family: _Family | None = None,
        protocol: str | int | None = None,
        orig_src: _AnyAddress | None = None,
        orig_dst: _AnyAddress | None = None,
        reply_src: _AnyAddress | None = None,
        reply_dst: _AnyAddress | None = None,
        orig_src_port: int | None = None,
        orig_dst_port: int | None = None,
        reply_src_port: int | None = None,
        reply_dst_port: int | None = None,
        status: int | None = None,
        status_unset: int | None = None,
        mark: int | tuple[int, int] | None = None,
        zone: int | None = None,
    ) -> Self: ...
    @staticmethod
    def parse(text: str) -> Filter:
        """Parse text such as ``udp and orig dst port 53 and not reply src 10.244.1.5``.

        ``str()`` of a filter is such a text. :class:`ValueError` names the column of a mistake and
        what was expected there.
        """
    def matches(self, flow: Flow) -> bool:
        """Whether an entry is meant."""
    def __and__(self, other: Filter, /) -> Filter: ...
    def __rand__(self, other: Filter, /) -> Filter: ...
    def __or__(self, other: Filter, /) -> Filter: ...
    def __ror__(self, other: Filter, /) -> Filter: ...
    def __invert__(self) -> Filter: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...

@final
class DesiredState:
    """What should be: frontends, and the backends that serve them."""

    @staticmethod
    def from_kubernetes(
        source: str | bytes | PathLike[str] | _Readable,
        *,
        node_addresses: Sequence[_AnyAddress] = ...,
        no_endpoints_ok: bool = False,
    ) -> DesiredState:
        """Make it from ``kubectl get services,endpointslices -A -o json``.

        ``str`` and ``bytes`` are the JSON itself; a path-like object or a file object is a file.
        :class:`ValueError` names the object and the field that cannot be used. Usable services
        without any EndpointSlice are one, too, unless ``no_endpoints_ok``.
        """
    @property
    def notes(self) -> list[str]:
        """What was left out of the input, one line each."""
    @property
    def frontends(self) -> list[tuple[str, _Address, int]]:
        """Every frontend as (protocol, address, port)."""

@final
class Report:
    """What a reconciliation found and did. ``str()`` is one screen for people."""

    @property
    def profile(self) -> str: ...
    @property
    def dry_run(self) -> bool: ...
    @property
    def elapsed(self) -> float:
        """Seconds."""
    @property
    def node_ports_judged(self) -> bool: ...
    @property
    def succeeded(self) -> bool:
        """Nothing failed: every pass came to its end and no delete was refused."""
    @property
    def families(self) -> tuple[FamilyReport, FamilyReport]:
        """IPv4, then IPv6."""

@final
class FamilyReport:
    """One family's part of a report."""

    @property
    def family(self) -> _Family: ...
    @property
    def scanned(self) -> int: ...
    @property
    def stale(self) -> int: ...
    @property
    def deleted(self) -> int: ...
    @property
    def already_gone(self) -> int: ...
    @property
    def failed(self) -> int: ...
    @property
    def failures(self) -> dict[int, int]:
        """How often a delete failed, by errno."""
    @property
    def passes(self) -> int: ...
    @property
    def pushdown(self) -> str:
        """What the kernel filtered."""
    @property
    def reasons(self) -> Reasons: ...
    @property
    def removals(self) -> list[Removal]:
        """Where the stale entries pointed: the first few groups met."""
    @property
    def error(self) -> str | None:
        """What ended a pass early."""

@final
class Reasons:
    """Stale entries by reason."""

    @property
    def backend_gone(self) -> int: ...
    @property
    def backend_port_changed(self) -> int: ...
    @property
    def not_translated(self) -> int: ...
    @property
    def frontend_removed(self) -> int: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...

@final
class Removal:
    """A group of stale entries that differ in the client only."""

    @property
    def protocol(self) -> str: ...
    @property
    def frontend(self) -> tuple[_Address, int]: ...
    @property
    def backend(self) -> tuple[_Address, int]: ...
    @property
    def reason(self) -> str: ...
    @property
    def count(self) -> int: ...

@final
class Deletions:
    """What became of :meth:`Conntrack.delete_all`."""

    @property
    def deleted(self) -> int: ...
    @property
    def already_gone(self) -> int:
        """Gone before, or re-created toward another backend."""
    @property
    def failed(self) -> list[tuple[int, BaseException]]:
        """Position of each entry that could not be deleted, and the exception that says why."""
