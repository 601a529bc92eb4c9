"""llama.cpp's samplers: a chain of them, over the logits of a context or over a list of candidates."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

from phi4local.native.llama import bindings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from phi4local.native.context import NativeContext
    from phi4local.native.llama import NativeModel


class NativeSampler:
    """A chain of llama.cpp's samplers.

    Args:
        steps: names of `llama_sampler_init_*` functions with their arguments, in order. Two of them take
            Python's values: `("logit_bias", ((token, bias), …))`, and the breakers of `dry` are texts.
        model: whose vocabulary `logit_bias` and `dry` refer to.

    Example: `NativeSampler([("top_k", 40), ("temp", 0.8), ("dist", 1)])`.
    """

    def __init__(self, steps: Sequence[tuple[Any, ...]], model: NativeModel | None = None) -> None:
        self._api = api = bindings()
        self._model = model
        self.handle = api.llama_sampler_chain_init(api.llama_sampler_chain_default_params())
        for name, *arguments in steps:
            special = getattr(self, f"_{name}", None)
            make = special or getattr(api, f"llama_sampler_init_{name}")
            api.llama_sampler_chain_add(self.handle, make(*arguments))

    def sample(self, context: NativeContext, row: int = -1) -> int:
        """Choose a token from a row of the newest logits and remember it for the penalties."""
        return int(self._api.llama_sampler_sample(self.handle, context.handle, row))

    def apply(self, candidates: NativeCandidates) -> None:
        """Run the chain over a list of candidates, which it shortens, reorders and changes in place."""
        self._api.llama_sampler_apply(self.handle, candidates.reference)

    def clone(self) -> NativeSampler:
        """Return a copy that makes the same random choices from here on."""
        twin = NativeSampler((), self._model)
        twin.close()
        twin.handle = self._api.llama_sampler_clone(self.handle)
        return twin

    def accept(self, token: int) -> None:
        """Remember a token that was not sampled, such as one of the prompt."""
        self._api.llama_sampler_accept(self.handle, token)

    def close(self) -> None:
        """Free the chain."""
        if self.handle:
            self._api.llama_sampler_free(self.handle)
            self.handle = None

    def _logit_bias(self, pairs: Sequence[tuple[int, float]]) -> Any:  # noqa: ANN401
        biases = (self._api.llama_logit_bias * len(pairs))(*pairs)
        tokens = self._model.vocabulary_tokens if self._model else 0
        return self._api.llama_sampler_init_logit_bias(tokens, len(pairs), biases)

    def _dry(self, *arguments: Any) -> Any:  # noqa: ANN401
        *numbers, breakers = arguments
        texts = (ctypes.c_char_p * len(breakers))(*(text.encode() for text in breakers))
        vocabulary = self._model.vocabulary if self._model else None
        return self._api.llama_sampler_init_dry(vocabulary, *numbers, texts, len(breakers))


class NativeCandidates:
    """Tokens to choose from: a `llama_token_data_array`.

    Args:
        records: `llama_token_data` records (id int32, logit float32, probability float32), changed in place.
        address: of the first record.
        ordered: whether they stand best first; llama.cpp believes it.
    """

    def __init__(self, records: Any, address: int, *, ordered: bool) -> None:  # noqa: ANN401 - numpy's array
        api = bindings()
        self.records = records  # kept alive while llama.cpp has the address
        data = ctypes.cast(address, api.llama_token_data_p)
        self._array = api.llama_token_data_array(data, len(records), -1, ordered)
        self.reference = ctypes.byref(self._array)

    @property
    def chosen(self) -> int:
        """The id that the last sampler chose."""
        return int(self._array.data[self._array.selected].id)

    @property
    def first(self) -> int:
        """The id of the first candidate that is left."""
        return int(self._array.data[0].id)
