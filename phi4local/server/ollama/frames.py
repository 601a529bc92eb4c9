"""Events of an answer → Ollama's lines and whole answers. Pure: nothing here waits."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, Literal

from phi4local.assistant.events import ToolCall
from phi4local.assistant.guard.events import Blocked
from phi4local.assistant.thinking import Thought
from phi4local.engine import Finished, Text
from phi4local.server.errors import body_for
from phi4local.server.ollama.durations import moment, nanoseconds
from phi4local.server.ollama.errors import error_body
from phi4local.server.ollama.tools import called
from phi4local.server.openai.logprobs import chat_logprobs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from phi4local.assistant.events import ConversationEvent
    from phi4local.errors import Phi4LocalError
    from phi4local.runtime.vocabulary import KnowsTokens

DONE_REASONS = {"stop": "stop", "length": "length", "time": "length", "cancelled": "stop"}


def line(body: dict[str, Any]) -> str:
    r"""Return one line of a stream. Example: `{"done": true}` → '{"done":true}\n'."""
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")) + "\n"


def error_line(error: Phi4LocalError) -> str:
    """Return an error of an answer that has begun, as a line of its stream."""
    return line(body_for(error_body, error))


class Answer:
    """Collects the events of an answer, and gives lines or the whole.

    Args:
        model: its name, as the client said it.
        shape: `chat` puts the text into a message, `generate` beside the rest.
        show_thoughts: whether they are sent.
    """

    def __init__(
        self,
        model: str,
        shape: Literal["chat", "generate"],
        *,
        show_thoughts: bool = True,
    ) -> None:
        self._model = model
        self._shape = shape
        self._show_thoughts = show_thoughts
        self._tokens: KnowsTokens | None = None
        self._began = time.perf_counter()
        self._load_seconds = 0.0
        self._content = self._thought = ""
        self._logprobs: list[dict[str, Any]] = []
        self._calls: list[dict[str, Any]] = []
        self._blocked = False
        self._last: dict[str, Any] = {}

    def loaded(self, tokens: KnowsTokens | None = None) -> None:
        """Note that the model is in memory; what passed until now is `load_duration`.

        Args:
            tokens: knows what tokens are called, if log-probabilities were asked for.
        """
        self._load_seconds = time.perf_counter() - self._began
        self._tokens = tokens

    def lines(self, event: ConversationEvent) -> Iterator[dict[str, Any]]:
        """Take an event and yield what the client is told."""
        new = self.take(event)
        content = (
            event.delta if isinstance(event, Text) else event.message if isinstance(event, Blocked) else ""
        )
        thought = event.delta if isinstance(event, Thought) and self._show_thoughts else ""
        if content or thought or new:
            yield self._body(content, thought, new, {"done": False})
        if isinstance(event, ToolCall):
            yield self._body("", "", [], {"done": False}, [called(event)])
        if isinstance(event, Finished):
            yield self._body("", "", [], self._last)

    def take(self, event: ConversationEvent) -> list[dict[str, Any]]:
        """Take an event, for `whole`; return the log-probabilities that came with it."""
        if isinstance(event, Text):
            self._content += event.delta
            if self._tokens is not None and event.logprobs:
                new = chat_logprobs(self._tokens, event.logprobs)
                self._logprobs += new
                return new
        elif isinstance(event, Thought):
            self._thought += event.delta if self._show_thoughts else ""
        elif isinstance(event, ToolCall):
            self._calls.append(called(event))
        elif isinstance(event, Blocked):
            self._blocked = True
            self._content += event.message
        elif isinstance(event, Finished):
            self._last = self._end(event)
        return []

    def whole(self) -> dict[str, Any]:
        """Return everything at once, when the answer is finished."""
        return self._body(self._content, self._thought, self._logprobs, self._last, self._calls)

    def without_prompt(self, reason: Literal["load", "unload"]) -> dict[str, Any]:
        """Return what a request without anything to answer gets."""
        return self._body("", "", [], {"done": True, "done_reason": reason, **self.durations()})

    def _end(self, event: Finished) -> dict[str, Any]:
        reason = "content_filter" if self._blocked else DONE_REASONS[event.reason]
        return {
            "done": True,
            "done_reason": reason,
            **self.durations(),
            "prompt_eval_count": event.usage.prompt_tokens,
            "prompt_eval_duration": nanoseconds(event.timings.prompt_seconds),
            "eval_count": event.usage.generated_tokens,
            "eval_duration": nanoseconds(event.timings.generation_seconds),
        }

    def durations(self) -> dict[str, int]:
        """Return how long it took until now, and how long loading did, in nanoseconds."""
        total_seconds = time.perf_counter() - self._began
        return {
            "total_duration": nanoseconds(total_seconds),
            "load_duration": nanoseconds(self._load_seconds),
        }

    def _body(
        self,
        content: str,
        thought: str,
        logprobs: list[dict[str, Any]],
        rest: dict[str, Any],
        calls: list[dict[str, Any]] | None = None,
    ) -> dict[str, Any]:
        thinking: dict[str, Any] = {"thinking": thought} if thought else {}
        thinking |= {"tool_calls": calls} if calls else {}
        said = (
            {"message": {"role": "assistant", "content": content, **thinking}}
            if self._shape == "chat"
            else {"response": content, **thinking}
        )
        shown = {"logprobs": logprobs} if logprobs else {}
        return {"model": self._model, "created_at": moment(), **said, **shown, **rest}
