"""The shape of every class: equality, hashes, copies, pickles, patterns, texts, documentation."""

import copy
import enum
import inspect
import pickle
import sys
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path

import pytest

import ctnetlink
from ctnetlink import (
    Change,
    Counters,
    Endpoint,
    ExpectKey,
    ExpectNat,
    Filter,
    Frontend,
    Icmp,
    Key,
    NatRange,
    NewEntry,
    NewExpectation,
    Outcome,
    SeqAdj,
    ServiceKey,
    ServicePort,
    SynProxy,
    TcpProtocolState,
    TcpState,
    TimeoutPolicy,
    Timeouts,
    Tuple,
)

sys.path.insert(0, str(Path(__file__).parent.parent / "tools"))

DNS = Tuple("udp", "10.0.0.1", "10.96.0.10", 1001, 53)
PING = Tuple("icmp", "10.0.0.1", "10.0.0.2", icmp=Icmp(8, 0, 7))
KEY = ServiceKey("kube-system", "kube-dns", "dns", "udp")

COUNTED = ctnetlink.Statistics(drop=1)
FINDING = ctnetlink.FindingId.TABLE_NEAR_FULL

VALUES = [
    DNS,
    PING,
    DNS.in_zone(7),
    Tuple(89, "fd00::1", ip_address("fd00::2")),
    Icmp(8, 0, 7),
    Counters(1, 2),
    SeqAdj(1, -2, 3),
    SynProxy(1, 2, 3),
    TcpProtocolState(state="CLOSE", flags_orig=3),
    ctnetlink.SctpProtocolState(ctnetlink.SctpState.CLOSED, 1, 2),
    ctnetlink.DccpProtocolState(role=1),
    Key.orig(DNS),
    Key.reply(DNS, zone=7, id=9),
    ExpectKey.tuple(DNS, id=3),
    ExpectKey.master(DNS, zone=1),
    NatRange.to(("10.244.1.5", 5353)),
    NatRange.none(),
    NatRange(("10.0.0.1", "10.0.0.9"), (1, 2)),
    Change(mark=(1, 3), timeout=2.5, status=["ASSURED", "SEEN_REPLY"], labels={1, 2}),
    Change(labels=(label for label in (1, 2)), state=TcpProtocolState("CLOSE")),
    NewEntry(DNS, 300, reply=DNS.inverse(), zone=7, dst_nat=NatRange.to(("10.244.1.5", 53))),
    NewExpectation(DNS, DNS, DNS, flags="PERMANENT", class_=1, nat=ExpectNat(True, DNS)),
    Filter.parse("udp and not orig dst port 53"),
    Timeouts("tcp", {"ESTABLISHED": 300}),
    TimeoutPolicy("short", "ipv4", Timeouts("udp", {"UNREPLIED": 5})),
    Outcome("failed", OSError(2, "no")),
    Frontend("10.96.0.10", 53, "udp"),
    Endpoint(("10.244.1.5", 53), serving=True),
    KEY,
    ServicePort(KEY, 53, cluster_ips=["10.96.0.10"], endpoints=[Endpoint(("10.244.1.5", 53))]),
    ctnetlink.Unknown("default", "web"),
    ctnetlink.Verdict("stale", "backend_gone"),
    ctnetlink.Reasons(1, 2, 3, 4),
    ctnetlink.Progress("ipv4", 1, 2, 3),
    ctnetlink.CpuStats(0, *range(10)),
    ctnetlink.ExpectStats(0, 1, 2, 3),
    ctnetlink.Statistics(drop=1, early_drop=2),
    ctnetlink.Losses(1, 2, 3),
    ctnetlink.Delta(
        2.0,
        ctnetlink.Statistics(),
        ctnetlink.Losses(1, 0, 0),
        [ctnetlink.CpuDelta(0, ctnetlink.Statistics())],
    ),
    ctnetlink.Growth(1.0, None, False),
    ctnetlink.Pressure(5, 10, evictable=3, growth=ctnetlink.Growth(1.0, 0.5, True)),
    ctnetlink.Thresholds(usage_warning=0.5, dns=ctnetlink.Share(0.1, 10)),
    ctnetlink.Churn(1.0, None, 0.5),
    ctnetlink.Group("ipv4", "udp", "assured", 3),
    ctnetlink.Finding(FINDING, ctnetlink.Level.CRITICAL, "x", [("entries", 1.0)], "y", None),
    ctnetlink.LogLine("x", 1.0),
    ctnetlink.Unseen("x", "y"),
    ctnetlink.Stayed("zone 1", "untested"),
    ctnetlink.Status(14),
    ctnetlink.Family.IPV4,
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_values(value: object) -> None:
    again = pickle.loads(pickle.dumps(value))
    assert again == value and not again != value, repr(value)
    assert type(again) is type(value) and repr(again) == repr(value)
    assert copy.copy(value) == value and copy.deepcopy(value) == value
    assert value != object() and not value == "another"
    if getattr(type(value), "__hash__", None) is not None:
        assert hash(again) == hash(value) and len({value, again}) == 1
    if not isinstance(value, enum.Enum):
        with pytest.raises(AttributeError):
            value.anything = 1  # type: ignore[attr-defined]
    name = type(value).__name__
    assert name in repr(value)


def test_a_value_that_differs_is_another() -> None:
    assert Counters(1, 2) != Counters(2, 1)
    assert Key.orig(DNS) != Key.reply(DNS) and Key.orig(DNS) != Key.orig(DNS, id=1)
    assert Change(mark=1) != Change(mark=2)
    assert NewEntry(DNS, 1) != NewEntry(DNS, 2)
    assert len({Filter(zone=1), Filter(zone=2), Filter(zone=1)}) == 2


def test_patterns() -> None:
    match DNS:
        case Tuple("udp", src, _, src_port, 53):
            assert (str(src), src_port) == ("10.0.0.1", 1001)
        case _:
            pytest.fail("the tuple does not match")
    match Counters(3, 4):
        case Counters(packets, bytes):
            assert (packets, bytes) == (3, 4)
    match TcpProtocolState("CLOSE"):
        case TcpProtocolState(state=TcpState.CLOSE):
            pass
        case _:
            pytest.fail("the state does not match")


def test_tuples() -> None:
    assert DNS.source == (ip_address("10.0.0.1"), 1001)
    assert DNS.destination == (ip_address("10.96.0.10"), 53)
    back = DNS.inverse()
    assert back is not None and back.source == DNS.destination and back.inverse() == DNS
    answer = PING.inverse()
    assert answer is not None and answer.icmp == Icmp(0, 0, 7)
    assert Tuple("icmp", "10.0.0.1", "10.0.0.2", icmp=Icmp(3, 0, 7)).inverse() is None
    assert DNS.in_zone(7).zone == 7 and DNS.zone is None
    assert (DNS.protocol, DNS.protocol_number) == ("udp", 17)
    wrongs: list[Callable[[], object]] = [
        lambda: Tuple("udp", "10.0.0.1", "10.0.0.2", 53),
        lambda: Tuple("udp", "10.0.0.1", "10.0.0.2", icmp=Icmp(8, 0, 7)),
        lambda: Tuple("udp", "10.0.0.1", "10.0.0.2", 1, 2, icmp=Icmp(8, 0, 7)),
    ]
    for wrong in wrongs:
        with pytest.raises(TypeError):
            wrong()
    with pytest.raises(ValueError, match="unknown protocol"):
        Tuple("quic", "10.0.0.1", "10.0.0.2")


@pytest.mark.parametrize(
    ("value", "word", "hint"),
    [
        (DNS, "saddr", "here it is src"),
        (DNS, "dport", "here it is dst_port"),
        (DNS, "nonsense", "has no attribute 'nonsense'$"),
    ],
)
def test_words_of_other_tools_are_answered(value: object, word: str, hint: str) -> None:
    with pytest.raises(AttributeError, match=hint):
        getattr(value, word)
    assert not hasattr(value, word)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"mark": -1}, ValueError, "mark: expected a number from 0"),
        ({"mark": "1"}, TypeError, "mark: expected a number from 0"),
        ({"labels": [128]}, ValueError, "labels: expected a number from 0 to 127"),
        ({"timeout": "1"}, TypeError, "timeout: expected seconds"),
        ({"timeout": -1}, ValueError, "timeout: -1 s: "),
        ({"timeout": True}, TypeError, "timeout: expected seconds"),
        ({"status": "ASURED"}, ValueError, "status: unknown name"),
        ({"zone": 1}, TypeError, "Change\\(\\) got an unexpected keyword argument 'zone'"),
    ],
)
def test_mistakes_name_the_keyword(
    options: dict[str, object], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        Change(**options)  # type: ignore[arg-type]


def test_bits_print_as_names() -> None:
    assert str(ctnetlink.Status(14)) == "SEEN_REPLY | ASSURED | CONFIRMED"
    assert f"{ctnetlink.Status.ASSURED}" == "ASSURED"
    assert str(ctnetlink.Status(0)) == "0"
    assert str(ctnetlink.Status(1 << 20 | 2)) == "SEEN_REPLY | 0x100000"
    assert str(ctnetlink.ExpectFlags(3)) == "PERMANENT | INACTIVE"


def test_enumerations_are_those_of_rust() -> None:
    """A member that Rust does not know is refused there; a missing one would be a plain text."""
    for state in ctnetlink.TcpState:
        assert Filter(tcp_state=state) == Filter.parse(f"tcp-state {state}")
    for sctp in ctnetlink.SctpState:
        assert Filter(sctp_state=sctp) == Filter.parse(f"sctp-state {sctp}")
    for family in ctnetlink.Family:
        assert str(Filter(family=family)) == {"ipv4": "ip", "ipv6": "ip6"}[family]
    for profile in ctnetlink.Profile:
        ctnetlink.Reconciler(profile=profile)
    for authority in ctnetlink.Authority:
        ctnetlink.Reconciler(authority=authority)
    for status in ctnetlink.Status:
        assert Filter(status=status) == Filter.parse(f"status set {status}")


def public_members() -> list[tuple[str, object]]:
    """Return every public class, function, method and property, with its path."""
    found: list[tuple[str, object]] = []
    for name in ctnetlink.__all__:
        value = getattr(ctnetlink, name)
        if not inspect.isclass(value):
            continue
        found.append((name, value))
        if issubclass(value, BaseException | enum.Enum | dict):
            continue
        own = [member for member in vars(value) if not member.startswith("_")]
        found += [(f"{name}.{member}", inspect.getattr_static(value, member)) for member in own]
    return found


def test_everything_is_documented() -> None:
    bare = []
    for path, value in public_members():
        constant = isinstance(value, tuple)
        if not constant and not inspect.getdoc(value):
            bare.append(path)
    assert bare == []
    assert len(public_members()) > 400


def test_the_stub_has_the_same_documentation() -> None:
    import stub_docs  # type: ignore[import-not-found]

    def flat(text: str) -> str:
        return " ".join(text.split())

    before = Path(stub_docs.STUB).read_text()
    assert flat(stub_docs.with_docs(before)) == flat(before), "run `make stubs`"


def test_signatures_have_names() -> None:
    """What an editor completes."""
    vague = []
    for path, value in public_members():
        function = getattr(value, "__func__", value)
        if inspect.isclass(function) and issubclass(function, BaseException | enum.Enum | dict):
            continue
        if not callable(function):
            continue
        try:
            parameters = inspect.signature(function).parameters.values()
        except ValueError:
            # A class that only other calls make.
            continue
        kinds = {parameter.kind for parameter in parameters}
        if kinds & {inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL}:
            vague.append(path)
    assert vague == []
