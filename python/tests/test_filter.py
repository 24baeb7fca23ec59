"""Filters by keyword, and what they are used for."""

import datetime
import enum
import inspect
import ipaddress
import pickle
import re
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ctnetlink

Insert = Callable[..., None]


@pytest.fixture
def table(insert: Insert) -> None:
    """Return six UDP entries and a TCP one."""
    for n in range(1, 5):
        insert(f"10.0.0.{n}", "10.96.0.10", f"10.244.1.{n}", sport=1000 + n)
    insert("10.0.0.5", "10.96.0.10", "10.244.1.5", dport=9153)
    insert("fd00:9::1", "fd00:96::a", "fd00:244::5", "-w", "7")
    tcp = ("--state", "ESTABLISHED")
    insert("10.0.0.6", "10.96.0.10", "10.244.9.9", *tcp, protocol="tcp")


@pytest.mark.parametrize(
    ("keywords", "text"),
    [
        ({"orig_dst": "10.0.0.0/8"}, "orig dst 10.0.0.0/8"),
        ({"orig_dst": ipaddress.ip_network("10.0.0.0/8")}, "orig dst 10.0.0.0/8"),
        ({"reply_src": ["10.0.0.2", "10.0.0.1"]}, "reply src in {10.0.0.1, 10.0.0.2}"),
        (
            {"host": {ipaddress.ip_address("fd00::1"), ipaddress.ip_network("10.0.0.0/8")}},
            "host in {10.0.0.0/8, fd00::1}",
        ),
        ({"orig_src_port": range(1000, 1011)}, "orig src port 1000-1010"),
        ({"orig_dst_port": (53, "8000-8080")}, "orig dst port in {53, 8000-8080}"),
        (
            {"icmp_type": 8, "icmp_code": 0, "icmp_id": 7},
            "icmp-type 8 and icmp-code 0 and icmp-id 7",
        ),
        ({"nat": True, "unreplied": True}, "(snat or dnat) and unreplied"),
        ({"snat": False, "dnat": True}, "not snat and dnat"),
        ({"unreplied": False}, "not unreplied"),
        ({"orig_zone": 7, "reply_zone": 0}, "orig zone 7 and reply zone 0"),
        ({"label": [5, 6], "helper": "ftp"}, "(label 5 or label 6) and helper ftp"),
        ({"zone": {7}, "protocol": ["udp", 6]}, "zone 7 and (udp or tcp)"),
        ({"tcp_state": ["CLOSE", "TIME_WAIT"]}, "tcp-state CLOSE or tcp-state TIME_WAIT"),
        ({"family": "ipv6", "mark": (1, 3)}, "ip6 and mark 0x1/0x3"),
        ({"status": ctnetlink.Status.ASSURED}, "status set ASSURED"),
        ({"label": 5}, "label 5"),
        ({"tcp_state": "established"}, "tcp-state ESTABLISHED"),
        ({"sctp_state": "COOKIE_WAIT"}, "sctp-state COOKIE_WAIT"),
        ({"timeout": (None, 29), "age": (60, None)}, "timeout <= 29 and age >= 60"),
        ({"packets": 0, "reply_bytes": (1, 9)}, "packets = 0 and reply bytes 1-9"),
        (
            {"bytes": (1, None), "orig_bytes": 2, "orig_packets": 3, "reply_packets": 4},
            "bytes >= 1 and orig bytes = 2 and orig packets = 3 and reply packets = 4",
        ),
    ],
)
def test_keywords_say_what_text_says(keywords: dict[str, Any], text: str) -> None:
    filter = ctnetlink.Filter(**keywords)
    assert str(filter) == text
    assert ctnetlink.Filter.parse(text) == filter


#: One value for every keyword, and the text of the filter it makes.
EVERY_KEYWORD: dict[str, tuple[Any, str]] = {
    "family": ("ipv4", "ip"),
    "protocol": ("udp", "udp"),
    "orig_src": ("10.0.0.1", "orig src 10.0.0.1"),
    "orig_dst": ("10.0.0.1", "orig dst 10.0.0.1"),
    "reply_src": ("10.0.0.1", "reply src 10.0.0.1"),
    "reply_dst": ("10.0.0.1", "reply dst 10.0.0.1"),
    "orig_src_port": (53, "orig src port 53"),
    "orig_dst_port": (53, "orig dst port 53"),
    "reply_src_port": (53, "reply src port 53"),
    "reply_dst_port": (53, "reply dst port 53"),
    "host": ("10.0.0.1", "host 10.0.0.1"),
    "icmp_type": (8, "icmp-type 8"),
    "icmp_code": (8, "icmp-code 8"),
    "icmp_id": (8, "icmp-id 8"),
    "status": (ctnetlink.Status.ASSURED, "status set ASSURED"),
    "status_unset": (ctnetlink.Status.ASSURED, "status unset ASSURED"),
    "snat": (True, "snat"),
    "dnat": (True, "dnat"),
    "nat": (True, "snat or dnat"),
    "unreplied": (True, "unreplied"),
    "mark": (1, "mark 0x1"),
    "zone": (7, "zone 7"),
    "orig_zone": (7, "orig zone 7"),
    "reply_zone": (7, "reply zone 7"),
    "label": (5, "label 5"),
    "labels": ([5, 6], "label 5 and label 6"),
    "helper": ("ftp", "helper ftp"),
    "tcp_state": ("CLOSE", "tcp-state CLOSE"),
    "sctp_state": ("CLOSED", "sctp-state CLOSED"),
    "timeout": (9, "timeout = 9"),
    "age": (9, "age = 9"),
    "packets": (9, "packets = 9"),
    "orig_packets": (9, "orig packets = 9"),
    "reply_packets": (9, "reply packets = 9"),
    "bytes": (9, "bytes = 9"),
    "orig_bytes": (9, "orig bytes = 9"),
    "reply_bytes": (9, "reply bytes = 9"),
}


def test_every_keyword_makes_its_own_criterion() -> None:
    """A keyword that is added and forgotten must not filter, and delete, by something else."""
    assert tuple(EVERY_KEYWORD) == ctnetlink.Filter.KEYWORDS
    texts = {
        name: str(ctnetlink.Filter(**{name: value})) for name, (value, _) in EVERY_KEYWORD.items()
    }
    assert texts == {name: text for name, (_, text) in EVERY_KEYWORD.items()}


def test_stub_signature_and_error_list_the_same_keywords() -> None:
    assert tuple(ctnetlink.Criteria.__annotations__) == ctnetlink.Filter.KEYWORDS
    assert tuple(inspect.signature(ctnetlink.Filter).parameters) == ctnetlink.Filter.KEYWORDS
    for name in ("count", "dump", "dump_table", "delete_matching", "zero"):
        parameters = tuple(inspect.signature(getattr(ctnetlink.Conntrack, name)).parameters)
        assert parameters[:2] == ("self", "filter")
        assert parameters[-len(ctnetlink.Filter.KEYWORDS) :] == ctnetlink.Filter.KEYWORDS, name
    with pytest.raises(TypeError, match='"' + '", "'.join(ctnetlink.Filter.KEYWORDS) + '"$'):
        ctnetlink.Filter(quux="10.0.0.1")  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("saddr", "orig_src"),
        ("dport", "orig_dst_port"),
        ("proto", "protocol"),
        ("dst_orig", "orig_dst"),
        ("orig_dts_port", None),
        ("zones", "zone"),
        ("protocl", "protocol"),
    ],
)
def test_words_of_other_tools_are_answered(word: str, meant: str | None) -> None:
    words = f'perhaps "{meant}"$' if meant else "expected one of"
    with pytest.raises(TypeError, match=words):
        ctnetlink.Filter(**{word: 1})  # type: ignore[arg-type]


class Index:
    """A number as numpy has them."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __index__(self) -> int:
        return self.value


@pytest.mark.parametrize(
    ("keywords", "text"),
    [
        ({"status": "ASSURED"}, "status set ASSURED"),
        ({"status": ["ASSURED", "SEEN_REPLY"]}, "status set SEEN_REPLY | ASSURED"),
        ({"status_unset": "ASSURED | DYING"}, "status unset ASSURED | DYING"),
        ({"family": socket.AF_INET}, "ip"),
        ({"family": ctnetlink.Family.IPV6}, "ip6"),
        ({"tcp_state": ctnetlink.TcpState.CLOSE}, "tcp-state CLOSE"),
        ({"zone": Index(7)}, "zone 7"),
        ({"zone": (zone for zone in (1, 2))}, "zone 1 or zone 2"),
        ({"orig_dst_port": (port for port in (53, "80-90"))}, "orig dst port {53, 80-90}"),
        ({"orig_src": {"10.0.0.1": "a key"}}, "orig src 10.0.0.1"),
        ({"timeout": datetime.timedelta(minutes=1)}, "timeout = 60"),
        ({"age": (datetime.timedelta(hours=1), None)}, "age >= 3600"),
    ],
)
def test_values_as_users_have_them(keywords: dict[str, Any], text: str) -> None:
    assert ctnetlink.Filter(**keywords) == ctnetlink.Filter.parse(text)


def test_a_syntax_error_has_a_position() -> None:
    with pytest.raises(ctnetlink.FilterSyntaxError, match="column 9") as caught:
        ctnetlink.Filter.parse("udp and nonsense")
    assert caught.value.position == 8
    assert pickle.loads(pickle.dumps(caught.value)).position == 8
    with pytest.raises(ValueError, match='unknown name "ASURED": expected one of EXPECTED'):
        ctnetlink.Filter(status="ASURED")


@pytest.mark.parametrize(
    ("keywords", "words"),
    [
        ({"orig_dst": []}, "orig_dst: an empty set selects nothing"),
        ({"orig_dst_port": ()}, "orig_dst_port: an empty set selects nothing"),
        ({"label": []}, "label: an empty set selects nothing"),
        ({"label": 128}, "label: expected a number from 0 to 127, found 128"),
        ({"zone": 70000}, "zone: expected a number from 0 to 65535, found 70000"),
        ({"status": -1}, "status: expected a number from 0 to 4294967295, found -1"),
        ({"status": 0}, "status: a status filter with an empty mask"),
        ({"mark": (1, 0)}, "mark: a mark filter with an empty mask"),
        ({"orig_dst_port": 65536}, "orig_dst_port: expected a number from 0 to 65535"),
        ({"orig_dst_port": range(5, 5)}, "orig_dst_port: a range of ports"),
        ({"orig_dst_port": range(0, 10, 2)}, "orig_dst_port: a range of ports"),
        ({"orig_dst_port": "80-53"}, "a range from the lower port to the higher"),
        ({"orig_dst": "10.0.0.5/8"}, "orig_dst: column 1: expected no bits beyond the prefix"),
        ({"orig_dst": ""}, "orig_dst: column 1: expected an IP address, found the end of input"),
        ({"timeout": (5, 3)}, "timeout: the range of timeout is empty"),
        ({"timeout": -1}, "timeout: expected a number"),
        ({"helper": "a b"}, "is not a helper's name"),
        ({"tcp_state": "ESTAB"}, "tcp_state: unknown TCP state"),
        ({"protocol": "quic"}, "protocol: unknown protocol"),
        ({"protocol": 300}, "protocol: expected a number from 0 to 255"),
        ({"family": "ipx"}, "family: unknown family"),
    ],
)
def test_mistakes_are_value_errors(keywords: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        ctnetlink.Filter(**keywords)
    with ctnetlink.Conntrack() as ct, pytest.raises(ValueError, match=re.escape(words)):
        ct.dump(**keywords)


@pytest.mark.parametrize(
    ("keywords", "words"),
    [
        ({"zone": True}, "zone: expected a number from 0 to 65535, not bool"),
        ({"orig_dst_port": True}, "orig_dst_port: expected a port, a range or text, not bool"),
        ({"timeout": 1.5}, "timeout: expected a number, or a pair (least, most)"),
        ({"mark": "1"}, "mark: expected a number, or a pair (value, mask)"),
        ({"orig_dst": b"10.0.0.1"}, "orig_dst: expected addresses as text"),
        ({"orig_dst": ["10.0.0.1", None]}, "orig_dst: expected addresses as text"),
        ({"label": b"\x01"}, "label: expected a number from 0 to 127, not bytes"),
        ({"protocol": 17.0}, "protocol: expected a protocol's name or number, not float"),
        ({"nat": 1}, "nat: expected True or False, not int"),
        ({"destination": None}, 'unknown keyword "destination": expected one of "family"'),
    ],
)
def test_other_types_are_type_errors(keywords: dict[str, Any], words: str) -> None:
    with pytest.raises(TypeError, match=re.escape(words)):
        ctnetlink.Filter(**keywords)


def test_filters_have_no_truth() -> None:
    """``a and b`` would be ``b`` alone, and a delete by it would be wider than was meant."""
    udp = ctnetlink.Filter(protocol="udp")
    with pytest.raises(TypeError, match=r"combine filters with &, \| and ~"):
        bool(udp)


def test_text_of_an_enumeration_is_its_value(table: None) -> None:
    class Name(str, enum.Enum):  # noqa: UP042
        UDP = "udp"

    assert ctnetlink.Filter(protocol=Name.UDP) == ctnetlink.Filter(protocol="udp")


def test_delete_matching(table: None) -> None:
    with ctnetlink.Conntrack() as ct:
        would = ct.delete_matching("udp and orig dst port 53", dry_run=True)
        assert (would.matched, would.deleted, would.dry_run) == (5, 0, True)
        assert ct.count() == 7
        report = ct.delete_matching(protocol="udp", orig_src_port=range(1001, 1003))
        assert report.succeeded and report.error is None
        assert (report.matched, report.deleted, report.already_gone) == (2, 2, 0)
        assert (report.failed, report.failures, report.received) == (0, [], 6)
        assert str(report).endswith("matched 2, deleted 2, already gone 0, failed 0")
        assert "deleted=2" in repr(report)
        assert report.filter == "udp and orig src port 1001-1002"
        assert ct.count() == 5
        with pytest.raises(ValueError, match="an empty filter would select everything"):
            ct.delete_matching()
        with pytest.raises(ValueError, match="column 14"):
            ct.delete_matching("udp and orig dest 10.0.0.1")
        assert ct.count() == 5


def test_delete_in_the_kernel(table: None) -> None:
    with ctnetlink.Conntrack() as ct:
        found = ct.capabilities()
        assert ctnetlink.Filter.parse("udp").explain(found).not_in_kernel is None
        with pytest.raises(ValueError, match=r"not in the kernel: .* no filter for prefixes"):
            ct.delete_matching(orig_dst="10.0.0.0/8", in_kernel=True)
        with pytest.raises(ValueError, match="cannot be combined"):
            ct.delete_matching("udp", in_kernel=True, dry_run=True)  # type: ignore[call-overload]
        with pytest.raises(TypeError, match="unknown keyword"):
            ct.delete_matching("udp", dryrun=True)  # type: ignore[call-overload]
        assert ct.count() == 7
        ct.delete_matching("udp and orig dst port 53", in_kernel=True)
        assert {str(flow.orig.src) for flow in ct.dump()} == {"10.0.0.5", "10.0.0.6"}


def test_count(table: None) -> None:
    with ctnetlink.Conntrack() as ct:
        assert ct.count() == 7
        assert ct.count("udp and orig dst port 53") == 5
        assert ct.count(ctnetlink.Filter(protocol="tcp")) == 1
        assert ct.count(zone=7) == 1


def test_flows_say_what_filters_ask(insert: Insert) -> None:
    for name in ("acct", "timestamp"):
        Path(f"/proc/sys/net/netfilter/nf_conntrack_{name}").write_text("1")
    insert("10.0.0.1", "10.96.0.10", "10.244.1.5")
    with ctnetlink.Conntrack() as ct:
        (flow,) = ct.dump(packets=0, age=(None, 100))
        assert flow.start is not None and abs(flow.start - time.time()) < 100
        assert (flow.labels, flow.helper) == ([], None)


def test_zero(insert: Insert) -> None:
    Path("/proc/sys/net/netfilter/nf_conntrack_acct").write_text("1")
    insert("10.0.0.1", "10.96.0.10", "10.244.1.5")
    insert("10.0.0.2", "10.96.0.10", "10.244.1.5", dport=54)
    with ctnetlink.Conntrack() as ct:
        zeroed = ct.zero("udp and orig dst port 53")
        assert [str(flow.orig.src) for flow in zeroed.flows] == ["10.0.0.1"]
        assert zeroed.error is None
        assert zeroed.count == 1
        assert zeroed.flows[0].counters_orig == ctnetlink.Counters(0, 0)
        assert zeroed.flows[0].counters_reply == ctnetlink.Counters(packets=0, bytes=0)
        seen: list[ctnetlink.Flow] = []
        again = ct.zero("udp and orig dst port 53", on_match=seen.append)
        assert (again.count, again.flows, len(seen)) == (1, [], 1)
        with pytest.raises(ValueError, match="an empty filter would select everything"):
            ct.zero()


def test_capabilities_and_explanations(table: None) -> None:
    with ctnetlink.Conntrack() as ct:
        found = ct.capabilities()
        assert found.untested is None and found.dump_filter and found.marks and found.zones
        assert found.labels and found.expectations
        assert found.status_filter and found.zone_filter and found.flush_filter
        assert (found.accounting, found.timestamps, found.events) == (False, False, 2)
        assert isinstance(found.timeout_policies, bool)
        assert (found.entries, found.limit) == (7, ct.limit())
        assert found.distrust_flushes().trust["mark"] == ("proved", "distrusted")
        assert "criteria proved" in repr(found)
        assert found.trust["orig_ipv4"] == ("proved", "proved")
        assert found.trust["other_ports"][0] == "WRONG"
        assert "original IPv6 address" in str(found)
        dead = ctnetlink.Filter(family="ipv4", protocol="udp", reply_src="10.244.1.5")
        explained = dead.explain(found)
        assert (explained.passes, explained.stayed) == ([str(dead)], [])
        assert explained.filter == str(dead)
        careful = found.distrust("reply_ipv4")
        assert careful != found and careful.trust["reply_ipv4"][1] == "distrusted"
        (stayed,) = dead.explain(careful).stayed
        assert (stayed.criterion, stayed.reason) == (
            "reply src 10.244.1.5",
            "reply IPv4 address is distrusted by request",
        )
        assert "here only  reply src" in str(dead.explain(careful))
        saved = ctnetlink.Capabilities.from_json(careful.json())
        assert saved == careful == pickle.loads(pickle.dumps(careful))
        assert careful.boot_id is not None and careful.boot_id in careful.json()
        elsewhere = careful.json().replace(careful.boot_id, "another")
        with pytest.raises(ValueError, match="found at boot another"):
            ct.use_capabilities(ctnetlink.Capabilities.from_json(elsewhere))
        with pytest.raises(ValueError, match="missing field"):
            ctnetlink.Capabilities.from_json("{}")
        ct.use_capabilities(saved)
        report = ct.delete_matching(dead, dry_run=True)
        assert report.pushdown == "ip and udp"
        with pytest.raises(ValueError, match='expected one of "family"'):
            found.distrust("ipv6")


def test_chains_and_contradictions() -> None:
    zones = ctnetlink.Filter.any(f"zone {n}" for n in range(1, 4))
    assert str(zones) == "zone 1 or zone 2 or zone 3"
    both = ctnetlink.Filter.all(["udp", ctnetlink.Filter(orig_dst_port=53)])
    assert str(both) == "udp and orig dst port 53"
    long = ctnetlink.Filter.any(ctnetlink.Filter(zone=n) for n in range(20_000))
    assert str(long).count(" or ") == 19_999
    for combine in (ctnetlink.Filter.any, ctnetlink.Filter.all):
        with pytest.raises(ValueError, match="an empty set"):
            combine([])
    why = ctnetlink.Filter.parse("udp and tcp").never_matches()
    assert why is not None and why.startswith("tcp: another criterion")
    assert zones.never_matches() is None
    with pytest.raises(ValueError, match='perhaps "orig dst port"'):
        ctnetlink.Filter.parse("dport 53")
