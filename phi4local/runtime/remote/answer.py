"""The lines of a streamed answer → events."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from phi4local.engine import Finished, Text, Timings, Usage
from phi4local.errors import Phi4LocalError, RemoteError
from phi4local.runtime.remote.connection import message_of

if TYPE_CHECKING:
    from phi4local.engine import Generation
    from phi4local.engine.events import FinishReason
    from phi4local.runtime.remote.connection import Exchange, Server

OPENING, CLOSING = "<think>", "</think>"
_PREFIX = b"data:"
_END = b"[DONE]"


class Answer:
    """Reads one answer on a thread and hands its events to a generation.

    Args:
        exchange: the request, not sent yet; `hang_up` cancels.
        generation: gets `Text` events and `Finished`, or an error.

    Token ids are not known here. Where the server does not count tokens, `generated_tokens` is the number of
    pieces that came, and `prompt_tokens` 0.
    """

    def __init__(self, server: Server, exchange: Exchange, generation: Generation) -> None:
        self._server = server
        self._exchange = exchange
        self._generation = generation
        self._pieces = 0
        self._thinking = False
        self._usage: dict[str, Any] = {}
        self._reason: FinishReason | None = None
        self._started = self._first = self._last = time.perf_counter()

    def read(self) -> None:
        """Read until the end, the error, or the cancellation."""
        end: Finished | Phi4LocalError = self._server.error("sent an answer that was not understood")
        try:
            with self._exchange:
                end = self._read_lines()
        except RemoteError as error:
            end = self._finished("cancelled") if self._exchange.hung_up else error
        finally:
            self._generation.put(end)  # whatever happened: somebody waits for it

    def _read_lines(self) -> Finished | Phi4LocalError:
        whole: list[bytes] = []
        for line in self._exchange.lines():
            if self._exchange.content_type == "application/json":  # a server that does not stream
                whole.append(line)
            elif line.startswith(_PREFIX):
                data = line[len(_PREFIX) :].strip()
                if data == _END:
                    return self._finished(self._reason or "stop")
                self._take(self._exchange.decoded(data))
        if whole:
            self._take(self._exchange.decoded(b"\n".join(whole)))
        if self._reason is None:
            raise self._server.error(
                "ended in the middle of the answer",
                hint="ask again; the prompt may be too long for the server",
            )
        return self._finished(self._reason)

    def _take(self, chunk: dict[str, Any]) -> None:
        if chunk.get("error"):
            raise self._server.error("failed", said=message_of(chunk), hint="look at the server's log")
        usage, choices = chunk.get("usage"), chunk.get("choices") or [{}]
        if isinstance(usage, dict):
            self._usage = usage
        choice = choices[0] if isinstance(choices, list) else None
        if not isinstance(choice, dict):
            raise self._server.error("sent an answer of another shape")
        message = choice.get("delta") or choice.get("message") or choice
        if isinstance(message, dict):
            self._put_parts(message)
        if choice.get("finish_reason"):
            self._reason = "length" if choice["finish_reason"] == "length" else "stop"

    def _put_parts(self, message: dict[str, Any]) -> None:
        """Take what an answer says, with its thoughts where a model that is loaded here would write them."""
        thought = message.get("reasoning_content")
        text = message.get("content") or message.get("text") or message.get("refusal")
        if thought:
            self._put(f"{'' if self._thinking else OPENING}{thought}")
            self._thinking = True
        if text:
            self._put(f"{CLOSING}{text}" if self._thinking else text)
            self._thinking = False

    def _put(self, text: object) -> None:
        if not isinstance(text, str):
            raise self._server.error("sent an answer that is no text")
        self._note_tokens(1)
        self._generation.put(Text(text, ()))

    def _note_tokens(self, count: int) -> None:
        self._last = time.perf_counter()
        if not self._pieces:
            self._first = self._last
        self._pieces += count

    def _finished(self, reason: FinishReason) -> Finished:
        details = self._usage.get("prompt_tokens_details")
        cached = details.get("cached_tokens") if isinstance(details, dict) else 0
        return Finished(
            reason=reason,
            usage=Usage(
                prompt_tokens=_count(self._usage.get("prompt_tokens"), 0),
                reused_tokens=_count(cached, 0),
                generated_tokens=_count(self._usage.get("completion_tokens"), self._pieces),
            ),
            timings=Timings(
                prompt_seconds=self._first - self._started, generation_seconds=self._last - self._first
            ),
        )


def _count(value: object, otherwise: int) -> int:
    return value if isinstance(value, int) and value >= 0 else otherwise
