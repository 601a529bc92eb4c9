"""The keys and values at the beginning of a GGUF file.

The format is described in ggml/docs/gguf.md. Where ggml's own reader (ggml/src/gguf.cpp) is stricter than
that page (no array of arrays, no key twice), so are we; where it is laxer, we follow the page.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from phi4local.gguf.cursor import shown

if TYPE_CHECKING:
    from phi4local.gguf.cursor import Cursor

MAX_KEYS = 10_000
"""Most keys of a header; Phi-4 has about 40."""

MAX_KEY_BYTES = 65_535
"""Longest key, from the format's description."""

MAX_ARRAY_ELEMENTS = 4 * 2**20
"""Most array elements of a header, all arrays together; Phi-4-mini has 599,870."""

_STRING, _ARRAY = 8, 9


class _ValueType(NamedTuple):
    name: str
    code: str  # for struct


_VALUE_TYPES = {
    0: _ValueType("u8", "B"),
    1: _ValueType("i8", "b"),
    2: _ValueType("u16", "H"),
    3: _ValueType("i16", "h"),
    4: _ValueType("u32", "I"),
    5: _ValueType("i32", "i"),
    6: _ValueType("f32", "f"),
    7: _ValueType("bool", "B"),
    _STRING: _ValueType("str", ""),
    10: _ValueType("u64", "Q"),
    11: _ValueType("i64", "q"),
    12: _ValueType("f64", "d"),
}


class Metadata:
    """Values by key, and the type that each has in the file, such as `u32` or `[str]`.

    Example: `read_metadata(cursor, 2)` leaves the cursor behind the second value.
    """

    __slots__ = ("array_elements", "value_types", "values")

    def __init__(self) -> None:
        self.values: dict[str, object] = {}
        self.value_types: dict[str, str] = {}
        self.array_elements = 0


def read_metadata(cursor: Cursor, count: int) -> Metadata:
    """Read `count` keys with their values.

    Raises:
        GGUFError: a key twice, a type that does not exist, an array of arrays, or a limit exceeded.
        ShortBufferError: the buffer ends before the last value.
    """
    metadata = Metadata()
    for index in range(count):
        key = _read_key(cursor, index)
        if key in metadata.values:
            raise cursor.error(f"key `{shown(key)}` stands there twice")
        _read_value(cursor, key, metadata)
    return metadata


def _read_key(cursor: Cursor, index: int) -> str:
    key = cursor.text(f"key {index}", max_bytes=MAX_KEY_BYTES)
    if not key:
        raise cursor.error(f"key {index} is empty")
    if not (key.isascii() and key.isprintable()):
        raise cursor.error(f"key `{shown(key)}` is not printable ASCII")
    return key


def _read_value(cursor: Cursor, key: str, metadata: Metadata) -> None:
    what = f"`{shown(key)}`"
    type_id = cursor.u32()
    if type_id == _ARRAY:
        element = _value_type(cursor, cursor.u32(), f"the array {what}")
        count = cursor.u64()
        metadata.array_elements += count
        if metadata.array_elements > MAX_ARRAY_ELEMENTS:
            raise cursor.error(
                f"{what} has {count:,} elements; all arrays together may have {MAX_ARRAY_ELEMENTS:,}"
            )
        metadata.values[key] = _elements(cursor, element, count, what)
        metadata.value_types[key] = f"[{element.name}]"
    else:
        value_type = _value_type(cursor, type_id, what)
        metadata.values[key] = _elements(cursor, value_type, 1, what)[0]
        metadata.value_types[key] = value_type.name


def _value_type(cursor: Cursor, type_id: int, what: str) -> _ValueType:
    if type_id == _ARRAY:
        raise cursor.error(f"{what} holds arrays; llama.cpp does not read nested arrays")
    if type_id not in _VALUE_TYPES:
        raise cursor.error(f"{what} has value type {type_id}, which does not exist")
    return _VALUE_TYPES[type_id]


def _elements(cursor: Cursor, value_type: _ValueType, count: int, what: str) -> tuple[object, ...]:
    if value_type.name == "str":
        return cursor.texts(count, what) if count != 1 else (cursor.text(what),)
    layout = f"<{count}{value_type.code}"
    begin = cursor.advance(struct.calcsize(layout))
    numbers = struct.unpack_from(layout, cursor.buffer, begin)
    if value_type.name != "bool":
        return numbers
    if any(number > 1 for number in numbers):
        raise cursor.error(f"{what} is a bool with the value {max(numbers)}; expected 0 or 1")
    return tuple(map(bool, numbers))
