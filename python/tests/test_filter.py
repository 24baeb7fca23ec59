"""Filters by keyword, and what they are used for."""

import ipaddress
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
        ({"label": [5, 6], "helper": "ftp"}, "label 5 and label 6 and helper ftp"),
        ({"label": 5}, "label 5"),
        ({"tcp_state": "established"}, "tcp-state ESTABLISHED"),
        ({"sctp_state": "COOKIE_WAIT"}, "sctp-state COOKIE_WAIT"),
        ({"timeout": (None, 29), "age": (60, None)}, "timeout <= 29 and age >= 60"),
        ({"packets": 0, "reply_bytes": (1, 9)}, "packets = 0 and reply bytes 1-9"),
        (
            {"bytes": (1, None), "orig_bytes": 2, "orig_packets": 3, "reply_packets": 4},
            "orig packets = 3 and reply packets = 4 and bytes >= 1 and orig bytes = 2",
        ),
    ],
)
def test_keywords_say_what_text_says(keywords: dict[str, Any], text: str) -> None:
    filter = ctnetlink.Filter(**keywords)
    assert str(filter) == text
    assert ctnetlink.Filter.parse(text) == filter


@pytest.mark.parametrize(
    ("keywords", "words"),
    [
        ({"orig_dst": []}, "an empty set selects nothing"),
        ({"orig_dst_port": ()}, "an empty set selects nothing"),
        ({"label": []}, "an empty set selects nothing"),
        ({"label": 128}, "label bits are numbered from 0 to 127"),
        ({"orig_dst_port": range(5, 5)}, "a range of ports"),
        ({"orig_dst_port": range(0, 10, 2)}, "a range of ports"),
        ({"orig_dst": "10.0.0.5/8"}, "no bits behind the prefix"),
        ({"timeout": (5, 3)}, "the range of timeout is empty"),
        ({"timeout": -1}, "or a pair"),
        ({"helper": "a b"}, "is no helper's name"),
        ({"tcp_state": "ESTAB"}, "unknown TCP state"),
    ],
)
def test_mistakes_are_value_errors(keywords: dict[str, Any], words: str) -> None:
    with ctnetlink.Conntrack() as ct, pytest.raises(ValueError, match=words):
        ct.dump(**keywords)


def test_delete_matching(table: None) -> None:
    with ctnetlink.Conntrack() as ct:
        would = ct.delete_matching("udp and orig dst port 53", dry_run=True)
        assert would is not None
        assert (would.matched, would.deleted, would.dry_run) == (5, 0, True)
        assert ct.count() == 7
        report = ct.delete_matching(protocol="udp", orig_src_port=range(1001, 1003))
        assert report is not None and report.succeeded and report.error is None
        assert (report.matched, report.deleted, report.already_gone) == (2, 2, 0)
        assert (report.failed, report.failures, report.received) == (0, [], 6)
        assert str(report).endswith("matched 2, deleted 2, already gone 0, failed 0")
        assert "deleted=2" in repr(report)
        assert report.filter == "udp and orig src port 1001-1002"
        assert ct.count() == 5
        with pytest.raises(ValueError, match="no filter is not a filter"):
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
        with pytest.raises(ValueError, match="nothing to count"):
            ct.delete_matching("udp", in_kernel=True, dry_run=True)
        assert ct.count() == 7
        assert ct.delete_matching("udp and orig dst port 53", in_kernel=True) is None
        assert {str(flow.orig.src) for flow in ct.dump()} == {"10.0.0.5", "10.0.0.6"}


def test_count(table: None) -> None:
    with ctnetlink.Conntrack() as ct:
        assert ct.count() == 7
        assert ct.count("udp and orig dst port 53") == 5
        assert ct.count(ctnetlink.Filter(protocol="tcp")) == 1
        assert ct.count(zone=7) == 1


def test_zero(insert: Insert) -> None:
    Path("/proc/sys/net/netfilter/nf_conntrack_acct").write_text("1")
    insert("10.0.0.1", "10.96.0.10", "10.244.1.5")
    insert("10.0.0.2", "10.96.0.10", "10.244.1.5", dport=54)
    with ctnetlink.Conntrack() as ct:
        zeroed = ct.zero("udp and orig dst port 53")
        assert [str(flow.orig.src) for flow in zeroed.flows] == ["10.0.0.1"]
        assert zeroed.error is None
        with pytest.raises(ValueError, match="no filter"):
            ct.zero()


def test_capabilities_and_explanations(table: None) -> None:
    with ctnetlink.Conntrack() as ct:
        found = ct.capabilities()
        assert found.untested is None and found.dump_filter and found.marks and found.zones
        assert found.labels and found.expectations
        assert found.status_filter and found.zone_filter and found.flush_filter
        assert (found.accounting, found.timestamps, found.events) == (False, False, 2)
        assert isinstance(found.timeout_policies, bool)
        assert found.trust["orig_ipv4"] == ("proved", "proved")
        assert found.trust["other_ports"][0] == "WRONG"
        assert "original IPv6 address" in str(found)
        dead = ctnetlink.Filter(family="ipv4", protocol="udp", reply_src="10.244.1.5")
        explained = dead.explain(found)
        assert (explained.passes, explained.stayed) == ([str(dead)], [])
        assert explained.filter == str(dead)
        careful = found.distrust("reply_ipv4")
        assert careful != found and careful.trust["reply_ipv4"][1] == "distrusted"
        ((what, why),) = dead.explain(careful).stayed
        assert (what, why) == (
            "reply src 10.244.1.5",
            "reply IPv4 address is distrusted by request",
        )
        assert "here only  reply src" in str(dead.explain(careful))
        ct.use_capabilities(careful)
        report = ct.delete_matching(dead, dry_run=True)
        assert report is not None and report.pushdown == "ip and udp"
        with pytest.raises(ValueError, match="expected one of family"):
            found.distrust("ipv6")
