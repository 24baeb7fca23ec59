"""The diagnosis, and the command."""

import json
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

import ctnetlink
from ctnetlink import (
    Accumulator,
    Conntrack,
    FindingId,
    Level,
    Losses,
    Names,
    Pressure,
    Setting,
    Share,
    Statistics,
    Summarizer,
    Thresholds,
    Trend,
    Unit,
)

Insert = Callable[..., None]


def test_a_diagnosis_says_what_it_found(insert: Insert) -> None:
    for port in range(1000, 1020):
        insert("10.9.0.1", "10.96.0.10", "10.244.1.5", sport=port)
    desired = ctnetlink.DesiredState.from_frontends(
        {("udp", "10.96.0.10", 53): [("10.244.7.7", 53)]}
    )
    with Conntrack() as ct:
        found = ct.diagnose(interval=0.05, desired=desired)
        assert found.level is Level.CRITICAL and found.stale == 20
        assert found.is_host is False and found.kernel and found.processors
        stale = found.finding("stale-entries")
        assert stale is not None and stale.id is FindingId.STALE_ENTRIES
        assert stale.evidence == [("stale", 20.0)] and stale.now and "reconcile" in stale.now
        assert found.finding(FindingId.TABLE_NEAR_FULL) is None
        with pytest.raises(ValueError, match="unknown finding"):
            found.finding("nonsense")
        assert found.pressure and found.pressure.entries == 20
        assert found.delta and found.delta.losses.total == 0
        assert found.summary and found.summary.of_protocol("udp") == 20
        assert json.loads(found.json())["summary"]["entries"] == 20
        # Other thresholds find more.
        strict = found.judge(Thresholds(dns=Share(0.1, 10), one=Share(0.5, 10)))
        ids = [finding.id for finding in strict.findings]
        assert FindingId.DNS_SHARE in ids and FindingId.ONE_FRONTEND in ids
        assert str(strict).startswith("critical stale-entries: ")
        assert found == found.judge(Thresholds())
        with pytest.raises(ValueError, match="usage_critical: 90"):
            found.judge(Thresholds(usage_critical=90.0))
        assert found.losses == Losses(0, 0, 0)
        mean = found.chain_length_mean()
        assert (mean is None) == (found.entries_of_all_namespaces is None)


def test_a_summary_has_names(insert: Insert) -> None:
    insert("10.9.0.1", "10.96.0.10", "10.244.1.5")
    insert("10.9.0.1", "10.96.0.10", "10.244.1.5", sport=1001)
    names = Names()
    assert names.is_empty()
    names.add("10.9.0.1", "shop/web-0")
    assert names.address("10.9.0.1") == "shop/web-0"
    with Conntrack() as ct:
        summary = ct.summary(5, names=names)
        (source,) = summary.sources.rows
        assert (source.name, source.at_least, source.at_most) == ("shop/web-0", 2, 2)
        assert source.port is None and source.protocol is None
        (frontend,) = summary.frontends.rows
        assert (str(frontend.address), frontend.port, frontend.protocol) == (
            "10.96.0.10",
            53,
            "udp",
        )
        assert summary.zones == {0: 2} and summary.evictable() == 2 and summary.dns == 2
        assert summary.in_state("udp", "unreplied") == 2
        # The same without a kernel, flow by flow.
        again = Summarizer(ct.limits())
        for flow in ct.dump():
            again.add(flow)
        counted = again.finish(5, names=names)
        assert counted.groups == summary.groups and counted.sources == summary.sources
        with pytest.raises(ValueError, match="finished"):
            again.finish()


def test_a_summary_equals_what_conntrack_lists() -> None:
    """Random tables, counted by another program."""
    random = Random(14)
    with Conntrack() as ct:
        for _ in range(5):
            ct.flush_all()
            batch = ctnetlink.Batch()
            for n in range(random.randrange(200, 2000)):
                protocol = random.choice(["udp", "tcp"])
                client = f"10.0.{random.randrange(4)}.{random.randrange(30)}"
                frontend = f"10.96.0.{random.randrange(9)}"
                backend = f"10.244.0.{random.randrange(20)}"
                port, service = 1024 + n, random.choice([53, 80, 443])
                orig = ctnetlink.Tuple(protocol, client, frontend, port, service)
                reply = ctnetlink.Tuple(protocol, backend, client, 8080, port)
                state = ctnetlink.TcpProtocolState(random.choice(list(ctnetlink.TcpState)[1:9]))
                status = random.choice([[], ["SEEN_REPLY"], ["SEEN_REPLY", "ASSURED"]])
                of = state if protocol == "tcp" else None
                batch.create(ctnetlink.NewEntry(orig, 600, reply=reply, status=status, state=of))
            assert all(outcome.is_done for outcome in ct.execute(batch))
            listed = subprocess.run(["conntrack", "-L"], capture_output=True, text=True, check=True)
            states: Counter[tuple[str, str]] = Counter()
            frontends: Counter[tuple[str, int, str]] = Counter()
            sources: Counter[str] = Counter()
            for line in listed.stdout.splitlines():
                words = line.split()
                pairs = [word.split("=") for word in words if "=" in word]
                if words[0] == "tcp":
                    states["tcp", words[3]] += 1
                else:
                    replied = "unreplied" if "[UNREPLIED]" in words else "replied"
                    states["udp", "assured" if "[ASSURED]" in words else replied] += 1
                (_, src), (_, dst), _, (_, port_text) = pairs[:4]
                frontends[dst, int(port_text), words[0]] += 1
                sources[src] += 1
            summary = ct.summary(10_000)
            assert {(g.protocol, g.state): g.entries for g in summary.groups} == states
            assert {
                (str(row.address), row.port, row.protocol): row.at_least
                for row in summary.frontends.rows
            } == frontends
            assert {str(row.address): row.at_most for row in summary.sources.rows} == sources
            assert summary.sources.maximum_error == 0


def test_settings_are_read_and_set() -> None:
    with Conntrack() as ct:
        limits = ct.limits()
        assert limits.get("udp_timeout") == limits.get(Setting.UDP) == 30
        assert limits.get(Setting.MAX) == ct.limit()
        assert limits.is_initial_namespace is False
        assert all(isinstance(setting, Setting) for setting, _ in limits.items())
        ct.set_limit("udp_timeout", 10)
        assert ct.limits().get(Setting.UDP) == 10 and ct.limits() != limits
        with pytest.raises(PermissionError, match=r"nf_conntrack_max: .*whole machine"):
            ct.set_limit(Setting.MAX, 1000)
        with pytest.raises(OSError, match="out of range"):
            ct.set_limit(Setting.UDP, 2**31)
        with pytest.raises(ValueError, match="unknown setting"):
            ct.set_limit("udp_timeoot", 1)
    assert Setting.TCP_ESTABLISHED.unit is Unit.SECONDS
    assert Setting.TCP_ESTABLISHED.default_value == 432_000
    assert ctnetlink.Limits([("udp_timeout", 30)]).with_("max", 5).get(Setting.MAX) == 5
    assert Setting.MAX.largest_value == 2**31 - 1
    assert Setting.MAX.is_global and Setting.MAX.path.endswith("/nf_conntrack_max")
    assert len(Setting) >= 39 and all(setting.unit in Unit for setting in Setting)


def test_counters_add_up(insert: Insert) -> None:
    counters = Accumulator()
    with Conntrack() as ct:
        assert counters.add(time.monotonic(), ct.stats_per_cpu()) is None
        insert("10.9.0.1", "10.96.0.10", "10.244.1.5")
        delta = counters.add(time.monotonic(), ct.stats_per_cpu())
        assert ct.counters() == ct.stats_per_cpu()
    assert delta is not None and delta.statistics.insert == 1 and len(delta.cpus) >= 1
    assert counters.total().insert == 1 and delta.per_second(0) == 0.0
    assert Statistics(drop=10, insert_failed=7, chain_toolong=3).losses() == Losses(6, 4, 3)


def test_pressure_and_growth_need_no_kernel() -> None:
    full = Pressure(262_144, 262_144, buckets=262_144, evictable=2_621)
    assert full.level() is Level.CRITICAL and full.headroom() == 0 and full.usage() == 1.0
    assert full.loss_when_full() == pytest.approx(0.852, abs=0.001)
    assert Pressure(5).headroom() is None
    trend = Trend()
    for second in range(60):
        trend.add(second, 1000 + 50 * second)
    growth = trend.growth(20.0)
    assert growth is not None and growth.significant
    assert Pressure(5000, 10_000, growth=growth).time_to_full() == pytest.approx(100, abs=0.1)


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-P", "-m", "ctnetlink", *arguments]
    return subprocess.run(words, capture_output=True, text=True, check=False)


def test_the_command_is_there(insert: Insert) -> None:
    insert("10.9.0.1", "10.96.0.10", "10.244.1.5")
    assert command("count").stdout == "1\n"
    doctor = command("doctor", "--interval", "0", "--json")
    assert doctor.returncode == 0 and json.loads(doctor.stdout)["summary"]["entries"] == 1
    assert command("doctor", "--nonsense").returncode == 3
    assert command("delete", "udp and").returncode == 2
    script = Path(sys.executable).parent / "ctnetlink"
    shown = subprocess.run([script, "--version"], capture_output=True, text=True, check=True)
    assert shown.stdout.split() == ["ctnetlink", ctnetlink.__version__]


def test_the_command_obeys_signals() -> None:
    words = [sys.executable, "-P", "-m", "ctnetlink", "count", "--watch=60"]
    child = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert child.stdout is not None and child.stdout.readline() == b"0\n"
    os.kill(child.pid, signal.SIGINT)
    _, errors = child.communicate(timeout=5)
    assert child.returncode == -signal.SIGINT and errors == b""


@pytest.mark.parametrize(("key", "status"), [(b"q", 0), (b"\x03", 130)])
def test_top_on_a_terminal(insert: Insert, key: bytes, status: int) -> None:
    """Keys choose what is shown, and the terminal is put back."""
    insert("10.9.0.1", "10.96.0.10", "10.244.1.5")
    ours, theirs = pty.openpty()
    words = [sys.executable, "-P", "-m", "ctnetlink", "top"]
    child = subprocess.Popen(words, stdin=theirs, stdout=theirs, stderr=theirs)

    def until(words: bytes) -> bytes:
        shown, end = b"", time.monotonic() + 10
        while words not in shown and time.monotonic() < end:
            if select.select([ours], [], [], 0.1)[0]:
                shown += os.read(ours, 65536)
        assert words in shown, shown
        return shown

    def modes() -> int:
        return int(termios.tcgetattr(ours)[3])

    until(b"TOP FRONTENDS")
    until(b"q quit")
    assert not modes() & (termios.ICANON | termios.ECHO)
    os.write(ours, b"s")
    until(b"TOP SOURCES")
    os.write(ours, b"d")
    until(b"ipv4 udp unreplied")
    os.write(ours, key)
    assert child.wait(timeout=10) == status
    assert modes() & termios.ICANON and modes() & termios.ECHO
    os.close(ours)
    os.close(theirs)
