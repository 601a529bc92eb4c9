"""A slow line to a server on this machine, in user space: so many bytes a second, so much delay.

It needs no rights and touches no other connection. All connections share the rate, as they share a line; each
direction is delayed by half of the round trip. Shaping by the kernel (netem) is not to be had everywhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection

_BLOCK_BYTES = 32 * 1024
_ON_THE_WAY_BYTES = 4 * 2**20
"""Most of one connection between its ends: over twice rate times delay, so that the rate is the limit."""


class _Rate:
    """Lets bytes pass one after the other, over all connections, at so many a second."""

    def __init__(self, bytes_per_second: float) -> None:
        self._bytes_per_second = bytes_per_second
        self._free_at = 0.0

    async def take(self, count: int) -> None:
        now = time.perf_counter()
        # A burst of 2 ms evens out that sleeping is not exact.
        self._free_at = max(self._free_at, now - 0.002) + count / self._bytes_per_second
        if self._free_at > now:
            await asyncio.sleep(self._free_at - now)


async def _pump(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay_seconds: float, rate: _Rate | None
) -> None:
    """Carry one direction: what comes waits in a queue until it is due, then until the line is free."""
    due: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_ON_THE_WAY_BYTES // _BLOCK_BYTES)

    async def read() -> None:
        while block := await reader.read(_BLOCK_BYTES):
            await due.put((time.perf_counter() + delay_seconds, block))
        await due.put((time.perf_counter() + delay_seconds, b""))

    reading = asyncio.create_task(read())
    try:
        while True:
            when, block = await due.get()
            await asyncio.sleep(max(0.0, when - time.perf_counter()))
            if not block:
                break
            if rate is not None:
                await rate.take(len(block))
            writer.write(block)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        reading.cancel()
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            await reading
        writer.close()


async def _serve(port: int, bytes_per_second: float, delay_seconds: float, told: Connection) -> None:
    rate = _Rate(bytes_per_second)

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_connection("127.0.0.1", port, limit=_BLOCK_BYTES)
        await asyncio.gather(
            _pump(reader, to_server, delay_seconds, None), _pump(from_server, writer, delay_seconds, rate)
        )

    server = await asyncio.start_server(connected, "127.0.0.1", 0, limit=_BLOCK_BYTES)
    told.send(server.sockets[0].getsockname()[1])
    await server.serve_forever()


def _run(port: int, bytes_per_second: float, delay_seconds: float, told: Connection) -> None:
    asyncio.run(_serve(port, bytes_per_second, delay_seconds, told))


@contextlib.contextmanager
def slow_link(port: int, bytes_per_second: float, round_trip_seconds: float) -> Iterator[int]:
    """Yield a port behind which, over a slow line, the one given answers."""
    here, there = multiprocessing.Pipe()
    arguments = (port, bytes_per_second, round_trip_seconds / 2, there)
    process = multiprocessing.get_context("spawn").Process(target=_run, args=arguments, daemon=True)
    process.start()
    try:
        yield here.recv()
    finally:
        process.terminate()
        process.join()
