"""One request's choices of tokens: llama.cpp's samplers, and log-probabilities on demand."""

from __future__ import annotations

import ctypes
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from phi4local.engine.sampling.chain import chain_steps, is_cheap, needs_few, remembered_tokens
from phi4local.errors import InvalidSettingError, NonFiniteLogitsError
from phi4local.native.sampler import NativeSampler
from phi4local.settings import STRUCTURE_SETTINGS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from phi4local.engine.events import TokenLogprob
    from phi4local.engine.sampling.cut_chain import CutChain
    from phi4local.engine.structure import Constraint
    from phi4local.native.context import NativeContext
    from phi4local.native.llama import NativeModel
    from phi4local.settings import SamplingSettings


@dataclass(frozen=True, slots=True)
class Choice:
    """A chosen token, with its log-probability when the settings ask for it."""

    token: int
    logprob: TokenLogprob | None = None


class TokenChooser:
    """Choose token after token for one request.

    Args:
        native: the model whose logits are looked at.
        sampling: settings without unset fields.
        prompt: token ids of the prompt; the penalties count its newest tokens.

    Attributes:
        wants_cut: whether the most likely tokens are all that it looks at.

    Raises:
        InvalidSettingError: `logit_bias` names a token that the vocabulary does not have.
    """

    def __init__(self, native: NativeModel, sampling: SamplingSettings, prompt: Sequence[int]) -> None:
        self._tokens = native.vocabulary_tokens
        _check_bias(sampling, self._tokens)
        self._place = len(prompt)
        self._alternatives = sampling.logprobs
        self._constraint = _constraint(native, sampling)
        steps = chain_steps(sampling, vocabulary_tokens=self._tokens)
        remembered = remembered_tokens(sampling)
        free = sampling.logprobs is None and self._constraint is None
        self.wants_cut = free and needs_few(steps)
        self._sampler: NativeSampler | CutChain
        if is_cheap(steps, vocabulary_tokens=self._tokens):
            self._sampler = NativeSampler(steps, native)
        else:
            from phi4local.engine.sampling.cut_chain import CutChain

            self._sampler = CutChain(steps, native, remembered=remembered)
        self._on_candidates = self._sampler
        if self.wants_cut and not isinstance(self._sampler, NativeSampler):
            self._on_candidates = NativeSampler(steps, native)
        for token in prompt[-remembered:] if remembered else ():
            self._sampler.accept(token)

    def choose(self, context: NativeContext, row: int = -1, *, cut: bool = False) -> Choice:
        """Choose the next token from a row of the newest logits, and remember it for the penalties.

        Args:
            context: its `decode` has just finished.
            row: place in the batch of the token whose logits count; -1 is the last one.
            cut: the device left only the most likely tokens of the row.

        Raises:
            NonFiniteLogitsError: the chosen token's logit is NaN or infinite.
        """
        self._place += 1
        if cut:
            if not context.cut.finite(row):
                raise NonFiniteLogitsError(self._place)
            return Choice(self._on_candidates.sample(context, row))
        logits = context.logits(row)
        # NaN in a sequence makes all its logits NaN; seen before the samplers remember what they made of it.
        if not math.isfinite(logits[0]):
            raise NonFiniteLogitsError(self._place)
        own = self._kept(logits)
        if self._constraint is not None:
            self._constraint.apply(logits)
        token = self._sampler.sample(context, row)
        if self._constraint is not None:
            self._constraint.accept(token)
        if not math.isfinite(logits[token]):  # a single row of the output's weights
            raise NonFiniteLogitsError(self._place)
        if self._alternatives is None:
            return Choice(token)
        from phi4local.engine.sampling.logprobs import token_logprob

        return Choice(token, token_logprob(own, self._tokens, token, self._alternatives))

    def _kept(self, logits: Any) -> Any:  # noqa: ANN401 - POINTER(c_float)
        """Return the row that log-probabilities are of: a copy where a constraint is about to change it."""
        if self._constraint is None or self._alternatives is None:
            return logits
        row = ctypes.c_float * self._tokens
        return row.from_buffer_copy(ctypes.cast(logits, ctypes.POINTER(row)).contents)

    @property
    def done(self) -> bool:
        """Whether the answer is complete: a schema, expression or grammar allows nothing more."""
        return self._constraint is not None and self._constraint.done

    def close(self) -> None:
        """Free llama.cpp's samplers."""
        self._sampler.close()
        self._on_candidates.close()


def _constraint(native: NativeModel, sampling: SamplingSettings) -> Constraint | None:
    if all(getattr(sampling, name) is None for name in STRUCTURE_SETTINGS):
        return None
    from phi4local.engine.structure import Constraint

    return Constraint(native, sampling)


def _check_bias(sampling: SamplingSettings, vocabulary_tokens: int) -> None:
    for token in dict(sampling.logit_bias or ()):
        if token >= vocabulary_tokens:
            raise InvalidSettingError(
                "logit_bias", f"names token {token:,}; the model has {vocabulary_tokens:,} tokens"
            )
