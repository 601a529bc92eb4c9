"""Events of answers → OpenAI's chunks and whole completions. Pure: nothing here waits."""

from __future__ import annotations

import json
import time
import uuid
from typing import TYPE_CHECKING, Any

from phi4local.assistant.thinking import Thought
from phi4local.engine import Finished, Text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from phi4local.assistant.events import ConversationEvent
    from phi4local.engine import Usage

FINISH_REASONS = {"stop": "stop", "length": "length", "time": "length", "cancelled": "stop"}
DONE = "data: [DONE]\n\n"


def frame(body: dict[str, Any]) -> str:
    """Return one server-sent event."""
    return f"data: {json.dumps(body, ensure_ascii=False, separators=(',', ':'))}\n\n"


class ChatCompletion:
    """Collects the events of the answers to one request, and gives chunks or the whole.

    Args:
        model: its name, as the client said it.
        include_usage: send token counts in a last chunk.
    """

    def __init__(self, model: str, *, include_usage: bool = False) -> None:
        self._head = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": model}
        self._include_usage = include_usage
        self._answers: dict[int, dict[str, Any]] = {}
        self._usages: dict[int, Usage] = {}

    def chunks(self, number: int, event: ConversationEvent) -> Iterator[dict[str, Any]]:
        """Take an event of an answer and yield what the client is told."""
        begun = number in self._answers
        self._take(number, event)
        if not begun:
            yield self._chunk(number, {"role": "assistant", "content": ""})
        if isinstance(event, Text) and event.delta:
            yield self._chunk(number, {"content": event.delta})
        elif isinstance(event, Thought):
            yield self._chunk(number, {"reasoning_content": event.delta})
        elif isinstance(event, Finished):
            yield self._chunk(number, {}, FINISH_REASONS[event.reason])

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
                "message": _message(answer),
                "logprobs": None,
                "finish_reason": answer["reason"],
            }
            for number, answer in sorted(self._answers.items())
        ]
        return {**self._head, "object": "chat.completion", "choices": choices, "usage": self._usage()}

    def _take(self, number: int, event: ConversationEvent) -> None:
        answer = self._answers.setdefault(number, {"content": "", "thought": "", "reason": None})
        if isinstance(event, Text):
            answer["content"] += event.delta
        elif isinstance(event, Thought):
            answer["thought"] += event.delta
        elif isinstance(event, Finished):
            answer["reason"] = FINISH_REASONS[event.reason]
            self._usages[number] = event.usage

    def _chunk(self, number: int, delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
        choice = {"index": number, "delta": delta, "logprobs": None, "finish_reason": reason}
        return {**self._head, "object": "chat.completion.chunk", "choices": [choice]}

    def _usage(self) -> dict[str, Any]:
        return usage_of(list(self._usages.values()))


def _message(answer: dict[str, Any]) -> dict[str, Any]:
    thought = {"reasoning_content": answer["thought"]} if answer["thought"] else {}
    return {"role": "assistant", "content": answer["content"], "refusal": None, **thought}


def usage_of(usages: list[Usage]) -> dict[str, Any]:
    """Return the counts of one request: its prompt once, all of its answers.

    Cached tokens are those of the first answer: the prompt's copies for the others are no luck of the cache.
    """
    prompt = usages[0].prompt_tokens if usages else 0
    generated = sum(usage.generated_tokens for usage in usages)
    cached = min((usage.reused_tokens for usage in usages), default=0)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": generated,
        "total_tokens": prompt + generated,
        "prompt_tokens_details": {"cached_tokens": cached},
    }
