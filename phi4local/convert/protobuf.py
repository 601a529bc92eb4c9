"""Read the few kinds of Protocol Buffers fields that a SentencePiece model has, from bytes of a stranger.

Source: the wire format, https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING

from phi4local.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_VARINT, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5


class Message:
    """One message: its fields by number, each with all its values in order.

    Example: the bytes `08 96 01` → field 1 is the whole number 150.

    Raises:
        CheckpointError: the bytes are no message.
    """

    def __init__(self, content: bytes, path: Path) -> None:
        self._path = path
        self._values: dict[int, list[int | bytes]] = {}
        for number, value in self._read(content):
            self._values.setdefault(number, []).append(value)

    def messages(self, number: int) -> Iterator[Message]:
        """Yield every value of a repeated message field."""
        for value in self._values.get(number, []):
            yield Message(self._bytes(value), self._path)

    def message(self, number: int) -> Message:
        """Return a message field; an absent one is empty."""
        return Message(self.data(number), self._path)

    def data(self, number: int) -> bytes:
        """Return a field's bytes; the last value counts, an absent one is empty."""
        return self._bytes(self._values.get(number, [b""])[-1])

    def text(self, number: int) -> str:
        """Return a field's text.

        Raises:
            CheckpointError: it is not UTF-8.
        """
        try:
            return self.data(number).decode("utf-8")
        except UnicodeDecodeError as error:
            raise self._damaged() from error

    def whole(self, number: int, default: int) -> int:
        """Return a field's whole number or flag."""
        value = self._values.get(number, [default])[-1]
        if not isinstance(value, int):
            raise self._damaged()
        return value

    def number(self, number: int, default: float) -> float:
        """Return a 32-bit floating-point field.

        Raises:
            CheckpointError: it is another kind of field, or not finite.
        """
        if number not in self._values:
            return default
        value = self.data(number)
        found = struct.unpack("<f", value)[0] if len(value) == 4 else math.nan
        if not math.isfinite(found):
            raise self._damaged()
        return float(found)

    def _bytes(self, value: int | bytes) -> bytes:
        if isinstance(value, int):
            raise self._damaged()
        return value

    def _read(self, content: bytes) -> Iterator[tuple[int, int | bytes]]:
        place = 0
        while place < len(content):
            key, place = self._varint(content, place)
            kind = key & 7
            if kind == _VARINT:
                value, place = self._varint(content, place)
                yield key >> 3, value
                continue
            length = {_EIGHT: 8, _FOUR: 4}.get(kind)
            if kind == _BYTES:
                length, place = self._varint(content, place)
            if length is None or place + length > len(content):
                raise self._damaged()
            yield key >> 3, content[place : place + length]
            place += length

    def _varint(self, content: bytes, place: int) -> tuple[int, int]:
        value = 0
        for shift in range(0, 70, 7):
            if place >= len(content):
                break
            byte = content[place]
            place += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value, place
        raise self._damaged()

    def _damaged(self) -> CheckpointError:
        return CheckpointError(self._path, "is no SentencePiece model, or a damaged one")
