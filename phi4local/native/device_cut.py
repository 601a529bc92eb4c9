"""The most likely tokens of a step, chosen where the logits are computed.

A row of 100,352 logits takes 0.4 MB over the bus and a pass over all of it on the CPU, for each sequence
and step, while the GPU waits. llama.cpp can run samplers as part of the graph; a top-k there leaves 128
candidates to fetch, and the rest of a request's chain, on the CPU, sees only these.

Source: `llama_set_sampler` in include/llama.h of llama.cpp 0c1e57098 (experimental there), as vendored in
llama-cpp-python 0.3.36.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from phi4local.native.llama import bindings
from phi4local.native.sampler import NativeSampler

if TYPE_CHECKING:
    from ctypes import c_void_p

CANDIDATES = 128


class DeviceCut:
    """Which sequences of a context have their logits cut on the device.

    Args:
        context: llama.cpp's context; must be freed before `close`.
        enabled: whether to cut at all.
    """

    def __init__(self, context: c_void_p, *, enabled: bool) -> None:
        self._api = bindings()
        self._context = context
        self._enabled = enabled
        self._chains: dict[int, NativeSampler] = {}
        self._released: list[NativeSampler] = []

    def use(self, sequence: int, *, wanted: bool) -> bool:
        """Cut the logits of a sequence from its next step on, or leave them whole; return which it is.

        A change makes llama.cpp plan its buffers anew, so whoever does not care should not ask for one.
        """
        if not self._enabled or wanted == (sequence in self._chains):
            return sequence in self._chains
        if wanted:
            chain = NativeSampler([("top_k", CANDIDATES)])
            if self._api.llama_set_sampler(self._context, sequence, chain.handle):
                self._chains[sequence] = chain
            else:
                chain.close()
                self._enabled = False  # a device that cannot will not learn it
        else:
            self._api.llama_set_sampler(self._context, sequence, None)
            self._released.append(self._chains.pop(sequence))  # the last graph may still name it
        return wanted and self._enabled

    def finite(self, row: int) -> bool:
        """Return whether the candidates of a row of the batch are numbers."""
        count = self._api.llama_get_sampled_logits_count_ith(self._context, row)
        logits: Any = self._api.llama_get_sampled_logits_ith(self._context, row)
        return count > 0 and math.isfinite(sum(logits[:count]))

    def close(self) -> None:
        """Free the samplers."""
        for chain in (*self._chains.values(), *self._released):
            chain.close()
        self._chains.clear()
        self._released.clear()
