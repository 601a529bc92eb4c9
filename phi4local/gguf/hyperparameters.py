"""The numbers that describe the network: are they what llama.cpp can compute with?

llama.cpp checks them with assertions that abort the process, or not at all: `block_count` 0 or 513, an
unknown `rope.scaling.type`, an expert count or a negative epsilon end it, and `rope.dimension_count` 0 makes
it compute for ever (llama-cpp-python 0.3.36; src/llama-model.cpp, load_hparams; src/models/phi3.cpp). A key
of `phi3.` that is not listed here is refused, because llama.cpp reads many that would change the network.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from phi4local.errors import GGUFError
from phi4local.gguf.cursor import shown
from phi4local.gguf.fields import positive, refused, require_type, text, whole

if TYPE_CHECKING:
    from phi4local.gguf.header import Header

ARCHITECTURE = "phi3"
"""What llama.cpp calls the network of Phi-3 and Phi-4."""

MAX_BLOCKS = 512
"""LLAMA_MAX_LAYERS of llama.cpp."""

_ROPE_SCALING_TYPES = ("none", "linear", "yarn", "longrope")


@dataclass(frozen=True, slots=True)
class Hyperparameters:
    """The shape of the network.

    Attributes:
        blocks: transformer blocks.
        width: numbers in the vector of one token (`embedding_length`).
        feed_forward: numbers inside of a feed-forward layer.
        heads: attention heads.
        key_value_heads: heads that keys and values have; each serves `heads / key_value_heads` of `heads`.
        rope_dimensions: numbers of a head that carry the position.

    Example: Phi-4 is `Hyperparameters(40, 5120, 17920, 40, 10, 128)`.
    """

    blocks: int
    width: int
    feed_forward: int
    heads: int
    key_value_heads: int
    rope_dimensions: int

    @property
    def head_width(self) -> int:
        """Numbers in one head: 128 for Phi-4."""
        return self.width // self.heads

    @property
    def key_value_width(self) -> int:
        """Numbers in the keys of one token: 1,280 for Phi-4."""
        return self.head_width * self.key_value_heads


def read_hyperparameters(header: Header) -> Hyperparameters:
    """Return the shape of the network after checking every key of it.

    Example: `read_hyperparameters(read_header(path)).blocks == 40` for Phi-4.

    Raises:
        GGUFError: a key that is missing, unknown, of another type, or has a value that cannot be.
    """
    width = whole(header, "phi3.embedding_length", 1)
    heads = whole(header, "phi3.attention.head_count", 1)
    if width % heads:
        raise refused(header, "phi3.attention.head_count", f"a divisor of the embedding length {width}")
    key_value_heads = whole(header, "phi3.attention.head_count_kv", 1, default=heads)
    if heads % key_value_heads:
        raise refused(header, "phi3.attention.head_count_kv", f"a divisor of the head count {heads}")
    rope_dimensions = whole(header, "phi3.rope.dimension_count", 2, default=width // heads)
    if rope_dimensions % 2 or rope_dimensions > width // heads:
        raise refused(
            header, "phi3.rope.dimension_count", f"an even number up to the head width {width // heads}"
        )
    found = Hyperparameters(
        blocks=whole(header, "phi3.block_count", 1, MAX_BLOCKS),
        width=width,
        feed_forward=whole(header, "phi3.feed_forward_length", 1),
        heads=heads,
        key_value_heads=key_value_heads,
        rope_dimensions=rope_dimensions,
    )
    _check_other_keys(header, found)
    return found


def _check_other_keys(header: Header, found: Hyperparameters) -> None:
    whole(header, "phi3.context_length", 1)
    whole(header, "phi3.rope.scaling.original_context_length", 1, default=1)
    whole(header, "phi3.attention.sliding_window", 0, default=0)
    positive(header, "phi3.attention.layer_norm_rms_epsilon", below=1)
    for key in ("freq_base", "scaling.attn_factor", "scaling.factor", "scale_linear"):
        positive(header, f"phi3.rope.{key}", default=1.0)
    for key in ("phi3.attention.key_length", "phi3.attention.value_length"):
        if whole(header, key, default=found.head_width) != found.head_width:
            raise refused(header, key, f"{found.head_width}, the embedding length / the head count")
    scaling = text(header, "phi3.rope.scaling.type", default="none")
    if scaling not in _ROPE_SCALING_TYPES:
        raise refused(header, "phi3.rope.scaling.type", f"one of {', '.join(_ROPE_SCALING_TYPES)}")
    if "phi3.rope.scaling.finetuned" in header.metadata:
        require_type(header, "phi3.rope.scaling.finetuned", "bool")
    _refuse_unknown_keys(header)


_KNOWN_KEYS = frozenset(
    f"phi3.{key}"
    for key in (
        "attention.head_count",
        "attention.head_count_kv",
        "attention.key_length",
        "attention.layer_norm_rms_epsilon",
        "attention.sliding_window",
        "attention.value_length",
        "block_count",
        "context_length",
        "embedding_length",
        "feed_forward_length",
        "rope.dimension_count",
        "rope.freq_base",
        "rope.scale_linear",
        "rope.scaling.attn_factor",
        "rope.scaling.factor",
        "rope.scaling.finetuned",
        "rope.scaling.original_context_length",
        "rope.scaling.type",
        "vocab_size",  # compared in vocabulary.py
    )
)


def _refuse_unknown_keys(header: Header) -> None:
    for key in header.metadata:
        if key.startswith("phi3.") and key not in _KNOWN_KEYS:
            raise GGUFError(header.path, f"`{shown(key)}` is not a key of Phi-4")
