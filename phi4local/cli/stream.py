"""Print an answer while it comes, and say how fast it came."""

from __future__ import annotations

import shutil
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from phi4local.assistant.events import TurnsDropped
from phi4local.assistant.guard.events import Blocked, Noted, Unchecked
from phi4local.cli.text import VisibleStream, visible
from phi4local.cli.wrap import WordWrap
from phi4local.engine import Completion, ContextShifted, Finished, Text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from phi4local.assistant.events import ConversationEvent

REASONS = {
    "length": "stopped at the token limit",
    "time": "stopped at the time limit",
    "cancelled": "interrupted",
}


def print_answer(events: Iterable[ConversationEvent], *, wrap: bool = True) -> Finished:
    """Write the text of `events` to stdout as it comes and return the end of the answer.

    A terminal gets control characters written out and, with `wrap`, lines broken between words; a pipe gets
    the text exactly. A line feed follows.
    """
    screen = _Screen(wrap=wrap) if sys.stdout.isatty() else None
    began = False
    try:
        for event in events:
            if isinstance(event, Finished):
                began = True
                return event
            if not isinstance(event, Text):
                tell(event)
                continue
            began = True
            sys.stdout.write(screen.feed(event.delta) if screen else event.delta)
            sys.stdout.flush()
    finally:
        if began:  # also when the engine failed: the error gets a line of its own
            sys.stdout.write((screen.finish() if screen else "") + "\n")
            sys.stdout.flush()
    raise RuntimeError("an answer ended without its last event")


def tell(event: ConversationEvent) -> None:
    """Say on stderr what is no text: turns that were dropped, and what the guard did."""
    if isinstance(event, ContextShifted | TurnsDropped):
        turns = "the oldest turn" if event.turns == 1 else f"the {event.turns} oldest turns"
        summary = getattr(event, "summary", None)
        what = "are summarized now" if summary else "dropped"
        sys.stderr.write(f"the context is full: {turns} ({event.tokens:,} tokens) {what}\n")
    elif isinstance(event, Blocked | Unchecked | Noted):  # the text shows what was masked
        sys.stderr.write(f"guard: {visible(event.message)}\n")


class _Screen:
    """Text on its way to a terminal: safe, and broken between words."""

    def __init__(self, *, wrap: bool) -> None:
        self._visible = VisibleStream()
        self._wrap = WordWrap(shutil.get_terminal_size().columns) if wrap else None

    def feed(self, text: str) -> str:
        text = self._visible.feed(text)
        return self._wrap.feed(text) if self._wrap else text

    def finish(self) -> str:
        text = self._visible.finish()
        return self._wrap.feed(text) + self._wrap.finish() if self._wrap else text


def statistics(finished: Finished) -> str:
    """Return one line about an answer.

    Example: "33 tokens at 812.4 tok/s, prompt 13 + 45 kept at 5,120.0 tok/s".
    """
    usage = finished.usage
    parts = [f"{usage.generated_tokens:,} tokens at {finished.tokens_per_second:,.1f} tok/s"]
    evaluated = usage.prompt_tokens - usage.reused_tokens
    kept = f" + {usage.reused_tokens:,} kept" if usage.reused_tokens else ""
    parts.append(f"prompt {evaluated:,}{kept} at {finished.prompt_tokens_per_second:,.1f} tok/s")
    if usage.drafted_tokens:
        parts.append(f"{usage.accepted_tokens:,} of {usage.drafted_tokens:,} guesses right")
    if finished.reason != "stop":
        parts.append(REASONS[finished.reason])
    return ", ".join(parts)


def completion_to_json(model: str, completion: Completion) -> dict[str, Any]:
    """Return an answer with its counts and times, for `--json`."""
    finished = completion.finished
    logprobs = completion.logprobs
    return {
        "model": model,
        "text": completion.text,
        "token_ids": list(completion.token_ids),
        "finish_reason": finished.reason,
        "prompt_tokens": finished.usage.prompt_tokens,
        "reused_tokens": finished.usage.reused_tokens,
        "generated_tokens": finished.usage.generated_tokens,
        "drafted_tokens": finished.usage.drafted_tokens,
        "accepted_tokens": finished.usage.accepted_tokens,
        "prompt_seconds": finished.timings.prompt_seconds,
        "generation_seconds": finished.timings.generation_seconds,
        "prompt_tokens_per_second": finished.prompt_tokens_per_second,
        "tokens_per_second": finished.tokens_per_second,
    } | ({} if logprobs is None else {"logprobs": [asdict(item) for item in logprobs]})
