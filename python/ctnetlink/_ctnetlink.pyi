"""The native module. Import its names from ``ctnetlink``."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from os import PathLike
from types import TracebackType
from typing import (
    ClassVar,
    Literal,
    NoReturn,
    Protocol,
    Self,
    TypeAlias,
    TypedDict,
    TypeVar,
    Unpack,
    final,
    overload,
)

from ctnetlink._enums import Status

__all__ = [
    "Capabilities",
    "ComesBack",
    "Conntrack",
    "DecodeError",
    "DeleteReport",
    "Deletions",
    "DesiredState",
    "Dump",
    "DumpInterrupted",
    "Explanation",
    "Failure",
    "FamilyReport",
    "Filter",
    "Flow",
    "Icmp",
    "Reasons",
    "Reconciler",
    "Removal",
    "Report",
    "Stayed",
    "Tuple",
    "Zeroed",
    "__version__",
]

__version__: str

_Address: TypeAlias = IPv4Address | IPv6Address
_AnyAddress: TypeAlias = str | IPv4Address | IPv6Address
_Family: TypeAlias = Literal["ipv4", "ipv6"]
_OneNet: TypeAlias = str | IPv4Address | IPv6Address | IPv4Network | IPv6Network
_Addresses: TypeAlias = _OneNet | Sequence[_OneNet] | AbstractSet[_OneNet]
_OnePort: TypeAlias = int | range | str
_Ports: TypeAlias = _OnePort | Sequence[_OnePort] | AbstractSet[_OnePort]
_Ints: TypeAlias = int | Sequence[int] | AbstractSet[int]
_Texts: TypeAlias = str | Sequence[str] | AbstractSet[str]
_Protocols: TypeAlias = str | int | Sequence[str | int] | AbstractSet[str | int]
_Amount: TypeAlias = int | tuple[int | None, int | None]

# Bound, not written out: the key of a Mapping is invariant.
_Frontend = TypeVar("_Frontend", bound=tuple[str | int, _AnyAddress, int])
_Backend: TypeAlias = tuple[_AnyAddress, int] | tuple[_AnyAddress, int, bool]

class _HasFileno(Protocol):
    def fileno(self) -> int: ...

class _Readable(Protocol):
    def read(self) -> str | bytes: ...

class _Criteria(TypedDict, total=False):
    family: _Family | Sequence[_Family] | AbstractSet[_Family] | None
    protocol: _Protocols | None
    orig_src: _Addresses | None
    orig_dst: _Addresses | None
    reply_src: _Addresses | None
    reply_dst: _Addresses | None
    orig_src_port: _Ports | None
    orig_dst_port: _Ports | None
    reply_src_port: _Ports | None
    reply_dst_port: _Ports | None
    host: _Addresses | None
    icmp_type: _Ints | None
    icmp_code: _Ints | None
    icmp_id: _Ints | None
    status: int | None
    status_unset: int | None
    snat: bool | None
    dnat: bool | None
    nat: bool | None
    unreplied: bool | None
    mark: int | tuple[int, int] | None
    zone: _Ints | None
    orig_zone: _Ints | None
    reply_zone: _Ints | None
    label: _Ints | None
    helper: _Texts | None
    tcp_state: _Texts | None
    sctp_state: _Texts | None
    timeout: _Amount | None
    age: _Amount | None
    packets: _Amount | None
    orig_packets: _Amount | None
    reply_packets: _Amount | None
    bytes: _Amount | None
    orig_bytes: _Amount | None
    reply_bytes: _Amount | None

class DecodeError(ValueError):
    """An answer of the kernel is malformed, or was cut."""

class DumpInterrupted(RuntimeError):
    """The table was resized during a dump, so entries may be missing; try again."""

@final
class Conntrack:
    """The conntrack table of one network namespace.

    Everything but opening needs ``CAP_NET_ADMIN`` in the user namespace that owns the network
    namespace; without it calls raise :class:`PermissionError`, which says what to do. All calls
    release the interpreter lock, and one handle can be used by several threads.
    """

    def __new__(
        cls,
        netns: str | PathLike[str] | _HasFileno | None = None,
        *,
        pid: int | None = None,
    ) -> Self:
        """Open this thread's network namespace, or another one.

        ``netns`` is a name as ``ip netns`` knows it (``"blue"``), a path
        (``"/proc/1/ns/net"``), or an object with ``fileno()``. ``pid`` is a process, whose
        namespace is opened.

        A handle also works in a child process after ``fork``: the child gets sockets of its own. A
        dump belongs to the process that started it.
        """
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        *_exception: type[BaseException] | BaseException | TracebackType | None,
    ) -> None: ...
    def close(self) -> None:
        """Close the handle. Running dumps continue."""
    def count(self, filter: Filter | str | None = None, **criteria: Unpack[_Criteria]) -> int:
        """Count the entries that match a filter or keywords.

        Without either, return the kernel's own count, which includes expired and dying entries.
        """
    def capabilities(self, *, within: float | None = None) -> Capabilities:
        """Find out what the running kernel can filter by, flush by, count and timestamp.

        A dump does not need it: it proves the shape of its own request when it first needs it.
        After this call, what was found here decides. With ``within``, what cannot be tried out in
        so many seconds stays untested, which is always safe; :attr:`Capabilities.untested` says
        so.
        """
    def use_capabilities(self, capabilities: Capabilities) -> None:
        """Trust the kernel as far as these capabilities say.

        They may come from another handle on this machine.
        """
    def limit(self) -> int:
        """Entries the kernel allows (``nf_conntrack_max``); 0 means unlimited."""
    def dump(self, filter: Filter | str | None = None, **criteria: Unpack[_Criteria]) -> Dump:
        """Stream the entries that match a filter or keywords; all of them without either.

        A filter is an object or text, such as ``udp and orig dst port 53``; see
        :meth:`Filter.parse`.

        The kernel filters by what it can be trusted with; every entry is matched again here.
        """
    def delete(self, flow: Flow) -> None:
        """Delete exactly this entry, by reply tuple, zone and id as dumped.

        Raises :class:`FileNotFoundError` if it is gone, or was re-created toward another backend.
        """
    def delete_many(self, flows: Iterable[Flow]) -> Deletions:
        """Delete many entries, each as :meth:`delete` does; one failure does not stop the rest."""
    @overload
    def delete_matching(
        self,
        filter: Filter | str | None = None,
        *,
        dry_run: bool = False,
        in_kernel: Literal[False] = False,
        **criteria: Unpack[_Criteria],
    ) -> DeleteReport: ...
    @overload
    def delete_matching(
        self,
        filter: Filter | str | None = None,
        *,
        dry_run: Literal[False] = False,
        in_kernel: Literal[True],
        **criteria: Unpack[_Criteria],
    ) -> None:
        """Delete the entries that match a filter or keywords.

        Which entries match is decided here, as they were in the dump; each match is then deleted
        by reply tuple, zone and id. With ``in_kernel`` the kernel deletes them in one filtered
        flush for each affected family and counts nothing. This works only if every criterion was
        proved on this kernel; otherwise a :class:`ValueError` says why not. A call with neither a
        filter nor keywords is a :class:`ValueError` too.
        """
    def zero(
        self,
        filter: Filter | str | None = None,
        **criteria: Unpack[_Criteria],
    ) -> Zeroed:
        """Read the entries that match and zero their counters, each in one step."""
    def reconcile(
        self,
        desired: DesiredState,
        *,
        profile: Literal["strict", "kube-proxy"] = "strict",
        dry_run: bool = False,
        protocols: Sequence[str | int] | None = None,
        zones: Iterable[int] | Literal["all"] | None = None,
        recheck: float | None = 0.1,
        previous: DesiredState | None = None,
    ) -> Report:
        """Remove the entries that are stale with respect to a desired state, and only those.

        :param protocols: protocols to look at, UDP alone by default.
        :param zones: zones to look at, or ``"all"``; the default zone by default (all with the
            profile ``kube-proxy``).
        :param recheck: seconds until the second pass; ``None`` for no second pass.
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
    def counters_orig(self) -> tuple[int, int] | None:
        """Packets and bytes of the original direction; ``None`` without ``nf_conntrack_acct``."""
    @property
    def counters_reply(self) -> tuple[int, int] | None: ...
    @property
    def start(self) -> float | None:
        """When the entry was made, seconds since the epoch (``nf_conntrack_timestamp``)."""
    @property
    def labels(self) -> list[int]:
        """The numbers of the label bits that are set."""
    @property
    def helper(self) -> str | None: ...
    @property
    def id(self) -> int | None:
        """Stable over the entry's life, but not unique over time."""
    @property
    def state(self) -> str | None:
        """State of a TCP, SCTP or DCCP entry by name, such as ``ESTABLISHED``."""

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
    """Selects entries. Combine with ``&``, ``|`` and ``~``.

    An entry must match all keywords. If a keyword has several values, in a list, a tuple or a
    set, the entry must match any of them. Addresses are text (``10.0.0.0/8``) or objects of
    :mod:`ipaddress`; ``host`` is in any of the four places. Ports are numbers, ``range`` objects
    or text (``8000-8080``). ``protocol`` is a name or a number. ``status`` means that all of
    these bits are set, ``status_unset`` that none of them is. ``mark`` is the whole mark, or
    ``(value, mask)``. ``timeout`` and ``age`` (seconds), ``packets`` and ``bytes`` are a number
    or ``(least, most)``, where ``None`` is no limit. ``snat``, ``dnat``, ``nat`` and
    ``unreplied`` are required with ``True`` and excluded with ``False``. A value that cannot be
    used is a :class:`ValueError` or :class:`TypeError` that names the keyword; a filter without
    any keyword is a :class:`ValueError`.

    An entry that does not have an amount (an offloaded one has no timeout) matches neither
    ``timeout`` nor its negation.
    """

    KEYWORDS: ClassVar[tuple[str, ...]]
    """The names of the keywords that make a filter, in the order of the signature."""

    def __new__(
        cls,
        *,
        family: _Family | Sequence[_Family] | AbstractSet[_Family] | None = None,
        protocol: _Protocols | None = None,
        orig_src: _Addresses | None = None,
        orig_dst: _Addresses | None = None,
        reply_src: _Addresses | None = None,
        reply_dst: _Addresses | None = None,
        orig_src_port: _Ports | None = None,
        orig_dst_port: _Ports | None = None,
        reply_src_port: _Ports | None = None,
        reply_dst_port: _Ports | None = None,
        host: _Addresses | None = None,
        icmp_type: _Ints | None = None,
        icmp_code: _Ints | None = None,
        icmp_id: _Ints | None = None,
        status: int | None = None,
        status_unset: int | None = None,
        snat: bool | None = None,
        dnat: bool | None = None,
        nat: bool | None = None,
        unreplied: bool | None = None,
        mark: int | tuple[int, int] | None = None,
        zone: _Ints | None = None,
        orig_zone: _Ints | None = None,
        reply_zone: _Ints | None = None,
        label: _Ints | None = None,
        helper: _Texts | None = None,
        tcp_state: _Texts | None = None,
        sctp_state: _Texts | None = None,
        timeout: _Amount | None = None,
        age: _Amount | None = None,
        packets: _Amount | None = None,
        orig_packets: _Amount | None = None,
        reply_packets: _Amount | None = None,
        bytes: _Amount | None = None,
        orig_bytes: _Amount | None = None,
        reply_bytes: _Amount | None = None,
    ) -> Self: ...
    @staticmethod
    def parse(text: str) -> Filter:
        """Parse text such as ``udp and orig dst port 53 and not reply src 10.244.1.5``.

        ``str()`` of a filter is such a text. :class:`ValueError` names the column of a mistake and
        what was expected there.
        """
    @staticmethod
    def any(filters: Iterable[Filter | str]) -> Filter:
        """Any of these filters: ``a | b | c``, in linear time. None at all is a ValueError."""
    @staticmethod
    def all(filters: Iterable[Filter | str]) -> Filter:
        """All of these filters: ``a & b & c``, in linear time. None at all is a ValueError."""
    def never_matches(self) -> str | None:
        """Why the filter can match no entry at all; ``None`` if that cannot be seen from it.

        ``udp and tcp`` contradicts itself, and no packet is sent to ``orig dst 0.0.0.0``.
        """
    def matches(self, flow: Flow) -> bool:
        """Whether the filter selects an entry."""
    def explain(self, capabilities: Capabilities) -> Explanation:
        """Say what the kernel would be asked to filter by, and why it is not asked for more."""
    def __and__(self, other: Filter, /) -> Filter: ...
    def __rand__(self, other: Filter, /) -> Filter: ...
    def __or__(self, other: Filter, /) -> Filter: ...
    def __ror__(self, other: Filter, /) -> Filter: ...
    def __invert__(self) -> Filter: ...
    def __bool__(self) -> NoReturn:
        """Raise :class:`TypeError`: ``a and b`` would be ``b`` alone, and match too much."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...

@final
class DesiredState:
    """The desired state: frontends, and the backends that serve them."""

    @staticmethod
    def from_kubernetes(
        source: str | bytes | PathLike[str] | _Readable,
        *,
        node_addresses: Sequence[_AnyAddress] = (),
        node_port_addresses: Sequence[_AnyAddress] | None = None,
        node_name: str | None = None,
        extra_backends: Mapping[_Frontend, _Addresses] | None = None,
        no_endpoints_ok: bool = False,
        no_services_ok: bool = False,
        age: float | None = None,
    ) -> DesiredState:
        """Make it from ``kubectl get services,endpointslices -A -o json``.

        ``str`` and ``bytes`` are the JSON itself; a path-like object or a file object is a file.
        A service that cannot be read is named in :attr:`notes` and not judged. Half a picture is a
        :class:`ValueError`: usable services without any EndpointSlice, unless ``no_endpoints_ok``;
        no service at all, or EndpointSlices without their services, unless ``no_services_ok``; the
        first page of a list.

        ``node_addresses`` are all addresses of this node: without them ``strict`` judges no node
        ports, and cannot spare a host service at an external IP that is the node's own.
        ``node_port_addresses`` are those at which node ports are answered, if not all of them.
        ``node_name`` tells which endpoints are on this node. ``extra_backends`` are valid backends
        that no service lists, by frontend: ``{("udp", "10.96.0.10", 53): "169.254.20.10"}``.
        ``age`` is how many seconds ago the objects were fetched, for observers.
        """
    @staticmethod
    def from_published(
        published: Iterable[
            tuple[str | int, int | range, Sequence[_AnyAddress] | None, _AnyAddress, int | range]
        ] = (),
        *,
        unpublished: Iterable[
            tuple[str | int, int | range, Sequence[_AnyAddress] | None, _AnyAddress]
        ] = (),
        node_addresses: Sequence[_AnyAddress] = (),
        age: float | None = None,
    ) -> DesiredState:
        """Make it of ports that a container engine publishes, without Kubernetes.

        Each is ``(protocol, host_ports, host_addresses, container, container_ports)``; the ports
        are a number or a ``range`` of as many; ``None`` for the host's addresses is any local one,
        which takes ``node_addresses``. ``unpublished`` are ports that are no longer published,
        without the container's ports: flows that lead to that container are stale. ``age`` is how
        many seconds old this knowledge is, for observers.
        """
    @staticmethod
    def from_frontends(
        frontends: Mapping[_Frontend, Iterable[_Backend]],
        *,
        node_addresses: Sequence[_AnyAddress] = (),
        extra_backends: Mapping[_Frontend, _Addresses] | None = None,
        age: float | None = None,
    ) -> DesiredState:
        """Make it without Kubernetes: ``{("udp", "10.96.0.10", 53): [("10.244.1.5", 53)]}``.

        List all backends of each frontend; an empty list means that nothing serves it. The third
        element of a backend says whether it serves. If it does not, it is not a valid backend, but
        its flows can be in a grace time. ``age`` is how many seconds old this knowledge is, for
        observers.
        """
    @property
    def unknown(self) -> list[str]:
        """Services that are not judged, as ``namespace/name``."""
    @property
    def notes(self) -> list[str]:
        """What was left out of the input, one line each."""
    @property
    def frontends(self) -> list[tuple[str, _Address, int]]:
        """Every frontend as (protocol, address, port)."""

@final
class Reconciler:
    """Removes stale entries repeatedly; the cost of a run follows what has changed.

    The first run looks at everything, and so does a run after a failure. Other runs look only at
    frontends that are new, have vanished, have lost a backend, or have gone from no backend to
    some. Without such a frontend a run sends nothing.
    """

    def __new__(
        cls,
        *,
        profile: Literal["strict", "kube-proxy"] = "strict",
        protocols: Sequence[str | int] | None = None,
        zones: Iterable[int] | Literal["all"] | None = None,
        authority: Literal["rules", "observer"] = "rules",
        recheck: float | None = 0.1,
        defer_recheck: bool = False,
        min_interval: float = 0.0,
        grace: float = 0.0,
        resync: float | None = None,
        previous: DesiredState | None = None,
    ) -> Self:
        """Take the options of :meth:`Conntrack.reconcile` but ``dry_run``, and those of a daemon.

        With ``defer_recheck`` a run does not wait for its second pass: it is left to the next run
        that comes late enough. ``min_interval`` is the least number of seconds from the end of one
        run that looked at the table to the next; what changes in between is one change. ``grace``
        is for how many seconds an endpoint that is listed and has stopped serving keeps its flows.
        After ``resync`` seconds everything is looked at again. An ``authority`` that only observes,
        and does not write the rules, deletes a flow to a backend that does not serve only if the
        backend served by an earlier state, or if a state that was fetched after the flow was seen
        lacks it (``age`` of :meth:`DesiredState.from_kubernetes`; a state without ``age`` proves
        nothing).
        """
    def run(self, ct: Conntrack, desired: DesiredState) -> Report:
        """Make the table agree with a desired state."""
    def look_at_everything(self) -> None:
        """Make the next run look at everything, as the first one does."""
    def cancel(self) -> None:
        """End the run that is under way, or else the next that looks at the table; from any thread.

        Entries that it has judged are dealt with, ``FamilyReport.error`` says that it was
        cancelled, and the run after it looks at everything. Python calls signal handlers only after
        a run in the main thread has returned: to stop a run early from one, run it in another
        thread.
        """
    @property
    def due(self) -> float | None:
        """Seconds until the next run that is due even if the desired state does not change.

        What waits is a deferred second pass, a postponed run, a failed run (retried after a second,
        then after twice as long each time, up to a minute), a call of
        :meth:`look_at_everything`, the end of a grace time, a ``resync``, and the re-check of a
        pass that deleted something. ``None`` if nothing is waiting. An observer with something in
        quarantine (:attr:`Report.in_quarantine`) waits for a state that was fetched later: fetch it
        before this run.
        Reading this waits for a run that is under way.
        """

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
    def nothing_changed(self) -> bool:
        """Nothing that changed can have made an entry stale, so nothing was sent."""
    @property
    def postponed(self) -> bool:
        """There is something to do, but ``min_interval`` is not over: nothing was sent."""
    @property
    def in_grace(self) -> int:
        """How many endpoints do not serve and are in their grace time."""
    @property
    def unknown_services(self) -> int:
        """Services that were not judged: another proxy's, or not readable."""
    @property
    def in_quarantine(self) -> int:
        """Backends that an observer cannot judge before there is a newer state."""
    @property
    def comes_back(self) -> list[ComesBack]:
        """Entries that come back after they were deleted."""
    @property
    def node_ports_judged(self) -> bool: ...
    @property
    def succeeded(self) -> bool:
        """Whether nothing failed: every pass reached its end, and no delete was refused.

        It is true even for a postponed run, which has done nothing yet.
        """
    @property
    def families(self) -> tuple[FamilyReport, FamilyReport]:
        """IPv4, then IPv6."""

@final
class FamilyReport:
    """One family's part of a report."""

    @property
    def family(self) -> _Family: ...
    @property
    def received(self) -> int: ...
    @property
    def stale(self) -> int: ...
    @property
    def other_zones(self) -> int:
        """Kept because of their zone, which is not looked at."""
    @property
    def suspect(self) -> int:
        """Kept until the re-check: untranslated and unanswered at an address of the node."""
    @property
    def quarantined(self) -> int:
        """Kept until a newer state decides."""
    @property
    def given_up(self) -> int:
        """Kept because nothing translates there."""
    @property
    def deleted(self) -> int: ...
    @property
    def already_gone(self) -> int: ...
    @property
    def unknown(self) -> int:
        """Answers that were lost; 0 unless something is wrong with the socket."""
    @property
    def failed(self) -> int: ...
    @property
    def failures(self) -> list[Failure]:
        """Why deletes failed: the first few different reasons, with the number of each."""
    @property
    def passes(self) -> int: ...
    @property
    def pushdown(self) -> str:
        """What the kernel filtered by in the first pass."""
    @property
    def reasons(self) -> Reasons: ...
    @property
    def removals(self) -> list[Removal]:
        """Where the stale entries pointed: the first few groups that were found."""
    @property
    def error(self) -> BaseException | None:
        """What ended a pass early: an exception that was not raised."""

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
class ComesBack:
    """Entries toward a frontend that come back after they were deleted."""

    @property
    def protocol(self) -> str: ...
    @property
    def frontend(self) -> tuple[_Address, int]: ...
    @property
    def backend(self) -> tuple[_Address, int]:
        """Where they lead: whoever makes them knows it."""
    @property
    def looks(self) -> int:
        """In how many looks in a row such entries were deleted."""
    @property
    def given_up(self) -> bool:
        """They are left alone until the frontend changes: nothing translates there."""

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
class Failure:
    """Deletes that failed for the same reason."""

    @property
    def error(self) -> BaseException:
        """Why: an exception that was not raised."""
    @property
    def count(self) -> int:
        """How many deletes failed for this reason."""

@final
class Deletions:
    """The result of :meth:`Conntrack.delete_many`."""

    @property
    def deleted(self) -> int: ...
    @property
    def already_gone(self) -> int:
        """Already gone, or re-created toward another backend."""
    @property
    def unknown(self) -> int:
        """Answers that were lost; 0 unless something is wrong with the socket."""
    @property
    def failed(self) -> int:
        """Deletes that did not succeed."""
    @property
    def failures(self) -> list[Failure]:
        """Why deletes failed: the first few different reasons, each with its count."""
    @property
    def failed_at(self) -> list[int]:
        """Positions of the flows that could not be deleted, from 0."""

@final
class DeleteReport:
    """The result of :meth:`Conntrack.delete_matching`. ``str()`` is for people."""

    @property
    def filter(self) -> str: ...
    @property
    def dry_run(self) -> bool: ...
    @property
    def pushdown(self) -> str:
        """What the kernel filtered by."""
    @property
    def received(self) -> int:
        """Entries that came from the kernel, matching or not."""
    @property
    def matched(self) -> int: ...
    @property
    def deleted(self) -> int: ...
    @property
    def already_gone(self) -> int: ...
    @property
    def failed(self) -> int: ...
    @property
    def unknown(self) -> int:
        """Answers that were lost; 0 unless something is wrong with the socket."""
    @property
    def failures(self) -> list[Failure]:
        """Why deletes failed: the first few different reasons, with the number of each."""
    @property
    def error(self) -> BaseException | None:
        """The error that ended the walk early. Entries that matched before it were dealt with."""
    @property
    def elapsed(self) -> float:
        """Seconds."""
    @property
    def succeeded(self) -> bool: ...

@final
class Zeroed:
    """The result of :meth:`Conntrack.zero`."""

    @property
    def flows(self) -> list[Flow]:
        """The entries as they were before."""
    @property
    def error(self) -> BaseException | None:
        """The error that ended it early; the counters of ``flows`` are zero nevertheless."""

@final
class Capabilities:
    """What the running kernel can be trusted with. ``str()`` is one screen for people."""

    def json(self) -> str:
        """Return the capabilities as JSON text, for another process of the same boot.

        :raises ValueError: if the boot is not known (no ``/proc``).
        """
    @staticmethod
    def from_json(text: str) -> Capabilities:
        """Read what :meth:`json` has made."""
    @property
    def boot_id(self) -> str | None:
        """The boot of the machine on which this was found; ``None`` if it cannot be read."""
    @property
    def dump_filter(self) -> bool:
        """Dumps understand a filter on tuples (Linux 5.8)."""
    @property
    def flush_filter(self) -> bool:
        """Flushes understand a filter on tuples (Linux 6.12)."""
    @property
    def status_filter(self) -> bool: ...
    @property
    def zone_filter(self) -> bool: ...
    @property
    def untested(self) -> str | None:
        """Why the criteria could not be tried out, if they could not."""
    @property
    def accounting(self) -> bool | None: ...
    @property
    def timestamps(self) -> bool | None: ...
    @property
    def events(self) -> int | None: ...
    @property
    def marks(self) -> bool | None: ...
    @property
    def zones(self) -> bool | None: ...
    @property
    def labels(self) -> bool | None: ...
    @property
    def expectations(self) -> bool: ...
    @property
    def timeout_policies(self) -> bool: ...
    @property
    def trust(self) -> dict[str, tuple[str, str]]:
        """For each criterion, trust in dumps and in flushes.

        ``proved``, ``assumed`` (not tried out, but harmless), ``WRONG`` (selects the wrong
        entries), ``refused``, ``untested`` or ``distrusted``.
        """
    @property
    def entries(self) -> int:
        """Entries of the namespace."""
    @property
    def limit(self) -> int:
        """Entries the kernel allows (``nf_conntrack_max``); 0 means unlimited."""
    def distrust(self, criterion: str) -> Capabilities:
        """Return a copy without trust in a criterion, by its name in :attr:`trust`."""
    def distrust_flushes(self) -> Capabilities:
        """Return a copy without trust in any filtered flush, as on kernels before 6.12."""

@final
class Stayed:
    """A part of a filter that the kernel is not asked for."""

    @property
    def criterion(self) -> str:
        """The part, in the words of the filter."""
    @property
    def reason(self) -> str:
        """Why the kernel is not asked."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...

@final
class Explanation:
    """What the kernel does of a filter, and why not more. ``str()`` is for people."""

    @property
    def filter(self) -> str: ...
    @property
    def never(self) -> str | None:
        """Why the filter can match nothing at all (see :meth:`Filter.never_matches`)."""
    @property
    def passes(self) -> list[str]:
        """What the kernel filters by in each pass over the table."""
    @property
    def stayed(self) -> list[Stayed]:
        """What is matched only in user space, and why."""
    @property
    def flushes(self) -> int:
        """How many flushes ``in_kernel`` would send: one for each affected family."""
    @property
    def not_in_kernel(self) -> str | None:
        """Why ``in_kernel`` would refuse the filter; ``None`` if it would not."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
