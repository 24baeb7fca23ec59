"""Reconciling a real table with a cluster's objects."""

import io
import json
import time
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

import ctnetlink

Insert = Callable[..., None]


def cluster() -> dict[str, Any]:
    """Return one DNS service with a backend that serves and one that does not."""
    return {
        "apiVersion": "v1",
        "kind": "List",
        "items": [
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"namespace": "kube-system", "name": "kube-dns"},
                "spec": {
                    "clusterIP": "10.96.0.10",
                    "ports": [{"name": "dns", "port": 53, "protocol": "UDP", "nodePort": 30053}],
                },
            },
            {
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "addressType": "IPv4",
                "metadata": {
                    "namespace": "kube-system",
                    "name": "kube-dns-x",
                    "labels": {"kubernetes.io/service-name": "kube-dns"},
                },
                "endpoints": [
                    {"addresses": ["10.244.1.5"], "conditions": {"serving": True}},
                    {"addresses": ["10.244.9.9"], "conditions": {"serving": False}},
                ],
                "ports": [{"name": "dns", "port": 53, "protocol": "UDP"}],
            },
        ],
    }


@pytest.fixture
def desired() -> ctnetlink.DesiredState:
    """Return the desired state of that cluster."""
    return ctnetlink.DesiredState.from_kubernetes(json.dumps(cluster()))


@pytest.fixture
def table(insert: Insert) -> None:
    """One healthy entry, two stale ones, and TCP to the same frontend."""
    insert("10.0.0.1", "10.96.0.10", "10.244.1.5")
    insert("10.0.0.2", "10.96.0.10", "10.244.9.9")
    insert("10.0.0.3", "10.96.0.10", "10.244.1.5", backend_port=54)
    insert("10.0.0.4", "10.96.0.10", "10.244.9.9", "--state", "ESTABLISHED", protocol="tcp")


def test_dry_run_and_run(table: None, desired: ctnetlink.DesiredState) -> None:
    with ctnetlink.Conntrack() as ct:
        dry = ct.reconcile(desired, dry_run=True)
        assert (dry.dry_run, dry.families[0].stale, ct.count()) == (True, 2, 4)
        report = ct.reconcile(desired)
        left = {str(flow.orig.src) for flow in ct.dump()}
    assert left == {"10.0.0.1", "10.0.0.4"}
    ipv4, ipv6 = report.families
    assert (ipv4.family, ipv4.deleted, ipv4.already_gone, ipv4.failed) == ("ipv4", 2, 0, 0)
    assert (ipv4.received, ipv4.passes, ipv4.failures, ipv4.error) == (4, 2, [], None)
    assert ipv4.pushdown == "ip and udp and orig dst 10.96.0.10 and orig dst port 53"
    assert ipv4.reasons == dry.families[0].reasons
    assert (ipv4.reasons.backend_gone, ipv4.reasons.backend_port_changed) == (1, 1)
    assert (ipv4.reasons.not_translated, ipv4.reasons.frontend_removed) == (0, 0)
    gone = next(removal for removal in ipv4.removals if removal.reason == "backend_gone")
    assert gone.frontend == ctnetlink.Frontend("10.96.0.10", 53, "udp")
    assert str(gone.frontend) == "udp 10.96.0.10:53"
    assert gone.backend == (ip_address("10.244.9.9"), 53)
    assert (gone.reason, gone.count) == (ctnetlink.Reason.BACKEND_GONE, 1)
    assert repr(gone).startswith("Removal(frontend=Frontend(address=IPv4Address('10.96.0.10'),")
    assert "deleted=2" in repr(ipv4)
    assert ipv6.passes == 0
    assert report.succeeded and report.profile == "strict" and report.elapsed > 0.1
    assert not report.node_ports_judged
    assert "backend gone" in str(report)
    assert "deleted=2" in repr(report)


def test_options(insert: Insert, desired: ctnetlink.DesiredState) -> None:
    insert("10.0.0.1", "10.96.0.10", "10.244.9.9", "-w", "7")
    insert("10.0.0.1", "10.96.0.10", "10.244.9.9", "-w", "9")
    insert("10.0.0.2", "203.0.113.9", "203.0.113.9", dport=30053, backend_port=30053)
    with ctnetlink.Conntrack() as ct:
        one = ct.reconcile(desired, zones=[7], recheck=None)
        assert (one.families[0].deleted, one.families[0].passes) == (1, 1)
        assert ct.reconcile(desired, protocols=["tcp", 132]).families[0].stale == 0
        assert ct.reconcile(desired, profile="kube-proxy").families[0].deleted == 2
        with pytest.raises(ValueError, match='"strict" or "kube-proxy"'):
            ct.reconcile(desired, profile="lax")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="judges nothing"):
            ct.reconcile(desired, protocols=[])
        with pytest.raises(ValueError, match="judges nothing"):
            ct.reconcile(desired, zones=[])
        with pytest.raises(ValueError, match="recheck"):
            ct.reconcile(desired, recheck=-1)


def test_previous(insert: Insert) -> None:
    insert("10.0.0.1", "10.96.0.10", "10.244.1.5")
    before = ctnetlink.DesiredState.from_kubernetes(json.dumps(cluster()))
    moved = json.dumps(cluster()).replace("10.96.0.10", "10.96.0.11")
    now = ctnetlink.DesiredState.from_kubernetes(moved)
    with ctnetlink.Conntrack() as ct:
        assert ct.reconcile(now).families[0].stale == 0
        report = ct.reconcile(now, previous=before)
    assert report.families[0].reasons.frontend_removed == 1


def test_sources(tmp_path: Path) -> None:
    text = json.dumps(cluster())
    path = tmp_path / "cluster.json"
    path.write_text(text)
    from_kubernetes = ctnetlink.DesiredState.from_kubernetes
    for source in (text, text.encode(), path, io.StringIO(text), io.BytesIO(text.encode())):
        state = from_kubernetes(source, node_addresses=["192.0.2.1", ip_address("2001:db8::1")])
        assert state.frontends == [
            ctnetlink.Frontend("10.96.0.10", 53, "udp"),
            ctnetlink.Frontend("192.0.2.1", 30053, "udp"),
        ]
        assert state.notes == []
        assert "1 service ports" in repr(state)
    with path.open() as file:
        assert from_kubernetes(file).frontends
    with pytest.raises(FileNotFoundError) as raised:
        from_kubernetes(tmp_path / "none.json")
    assert raised.value.filename == str(tmp_path / "none.json")
    path.write_text("{")
    with pytest.raises(ValueError, match=str(path)):
        from_kubernetes(path)
    with path.open() as file, pytest.raises(ValueError, match=str(path)):
        from_kubernetes(file)
    with pytest.raises(TypeError, match="path-like"):
        from_kubernetes(7)  # type: ignore[arg-type]


def test_bad_documents() -> None:
    from_kubernetes = ctnetlink.DesiredState.from_kubernetes
    text = json.dumps(cluster())
    for document, expected in (
        ("", "empty"),
        (text[:100], "not valid JSON"),
        ('{"kind": "Pod"}', "its kind is"),
        ('{"kind": "List", "items": []}', "not one Service in the document"),
    ):
        with pytest.raises(ValueError, match=expected):
            from_kubernetes(document)
    with pytest.raises(ValueError, match=r"pass a pathlib\.Path for a file"):
        from_kubernetes("cluster.json")
    services = cluster()
    del services["items"][1]
    with pytest.raises(ValueError, match="not one EndpointSlice"):
        from_kubernetes(json.dumps(services))
    assert from_kubernetes(json.dumps(services), no_endpoints_ok=True).frontends


def test_half_a_picture_and_odd_objects() -> None:
    from_kubernetes = ctnetlink.DesiredState.from_kubernetes
    slices = cluster()
    del slices["items"][0]
    with pytest.raises(ValueError, match="no_services_ok"):
        from_kubernetes(json.dumps(slices))
    assert not from_kubernetes(json.dumps(slices), no_services_ok=True).frontends
    odd = json.dumps(cluster()).replace('"10.96.0.10"', '"10.96.0"')
    state = from_kubernetes(odd)
    (unknown,) = state.unknown
    assert (unknown.namespace, unknown.name, unknown.unreadable) == (
        "kube-system",
        "kube-dns",
        True,
    )
    assert "spec.clusterIP" in state.notes[0]
    zeros = json.dumps(cluster()).replace('"10.96.0.10"', '"010.096.0.010"')
    assert from_kubernetes(zeros).frontends == [ctnetlink.Frontend("10.96.0.10", 53, "udp")]


def test_zones_extra_backends_and_observers(insert: Insert) -> None:
    insert("10.0.0.1", "10.96.0.10", "169.254.20.10", sport=1)
    insert("10.0.0.2", "10.96.0.10", "10.244.9.9", "-w", "7", sport=2)
    insert("10.0.0.3", "10.96.0.10", "10.244.3.3", sport=3)
    frontend = ("udp", "10.96.0.10", 53)
    state = ctnetlink.DesiredState.from_frontends(
        {frontend: [("10.244.1.5", 53)]}, extra_backends={frontend: ["169.254.20.0/24"]}
    )
    with ctnetlink.Conntrack() as ct:
        observer = ctnetlink.Reconciler(authority="observer", recheck=None)
        report = observer.run(ct, state)
        ipv4 = report.families[0]
        assert (ipv4.stale, ipv4.quarantined, ipv4.other_zones) == (0, 1, 1)
        assert report.in_quarantine == 1 and observer.due is not None and observer.due > 0.5
        newer = ctnetlink.DesiredState.from_frontends(
            {frontend: [("10.244.1.5", 53)]},
            extra_backends={frontend: ["169.254.20.0/24"]},
            age=0.0,
        )
        decided = observer.run(ct, newer)
        assert (decided.families[0].deleted, decided.in_quarantine) == (1, 0)
        insert("10.0.0.3", "10.96.0.10", "10.244.3.3", sport=3)
        assert ct.reconcile(state, dry_run=True).families[0].other_zones == 1
        assert ct.reconcile(state, dry_run=True, zones="all").families[0].stale == 2
        assert ct.reconcile(state, zones=[7]).families[0].deleted == 1
        assert ct.reconcile(state).families[0].deleted == 1
        assert ct.count() == 1
        with pytest.raises(ValueError, match="authority"):
            ctnetlink.Reconciler(authority="king")  # type: ignore[arg-type]


def test_published_ports(insert: Insert) -> None:
    insert("10.0.0.1", "192.0.2.5", "10.88.0.7", sport=1, dport=8003)
    insert("10.0.0.2", "192.0.2.5", "10.88.0.9", sport=2, dport=8003)
    build = ctnetlink.DesiredState.from_published
    here = ["192.0.2.5"]
    with ctnetlink.Conntrack() as ct:
        ports = ("udp", range(8000, 8100), None, "10.88.0.7", range(50, 150))
        report = ct.reconcile(build([ports], node_addresses=here), recheck=None)
        assert report.families[0].deleted == 1
        torn_down = build(unpublished=[ports[:4]], node_addresses=here)
        report = ct.reconcile(torn_down, recheck=None)
        assert report.families[0].reasons.frontend_removed == 1
    with pytest.raises(ValueError, match="no ipv4 node address"):
        build([ports])


def test_a_reconciler_costs_what_has_changed(
    table: None, insert: Insert, desired: ctnetlink.DesiredState
) -> None:
    reconciler = ctnetlink.Reconciler(recheck=0.01, defer_recheck=True)
    with ctnetlink.Conntrack() as ct:
        first = reconciler.run(ct, desired)
        assert not first.nothing_changed and first.families[0].deleted > 0
        due = reconciler.due
        assert due is not None and 0 <= due <= 0.01
        time.sleep(due)
        assert not reconciler.run(ct, desired).nothing_changed
        assert reconciler.due is None
        insert("10.0.0.9", "10.96.0.10", "10.244.9.9")
        silent = reconciler.run(ct, desired)
        assert silent.nothing_changed and "nothing sent" in str(silent)
        reconciler.look_at_everything()
        assert reconciler.run(ct, desired).families[0].deleted == 1
        with pytest.raises(ValueError, match="unknown profile"):
            ctnetlink.Reconciler(profile="other")  # type: ignore[arg-type]


def test_a_reconciler_waits_if_told_to(
    table: None, insert: Insert, desired: ctnetlink.DesiredState
) -> None:
    reconciler = ctnetlink.Reconciler(recheck=None, min_interval=3600)
    with ctnetlink.Conntrack() as ct:
        assert not reconciler.run(ct, desired).postponed
        insert("10.0.0.9", "10.96.0.10", "10.244.9.9")
        reconciler.look_at_everything()
        report = reconciler.run(ct, desired)
        assert report.postponed and not report.nothing_changed
        assert reconciler.due is not None and 3500 < reconciler.due <= 3600


def test_a_grace_time_keeps_flows(insert: Insert) -> None:
    def desired(serving: bool) -> ctnetlink.DesiredState:
        frontend = ("udp", "10.96.0.10", 53)
        backends = [("10.244.1.5", 53, True), ("10.244.9.9", 53, serving)]
        return ctnetlink.DesiredState.from_frontends({frontend: backends})

    reconciler = ctnetlink.Reconciler(recheck=None, grace=3600)
    with ctnetlink.Conntrack() as ct:
        insert("10.0.0.9", "10.96.0.10", "10.244.9.9")
        assert reconciler.run(ct, desired(True)).in_grace == 0
        report = reconciler.run(ct, desired(False))
        assert (report.in_grace, report.nothing_changed) == (1, True)
        assert "nothing_changed" in repr(report)
        assert ct.count("orig src 10.0.0.9") == 1
        assert reconciler.due is not None
        assert reconciler.due > 3500
    for keyword in ("grace", "min_interval"):
        with pytest.raises(ValueError, match=keyword):
            ctnetlink.Reconciler(**{keyword: -1.0})  # type: ignore[arg-type]


def test_a_run_can_be_cancelled(insert: Insert, desired: ctnetlink.DesiredState) -> None:
    reconciler = ctnetlink.Reconciler(recheck=None)
    with ctnetlink.Conntrack() as ct:
        insert("10.0.0.9", "10.96.0.10", "10.244.9.9")
        reconciler.cancel()
        report = reconciler.run(ct, desired)
        assert not report.succeeded
        assert "cancelled" in str(report.families[0].error)
        assert reconciler.due is not None
        assert reconciler.run(ct, desired).succeeded
        assert ct.count() == 0


def test_a_desired_state_without_kubernetes(insert: Insert) -> None:
    desired = ctnetlink.DesiredState.from_frontends(
        {
            ("udp", "10.96.0.10", 53): [("10.244.1.5", 53), ("10.244.1.6", 53, False)],
            ("udp", ip_address("fd00::10"), 53): [],
            ("tcp", "10.96.0.10", 80): [],
        }
    )
    assert [str(frontend) for frontend in desired.frontends] == [
        "udp 10.96.0.10:53",
        "udp [fd00::10]:53",
        "tcp 10.96.0.10:80",
    ]
    insert("10.0.0.1", "10.96.0.10", "10.244.1.5")
    insert("10.0.0.2", "10.96.0.10", "10.244.1.6")
    with ctnetlink.Conntrack() as ct:
        report = ct.reconcile(desired, recheck=None)
        assert report.families[0].deleted == 1
        assert [str(flow.orig.src) for flow in ct.dump()] == ["10.0.0.1"]


@pytest.mark.parametrize(
    ("frontends", "expected"),
    [
        ({("udp", "10.96.0.10"): []}, "expected .protocol, address, port."),
        ({("udq", "10.96.0.10", 53): []}, "'udq', '10.96.0.10', 53.*protocol"),
        ({("udp", "10.96.0", 53): []}, "10.96.0"),
        ({("udp", "10.96.0.10", 0): []}, "0 is not a port"),
        ({("udp", "10.96.0.10", 53): ["10.244.1.5:53"]}, "backends are"),
        ({("udp", "10.96.0.10", 53): [("10.244.1.5", 99999)]}, "backends are"),
    ],
)
def test_a_mistake_in_a_desired_state_is_named(
    frontends: dict[tuple[str, str, int], list[tuple[str, int]]], expected: str
) -> None:
    with pytest.raises(ValueError, match=expected):
        ctnetlink.DesiredState.from_frontends(frontends)
