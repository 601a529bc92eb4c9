"""Measure the path that chat uses: worker process, sampling, streaming."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from phi4local.bench.report import Samples, SpeedReport
from phi4local.engine import Finished
from phi4local.errors import InvalidSettingError
from phi4local.prompts import TokenSegment

if TYPE_CHECKING:
    from collections.abc import Callable

    from phi4local.runtime.model import Model

SHORT_PROMPT_TOKENS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What is measured, how often.

    Raises:
        InvalidSettingError: a number too small to measure.
    """

    prompt_tokens: int = 512
    generated_tokens: int = 128
    repeats: int = 5

    def __post_init__(self) -> None:
        for name, low in (("prompt_tokens", 1), ("generated_tokens", 2), ("repeats", 1)):
            if getattr(self, name) < low:
                raise InvalidSettingError(name, f"is {getattr(self, name)}; it must be at least {low}")

    def fitted(self, context_tokens: int) -> Workload:
        """Return a workload that fits into the context. Example: 512 + 128 in 256 → 204 + 51."""
        if max(self.prompt_tokens, SHORT_PROMPT_TOKENS + self.generated_tokens) < context_tokens:
            return self
        prompt = min(self.prompt_tokens, context_tokens * 4 // 5)
        return Workload(
            prompt_tokens=prompt,
            generated_tokens=max(2, min(self.generated_tokens, context_tokens // 5)),
            repeats=self.repeats,
        )


def random_prompt(tokens: int, vocabulary_tokens: int, *, seed: int) -> TokenSegment:
    """Return a prompt of random ids; another seed shares no prefix, so nothing comes from the cache.

    Ids stop at 90 % of the vocabulary, below the special tokens.
    """
    choose = random.Random(seed)  # noqa: S311 - a repeatable workload
    ids = [choose.randrange(vocabulary_tokens * 9 // 10) for _ in range(tokens)]
    ids[0] = seed % (vocabulary_tokens * 9 // 10)
    return TokenSegment(tuple(ids))


def measure(
    model: Model,
    workload: Workload,
    *,
    step: Callable[[int, int], None] = lambda _done, _all: None,
) -> SpeedReport:
    """Measure a loaded model, after one round that is not counted.

    Args:
        model: runs on an idle engine.
        workload: numbers of tokens and of repeats; cut to the context where it is too long.
        step: called with finished and all rounds.

    Returns:
        The `chat` row. Generation is timed where the text arrives, in this process.
    """
    workload = workload.fitted(model.context_tokens)
    prompt_rates, first_token, rates = [], [], []
    for round_number in range(workload.repeats + 1):
        prompt_rate, seconds = _prompt_round(model, workload.prompt_tokens, 2 * round_number)
        rate = _generation_round(model, workload.generated_tokens, 2 * round_number + 1)
        step(round_number + 1, workload.repeats + 1)
        if round_number:  # the first one warms caches up
            prompt_rates.append(prompt_rate)
            first_token.append(seconds)
            rates.append(rate)
    return SpeedReport(
        path="chat",
        prompt_tokens=workload.prompt_tokens,
        generated_tokens=workload.generated_tokens,
        prompt_tokens_per_second=Samples(tuple(prompt_rates)),
        generated_tokens_per_second=Samples(tuple(rates)),
        first_token_seconds=Samples(tuple(first_token)),
        load_seconds=model.facts.load_seconds,
        peak_memory_bytes=model.peak_memory_bytes(),
    )


def _prompt_round(model: Model, tokens: int, seed: int) -> tuple[float, float]:
    """Return prompt tokens per second and seconds to the first text."""
    prompt = random_prompt(tokens, model.facts.vocabulary_tokens, seed=seed)
    started = time.perf_counter()
    generation = model.submit_segments((prompt,), max_tokens=1, ignore_end=True)
    seconds = 0.0
    finished: Finished | None = None
    for event in generation:
        seconds = seconds or time.perf_counter() - started
        finished = event if isinstance(event, Finished) else None
    if finished is None:
        raise RuntimeError("a generation ended without its last event")
    return finished.prompt_tokens_per_second, seconds


def _generation_round(model: Model, tokens: int, seed: int) -> float:
    """Return generated tokens per second between the first text and the end, seen from here."""
    prompt = random_prompt(SHORT_PROMPT_TOKENS, model.facts.vocabulary_tokens, seed=seed)
    times, events = [], []
    for event in model.submit_segments((prompt,), max_tokens=tokens, ignore_end=True):
        times.append(time.perf_counter())
        events.append(event)
    finished = events[-1]
    # Few tokens arrive together, and then the time between them says nothing.
    engine_seconds = finished.timings.generation_seconds if isinstance(finished, Finished) else 0.0
    return (tokens - 1) / max(times[-1] - times[0], engine_seconds)
