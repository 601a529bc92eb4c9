"""Several conversations at once through the worker, and how fast their tokens arrive."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from phi4local import gguf
from phi4local.engine import Finished, Request, Text
from phi4local.engine.worker import EngineWorker
from phi4local.prompts import TokenSegment
from phi4local.runtime.facts import file_facts
from phi4local.settings import LoadSettings, SamplingSettings

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from pathlib import Path

    from phi4local.engine import Generation
    from phi4local.engine.model import ModelFile


def model_file(path: Path) -> ModelFile:
    """Return what the engine has to know of a GGUF file."""
    return file_facts(gguf.validate(path)).model_file()


@dataclass(frozen=True, slots=True, kw_only=True)
class Speeds:
    """Tokens per second.

    Attributes:
        together: of all streams, between the first token of the last one and the last token of the first one:
            while all of them were generating.
        each: of every stream, from its first event to its end.
    """

    together: float
    each: tuple[float, ...]


class Ours:
    """A loaded model behind the worker."""

    def __init__(
        self,
        file: ModelFile,
        options: argparse.Namespace,
        **settings: Any,  # noqa: ANN401 - as LoadSettings has them
    ) -> None:
        self._choose = random.Random(0)
        usual = {"context_tokens": 1024, "threads": options.threads, "gpu_layers": options.gpu_layers}
        self.worker = EngineWorker()
        self.facts = self.worker.load(file, LoadSettings.from_mapping(usual | settings))
        self.highest_id = min(100_000, self.facts.vocabulary_tokens - 100)

    def some_ids(self, count: int) -> tuple[int, ...]:
        """Return token ids that were not used before and are no special tokens."""
        return tuple(self._choose.choices(range(100, self.highest_id), k=count))

    def request(self, ids: Sequence[int], max_tokens: int, **fields: Any) -> Request:  # noqa: ANN401
        """Return a request with everything on that a person has on: sampling, text, events."""
        return Request(
            segments=(TokenSegment(tuple(ids)),),
            sampling=SamplingSettings(temperature=0.8),
            max_tokens=max_tokens,
            ignore_end=True,
            **fields,
        )

    def submit(self, ids: Sequence[int], max_tokens: int, **fields: Any) -> Generation:  # noqa: ANN401
        """Start a request as `request` makes it."""
        return self.worker.submit(self.request(ids, max_tokens, **fields))

    def prompt_speed(self, tokens: int) -> float:
        """Return tokens per second of a new prompt, from `submit` to the first event."""
        ids = self.some_ids(tokens)
        started = time.perf_counter()
        generation = self.submit(ids, 1)
        next(iter(generation))
        seconds = time.perf_counter() - started
        generation.result()
        return tokens / seconds

    def speeds(
        self, fields: Sequence[dict[str, Any]], *, prompt_tokens: int, generated_tokens: int
    ) -> Speeds:
        """Run one stream for each entry of `fields`, which are added to its request, all at the same time."""
        arrivals: list[list[tuple[float, int]]] = [[] for _ in fields]

        def listen(place: int, generation: Generation) -> None:
            for event in generation:
                count = len(event.token_ids) if isinstance(event, Text) else 0
                arrivals[place].append((time.perf_counter(), count))

        threads = []
        for place, extra in enumerate(fields):
            generation = self.submit(self.some_ids(prompt_tokens), generated_tokens + 1, **extra)
            threads.append(threading.Thread(target=listen, args=(place, generation)))
            threads[-1].start()
        for thread in threads:
            thread.join()
        return _speeds(arrivals)


def _speeds(arrivals: list[list[tuple[float, int]]]) -> Speeds:
    """Turn arrival times and numbers of tokens into speeds."""
    start = max(stream[0][0] for stream in arrivals)
    end = min([moment for moment, count in stream if count][-1] for stream in arrivals)
    tokens = sum(count for stream in arrivals for moment, count in stream if start < moment <= end)
    each = (sum(count for _, count in stream[1:]) / (stream[-1][0] - stream[0][0]) for stream in arrivals)
    return Speeds(together=tokens / (end - start), each=tuple(each))


def finished(generation: Generation) -> Finished:
    """Wait for the end of a generation and return its last event."""
    return generation.result().finished
