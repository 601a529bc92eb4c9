"""Numbers and texts out of one buffer, front to back, never beyond its end."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from phi4local.errors import GGUFError

if TYPE_CHECKING:
    from pathlib import Path

_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")

MAX_STRING_BYTES = 16 * 2**20
"""Longest string of a header. Phi-4's longest, the chat template, has a few hundred bytes."""

_SHOWN_CHARACTERS = 60


class ShortBufferError(Exception):
    """The buffer ends before `needed_bytes`; whoever filled it knows whether the file does, too."""

    def __init__(self, needed_bytes: int) -> None:
        super().__init__(needed_bytes)
        self.needed_bytes = needed_bytes


def shown(text: str) -> str:
    r"""Return text from a file as it may stand in a message: short, and plain ASCII.

    Example: `shown("a\x1b[31m") == "a\\x1b[31m"`; longer than 60 characters ends in `...`.
    """
    escaped = text[: _SHOWN_CHARACTERS + 1].encode("unicode_escape").decode("ascii")
    if len(escaped) <= _SHOWN_CHARACTERS:
        return escaped
    return escaped[: _SHOWN_CHARACTERS - 3] + "..."


class Cursor:
    r"""A position in a buffer, and little-endian reads that move it.

    Example: `Cursor(b"\x01\x00\x00\x00", Path("model.gguf")).u32() == 1`.

    Raises:
        ShortBufferError: a read would go beyond the buffer; nothing was allocated for it.
        GGUFError: a string that is too long, no UTF-8, or holds a NUL.
    """

    __slots__ = ("buffer", "path", "position")

    def __init__(self, buffer: bytes, path: Path) -> None:
        self.buffer = buffer
        self.path = path
        self.position = 0

    def require(self, count: int) -> None:
        """Raise `ShortBufferError` unless `count` more bytes are there."""
        if count > len(self.buffer) - self.position:
            raise ShortBufferError(self.position + count)

    def advance(self, count: int) -> int:
        """Move over `count` bytes and return where they begin."""
        self.require(count)
        begin = self.position
        self.position = begin + count
        return begin

    def u32(self) -> int:
        """Read an unsigned 32-bit number."""
        return int(_U32.unpack_from(self.buffer, self.advance(4))[0])

    def u64(self) -> int:
        """Read an unsigned 64-bit number."""
        return int(_U64.unpack_from(self.buffer, self.advance(8))[0])

    def text(self, what: str, *, max_bytes: int = MAX_STRING_BYTES) -> str:
        """Read a string: its length in 64 bits, then UTF-8. `what` names it in messages."""
        length = self.u64()
        if length > max_bytes:
            raise self._too_long(what, length, max_bytes)
        begin = self.advance(length)
        try:
            text = self.buffer[begin : self.position].decode()
        except UnicodeDecodeError as error:
            raise self._not_text(what, error) from None
        if "\0" in text:
            raise self._holds_nul(what)
        return text

    def texts(self, count: int, what: str) -> tuple[str, ...]:
        """Read `count` strings, in one loop without calls: a vocabulary has 200,000 of them."""
        self.require(8 * count)
        buffer, position, end = self.buffer, self.position, len(self.buffer)
        length_at = _U64.unpack_from
        found: list[str] = []
        try:
            for _ in range(count):
                begin = position + 8
                if begin > end:
                    raise ShortBufferError(begin)
                length = length_at(buffer, position)[0]
                if length > MAX_STRING_BYTES:
                    raise self._too_long(f"{what}, string {len(found)},", length)
                position = begin + length
                if position > end:
                    raise ShortBufferError(position)
                found.append(buffer[begin:position].decode())
        except UnicodeDecodeError as error:
            raise self._not_text(f"{what}, string {len(found)},", error) from None
        self.position = position
        for index, text in enumerate(found):
            if "\0" in text:
                raise self._holds_nul(f"{what}, string {index},")
        return tuple(found)

    def error(self, problem: str) -> GGUFError:
        """Return the error that says what is wrong with this file."""
        return GGUFError(self.path, problem)

    def _too_long(self, what: str, length: int, max_bytes: int = MAX_STRING_BYTES) -> GGUFError:
        return self.error(f"{what} has {length:,} bytes; at most {max_bytes:,} are read")

    def _not_text(self, what: str, error: UnicodeDecodeError) -> GGUFError:
        return self.error(f"{what} is not UTF-8: byte 0x{error.object[error.start]:02x} at {error.start}")

    def _holds_nul(self, what: str) -> GGUFError:
        # llama.cpp reads C strings: it would see a shorter key, name or token than we check here.
        return self.error(f"{what} holds a NUL byte")
