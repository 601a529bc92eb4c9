"""The path that chat uses, measured where the text arrives: worker process, sampling, text, events.

A test has llama-bench's meaning: `n_prompt` tokens are read, `n_gen` tokens are written, behind `n_depth`
tokens that are in the cache before. The first token of an answer comes with the prompt, so one more than
`n_gen` is asked for, and what lies between the first and the last is `n_gen` steps.
"""

from __future__ import annotations

import itertools
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from phi4local.bench import streams

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from phi4local.bench.matrix import Test
    from phi4local.bench.raw import Rounds
    from phi4local.bench.speakers import Speaker
    from phi4local.bench.streams import Sample

WARM_UP_TOKENS = 8
"""Of an answer, before the counted ones."""


@dataclass(slots=True)
class Chat:
    """Runs tests on one speaker.

    Attributes:
        speaker: who answers.
        rounds: how often.
        seeds: numbers that were not used yet, so that no prompt is in a cache by accident.
    """

    speaker: Speaker
    rounds: Rounds
    seeds: Iterator[int]

    @classmethod
    def of(cls, speaker: Speaker, rounds: Rounds) -> Chat:
        """Return one that has used no number yet."""
        return cls(speaker, rounds, itertools.count(1))

    def measure(self, test: Test, step: Callable[[int], None] = lambda _repeat: None) -> dict[str, Any]:
        """Return the samples of a test, by the names of a row's fields.

        Args:
            test: what to do.
            step: told which repeat begins; 0 is the warm-up.
        """
        beginnings = [next(self.seeds) for _ in range(test.parallel)]
        if self.rounds.warm_up:
            step(0)
            self._sample(test, beginnings, most_tokens=WARM_UP_TOKENS)
        samples = []
        for repeat in range(self.rounds.repeats):
            step(repeat + 1)
            samples.append(self._sample(test, beginnings))
        return _columns(samples, several=test.parallel > 1)

    def _sample(self, test: Test, beginnings: list[int], most_tokens: int | None = None) -> Sample:
        if test.n_depth:
            self._run(beginnings, (test.n_depth, 0), 1)
        # An answer needs a prompt: where there is none, one token, or what the cache holds already.
        lengths = (test.n_depth, test.n_prompt or (0 if test.n_depth else self.speaker.least_prompt))
        answer = test.n_gen if most_tokens is None else min(test.n_gen, most_tokens)
        found = self._run(beginnings, lengths, 1 + answer)
        if not answer:
            return streams.prompt_sample(found, test.n_prompt)
        if not test.n_prompt:
            return streams.answer_sample(found, test.n_gen)
        return streams.whole_sample(found, test.n_prompt, test.n_gen)

    def _run(self, beginnings: list[int], lengths: tuple[int, int], answer: int) -> list[streams.Stream]:
        def begin(seed: int) -> Callable[[], Any]:
            seeds = (seed, next(self.seeds))
            return lambda: self.speaker.start(seeds, lengths, answer)

        return streams.run([begin(seed) for seed in beginnings])


def _columns(samples: list[Sample], *, several: bool) -> dict[str, Any]:
    return {
        "samples_ns": tuple(sample.total_ns for sample in samples),
        "samples_first_token_ns": tuple(sample.first_token_ns for sample in samples),
        "samples_slowest_ts": tuple(sample.slowest_ts for sample in samples) if several else (),
        "sampling_ns": round(statistics.median(sample.sampling_ns for sample in samples)),
    }
