"""Work on a thread that tells how far it is; it stops when nobody listens any more."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable
from typing import Any

Status = dict[str, Any]
Tell = Callable[[Status], None]
Statuses = AsyncGenerator[Status, None]


class NobodyListensError(Exception):
    """Ends work on its thread, when it next tells how far it is."""


async def told(work: Callable[[Tell], None]) -> Statuses:
    """Yield what `work` tells, as it comes; closing the iterator ends the work when it next tells something.

    Raises what `work` raises.
    """
    loop, gone = asyncio.get_running_loop(), threading.Event()
    arrived: asyncio.Queue[Status | None] = asyncio.Queue()

    def tell(status: Status) -> None:
        if gone.is_set():
            raise NobodyListensError
        loop.call_soon_threadsafe(arrived.put_nowait, status)

    working = asyncio.ensure_future(asyncio.to_thread(work, tell))
    working.add_done_callback(lambda _working: arrived.put_nowait(None))
    try:
        while (status := await arrived.get()) is not None:
            yield status
        working.result()
    finally:
        gone.set()
        working.add_done_callback(_forget)


async def nothing() -> Statuses:
    """Yield nothing: everything was done before."""
    statuses: tuple[Status, ...] = ()
    for status in statuses:
        yield status


def _forget(working: asyncio.Future[None]) -> None:
    if not working.cancelled():
        working.exception()
