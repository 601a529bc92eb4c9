"""Events of an answer → Anthropic's message, whole and as events. Pure: nothing here waits."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

from phi4local.assistant.events import ToolCall
from phi4local.assistant.guard.events import Blocked
from phi4local.assistant.thinking import Thought
from phi4local.engine import Finished, Text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from phi4local.assistant.events import ConversationEvent
    from phi4local.engine import Usage

_REASONS = {"stop": "end_turn", "length": "max_tokens", "time": "max_tokens", "cancelled": "end_turn"}


class AnthropicMessage:
    """Collects the events of one answer, and gives events or the whole message.

    Args:
        model: its name, as the client said it.
        input_tokens: of the prompt, told before the answer; its end tells what of it was in the cache.
    """

    def __init__(self, model: str, *, input_tokens: int = 0) -> None:
        self._input_tokens = input_tokens
        self._id = f"msg_{uuid.uuid4().hex[:24]}"
        self._model = model
        self._blocks: list[dict[str, Any]] = []
        self._reason: str | None = None
        self._stop_text: str | None = None
        self._refusal: str | None = None
        self._usage: Usage | None = None
        self._begun = False

    def events(self, event: ConversationEvent) -> Iterator[dict[str, Any]]:
        """Take an event of the answer and yield what the client is told."""
        if not self._begun:
            self._begun = True
            yield {"type": "message_start", "message": self._message(content=[], ended=False)}
            yield {"type": "ping"}
        before = len(self._blocks)
        delta = self.take(event)
        if len(self._blocks) > before:
            if before:
                yield _stopped(before - 1)
            yield {
                "type": "content_block_start",
                "index": before,
                "content_block": _empty(self._blocks[-1]),
            }
        if delta is not None:
            yield {"type": "content_block_delta", "index": len(self._blocks) - 1, "delta": delta}
        if isinstance(event, Finished):
            if self._blocks:
                yield _stopped(len(self._blocks) - 1)
            ended = {**self._end(), "container": None}
            yield {"type": "message_delta", "delta": ended, "usage": self._counts()}
            yield {"type": "message_stop"}

    def take(self, event: ConversationEvent) -> dict[str, Any] | None:
        """Take an event; return what it adds to the newest block, if anything."""
        if isinstance(event, Text) and event.delta:
            self._block("text", text="")["text"] += event.delta
            return {"type": "text_delta", "text": event.delta}
        if isinstance(event, Thought) and event.delta:
            self._block("thinking", thinking="", signature="")["thinking"] += event.delta
            return {"type": "thinking_delta", "thinking": event.delta}
        if isinstance(event, ToolCall):
            found = {"id": event.id, "name": event.name, "input": json.loads(event.arguments)}
            self._blocks.append({"type": "tool_use", **found})
            self._reason = "tool_use"
            return {"type": "input_json_delta", "partial_json": event.arguments}
        if isinstance(event, Blocked):
            self._reason, self._refusal = "refusal", event.message
        elif isinstance(event, Finished):
            self._stop_text = event.stop_text
            usual = "stop_sequence" if event.stop_text else _REASONS[event.reason]
            self._reason = self._reason or usual
            self._usage = event.usage
        return None

    def whole(self) -> dict[str, Any]:
        """Return the message when the answer is finished."""
        return self._message(content=self._blocks, ended=True)

    def _block(self, kind: str, **empty: str) -> dict[str, Any]:
        """Return the newest block if it is of this kind, else a new one."""
        if not self._blocks or self._blocks[-1]["type"] != kind:
            self._blocks.append({"type": kind, **empty})
        return self._blocks[-1]

    def _end(self) -> dict[str, Any]:
        """Return why the answer ended; what the guard says stands beside a refusal."""
        said = self._refusal
        told = None if said is None else {"type": "refusal", "category": None, "explanation": said}
        return {"stop_reason": self._reason, "stop_sequence": self._stop_text, "stop_details": told}

    def _message(self, *, content: list[dict[str, Any]], ended: bool) -> dict[str, Any]:
        return {
            "id": self._id,
            "type": "message",
            "role": "assistant",
            "model": self._model,
            "content": content,
            **(self._end() if ended else dict.fromkeys(("stop_reason", "stop_sequence", "stop_details"))),
            "usage": self._counts(),
        }

    def _counts(self) -> dict[str, int]:
        """Return exact token counts; what was in the cache already counts apart, as Anthropic does."""
        usage = self._usage
        if usage is None:
            return {"input_tokens": self._input_tokens, "output_tokens": 0}
        return {
            "input_tokens": usage.prompt_tokens - usage.reused_tokens,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": usage.reused_tokens,
            "output_tokens": usage.generated_tokens,
        }


def _stopped(index: int) -> dict[str, Any]:
    return {"type": "content_block_stop", "index": index}


def _empty(block: dict[str, Any]) -> dict[str, Any]:
    """Return a block as it stands before its first delta."""
    empty: dict[str, Any] = {"text": "", "thinking": "", "input": {}}
    return {name: empty.get(name, value) for name, value in block.items()}
