"""Events of an answer → OpenAI's response, whole and as events. Pure: nothing here waits.

Source: the types of the package `openai`, `openai.types.responses`.
"""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING, Any

from phi4local.assistant.events import ToolCall
from phi4local.assistant.guard.events import Blocked
from phi4local.assistant.thinking import Thought
from phi4local.engine import Finished, Text
from phi4local.server.openai.logprobs import chat_logprobs
from phi4local.server.openai.responses.output import Output

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from phi4local.assistant.events import ConversationEvent
    from phi4local.engine import Usage
    from phi4local.runtime.vocabulary import KnowsTokens

_INCOMPLETE = {"length": "max_output_tokens", "time": "max_output_tokens"}


class OpenaiResponse:
    """Collects the events of one answer, and gives events or the whole response.

    Args:
        model: its name, as the client said it.
        echoed: what the response repeats of its request.
        tokens: knows what tokens are called, if log-probabilities were asked for.
    """

    def __init__(self, model: str, echoed: Mapping[str, Any], tokens: KnowsTokens | None = None) -> None:
        self._head = {"id": f"resp_{uuid.uuid4().hex}", "object": "response", "created_at": int(time.time())}
        self._model = model
        self._echoed = echoed
        self._tokens = tokens
        self._output = Output()
        self._status = "in_progress"
        self._incomplete: str | None = None
        self._error: dict[str, str] | None = None
        self._usage: Usage | None = None
        self._thoughts = 0
        self._numbers = 0

    def events(self, event: ConversationEvent) -> Iterator[dict[str, Any]]:
        """Take an event of the answer and yield what the client is told."""
        if not self._numbers:
            yield self._numbered({"type": "response.created", "response": self.whole()})
            yield self._numbered({"type": "response.in_progress", "response": self.whole()})
        for told in self.take(event):
            yield self._numbered(told)
        if isinstance(event, Finished):
            yield self._numbered({"type": f"response.{self._status}", "response": self.whole()})

    def take(self, event: ConversationEvent) -> list[dict[str, Any]]:
        """Take an event; return what it changes, as events without numbers."""
        if isinstance(event, Text):
            if not event.delta and self._output.only_thoughts:
                self._thoughts += len(event.token_ids)
            entries = chat_logprobs(self._tokens, event.logprobs or ()) if self._tokens else []
            return [*self._output.text(event.delta, entries)] if event.delta or entries else []
        if isinstance(event, Thought):
            return [*self._output.thought(event.delta)]
        if isinstance(event, ToolCall):
            return [*self._output.call(event)]
        if isinstance(event, Blocked):
            self._incomplete = "content_filter"
            return [*self._output.refusal(event.message)]
        if isinstance(event, Finished):
            self._incomplete = self._incomplete or _INCOMPLETE.get(event.reason)
            self._status = "incomplete" if self._incomplete else "completed"
            self._usage = event.usage
            return [*self._output.end(self._status)]
        return []

    def failed(self, message: str) -> dict[str, Any]:
        """Return the last event of an answer that an error ended."""
        self._status = "failed"
        self._error = {"code": "server_error", "message": message}
        return self._numbered({"type": "response.failed", "response": self.whole()})

    def whole(self) -> dict[str, Any]:
        """Return the response as it stands."""
        return {
            **self._head,
            "status": self._status,
            "completed_at": int(time.time()) if self._status == "completed" else None,
            "error": self._error,
            "incomplete_details": {"reason": self._incomplete} if self._incomplete else None,
            "model": self._model,
            "output": self._output.items(),
            "previous_response_id": None,
            "reasoning": {"effort": None, "summary": None},
            "store": False,
            "truncation": "disabled",
            "usage": self._counts(),
            **self._echoed,
        }

    def _numbered(self, event: dict[str, Any]) -> dict[str, Any]:
        self._numbers += 1
        return {**event, "sequence_number": self._numbers - 1}

    def _counts(self) -> dict[str, Any] | None:
        usage = self._usage
        if usage is None:
            return None
        return {
            "input_tokens": usage.prompt_tokens,
            "input_tokens_details": {"cached_tokens": usage.reused_tokens, "cache_write_tokens": 0},
            "output_tokens": usage.generated_tokens,
            "output_tokens_details": {"reasoning_tokens": self._thoughts},
            "total_tokens": usage.prompt_tokens + usage.generated_tokens,
        }
