"""A worker under load for the tests of its deaths: real processes, real signals, answers of transformers."""

from __future__ import annotations

import itertools
import json
import os
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from phi4local.engine import Finished, Request
from phi4local.engine.worker import protocol
from phi4local.errors import Phi4LocalError
from phi4local.prompts import TokenSegment
from phi4local.settings import SamplingSettings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest

    from phi4local.engine import Generation
    from phi4local.engine.worker import EngineWorker

GREEDY = SamplingSettings(temperature=0)
ENDLESS = Request(segments=(TokenSegment((8104, 292, 8106)),), sampling=GREEDY, ignore_end=True)
"""Some 2,000 tokens: there is time to do something to its process."""
PROMPT_TOKENS = 1500
_first_tokens = itertools.count(100)


def long_prompt() -> Request:
    """Return a request that is evaluated in several steps: no other one has its prefix."""
    tokens = (next(_first_tokens), *(8104, 292) * (PROMPT_TOKENS // 2))[:PROMPT_TOKENS]
    return Request(segments=(TokenSegment(tokens),), sampling=GREEDY, max_tokens=5)


class Tap:
    """Sees every message of the engine process in the moment when it arrives, and lets it pass.

    `act` is called for each, by the thread that reads them, until it returns True.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.act: Callable[[dict[str, Any]], bool] | None = None
        self.acted = threading.Event()
        original = protocol.read_message

        def read(stream: Any) -> dict[str, Any] | None:
            message = original(stream)
            if message is not None and self.act is not None and self.act(message):
                self.act = None
                self.acted.set()
            return message

        monkeypatch.setattr(protocol, "read_message", read)

    def arm(self, act: Callable[[dict[str, Any]], bool]) -> None:
        """Watch from now on."""
        self.acted.clear()
        self.act = act


@dataclass
class Outcome:
    """What one request came to."""

    token_ids: list[int] = field(default_factory=list)
    finished: Finished | None = None
    error: Phi4LocalError | None = None


def read(generation: Generation) -> Outcome:
    """Read a generation to its end, whatever that is."""
    outcome = Outcome()
    try:
        for event in generation:
            if isinstance(event, Finished):
                outcome.finished = event
            else:
                outcome.token_ids += event.token_ids
    except Phi4LocalError as error:
        outcome.error = error
    return outcome


class Crowd:
    """Threads that ask for the answers that transformers gave, all at once.

    Args:
        cases: prompts and greedy ids from the checkpoint's `expected-greedy.json`.
    """

    def __init__(self, worker: EngineWorker, cases: list[dict[str, Any]]) -> None:
        self.cases = cases
        self.outcomes: list[Outcome] = [Outcome() for _ in cases]
        self._threads = [threading.Thread(target=self._ask, args=(worker, i)) for i in range(len(cases))]
        for thread in self._threads:
            thread.start()

    def wait(self) -> list[Outcome]:
        """Wait for all of them."""
        for thread in self._threads:
            thread.join()
        return self.outcomes

    def _ask(self, worker: EngineWorker, place: int) -> None:
        self.outcomes[place] = read(worker.submit(request_of(self.cases[place])))


def request_of(case: dict[str, Any]) -> Request:
    """Return the request whose answer the case knows."""
    return Request(segments=(TokenSegment(tuple(case["prompt_ids"])),), sampling=GREEDY, max_tokens=64)


def right_answers(worker: EngineWorker, cases: list[dict[str, Any]]) -> list[bool]:
    """Ask one after another; return which answers are those of transformers."""
    return [
        list(worker.submit(request_of(case)).result().token_ids) == case["generated_ids"] for case in cases
    ]


def expected_cases(checkpoint: Path) -> list[dict[str, Any]]:
    """Return what transformers answered."""
    return json.loads((checkpoint / "expected-greedy.json").read_text(encoding="utf-8"))["greedy"]


def exists(process_id: int) -> bool:
    """Return whether there is such a process, be it a zombie."""
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    return True
