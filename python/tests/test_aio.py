"""Long calls under asyncio."""

import asyncio
import time
from collections.abc import Callable

import pytest

import ctnetlink
from ctnetlink import Conntrack, DesiredState, aio

Fill = Callable[[Conntrack, int], None]


def test_the_loop_runs_while_the_kernel_is_read(fill: Fill) -> None:
    async def main() -> tuple[int, list[int | None], int]:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await asyncio.sleep(0.001)
                ticks += 1

        ticking = asyncio.create_task(tick())
        with Conntrack() as ct:
            fill(ct, 20_000)
            count = await aio.run(ct, lambda ct: ct.count("udp"))
            marks = [flow.mark async for flow in aio.dump(ct, protocol="udp")]
        ticking.cancel()
        return count, marks, ticks

    count, marks, ticks = asyncio.run(main())
    assert count == 20_000 and sorted(mark for mark in marks if mark) == list(range(1, 20_000))
    assert ticks > 0


def test_a_cancelled_task_ends_its_call(fill: Fill) -> None:
    desired = DesiredState.from_frontends({("udp", "10.96.0.10", 53): []})
    ended: list[ctnetlink.Report] = []

    def reconcile(ct: Conntrack) -> None:
        ended.append(ct.reconcile(desired, dry_run=True, recheck=60))

    async def main() -> None:
        with Conntrack() as ct:
            fill(ct, 10)
            async with asyncio.timeout(0.3):
                await aio.run(ct, reconcile)

    started = time.monotonic()
    # asyncio.run waits for the thread: it would take a minute if the call had gone on.
    with pytest.raises(TimeoutError):
        asyncio.run(main())
    assert time.monotonic() - started < 20
    assert isinstance(ended[0].families[0].error, ctnetlink.Cancelled)


def test_a_dump_ends_with_its_loop(fill: Fill) -> None:
    async def main() -> int:
        with Conntrack() as ct:
            fill(ct, 5_000)
            entries = aio.dump(ct)
            async for _ in entries:
                break
            await entries.aclose()  # type: ignore[attr-defined]
            return await aio.run(ct, lambda ct: ct.count())

    assert asyncio.run(main()) == 5_000


def test_errors_are_raised_here() -> None:
    async def main() -> None:
        with Conntrack() as ct:
            async for _ in aio.dump(ct, "nonsense"):
                pass

    with pytest.raises(ctnetlink.FilterSyntaxError):
        asyncio.run(main())
