"""Events of answers → OpenAI's chunks and whole chat completions. Pure: nothing here waits."""

from __future__ import annotations

import json
import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from phi4local.assistant.events import ToolCall
from phi4local.assistant.guard.events import Blocked
from phi4local.assistant.thinking import Thought
from phi4local.engine import Finished, Text
from phi4local.server.openai.logprobs import chat_logprobs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from phi4local.assistant.events import ConversationEvent
    from phi4local.engine import Usage
    from phi4local.runtime.vocabulary import KnowsTokens

FINISH_REASONS = {"stop": "stop", "length": "length", "time": "length", "cancelled": "stop"}
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
DONE = "data: [DONE]\n\n"


def frame(body: dict[str, Any]) -> str:
    """Return one server-sent event."""
    return f"data: {_ENCODER.encode(body)}\n\n"


@dataclass(slots=True)
class _Choice:
    """One answer so far."""

    content: str = ""
    thought: str = ""
    refusal: str | None = None
    reason: str | None = None
    usage: Usage | None = None
    logprobs: list[dict[str, Any]] = field(default_factory=list)
    calls: list[dict[str, Any]] = field(default_factory=list)


class ChatCompletion:
    """Collects the events of the answers to one request, and gives chunks or the whole.

    Args:
        model: its name, as the client said it.
        include_usage: send token counts in a last chunk.
        tokens: knows what tokens are called, if log-probabilities were asked for.
    """

    def __init__(self, model: str, *, include_usage: bool = False, tokens: KnowsTokens | None = None) -> None:
        self._head = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": model}
        self._include_usage = include_usage
        self._tokens = tokens
        self._choices: dict[int, _Choice] = {}

    def chunks(self, number: int, event: ConversationEvent) -> Iterator[dict[str, Any]]:
        """Take an event of an answer and yield what the client is told."""
        if number not in self._choices:
            yield self._chunk(number, {"role": "assistant", "content": ""})
        new = self._take(number, event)
        if isinstance(event, Text) and (event.delta or new):
            yield self._chunk(number, {"content": event.delta}, logprobs=new)
        elif isinstance(event, Thought):
            yield self._chunk(number, {"reasoning_content": event.delta})
        elif isinstance(event, ToolCall):
            place = len(self._choices[number].calls) - 1
            yield self._chunk(number, {"tool_calls": [{"index": place, **_called(event)}]})
        elif isinstance(event, Blocked):
            yield self._chunk(number, {"refusal": event.message})
        elif isinstance(event, Finished):
            yield self._chunk(number, {}, reason=self._choices[number].reason)

    def last_chunks(self) -> Iterator[dict[str, Any]]:
        """Yield what follows all answers."""
        if self._include_usage:
            yield {**self._head, "object": "chat.completion.chunk", "choices": [], "usage": self._usage()}

    def take(self, number: int, event: ConversationEvent) -> None:
        """Take an event of an answer, for `whole`."""
        self._take(number, event)

    def whole(self) -> dict[str, Any]:
        """Return the completion when every answer is finished."""
        choices = [
            {
                "index": number,
                "message": _message(choice),
                "logprobs": self._logprobs(choice.logprobs),
                "finish_reason": choice.reason,
            }
            for number, choice in sorted(self._choices.items())
        ]
        return {**self._head, "object": "chat.completion", "choices": choices, "usage": self._usage()}

    def _take(self, number: int, event: ConversationEvent) -> list[dict[str, Any]]:
        """Note an event; return the log-probabilities that came with it."""
        choice = self._choices.setdefault(number, _Choice())
        if isinstance(event, Text):
            choice.content += event.delta
            if self._tokens is not None and event.logprobs:
                new = chat_logprobs(self._tokens, event.logprobs)
                choice.logprobs += new
                return new
        elif isinstance(event, Thought):
            choice.thought += event.delta
        elif isinstance(event, ToolCall):
            choice.calls.append(_called(event))
            choice.reason = "tool_calls"
        elif isinstance(event, Blocked):
            choice.refusal, choice.reason = event.message, "content_filter"
        elif isinstance(event, Finished):
            choice.reason = choice.reason or FINISH_REASONS[event.reason]
            choice.usage = event.usage
        return []

    def _chunk(
        self,
        number: int,
        delta: dict[str, Any],
        *,
        reason: str | None = None,
        logprobs: list[dict[str, Any]] | None = None,
    ) -> dict[str, Any]:
        shown = self._logprobs(logprobs) if logprobs else None
        choice = {"index": number, "delta": delta, "logprobs": shown, "finish_reason": reason}
        return {**self._head, "object": "chat.completion.chunk", "choices": [choice]}

    def _logprobs(self, entries: list[dict[str, Any]]) -> dict[str, Any] | None:
        return None if self._tokens is None else {"content": entries, "refusal": None}

    def _usage(self) -> dict[str, Any]:
        return usage_of([[choice.usage for choice in self._choices.values() if choice.usage]])


def _message(choice: _Choice) -> dict[str, Any]:
    more: dict[str, Any] = {"reasoning_content": choice.thought} if choice.thought else {}
    more |= {"tool_calls": choice.calls} if choice.calls else {}
    content = None if choice.calls and not choice.content else choice.content
    return {"role": "assistant", "content": content, "refusal": choice.refusal, **more}


def _called(call: ToolCall) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def usage_of(prompts: list[list[Usage]]) -> dict[str, Any]:
    """Return the counts of one request, from those of the answers to each prompt.

    Answers to the same prompt share it, so it counts once. Of their cached tokens the smallest count is told:
    what the second answer finds of the first one's prompt is no luck.
    """
    read = sum(usages[0].prompt_tokens for usages in prompts if usages)
    generated = sum(usage.generated_tokens for usages in prompts for usage in usages)
    cached = sum(min(usage.reused_tokens for usage in usages) for usages in prompts if usages)
    return {
        "prompt_tokens": read,
        "completion_tokens": generated,
        "total_tokens": read + generated,
        "prompt_tokens_details": {"cached_tokens": cached},
    }
