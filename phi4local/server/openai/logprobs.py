"""Log-probabilities in OpenAI's two shapes. Tokens without text, such as the last one, are left out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from phi4local.engine.events import TokenLogprob
    from phi4local.runtime.vocabulary import KnowsTokens

LEAST = -9999.0
"""OpenAI's number for what is as good as impossible; JSON has no infinity."""


def chat_logprobs(tokens: KnowsTokens, items: Iterable[TokenLogprob]) -> list[dict[str, Any]]:
    """Return the entries of `logprobs.content` in a chat completion.

    Example: one entry is `{"token": "Hello", "logprob": -0.1, "bytes": [72, …], "top_logprobs": […]}`.
    """
    pieces = tokens.pieces()
    return [
        {
            **_entry(tokens, item.token, item.logprob),
            "top_logprobs": [_entry(tokens, token, logprob) for token, logprob in item.top],
        }
        for item in items
        if pieces[item.token]
    ]


def _entry(tokens: KnowsTokens, token: int, logprob: float) -> dict[str, Any]:
    piece = tokens.pieces()[token]
    return {
        "token": tokens.token_name(token),
        "logprob": max(logprob, LEAST),
        "bytes": list(piece) if piece else None,
    }


class TextLogprobs:
    """Collects the log-probabilities of one answer of `/v1/completions`."""

    def __init__(self, tokens: KnowsTokens) -> None:
        self._tokens = tokens
        self._all: dict[str, Any] = _nothing()
        self._characters = 0

    def add(self, items: Iterable[TokenLogprob]) -> dict[str, Any]:
        """Take the next tokens; return what a chunk says about them."""
        new = _nothing()
        for item in items:
            if not self._tokens.pieces()[item.token]:
                continue
            name = self._tokens.token_name(item.token)
            new["tokens"].append(name)
            new["token_logprobs"].append(max(item.logprob, LEAST))
            top = {self._tokens.token_name(token): max(value, LEAST) for token, value in item.top}
            new["top_logprobs"].append(top)
            new["text_offset"].append(self._characters)
            self._characters += len(name)
        for key, values in new.items():
            self._all[key] += values
        return new

    def so_far(self) -> dict[str, Any]:
        """Return everything that was added."""
        return self._all


def _nothing() -> dict[str, Any]:
    return {"tokens": [], "token_logprobs": [], "top_logprobs": [], "text_offset": []}
