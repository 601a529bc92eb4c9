"""Build GGUF files byte by byte, so that every field of one can be made wrong.

`small_model()` is a complete phi3 model of 136 KB with random F32 weights; llama.cpp loads and runs it.
"""

from __future__ import annotations

import copy
import functools
import random
import struct
from dataclasses import dataclass, field

U8, I8, U16, I16, U32, I32, F32, BOOL, STR, ARR, U64, I64, F64 = range(13)
CODES = dict(zip((U8, I8, U16, I16, U32, I32, F32, BOOL, U64, I64, F64), "BbHhIifBQqd", strict=True))

BLOCKS, WIDTH, FEED_FORWARD, HEADS, KV_HEADS = 2, 32, 48, 4, 2
HEAD_WIDTH = WIDTH // HEADS
QKV_ROWS = WIDTH + 2 * KV_HEADS * HEAD_WIDTH


def string(text: bytes | str) -> bytes:
    raw = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(raw)) + raw


def scalar(kind: int, value) -> bytes:
    return string(value) if kind == STR else struct.pack("<" + CODES[kind], value)


def array(kind: int, values) -> bytes:
    head = struct.pack("<IQ", kind, len(values))
    if kind == STR:
        return head + b"".join(string(value) for value in values)
    return head + struct.pack(f"<{len(values)}{CODES[kind]}", *values)


@dataclass
class Value:
    """One key: `kind` and `payload` go to the file as they are."""

    key: bytes
    kind: int
    payload: bytes


@dataclass
class Tensor:
    """One tensor; `offset` None is the right one."""

    name: bytes
    shape: tuple[int, ...]
    data: bytes
    kind: int = 0
    offset: int | None = None


@dataclass
class File:
    """A GGUF file in parts; `build` joins them without checking anything."""

    values: list[Value] = field(default_factory=list)
    tensors: list[Tensor] = field(default_factory=list)
    magic: bytes = b"GGUF"
    version: int = 3
    alignment: int = 32
    key_count: int | None = None
    tensor_count: int | None = None
    trailing: bytes = b""

    def set(self, key: str | bytes, kind: int, value) -> None:
        self._put(key, kind, scalar(kind, value))

    def set_array(self, key: str | bytes, kind: int, values) -> None:
        self._put(key, ARR, array(kind, values))

    def set_raw(self, key: str | bytes, kind: int, payload: bytes) -> None:
        self._put(key, kind, payload)

    def drop(self, key: str) -> None:
        self.values = [value for value in self.values if value.key != key.encode()]

    def tensor(self, name: str) -> Tensor:
        return next(tensor for tensor in self.tensors if tensor.name == name.encode())

    def drop_tensor(self, name: str) -> None:
        self.tensors.remove(self.tensor(name))

    def resize(self, name: str, *shape: int) -> None:
        """Give a tensor another shape, with F32 data that fits it."""
        tensor = self.tensor(name)
        count = 1
        for axis in shape:
            count *= axis
        tensor.shape, tensor.kind, tensor.data = shape, 0, weights(count, name)

    def add_tensor(self, name: str | bytes, *shape: int) -> Tensor:
        tensor = Tensor(name.encode() if isinstance(name, str) else name, shape, b"")
        self.tensors.append(tensor)
        count = 1
        for axis in shape:
            count *= axis
        tensor.data = weights(count, str(name))
        return tensor

    def tokens(self) -> list[bytes]:
        return list(vocabulary()[0])

    def head(self) -> bytes:
        parts = [self.magic, struct.pack("<I", self.version)]
        for given, found in ((self.tensor_count, self.tensors), (self.key_count, self.values)):
            parts.append(struct.pack("<Q", (len(found) if given is None else given) % 2**64))
        for value in self.values:
            parts += [string(value.key), struct.pack("<I", value.kind), value.payload]
        offset = 0
        for tensor in self.tensors:
            parts += [string(tensor.name), struct.pack("<I", len(tensor.shape))]
            parts += [struct.pack("<Q", axis % 2**64) for axis in tensor.shape]
            place = offset if tensor.offset is None else tensor.offset
            parts.append(struct.pack("<IQ", tensor.kind, place % 2**64))
            offset += self.padded(len(tensor.data))
        return b"".join(parts)

    def build(self) -> bytes:
        head = self.head()
        parts = [head]
        if self.tensors:
            parts.append(bytes(self.padded(len(head)) - len(head)))
        for tensor in self.tensors:
            parts += [tensor.data, bytes(self.padded(len(tensor.data)) - len(tensor.data))]
        return b"".join([*parts, self.trailing])

    def padded(self, size: int) -> int:
        return -(-size // self.alignment) * self.alignment

    def _put(self, key: str | bytes, kind: int, payload: bytes) -> None:
        raw = key.encode() if isinstance(key, str) else key
        for value in self.values:
            if value.key == raw:
                value.kind, value.payload = kind, payload
                return
        self.values.append(Value(raw, kind, payload))


@functools.cache
def weights(count: int, seed: str) -> bytes:
    randomness = random.Random(seed)
    return struct.pack(f"<{count}f", *[randomness.uniform(-0.1, 0.1) for _ in range(count)])


def byte_characters() -> list[str]:
    """GPT-2's characters for the 256 bytes: printable ones stand for themselves."""
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [byte for byte in range(256) if byte not in kept]
    return [chr(byte) for byte in kept] + [chr(256 + index) for index in range(len(rest))]


@functools.cache
def vocabulary() -> tuple[list[bytes], list[int], list[bytes]]:
    """Tokens, their types and the merges: the bytes, four merges, five specials and one hole."""
    merges = ["t h", "Ġ a", "th e", "Ġ th"]
    tokens = byte_characters() + [merge.replace(" ", "") for merge in merges]
    types = [1] * len(tokens)
    specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|im_sep|>"]
    tokens += [*specials, "<think>", "[PAD265]"]
    types += [3] * len(specials) + [4, 5]
    return [token.encode() for token in tokens], types, [merge.encode() for merge in merges]


END_OF_TEXT, IM_END = 260, 262
TEMPLATE = "{% for m in messages %}<|im_start|>{{ m.role }}<|im_sep|>{{ m.content }}<|im_end|>{% endfor %}"


def small_model() -> File:
    """Return a fresh copy of a complete model that may be changed at will."""
    return copy.deepcopy(_small_model())


@functools.cache
def _small_model() -> File:
    file = File()
    tokens, types, merges = vocabulary()
    file.set("general.architecture", STR, "phi3")
    file.set("general.type", STR, "model")
    file.set("general.name", STR, "Phi 4 small")
    file.set("phi3.context_length", U32, 512)
    file.set("phi3.rope.scaling.original_context_length", U32, 512)
    file.set("phi3.embedding_length", U32, WIDTH)
    file.set("phi3.feed_forward_length", U32, FEED_FORWARD)
    file.set("phi3.block_count", U32, BLOCKS)
    file.set("phi3.attention.head_count", U32, HEADS)
    file.set("phi3.attention.head_count_kv", U32, KV_HEADS)
    file.set("phi3.attention.layer_norm_rms_epsilon", F32, 1e-5)
    file.set("phi3.rope.dimension_count", U32, HEAD_WIDTH)
    file.set("phi3.rope.freq_base", F32, 250000.0)
    file.set("phi3.attention.sliding_window", U32, 0)
    file.set("general.file_type", U32, 0)
    file.set("general.quantization_version", U32, 2)
    file.set("tokenizer.ggml.model", STR, "gpt2")
    file.set("tokenizer.ggml.pre", STR, "dbrx")
    file.set_array("tokenizer.ggml.tokens", STR, tokens)
    file.set_array("tokenizer.ggml.token_type", I32, types)
    file.set_array("tokenizer.ggml.merges", STR, merges)
    file.set("tokenizer.ggml.bos_token_id", U32, END_OF_TEXT)
    file.set("tokenizer.ggml.eos_token_id", U32, IM_END)
    file.set("tokenizer.ggml.padding_token_id", U32, END_OF_TEXT)
    file.set("tokenizer.ggml.add_bos_token", BOOL, 0)
    file.set("tokenizer.chat_template", STR, TEMPLATE)
    file.add_tensor("token_embd.weight", WIDTH, len(tokens))
    for block in range(BLOCKS):
        add_block(file, block)
    file.add_tensor("output_norm.weight", WIDTH)
    file.add_tensor("output.weight", WIDTH, len(tokens))
    return file


def add_block(file: File, block: int) -> None:
    file.add_tensor(f"blk.{block}.attn_norm.weight", WIDTH)
    file.add_tensor(f"blk.{block}.attn_qkv.weight", WIDTH, QKV_ROWS)
    file.add_tensor(f"blk.{block}.attn_output.weight", WIDTH, WIDTH)
    file.add_tensor(f"blk.{block}.ffn_norm.weight", WIDTH)
    file.add_tensor(f"blk.{block}.ffn_up.weight", WIDTH, 2 * FEED_FORWARD)
    file.add_tensor(f"blk.{block}.ffn_down.weight", FEED_FORWARD, WIDTH)


def sentencepiece_vocabulary() -> tuple[list[bytes], list[int]]:
    tokens = [b"<unk>", b"<s>", b"</s>", *[b"<0x%02X>" % byte for byte in range(256)], b"<|endoftext|>"]
    tokens += [b"t", b"h", b"e", b"th", b"the", b"<|end|>"]
    return tokens, [2, 3, 3, *[6] * 256, 3, *[1] * 5, 3]


def sentencepiece_model() -> File:
    """Return the same model with a Llama-style vocabulary: byte tokens and scores, no merges."""
    file = small_model()
    tokens, types = sentencepiece_vocabulary()
    file.set("tokenizer.ggml.model", STR, "llama")
    file.set("tokenizer.ggml.pre", STR, "default")
    file.set_array("tokenizer.ggml.tokens", STR, tokens)
    file.set_array("tokenizer.ggml.token_type", I32, types)
    file.set_array("tokenizer.ggml.scores", F32, [float(-index) for index in range(len(tokens))])
    file.drop("tokenizer.ggml.merges")
    file.set("tokenizer.ggml.bos_token_id", U32, 1)
    file.set("tokenizer.ggml.eos_token_id", U32, 2)
    file.set("tokenizer.ggml.padding_token_id", U32, 2)
    file.resize("token_embd.weight", WIDTH, len(tokens))
    file.resize("output.weight", WIDTH, len(tokens))
    return file
