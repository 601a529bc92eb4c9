"""Several answers at the same time, each on a thread that writes down when what arrives."""

from __future__ import annotations

import statistics
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from phi4local.engine import Finished, Text
from phi4local.errors import InvalidSettingError, Phi4LocalError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from phi4local.engine import Generation


@dataclass(slots=True)
class Stream:
    """One answer as it arrived, times in seconds of `time.perf_counter`.

    Attributes:
        started: when it was asked for.
        arrivals: time of each event, and how many tokens it brought; pieces, where a server does not tell.
        finished: the last event.
    """

    started: float
    arrivals: list[tuple[float, int]] = field(default_factory=list)
    finished: Finished | None = None

    @property
    def first(self) -> float:
        """When the first text came."""
        return self.arrivals[0][0]

    @property
    def last(self) -> float:
        """When the last text came, or when it must have come.

        Tokens of a fast model arrive in bundles, and then only the engine knows how long they took.
        """
        engine_seconds = self.finished.timings.generation_seconds if self.finished else 0.0
        return max(self.arrivals[-1][0], self.first + engine_seconds)

    @property
    def tokens(self) -> int:
        """Generated tokens, the first one too."""
        return self.finished.usage.generated_tokens if self.finished else 0

    def tokens_between(self, start: float, end: float) -> float:
        """Return how many tokens came after `start` and up to `end`."""
        count = sum(many for moment, many in self.arrivals[1:] if start < moment <= end)
        return count * self.tokens / sum(many for _, many in self.arrivals)

    @property
    def evaluated_tokens(self) -> int:
        """Prompt tokens that were not in the cache."""
        usage = self.finished.usage if self.finished else None
        return usage.prompt_tokens - usage.reused_tokens if usage else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One repeat of a test: nanoseconds of all streams together, and tokens per second of the slowest."""

    total_ns: int
    first_token_ns: int
    slowest_ts: float
    sampling_ns: float


def run(starts: Sequence[Callable[[], Generation]]) -> list[Stream]:
    """Start answers one right after the other and wait for all; an error of one is raised after their end.

    Ctrl-C cancels them.
    """
    streams, threads, generations = [], [], []
    errors: list[Phi4LocalError] = []
    done = False
    try:
        for start in starts:
            stream = Stream(time.perf_counter())
            generation = start()
            generations.append(generation)
            thread = threading.Thread(target=_listen, args=(generation, stream, errors), daemon=True)
            thread.start()
            streams.append(stream)
            threads.append(thread)
        for thread in threads:
            while thread.is_alive():
                thread.join(1.0)  # without an end, Windows would not hear Ctrl-C
        done = True
    finally:
        for generation in () if done else generations:
            generation.cancel()
    if errors:
        raise errors[0]
    return streams


def prompt_sample(streams: Sequence[Stream], tokens: int) -> Sample:
    """Return what it took to read prompts of `tokens` new tokens each, up to the last one's first token.

    What the cache had lost of a prompt was read too; the time is that of `tokens` at the same rate.
    """
    share = tokens / max(1.0, sum(stream.evaluated_tokens for stream in streams) / len(streams))
    seconds = max(stream.first for stream in streams) - streams[0].started
    slowest = max(stream.first - stream.started for stream in streams)
    return _sample(streams, seconds * min(1.0, share), tokens / slowest)


def answer_sample(streams: Sequence[Stream], tokens: int) -> Sample:
    """Return what it took to generate `tokens` after the first one in each stream, all streams at work.

    The clock runs from the first token of the last stream to the end of the first one; what was generated
    meanwhile gives the rate of all.
    """
    _require_answers(streams)
    slowest = min((stream.tokens - 1) / (stream.last - stream.first) for stream in streams)
    if len(streams) == 1:
        return _sample(streams, tokens / slowest, slowest)
    start, end = max(stream.first for stream in streams), min(stream.last for stream in streams)
    count = sum(stream.tokens_between(start, end) for stream in streams)
    if end <= start or not count:  # too short for a moment in which all were at work
        start, end = min(stream.first for stream in streams), max(stream.last for stream in streams)
        count = sum(stream.tokens - 1 for stream in streams)
    return _sample(streams, (end - start) * len(streams) * tokens / count, slowest)


def whole_sample(streams: Sequence[Stream], prompt: int, answer: int) -> Sample:
    """Return what prompts and answers took together, from the first request to the last token."""
    _require_answers(streams)
    seconds = max(stream.last for stream in streams) - streams[0].started
    slowest = max(stream.last - stream.started for stream in streams)
    written = statistics.fmean(stream.tokens - 1 for stream in streams)  # servers may end an answer early
    share = (prompt + answer) / (prompt + written)
    return _sample(streams, seconds * share, (prompt + answer) / (slowest * share))


def _require_answers(streams: Sequence[Stream]) -> None:
    """Refuse answers without a step: a server may end them with the first token."""
    if any(stream.tokens < 2 or stream.last <= stream.first for stream in streams):
        raise InvalidSettingError(
            "n_gen",
            "was not reached: an answer ended with its first token",
            hint="try a longer prompt: -pg 64,32",
        )


def _sample(streams: Sequence[Stream], seconds: float, slowest_ts: float) -> Sample:
    sampling = sum(stream.finished.timings.sampling_seconds for stream in streams if stream.finished)
    return Sample(
        total_ns=round(seconds * 1e9),
        first_token_ns=round((max(stream.first for stream in streams) - streams[0].started) * 1e9),
        slowest_ts=slowest_ts,
        sampling_ns=sampling * 1e9 / max(1, sum(stream.tokens for stream in streams)),
    )


def _listen(generation: Generation, stream: Stream, errors: list[Phi4LocalError]) -> None:
    try:
        for event in generation:
            if isinstance(event, Text):
                stream.arrivals.append((time.perf_counter(), max(1, len(event.token_ids))))
            elif isinstance(event, Finished):
                stream.finished = event
        if not stream.arrivals:
            stream.arrivals.append((time.perf_counter(), 1))
    except Phi4LocalError as error:  # for the thread that waits
        errors.append(error)
