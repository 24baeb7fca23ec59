"""Tries the rules, the dashboard and the exporter with a real Prometheus and a real node_exporter.

``make prometheus`` runs it: Debian's packages are unpacked aside, nothing is installed, and it all
runs in a network namespace of its own. Needs root on Debian, the Python package and the command.
"""

import argparse
import ctypes
import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from ctnetlink import Batch, Conntrack, NewEntry, Tuple

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
ASIDE = ROOT / "target" / "prometheus"
BIN = ASIDE / "usr" / "bin"
PACKAGES = ("prometheus", "prometheus-node-exporter")
EXPORTER = "127.0.0.1:9466"
NODE_EXPORTER = "127.0.0.1:9100"
PROMETHEUS = "127.0.0.1:9090"
CLONE_NEWNET = 0x40000000
HOOK = "type filter hook input priority 0;"
RULE = f"table inet t {{\n chain c {{\n {HOOK}\n ct state new counter;\n }}\n}}\n"
#: node_exporter shows it, and the kernel has not counted it since 5.10.
IGNORED = "node_nf_conntrack_stat_ignore"


def say(text: str) -> None:
    """Print a line at once."""
    print(f"prometheus: {text}", flush=True)


def fail(text: str) -> None:
    """End."""
    sys.exit(f"prometheus: {text}")


def download() -> None:
    """Unpack Debian's programs."""
    if (BIN / "promtool").exists() and (BIN / "prometheus-node-exporter").exists():
        return
    shutil.rmtree(ASIDE, ignore_errors=True)
    ASIDE.mkdir(parents=True)
    fetch = ["apt-get", "-o", "APT::Sandbox::User=root", "download", "-q", *PACKAGES]
    if subprocess.run(fetch, cwd=ASIDE, check=False).returncode:
        subprocess.run(["apt-get", "update", "-q"], check=True)
        subprocess.run(fetch, cwd=ASIDE, check=True)
    for package in ASIDE.glob("*.deb"):
        subprocess.run(["dpkg", "-x", package, ASIDE], check=True)


def check_rules() -> None:
    """Check the rules, run their tests, and check each expression of the dashboard."""
    subprocess.run([BIN / "promtool", "check", "rules", "rules.yml"], cwd=HERE, check=True)
    subprocess.run([BIN / "promtool", "test", "rules", "rules_test.yml"], cwd=HERE, check=True)
    dashboard = HERE / "dashboard.json"
    expressions = re.findall(r'"expr": "((?:[^"\\]|\\.)*)"', dashboard.read_text())
    rules = [
        {
            "record": f"dashboard:{n}",
            "expr": json.loads(f'"{text}"').replace("$__rate_interval", "5m"),
        }
        for n, text in enumerate(expressions)
    ]
    assert len(rules) >= 8, "the dashboard has expressions"
    for rule in rules:
        rule["expr"] = rule["expr"].replace('{instance=~"$instance"}', "")
    path = ASIDE / "dashboard.yml"
    # YAML reads JSON.
    path.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    subprocess.run([BIN / "promtool", "check", "rules", path], check=True)
    say(f"{len(rules)} expressions of the dashboard are valid")
    # Grafana's own types read it, and write the same panels.
    source = json.loads(dashboard.read_text())
    again = json.loads(JSONEncoder().encode(Dashboard.from_json(source)))
    for mine, theirs in zip(source["panels"], again["panels"], strict=True):
        for member in ("title", "type", "gridPos"):
            assert mine[member] == theirs[member], (mine["title"], member)
        assert [t["expr"] for t in mine["targets"]] == [t["expr"] for t in theirs["targets"]]
    say(f"the dashboard has {len(again['panels'])} panels that Grafana's types know")


def get(address: str, path: str) -> str:
    """Fetch a page."""
    with urllib.request.urlopen(f"http://{address}{path}", timeout=10) as answer:
        return str(answer.read().decode())


def until(what: str, test: Callable[[], bool], seconds: float = 90) -> None:
    """Wait for something."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if test():
                return
        except OSError:
            pass
        time.sleep(0.3)
    fail(f"{what}: not within {seconds:.0f} s")


class Entries:
    """Fills the table with UDP entries, all ASSURED."""

    def __init__(self) -> None:
        """Open the table."""
        self.ct = Conntrack()
        self.next = 0

    def up_to(self, count: int) -> None:
        """Make entries until there are so many."""
        batch = Batch()
        for n in range(self.next, self.next + count - self.ct.count()):
            client = f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}"
            orig = Tuple("udp", client, "10.96.0.10", 1000, 53)
            reply = Tuple("udp", "10.244.0.1", client, 53, 1000)
            batch.create(NewEntry(orig, 3600, reply=reply, status=["SEEN_REPLY", "ASSURED"]))
            self.next = n + 1
            if len(batch) == 10_000:
                self.ct.execute(batch)
        self.ct.execute(batch)


def families(text: str) -> dict[str, tuple[str, str, dict[str, float]]]:
    """Return type, help and values of each metric in the older text format."""
    found: dict[str, tuple[str, str, dict[str, float]]] = {}
    helps: dict[str, str] = {}
    kinds: dict[str, str] = {}
    for line in text.splitlines():
        if line.startswith("# HELP "):
            _, _, name, words = line.split(" ", 3)
            helps[name] = words
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ", 3)
            kinds[name] = kind
        elif line:
            series, value = line.rsplit(" ", 1)
            name = series.split("{")[0]
            entry = found.setdefault(name, (kinds.get(name, "?"), helps.get(name, "?"), {}))
            entry[2][series] = float(value)
    return found


def compare_with_node_exporter() -> None:
    """Compare names, types, helps and values of both exporters, at rest."""
    theirs = {
        name: family
        for name, family in families(get(NODE_EXPORTER, "/metrics")).items()
        if name.startswith("node_nf_conntrack")
    }
    ours = families(get(EXPORTER, "/metrics"))
    ours = {name: family for name, family in ours.items() if name.startswith("node_nf_conntrack")}
    shared = sorted(theirs.keys() & ours.keys())
    if "node_nf_conntrack_entries" not in shared:
        fail(f"node_exporter shows {sorted(theirs)}")
    for name in shared:
        if theirs[name][:2] != ours[name][:2]:
            fail(f"{name}: node_exporter {theirs[name]}, here {ours[name]}")
        # The connections that ask are entries themselves.
        slack = 20 if name == "node_nf_conntrack_entries" else 0
        for series, value in theirs[name][2].items():
            if abs(ours[name][2][series] - value) > slack:
                fail(f"{series}: node_exporter {value}, here {ours[name][2][series]}")
    lacks = sorted(ours.keys() - theirs.keys())
    say(f"the same as node_exporter's, with type, help and value: {', '.join(shared)}")
    say(f"node_exporter lacks on this kernel: {', '.join(lacks) or 'none of them'}")
    unknown = theirs.keys() - ours.keys() - {IGNORED}
    if unknown:
        fail(f"node_exporter has what is missing here: {sorted(unknown)}")


def firing() -> set[str]:
    """Return the alerts that fire in Prometheus."""
    alerts = json.loads(get(PROMETHEUS, "/api/v1/alerts"))["data"]["alerts"]
    return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}


def run(command: Path) -> None:
    """Run everything in this namespace."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    Path("/proc/sys/net/ipv6/conf/all/disable_ipv6").write_text("1")
    subprocess.run(["nft", RULE], check=True)
    # A quarter of a minute is enough to see that the alerts fire.
    rules = re.sub(r"for: \d+m", "for: 1s", (HERE / "rules.yml").read_text())
    (ASIDE / "rules.yml").write_text(rules)
    (ASIDE / "prometheus.yml").write_text(
        "global: {scrape_interval: 3s, scrape_timeout: 3s, evaluation_interval: 1s}\n"
        "rule_files: [rules.yml]\n"
        f"scrape_configs: [{{job_name: c, static_configs: [{{targets: ['{EXPORTER}']}}]}}]\n"
    )
    shutil.rmtree(ASIDE / "data", ignore_errors=True)
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    programs = [
        [command, "exporter", "--listen", EXPORTER, "--node-exporter-names", "--cache", "5"],
        [BIN / "prometheus-node-exporter", f"--web.listen-address={NODE_EXPORTER}"],
        [
            BIN / "prometheus",
            f"--web.listen-address={PROMETHEUS}",
            f"--config.file={ASIDE / 'prometheus.yml'}",
            f"--storage.tsdb.path={ASIDE / 'data'}",
        ],
    ]
    started = [subprocess.Popen(program, **quiet) for program in programs]  # type: ignore[call-overload]
    try:
        until("the exporter", lambda: "ctnetlink_up 1" in get(EXPORTER, "/metrics"))
        until("node_exporter", lambda: "node_nf" in get(NODE_EXPORTER, "/metrics"))
        until("Prometheus", lambda: "ctnetlink" in get(PROMETHEUS, "/api/v1/label/__name__/values"))
        compare_with_node_exporter()
        entries = Entries()
        limit = entries.ct.limit()
        entries.up_to(limit * 80 // 100)
        until("near full", lambda: "ConntrackTableNearFull" in firing())
        entries.up_to(limit * 95 // 100)
        until("critical", lambda: "ConntrackTableCritical" in firing())
        say("ConntrackTableNearFull fires at 80 %, ConntrackTableCritical at 95 %")
        compare_with_node_exporter()
        full(entries, limit)
    finally:
        for program in started:
            program.terminate()
        statuses = [program.wait(timeout=20) for program in started]
    if statuses[0] != 0:
        fail(f"the exporter ended with {statuses[0]}")


def full(entries: Entries, limit: int) -> None:
    """Fill the table, and see that the open connections of Prometheus go on."""
    # The connections of this program would not get through either: it asks on one that is open.
    connection = urllib.request.http.client.HTTPConnection(PROMETHEUS, timeout=10)  # type: ignore[attr-defined]

    def ask(path: str) -> str:
        connection.request("GET", path)
        return str(connection.getresponse().read().decode())

    ask("/-/ready")
    entries.up_to(limit)
    for port in range(200):
        # Each is a packet that is lost; the sender is told with EPERM.
        words = ["bash", "-c", f"echo x > /dev/udp/127.0.0.1/{20_000 + port}"]
        subprocess.run(words, check=False, stderr=subprocess.DEVNULL)

    def value(query: str) -> float | None:
        answer = json.loads(ask(f"/api/v1/query?query={query}"))["data"]["result"]
        return float(answer[0]["value"][1]) if answer else None

    def dropped() -> bool:
        alerts = json.loads(ask("/api/v1/alerts"))["data"]["alerts"]
        names = {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}
        return "ConntrackPacketsDropped" in names

    def scraped() -> bool:
        # Entries of short connections expire meanwhile.
        up, seen = value("up"), value("ctnetlink_table_entries")
        return up == 1 and seen is not None and seen > limit - 100

    until("dropped", dropped)
    time.sleep(5)
    until("a scrape on the open connection", scraped)
    lost = value("sum(ctnetlink_packets_lost_total)")
    say(f"full: the scrape goes on, ConntrackPacketsDropped fires, {lost} packets lost")


def main() -> None:
    """Check, then run in a namespace of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--command", type=Path, default=ROOT / "target/debug/ctnetlink")
    arguments = parser.parse_args()
    download()
    check_rules()
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET):
        fail(f"unshare: {os.strerror(ctypes.get_errno())}")
    run(arguments.command)


if __name__ == "__main__":
    main()
