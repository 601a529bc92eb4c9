"""Whom the requests of a benchmark go to: a model here, or one behind a server's address."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Protocol

from phi4local.prompts import TokenSegment

if TYPE_CHECKING:
    from phi4local.engine import Generation
    from phi4local.runtime.model import Model
    from phi4local.runtime.remote.model import RemoteModel

_WORDS = ("river", "stone", "window", "paper", "garden", "morning", "yellow", "answer", "winter", "table")


class Speaker(Protocol):
    """Starts answers to prompts that nobody has asked before.

    Attributes:
        least_prompt: tokens of a prompt where only the answer is of interest.
    """

    least_prompt: int

    def start(self, seeds: tuple[int, int], tokens: tuple[int, int], answer: int) -> Generation:
        """Start an answer.

        Args:
            seeds: of the beginning and of the rest of the prompt; the same seed gives the same text.
            tokens: their lengths.
            answer: how many tokens to write.
        """


class LocalSpeaker:
    """Prompts of random token ids; answers go on after an end token."""

    least_prompt = 1

    def __init__(self, model: Model) -> None:
        self._model = model
        self._known = model.facts.vocabulary_tokens * 9 // 10  # below the special tokens

    def start(self, seeds: tuple[int, int], tokens: tuple[int, int], answer: int) -> Generation:
        """See `Speaker.start`."""
        ids = [*self._ids(seeds[0], tokens[0]), *self._ids(seeds[1], tokens[1])]
        return self._model.submit_segments((TokenSegment(tuple(ids)),), max_tokens=answer, ignore_end=True)

    def _ids(self, seed: int, tokens: int) -> list[int]:
        choose = random.Random(seed)  # noqa: S311 - a repeatable workload
        return [choose.randrange(self._known) for _ in range(tokens)]


class RemoteSpeaker:
    """Prompts of random words: servers take text. Two short prompts tell how many tokens a word is."""

    least_prompt = 16  # after a word or two, some models have nothing to say

    def __init__(self, model: RemoteModel) -> None:
        self._model = model
        self._words_per_token = 1.0
        few, many = (self._count(seed, words) for seed, words in ((-1, 32), (-2, 96)))
        if many > few:
            self._words_per_token = 64 / (many - few)

    def start(self, seeds: tuple[int, int], tokens: tuple[int, int], answer: int) -> Generation:
        """See `Speaker.start`; the lengths are met within a few tokens."""
        text = " ".join((*self._words(seeds[0], tokens[0]), *self._words(seeds[1], tokens[1])))
        return self._model.generate(text, max_tokens=answer)

    def _words(self, seed: int, tokens: int) -> list[str]:
        choose = random.Random(seed)  # noqa: S311 - a repeatable workload
        return [choose.choice(_WORDS) for _ in range(round(tokens * self._words_per_token))]

    def _count(self, seed: int, words: int) -> int:
        """Return the tokens of some words as the server counts them; 0 where it does not count."""
        generation = self._model.generate(" ".join(self._words(seed, words)), max_tokens=1)
        return generation.result().finished.usage.prompt_tokens
