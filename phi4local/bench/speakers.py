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
    """Starts answers to prompts that nobody has asked before."""

    def start(self, seeds: tuple[int, int], tokens: tuple[int, int], answer: int) -> Generation:
        """Start an answer.

        Args:
            seeds: of the beginning and of the rest of the prompt; the same seed gives the same text.
            tokens: their lengths.
            answer: how many tokens to write.
        """


class LocalSpeaker:
    """Prompts of random token ids; answers go on after an end token."""

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
    """Prompts of random words: servers take text, and most words are one token."""

    def __init__(self, model: RemoteModel) -> None:
        self._model = model

    def start(self, seeds: tuple[int, int], tokens: tuple[int, int], answer: int) -> Generation:
        """See `Speaker.start`; the lengths are met roughly, and the server says how many tokens they were."""
        text = " ".join((*self._words(seeds[0], tokens[0]), *self._words(seeds[1], tokens[1])))
        return self._model.generate(text, max_tokens=answer)

    def _words(self, seed: int, count: int) -> list[str]:
        choose = random.Random(seed)  # noqa: S311 - a repeatable workload
        return [choose.choice(_WORDS) for _ in range(count)]
