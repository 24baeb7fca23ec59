"""Columns, read by the programs people read them with."""

import threading
from collections.abc import Callable
from pathlib import Path

import duckdb
import pandas
import polars
import pyarrow
import pytest

import ctnetlink
from ctnetlink import Batch, Conntrack, Icmp, NewEntry, TcpProtocolState, Tuple

MAPPED = bytes(10) + b"\xff\xff"


@pytest.fixture
def ct() -> Conntrack:
    """Make a table with 20,003 entries, more than a batch has."""
    Path("/proc/sys/net/netfilter/nf_conntrack_acct").write_text("1")
    Path("/proc/sys/net/netfilter/nf_conntrack_timestamp").write_text("1")
    handle, batch = Conntrack(), Batch()
    for n in range(20_000):
        client = f"10.1.{n >> 8}.{n & 255}"
        batch.create(NewEntry(Tuple("udp", client, "10.96.0.10", 1000, 53), 600, mark=n))
    tcp = Tuple("tcp", "fd00::1", "fd00:96::a", 1001, 80)
    batch.create(NewEntry(tcp, 600, state=TcpProtocolState("ESTABLISHED"), status="ASSURED"))
    batch.create(NewEntry(Tuple("icmp", "10.0.0.1", "10.0.0.2", icmp=Icmp(8, 0, 7)), 600))
    batch.create(NewEntry(Tuple(89, "255.255.255.255", "10.0.0.2"), 600, zone=7))
    assert all(outcome.is_done for outcome in handle.execute(batch))
    return handle


def test_every_column_says_what_the_flow_says(ct: Conntrack) -> None:
    rows = {
        row["id"]: row
        for row in polars.DataFrame(ct.dump_table(columns=ctnetlink.Table.COLUMNS)).to_dicts()
    }
    flows = {flow.id: flow for flow in ct.dump()}
    assert len(flows) == 20_003 and rows.keys() == flows.keys()
    for id, flow in flows.items():
        row = rows[id]
        for side, tuple in (("orig", flow.orig), ("reply", flow.reply)):
            assert (row[f"{side}_src"], row[f"{side}_dst"]) == (str(tuple.src), str(tuple.dst))
            ports = (row[f"{side}_src_port"], row[f"{side}_dst_port"])
            assert ports == (tuple.src_port, tuple.dst_port)
            assert row[f"{side}_zone"] == tuple.zone
        for name in ("family", "protocol", "protocol_number", "state", "status", "mark", "zone"):
            assert row[name] == getattr(flow, name), name
        for name in ("helper", "security_context", "use_count", "stop", "event_time"):
            assert row[name] == getattr(flow, name), name
        counters = flow.counters_orig
        assert counters is not None
        assert (row["orig_packets"], row["orig_bytes"]) == (counters.packets, counters.bytes)
        assert row["reply_packets"] == 0 and row["reply_bytes"] == 0
        assert row["timeout"] is not None and flow.timeout is not None
        assert 0 <= row["timeout"] - flow.timeout <= 5
        assert flow.start is not None and abs(row["start"].timestamp() - flow.start) < 0.001
        icmp = flow.orig.icmp
        kind = (row["icmp_type"], row["icmp_code"], row["icmp_id"])
        assert kind == ((icmp.type, icmp.code, icmp.id) if icmp else (None, None, None))
        assert (row["labels"] or []) == flow.labels


def test_polars_pyarrow_pandas_and_duckdb(ct: Conntrack) -> None:
    table = ct.dump_table("udp", columns=["orig_src", "protocol", "mark"])
    frame = polars.DataFrame(table)
    assert frame.filter(polars.col("orig_src") == "10.1.0.7")["mark"].to_list() == [7]
    assert pyarrow.table(table).num_rows == 20_000
    assert pyarrow.table(table).schema == pyarrow.schema(table)
    assert isinstance(pyarrow.table(table).to_pandas(), pandas.DataFrame)
    query = "select protocol, count(*), max(mark) from table group by all"
    # DuckDB asks for a stream several times, and reads one.
    found = connection(table).execute(query.replace("table", "source"))
    assert found.fetchall() == [("udp", 20_000, 19_999)]
    batches = [batch.num_rows for batch in pyarrow.RecordBatchReader.from_stream(table)]
    assert batches == [16_384, 20_000 - 16_384]


def connection(table: ctnetlink.Table) -> duckdb.DuckDBPyConnection:
    """Return a connection of DuckDB that knows the table as ``source``."""
    made = duckdb.connect()
    made.register("source", table)
    return made


def test_binary_addresses_and_no_rows(ct: Conntrack) -> None:
    columns = ["orig_src", "reply_src"]
    frame = polars.DataFrame(ct.dump_table("icmp", columns=columns, addresses="binary"))
    assert frame.rows() == [(MAPPED + bytes([10, 0, 0, 1]), MAPPED + bytes([10, 0, 0, 2]))]
    six = polars.DataFrame(ct.dump_table("tcp", columns=columns, addresses="binary"))
    assert six["orig_src"][0] == bytes.fromhex("fd00") + bytes(13) + b"\x01"
    assert ct.dump_table(addresses="binary").schema[2] == ("orig_src", "FixedSizeBinary(16)")
    assert polars.DataFrame(ct.dump_table("gre")).shape == (0, 21)


def test_nothing_is_dumped_before_it_is_read(ct: Conntrack) -> None:
    table = ct.dump_table("icmp", columns=["id"])
    for _ in range(3):
        table.__arrow_c_stream__()
    assert table.schema == [("id", "UInt32")]
    assert polars.DataFrame(table).height == 1
    ct.flush_all()
    assert polars.DataFrame(table).height == 0, "each reader gets a dump of its own"


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda ct: ct.dump_table(columns=["src"]), 'unknown column "src": expected some of "fam'),
        (lambda ct: ct.dump_table(columns=["id", "id"]), '"id" is named twice'),
        (lambda ct: ct.dump_table(columns=[]), "no column is named"),
        (lambda ct: ct.dump_table(addresses="hex"), 'expected "text" or "binary", not "hex"'),
        (lambda ct: ct.dump_table("udp", zone=1), "not both"),
    ],
)
def test_mistakes(call: Callable[[Conntrack], object], words: str) -> None:
    with Conntrack() as handle, pytest.raises((ValueError, TypeError), match=words):
        call(handle)


def test_a_missing_privilege_is_an_error_of_the_call(leave: Callable[[], None]) -> None:
    """Not of the program that reads: there it would be of another kind."""
    import ctypes

    failed: list[BaseException] = []

    def work() -> None:
        leave()
        handle = Conntrack()
        # capset(2) of this thread only.
        libc = ctypes.CDLL(None, use_errno=True)
        header = (ctypes.c_uint32 * 2)(0x20080522, 0)
        assert libc.capset(header, (ctypes.c_uint32 * 6)()) == 0
        try:
            handle.dump_table()
        except PermissionError as error:
            failed.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert len(failed) == 1 and "CAP_NET_ADMIN" in str(failed[0])
