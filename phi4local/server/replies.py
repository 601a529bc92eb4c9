"""Answers over HTTP that end when the client leaves: whole ones, and frames as they come."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Any, TypeVar

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from phi4local.errors import Phi4LocalError
from phi4local.server.access_log import note_error

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Mapping

    from starlette.requests import Request

    from phi4local.assistant.events import ConversationEvent

_Result = TypeVar("_Result")
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


class ClientLeftError(Exception):
    """Nobody waits for this answer any more; what made it was cancelled."""


async def unless_disconnected(request: Request, work: Coroutine[None, None, _Result]) -> _Result:
    """Return what `work` returns; cancel it when the client hangs up first.

    Raises:
        ClientLeftError: it hung up.
    """
    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(_left(request.receive))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientLeftError
        return working.result()
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def named_frame(body: dict[str, Any]) -> str:
    """Return one server-sent event, named as its `type`."""
    return f"event: {body['type']}\ndata: {_ENCODER.encode(body)}\n\n"


async def named_frames(
    numbered: AsyncGenerator[tuple[int, ConversationEvent], None],
    told: Callable[[ConversationEvent], Iterable[dict[str, Any]]],
) -> AsyncGenerator[str, None]:
    """Yield the frames of a task with one answer; `told` makes the bodies of each event."""
    async with contextlib.aclosing(numbered) as events:
        async for _, event in events:
            for body in told(event):
                yield named_frame(body)


async def taken(
    numbered: AsyncGenerator[tuple[int, ConversationEvent], None], take: Callable[[ConversationEvent], object]
) -> None:
    """Hand each event of a task with one answer to what makes a whole of them."""
    async with contextlib.aclosing(numbered) as events:
        async for _, event in events:
            take(event)


async def with_error_frame(
    frames: AsyncGenerator[str, None], make_frame: Callable[[Phi4LocalError], str]
) -> AsyncGenerator[str, None]:
    """Yield frames; an error behind the first one is told as a frame, and ends them.

    Args:
        frames: what is sent.
        make_frame: makes the frame of an error.

    Raises:
        Phi4LocalError: before the first frame, where its own status tells more than a frame.
    """
    begun = False
    try:
        async with contextlib.aclosing(frames) as opened:
            async for frame in opened:
                begun = True
                yield frame
    except Phi4LocalError as error:
        if not begun:
            raise
        note_error(error)
        yield make_frame(error)


async def streamed(
    request: Request,
    frames: AsyncGenerator[str, None],
    *,
    media_type: str,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return a response that sends frames as they come, and cancels them when the client hangs up.

    The first frame is awaited here, so that an error before it is answered with its own status.

    Args:
        request: whose client is watched.
        frames: each is sent by itself.
        media_type: `text/event-stream` or `application/x-ndjson`.
        headers: more of them.
    """
    try:
        first = await unless_disconnected(request, anext(frames))
    except BaseException:
        await frames.aclose()
        raise
    return _Frames(first, frames, media_type, {"Cache-Control": "no-store", **(headers or {})})


class _Frames(Response):
    """Frames as they come. Starlette's own does not close what it reads from when the client leaves."""

    def __init__(
        self, first: str, frames: AsyncGenerator[str, None], media_type: str, headers: Mapping[str, str]
    ) -> None:
        self.status_code = 200
        self.media_type = media_type
        self.background = None
        self.init_headers(headers)
        self._first = first
        self._frames = frames

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's
        sending, leaving = asyncio.ensure_future(self._send(send)), asyncio.ensure_future(_left(receive))
        try:
            await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                sending.result()
        finally:
            for task in (sending, leaving):
                task.cancel()
            await asyncio.gather(sending, leaving, return_exceptions=True)
            await self._frames.aclose()

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send(_body(self._first))
        async for frame in self._frames:
            await send(_body(frame))
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _body(frame: str) -> dict[str, object]:
    return {"type": "http.response.body", "body": frame.encode(), "more_body": True}
