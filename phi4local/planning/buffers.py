"""Bytes that llama.cpp allocates beside the weights: KV cache, compute and output buffers.

Found by reading src/llama-context.cpp (sched_reserve, output_reserve), src/llama-kv-cache.cpp,
src/llama-graph.cpp and src/models/phi3.cpp of llama.cpp 0c1e57098, and by comparing with what it reports.
A sliding window changes nothing: this version turns it off for Phi models (llama.cpp pull request 13676).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from phi4local.planning.kv_cache import kv_cache_bytes

if TYPE_CHECKING:
    from phi4local.planning.shape import ModelShape

CELL_UNIT = 256
"""llama.cpp rounds the cells of a stream up to a multiple of it."""
FLOAT, _HALF, _PLACE = 4, 2, 8
"""Bytes of float32 and float16, and of the 64-bit place where a cell goes."""
_INPUT_BYTES = 24
"""Of the small inputs of each token: id, position, places of its cells, and alignment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cells:
    """The shape of one context.

    Attributes:
        context_tokens: cells of each stream.
        streams: 1 for a unified cache, else one for each sequence.
        sequences: how many sequences can have cells; each costs a row of logits.
        batch_tokens: most tokens in one step (llama.cpp's n_ubatch).
        kv_type: element type of the cache.
        flash_attention: the fused kernel is used.

    Example: `Cells(context_tokens=4096, sequences=9)`.
    """

    context_tokens: int
    streams: int = 1
    sequences: int = 1
    batch_tokens: int = 512
    kv_type: str = "f16"
    flash_attention: bool = True

    @property
    def padded_tokens(self) -> int:
        """Cells of a stream as llama.cpp makes them. Example: 1,000 → 1,024."""
        return -(-self.context_tokens // CELL_UNIT) * CELL_UNIT

    @property
    def step_tokens(self) -> int:
        """Tokens of the step that buffers are made for: whole shares for all sequences.

        Example: 512 tokens and 9 sequences → 513.
        """
        tokens = min(self.batch_tokens, self.padded_tokens * self.streams)
        return -(-tokens // self.sequences) * self.sequences


def kv_bytes(model: ModelShape, cells: Cells, *, layers: int | None = None) -> int:
    """Return the KV cache of all layers, or of `layers` of them."""
    return kv_cache_bytes(
        layers=model.layers if layers is None else layers,
        kv_heads=model.kv_heads,
        head_length=model.head_length,
        context_tokens=cells.padded_tokens * cells.streams,
        kv_type=cells.kv_type,
    )


def output_bytes(model: ModelShape, cells: Cells) -> int:
    """Return the buffer that logits are copied to: float32, a row for each sequence."""
    return cells.sequences * model.vocabulary_tokens * FLOAT


def compute_bytes(model: ModelShape, cells: Cells) -> int:
    """Return the buffer of intermediate results of the largest step.

    The largest of three moments counts, each together with the inputs that live through it:

    - feed-forward: gate and up (2 ff), their product (ff), and three vectors of the width for every token;
    - attention without the fused kernel: a score for every head, token and cell, and three vectors;
    - output: logits of every sequence, with four vectors (an upper bound).

    Example: Phi-4, 4,096 cells, one sequence, 512 tokens: 3 x (17,920 + 5,120) x 512 x 4 bytes, and 4 MiB
    of mask, are 139 MiB; without flash attention scores alone are 320 MiB.
    """
    tokens = cells.step_tokens
    vectors = 3 * model.width * FLOAT * tokens
    feed_forward = vectors + 3 * model.feed_forward * FLOAT * tokens
    output = cells.sequences * (model.vocabulary_tokens + 4 * model.width) * FLOAT
    inputs = input_bytes(model, cells)
    if cells.flash_attention:
        return inputs + max(feed_forward, output)
    scores = model.heads * tokens * cells.padded_tokens * FLOAT
    return inputs + max(feed_forward, output, scores + vectors)


def input_bytes(model: ModelShape, cells: Cells) -> int:
    """Return what lives through a whole step: ids, positions, the mask, and the places of values.

    Without the fused kernel each value has a place of its own, because the cache lies turned.
    """
    tokens = cells.step_tokens
    places = 0 if cells.flash_attention else model.kv_heads * model.head_length * _PLACE
    return tokens * (_mask_row_bytes(cells) + _INPUT_BYTES + places)


def _mask_row_bytes(cells: Cells) -> int:
    """Return the row of the mask for one token, which sees the cells of one stream."""
    return cells.padded_tokens * (_HALF if cells.flash_attention else FLOAT)
