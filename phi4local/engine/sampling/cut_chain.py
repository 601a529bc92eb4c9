"""llama.cpp's chain over as few candidates as matter: the same choices for a fraction of the time.

llama.cpp makes a list of the whole vocabulary for every token, and several samplers sort it: 1 to 10 ms for
100,352 tokens. Here numpy changes the few logits that bias and penalties touch, and drops what the first
filters would drop. From the moment that the list is short, llama.cpp's own samplers go on.
"""

from __future__ import annotations

import collections
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np

from phi4local.engine.sampling import filters
from phi4local.engine.sampling.candidates import Array, Candidates, apply_samplers, draw_from_long_list
from phi4local.engine.sampling.mirostat import Mirostat
from phi4local.native.sampler import NativeSampler

if TYPE_CHECKING:
    from collections.abc import Sequence

    from phi4local.engine.sampling.chain import Step
    from phi4local.native.context import NativeContext
    from phi4local.native.llama import NativeModel

_FILTERS: dict[str, Any] = {
    name: getattr(filters, name)
    for name in ("top_n_sigma", "top_k", "typical", "top_p", "min_p", "xtc", "temp", "temp_ext")
}
MOST_PREPARED = 8
_prepared: weakref.WeakKeyDictionary[NativeModel, dict[tuple[Step, ...], NativeSampler]]
_prepared = weakref.WeakKeyDictionary()


class CutChain:
    """A chain with the same choices as `NativeSampler(steps, model)`.

    Args:
        steps: what `chain.chain_steps` returns.
        model: whose logits are looked at.
        remembered: how many of the newest tokens the penalties look at.
    """

    def __init__(self, steps: Sequence[Step], model: NativeModel, *, remembered: int) -> None:
        self._tokens = model.vocabulary_tokens
        pairs = [pair for step in steps if step[0] == "logit_bias" for pair in step[1]]
        self._biased = np.array([token for token, _bias in pairs], np.intp)
        self._bias = np.array([bias for _token, bias in pairs], np.float32)
        self._penalties = Penalties(
            [step for step in steps if step[0] in ("penalties", "dry")], model, remembered
        )
        self._steps = [step for step in steps if step[0] in _FILTERS]
        self._samplers = [NativeSampler([step]) for step in self._steps]
        self._greedy = steps[-1][0] == "greedy"
        self._choice = NativeSampler([_choice_step(steps[-1])])
        self._mirostat = _mirostat(steps[-1], self._tokens, self._choice)

    def sample(self, context: NativeContext, row: int = -1) -> int:
        """Choose a token from a row of the newest logits and remember it for the penalties."""
        logits = np.ctypeslib.as_array(context.logits(row), (self._tokens,))
        token = int(logits.argmax())
        if np.isfinite(logits[token]):  # else the caller will see NaN or infinity there, and give up
            token = self._choose(Candidates(self._adjusted(logits)))
        self.accept(token)
        return token

    def accept(self, token: int) -> None:
        """Remember a token that was not sampled, such as one of the prompt."""
        self._penalties.accept(token)

    def close(self) -> None:
        """Free llama.cpp's samplers."""
        self._penalties.close()
        for sampler in (*self._samplers, self._choice):
            sampler.close()

    def _adjusted(self, logits: Array) -> Array:
        """Return the logits after bias and penalties; a copy, for the original belongs to the context."""
        if not len(self._biased) and not self._penalties.active:
            return logits
        logits = logits.copy()
        logits[self._biased] += self._bias
        self._penalties.apply(logits)
        return logits

    def _choose(self, candidates: Candidates) -> int:
        for place, (name, *arguments) in enumerate(self._steps):
            if candidates.short and self._mirostat is None:
                return self._finish(candidates, place)
            sampler = (self._samplers[place],) if name == "xtc" else ()
            candidates, done = _FILTERS[name](candidates, *arguments, *sampler)
            if not done:
                return self._finish(candidates, place)
        if self._mirostat is not None:
            return self._mirostat.choose(candidates)
        return self._finish(candidates, len(self._steps))

    def _finish(self, candidates: Candidates, place: int) -> int:
        """Let llama.cpp's samplers do the rest, from the step at `place`."""
        if self._greedy:
            return candidates.id_at(int(candidates.logits.argmax()))
        if place < len(self._steps) or candidates.short:
            return apply_samplers(candidates, (*self._samplers[place:], self._choice)).chosen
        return candidates.id_at(draw_from_long_list(candidates, self._choice))


class Penalties:
    """llama.cpp's penalties, applied only to the tokens that they can change: those that occurred."""

    def __init__(self, steps: Sequence[Step], model: NativeModel, remembered: int) -> None:
        self.active = bool(steps)
        self._sampler = _fresh_copy(tuple(steps), model) if steps else None
        self._recent: collections.deque[int] = collections.deque(maxlen=remembered)
        self._counts: collections.Counter[int] = collections.Counter()

    def accept(self, token: int) -> None:
        """Remember a token, and forget the oldest when there are enough."""
        if self._sampler is None:
            return
        self._sampler.accept(token)
        if len(self._recent) == self._recent.maxlen:
            oldest = self._recent[0]
            self._counts[oldest] -= 1
            if not self._counts[oldest]:
                del self._counts[oldest]
        self._recent.append(token)
        self._counts[token] += 1

    def apply(self, logits: Array) -> None:
        """Change the logits of tokens that occurred."""
        if self._sampler is not None and self._counts:
            tokens = np.fromiter(self._counts, np.intp, len(self._counts))
            judged = apply_samplers(Candidates(logits[tokens], tokens), [self._sampler])
            logits[tokens] = judged.records["logit"]

    def close(self) -> None:
        """Free llama.cpp's samplers."""
        if self._sampler is not None:
            self._sampler.close()


def _fresh_copy(steps: tuple[Step, ...], model: NativeModel) -> NativeSampler:
    """Return samplers that have seen no token yet.

    DRY looks for its breakers in every token of the vocabulary, 45 ms for 100,352 tokens; a copy does not.
    """
    made = _prepared.setdefault(model, {})
    if steps not in made:
        if len(made) == MOST_PREPARED:
            made.pop(next(iter(made))).close()
        made[steps] = NativeSampler(steps, model)
    return made[steps].clone()


def _choice_step(last: Step) -> Step:
    """Return the sampler that makes the choice; mirostat's random number comes from `dist`."""
    seed_place = {"mirostat": 2, "mirostat_v2": 1}
    return ("dist", last[seed_place[last[0]]]) if last[0] in seed_place else last


def _mirostat(last: Step, vocabulary_tokens: int, choice: NativeSampler) -> Mirostat | None:
    if last[0] == "mirostat":
        _, _, _, tau, eta, _ = last
        return Mirostat(1, tau, eta, vocabulary_tokens=vocabulary_tokens, sampler=choice)
    if last[0] == "mirostat_v2":
        _, _, tau, eta = last
        return Mirostat(2, tau, eta, vocabulary_tokens=vocabulary_tokens, sampler=choice)
    return None
