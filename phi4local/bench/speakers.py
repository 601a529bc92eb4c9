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
    """Questions of random words: servers take text, and put a template around it.

    Two of them are asked first, to learn how many tokens a word and the template are.
    """

    least_prompt = 1

    def __init__(self, model: RemoteModel) -> None:
        self._model = model
        self._words_per_token, self._template_tokens = 1.0, 0.0
        few, many = (self._count(self._words(seed, count)) for seed, count in ((-1, 32), (-2, 96)))
        if many > few:
            self._words_per_token = 64 / (many - few)
            self._template_tokens = few - 32 / self._words_per_token

    def start(self, seeds: tuple[int, int], tokens: tuple[int, int], answer: int) -> Generation:
        """See `Speaker.start`; the lengths are met within a few tokens."""
        rest = max(1.0, tokens[1] - self._template_tokens)
        counts = (round(some * self._words_per_token) for some in (tokens[0], rest))
        text = " ".join(word for pair in zip(seeds, counts, strict=True) for word in self._words(*pair))
        return self._model.chat(text, max_tokens=answer)

    def _words(self, seed: int, count: int) -> list[str]:
        choose = random.Random(seed)  # noqa: S311 - a repeatable workload
        return [choose.choice(_WORDS) for _ in range(count)]

    def _count(self, words: list[str]) -> int:
        """Return the tokens of a question as the server counts them; 0 where it does not count."""
        return self._model.chat(" ".join(words), max_tokens=1).result().finished.usage.prompt_tokens
