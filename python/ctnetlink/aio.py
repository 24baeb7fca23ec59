"""Long calls under asyncio: off the event loop, and ended when their task is cancelled.

>>> import ctnetlink
>>> from ctnetlink import aio
>>> async def main() -> None:
...     with ctnetlink.Conntrack() as ct:
...         print(await aio.run(ct, lambda ct: ct.count("udp")))
...         async for flow in aio.dump(ct, "udp and orig dst port 53"):
...             print(flow)
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from itertools import islice
from typing import TypeVar, Unpack

from ctnetlink._ctnetlink import Canceller, Conntrack, Filter, Flow
from ctnetlink._types import Criteria

T = TypeVar("T")

#: Entries of a dump that are fetched at a time.
CHUNK = 1024


async def run(ct: Conntrack, operation: Callable[[Conntrack], T]) -> T:
    """Run an operation in a thread, and return its result.

    It gets the same handle, and has to use that one: when the task is cancelled, or a timeout is
    over, the operations of this handle end (:meth:`Conntrack.cancelled_by`). A request that the
    kernel is working on then is finished by the kernel.
    """
    canceller = Canceller()
    handle = ct.cancelled_by(canceller)
    try:
        return await asyncio.to_thread(operation, handle)
    except asyncio.CancelledError:
        canceller.cancel()
        raise


async def dump(
    ct: Conntrack,
    filter: Filter | str | None = None,
    **criteria: Unpack[Criteria],
) -> AsyncIterator[Flow]:
    """Stream the entries that match a filter or keywords, as :meth:`Conntrack.dump` does.

    The event loop runs while the kernel is read. The dump ends when the generator is closed.
    """
    canceller = Canceller()
    handle = ct.cancelled_by(canceller)
    try:
        entries = await asyncio.to_thread(handle.dump, filter, **criteria)
        while chunk := await asyncio.to_thread(lambda: list(islice(entries, CHUNK))):
            for flow in chunk:
                yield flow
    finally:
        # Also ends what a cancelled task has left in its thread.
        canceller.cancel()
