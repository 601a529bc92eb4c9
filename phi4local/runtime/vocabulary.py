"""What the tokens of a model are called."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from phi4local.errors import InvalidSettingError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from phi4local.engine.worker import EngineWorker
    from phi4local.runtime.facts import FileFacts


class KnowsTokens:
    """What `Model` can say about single tokens."""

    file: FileFacts
    _worker: EngineWorker
    _pieces: tuple[bytes, ...] = ()

    def pieces(self) -> tuple[bytes, ...]:
        """Return the bytes that each token adds to a text, by its id; a control token adds none.

        The engine is asked once: 0.1 s for Phi-4's 100,352 tokens.

        Example: `model.pieces()[919]` is `b"Hello"` for phi4-nano.
        """
        if not self._pieces:
            self._pieces = self._worker.vocabulary()
        return self._pieces

    def token_name(self, token: int) -> str:
        """Return what a person calls a token: its text, or the name of a control token.

        Example: `"Hello"`, `"<|im_end|>"`; half a character is U+FFFD.
        """
        piece = self.pieces()[token]
        names: Any = self.file.header.get("tokenizer.ggml.tokens", ())
        return piece.decode("utf-8", "replace") if piece else str(names[token])

    def text_of(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens; control tokens have none.

        Raises:
            InvalidSettingError: an id outside of the vocabulary.
        """
        self.require_tokens(tokens)
        pieces = self.pieces()
        return b"".join(pieces[token] for token in tokens).decode("utf-8", "replace")

    def require_tokens(self, tokens: Sequence[int]) -> None:
        """Refuse ids that the vocabulary does not have.

        Raises:
            InvalidSettingError: there is one.
        """
        most = self.file.vocabulary_tokens
        wrong = next((token for token in tokens if not 0 <= token < most), None)
        if wrong is not None:
            raise InvalidSettingError("tokens", f"has {wrong}; this model's ids are 0 to {most - 1:,}")
