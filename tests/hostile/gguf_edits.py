"""Changes that make a good GGUF file a bad one: each returns a function that changes a `File`."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable

from tests.hostile.gguf_files import STR, File, Value

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
