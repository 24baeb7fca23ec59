"""Operations on single entries, batches, expectations and timeouts, on a real table."""

import errno
import pickle
import subprocess
import threading
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path

import pytest

import ctnetlink
from ctnetlink import (
    Batch,
    Canceller,
    Change,
    Conntrack,
    ExpectKey,
    Key,
    NatRange,
    NewEntry,
    NewExpectation,
    TcpProtocolState,
    TcpState,
    TimeoutPolicy,
    Timeouts,
    Tuple,
)

Insert = Callable[..., None]

DNS = Tuple("udp", "10.0.0.1", "10.96.0.10", 1001, 53)


def test_life_of_an_entry() -> None:
    with Conntrack() as ct:
        entry = NewEntry(DNS, 300, dst_nat=NatRange.to(("10.244.1.5", 5353)), mark=7, zone=3)
        ct.create(entry)
        key = Key.orig(DNS, zone=3)
        flow = ct.get(key)
        assert flow.reply.source == (ip_address("10.244.1.5"), 5353)
        assert (flow.mark, flow.zone) == (7, 3)
        assert ctnetlink.Status.DST_NAT in flow.status
        assert ct.get(flow.key()).key() == flow.key()
        with pytest.raises(FileExistsError):
            ct.create(entry)
        ct.update(key, Change(mark=(0x10, 0xF0), timeout=60))
        changed = ct.get(key)
        assert changed.mark == 0x17 and changed.timeout is not None and changed.timeout <= 60
        assert changed != flow and changed.key() == flow.key()
        ct.create_or_update(NewEntry(DNS, 90, zone=3, mark=9))
        assert ct.get(key).mark == 9
        with pytest.raises(FileNotFoundError) as caught:
            ct.get(Key.orig(DNS))
        assert str(caught.value).count("2") == 1, "the errno stands there once"
        ct.delete_key(key)
        with pytest.raises(FileNotFoundError):
            ct.delete_key(key)


def test_the_peers_entry_is_another_one() -> None:
    back = DNS.inverse()
    assert back is not None
    with Conntrack() as ct:
        ct.create(NewEntry(back, 300))
        with pytest.raises(ctnetlink.AnotherEntry, match="left alone"):
            ct.delete_key(Key.orig(DNS))
        with pytest.raises(FileNotFoundError):
            ct.get(Key.orig(DNS))
        assert ct.count() == 1


def test_states_labels_and_adjustments() -> None:
    tcp = Tuple("tcp", "10.0.0.1", "10.96.0.10", 1001, 80)
    with Conntrack() as ct:
        state = TcpProtocolState(TcpState.ESTABLISHED, flags_orig=4)
        ct.create(NewEntry(tcp, 300, state=state, status=["ASSURED", "SEEN_REPLY"]))
        flow = ct.get(Key.orig(tcp))
        assert flow.state is TcpState.ESTABLISHED
        assert isinstance(flow.protocol_state, TcpProtocolState)
        assert flow.protocol_state.flags_orig == 4
        assert str(flow.status) == "SEEN_REPLY | ASSURED | CONFIRMED"
        assert flow.to_dict()["state"] == "ESTABLISHED"
        assert '"protocol":"tcp"' in flow.json()
        assert "[ASSURED]" in flow.line() and f"id={flow.id}" in flow.line(id=True)
        assert flow.line(extended=True).startswith("ipv4     2 ")
        assert flow.attribute(3) == int(flow.status).to_bytes(4, "big")
        assert (3, flow.attribute(3)) in flow.attributes()
        assert flow.attribute(99) is None
        again = ctnetlink.Flow.parse(flow.payload)
        assert again == flow and hash(again) == hash(flow)
        assert pickle.loads(pickle.dumps(flow)) == flow
        with pytest.raises(ctnetlink.DecodeError):
            ctnetlink.Flow.parse(b"\x02\x00\x00\x00")
        for word, hint in (("tuple_orig", "here it is orig"), ("saddr", "here it is orig.src")):
            with pytest.raises(AttributeError, match=hint):
                getattr(flow, word)


def test_two_dumps_of_one_flow_are_equal(insert: Insert) -> None:
    insert("10.0.0.1", "10.96.0.10", "10.244.1.5")
    with Conntrack() as ct:
        # The timeout can go on between two dumps, but hardly between each two of three.
        pairs = [(list(ct.dump()), list(ct.dump())) for _ in range(3)]
        assert any(one == two and len({*one, *two}) == 1 for one, two in pairs)
        assert len({flow.key() for pair in pairs for flows in pair for flow in flows}) == 1


def test_batches_have_outcomes() -> None:
    with Conntrack() as ct:
        batch = Batch()
        for port in range(1, 501):
            batch.create(NewEntry(Tuple("udp", "10.0.0.1", "10.0.0.2", port, 53), 300))
        batch.create(NewEntry(Tuple("udp", "10.0.0.1", "10.0.0.2", 1, 53), 300))
        batch.delete_key(Key.orig(DNS))
        batch.update(Key.orig(Tuple("udp", "10.0.0.1", "10.0.0.2", 2, 53)), Change(mark=4))
        assert len(batch) == 503
        outcomes = ct.execute(batch)
        assert len(batch) == 0 and len(outcomes) == 503
        assert all(outcome.is_done for outcome in outcomes[:500])
        exists, absent, changed = outcomes[500:]
        assert exists.kind == "failed" and isinstance(exists.error, FileExistsError)
        assert absent.is_not_found and absent.error is None
        assert changed.is_done and ct.count(mark=4) == 1
        flows = list(ct.dump())
        for flow in flows:
            batch.delete(flow)
        assert {outcome.kind for outcome in ct.execute(batch)} == {"done"}
        assert ct.count() == 0
        assert ct.execute(batch) == []


def test_echo_reports_the_entry() -> None:
    Path("/proc/sys/net/netfilter/nf_conntrack_events").write_text("1")
    with Conntrack() as ct:
        echo = ct.echo()
        created = echo.create(NewEntry(DNS, 300))
        assert created is not None and created.orig == DNS
        updated = echo.update(Key.orig(DNS), Change(mark=5))
        assert updated is not None and updated.mark == 5
        deleted = echo.delete_key(Key.orig(DNS))
        assert deleted is not None and deleted.orig == DNS
        assert ct.count() == 0


def test_flush_and_counters(insert: Insert) -> None:
    Path("/proc/sys/net/netfilter/nf_conntrack_acct").write_text("1")
    insert("10.0.0.1", "10.96.0.10", "10.244.1.5")
    insert("fd00:9::1", "fd00:96::a", "fd00:244::5")
    with Conntrack() as ct:
        assert sorted(flow.family for flow in ct.dump_and_zero()) == ["ipv4", "ipv6"]
        (four,) = ct.dump(family="ipv4")
        assert ct.get_and_zero(four.key()).counters_orig == ctnetlink.Counters(0, 0)
        ct.flush("ipv4")
        assert [flow.family for flow in ct.dump()] == ["ipv6"]
        ct.flush_all()
        assert ct.count() == 0
        assert list(ct.dying()) == []


def test_statistics_and_the_socket() -> None:
    with Conntrack() as ct, Conntrack() as other:
        stats = ct.stats_per_cpu()
        assert [one.cpu for one in stats] == list(range(len(stats)))
        assert stats[0].drop == 0 and stats[0].found is not None
        assert [one.new for one in ct.expect_stats_per_cpu()] == [0] * len(stats)
        assert ct.port_id != other.port_id
        assert ct.set_receive_buffer(10_000) >= 10_000


def test_expectations() -> None:
    subprocess.run(["nft", "add table ip x"], check=True)
    rules = 'add ct helper ip x h { type "ftp" protocol tcp; }'
    subprocess.run(["nft", rules], check=True)
    master = Tuple("tcp", "10.0.0.1", "10.0.0.2", 1001, 21)
    expected = Tuple("tcp", "10.0.0.2", "10.0.0.1", 0, 2020)
    mask = Tuple("tcp", "255.255.255.255", "255.255.255.255", 0, 65535)
    with Conntrack() as ct:
        ct.create(NewEntry(master, 300, helper="ftp"))
        assert ct.get(Key.orig(master)).helper == "ftp"
        ct.create_expectation(NewExpectation(master, expected, mask, flags="PERMANENT"))
        (one,) = ct.expectations()
        assert one == ct.expectation(ExpectKey.tuple(expected))
        assert (one.master, one.tuple, one.helper) == (master, expected, "ftp")
        assert ctnetlink.ExpectFlags.PERMANENT in one.flags
        assert ct.expectations_of(Key.orig(master)) == [one]
        assert pickle.loads(pickle.dumps(one)) == one
        ct.create_or_update_expectation(NewExpectation(master, expected, mask, timeout=9))
        ct.delete_expectation(ExpectKey.tuple(expected, id=one.id))
        with pytest.raises(FileNotFoundError):
            ct.delete_expectation(ExpectKey.tuple(expected))
        ct.create_expectation(NewExpectation(master, expected, mask))
        ct.delete_expectations_of_helper("ftp")
        ct.flush_expectations()
        assert ct.expectations() == []


def test_timeout_policies() -> None:
    with Conntrack() as ct:
        policy = TimeoutPolicy("short", "ipv4", Timeouts("udp", {"UNREPLIED": 5}))
        ct.create_timeout_policy(policy)
        with pytest.raises(FileExistsError):
            ct.create_timeout_policy(policy)
        read = ct.timeout_policy("short")
        assert (read.name, read.family, read.users) == ("short", "ipv4", 1)
        assert read.timeouts.get("UNREPLIED") == 5
        ct.replace_timeout_policy(TimeoutPolicy("short", "ipv4", Timeouts("udp", {"REPLIED": 6})))
        assert dict(ct.timeout_policy("short").timeouts.items())["REPLIED"] == 6
        assert ct.timeout_policies() == [ct.timeout_policy("short")]
        ct.delete_timeout_policy("short")
        ct.flush_timeout_policies()
        assert ct.timeout_policies() == []
        ct.set_default_timeouts("ipv4", Timeouts("udp").set("UNREPLIED", 17))
        assert ct.default_timeouts("ipv4", "udp").get("UNREPLIED") == 17
        with pytest.raises(ValueError, match='expected one of "UNREPLIED", "REPLIED"'):
            Timeouts("udp", {"ESTABLISHED": 1})


def test_callbacks_run_in_the_callers_thread(insert: Insert) -> None:
    for port in range(1, 6):
        insert("10.0.0.1", "10.96.0.10", "10.244.1.5", sport=port)
    with Conntrack() as ct:
        seen: list[tuple[int, int | None]] = []

        def note(flow: ctnetlink.Flow) -> None:
            seen.append((threading.get_ident(), flow.orig.src_port))

        report = ct.delete_matching("udp", dry_run=True, on_match=note)
        assert isinstance(report, ctnetlink.DeleteReport) and report.matched == 5
        assert sorted(port for _, port in seen if port) == [1, 2, 3, 4, 5]
        assert {ident for ident, _ in seen} == {threading.get_ident()}

        def fail(flow: ctnetlink.Flow) -> None:
            raise LookupError(flow.orig.src_port)

        with pytest.raises(LookupError):
            ct.delete_matching("udp", dry_run=True, on_match=fail)
        with pytest.raises(LookupError):
            ct.zero("udp", on_match=fail)
        with pytest.raises(ValueError, match="cannot be combined"):
            ct.delete_matching("udp", in_kernel=True, on_match=note)  # type: ignore[call-overload]
        assert ct.count() == 5


def test_a_dump_can_be_closed(insert: Insert) -> None:
    for port in range(1, 4):
        insert("10.0.0.1", "10.96.0.10", "10.244.1.5", sport=port)
    with Conntrack() as ct, ct.dump(orig_dst_port=53, protocol="udp") as dump:
        assert dump.pushdown.startswith("ip and udp and orig dst port 53; ")
        next(dump)
        assert dump.received == 3 and "3 entries received" in repr(dump)
        dump.close()
        assert list(dump) == []
        assert dump.received == 3


def test_a_canceller_ends_operations(insert: Insert) -> None:
    insert("10.0.0.1", "10.96.0.10", "10.244.1.5")
    canceller = Canceller()
    with Conntrack() as ct:
        cancelled = ct.cancelled_by(canceller)
        assert cancelled.count("udp") == 1 and not canceller.is_cancelled
        canceller.cancel()
        for operation in (
            lambda: cancelled.count("udp"),
            lambda: list(cancelled.dump()),
            lambda: cancelled.delete_matching("udp"),
            lambda: cancelled.zero("udp"),
            lambda: cancelled.delete_many(list(ct.dump())),
            cancelled.capabilities,
        ):
            with pytest.raises(ctnetlink.Cancelled, match="cancelled") as caught:
                operation()
            assert caught.value.errno == errno.ECANCELED
        assert cancelled.count() == 1


def test_rules_judge_without_a_kernel(insert: Insert) -> None:
    insert("10.0.0.1", "10.96.0.10", "10.244.1.5")
    insert("10.0.0.2", "10.96.0.10", "10.244.9.9", sport=2)
    desired = ctnetlink.DesiredState.from_frontends(
        {ctnetlink.Frontend("10.96.0.10", 53, "udp"): [ctnetlink.Endpoint(("10.244.1.5", 53))]}
    )
    with Conntrack() as ct:
        flows = {str(flow.orig.src): flow for flow in ct.dump()}
    rules = ctnetlink.Rules(desired)
    assert rules.frontends == 1 and isinstance(rules.node_ports_judged, bool)
    assert rules.verdict(flows["10.0.0.1"]) == ctnetlink.Verdict("keep", None)
    stale = rules.verdict(flows["10.0.0.2"])
    assert (stale.kind, stale.reason) == ("stale", ctnetlink.Reason.BACKEND_GONE)
    four = rules.filter("ipv4")
    assert four is not None and four.matches(flows["10.0.0.2"])
    assert rules.filter("ipv6") is None
    other = ctnetlink.Rules(desired, scope=ctnetlink.Scope(protocols=["tcp"], zones=[1]))
    assert other.verdict(flows["10.0.0.2"]).kind == "keep"
    nothing = ctnetlink.DesiredState.from_frontends({("udp", "10.96.0.99", 53): []})
    vanished = ctnetlink.Rules(nothing, ctnetlink.History.after(desired))
    assert vanished.verdict(flows["10.0.0.1"]).reason == "frontend_removed"


def test_services_and_progress(insert: Insert) -> None:
    insert("10.0.0.2", "10.96.0.10", "10.244.9.9", sport=2)
    key = ctnetlink.ServiceKey("kube-system", "kube-dns", "dns", "udp")
    service = ctnetlink.ServicePort(
        key, 53, 30053, ["10.96.0.10"], endpoints=[ctnetlink.Endpoint(("10.244.1.5", 53), True)]
    )
    assert str(key) == "kube-system/kube-dns:dns" and service.exists_in("ipv4")
    assert [str(frontend) for frontend in service.frontends] == ["udp 10.96.0.10:53"]
    desired = ctnetlink.DesiredState.from_services(
        [service],
        unknown=[ctnetlink.Unknown("default", "web")],
        node_addresses=["192.0.2.1"],
        notes=["a note"],
        age=5,
    )
    assert desired.services == [service] and desired.notes == ["a note"]
    assert [one.name for one in desired.unknown] == ["web"]
    assert [str(address) for address in desired.node_addresses] == ["192.0.2.1"]
    assert desired.age is not None and desired.age >= 5
    told: list[ctnetlink.Progress] = []
    with Conntrack() as ct:
        reconciler = ctnetlink.Reconciler(dry_run=True, recheck=None, on_progress=told.append)
        assert reconciler.run(ct, desired).families[0].stale == 1 and ct.count() == 1
        assert told[-1].stale == 1 and told[-1].pass_ == 1
        report = ct.reconcile(desired, recheck=None, on_progress=told.append)
        assert report.families[0].reasons.total == 1 and ct.count() == 0
        assert ("backend_gone", 1) in report.families[0].reasons.items()
        again = pickle.loads(pickle.dumps(report))
        assert again == report and str(again) == str(report)

        def fail(progress: ctnetlink.Progress) -> None:
            raise LookupError(progress.received)

        with pytest.raises(LookupError):
            ct.reconcile(desired, recheck=None, on_progress=fail)
        with pytest.raises(TypeError, match="on_progress: expected a callable"):
            ctnetlink.Reconciler(on_progress=1)  # type: ignore[arg-type]


def test_label_names() -> None:
    names = ctnetlink.LabelMap.parse("# mine\n5 voip\n6 bulk\n")
    assert (names.bit("bulk"), names.name(5), names.name(7)) == (6, "voip", None)
    assert names.names([5, 7, 6]) == ["voip", "bulk"]
    assert names == ctnetlink.LabelMap.parse("5 voip\n6 bulk")
    with pytest.raises(ValueError, match="line 1"):
        ctnetlink.LabelMap.parse("voip 5")
