"""A checkpoint of Phi-4's architecture with random weights and Phi-4's 100,352 tokens, of any size.

    python -m benchmarks.random_model --size 1.3b --quantization Q4_K_M

makes a GGUF in the cache folder of compiled wheels (`PHI4LOCAL_CACHE`) and prints its path; the checkpoint is
deleted unless `--checkpoint` asks for it. Without `--quantization` only the checkpoint is made.

Speed does not depend on what the weights are, only on how many there are and how large the vocabulary is.
The vocabulary is made up: bytes, pairs of bytes, triples; then Phi-4's 96 special tokens.
"""

from __future__ import annotations

import argparse
import bisect
import json
import os
import shutil
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from phi4local.convert import StreamedCheckpoint
from phi4local.native.build import cache_folder

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

VOCABULARY_TOKENS = 100_352
SPECIAL_TOKENS = 96
EXPRESSION = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)

TEMPLATE = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '<|im_sep|>' + m.content + '<|im_end|>' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant<|im_sep|>' }}{% endif %}"
)
"""Servers do not open a model without one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Numbers of the model. The default has 0.63 billion weights."""

    width: int = 2048
    feed_forward: int = 7168
    layers: int = 4
    heads: int = 16
    kv_heads: int = 4

    def tensors(self) -> dict[str, tuple[int, ...]]:
        """Return the tensors' shapes, (rows, columns)."""
        head = self.width // self.heads
        shapes: dict[str, tuple[int, ...]] = {
            "model.embed_tokens.weight": (VOCABULARY_TOKENS, self.width),
            "lm_head.weight": (VOCABULARY_TOKENS, self.width),
            "model.norm.weight": (self.width,),
        }
        for layer in range(self.layers):
            prefix = f"model.layers.{layer}."
            shapes |= {
                prefix + "input_layernorm.weight": (self.width,),
                prefix + "post_attention_layernorm.weight": (self.width,),
                prefix + "self_attn.qkv_proj.weight": ((self.heads + 2 * self.kv_heads) * head, self.width),
                prefix + "self_attn.o_proj.weight": (self.width, self.width),
                prefix + "mlp.gate_up_proj.weight": (2 * self.feed_forward, self.width),
                prefix + "mlp.down_proj.weight": (self.width, self.feed_forward),
            }
        return shapes


SIZES = {
    "0.6b": Shape(),
    "1.3b": Shape(layers=16),
    "14b": Shape(width=5120, feed_forward=17920, layers=40, heads=40, kv_heads=10),
}
"""Shapes by name, the last one that of Phi-4: 0.63, 1.28 and 14.66 billion weights."""
PIECE_BYTES = 2**26
POOL_VALUES = (1 << 24) - 3
"""Odd, so that all rows begin at different places: equal rows of the output matrix would be exact ties."""


def cached_checkpoint(size: str) -> Path:
    """Return the checkpoint of one of `SIZES` in the cache folder; it is written the first time."""
    folder = _cache() / f"random-{size}"
    if not folder.exists():
        partial = folder.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        write_checkpoint(partial, SIZES[size])
        partial.replace(folder)
    return folder


def cached_gguf(size: str, quantization: str = "Q4_K_M", *, keep_checkpoint: bool = False) -> Path:
    """Return a GGUF of one of `SIZES` in the cache folder; it is converted the first time.

    The checkpoint goes afterwards, unless it was there before or is to be kept (2.6 GB for 1.3b).
    """
    path = _cache() / f"random-{size}-{quantization}.gguf"
    if not path.exists():
        from phi4local.convert import convert_checkpoint

        had = (_cache() / f"random-{size}").exists()
        checkpoint = cached_checkpoint(size)
        convert_checkpoint(checkpoint, path, quantization)
        if not (had or keep_checkpoint):
            shutil.rmtree(checkpoint)
    return path


class RandomShard:
    """A safetensors file of bfloat16 weights that is made while it is read, range by range.

    Matrices have a standard deviation of 0.02, norms are about 1. Bytes depend on their place alone.

    Args:
        shape: of the model.

    Example: `RandomShard(Shape()).size_bytes` is 1.26e9.
    """

    def __init__(self, shape: Shape) -> None:
        header: dict[str, Any] = {}
        self.places: list[tuple[int, int]] = []
        """Begin and length of each tensor."""
        self._vectors: set[int] = set()
        offset = 0
        for name, dimensions in shape.tensors().items():
            size = 2 * int(np.prod(dimensions))
            header[name] = {
                "dtype": "BF16",
                "shape": list(dimensions),
                "data_offsets": [offset, offset + size],
            }
            self.places.append((offset, size))
            if len(dimensions) == 1:
                self._vectors.add(offset)
            offset += size
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        self.head = struct.pack("<Q", len(text)) + text
        self.size_bytes = len(self.head) + offset
        # Drawing fourteen billion numbers takes minutes; pieces of one pool are as good for measuring speed.
        pool = np.random.default_rng(0).standard_normal(POOL_VALUES, dtype=np.float32)
        self._matrices = _bfloat16(pool * np.float32(0.02))
        self._norms = _bfloat16(1 + np.float32(0.1) * pool)

    def read(self, offset: int, count: int) -> bytes:
        """Return `count` bytes from `offset` on; behind the header, of one tensor only."""
        if offset < len(self.head):
            return self.head[offset : offset + count]
        first = (offset - len(self.head)) // 2
        begin, _ = self.places[bisect.bisect_right(self.places, (2 * first, self.size_bytes)) - 1]
        pool = self._norms if begin in self._vectors else self._matrices
        pieces, start, wanted = [], first % POOL_VALUES, count // 2
        while wanted:
            piece = pool[start : start + wanted]
            pieces.append(piece)
            start, wanted = 0, wanted - len(piece)
        return np.concatenate(pieces).tobytes()

    def finish(self) -> None:
        """Do nothing: whatever was read is right."""

    def close(self) -> None:
        """Do nothing."""


def streamed_checkpoint(folder: Path, shape: Shape) -> StreamedCheckpoint:
    """Write the small files of a checkpoint into `folder`; its weights are never on a disk."""
    write_small_files(folder, shape)
    return StreamedCheckpoint(folder, {"model.safetensors": RandomShard(shape)})


def write_checkpoint(folder: Path, shape: Shape, *, sparse: bool = False) -> int:
    """Write a checkpoint below `folder` and return its number of weights; `sparse` leaves a hole for them."""
    write_small_files(folder, shape)
    shard = RandomShard(shape)
    with (folder / "model.safetensors").open("wb") as file:
        file.write(shard.head)
        if sparse:
            file.truncate(shard.size_bytes)
        for begin, size in () if sparse else shard.places:
            for done in range(0, size, PIECE_BYTES):
                file.write(shard.read(len(shard.head) + begin + done, min(PIECE_BYTES, size - done)))
    return (shard.size_bytes - len(shard.head)) // 2


def write_small_files(folder: Path, shape: Shape) -> None:
    """Write config.json and the tokenizer's files."""
    folder.mkdir(parents=True, exist_ok=True)
    _write_json(folder / "config.json", _config(shape))
    _write_tokenizer(folder)


def _cache() -> Path:
    folder = cache_folder(os.environ) / "models"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _bfloat16(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    return (values.view(np.uint32) >> 16).astype(np.uint16)


def _config(shape: Shape) -> dict[str, Any]:
    return {
        "architectures": ["Phi3ForCausalLM"],
        "model_type": "phi3",
        "hidden_size": shape.width,
        "intermediate_size": shape.feed_forward,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "vocab_size": VOCABULARY_TOKENS,
        "max_position_embeddings": 16384,
        "original_max_position_embeddings": 16384,
        "rope_theta": 250000.0,
        "rope_scaling": None,
        "sliding_window": None,
        "rms_norm_eps": 1e-5,
        "hidden_act": "silu",
        "attention_bias": False,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        "bos_token_id": VOCABULARY_TOKENS - 95,
        "eos_token_id": VOCABULARY_TOKENS - 87,
    }


def _write_tokenizer(folder: Path) -> None:
    letters = _byte_letters()
    plain = VOCABULARY_TOKENS - SPECIAL_TOKENS
    pairs = [(left, right) for left in letters for right in letters]
    triples = [(left + right, third) for left, right in pairs[:2048] for third in letters]
    merges = (pairs + triples)[: plain - len(letters)]
    vocabulary = {token: place for place, token in enumerate([*letters, *(a + b for a, b in merges)])}
    named = {1: "<|endoftext|>", 8: "<|im_start|>", 9: "<|im_end|>", 10: "<|im_sep|>"}
    added = [
        {
            "id": plain + place,
            "content": named.get(place, f"<|dummy_{place}|>"),
            "single_word": False,
            "lstrip": True,
            "rstrip": True,
            "normalized": False,
            "special": True,
        }
        for place in range(SPECIAL_TOKENS)
    ]
    split = {"type": "Split", "pattern": {"Regex": EXPRESSION}, "behavior": "Removed", "invert": True}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    tokenizer = {
        "version": "1.0",
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, byte_level]},
        "post_processor": byte_level,
        "decoder": byte_level,
        "model": {"type": "BPE", "vocab": vocabulary, "merges": [list(pair) for pair in merges]},
    }
    _write_json(folder / "tokenizer.json", tokenizer)
    config = {"tokenizer_class": "GPT2Tokenizer", "bos_token": "<|endoftext|>", "eos_token": "<|im_end|>"}
    _write_json(folder / "tokenizer_config.json", {**config, "chat_template": TEMPLATE})


def _byte_letters() -> list[str]:
    """Return the 256 letters of byte-level BPE: printable bytes are themselves, others shift to U+0100."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return [chr(byte) if byte in printable else chr(next(others)) for byte in range(256)]


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")


def main() -> None:
    """Parse, make what is missing, print the path."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", choices=SIZES, default="1.3b")
    parser.add_argument("--quantization", help="for example Q4_K_M; without it only the checkpoint is made")
    parser.add_argument("--checkpoint", action="store_true", help="keep the checkpoint too")
    options = parser.parse_args()
    if options.quantization:
        print(cached_gguf(options.size, options.quantization, keep_checkpoint=options.checkpoint))
    else:
        print(cached_checkpoint(options.size))


if __name__ == "__main__":
    main()
