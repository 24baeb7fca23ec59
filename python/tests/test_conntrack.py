"""The handle, flows and filters, on a real table."""

import errno
import gc
import ipaddress
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import ctnetlink

Insert = Callable[..., None]


@pytest.fixture
def table(insert: Insert) -> None:
    """Five entries of different kinds."""
    insert("10.0.0.1", "10.96.0.10", "10.244.1.5", "-u", "SEEN_REPLY")
    insert("10.0.0.2", "10.96.0.10", "10.244.9.9", "-m", "17")
    insert("10.0.0.3", "10.96.0.10", "10.244.9.9", dport=9153)
    insert("fd00:9::1", "fd00:96::a", "fd00:244::5", "-w", "7")
    tcp = ("--state", "ESTABLISHED")
    insert("10.0.0.4", "10.96.0.10", "10.244.9.9", *tcp, protocol="tcp")


def sources(flows: ctnetlink.Dump) -> set[str]:
    """Return the clients of what a dump yields."""
    return {str(flow.orig.src) for flow in flows}


def test_count_and_limit(table: None) -> None:
    with ctnetlink.Conntrack() as ct:
        assert ct.count() == 5
        assert ct.limit() == int(Path("/proc/sys/net/netfilter/nf_conntrack_max").read_text())


def test_a_flow_has_everything(table: None) -> None:
    with ctnetlink.Conntrack() as ct:
        (flow,) = ct.dump(orig_src="10.0.0.2")
        assert (flow.family, flow.protocol, flow.protocol_number) == ("ipv4", "udp", 17)
        assert flow.orig.src == ipaddress.IPv4Address("10.0.0.2")
        assert flow.orig.dst == ipaddress.ip_address("10.96.0.10")
        assert (flow.orig.src_port, flow.orig.dst_port) == (1000, 53)
        assert flow.reply.src == ipaddress.ip_address("10.244.9.9")
        assert flow.orig.protocol == "udp"
        assert flow.orig.icmp is None and flow.orig.zone is None
        assert flow.status == ctnetlink.Status.CONFIRMED
        assert isinstance(flow.status, ctnetlink.Status)
        assert flow.timeout is not None and 590 < flow.timeout <= 600
        assert (flow.mark, flow.zone, flow.state) == (17, 0, None)
        assert isinstance(flow.id, int)
        assert str(flow).startswith("udp      17 ")
        assert "dst=10.96.0.10" in repr(flow)
        (tcp,) = ct.dump(protocol="tcp")
        assert tcp.state == "ESTABLISHED"
        (v6,) = ct.dump(family="ipv6")
        assert v6.zone == 7
        assert v6.orig.dst == ipaddress.IPv6Address("fd00:96::a")
        assert v6.orig == v6.orig and v6.orig != v6.reply
        assert hash(v6.orig) == hash(v6.orig)


def test_icmp() -> None:
    words = "-I -p icmp -t 60 -s 10.0.0.1 -d 10.0.0.2 --icmp-type 8 --icmp-code 0 --icmp-id 7"
    subprocess.run(["conntrack", *words.split()], check=True, capture_output=True)
    with ctnetlink.Conntrack() as ct:
        (flow,) = ct.dump()
        icmp = flow.orig.icmp
        assert icmp is not None
        assert (icmp.type, icmp.code, icmp.id) == (8, 0, 7)
        assert flow.orig.src_port is None


def test_filters_by_keyword_and_by_object(table: None) -> None:
    v4 = {f"10.0.0.{n}" for n in (1, 2, 3, 4)}
    with ctnetlink.Conntrack() as ct:
        assert sources(ct.dump()) == v4 | {"fd00:9::1"}
        assert sources(ct.dump(protocol="udp", orig_dst_port=9153)) == {"10.0.0.3"}
        assert sources(ct.dump(protocol=6)) == {"10.0.0.4"}
        assert sources(ct.dump(zone=7, protocol=None)) == {"fd00:9::1"}
        assert len(sources(ct.dump(protocol=None))) == 5
        assert sources(ct.dump(mark=(1, 1))) == {"10.0.0.2"}
        assert sources(ct.dump(status=ctnetlink.Status.SEEN_REPLY)) == {"10.0.0.1"}
        assert sources(ct.dump(orig_dst=ipaddress.ip_address("fd00:96::a"))) == {"fd00:9::1"}
        udp, dead = ctnetlink.Filter(protocol="udp"), ctnetlink.Filter(reply_src="10.244.9.9")
        assert sources(ct.dump(udp & dead)) == {"10.0.0.2", "10.0.0.3"}
        assert sources(ct.dump(udp & ~dead)) == {"10.0.0.1", "fd00:9::1"}
        assert sources(ct.dump(dead | ctnetlink.Filter(zone=7))) == {
            "10.0.0.2",
            "10.0.0.3",
            "10.0.0.4",
            "fd00:9::1",
        }
        assert all(udp.matches(flow) for flow in ct.dump(udp))
    assert str(udp & ~dead) == "udp and not reply src 10.244.9.9"
    assert udp == ctnetlink.Filter(protocol=17)
    assert ctnetlink.Filter.parse(str(udp & ~dead)) == udp & ~dead


def test_filters_as_text(table: None) -> None:
    with ctnetlink.Conntrack() as ct:
        assert sources(ct.dump("udp and orig dst port 9153")) == {"10.0.0.3"}
        assert sources(ct.dump("ip6 or tcp")) == {"fd00:9::1", "10.0.0.4"}
        with pytest.raises(ValueError, match='column 14: expected "src", "dst"'):
            ct.dump("udp and orig dest port 53")
        with pytest.raises(TypeError):
            ct.dump(7)  # type: ignore[arg-type]


def test_bad_filters_are_refused(table: None) -> None:
    with pytest.raises(ValueError, match="empty filter"):
        ctnetlink.Filter()
    with ctnetlink.Conntrack() as ct:
        with pytest.raises(TypeError, match="not both"):
            ct.dump(ctnetlink.Filter(zone=1), zone=1)
        with pytest.raises(TypeError):
            ct.dump(destination="10.0.0.1")  # type: ignore[call-arg]
        with pytest.raises(TypeError):
            ct.dump(destination=None)  # type: ignore[call-arg]
        with pytest.raises(ValueError, match="empty mask compares no bits"):
            ct.dump(status=0)
        with pytest.raises(ValueError, match="outside its mask"):
            ct.dump(mark=(2, 1))


def test_delete(table: None) -> None:
    with ctnetlink.Conntrack() as ct:
        flows = list(ct.dump())
        ct.delete(flows[0])
        assert ct.count() == 4
        with pytest.raises(FileNotFoundError, match="ENOENT") as raised:
            ct.delete(flows[0])
        assert raised.value.errno == errno.ENOENT
        done = ct.delete_many(flows)
        assert (done.deleted, done.already_gone, done.failed, done.failed_at) == (4, 1, 0, [])
        assert "deleted=4" in repr(done)
        assert ct.count() == 0
        assert ct.delete_many([]).deleted == 0
        with pytest.raises(TypeError):
            ct.delete_many([1])  # type: ignore[list-item]


def test_deleting_while_dumping(insert: Insert) -> None:
    for n in range(1, 51):
        insert(f"10.0.0.{n}", "10.96.0.10", "10.244.1.5")
    with ctnetlink.Conntrack() as ct:
        for flow in ct.dump():
            ct.delete(flow)
        assert ct.count() == 0


def test_a_closed_handle() -> None:
    ct = ctnetlink.Conntrack()
    with ct as same:
        assert same is ct
    with pytest.raises(ValueError, match="closed"):
        ct.count()
    ct.close()


def test_a_dump_outlives_its_handle(table: None) -> None:
    dump = ctnetlink.Conntrack().dump()
    gc.collect()
    assert iter(dump) is dump
    assert len(list(dump)) == 5
    assert list(dump) == []


def test_another_namespace(table: None, tmp_path: Path, leave: Callable[[], None]) -> None:
    here = "/proc/thread-self/ns/net"
    counted: list[int] = []

    def elsewhere() -> None:
        leave()
        counted.append(ctnetlink.Conntrack().count())
        with open(f"/proc/self/fd/{fd}") as file:
            counted.append(ctnetlink.Conntrack(netns=file).count())
        with ctnetlink.Conntrack(netns=Path(f"/proc/self/fd/{fd}")) as ct:
            counted.append(len(list(ct.dump())))

    fd = os.open(here, os.O_RDONLY)
    try:
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
    finally:
        os.close(fd)
    assert counted == [0, 5, 5]
    with pytest.raises(FileNotFoundError) as raised:
        ctnetlink.Conntrack(netns=tmp_path / "none")
    assert raised.value.filename == str(tmp_path / "none")
    with pytest.raises(ValueError, match="a network namespace is expected"):
        ctnetlink.Conntrack(netns="/proc/version")
    with pytest.raises(FileNotFoundError) as unknown:
        ctnetlink.Conntrack(netns="ctnetlink-none")
    assert unknown.value.filename == "/run/netns/ctnetlink-none"
    with pytest.raises(ValueError, match="`ip netns` lists the names"):
        ctnetlink.Conntrack(netns="..")


def test_a_process_by_its_number(table: None) -> None:
    child = subprocess.Popen(["sleep", "60"])
    try:
        assert ctnetlink.Conntrack(pid=child.pid).count() == 5
    finally:
        child.kill()
        child.wait()
    with pytest.raises(FileNotFoundError):
        ctnetlink.Conntrack(pid=child.pid)
    # A bare number could be either, so it is neither.
    for number in (1, 1.5, True):
        with pytest.raises(TypeError, match=r"fileno\(\).*pid="):
            ctnetlink.Conntrack(netns=number)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="cannot be combined"):
        ctnetlink.Conntrack(netns="blue", pid=1)


def test_a_namespace_by_its_name(table: None) -> None:
    """As `ip netns` knows it: a bind mount, here in a mount namespace of its own."""
    script = """
import subprocess, sys, ctnetlink
subprocess.run("mount -t tmpfs none /run && ip netns add blue", shell=True, check=True)
here, blue = ctnetlink.Conntrack(), ctnetlink.Conntrack(netns="blue")
print(here.count(), blue.count(), list(blue.dump()))
"""
    run = subprocess.run(
        ["unshare", "--mount", sys.executable, "-P", "-c", script],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.stdout, run.stderr) == ("5 0 []\n", "")


SCRIPT = """
import multiprocessing, sys
import ctnetlink


def work(ct):
    ct = ct or ctnetlink.Conntrack()
    return ct.count(), len(list(ct.dump()))


def child(queue, ct=None):
    queue.put({work(ct) for _ in range(50)})


if __name__ == "__main__":
    method = sys.argv[1]
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    ct = ctnetlink.Conntrack()
    arguments = (queue, ct) if method == "fork" else (queue,)
    children = [context.Process(target=child, args=arguments) for _ in range(3)]
    for process in children:
        process.start()
    seen = {work(ct) for _ in range(50)}
    for _ in children:
        seen |= queue.get(timeout=60)
    for process in children:
        process.join()
    print(seen)
"""


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_multiprocessing(table: None, tmp_path: Path, method: str) -> None:
    """Children and the parent use the table at the same time, each with sockets of its own."""
    script = tmp_path / "work.py"
    script.write_text(SCRIPT)
    command = [sys.executable, "-W", "ignore", str(script), method]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (run.stdout, run.stderr) == ("{(5, 5)}\n", "")
    # A handle cannot be sent to another process; a forked one has it already.
    with pytest.raises(TypeError, match="pickle"):
        pickle.dumps(ctnetlink.Conntrack())


def test_no_privilege_is_a_permission_error_with_the_remedy() -> None:
    """A child without capabilities inherits the namespace, but may not use it."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            import ctypes

            header = (ctypes.c_uint32 * 2)(0x20080522, 0)
            ctypes.CDLL(None).capset(header, (ctypes.c_uint32 * 6)())
            ctnetlink.Conntrack().count()
            os.write(writer, b"no error")
        except PermissionError as error:
            os.write(writer, f"{error.errno} {error}".encode())
        finally:
            os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with open(reader) as pipe:
        text = pipe.read()
    assert text.startswith(f"{errno.EPERM} ")
    assert "CAP_NET_ADMIN" in text


def test_threads_run_while_the_kernel_works(insert: Insert) -> None:
    """One handle, several threads, each with dumps of its own."""
    for n in range(1, 21):
        insert(f"10.0.0.{n}", "10.96.0.10", "10.244.1.5")
    ct = ctnetlink.Conntrack()
    counts: list[int] = []
    threads = [
        threading.Thread(target=lambda: counts.append(len(list(ct.dump())))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts == [20] * 8


def test_capabilities_within_a_time() -> None:
    found = ctnetlink.Conntrack().capabilities(within=0)
    assert found.untested == "the time for it was over"
    assert {flush for _, flush in found.trust.values()} == {"untested"}
    with pytest.raises(ValueError, match="within"):
        ctnetlink.Conntrack().capabilities(within=-1)
