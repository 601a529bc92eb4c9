"""Which tokens may come next: llguidance's parser over the vocabulary of a model.

`llguidance`, a library in Rust, computes the mask of 100,352 tokens in about 50 microseconds, has limits for
what a grammar may cost, and reports errors where llama.cpp's own grammars end the process.
"""

from __future__ import annotations

import weakref
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from phi4local.engine.structure.grammar import check_structure, lark_of
from phi4local.errors import EngineError, InvalidSettingError

if TYPE_CHECKING:
    from phi4local.native.llama import NativeModel
    from phi4local.settings import SamplingSettings

_vocabularies: weakref.WeakKeyDictionary[NativeModel, Any] = weakref.WeakKeyDictionary()


class Constraint:
    """What one answer still may be.

    Args:
        model: whose tokens are chosen; the first constraint of a model takes a second to read them.
        sampling: with `json_schema`, `regex` or `grammar`.

    Example: with `regex="[0-9]{2}"` only tokens of one or two digits are allowed at first, and `done` is true
    after two.

    Raises:
        InvalidSettingError: a schema, pattern or grammar that is malformed, unsupported or too large.
    """

    def __init__(self, model: NativeModel, sampling: SamplingSettings) -> None:
        from llguidance import LLMatcher

        self._kind = check_structure(sampling) or "grammar"
        self._tokens = model.vocabulary_tokens
        grammars = lark_of(sampling, partial(_control_token, model))
        vocabulary = _vocabulary(model) if grammars else None
        self._matchers = [
            LLMatcher(vocabulary, LLMatcher.grammar_from_lark(grammar), log_level=0) for grammar in grammars
        ]
        for matcher in self._matchers:
            if matcher.is_error():
                raise InvalidSettingError(
                    self._kind, f"cannot be followed: {_first_line(matcher.get_error())}"
                )

    @property
    def done(self) -> bool:
        """Whether the answer is complete and nothing may follow."""
        return all(matcher.is_stopped() and not matcher.is_error() for matcher in self._matchers)

    def apply(self, logits: Any) -> None:  # noqa: ANN401 - POINTER(c_float)
        """Forbid in place, with minus infinity, what may not come next.

        Args:
            logits: pointer to a row of the context's logits, float32, `(vocabulary,)`.

        Raises:
            EngineError: the grammar got too complex on the way.
        """
        packed = np.frombuffer(self._mask(self._matchers[0]), np.uint8)
        for matcher in self._matchers[1:]:
            packed = packed | np.frombuffer(self._mask(matcher), np.uint8)
        allowed = np.unpackbits(packed, bitorder="little")[: self._tokens]
        np.copyto(np.ctypeslib.as_array(logits, (self._tokens,)), -np.inf, where=allowed == 0)

    def accept(self, token: int) -> None:
        """Go on behind a token that `apply` allowed.

        Raises:
            EngineError: it was not allowed.
        """
        going_on = [matcher for matcher in self._matchers if matcher.consume_token(token)]
        if not going_on:
            raise self._failure(self._matchers[0])
        self._matchers = going_on

    def _mask(self, matcher: Any) -> bytes:  # noqa: ANN401 - llguidance's LLMatcher
        mask: bytes = matcher.compute_bitmask()
        if matcher.is_error():
            raise self._failure(matcher)
        return mask

    def _failure(self, matcher: Any) -> EngineError:  # noqa: ANN401 - llguidance's LLMatcher
        return EngineError(
            f"the answer cannot go on with this {self._kind}: {_first_line(matcher.get_error())}",
            hint="make it simpler; deep recursion and large counts cost most",
        )


def _control_token(model: NativeModel, text: str) -> int | None:
    """Return the id of the control token that `text` stands for; `None` when it is plain text."""
    ids = model.tokenize(text, special=True)
    if len(ids) != 1 or ids == model.tokenize(text, special=False) or model.ends_generation(ids[0]):
        return None
    return ids[0]


def _vocabulary(model: NativeModel) -> Any:  # noqa: ANN401 - llguidance's LLTokenizer
    """Return the tokens of a model as llguidance has them, read once; control tokens can never be chosen."""
    found = _vocabularies.get(model)
    if found is None:
        from llguidance import LLTokenizer, TokenizerWrapper

        ending = [token for token in range(model.vocabulary_tokens) if model.ends_generation(token)]
        if not ending:
            raise InvalidSettingError("json_schema", "needs a model with a token that ends an answer")
        found = LLTokenizer(
            TokenizerWrapper(_Tokens(model, ending[0])), n_vocab=model.vocabulary_tokens, eos_token=ending
        )
        _vocabularies[model] = found
    return found


class _Tokens:
    """A vocabulary in the form that llguidance asks for."""

    bos_token_id = None

    def __init__(self, model: NativeModel, eos_token_id: int) -> None:
        self._model = model
        self.eos_token_id = eos_token_id
        self.special_token_ids = model.control_tokens()
        special = frozenset(self.special_token_ids)
        self.tokens = [
            b"\xff" + str(token).encode() if token in special else model.piece(token)
            for token in range(model.vocabulary_tokens)
        ]

    def __call__(self, text: bytes | str) -> list[int]:
        plain = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
        return self._model.tokenize(plain, special=False)


def _first_line(text: str) -> str:
    """Return the reason in a line; where a rule only leads to itself, llguidance says `NoExtensionBias`."""
    if "NoExtension" in text:
        return "nothing can be written that follows it"
    return next((line.strip() for line in text.splitlines() if line.strip()), "no reason given")[:300]
