"""Every test runs in a private network namespace of its own, as root or without privilege."""

import ctypes
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from ctnetlink import Batch, Conntrack, NewEntry, Tuple

CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000


def unshare(flags: int) -> None:
    """Move this thread into fresh namespaces (``os.unshare`` exists from Python 3.12 on)."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(flags) != 0:
        errno = ctypes.get_errno()
        raise OSError(errno, f"unshare: {os.strerror(errno)}")


def pytest_configure() -> None:
    """Without privilege, become root of a user namespace before anything starts a thread."""
    if os.geteuid() != 0:
        uid, gid = os.geteuid(), os.getegid()
        unshare(CLONE_NEWUSER)
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
        Path("/proc/self/gid_map").write_text(f"0 {gid} 1")


@pytest.fixture(autouse=True)
def netns() -> None:
    """Enter a network namespace that nobody else uses."""
    unshare(CLONE_NEWNET)


@pytest.fixture
def leave() -> Callable[[], None]:
    """Move the calling thread to yet another network namespace."""
    return lambda: unshare(CLONE_NEWNET)


Insert = Callable[..., None]


@pytest.fixture
def insert() -> Insert:
    """Make an entry with the conntrack program."""

    def insert(
        client: str,
        frontend: str,
        backend: str,
        *options: str,
        protocol: str = "udp",
        sport: int = 1000,
        dport: int = 53,
        backend_port: int = 53,
    ) -> None:
        command = ["conntrack", "-I", "-p", protocol, "-t", "600", "-s", client, "-d", frontend]
        command += ["--sport", str(sport), "--dport", str(dport), "-r", backend, "-q", client]
        command += ["--reply-port-src", str(backend_port), "--reply-port-dst", str(sport)]
        subprocess.run([*command, *options], check=True, capture_output=True)

    return insert


Fill = Callable[[Conntrack, int], None]


@pytest.fixture
def fill() -> Fill:
    """Make many entries, numbered by their marks, toward a backend that does not serve."""

    def fill(ct: Conntrack, entries: int) -> None:
        batch = Batch()
        for n in range(entries):
            client = f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}"
            orig = Tuple("udp", client, "10.96.0.10", 1000, 53)
            reply = Tuple("udp", "10.244.9.9", client, 53, 1000)
            batch.create(NewEntry(orig, 600, reply=reply, mark=n))
        assert all(outcome.is_done for outcome in ct.execute(batch))

    return fill
