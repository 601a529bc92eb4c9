"""The items of a response: thoughts, words, refusals and calls, and the events that tell of them."""

from __future__ import annotations

import copy
import uuid
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from phi4local.assistant.events import ToolCall


class Output:
    """The items of one response, in order; the newest one may be open.

    Example: two `text` calls give one item of type `message` with one part; `end` closes it.
    """

    def __init__(self) -> None:
        self._items: list[dict[str, Any]] = []
        self._open = False

    def items(self) -> list[dict[str, Any]]:
        """Return everything so far."""
        return copy.deepcopy(self._items)

    @property
    def only_thoughts(self) -> bool:
        """Whether there are thoughts, and nothing else yet."""
        return {item["type"] for item in self._items} == {"reasoning"}

    def text(self, delta: str, logprobs: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Add words of the answer, and their log-probabilities if they were asked for."""
        yield from self._part("message", _empty_text())
        part = self._newest()
        part["text"] += delta
        part["logprobs"] += [_with_bytes(entry) for entry in logprobs]
        yield {
            "type": "response.output_text.delta",
            **self._place(),
            "delta": delta,
            "logprobs": [_without_bytes(entry) for entry in logprobs],
        }

    def thought(self, delta: str) -> Iterator[dict[str, Any]]:
        """Add what the model thinks."""
        yield from self._part("reasoning", {"type": "reasoning_text", "text": ""})
        self._newest()["text"] += delta
        yield {"type": "response.reasoning_text.delta", **self._place(), "delta": delta}

    def refusal(self, message: str) -> Iterator[dict[str, Any]]:
        """Add why the guard ended the answer."""
        yield from self._part("message", {"type": "refusal", "refusal": ""})
        self._newest()["refusal"] = message
        yield {"type": "response.refusal.delta", **self._place(), "delta": message}

    def call(self, call: ToolCall) -> Iterator[dict[str, Any]]:
        """Add a call of a tool, which comes whole."""
        yield from self._close("completed")
        names = {"call_id": call.id, "name": call.name}
        yield from self._begin("function_call", "fc", {**names, "arguments": ""})
        item = self._items[-1]
        item["arguments"] = call.arguments
        place = {"item_id": item["id"], "output_index": len(self._items) - 1}
        yield {"type": "response.function_call_arguments.delta", **place, "delta": call.arguments}
        done = {"name": call.name, "arguments": call.arguments}
        yield {"type": "response.function_call_arguments.done", **place, **done}
        yield from self._close("completed")

    def end(self, status: str) -> Iterator[dict[str, Any]]:
        """Close what is open; an answer without a word or a call has a message that is empty."""
        if all(item["type"] == "reasoning" for item in self._items) and status == "completed":
            yield from self._part("message", _empty_text())
        yield from self._close(status)

    def _part(self, kind: str, empty: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Make sure that the newest item is of a kind and its newest part like `empty`."""
        if not self._open or self._items[-1]["type"] != kind:
            yield from self._close("completed")
            more: dict[str, Any] = {"role": "assistant"} if kind == "message" else {"summary": []}
            yield from self._begin(kind, "msg" if kind == "message" else "rs", {**more, "content": []})
        content = self._items[-1]["content"]
        if content and content[-1]["type"] == empty["type"]:
            return
        if content:
            yield from self._close_part()
        content.append(empty)
        yield {"type": "response.content_part.added", **self._place(), "part": copy.deepcopy(empty)}

    def _begin(self, kind: str, prefix: str, fields: dict[str, Any]) -> Iterator[dict[str, Any]]:
        item = {"id": f"{prefix}_{uuid.uuid4().hex}", "type": kind, "status": "in_progress", **fields}
        self._items.append(item)
        self._open = True
        yield self._item_event("added")

    def _close(self, status: str) -> Iterator[dict[str, Any]]:
        if not self._open:
            return
        item = self._items[-1]
        if item.get("content"):
            yield from self._close_part()
        item["status"] = status
        self._open = False
        yield self._item_event("done")

    def _close_part(self) -> Iterator[dict[str, Any]]:
        part = self._newest()
        place, kind = self._place(), part["type"]
        if kind == "refusal":
            yield {"type": "response.refusal.done", **place, "refusal": part["refusal"]}
        else:
            entries = [_without_bytes(entry) for entry in part.get("logprobs", ())]
            more = {"logprobs": entries} if kind == "output_text" else {}
            yield {"type": f"response.{kind}.done", **place, "text": part["text"], **more}
        yield {"type": "response.content_part.done", **place, "part": copy.deepcopy(part)}

    def _item_event(self, what: str) -> dict[str, Any]:
        item = copy.deepcopy(self._items[-1])
        return {
            "type": f"response.output_item.{what}",
            "output_index": len(self._items) - 1,
            "item": item,
        }

    def _newest(self) -> dict[str, Any]:
        part: dict[str, Any] = self._items[-1]["content"][-1]
        return part

    def _place(self) -> dict[str, Any]:
        item = self._items[-1]
        last = len(item["content"]) - 1
        return {"item_id": item["id"], "output_index": len(self._items) - 1, "content_index": last}


def _empty_text() -> dict[str, Any]:
    return {"type": "output_text", "text": "", "annotations": [], "logprobs": []}


def _with_bytes(entry: dict[str, Any]) -> dict[str, Any]:
    """Return an entry as items have it: bytes are a list, empty for a token without any."""
    top = [{**one, "bytes": one["bytes"] or []} for one in entry["top_logprobs"]]
    return {**entry, "bytes": entry["bytes"] or [], "top_logprobs": top}


def _without_bytes(entry: dict[str, Any]) -> dict[str, Any]:
    """Return an entry as events have it: bytes stand in the items only."""
    top = [{name: one[name] for name in ("token", "logprob")} for one in entry["top_logprobs"]]
    return {"token": entry["token"], "logprob": entry["logprob"], "top_logprobs": top}
