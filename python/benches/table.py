"""Compare ways to read the table: processor time, relative to a Rust dump that reads every field.

Runs in a network namespace of its own. Needs root, ``conntrack``, polars and pyroute2, and the
example ``read_all`` (``cargo build --release --example read_all``).
"""

import argparse
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import polars

import ctnetlink
from ctnetlink import Batch, Conntrack, NewEntry, Tuple

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from conftest import CLONE_NEWNET, unshare

READ_ALL = Path(__file__).parent.parent.parent / "target/release/examples/read_all"


def fill(ct: Conntrack, entries: int) -> None:
    """Make entries of clients, toward ten frontends and a hundred backends."""
    batch = Batch()
    for n in range(entries):
        client = f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}"
        orig = Tuple("udp", client, f"10.96.0.{n % 10}", 1000 + n % 5000, 53)
        reply = Tuple("udp", f"10.244.0.{n % 100}", client, 53, 1000 + n % 5000)
        batch.create(NewEntry(orig, 3600, reply=reply, mark=n))
        if len(batch) == 10_000:
            assert all(outcome.is_done for outcome in ct.execute(batch))
    ct.execute(batch)


def cpu() -> float:
    """Return the processor time of this process and of those it waited for."""
    # `os.times` counts in hundredths of a second.
    own, children = (
        resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def loop(ct: Conntrack) -> int:
    """Read four attributes of each flow."""
    entries = 0
    for flow in ct.dump():
        _ = (flow.orig.src, flow.orig.dst, flow.status, flow.mark)
        entries += 1
    return entries


def rust(_: Conntrack) -> int:
    """Run the Rust program."""
    shown = subprocess.run([READ_ALL], check=True, capture_output=True, text=True).stdout
    return int(shown.split()[0])


def program(_: Conntrack) -> int:
    """Run ``conntrack -L``."""
    command = ["conntrack", "-L"]
    found = subprocess.run(command, check=True, stdout=-3, stderr=-1, text=True)
    return int(found.stderr.split("): ")[1].split()[0])


def main() -> None:
    """Print the least time of each over all rounds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    unshare(CLONE_NEWNET)
    ct = Conntrack()
    fill(ct, options.entries)
    binary = lambda ct: polars.DataFrame(ct.dump_table(addresses="binary")).height  # noqa: E731
    ways: dict[str, Callable[[Conntrack], int]] = {
        "Rust dump, every field": rust,
        "polars, binary addresses": binary,
        "polars, text addresses": lambda ct: polars.DataFrame(ct.dump_table()).height,
        "loop over four attributes": loop,
        "conntrack -L": program,
    }
    least = dict.fromkeys(ways, float("inf"))
    for _ in range(options.rounds):
        for name, way in ways.items():
            before = cpu()
            seen = way(ct)
            least[name] = min(least[name], cpu() - before)
            assert seen == options.entries, (name, seen)
    base = least["Rust dump, every field"]
    print(f"{options.entries} entries, {options.rounds} interleaved rounds, least processor time")
    for name, time in least.items():
        print(f"  {name:<28} {time:6.3f} s  {time / base:5.2f}")
    with_pyroute2(ct, options.rounds)


def with_pyroute2(ct: Conntrack, rounds: int) -> None:
    """Compare equal work on 20,000 entries: every entry with the same four attributes."""
    import pyroute2

    ct.flush_all()
    fill(ct, 20_000)
    least = {"loop": float("inf"), "dump()": float("inf"), "dump_entries()": float("inf")}
    with pyroute2.Conntrack() as peer, pyroute2.NFCTSocket() as raw:
        for _ in range(rounds):
            before = cpu()
            assert loop(ct) == 20_000
            least["loop"] = min(least["loop"], cpu() - before)
            before = cpu()
            assert len(list(raw.dump())) == 20_000
            least["dump()"] = min(least["dump()"], cpu() - before)
            before = cpu()
            seen = 0
            for entry in peer.dump_entries():
                _ = (entry.tuple_orig.saddr, entry.tuple_orig.daddr, entry.status, entry.mark)
                seen += 1
            assert seen == 20_000
            least["dump_entries()"] = min(least["dump_entries()"], cpu() - before)
    print("20,000 entries, relative to the loop over four attributes")
    for name, time in least.items():
        print(f"  pyroute2 {name:<19} {time:6.3f} s  {time / least['loop']:5.1f}")


if __name__ == "__main__":
    assert ctnetlink.__version__
    main()
