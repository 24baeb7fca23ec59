"""The native module. Import its names from ``ctnetlink``."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from os import PathLike
from types import TracebackType
from typing import (
    ClassVar,
    Literal,
    NoReturn,
    Protocol,
    Self,
    TypeAlias,
    TypeVar,
    Unpack,
    final,
    overload,
)

from ctnetlink._enums import (
    Authority,
    ExpectFlags,
    Family,
    FindingId,
    Level,
    OutcomeKind,
    Profile,
    Reason,
    SctpState,
    Setting,
    Status,
    TcpState,
    Trust,
    VerdictKind,
)
from ctnetlink._types import (
    Address,
    Addresses,
    Amount,
    AnyAddress,
    AnyFamily,
    AnyStatus,
    Criteria,
    Families,
    Integer,
    Integers,
    Ports,
    Protocols,
    SctpStates,
    Seconds,
    TcpStates,
    Texts,
)

__all__ = [
    "Accumulator",
    "AnotherEntry",
    "Batch",
    "Cancelled",
    "Canceller",
    "Capabilities",
    "Change",
    "Churn",
    "ComesBack",
    "Conntrack",
    "Counters",
    "CpuDelta",
    "CpuStats",
    "DccpProtocolState",
    "DecodeError",
    "DeleteReport",
    "Deletions",
    "Delta",
    "DesiredState",
    "Diagnosis",
    "Dump",
    "DumpInterrupted",
    "Echoing",
    "Endpoint",
    "ExpectKey",
    "ExpectNat",
    "ExpectStats",
    "Expectation",
    "Explanation",
    "Failure",
    "FamilyReport",
    "Filter",
    "Finding",
    "Flow",
    "Frontend",
    "Group",
    "Growth",
    "HalfState",
    "History",
    "Icmp",
    "Key",
    "LabelMap",
    "Limits",
    "LogLine",
    "Losses",
    "Names",
    "NatRange",
    "NewEntry",
    "NewExpectation",
    "NotSupported",
    "Outcome",
    "Overrun",
    "Pressure",
    "Progress",
    "Reasons",
    "Reconciler",
    "Removal",
    "Report",
    "Rules",
    "Scope",
    "SctpProtocolState",
    "SeqAdj",
    "ServiceKey",
    "ServicePort",
    "Share",
    "Statistics",
    "Stayed",
    "Summarizer",
    "Summary",
    "SynProxy",
    "Table",
    "TcpProtocolState",
    "Thresholds",
    "TimeoutPolicy",
    "Timeouts",
    "Top",
    "TopRow",
    "Trend",
    "Tuple",
    "Unknown",
    "Unreplied",
    "Unseen",
    "Verdict",
    "Zeroed",
    "__version__",
    "_command",
    "_make",
    "_setting",
]

__version__: str

def _make(maker: Callable[..., object], options: dict[str, object]) -> object: ...
def _command(arguments: Sequence[str]) -> int: ...
def _setting(setting: Setting) -> tuple[str, int | None, bool, str, int]: ...

_Socket: TypeAlias = tuple[Address, int]
_AnySocket: TypeAlias = tuple[AnyAddress, int]
_AnyProtocol: TypeAlias = str | int
_AnyProfile: TypeAlias = Profile | Literal["strict", "kube-proxy"]
_AnyAuthority: TypeAlias = Authority | Literal["rules", "observer"]
_ProtocolState: TypeAlias = TcpProtocolState | SctpProtocolState | DccpProtocolState
_Labels: TypeAlias = Iterable[int] | tuple[Iterable[int], Iterable[int]]
_AnyExpectFlags: TypeAlias = int | str | Iterable[str]
_Zones: TypeAlias = Iterable[int] | Literal["all"]

# Bound, not written out: the key of a Mapping is invariant.
_AnyFrontend = TypeVar("_AnyFrontend", bound=Frontend | tuple[str | int, AnyAddress, int])
_Backend: TypeAlias = Endpoint | tuple[AnyAddress, int] | tuple[AnyAddress, int, bool]

class _HasFileno(Protocol):
    def fileno(self) -> int: ...

class _Readable(Protocol):
    def read(self) -> str | bytes: ...

class AnotherEntry(FileNotFoundError):
    """The key names no entry. The kernel found another one by it, which was left alone."""

class Cancelled(OSError):
    """The operation was cancelled on request before it finished."""

class DecodeError(ValueError):
    """An answer of the kernel is malformed, or was cut."""

class DumpInterrupted(RuntimeError):
    """The table was resized during a dump, so entries may be missing; try again."""

class HalfState(ValueError):
    """A desired state that is only half of one. Nothing was sent: it must not mean that everything is gone."""

class NotSupported(OSError):
    """The kernel does not offer ctnetlink."""

class Overrun(OSError):
    """The socket's receive buffer overflowed, and answers of the kernel were lost; try again."""

@final
class Conntrack:
    """The conntrack table of one network namespace.

    ``Conntrack()`` opens this thread's namespace. ``netns`` is another one: a name as ``ip netns``
    knows it (``"blue"``), a path (``"/proc/1/ns/net"``), or an object with ``fileno()``. ``pid`` is a
    process, whose namespace is opened.

    Everything but opening needs ``CAP_NET_ADMIN`` in the user namespace that owns the network
    namespace; without it calls raise ``PermissionError``, which says what to do. All calls release the
    interpreter lock, and one handle can be used by several threads. Ctrl-C ends every call at once; a
    request that the kernel is working on then is finished by the kernel.

    A handle also works in a child process after ``fork``: the child gets sockets of its own. A dump
    belongs to the process that started it.
    """

    def __new__(
        cls, netns: str | PathLike[str] | _HasFileno | None = None, *, pid: int | None = None
    ) -> Self: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        *_exception: type[BaseException] | BaseException | TracebackType | None,
    ) -> None: ...
    def close(self) -> None:
        """Close the handle. Running dumps continue."""
    def cancelled_by(self, canceller: Canceller) -> Conntrack:
        """Return the same handle, whose long operations end when the canceller cancels.

        It has the same sockets and proofs. Dumps, counts, deletes, zeroing, batches, probes and
        reconciliations look at the canceller between datagrams, and end with ``Cancelled``.
        """
    def count(self, filter: Filter | str | None = None, **criteria: Unpack[Criteria]) -> int:
        """Count the entries that match a filter or keywords.

        Without either, return the kernel's own count, which includes expired and dying entries.
        """
    def limit(self) -> int:
        """Return how many entries the kernel lets each namespace have; 0 means unlimited.

        This is ``nf_conntrack_max``.
        """
    def capabilities(self, *, within: Seconds | None = None) -> Capabilities:
        """Find out what the running kernel can filter by, flush by, count and timestamp.

        A dump does not need it: it proves the shape of its own request when it first needs it. After
        this call, what was found here decides. With ``within``, what cannot be tried out in so many
        seconds stays untested, which is always safe; ``Capabilities.untested`` says so.
        """
    def limits(self) -> Limits:
        """Return the settings of this network namespace: limits, timeouts, modes. It needs no privilege."""
    def counters(self) -> list[CpuStats]:
        """Return the counters of each CPU: those of ``stats_per_cpu()``, or of ``/proc`` without privilege.

        Not every kernel has the file (``CONFIG_NF_CONNTRACK_PROCFS``).
        """
    def set_limit(self, setting: Setting | str, value: int) -> None:
        """Change a setting of this network namespace, until the next boot.

        A timeout applies from the next packet of each connection on. An ``OSError`` names the file, the
        value and the reason.
        """
    def summary(self, rows: int = 10, *, names: Names | None = None) -> Summary:
        """Dump the table once, and return what holds it, with so many rows of each kind."""
    def diagnose(
        self,
        *,
        interval: Seconds | None = None,
        rows: int = 10,
        summary: bool = True,
        names: Names | None = None,
        thresholds: Thresholds | None = None,
        desired: DesiredState | None = None,
    ) -> Diagnosis:
        """Look at everything for ``interval`` seconds, and return what was found.

        With an interval of 0, losses are only known since the namespace exists. ``summary=False`` does
        not dump the table. A ``desired`` state also counts stale UDP entries, and names services.
        """
    def use_capabilities(self, capabilities: Capabilities) -> None:
        """Trust the kernel as far as these capabilities say.

        They may come from another handle on this machine, or from a file. Those of another boot are a
        ``ValueError``.
        """
    def dump(self, filter: Filter | str | None = None, **criteria: Unpack[Criteria]) -> Dump:
        """Stream the entries that match a filter or keywords; all of them without either.

        A filter is an object or text, such as ``udp and orig dst port 53``; see ``Filter.parse``. The
        kernel filters by what it can be trusted with; every entry is matched again here.
        """
    def dump_table(
        self,
        filter: Filter | str | None = None,
        *,
        columns: Sequence[str] | None = None,
        addresses: Literal["text", "binary"] = "text",
        **criteria: Unpack[Criteria],
    ) -> Table:
        """Return the entries that match as columns, for polars, pyarrow, pandas and DuckDB.

        ``columns`` are names of ``Table.COLUMNS``; without them those that most people want. Addresses
        are text, or with ``addresses="binary"`` 16 bytes in network order, IPv4 as ``::ffff:10.0.0.1``.
        What an entry does not have is null. A missing privilege is a ``PermissionError`` here, and
        nothing is dumped until somebody reads the rows.
        """
    def dying(self) -> Dump:
        """Stream the dying list.

        These entries have left the table, but a reliable listener has not received their destroy event
        yet.
        """
    def dump_and_zero(self) -> Dump:
        """Stream the whole table, and zero the counters of what was read.

        If it is ended half-way, the counters of entries that the kernel has zeroed but that were not
        read are lost.
        """
    def get(self, key: Key) -> Flow:
        """Fetch one entry. ``FileNotFoundError`` if it does not exist."""
    def get_and_zero(self, key: Key) -> Flow:
        """Fetch one entry and zero its counters in one step, so that no packet goes uncounted in between."""
    def create(self, entry: NewEntry) -> None:
        """Create an entry. ``FileExistsError`` if either tuple collides with an entry of the zone."""
    def create_or_update(self, entry: NewEntry) -> None:
        """Create an entry, or update the one that has its original tuple (and keeps its own reply tuple)."""
    def update(self, key: Key, change: Change) -> None:
        """Change an entry. ``FileNotFoundError`` if it does not exist.

        The entry is fetched, compared with the key, and then named by its own reply tuple and zone; the
        kernel does not compare the id in an update.
        """
    def delete(self, flow: Flow) -> None:
        """Delete exactly this entry, by reply tuple, zone and id as dumped.

        ``FileNotFoundError`` if it is gone, or was re-created toward another backend.
        """
    def delete_key(self, key: Key) -> None:
        """Delete the entry that has this key now, which may not be the one you have seen.

        ``FileNotFoundError`` if it does not exist, or if its id is not the one in the key.
        """
    def delete_many(self, flows: Iterable[Flow]) -> Deletions:
        """Delete many entries, each as ``delete`` does; one failure does not stop the rest."""
    @overload
    def delete_matching(
        self,
        filter: Filter | str | None = None,
        *,
        dry_run: bool = False,
        in_kernel: Literal[False] = False,
        on_match: Callable[[Flow], object] | None = None,
        **criteria: Unpack[Criteria],
    ) -> DeleteReport: ...
    @overload
    def delete_matching(
        self,
        filter: Filter | str | None = None,
        *,
        dry_run: Literal[False] = False,
        in_kernel: Literal[True],
        on_match: None = None,
        **criteria: Unpack[Criteria],
    ) -> None:
        """Delete the entries that match a filter or keywords, or count them with ``dry_run``.

        Which entries match is decided here, as they were in the dump; each match is then deleted by
        reply tuple, zone and id. ``on_match`` is called with each of them, in this thread; an exception
        in it ends the walk. With ``in_kernel`` the kernel deletes them in one filtered flush for each
        affected family and counts nothing: the result is ``None``. This works only if every criterion
        was proved on this kernel; otherwise a ``ValueError`` says why not. A call with neither a filter
        nor keywords is a ``ValueError`` too.
        """
    def zero(
        self,
        filter: Filter | str | None = None,
        *,
        on_match: Callable[[Flow], object] | None = None,
        **criteria: Unpack[Criteria],
    ) -> Zeroed:
        """Read the entries that match and zero their counters, each in one step.

        ``on_match`` is called with each entry as it was before, in this thread; without it, all of them
        are in the result. An exception in it ends the walk.
        """
    def execute(self, batch: Batch) -> list[Outcome]:
        """Run a batch and return the outcome of each operation, in order. The batch is empty afterwards."""
    def echo(self) -> Echoing:
        """Return the operations that report the entry they touch."""
    def flush(self, family: AnyFamily) -> None:
        """Remove **every** entry of a family.

        There is no count, because the kernel does not report one. Entries inserted during the flush may
        survive. Kernels before 4.20 ignore the family.
        """
    def flush_all(self) -> None:
        """Remove **every** entry of both families."""
    def stats_per_cpu(self) -> list[CpuStats]:
        """Return the statistics of each CPU for this namespace."""
    def expectations(self) -> list[Expectation]:
        """Return all expectations."""
    def expectations_of(self, master: Key) -> list[Expectation]:
        """Return the expectations of one entry."""
    def expectation(self, key: ExpectKey) -> Expectation:
        """Fetch one expectation. ``FileNotFoundError`` if it does not exist."""
    def create_expectation(self, new: NewExpectation) -> None:
        """Create an expectation. ``FileExistsError`` if there is one like it."""
    def create_or_update_expectation(self, new: NewExpectation) -> None:
        """Create an expectation, or update the timeout of the one that exists."""
    def delete_expectation(self, key: ExpectKey) -> None:
        """Delete one expectation. ``FileNotFoundError`` if it does not exist."""
    def delete_expectations_of_helper(self, helper: str) -> None:
        """Delete the expectations that belong to a helper."""
    def flush_expectations(self) -> None:
        """Remove **every** expectation."""
    def expect_stats_per_cpu(self) -> list[ExpectStats]:
        """Return the statistics of expectations on each CPU."""
    def timeout_policies(self) -> list[TimeoutPolicy]:
        """Return all timeout policies."""
    def timeout_policy(self, name: str) -> TimeoutPolicy:
        """Fetch one timeout policy by name. ``FileNotFoundError`` if it does not exist."""
    def create_timeout_policy(self, policy: TimeoutPolicy) -> None:
        """Create a timeout policy. ``FileExistsError`` if there is one of this name."""
    def replace_timeout_policy(self, policy: TimeoutPolicy) -> None:
        """Create a timeout policy, or replace the timeouts of the one of this name."""
    def delete_timeout_policy(self, name: str) -> None:
        """Delete one timeout policy by name."""
    def flush_timeout_policies(self) -> None:
        """Delete all timeout policies that are not in use."""
    def default_timeouts(self, family: AnyFamily, protocol: _AnyProtocol) -> Timeouts:
        """Return the timeouts of a protocol in this namespace."""
    def set_default_timeouts(self, family: AnyFamily, timeouts: Timeouts) -> None:
        """Set timeouts of a protocol in this namespace. States that are not given keep theirs."""
    def set_receive_buffer(self, bytes: int) -> int:
        """Set the size of the receive buffer of the command socket, and return the resulting size.

        The kernel caps the figure at ``net.core.rmem_max`` and doubles it. The default holds the answers
        to any batch; with a smaller buffer, lost answers are noticed and asked for again.
        """
    @property
    def port_id(self) -> int:
        """The netlink port id of the command socket.

        Events that this handle's operations cause carry it (``nlmsg_pid``); those of packets and timers
        carry 0.
        """
    def reconcile(
        self,
        desired: DesiredState,
        *,
        profile: _AnyProfile = "strict",
        dry_run: bool = False,
        protocols: Sequence[_AnyProtocol] | None = None,
        zones: _Zones | None = None,
        recheck: Seconds | None = 0.1,
        previous: DesiredState | None = None,
        on_progress: Callable[[Progress], object] | None = None,
    ) -> Report:
        """Remove the entries that are stale with respect to a desired state, and only those.

        The options are those of ``Reconciler``, which is for a process that reconciles repeatedly.
        """

@final
class Echoing:
    """Operations that report the entry they touch, as it is then, in the same request.

    ``None`` = the kernel did it, and reported nothing. Made by ``Conntrack.echo()``.
    """

    def create(self, entry: NewEntry) -> Flow | None:
        """Create an entry, and return it."""
    def create_or_update(self, entry: NewEntry) -> Flow | None:
        """Create an entry, or update the one that has its original tuple, and return it."""
    def update(self, key: Key, change: Change) -> Flow | None:
        """Change an entry, and return it."""
    def delete(self, flow: Flow) -> Flow | None:
        """Delete exactly this entry, and return it as it was last."""
    def delete_key(self, key: Key) -> Flow | None:
        """Delete the entry that has this key now, and return it as it was last."""

@final
class Canceller:
    """Ends long operations early, from any thread: those of a handle, or a run of a reconciler.

    ``ct.cancelled_by(canceller)`` is the handle whose operations it ends; ``reconciler.canceller`` is
    that of a reconciler.
    """

    def __new__(cls) -> Self: ...
    def cancel(self) -> None:
        """Cancel.

        Operations of a handle end with ``Cancelled``, now and from then on. A reconciler ends the run
        that is under way, or else the next one; the run after it looks at everything.
        """
    @property
    def is_cancelled(self) -> bool:
        """Whether it has cancelled."""

@final
class Dump(Iterator[Flow]):
    """A running dump: an iterator over entries.

    It is not a snapshot. An entry that exists during the whole dump is reported at least once; one that
    is inserted meanwhile may be missing, and after a removal another may be reported twice. Entries
    are read as they are asked for, so memory does not depend on the size of the table. The end of a
    ``with`` block ends the dump, and so does dropping it.
    """

    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        *_exception: type[BaseException] | BaseException | TracebackType | None,
    ) -> None: ...
    def __iter__(self) -> Self: ...
    def __next__(self) -> Flow: ...
    def close(self) -> None:
        """End the dump. What was fetched but not read yet is dropped."""
    @property
    def received(self) -> int:
        """Entries that the kernel has sent so far, matching or not."""
    @property
    def pushdown(self) -> str:
        """What the kernel filters by, in the words of the filter, with ``; `` between requests.

        Empty if it filters nothing. Every entry is matched again here in any case.
        """

@final
class Table:
    """The entries that match, as columns. Made by ``Conntrack.dump_table()``.

    It holds no data. Everyone who reads it (``polars.DataFrame(table)``, ``pyarrow.table(table)``,
    DuckDB's ``from table``) starts a dump of its own, when it asks for the first rows, and gets them in
    batches of 16,384; two readers see two tables. To keep one, keep what the reader has made.
    """

    COLUMNS: ClassVar[tuple[str, ...]]
    """The names of all columns there are."""

    @property
    def schema(self) -> list[tuple[str, str]]:
        """The columns, in order, with the names of their Arrow types."""
    def __arrow_c_schema__(self) -> object: ...
    def __arrow_c_stream__(self, requested_schema: object = None) -> object: ...

@final
class Flow:
    """One conntrack entry, as it was dumped. ``str()`` is the line ``conntrack -L`` prints.

    Two flows are equal if the kernel reported both in the same bytes; one whose timeout has gone on is
    another value. ``key()`` tells whether they are one entry.
    """

    @staticmethod
    def parse(payload: bytes) -> Flow:
        """Read the bytes of an entry as ``payload`` gives them.

        Bytes that are no entry are a ``DecodeError``.
        """
    @property
    def family(self) -> Family:
        """Address family of the entry."""
    @property
    def protocol(self) -> str:
        """Name of the protocol (``udp``), or its number in digits."""
    @property
    def protocol_number(self) -> int:
        """Number of the protocol."""
    @property
    def orig(self) -> Tuple:
        """The original direction: who connected, and to which frontend."""
    @property
    def reply(self) -> Tuple:
        """The reply direction: which backend answers, and to whom."""
    @property
    def status(self) -> Status:
        """Status bits; ``str()`` of them is their names."""
    @property
    def timeout(self) -> int | None:
        """Seconds left; ``None`` for offloaded entries."""
    @property
    def mark(self) -> int | None:
        """Connection mark; ``None`` where the kernel has none."""
    @property
    def zone(self) -> int:
        """Zone of the entry, 0 by default."""
    @property
    def id(self) -> int | None:
        """Stable over the entry's life, but not unique over time."""
    @property
    def state(self) -> TcpState | SctpState | str | None:
        """State of a TCP, SCTP or DCCP entry by name, such as ``ESTABLISHED``."""
    @property
    def protocol_state(self) -> _ProtocolState | None:
        """Everything the kernel says of the protocol's state; ``None`` for protocols without."""
    @property
    def counters_orig(self) -> Counters | None:
        """Counters of the original direction; ``None`` without ``nf_conntrack_acct``."""
    @property
    def counters_reply(self) -> Counters | None:
        """Counters of the reply direction; ``None`` without ``nf_conntrack_acct``."""
    @property
    def start(self) -> float | None:
        """When the entry was made, seconds since the epoch (``nf_conntrack_timestamp``)."""
    @property
    def stop(self) -> float | None:
        """When the entry ended, seconds since the epoch; only in destroy events."""
    @property
    def event_time(self) -> float | None:
        """When the event happened, seconds since the epoch; only in events (Linux 6.14)."""
    @property
    def labels(self) -> list[int]:
        """The numbers of the label bits that are set."""
    @property
    def helper(self) -> str | None:
        """Name of the helper; ``None`` without one."""
    @property
    def master(self) -> Tuple | None:
        """The original tuple of the entry that expected this one."""
    @property
    def seq_adj_orig(self) -> SeqAdj | None:
        """Sequence adjustment of the original direction."""
    @property
    def seq_adj_reply(self) -> SeqAdj | None:
        """Sequence adjustment of the reply direction."""
    @property
    def synproxy(self) -> SynProxy | None:
        """State of the SYN proxy."""
    @property
    def security_context(self) -> str | None:
        """Security context (SELinux)."""
    @property
    def use_count(self) -> int | None:
        """References the kernel holds to the entry."""
    @property
    def payload(self) -> bytes:
        """The bytes as the kernel sent them: ``nfgenmsg`` and attributes. ``Flow.parse()`` reads them."""
    def attribute(self, kind: int) -> bytes | None:
        """Return the raw value of a top-level attribute (``CTA_*``) by number; ``None`` if it is absent."""
    def attributes(self) -> list[tuple[int, bytes]]:
        """Return all top-level attributes as ``(number, value)``, in the order the kernel sent them."""
    def key(self) -> Key:
        """Return the name of exactly this entry: reply tuple, zone and id.

        Two dumps of one entry give the same key, whatever else has changed in the meantime.
        """
    def line(self, *, extended: bool = False, id: bool = False) -> str:
        """Return the entry as ``conntrack -L`` prints it; ``extended`` adds what ``-o extended`` adds.

        ``id`` adds the id, as ``-o id`` does.
        """
    def json(self) -> str:
        """Return the entry as JSON text, with stable names. Fields that it does not have are left out."""
    def to_dict(self) -> dict[str, object]:
        """Return the entry as a ``dict`` of plain values, with the names of ``json()``."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, _memo: object) -> Self: ...

@final
class Tuple:
    """One direction of an entry: addresses, protocol, and ports or ICMP fields.

    ``Tuple("udp", "10.0.0.1", "10.96.0.10", 1001, 53)``. Protocols without ports have none; for GRE
    the ports are the keys. ``icmp`` makes an ICMP tuple, or an ICMPv6 one if the addresses are IPv6.
    ``zone`` is a zone that applies to this direction only.
    """

    __match_args__: ClassVar[
        tuple[
            Literal["protocol"],
            Literal["src"],
            Literal["dst"],
            Literal["src_port"],
            Literal["dst_port"],
        ]
    ]
    def __new__(
        cls,
        protocol: _AnyProtocol,
        src: AnyAddress,
        dst: AnyAddress,
        src_port: int | None = None,
        dst_port: int | None = None,
        *,
        icmp: Icmp | None = None,
        zone: int | None = None,
    ) -> Self: ...
    @property
    def src(self) -> Address:
        """Source address."""
    @property
    def dst(self) -> Address:
        """Destination address."""
    @property
    def src_port(self) -> int | None:
        """Source port; ``None`` for protocols without ports. For GRE the key."""
    @property
    def dst_port(self) -> int | None:
        """Destination port; ``None`` for protocols without ports. For GRE the key."""
    @property
    def source(self) -> _Socket:
        """Source as ``(address, port)``; the port is 0 for protocols without ports."""
    @property
    def destination(self) -> _Socket:
        """Destination as ``(address, port)``; the port is 0 for protocols without ports."""
    @property
    def protocol(self) -> str:
        """Name of the protocol (``udp``), or its number in digits."""
    @property
    def protocol_number(self) -> int:
        """Number of the protocol."""
    @property
    def icmp(self) -> Icmp | None:
        """ICMP or ICMPv6 fields; ``None`` for other protocols."""
    @property
    def zone(self) -> int | None:
        """The zone, if it applies to this direction only."""
    def in_zone(self, zone: int) -> Tuple:
        """Return the same tuple with a zone that applies to its direction only."""
    def inverse(self) -> Tuple | None:
        """Return what the other direction looks like without NAT.

        ``None`` for an ICMP type that has no answer. The zone of one direction does not carry over.
        """
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, _memo: object) -> Self: ...

@final
class Icmp:
    """ICMP and ICMPv6 fields of a tuple."""

    __match_args__: ClassVar[tuple[Literal["type"], Literal["code"], Literal["id"]]]
    def __new__(cls, type: int, code: int, id: int) -> Self: ...
    @property
    def type(self) -> int:
        """Type of the message."""
    @property
    def code(self) -> int:
        """Code of the message."""
    @property
    def id(self) -> int:
        """Identifier of the message."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, _memo: object) -> Self: ...

@final
class Counters:
    """Packets and bytes of one direction."""

    __match_args__: ClassVar[tuple[Literal["packets"], Literal["bytes"]]]
    def __new__(cls, packets: int, bytes: int) -> Self: ...
    @property
    def packets(self) -> int:
        """Packets."""
    @property
    def bytes(self) -> int:
        """Bytes."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, _memo: object) -> Self: ...

@final
class SeqAdj:
    """Adjustment of TCP sequence numbers of one direction."""

    __match_args__: ClassVar[
        tuple[Literal["correction_pos"], Literal["offset_before"], Literal["offset_after"]]
    ]
    def __new__(cls, correction_pos: int, offset_before: int, offset_after: int) -> Self: ...
    @property
    def correction_pos(self) -> int:
        """Sequence number from which on ``offset_after`` applies."""
    @property
    def offset_before(self) -> int:
        """Offset before that position."""
    @property
    def offset_after(self) -> int:
        """Offset from that position on."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, _memo: object) -> Self: ...

@final
class SynProxy:
    """State of the SYN proxy."""

    __match_args__: ClassVar[tuple[Literal["isn"], Literal["its"], Literal["tsoff"]]]
    def __new__(cls, isn: int, its: int, tsoff: int) -> Self: ...
    @property
    def isn(self) -> int:
        """Initial sequence number."""
    @property
    def its(self) -> int:
        """Initial timestamp."""
    @property
    def tsoff(self) -> int:
        """Timestamp offset."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, _memo: object) -> Self: ...

@final
class TcpProtocolState:
    """State of a TCP entry. ``None`` is what the kernel did not send, or what a change leaves alone."""

    __match_args__: ClassVar[
        tuple[
            Literal["state"],
            Literal["wscale_orig"],
            Literal["wscale_reply"],
            Literal["flags_orig"],
            Literal["flags_reply"],
        ]
    ]
    def __new__(
        cls,
        state: str | None = None,
        wscale_orig: int | None = None,
        wscale_reply: int | None = None,
        flags_orig: int | None = None,
        flags_reply: int | None = None,
    ) -> Self: ...
    @property
    def state(self) -> TcpState | None:
        """State of the connection."""
    @property
    def wscale_orig(self) -> int | None:
        """Window scale of the original direction."""
    @property
    def wscale_reply(self) -> int | None:
        """Window scale of the reply direction."""
    @property
    def flags_orig(self) -> int | None:
        """``IP_CT_TCP_FLAG_*`` of the original direction."""
    @property
    def flags_reply(self) -> int | None:
        """``IP_CT_TCP_FLAG_*`` of the reply direction."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, _memo: object) -> Self: ...

@final
class SctpProtocolState:
    """State of an SCTP entry. ``None`` is what the kernel did not send; a change needs all three."""

    __match_args__: ClassVar[tuple[Literal["state"], Literal["vtag_orig"], Literal["vtag_reply"]]]
    def __new__(
        cls, state: str | None = None, vtag_orig: int | None = None, vtag_reply: int | None = None
    ) -> Self: ...
    @property
    def state(self) -> SctpState | None:
        """State of the association."""
    @property
    def vtag_orig(self) -> int | None:
        """Verification tag of the original direction."""
    @property
    def vtag_reply(self) -> int | None:
        """Verification tag of the reply direction."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, _memo: object) -> Self: ...

@final
class DccpProtocolState:
    """State of a DCCP entry, in the kernel's numbers."""

    __match_args__: ClassVar[tuple[Literal["state"], Literal["role"], Literal["handshake_seq"]]]
    def __new__(
        cls, state: int | None = None, role: int | None = None, handshake_seq: int | None = None
    ) -> Self: ...
    @property
    def state(self) -> int | None:
        """State of the connection."""
    @property
    def role(self) -> int | None:
        """Role of the original direction."""
    @property
    def handshake_seq(self) -> int | None:
        """Sequence number of the handshake."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, _memo: object) -> Self: ...

@final
class LabelMap:
    """Names of label bits, as in ``/etc/xtables/connlabel.conf``."""

    @staticmethod
    def parse(text: str) -> LabelMap:
        """Read the text of a ``connlabel.conf``: one line per label with the bit number and the name.

        A line that is neither that nor a comment is a ``ValueError``.
        """
    def bit(self, name: str) -> int | None:
        """Return the number of the bit with this name; ``None`` if no bit has it."""
    def name(self, bit: int) -> str | None:
        """Return the name of a bit; ``None`` if it has none."""
    def names(self, labels: Sequence[int]) -> list[str]:
        """Return the names of those bits that have one, such as ``flow.labels``."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]

@final
class Key:
    """Names one entry, by the complete tuple of one direction, with its zone and, if wanted, its id.

    A tuple is unique within a zone. The id is not an incarnation number; to pin an entry to its
    backend, name it by its reply tuple. The kernel would also take the entry whose other direction
    has the tuple; every operation compares the entry with the key first.
    """

    @staticmethod
    def orig(tuple: Tuple, *, zone: int | None = None, id: int | None = None) -> Key:
        """Name an entry by its original tuple.

        ``zone`` applies to both directions; a zone of one direction belongs in the tuple. With ``id``
        the entry is meant only if it has this id.
        """
    @staticmethod
    def reply(tuple: Tuple, *, zone: int | None = None, id: int | None = None) -> Key:
        """Name an entry by its reply tuple.

        ``zone`` applies to both directions; a zone of one direction belongs in the tuple. With ``id``
        the entry is meant only if it has this id.
        """
    @property
    def direction(self) -> Literal["orig", "reply"]:
        """``orig`` or ``reply``: the direction the tuple is given in."""
    @property
    def tuple(self) -> Tuple:
        """The tuple."""
    @property
    def zone(self) -> int | None:
        """The zone of both directions, if it is given."""
    @property
    def id(self) -> int | None:
        """The id, if it is given."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, _memo: object) -> Self: ...

@final
class ExpectKey:
    """Names one expectation."""

    @staticmethod
    def tuple(tuple: Tuple, *, zone: int | None = None, id: int | None = None) -> ExpectKey:
        """Name an expectation by the tuple it expects.

        One that only covers the tuple by its mask is another one. ``zone`` is that of the master.
        """
    @staticmethod
    def master(orig: Tuple, *, zone: int | None = None, id: int | None = None) -> ExpectKey:
        """Name the first expectation of a master, by the master's original tuple.

        This can get one, but not delete it.
        """
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, _memo: object) -> Self: ...

@final
class NatRange:
    """A NAT range: the addresses and ports from which the kernel picks the translation.

    Without both it is a null binding: NAT is decided for the entry, and translates nothing. A
    range whose ends are reversed is refused when it is used.
    """

    __match_args__: ClassVar[tuple[Literal["addresses"], Literal["ports"]]]
    def __new__(
        cls,
        addresses: tuple[AnyAddress, AnyAddress] | None = None,
        ports: tuple[int, int] | None = None,
    ) -> Self: ...
    @property
    def addresses(self) -> tuple[Address, Address] | None:
        """First and last address; ``None`` keeps the address."""
    @property
    def ports(self) -> tuple[int, int] | None:
        """First and last port; ``None`` keeps the port."""
    @staticmethod
    def to(target: _AnySocket) -> NatRange:
        """Return the range of exactly this address and port."""
    @staticmethod
    def address(address: AnyAddress) -> NatRange:
        """Return the range of exactly this address; the port is kept."""
    @staticmethod
    def none() -> NatRange:
        """Return the null binding: NAT is decided, and translates nothing."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, _memo: object) -> Self: ...

@final
class Change:
    """What can be set both when an entry is created and when it is updated.

    ``timeout`` is seconds or a ``timedelta``; part of a second is rounded up. ``status`` are bits or
    names; ``CONFIRMED`` is added, and an update must repeat those of ``SEEN_REPLY``, ``ASSURED`` and
    ``EXPECTED`` that are set. ``mark`` is the whole mark or ``(value, mask)``. ``labels`` are numbers
    of bits, or two sets of them, the second being the mask. ``state`` is one of the three classes of
    protocol states. ``helper`` is a name; in an update only that which the entry has, or ``""``. The
    kernel applies the parts in the order helper, timeout, status, protocol state, mark, sequence
    adjustment, SYN proxy, labels, and stops at the first that fails; earlier ones stay applied.
    """

    def __new__(
        cls,
        *,
        timeout: Seconds | None = None,
        status: AnyStatus | None = None,
        mark: Integer | tuple[Integer, Integer] | None = None,
        labels: _Labels | None = None,
        state: _ProtocolState | None = None,
        helper: str | None = None,
        seq_adj_orig: SeqAdj | None = None,
        seq_adj_reply: SeqAdj | None = None,
        synproxy: SynProxy | None = None,
    ) -> Self: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, _memo: object) -> Self: ...

@final
class NewEntry:
    """An entry to be created.

    The reply tuple defines which packets count as replies; by default it is the mirror of the original
    one. This default and a NAT range make an entry that really translates: the kernel rewrites the
    reply tuple. A reply tuple toward a backend without a NAT range matches packets but translates
    none. ``zone`` is for both directions. ``master`` is the original tuple of the entry that expected
    this one. The other keywords are those of ``Change``.
    """

    def __new__(
        cls,
        orig: Tuple,
        timeout: Seconds,
        *,
        reply: Tuple | None = None,
        zone: int | None = None,
        src_nat: NatRange | None = None,
        dst_nat: NatRange | None = None,
        master: Tuple | None = None,
        status: AnyStatus | None = None,
        mark: Integer | tuple[Integer, Integer] | None = None,
        labels: _Labels | None = None,
        state: _ProtocolState | None = None,
        helper: str | None = None,
        seq_adj_orig: SeqAdj | None = None,
        seq_adj_reply: SeqAdj | None = None,
        synproxy: SynProxy | None = None,
    ) -> Self: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, _memo: object) -> Self: ...

@final
class Batch:
    """Operations to be sent together, 200 to a datagram, with an outcome for each.

    A batch is not a transaction: an operation that fails does not stop the others. The kernel answers
    only failures, so a batch costs little more than the work itself. ``Conntrack.execute()`` runs it.
    """

    def __new__(cls) -> Self: ...
    def create(self, entry: NewEntry) -> None:
        """Add the creation of an entry."""
    def create_or_update(self, entry: NewEntry) -> None:
        """Add the creation of an entry, or the update of the one that has its original tuple."""
    def update(self, key: Key, change: Change) -> None:
        """Add the change of an entry."""
    def delete(self, flow: Flow) -> None:
        """Add the delete of exactly this entry, as it was dumped."""
    def delete_key(self, key: Key) -> None:
        """Add the delete of the entry that has this key then."""
    def __len__(self) -> int: ...

@final
class Outcome:
    """What came of one operation of a batch."""

    __match_args__: ClassVar[tuple[Literal["kind"], Literal["error"], Literal["exists"]]]
    def __new__(
        cls, kind: str, error: BaseException | None = None, exists: bool | None = None
    ) -> Self: ...
    @property
    def kind(self) -> OutcomeKind:
        """``done``, ``not_found``, ``unknown`` or ``failed``."""
    @property
    def error(self) -> BaseException | None:
        """Why it failed, if it did."""
    @property
    def exists(self) -> bool | None:
        """Of an unknown outcome: whether the entry exists now."""
    @property
    def is_done(self) -> bool:
        """It was done."""
    @property
    def is_not_found(self) -> bool:
        """There is no such entry."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, _memo: object) -> Self: ...

@final
class Filter:
    """Selects entries. Combine with ``&``, ``|`` and ``~``.

    An entry must match all keywords. If a keyword has several values (a list, a set, a generator), the
    entry must match any of them. Addresses are text (``10.0.0.0/8``) or objects of ``ipaddress``;
    ``host`` is in any of the four places. Ports are numbers, ``range`` objects or text (``8000-8080``).
    ``protocol`` is a name or a number. ``status`` means that all of these bits are set,
    ``status_unset`` that none of them is; they are a ``Status``, a number or names. ``mark`` is the
    whole mark, or ``(value, mask)``. ``label`` is a bit, ``labels`` are bits all of which are set.
    ``timeout`` and ``age`` (seconds), ``packets`` and ``bytes`` are a number or ``(least, most)``, where
    ``None`` is no limit. ``snat``, ``dnat``, ``nat`` and ``unreplied`` are required with ``True`` and
    excluded with ``False``. A value that cannot be used is a ``ValueError`` or ``TypeError`` that names
    the keyword; a filter without any keyword is a ``ValueError``.

    An entry that does not have an amount (an offloaded one has no timeout) matches neither ``timeout``
    nor its negation.
    """

    KEYWORDS: ClassVar[tuple[str, ...]]
    """The names of the keywords that make a filter, in the order of the signature."""

    def __new__(
        cls,
        *,
        family: Families | None = None,
        protocol: Protocols | None = None,
        orig_src: Addresses | None = None,
        orig_dst: Addresses | None = None,
        reply_src: Addresses | None = None,
        reply_dst: Addresses | None = None,
        orig_src_port: Ports | None = None,
        orig_dst_port: Ports | None = None,
        reply_src_port: Ports | None = None,
        reply_dst_port: Ports | None = None,
        host: Addresses | None = None,
        icmp_type: Integers | None = None,
        icmp_code: Integers | None = None,
        icmp_id: Integers | None = None,
        status: AnyStatus | None = None,
        status_unset: AnyStatus | None = None,
        snat: bool | None = None,
        dnat: bool | None = None,
        nat: bool | None = None,
        unreplied: bool | None = None,
        mark: Integer | tuple[Integer, Integer] | None = None,
        zone: Integers | None = None,
        orig_zone: Integers | None = None,
        reply_zone: Integers | None = None,
        label: Integers | None = None,
        labels: Integers | None = None,
        helper: Texts | None = None,
        tcp_state: TcpStates | None = None,
        sctp_state: SctpStates | None = None,
        timeout: Amount | timedelta | None = None,
        age: Amount | timedelta | None = None,
        packets: Amount | None = None,
        orig_packets: Amount | None = None,
        reply_packets: Amount | None = None,
        bytes: Amount | None = None,
        orig_bytes: Amount | None = None,
        reply_bytes: Amount | None = None,
    ) -> Self: ...
    @staticmethod
    def parse(text: str) -> Filter:
        """Parse text such as ``udp and orig dst port 53 and not reply src 10.244.1.5``.

        ``str()`` of a filter is such a text. A mistake is a ``FilterSyntaxError``, which names the column
        and what was expected there.
        """
    @staticmethod
    def any(filters: Iterable[Filter | str]) -> Filter:
        """Return any of these filters: ``a | b | c``, in linear time. None at all is a ``ValueError``."""
    @staticmethod
    def all(filters: Iterable[Filter | str]) -> Filter:
        """Return all of these filters: ``a & b & c``, in linear time. None at all is a ``ValueError``."""
    def never_matches(self) -> str | None:
        """Return why the filter can match no entry at all; ``None`` if that cannot be seen from it.

        ``udp and tcp`` contradicts itself, and no packet is sent to ``orig dst 0.0.0.0``.
        """
    def matches(self, flow: Flow) -> bool:
        """Return whether the filter selects an entry."""
    def explain(self, capabilities: Capabilities) -> Explanation:
        """Say what the kernel would be asked to filter by, and why it is not asked for more."""
    def __and__(self, other: Filter, /) -> Filter: ...
    def __rand__(self, other: Filter, /) -> Filter: ...
    def __or__(self, other: Filter, /) -> Filter: ...
    def __ror__(self, other: Filter, /) -> Filter: ...
    def __invert__(self) -> Filter: ...
    def __bool__(self) -> NoReturn: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, _memo: object) -> Self: ...

@final
class Stayed:
    """A part of a filter that the kernel is not asked for."""

    __match_args__: ClassVar[tuple[Literal["criterion"], Literal["reason"]]]
    def __new__(cls, criterion: str, reason: str) -> Self: ...
    @property
    def criterion(self) -> str:
        """The part, in the words of the filter."""
    @property
    def reason(self) -> str:
        """Why it is matched here only."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, _memo: object) -> Self: ...

@final
class Explanation:
    """A filter's plan in words. ``str()`` of it is for people."""

    __match_args__: ClassVar[
        tuple[
            Literal["filter"],
            Literal["never"],
            Literal["passes"],
            Literal["stayed"],
            Literal["flushes"],
            Literal["not_in_kernel"],
            Literal["text"],
        ]
    ]
    def __new__(
        cls,
        filter: str,
        never: str | None,
        passes: Sequence[str],
        stayed: Sequence[Stayed],
        flushes: int,
        not_in_kernel: str | None,
        text: str,
    ) -> Self: ...
    @property
    def filter(self) -> str:
        """The filter."""
    @property
    def never(self) -> str | None:
        """Why the filter can match no entry at all, if that can be seen from it."""
    @property
    def passes(self) -> list[str]:
        """What the kernel is asked to filter by in each of its dumps."""
    @property
    def stayed(self) -> list[Stayed]:
        """What is matched here only, and why."""
    @property
    def flushes(self) -> int:
        """How many flushes a delete in the kernel would send."""
    @property
    def not_in_kernel(self) -> str | None:
        """Why the kernel cannot delete by this filter itself, if it cannot."""
    @property
    def text(self) -> str:
        """The plan as lines of text, which ``str()`` returns."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, _memo: object) -> Self: ...

@final
class Capabilities:
    """What the running kernel can be trusted with. ``str()`` is one screen for people."""

    def json(self) -> str:
        """Return the capabilities as JSON text, for another process of the same boot.

        ``ValueError`` if the boot is not known (no ``/proc``).
        """
    @staticmethod
    def from_json(text: str) -> Capabilities:
        """Read what ``json()`` has made."""
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
    def status_filter(self) -> bool:
        """Dumps understand a filter on the status (Linux 5.15)."""
    @property
    def zone_filter(self) -> bool:
        """Dumps understand a filter on the zone (Linux 6.8)."""
    @property
    def untested(self) -> str | None:
        """Why the criteria could not be tried out, if they could not."""
    @property
    def accounting(self) -> bool | None:
        """New entries count packets and bytes; ``None`` = cannot be read."""
    @property
    def timestamps(self) -> bool | None:
        """New entries get timestamps; ``None`` = cannot be read."""
    @property
    def events(self) -> int | None:
        """``nf_conntrack_events``: 0 never, 1 always, 2 only entries made while somebody listens."""
    @property
    def marks(self) -> bool | None:
        """Entries carry marks; ``None`` = could not be tried out."""
    @property
    def zones(self) -> bool | None:
        """Entries can be in zones; ``None`` = could not be tried out."""
    @property
    def labels(self) -> bool | None:
        """Entries can have labels once a rule of the namespace uses labels."""
    @property
    def expectations(self) -> bool:
        """Expectations can be listed."""
    @property
    def timeout_policies(self) -> bool:
        """Timeout policies are available."""
    @property
    def trust(self) -> dict[str, tuple[Trust, Trust]]:
        """For each criterion, trust in dumps and in flushes.

        ``proved``, ``assumed`` (not tried out, but harmless), ``WRONG`` (selects the wrong entries),
        ``refused``, ``untested`` or ``distrusted``.
        """
    @property
    def entries(self) -> int:
        """Entries of the namespace."""
    @property
    def limit(self) -> int:
        """Entries the kernel allows (``nf_conntrack_max``); 0 means unlimited."""
    def distrust(self, criterion: str) -> Capabilities:
        """Return a copy without trust in a criterion, by its name in ``trust``."""
    def distrust_flushes(self) -> Capabilities:
        """Return a copy without trust in any filtered flush, as on kernels before 6.12."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, _memo: object) -> Self: ...

@final
class CpuStats:
    """Statistics of one CPU in one namespace. Counters that the kernel does not send are ``None``."""

    __match_args__: ClassVar[
        tuple[
            Literal["cpu"],
            Literal["found"],
            Literal["invalid"],
            Literal["insert"],
            Literal["insert_failed"],
            Literal["drop"],
            Literal["early_drop"],
            Literal["error"],
            Literal["search_restart"],
            Literal["clash_resolve"],
            Literal["chain_toolong"],
        ]
    ]
    def __new__(
        cls,
        cpu: int,
        found: int | None,
        invalid: int | None,
        insert: int | None,
        insert_failed: int | None,
        drop: int | None,
        early_drop: int | None,
        error: int | None,
        search_restart: int | None,
        clash_resolve: int | None,
        chain_toolong: int | None,
    ) -> Self: ...
    @property
    def cpu(self) -> int:
        """Number of the CPU."""
    @property
    def found(self) -> int | None:
        """NAT lookups that found their tuple already in use."""
    @property
    def invalid(self) -> int | None:
        """Packets that could not be tracked."""
    @property
    def insert(self) -> int | None:
        """Entries inserted over netlink or BPF, not by packets."""
    @property
    def insert_failed(self) -> int | None:
        """Insertions that failed because another entry was inserted first."""
    @property
    def drop(self) -> int | None:
        """Packets dropped because no entry could be made."""
    @property
    def early_drop(self) -> int | None:
        """Entries dropped early to make room."""
    @property
    def error(self) -> int | None:
        """ICMP errors that could not be tracked."""
    @property
    def search_restart(self) -> int | None:
        """Lookups restarted because the table was being resized."""
    @property
    def clash_resolve(self) -> int | None:
        """Clashes resolved. Linux 5.10."""
    @property
    def chain_toolong(self) -> int | None:
        """Insertions refused because the hash chain was too long. Linux 5.15."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, _memo: object) -> Self: ...

@final
class ExpectStats:
    """Statistics of expectations on one CPU."""

    __match_args__: ClassVar[
        tuple[Literal["cpu"], Literal["new"], Literal["create"], Literal["delete"]]
    ]
    def __new__(cls, cpu: int, new: int | None, create: int | None, delete: int | None) -> Self: ...
    @property
    def cpu(self) -> int:
        """Number of the CPU."""
    @property
    def new(self) -> int | None:
        """Connections that fulfilled an expectation."""
    @property
    def create(self) -> int | None:
        """Expectations inserted, by helpers and over netlink."""
    @property
    def delete(self) -> int | None:
        """Expectations deleted."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, _memo: object) -> Self: ...

@final
class ExpectNat:
    """NAT of an expected connection."""

    __match_args__: ClassVar[tuple[Literal["reply_direction"], Literal["to"]]]
    def __new__(cls, reply_direction: bool, to: Tuple) -> Self: ...
    @property
    def reply_direction(self) -> bool:
        """The NAT applies to the reply direction."""
    @property
    def to(self) -> Tuple:
        """The target of the NAT. The kernel keeps only the source address and port of this tuple."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, _memo: object) -> Self: ...

@final
class Expectation:
    """An expectation in the kernel: a connection that a helper has announced."""

    __match_args__: ClassVar[
        tuple[
            Literal["master"],
            Literal["tuple"],
            Literal["mask"],
            Literal["timeout"],
            Literal["id"],
            Literal["helper"],
            Literal["flags"],
            Literal["class_"],
            Literal["nat"],
            Literal["function"],
        ]
    ]
    def __new__(
        cls,
        master: Tuple,
        tuple: Tuple,
        mask: Tuple,
        timeout: int | None,
        id: int | None,
        helper: str | None,
        flags: _AnyExpectFlags,
        class_: int,
        nat: ExpectNat | None,
        function: str | None,
    ) -> Self: ...
    @property
    def master(self) -> Tuple:
        """Original tuple of the entry it belongs to."""
    @property
    def tuple(self) -> Tuple:
        """The expected tuple."""
    @property
    def mask(self) -> Tuple:
        """Which bits of the expected tuple are compared."""
    @property
    def timeout(self) -> int | None:
        """Seconds left."""
    @property
    def id(self) -> int | None:
        """Opaque id."""
    @property
    def helper(self) -> str | None:
        """Name of the helper."""
    @property
    def flags(self) -> ExpectFlags:
        """Flags."""
    @property
    def class_(self) -> int:
        """Class, as numbered by the helper."""
    @property
    def nat(self) -> ExpectNat | None:
        """NAT of the expected connection."""
    @property
    def function(self) -> str | None:
        """Kernel function that is called when the expected connection appears."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, _memo: object) -> Self: ...

@final
class NewExpectation:
    """An expectation to be created. Its master must have a helper.

    ``master`` is the original tuple of the entry it belongs to; the expectation is for ``tuple`` under
    ``mask``. ``timeout`` counts in an update only, a creation follows the helper's policy. ``helper``
    is what the expected connection gets, ``function`` the kernel function to be called then. The
    kernel drops the flag ``USERSPACE``. ``class_`` is numbered by the helper. ``nat`` has the
    direction and the tuple whose source is used. ``zone`` is that of the master.
    """

    def __new__(
        cls,
        master: Tuple,
        tuple: Tuple,
        mask: Tuple,
        *,
        timeout: Seconds | None = None,
        helper: str | None = None,
        function: str | None = None,
        flags: _AnyExpectFlags | None = None,
        class_: int | None = None,
        nat: ExpectNat | None = None,
        zone: int | None = None,
    ) -> Self: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, _memo: object) -> Self: ...

@final
class Timeouts:
    """Timeouts of one protocol by state, in seconds.

    ``Timeouts("udp", {"REPLIED": 60})``. The states have the kernel's names; one that is not set keeps
    its default. Protocol 255 is the generic one. Part of a second is rounded up. An unknown state is a
    ``ValueError`` that lists those the protocol has.
    """

    def __new__(
        cls, protocol: _AnyProtocol, seconds: Mapping[str, Seconds] | None = None
    ) -> Self: ...
    @property
    def protocol(self) -> str:
        """The protocol whose states these are."""
    def set(self, state: str, seconds: Seconds) -> Timeouts:
        """Return a copy with another timeout of one state."""
    def get(self, state: str) -> int | None:
        """Return the seconds of one state; ``None`` if they are not known."""
    def items(self) -> list[tuple[str, int]]:
        """Return every state whose timeout is set, with its seconds."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, _memo: object) -> Self: ...

@final
class TimeoutPolicy:
    """A named set of timeouts, which rules attach to connections (``ct timeout`` of nftables)."""

    __match_args__: ClassVar[
        tuple[Literal["name"], Literal["family"], Literal["timeouts"], Literal["users"]]
    ]
    def __new__(
        cls, name: str, family: AnyFamily | None, timeouts: Timeouts, users: int | None = None
    ) -> Self: ...
    @property
    def name(self) -> str:
        """Name, 31 bytes at most."""
    @property
    def family(self) -> Family | None:
        """Layer 3 protocol. ``None`` is one other than IPv4 and IPv6, which no entry is of."""
    @property
    def timeouts(self) -> Timeouts:
        """The timeouts, and with them the layer 4 protocol."""
    @property
    def users(self) -> int | None:
        """How many rules use the policy; known only of one that was read from the kernel."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, _memo: object) -> Self: ...

@final
class Failure:
    """Deletes that failed for the same reason."""

    __match_args__: ClassVar[tuple[Literal["error"], Literal["count"]]]
    def __new__(cls, error: BaseException, count: int) -> Self: ...
    @property
    def error(self) -> BaseException:
        """The reason: the first error of its kind."""
    @property
    def count(self) -> int:
        """How many deletes failed for this reason."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, _memo: object) -> Self: ...

@final
class DeleteReport:
    """What a delete by filter did. ``str()`` of it is for people."""

    __match_args__: ClassVar[
        tuple[
            Literal["filter"],
            Literal["dry_run"],
            Literal["pushdown"],
            Literal["received"],
            Literal["matched"],
            Literal["deleted"],
            Literal["already_gone"],
            Literal["unknown"],
            Literal["failed"],
            Literal["failures"],
            Literal["error"],
            Literal["elapsed"],
            Literal["succeeded"],
            Literal["text"],
        ]
    ]
    def __new__(
        cls,
        filter: str,
        dry_run: bool,
        pushdown: str,
        received: int,
        matched: int,
        deleted: int,
        already_gone: int,
        unknown: int,
        failed: int,
        failures: Sequence[Failure],
        error: BaseException | None,
        elapsed: float,
        succeeded: bool,
        text: str,
    ) -> Self: ...
    @property
    def filter(self) -> str:
        """The filter."""
    @property
    def dry_run(self) -> bool:
        """Nothing was deleted; ``matched`` says what would have been."""
    @property
    def pushdown(self) -> str:
        """What the kernel filtered by, in the words of the filter; empty if it filtered nothing."""
    @property
    def received(self) -> int:
        """Entries that the kernel sent, matching or not."""
    @property
    def matched(self) -> int:
        """Entries that matched: ``deleted + already_gone + unknown + failed``, unless it is a dry run."""
    @property
    def deleted(self) -> int:
        """Deleted."""
    @property
    def already_gone(self) -> int:
        """Gone, or replaced by an entry with another reply tuple, before the delete arrived."""
    @property
    def unknown(self) -> int:
        """The answer was lost, and asking again gave none either."""
    @property
    def failed(self) -> int:
        """Deletes that did not succeed."""
    @property
    def failures(self) -> list[Failure]:
        """Why deletes failed: the first few different reasons."""
    @property
    def error(self) -> BaseException | None:
        """The error that ended the walk early. Entries that matched before it were dealt with."""
    @property
    def elapsed(self) -> float:
        """Wall time in seconds."""
    @property
    def succeeded(self) -> bool:
        """The walk reached its end, no delete failed, and each outcome is known."""
    @property
    def text(self) -> str:
        """The report as lines of text, which ``str()`` returns."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, _memo: object) -> Self: ...

@final
class Deletions:
    """The result of ``delete_many``."""

    __match_args__: ClassVar[
        tuple[
            Literal["deleted"],
            Literal["already_gone"],
            Literal["unknown"],
            Literal["failed"],
            Literal["failures"],
            Literal["failed_at"],
        ]
    ]
    def __new__(
        cls,
        deleted: int,
        already_gone: int,
        unknown: int,
        failed: int,
        failures: Sequence[Failure],
        failed_at: Sequence[int],
    ) -> Self: ...
    @property
    def deleted(self) -> int:
        """Deleted."""
    @property
    def already_gone(self) -> int:
        """Gone, or replaced by an entry with another reply tuple, before the delete arrived."""
    @property
    def unknown(self) -> int:
        """The answer was lost, and asking again gave none either."""
    @property
    def failed(self) -> int:
        """Deletes that did not succeed."""
    @property
    def failures(self) -> list[Failure]:
        """Why deletes failed: the first few different reasons."""
    @property
    def failed_at(self) -> list[int]:
        """Positions of the flows whose deletes failed, in ascending order."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, _memo: object) -> Self: ...

@final
class Zeroed:
    """What ``zero`` has zeroed."""

    __match_args__: ClassVar[tuple[Literal["count"], Literal["flows"], Literal["error"]]]
    def __new__(cls, count: int, flows: Sequence[Flow], error: BaseException | None) -> Self: ...
    @property
    def count(self) -> int:
        """How many entries were zeroed."""
    @property
    def flows(self) -> list[Flow]:
        """The entries as they were before; empty if they were handed to ``on_match``."""
    @property
    def error(self) -> BaseException | None:
        """The error that ended it early. What was zeroed until then is in ``flows``."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, _memo: object) -> Self: ...

@final
class Frontend:
    """Address, port and protocol that a client dials."""

    __match_args__: ClassVar[tuple[Literal["address"], Literal["port"], Literal["protocol"]]]
    def __new__(cls, address: AnyAddress, port: int, protocol: _AnyProtocol) -> Self: ...
    @property
    def address(self) -> Address:
        """The address. An IPv4-mapped IPv6 address is IPv4."""
    @property
    def port(self) -> int:
        """The port."""
    @property
    def protocol(self) -> str:
        """Name of the protocol (``udp``), or its number in digits."""
    @property
    def family(self) -> Family:
        """Family of the address."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, _memo: object) -> Self: ...

@final
class Endpoint:
    """An address and port that a frontend's traffic may go to, and whether it serves."""

    __match_args__: ClassVar[
        tuple[Literal["address"], Literal["serving"], Literal["ready"], Literal["local"]]
    ]
    def __new__(
        cls,
        address: _AnySocket,
        serving: bool | None = None,
        ready: bool | None = None,
        local: bool | None = None,
    ) -> Self: ...
    @property
    def address(self) -> _Socket:
        """``(address, port)``."""
    @property
    def serving(self) -> bool | None:
        """Kubernetes' ``conditions.serving``; ``None`` = not stated.

        What that means depends on the profile: ``strict`` then uses ``ready``, ``kube-proxy`` takes
        it as true.
        """
    @property
    def ready(self) -> bool | None:
        """Kubernetes' ``conditions.ready``; ``None`` = not stated, which means true."""
    @property
    def local(self) -> bool | None:
        """Whether it is on this node; ``None`` = not known."""
    @property
    def serves(self) -> bool:
        """Whether it serves, as ``strict`` reads it: ``serving``, else ``ready``, else true."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, _memo: object) -> Self: ...

@final
class ServiceKey:
    """Identity of a service port: what kube-proxy calls ``ServicePortName``."""

    __match_args__: ClassVar[
        tuple[Literal["namespace"], Literal["name"], Literal["port_name"], Literal["protocol"]]
    ]
    def __new__(cls, namespace: str, name: str, port_name: str, protocol: _AnyProtocol) -> Self: ...
    @property
    def namespace(self) -> str:
        """Namespace of the service."""
    @property
    def name(self) -> str:
        """Name of the service."""
    @property
    def port_name(self) -> str:
        """Name of the port; empty for an unnamed one."""
    @property
    def protocol(self) -> str:
        """Protocol of the port."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, _memo: object) -> Self: ...

@final
class ServicePort:
    """One port of one service, with every address it can be reached at and its endpoints.

    The service exists in the families of its cluster IPs only; addresses and endpoints of another
    family are left out of a desired state, with a note.
    """

    __match_args__: ClassVar[
        tuple[
            Literal["key"],
            Literal["port"],
            Literal["node_port"],
            Literal["cluster_ips"],
            Literal["load_balancer_ips"],
            Literal["external_ips"],
            Literal["endpoints"],
            Literal["local_traffic"],
        ]
    ]
    def __new__(
        cls,
        key: ServiceKey,
        port: int,
        node_port: int | None = None,
        cluster_ips: Sequence[AnyAddress] = ...,
        load_balancer_ips: Sequence[AnyAddress] = ...,
        external_ips: Sequence[AnyAddress] = ...,
        endpoints: Sequence[Endpoint] = ...,
        local_traffic: bool = False,
    ) -> Self: ...
    @property
    def key(self) -> ServiceKey:
        """Identity."""
    @property
    def port(self) -> int:
        """Port at the cluster, external and load-balancer addresses."""
    @property
    def node_port(self) -> int | None:
        """Port at the node addresses."""
    @property
    def cluster_ips(self) -> list[Address]:
        """Cluster IPs; at least one."""
    @property
    def load_balancer_ips(self) -> list[Address]:
        """Load-balancer IPs (in VIP mode)."""
    @property
    def external_ips(self) -> list[Address]:
        """External IPs."""
    @property
    def endpoints(self) -> list[Endpoint]:
        """Endpoints, serving or not."""
    @property
    def local_traffic(self) -> bool:
        """A traffic policy of the service is ``Local``.

        Then the rules of a node translate only while one of its own endpoints serves.
        """
    @property
    def frontends(self) -> list[Frontend]:
        """The frontends at the service's own addresses. Node ports are not among them."""
    def exists_in(self, family: AnyFamily) -> bool:
        """Return whether the service exists in this family, that is, has a cluster IP of this family."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, _memo: object) -> Self: ...

@final
class Unknown:
    """A Service whose frontends are not judged.

    It belongs to another proxy, or is not completely known.
    """

    __match_args__: ClassVar[
        tuple[Literal["namespace"], Literal["name"], Literal["services"], Literal["unreadable"]]
    ]
    def __new__(
        cls,
        namespace: str,
        name: str,
        services: Sequence[ServicePort] = ...,
        unreadable: bool = False,
    ) -> Self: ...
    @property
    def namespace(self) -> str:
        """Namespace of the Service."""
    @property
    def name(self) -> str:
        """Name of the Service."""
    @property
    def services(self) -> list[ServicePort]:
        """The part of it that can be read. Only the frontends count, not the endpoints."""
    @property
    def unreadable(self) -> bool:
        """Whether it, or a slice of it, could not be read. If false, it belongs to another proxy."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, _memo: object) -> Self: ...

@final
class DesiredState:
    """The desired state: frontends, and the backends that serve them."""

    @staticmethod
    def from_kubernetes(
        source: str | bytes | PathLike[str] | _Readable,
        *,
        node_addresses: Sequence[AnyAddress] = (),
        node_port_addresses: Sequence[AnyAddress] | None = None,
        node_name: str | None = None,
        extra_backends: Mapping[_AnyFrontend, Addresses] | None = None,
        no_endpoints_ok: bool = False,
        no_services_ok: bool = False,
        age: Seconds | None = None,
    ) -> DesiredState:
        """Make it from ``kubectl get services,endpointslices -A -o json``.

        ``str`` and ``bytes`` are the JSON itself; a path-like object or a file object is a file. A
        service that cannot be read is named in ``notes`` and not judged. Half a picture is a
        ``ValueError``: usable services without any EndpointSlice, unless ``no_endpoints_ok``; no service
        at all, or EndpointSlices without their services, unless ``no_services_ok``; the first page of a
        list.

        ``node_addresses`` are all addresses of this node: without them ``strict`` judges no node ports,
        and cannot spare a host service at an external IP that is the node's own.
        ``node_port_addresses`` are those at which node ports are answered, if not all of them.
        ``node_name`` tells which endpoints are on this node. ``extra_backends`` are valid backends that
        no service lists, by frontend: ``{("udp", "10.96.0.10", 53): "169.254.20.10"}``. ``age`` is how
        many seconds ago the objects were fetched, for observers.
        """
    @staticmethod
    def from_frontends(
        frontends: Mapping[_AnyFrontend, Iterable[_Backend]],
        *,
        node_addresses: Sequence[AnyAddress] = (),
        extra_backends: Mapping[_AnyFrontend, Addresses] | None = None,
        age: Seconds | None = None,
    ) -> DesiredState:
        """Make it without Kubernetes: ``{("udp", "10.96.0.10", 53): [("10.244.1.5", 53)]}``.

        List all backends of each frontend; an empty list means that nothing serves it. A frontend is a
        ``Frontend`` or a tuple as above. A backend is an ``Endpoint``, or ``(address, port)``, or
        ``(address, port, serving)``: if it does not serve, it is not a valid backend, but its flows can
        be in a grace time. ``age`` is how many seconds old this knowledge is, for observers.
        """
    @staticmethod
    def from_services(
        services: Iterable[ServicePort],
        *,
        unknown: Sequence[Unknown] = (),
        node_addresses: Sequence[AnyAddress] = (),
        node_port_addresses: Sequence[AnyAddress] | None = None,
        extra_backends: Mapping[_AnyFrontend, Addresses] | None = None,
        notes: Sequence[str] = (),
        made_from_services: int | None = None,
        age: Seconds | None = None,
    ) -> DesiredState:
        """Make it of service ports, without the JSON of Kubernetes.

        ``unknown`` are services that are not judged, ``notes`` lines about what was left out.
        ``made_from_services`` is how many Services there were, if some of them have no port in this
        list; it tells a list that has lost its services. The other keywords are those of
        ``from_kubernetes``.
        """
    @staticmethod
    def from_published(
        published: Sequence[
            tuple[str | int, int | range, Sequence[AnyAddress] | None, AnyAddress, int | range]
        ] = (),
        *,
        unpublished: Sequence[
            tuple[str | int, int | range, Sequence[AnyAddress] | None, AnyAddress]
        ] = (),
        node_addresses: Sequence[AnyAddress] = (),
        age: Seconds | None = None,
    ) -> DesiredState:
        """Make it of ports that a container engine publishes, without Kubernetes.

        Each is ``(protocol, host_ports, host_addresses, container, container_ports)``; the ports are a
        number or a ``range`` of as many; ``None`` for the host's addresses is any local one, which takes
        ``node_addresses``. ``unpublished`` are ports that are no longer published, without the
        container's ports: flows that lead to that container are stale. ``age`` is how many seconds old
        this knowledge is, for observers.
        """
    @property
    def services(self) -> list[ServicePort]:
        """Every service port."""
    @property
    def unknown(self) -> list[Unknown]:
        """Services that are not judged."""
    @property
    def notes(self) -> list[str]:
        """What was left out of the input, one line each."""
    @property
    def frontends(self) -> list[Frontend]:
        """Every frontend."""
    @property
    def node_addresses(self) -> list[Address]:
        """The addresses of this node."""
    @property
    def node_port_addresses(self) -> list[Address]:
        """The addresses at which node ports are answered."""
    @property
    def age(self) -> float | None:
        """How many seconds ago this was the state of the cluster; ``None`` if that is not known."""

@final
class Verdict:
    """What is to be done with a flow."""

    __match_args__: ClassVar[tuple[Literal["kind"], Literal["reason"]]]
    def __new__(cls, kind: str, reason: str | None) -> Self: ...
    @property
    def kind(self) -> VerdictKind:
        """``keep``, ``stale``, or ``suspect``: stale unless it is just being made."""
    @property
    def reason(self) -> Reason | None:
        """Why it is stale or suspect."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, _memo: object) -> Self: ...

@final
class Scope:
    """What to look at: the profile, protocols and zones of a reconciliation.

    ``zones`` are numbers or ``"all"``; without them the default zone, or all with the profile
    ``kube-proxy``.
    """

    def __new__(
        cls,
        *,
        profile: _AnyProfile = "strict",
        protocols: Sequence[_AnyProtocol] | None = None,
        zones: _Zones | None = None,
    ) -> Self: ...
    @property
    def profile(self) -> Profile:
        """The profile."""
    @property
    def protocols(self) -> list[str]:
        """The protocols that are looked at."""
    def looks_at(self, zone: int) -> bool:
        """Return whether entries of a zone are looked at."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]

@final
class History:
    """What earlier runs have seen: frontends that have vanished since are judged, too."""

    def __new__(cls) -> Self: ...
    @staticmethod
    def after(desired: DesiredState) -> History:
        """Return the history after a run with this desired state that succeeded."""
    def record(self, desired: DesiredState, succeeded: bool) -> None:
        """Record a run: its desired state, and whether it succeeded. Do not record a dry run."""

@final
class Rules:
    """The rules that decide what is stale, and why. They use no kernel and no clock."""

    def __new__(
        cls, desired: DesiredState, history: History | None = None, scope: Scope | None = None
    ) -> Self: ...
    def verdict(self, flow: Flow) -> Verdict:
        """Return what is to be done with a flow."""
    def filter(self, family: AnyFamily) -> Filter | None:
        """Return a filter that brings every flow of a family that can be stale; ``None`` if none can."""
    @property
    def frontends(self) -> int:
        """How many frontends are judged."""
    @property
    def node_ports_judged(self) -> bool:
        """Whether node ports are judged, which needs the addresses of the node."""

@final
class Reconciler:
    """Removes stale entries repeatedly; the cost of a run follows what has changed.

    The first run looks at everything, and so does a run after a failure. Other runs look only at
    frontends that are new, have vanished, have lost a backend, or have gone from no backend to some.
    Without such a frontend a run sends nothing.

    ``protocols`` are those to look at, UDP alone by default; ``zones`` are numbers or ``"all"``.
    ``authority`` is ``"rules"`` for the one who writes the rules of the node, and ``"observer"`` for one
    who knows the cluster from elsewhere, and may lag. ``recheck`` are the seconds until the second
    look, ``None`` for none; with ``defer_recheck`` a run does not wait for it, and ``due`` says when to
    call again. Runs come at most every ``min_interval`` seconds. Flows of an endpoint that has stopped
    serving are spared for ``grace`` seconds. ``resync`` looks at everything every so many seconds.
    ``previous`` is the desired state of the last run of an earlier process. ``on_progress`` is called
    with a ``Progress``, in the thread that runs it; an exception in it ends the run.
    """

    def __new__(
        cls,
        *,
        profile: _AnyProfile = "strict",
        dry_run: bool = False,
        protocols: Sequence[_AnyProtocol] | None = None,
        zones: _Zones | None = None,
        authority: _AnyAuthority = "rules",
        recheck: Seconds | None = 0.1,
        defer_recheck: bool = False,
        min_interval: Seconds = 0.0,
        grace: Seconds = 0.0,
        resync: Seconds | None = None,
        previous: DesiredState | None = None,
        on_progress: Callable[[Progress], object] | None = None,
    ) -> Self: ...
    def run(self, ct: Conntrack, desired: DesiredState) -> Report:
        """Make the table agree with a desired state; nothing is sent if nothing can be stale.

        What goes wrong after the run has begun is in the report.
        """
    def look_at_everything(self) -> None:
        """Make the next run look at everything, as the first one does."""
    @property
    def canceller(self) -> Canceller:
        """What ends a run, from any thread."""
    def cancel(self) -> None:
        """End the run that is under way, or else the next one; from any thread."""
    @property
    def due(self) -> float | None:
        """Seconds until there is something to do even if the desired state does not change.

        ``None`` if there is nothing. Waits for a run that is under way.
        """

@final
class Progress:
    """The progress of a run."""

    __match_args__: ClassVar[
        tuple[Literal["family"], Literal["pass_"], Literal["received"], Literal["stale"]]
    ]
    def __new__(cls, family: AnyFamily, pass_: int, received: int, stale: int) -> Self: ...
    @property
    def family(self) -> Family:
        """The family that is walked."""
    @property
    def pass_(self) -> int:
        """1 for the first pass of the run, 2 for a re-check in the same run."""
    @property
    def received(self) -> int:
        """Entries that came from the kernel in this family, over all passes."""
    @property
    def stale(self) -> int:
        """Stale entries found in this family, over all passes."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, _memo: object) -> Self: ...

@final
class Reasons:
    """Stale entries by reason."""

    __match_args__: ClassVar[
        tuple[
            Literal["backend_gone"],
            Literal["backend_port_changed"],
            Literal["not_translated"],
            Literal["frontend_removed"],
        ]
    ]
    def __new__(
        cls,
        backend_gone: int,
        backend_port_changed: int,
        not_translated: int,
        frontend_removed: int,
    ) -> Self: ...
    @property
    def backend_gone(self) -> int:
        """The backend does not serve the frontend any more."""
    @property
    def backend_port_changed(self) -> int:
        """The backend's address still serves, but not at this port."""
    @property
    def not_translated(self) -> int:
        """The entry leads to the frontend itself, without a backend."""
    @property
    def frontend_removed(self) -> int:
        """The frontend does not exist any more."""
    @property
    def total(self) -> int:
        """The sum of all."""
    def items(self) -> list[tuple[Reason, int]]:
        """Return each reason with its count."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, _memo: object) -> Self: ...

@final
class Removal:
    """A group of stale entries that differ in the client only."""

    __match_args__: ClassVar[
        tuple[Literal["frontend"], Literal["backend"], Literal["reason"], Literal["count"]]
    ]
    def __new__(cls, frontend: Frontend, backend: _AnySocket, reason: str, count: int) -> Self: ...
    @property
    def frontend(self) -> Frontend:
        """The frontend that clients dialled."""
    @property
    def backend(self) -> _Socket:
        """The backend that answered, as ``(address, port)``."""
    @property
    def reason(self) -> Reason:
        """Why they are stale."""
    @property
    def count(self) -> int:
        """How many."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, _memo: object) -> Self: ...

@final
class ComesBack:
    """Entries that come back after they were deleted: something else translates, or keeps sending."""

    __match_args__: ClassVar[
        tuple[Literal["frontend"], Literal["backend"], Literal["looks"], Literal["given_up"]]
    ]
    def __new__(
        cls, frontend: Frontend, backend: _AnySocket, looks: int, given_up: bool
    ) -> Self: ...
    @property
    def frontend(self) -> Frontend:
        """The frontend that clients dial."""
    @property
    def backend(self) -> _Socket:
        """The backend that answers, as ``(address, port)``."""
    @property
    def looks(self) -> int:
        """In how many looks in a row such entries were found again."""
    @property
    def given_up(self) -> bool:
        """They are left alone from now on."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, _memo: object) -> Self: ...

@final
class FamilyReport:
    """One family's part of a report."""

    __match_args__: ClassVar[
        tuple[
            Literal["family"],
            Literal["received"],
            Literal["stale"],
            Literal["other_zones"],
            Literal["suspect"],
            Literal["quarantined"],
            Literal["given_up"],
            Literal["deleted"],
            Literal["already_gone"],
            Literal["unknown"],
            Literal["failed"],
            Literal["failures"],
            Literal["passes"],
            Literal["pushdown"],
            Literal["reasons"],
            Literal["removals"],
            Literal["error"],
        ]
    ]
    def __new__(
        cls,
        family: AnyFamily,
        received: int,
        stale: int,
        other_zones: int,
        suspect: int,
        quarantined: int,
        given_up: int,
        deleted: int,
        already_gone: int,
        unknown: int,
        failed: int,
        failures: Sequence[Failure],
        passes: int,
        pushdown: str,
        reasons: Reasons,
        removals: Sequence[Removal],
        error: BaseException | None,
    ) -> Self: ...
    @property
    def family(self) -> Family:
        """The family."""
    @property
    def received(self) -> int:
        """Entries that the kernel sent, over all passes."""
    @property
    def stale(self) -> int:
        """Stale entries: ``deleted + already_gone + unknown + failed``, unless it is a dry run."""
    @property
    def other_zones(self) -> int:
        """Entries in zones that are not looked at."""
    @property
    def suspect(self) -> int:
        """Entries that look stale, but may be in the middle of being made; the next pass tells."""
    @property
    def quarantined(self) -> int:
        """Entries that an observer may not delete yet."""
    @property
    def given_up(self) -> int:
        """Stale entries that come back again and again, and are left alone."""
    @property
    def deleted(self) -> int:
        """Deleted."""
    @property
    def already_gone(self) -> int:
        """Gone, or replaced by an entry with another reply tuple, before the delete arrived."""
    @property
    def unknown(self) -> int:
        """The answer was lost, and asking again gave none either."""
    @property
    def failed(self) -> int:
        """Deletes that did not succeed."""
    @property
    def failures(self) -> list[Failure]:
        """Why deletes failed: the first few different reasons."""
    @property
    def passes(self) -> int:
        """Passes over the table; 0 if nothing had to be looked at."""
    @property
    def pushdown(self) -> str:
        """What the kernel filtered by in the first pass."""
    @property
    def reasons(self) -> Reasons:
        """Stale entries by reason."""
    @property
    def removals(self) -> list[Removal]:
        """The largest groups of stale entries."""
    @property
    def error(self) -> BaseException | None:
        """The error that ended a pass early. Entries that were judged before it were dealt with."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, _memo: object) -> Self: ...

@final
class Report:
    """What a reconciliation found and did. ``str()`` of it is for people."""

    __match_args__: ClassVar[
        tuple[
            Literal["profile"],
            Literal["dry_run"],
            Literal["nothing_changed"],
            Literal["postponed"],
            Literal["in_grace"],
            Literal["node_ports_judged"],
            Literal["unknown_services"],
            Literal["in_quarantine"],
            Literal["comes_back"],
            Literal["families"],
            Literal["elapsed"],
            Literal["succeeded"],
            Literal["text"],
        ]
    ]
    def __new__(
        cls,
        profile: _AnyProfile,
        dry_run: bool,
        nothing_changed: bool,
        postponed: bool,
        in_grace: int,
        node_ports_judged: bool,
        unknown_services: int,
        in_quarantine: int,
        comes_back: Sequence[ComesBack],
        families: tuple[FamilyReport, FamilyReport],
        elapsed: float,
        succeeded: bool,
        text: str,
    ) -> Self: ...
    @property
    def profile(self) -> Profile:
        """The profile."""
    @property
    def dry_run(self) -> bool:
        """Nothing was deleted."""
    @property
    def nothing_changed(self) -> bool:
        """Nothing could be stale, so nothing was sent."""
    @property
    def postponed(self) -> bool:
        """The run came before ``min_interval`` was over; ``Reconciler.due`` says when to call again."""
    @property
    def in_grace(self) -> int:
        """Endpoints whose flows are spared for now, because they stopped serving a moment ago."""
    @property
    def node_ports_judged(self) -> bool:
        """Whether node ports were judged, which needs the addresses of the node."""
    @property
    def unknown_services(self) -> int:
        """Services that are not judged."""
    @property
    def in_quarantine(self) -> int:
        """Frontends whose entries an observer may not delete yet."""
    @property
    def comes_back(self) -> list[ComesBack]:
        """Entries that come back after they were deleted."""
    @property
    def families(self) -> tuple[FamilyReport, FamilyReport]:
        """One part for each family, IPv4 first."""
    @property
    def elapsed(self) -> float:
        """Wall time in seconds."""
    @property
    def succeeded(self) -> bool:
        """Every pass reached its end, no delete failed, and each outcome is known."""
    @property
    def text(self) -> str:
        """The report as lines of text, which ``str()`` returns."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, _memo: object) -> Self: ...

@final
class Statistics:
    """Sums of a namespace's counters over all CPUs, in 64 bits.

    A counter that the kernel does not send is ``None``.
    """

    __match_args__: ClassVar[
        tuple[
            Literal["found"],
            Literal["invalid"],
            Literal["insert"],
            Literal["insert_failed"],
            Literal["drop"],
            Literal["early_drop"],
            Literal["error"],
            Literal["search_restart"],
            Literal["clash_resolve"],
            Literal["chain_toolong"],
        ]
    ]
    def __new__(
        cls,
        found: int | None = None,
        invalid: int | None = None,
        insert: int | None = None,
        insert_failed: int | None = None,
        drop: int | None = None,
        early_drop: int | None = None,
        error: int | None = None,
        search_restart: int | None = None,
        clash_resolve: int | None = None,
        chain_toolong: int | None = None,
    ) -> Self: ...
    @property
    def found(self) -> int | None:
        """NAT: tuples that were wanted and taken, so that the next one was tried."""
    @property
    def invalid(self) -> int | None:
        """Packets that could not be tracked."""
    @property
    def insert(self) -> int | None:
        """Entries inserted over netlink or BPF."""
    @property
    def insert_failed(self) -> int | None:
        """Entries of packets that could not be inserted: clashes and chains that were too long."""
    @property
    def drop(self) -> int | None:
        """Packets dropped: no entry could be made, or a clash was lost."""
    @property
    def early_drop(self) -> int | None:
        """*Entries* evicted because the table was full: connections that nobody had assured."""
    @property
    def error(self) -> int | None:
        """ICMP errors of no known connection."""
    @property
    def search_restart(self) -> int | None:
        """Lookups that were restarted, which is harmless."""
    @property
    def clash_resolve(self) -> int | None:
        """Clashes that were resolved: no packet was lost. Linux 5.10."""
    @property
    def chain_toolong(self) -> int | None:
        """Entries refused because the hash chain was too long. Linux 5.15."""
    def losses(self) -> Losses:
        """Return the packets lost, by reason, of one CPU.

        ``Delta.losses`` and ``Accumulator.losses()`` add up those of all.
        """
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __reduce__(self) -> tuple[object, ...]: ...
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, memo: object, /) -> Self: ...

@final
class Losses:
    """Packets that conntrack lost, by reason.

    The kernel counts a lost clash in ``drop`` and in ``insert_failed``; it is counted once here.
    """

    __match_args__: ClassVar[tuple[Literal["full"], Literal["clash"], Literal["chain"]]]
    def __new__(cls, full: int, clash: int, chain: int) -> Self: ...
    @property
    def full(self) -> int:
        """The table was full, or there was no memory."""
    @property
    def clash(self) -> int:
        """Two packets wanted the same tuple at the same time (source NAT), and this one lost."""
    @property
    def chain(self) -> int:
        """The hash chain was too long, in a table that need not be full."""
    @property
    def total(self) -> int:
        """All of them."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __reduce__(self) -> tuple[object, ...]: ...
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, memo: object, /) -> Self: ...

@final
class CpuDelta:
    """What was counted on one CPU between two samples."""

    __match_args__: ClassVar[tuple[Literal["cpu"], Literal["statistics"]]]
    def __new__(cls, cpu: int, statistics: Statistics) -> Self: ...
    @property
    def cpu(self) -> int:
        """Number of the CPU."""
    @property
    def statistics(self) -> Statistics:
        """What was counted."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __reduce__(self) -> tuple[object, ...]: ...
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, memo: object, /) -> Self: ...

@final
class Delta:
    """What was counted between two samples."""

    __match_args__: ClassVar[
        tuple[Literal["elapsed"], Literal["statistics"], Literal["losses"], Literal["cpus"]]
    ]
    def __new__(
        cls, elapsed: float, statistics: Statistics, losses: Losses, cpus: list[CpuDelta]
    ) -> Self: ...
    @property
    def elapsed(self) -> float:
        """Seconds between the samples."""
    @property
    def statistics(self) -> Statistics:
        """Sums over all CPUs."""
    @property
    def losses(self) -> Losses:
        """Packets lost, of all CPUs."""
    @property
    def cpus(self) -> list[CpuDelta]:
        """What each CPU counted."""
    def per_second(self, count: int) -> float:
        """Return a count per second; 0 if no time has passed."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __reduce__(self) -> tuple[object, ...]: ...
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, memo: object, /) -> Self: ...

@final
class Growth:
    """How fast the table grows, and how sure that is."""

    __match_args__: ClassVar[tuple[Literal["per_second"], Literal["error"], Literal["significant"]]]
    def __new__(cls, per_second: float, error: float | None, significant: bool) -> Self: ...
    @property
    def per_second(self) -> float:
        """Entries a second more (or fewer)."""
    @property
    def error(self) -> float | None:
        """Standard error of that; ``None`` if it is not known how many entries come and go."""
    @property
    def significant(self) -> bool:
        """Whether it is more than chance."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __reduce__(self) -> tuple[object, ...]: ...
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, memo: object, /) -> Self: ...

@final
class Pressure:
    """How full a namespace's table is."""

    __match_args__: ClassVar[
        tuple[
            Literal["entries"],
            Literal["limit"],
            Literal["buckets"],
            Literal["evictable"],
            Literal["growth"],
        ]
    ]
    def __new__(
        cls,
        entries: int,
        limit: int | None = None,
        buckets: int | None = None,
        evictable: int | None = None,
        growth: Growth | None = None,
    ) -> Self: ...
    @property
    def entries(self) -> int:
        """Entries of the namespace, as the kernel counts them."""
    @property
    def limit(self) -> int | None:
        """How many it may have; 0 if there is no limit, ``None`` if it is not known."""
    @property
    def buckets(self) -> int | None:
        """Buckets of the hash table, which all namespaces share."""
    @property
    def evictable(self) -> int | None:
        """Entries without ``ASSURED``. Only those are evicted when the table is full."""
    @property
    def growth(self) -> Growth | None:
        """How fast the number grows."""
    def usage(self) -> float:
        """Return which part of the limit is used, from 0 to 1; 0 without a limit."""
    def headroom(self) -> int | None:
        """Return how many more entries fit; ``None`` without a limit."""
    def level(self, thresholds: Thresholds | None = None) -> Level:
        """Return how bad the usage is."""
    def time_to_full(self) -> float | None:
        """Return in how many seconds the table is full; ``None`` if the growth is not more than chance."""
    def loss_when_full(self) -> float | None:
        """Return which part of new connections is lost when the table is full, from 0 to 1.

        The kernel searches 8 buckets for an entry without ``ASSURED`` to evict; with U of those and B
        buckets it finds none with a probability of exp(-16 U / B). ``None`` if U or B is not known.
        """
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __reduce__(self) -> tuple[object, ...]: ...
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, memo: object, /) -> Self: ...

@final
class Share:
    """A part of the table, and the least number of entries that it has to be."""

    __match_args__: ClassVar[tuple[Literal["part"], Literal["entries"]]]
    def __new__(cls, part: float, entries: int) -> Self: ...
    @property
    def part(self) -> float:
        """From 0 to 1."""
    @property
    def entries(self) -> int:
        """Entries."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __reduce__(self) -> tuple[object, ...]: ...
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, memo: object, /) -> Self: ...

@final
class Group:
    """Entries of one family, protocol and state."""

    __match_args__: ClassVar[
        tuple[Literal["family"], Literal["protocol"], Literal["state"], Literal["entries"]]
    ]
    def __new__(cls, family: AnyFamily, protocol: str, state: str, entries: int) -> Self: ...
    @property
    def family(self) -> Family:
        """Family."""
    @property
    def protocol(self) -> str:
        """Protocol."""
    @property
    def state(self) -> str:
        """The state of TCP and SCTP by the kernel's name.

        Of other protocols it is ``unreplied``, ``replied`` or ``assured``.
        """
    @property
    def entries(self) -> int:
        """Entries."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __reduce__(self) -> tuple[object, ...]: ...
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, memo: object, /) -> Self: ...

@final
class Churn:
    """Connections that come and go, read off the remaining timeouts. ``None`` where those do not tell."""

    __match_args__: ClassVar[tuple[Literal["udp"], Literal["tcp_closed"], Literal["dns"]]]
    def __new__(cls, udp: float | None, tcp_closed: float | None, dns: float | None) -> Self: ...
    @property
    def udp(self) -> float | None:
        """New UDP flows a second."""
    @property
    def tcp_closed(self) -> float | None:
        """TCP connections closed a second."""
    @property
    def dns(self) -> float | None:
        """Of the UDP flows, those to port 53."""
    def new_per_second(self) -> float | None:
        """Return connections a second, of all kinds that are known; ``None`` if none is."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __reduce__(self) -> tuple[object, ...]: ...
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, memo: object, /) -> Self: ...

@final
class Unreplied:
    """Entries without an answer, outside the TCP handshake, by what they are."""

    __match_args__: ClassVar[tuple[Literal["entries"], Literal["tunnel"], Literal["one_way"]]]
    def __new__(cls, entries: int, tunnel: int, one_way: int) -> Self: ...
    @property
    def entries(self) -> int:
        """All of them."""
    @property
    def tunnel(self) -> int:
        """UDP to port 4789 or 8472: VXLAN."""
    @property
    def one_way(self) -> int:
        """UDP to port 514 or 8125: syslog and statsd, which never answer."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __reduce__(self) -> tuple[object, ...]: ...
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, memo: object, /) -> Self: ...

@final
class TopRow:
    """One of those with the most entries."""

    __match_args__: ClassVar[
        tuple[
            Literal["address"],
            Literal["port"],
            Literal["protocol"],
            Literal["name"],
            Literal["at_least"],
            Literal["at_most"],
            Literal["new_per_second"],
        ]
    ]
    def __new__(
        cls,
        address: AnyAddress,
        port: int | None,
        protocol: str | None,
        name: str | None,
        at_least: int,
        at_most: int,
        new_per_second: float | None,
    ) -> Self: ...
    @property
    def address(self) -> Address:
        """The address."""
    @property
    def port(self) -> int | None:
        """The port; ``None`` for a source, and where the protocol has no ports."""
    @property
    def protocol(self) -> str | None:
        """The protocol; ``None`` for a source."""
    @property
    def name(self) -> str | None:
        """What it is called, if names were given."""
    @property
    def at_least(self) -> int:
        """It has at least so many entries."""
    @property
    def at_most(self) -> int:
        """It has at most so many entries; the same number if the counts are exact."""
    @property
    def new_per_second(self) -> float | None:
        """New connections a second, where the timeouts tell."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __reduce__(self) -> tuple[object, ...]: ...
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, memo: object, /) -> Self: ...

@final
class Top:
    """Those with the most entries, most first. Up to 49,152 different ones the counts are exact."""

    __match_args__: ClassVar[
        tuple[Literal["rows"], Literal["other"], Literal["different"], Literal["maximum_error"]]
    ]
    def __new__(
        cls, rows: list[TopRow], other: int, different: int | None, maximum_error: int
    ) -> Self: ...
    @property
    def rows(self) -> list[TopRow]:
        """The rows."""
    @property
    def other(self) -> int:
        """How many entries the others have together, at most."""
    @property
    def different(self) -> int | None:
        """How many different ones there are, if the counts are exact."""
    @property
    def maximum_error(self) -> int:
        """How far a count can be off: 0 if the counts are exact."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __reduce__(self) -> tuple[object, ...]: ...
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, memo: object, /) -> Self: ...

@final
class Summary:
    """What holds the table of a namespace, from one pass over it."""

    __match_args__: ClassVar[
        tuple[
            Literal["elapsed"],
            Literal["entries"],
            Literal["assured"],
            Literal["groups"],
            Literal["zones"],
            Literal["unreplied"],
            Literal["dns"],
            Literal["idle_for_an_hour"],
            Literal["churn"],
            Literal["frontends"],
            Literal["backends"],
            Literal["sources"],
            Literal["syn_sources"],
            Literal["translated"],
        ]
    ]
    def __new__(
        cls,
        elapsed: float,
        entries: int,
        assured: int,
        groups: list[Group],
        zones: dict[int, int],
        unreplied: Unreplied,
        dns: int,
        idle_for_an_hour: int | None,
        churn: Churn,
        frontends: Top,
        backends: Top,
        sources: Top,
        syn_sources: Top,
        translated: Top,
    ) -> Self: ...
    @property
    def elapsed(self) -> float:
        """How long the pass took, in seconds."""
    @property
    def entries(self) -> int:
        """Entries that the dump has shown."""
    @property
    def assured(self) -> int:
        """Entries with ``ASSURED``: the kernel does not evict them."""
    @property
    def groups(self) -> list[Group]:
        """Entries by family, protocol and state; none with 0."""
    @property
    def zones(self) -> dict[int, int]:
        """Entries by zone."""
    @property
    def unreplied(self) -> Unreplied:
        """Entries without an answer, outside the TCP handshake."""
    @property
    def dns(self) -> int:
        """Entries of DNS: UDP to or from port 53."""
    @property
    def idle_for_an_hour(self) -> int | None:
        """Established connections on which nothing has come for an hour, if the timeout tells."""
    @property
    def churn(self) -> Churn:
        """Connections that come and go."""
    @property
    def frontends(self) -> Top:
        """The original destinations, before NAT."""
    @property
    def backends(self) -> Top:
        """The sources of replies: who answers, after NAT."""
    @property
    def sources(self) -> Top:
        """The original sources, addresses alone."""
    @property
    def syn_sources(self) -> Top:
        """Sources of connections without an answer to their SYN, or to the SYN-ACK."""
    @property
    def translated(self) -> Top:
        """Where source-translated connections go: each uses a source port toward it."""
    def of_protocol(self, protocol: str | int) -> int:
        """Return the entries of a protocol, of both families."""
    def in_state(self, protocol: str | int, state: str) -> int:
        """Return the entries of a protocol in a state."""
    def evictable(self) -> int:
        """Return the entries without ``ASSURED``, which the kernel evicts when the table is full."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __reduce__(self) -> tuple[object, ...]: ...
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, memo: object, /) -> Self: ...

@final
class Finding:
    """What was found, and what helps."""

    __match_args__: ClassVar[
        tuple[
            Literal["id"],
            Literal["level"],
            Literal["says"],
            Literal["evidence"],
            Literal["remedy"],
            Literal["now"],
        ]
    ]
    def __new__(
        cls,
        id: FindingId,
        level: Level,
        says: str,
        evidence: list[tuple[str, float]],
        remedy: str,
        now: str | None,
    ) -> Self: ...
    @property
    def id(self) -> FindingId:
        """What it is about."""
    @property
    def level(self) -> Level:
        """How bad it is."""
    @property
    def says(self) -> str:
        """One line: what is so, with the numbers."""
    @property
    def evidence(self) -> list[tuple[str, float]]:
        """The numbers behind it, by name."""
    @property
    def remedy(self) -> str:
        """What to change, for good."""
    @property
    def now(self) -> str | None:
        """The command that helps now."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __reduce__(self) -> tuple[object, ...]: ...
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, memo: object, /) -> Self: ...

@final
class LogLine:
    """The last time that the kernel's log says the table was full. It is no count."""

    __match_args__: ClassVar[tuple[Literal["text"], Literal["ago"]]]
    def __new__(cls, text: str, ago: float) -> Self: ...
    @property
    def text(self) -> str:
        """The line."""
    @property
    def ago(self) -> float:
        """How many seconds ago."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __reduce__(self) -> tuple[object, ...]: ...
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, memo: object, /) -> Self: ...

@final
class Unseen:
    """Something that could not be looked at."""

    __match_args__: ClassVar[tuple[Literal["what"], Literal["why"]]]
    def __new__(cls, what: str, why: str) -> Self: ...
    @property
    def what(self) -> str:
        """What."""
    @property
    def why(self) -> str:
        """Why not, and what to do."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __reduce__(self) -> tuple[object, ...]: ...
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, memo: object, /) -> Self: ...

@final
class Thresholds:
    """From where on something is a finding. The defaults are those of Rust."""

    def __new__(
        cls,
        *,
        usage_warning: float | None = None,
        usage_critical: float | None = None,
        loss_when_full: float | None = None,
        chain_critical: float | None = None,
        chain_when_full: float | None = None,
        time_wait: Share | None = None,
        dns: Share | None = None,
        syn: Share | None = None,
        unreplied: Share | None = None,
        established: Share | None = None,
        close_wait: Share | None = None,
        one: Share | None = None,
        hidden: Share | None = None,
        stale_critical: float | None = None,
        expectations: float | None = None,
        source_ports: int | None = None,
        flood_sources: int | None = None,
    ) -> Self: ...
    @property
    def usage_warning(self) -> float:
        """Usage that is a warning, from 0 to 1: 0.75, as in node-mixin."""
    @property
    def usage_critical(self) -> float:
        """Usage that is critical: 0.90, as in netdata."""
    @property
    def loss_when_full(self) -> float:
        """Part of new connections lost when the table is full."""
    @property
    def chain_critical(self) -> float:
        """Mean chain length that is critical."""
    @property
    def chain_when_full(self) -> float:
        """Mean chain length of a full table that is a warning."""
    @property
    def time_wait(self) -> Share:
        """``TIME_WAIT`` entries."""
    @property
    def dns(self) -> Share:
        """DNS entries."""
    @property
    def syn(self) -> Share:
        """Connections without an answer to their SYN, or to the SYN-ACK."""
    @property
    def unreplied(self) -> Share:
        """Other entries without an answer."""
    @property
    def established(self) -> Share:
        """Established connections."""
    @property
    def close_wait(self) -> Share:
        """Connections in ``CLOSE_WAIT``."""
    @property
    def one(self) -> Share:
        """Entries of one frontend, backend or source."""
    @property
    def hidden(self) -> Share:
        """Entries that a dump does not show."""
    @property
    def stale_critical(self) -> float:
        """Part of the table that is stale."""
    @property
    def expectations(self) -> float:
        """Part of the limit on expectations."""
    @property
    def source_ports(self) -> int:
        """Entries of one destination after NAT that use up the source ports."""
    @property
    def flood_sources(self) -> int:
        """Sources of unanswered SYNs that are a flood."""
    def check(self) -> None:
        """Raise a ``ValueError`` that names the first one that makes no sense."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __reduce__(self) -> tuple[object, ...]: ...
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, memo: object, /) -> Self: ...

@final
class Accumulator:
    """Adds up samples of the kernel's counters in 64 bits, across their wrap at 2**32."""

    def __new__(cls) -> Self: ...
    def add(self, moment: Seconds, sample: Sequence[CpuStats]) -> Delta | None:
        """Add a sample of ``Conntrack.stats_per_cpu()``, and return what was counted since the last one.

        ``moment`` is when it was taken, in seconds of ``time.monotonic()``. The first sample counts from
        the start of the namespace, and returns ``None``.
        """
    def losses(self) -> Losses:
        """Return the packets lost, of all CPUs and samples."""
    def total(self) -> Statistics:
        """Return the sums of all samples."""

@final
class Trend:
    """Samples of the count, of the last 300 s, for a growth by least squares."""

    def __new__(cls) -> Self: ...
    def add(self, moment: Seconds, entries: int) -> None:
        """Add a sample: the moment, in seconds of ``time.monotonic()``, and the count."""
    def growth(self, churn: float | None = None) -> Growth | None:
        """Return the growth; ``None`` with fewer than two samples.

        ``churn`` is how many entries come and go a second (``Churn.new_per_second()``): without it nothing
        is significant.
        """

@final
class Summarizer:
    """Counts flows, one after another, for a ``Summary``. It needs no kernel."""

    def __new__(cls, limits: Limits) -> Self: ...
    def add(self, flow: Flow) -> None:
        """Count a flow."""
    def finish(self, rows: int = 10, *, names: Names | None = None) -> Summary:
        """Return the summary, with so many rows of each kind. It is finished then."""

@final
class Names:
    """What frontends, backends and sources are called.

    ``Names(desired)`` has the services of a desired state, and what serves them.
    """

    def __new__(cls, desired: DesiredState | None = None) -> Self: ...
    def add(self, address: AnyAddress, name: str) -> None:
        """Add the name of an address, such as a pod's, in place of one it had."""
    def is_empty(self) -> bool:
        """Return whether no name is known."""
    def frontend(self, frontend: Frontend) -> str | None:
        """Return the name of a frontend: the service's, or that of the address with the port."""
    def address(self, address: AnyAddress) -> str | None:
        """Return the name of an address."""

@final
class Limits:
    """The settings in force in a namespace: limits, timeouts, modes.

    One that the kernel does not have is ``None``.
    """

    def __new__(cls, values: Sequence[tuple[Setting | str, int]] | None = None) -> Self: ...
    def with_(self, setting: Setting | str, value: int) -> Limits:
        """Return the same with a value for a setting, such as one that was saved with a table."""
    def get(self, setting: Setting | str) -> int | None:
        """Return the value of a setting (``"max"``, ``Setting.TCP_TIME_WAIT``)."""
    def items(self) -> list[tuple[Setting, int]]:
        """Return every setting that this kernel has, with its value."""
    @property
    def is_initial_namespace(self) -> bool | None:
        """Whether this is the initial network namespace, the host's; ``None`` if that is not known."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, memo: object, /) -> Self: ...

@final
class Diagnosis:
    """Everything that was seen of a table, and what was found.

    What could not be seen is ``None``, and ``unseen`` says why.
    """

    @property
    def level(self) -> Level | None:
        """The worst of the findings; ``None`` if nothing could be looked at."""
    @property
    def findings(self) -> list[Finding]:
        """What was found, the worst first."""
    @property
    def is_host(self) -> bool | None:
        """Whether this is the initial network namespace, the host's."""
    @property
    def kernel(self) -> str | None:
        """Release of the kernel."""
    @property
    def processors(self) -> int | None:
        """Processors that are online."""
    @property
    def pressure(self) -> Pressure | None:
        """How full the table is."""
    @property
    def statistics(self) -> Statistics | None:
        """The kernel's counters since the namespace exists."""
    @property
    def losses(self) -> Losses | None:
        """Packets lost since the namespace exists."""
    @property
    def delta(self) -> Delta | None:
        """What was counted during the interval."""
    @property
    def limits(self) -> Limits:
        """The settings in force."""
    @property
    def summary(self) -> Summary | None:
        """What holds the table."""
    @property
    def expectations(self) -> int | None:
        """How many expectations there are."""
    @property
    def entries_of_all_namespaces(self) -> int | None:
        """Entries of all network namespaces, which share the hash table; only root sees them."""
    @property
    def table_full(self) -> LogLine | None:
        """The last line of the kernel's log about a full table."""
    @property
    def stale(self) -> int | None:
        """Stale UDP entries, if a desired state was given."""
    @property
    def unseen(self) -> list[Unseen]:
        """What could not be looked at."""
    def chain_length_mean(self) -> float | None:
        """Return the entries of a hash chain, on average.

        Each entry is in two chains, and all namespaces share them. ``None`` if the entries of all namespaces,
        or the buckets, are not known.
        """
    def finding(self, id: FindingId | str) -> Finding | None:
        """Return the finding about something, if it was found."""
    def judge(self, thresholds: Thresholds) -> Diagnosis:
        """Return the same diagnosis, judged by other thresholds."""
    def json(self) -> str:
        """Return all of it as JSON, as ``ctnetlink doctor --json`` prints it."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, memo: object, /) -> Self: ...
