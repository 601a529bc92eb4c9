"""Write checkpoints of Phi-4's architecture with random weights, in any size, for tests.

Nothing of phi4local is used here: what these files hold is known independently of the code under test.
"""

from __future__ import annotations

import json
import shutil
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

NANO = Path(__file__).resolve().parent.parent / "models" / "phi4-nano"

CL100K = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPECIAL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|im_sep|>", "<|dummy_85|>")
WORDS = ("Ġthe", "Ġand", "Ġof", "hello", "Ġworld", "system", "user", "assistant", "123", "Ġyou", "ing")
_GPT2 = {"tokenizer_class": "GPT2Tokenizer", "add_prefix_space": False}
PHI_4_CONFIG = {**_GPT2, "bos_token": "<|endoftext|>", "eos_token": "<|im_end|>", "pad_token": "<|dummy_85|>"}
MINI_CONFIG = {**_GPT2, **dict.fromkeys(("bos_token", "eos_token", "pad_token"), "<|endoftext|>")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """The numbers of a random model; the defaults make one of 0.2 million weights."""

    hidden: int = 64
    feed_forward: int = 96
    layers: int = 2
    heads: int = 4
    kv_heads: int = 2
    vocabulary: str = "small"  # "nano", models/phi4-nano's; "sentencepiece"; "phi-4", "phi-4-mini"
    context: int = 512
    tied: bool = False
    layout: str = "phi3"  # or "llama": q, k, v, gate and up are tensors of their own
    rotary_share: float = 1.0
    original_context: int = 0  # with another context than this one, positions are stretched by LongRoPE
    sliding_window: int | None = None
    vocabulary_tokens: int = 0  # more rows of the embedding than there are tokens; the rest have no text
    spread: float = 0.02  # of the weights; with 0.2 attention is as peaked as in a trained model

    @property
    def rotary_pairs(self) -> int:
        """Pairs of elements of a head that are rotated."""
        return int(self.hidden // self.heads * self.rotary_share) // 2


def write_random_checkpoint(
    folder: Path, size: Size | None = None, *, dtype: str = "BF16", shards: int = 1, seed: int = 0
) -> Path:
    """Write config.json, tokenizer files and weights below `folder`; return `folder`.

    `dtype` is BF16, F16 or F32; `shards` above 1 adds an index. Weights are Gaussian with a standard
    deviation of 0.02 and rare outliers, norm weights are near 1.
    """
    size = size or Size()
    folder.mkdir(parents=True, exist_ok=True)
    tokens = max(size.vocabulary_tokens, _write_vocabulary(folder, size.vocabulary))
    write_json(folder / "config.json", config(size, tokens))
    generator = np.random.default_rng(seed)
    weights = {
        name: stored(_values(generator, shape, size.spread), dtype)
        for name, shape in shapes(size, tokens).items()
    }
    write_weights(folder, weights, dtype, shards)
    return folder


def config(size: Size, vocabulary_tokens: int) -> dict[str, Any]:
    """Return a config.json as transformers 4 writes it."""
    end, stop, pad = (vocabulary_tokens - len(SPECIAL_TOKENS) + place for place in (0, 2, 4))
    values = {
        "architectures": ["Phi3ForCausalLM"],
        "attention_bias": False,
        "bos_token_id": end,
        "eos_token_id": stop,
        "hidden_act": "silu",
        "hidden_size": size.hidden,
        "intermediate_size": size.feed_forward,
        "max_position_embeddings": size.context,
        "model_type": "phi3",
        "num_attention_heads": size.heads,
        "num_hidden_layers": size.layers,
        "num_key_value_heads": size.kv_heads,
        "original_max_position_embeddings": size.original_context or size.context,
        "pad_token_id": pad,
        "rms_norm_eps": 1e-05,
        "rope_scaling": None,
        "rope_theta": 250000.0,
        "sliding_window": size.sliding_window,
        "tie_word_embeddings": size.tied,
        "torch_dtype": "bfloat16",
        "vocab_size": vocabulary_tokens,
    }
    if size.rotary_share != 1.0:
        values["partial_rotary_factor"] = size.rotary_share
    if size.original_context:
        values["rope_scaling"] = {"type": "longrope", **long_rope_tables(size.rotary_pairs)}
    if size.layout == "llama":
        for key in ("original_max_position_embeddings", "sliding_window"):
            del values[key]
        values |= {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "mlp_bias": False}
    return values


def long_rope_tables(pairs: int) -> dict[str, list[float]]:
    """Return LongRoPE's two tables for `pairs` rotated pairs: growing factors, as the published ones are."""
    return {
        "long_factor": [round(1.0 + 31.0 * (pair / pairs) ** 2, 4) for pair in range(pairs)],
        "short_factor": [round(1.0 + 0.5 * pair / pairs, 4) for pair in range(pairs)],
    }


def shapes(size: Size, vocabulary_tokens: int) -> dict[str, tuple[int, ...]]:
    """Return the tensors of the model by name, in the order of the file."""
    head = size.hidden // size.heads
    found: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (vocabulary_tokens, size.hidden)}
    for layer in range(size.layers):
        at = f"model.layers.{layer}."
        found[at + "input_layernorm.weight"] = (size.hidden,)
        found[at + "mlp.down_proj.weight"] = (size.hidden, size.feed_forward)
        if size.layout == "llama":
            for name in ("gate", "up"):
                found[f"{at}mlp.{name}_proj.weight"] = (size.feed_forward, size.hidden)
            for name, heads in (("q", size.heads), ("k", size.kv_heads), ("v", size.kv_heads)):
                found[f"{at}self_attn.{name}_proj.weight"] = (heads * head, size.hidden)
        else:
            found[at + "mlp.gate_up_proj.weight"] = (2 * size.feed_forward, size.hidden)
            found[at + "self_attn.qkv_proj.weight"] = ((size.heads + 2 * size.kv_heads) * head, size.hidden)
        found[at + "post_attention_layernorm.weight"] = (size.hidden,)
        found[at + "self_attn.o_proj.weight"] = (size.hidden, size.hidden)
    found["model.norm.weight"] = (size.hidden,)
    if not size.tied:
        found["lm_head.weight"] = (vocabulary_tokens, size.hidden)
    return found


def write_weights(folder: Path, weights: dict[str, np.ndarray], dtype: str, shards: int = 1) -> None:
    """Write `weights`, arrays as `stored` makes them, as `shards` safetensors files."""
    names = list(weights)
    if shards == 1:
        write_safetensors(folder / "model.safetensors", weights, dtype)
        return
    placed: dict[str, str] = {}
    for shard in range(shards):
        file_name = f"model-{shard + 1:05d}-of-{shards:05d}.safetensors"
        part = names[len(names) * shard // shards : len(names) * (shard + 1) // shards]
        write_safetensors(folder / file_name, {name: weights[name] for name in part}, dtype)
        placed |= dict.fromkeys(part, file_name)
    total = sum(array.nbytes for array in weights.values())
    write_json(
        folder / "model.safetensors.index.json", {"metadata": {"total_size": total}, "weight_map": placed}
    )


def write_safetensors(path: Path, weights: dict[str, np.ndarray], dtype: str) -> None:
    """Write one file in the safetensors format."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, array in weights.items():
        end = offset + array.nbytes
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [offset, end]}
        offset = end
    write_raw(path, json.dumps(header).encode(), b"".join(array.tobytes() for array in weights.values()))


def write_raw(path: Path, header: bytes, data: bytes) -> None:
    """Write a safetensors file with any header and any data; the header is padded to 8 bytes."""
    header += b" " * (-len(header) % 8)
    path.write_bytes(struct.pack("<Q", len(header)) + header + data)


def stored(values: np.ndarray, dtype: str) -> np.ndarray:
    """Return float32 `values` as they stand in a file of `dtype`; BF16 becomes uint16, rounded to nearest."""
    if dtype == "BF16":
        bits = np.ascontiguousarray(values, np.float32).view(np.uint32).astype(np.uint64)
        return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    return values.astype({"F16": np.float16, "F32": np.float32}[dtype])


def write_json(path: Path, value: object) -> None:
    """Write `value` as JSON."""
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False), encoding="utf-8")


def _values(generator: np.random.Generator, shape: tuple[int, ...], spread: float) -> np.ndarray:
    values = generator.standard_normal(shape, dtype=np.float32)
    if len(shape) == 1:
        return 1 + 0.1 * values
    values *= np.float32(spread)
    flat = values.reshape(-1)
    flat[generator.integers(0, flat.size, max(1, flat.size // 5000))] *= 12
    return values


def _write_vocabulary(folder: Path, vocabulary: str) -> int:
    """Write the tokenizer files and return the number of tokens."""
    if vocabulary == "nano":
        for name in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copyfile(NANO / name, folder / name)
        return 8192
    if vocabulary.startswith("phi-4"):
        from tests import real_vocabularies

        mini = vocabulary == "phi-4-mini"
        whole = real_vocabularies.phi_4_mini_tokenizer() if mini else real_vocabularies.phi_4_tokenizer()
        write_json(folder / "tokenizer.json", whole)
        write_json(folder / "tokenizer_config.json", MINI_CONFIG if mini else PHI_4_CONFIG)
        return 200_064 if mini else 100_352
    if vocabulary == "sentencepiece":
        from tests import sentencepiece_checkpoint as phi3

        card = (NANO / "MODEL_CARD.md").read_text(encoding="utf-8")
        pieces = phi3.train_pieces(card.splitlines(), 700)
        return phi3.write_tokenizer(folder, pieces, with_model=True)
    tokenizer = small_tokenizer()
    write_json(folder / "tokenizer.json", tokenizer)
    template = json.loads((NANO / "tokenizer_config.json").read_text(encoding="utf-8"))["chat_template"]
    named = {"bos_token": "<|endoftext|>", "eos_token": "<|im_end|>", "pad_token": "<|dummy_85|>"}
    write_json(
        folder / "tokenizer_config.json",
        {**named, "tokenizer_class": "GPT2Tokenizer", "chat_template": template},
    )
    return len(tokenizer["model"]["vocab"]) + len(SPECIAL_TOKENS)


def small_tokenizer() -> dict[str, Any]:
    """Return a tokenizer.json with all bytes, some words and Phi-4's special tokens, about 320 in all."""
    vocabulary = dict.fromkeys(sorted(byte_letters()))
    merges: list[list[str]] = []
    for word in WORDS:
        for end in range(1, len(word)):
            pair = [word[:end], word[end]]
            if word[: end + 1] not in vocabulary:
                vocabulary[word[: end + 1]] = None
                merges.append(pair)
    added = [
        {"id": len(vocabulary) + place, "content": text, "single_word": False, "lstrip": True, "rstrip": True}
        | {"normalized": False, "special": True}
        for place, text in enumerate(SPECIAL_TOKENS)
    ]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    split = {"type": "Split", "pattern": {"Regex": CL100K}, "behavior": "Removed", "invert": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, byte_level]},
        "post_processor": byte_level | {"use_regex": True},
        "decoder": byte_level | {"use_regex": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {text: token for token, text in enumerate(vocabulary)},
            "merges": merges,
        },
    }


def byte_letters() -> list[str]:
    """Return the letter that byte-level BPE writes for each byte, GPT-2's table. Example: byte 32 is `Ġ`."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return [chr(byte) if byte in printable else chr(next(others)) for byte in range(256)]
