"""Changes that make a good GGUF file a bad one: each returns a function that changes a `File`."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable

from tests.hostile.gguf_files import BLOCKS, STR, U32, WIDTH, File, Value

Edit = Callable[[File], object]
"""Changes the file it gets; or returns the bytes that stand for it."""


def changed(file: File, edit: Edit) -> bytes:
    result = edit(file)
    return result if isinstance(result, bytes) else file.build()


def attributes(**changes) -> Edit:
    return lambda file: file.__dict__.update(changes)


def value(key: str, kind: int, content) -> Edit:
    return lambda file: file.set(key, kind, content)


def values(key: str, kind: int, content) -> Edit:
    return lambda file: file.set_array(key, kind, content)


def raw(key: str | bytes, kind: int, payload: bytes) -> Edit:
    return lambda file: file.set_raw(key, kind, payload)


def without(key: str) -> Edit:
    return lambda file: file.drop(key)


def tensor(which: str, /, **changes) -> Edit:
    return lambda file: file.tensor(which).__dict__.update(changes)


def resized(name: str, *shape: int) -> Edit:
    return lambda file: file.resize(name, *shape)


def together(*edits: Edit) -> Edit:
    def edit(file: File) -> None:
        for one in edits:
            one(file)

    return edit


def token(index: int, text: bytes) -> Edit:
    def edit(file: File) -> None:
        tokens = file.tokens()
        tokens[index] = text
        file.set_array("tokenizer.ggml.tokens", STR, tokens)

    return edit


def typed(name: str, kind: int, bits: int) -> Edit:
    """Give a tensor another type, with as many zero bytes as it then needs."""

    def edit(file: File) -> None:
        one = file.tensor(name)
        one.kind, one.data = kind, bytes(math.prod(one.shape) * bits // 8)

    return edit


def first(key: bytes, kind: int, payload: bytes) -> Edit:
    """Put a key in front of all others; llama.cpp takes the first that fits."""
    return lambda file: file.values.insert(0, Value(key, kind, payload))


def renamed(old: str, new: str | bytes) -> Edit:
    return tensor(old, name=new.encode() if isinstance(new, str) else new)


def cut(count: int) -> Edit:
    return lambda file: file.build()[:-count]


def replaced(old: bytes, new: bytes) -> Edit:
    return lambda file: file.build().replace(old, new, 1)


def swapped(file: File) -> bytes:
    """Big-endian: every number of the fixed part turned around."""
    return b"GGUF" + struct.pack(">IQQ", 3, len(file.tensors), len(file.values)) + file.build()[24:]


def rope_factors_at_the_end(file: File) -> None:
    """Turn only a part of each head, and end the file, and the page of memory, behind the last factor.

    ggml reads a factor for every pair of the head, so the process ends. Some megabytes of feed-forward layers
    let the system leave a hole behind the file in memory, which it fills behind a small one.
    """
    feed_forward = 2**12
    file.set("phi3.feed_forward_length", U32, feed_forward)
    file.set("phi3.attention.head_count", U32, 1)
    file.set("phi3.attention.head_count_kv", U32, 1)
    file.set("phi3.rope.dimension_count", U32, 2)
    for block in range(BLOCKS):
        file.resize(f"blk.{block}.attn_qkv.weight", WIDTH, 3 * WIDTH)
        for name, shape in (("up", (WIDTH, 2 * feed_forward)), ("down", (feed_forward, WIDTH))):
            one = file.tensor(f"blk.{block}.ffn_{name}.weight")
            one.shape, one.data = shape, bytes(4 * math.prod(shape))
    file.add_tensor("rope_factors_long.weight", 1)
    file.add_tensor("rope_factors_short.weight", 1)
    file.set("general.description", STR, "")
    file.set("general.description", STR, " " * (-len(file.build()) % 4096))
