"""Text of hostile files, as it may stand in messages, and reads at the end of a buffer."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from phi4local.errors import GGUFError
from phi4local.gguf.cursor import Cursor, ShortBufferError, shown

PATH = Path("model.gguf")


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("plain", "plain"),
        ("a\x1b[31mb", r"a\x1b[31mb"),
        ("a\nb\r\0", r"a\nb\r\x00"),
        ("é\u202e🙂", r"\xe9\u202e\U0001f642"),
        ("x" * 60, "x" * 60),
        ("x" * 61, "x" * 57 + "..."),
        ("🙂" * 10**6, (r"\U0001f642" * 6)[:57] + "..."),
    ],
)
def test_text_of_a_file_is_shown_short_and_in_plain_ascii(text: str, seen: str):
    assert shown(text) == seen


def test_numbers_are_little_endian_and_move_the_position():
    cursor = Cursor(struct.pack("<IQ", 1, 2**40), PATH)
    assert (cursor.u32(), cursor.u64(), cursor.position) == (1, 2**40, 12)


@pytest.mark.parametrize(
    ("buffer", "read", "needed_bytes"),
    [
        (b"abc", lambda cursor: cursor.u32(), 4),
        (bytes(7), lambda cursor: cursor.u64(), 8),
        (struct.pack("<Q", 10) + b"short", lambda cursor: cursor.text("key"), 18),
        (bytes(8), lambda cursor: cursor.texts(2, "tokens"), 16),
        (struct.pack("<QQ", 20, 0), lambda cursor: cursor.texts(1, "tokens"), 28),
        (struct.pack("<QQ", 4, 0), lambda cursor: cursor.texts(2, "tokens"), 20),
    ],
)
def test_a_read_beyond_the_buffer_says_how_many_bytes_it_needs(buffer: bytes, read, needed_bytes: int):
    with pytest.raises(ShortBufferError) as caught:
        read(Cursor(buffer, PATH))
    assert caught.value.needed_bytes == needed_bytes


def test_a_text_may_have_a_lower_limit():
    cursor = Cursor(struct.pack("<Q", 5) + b"hello", PATH)
    with pytest.raises(GGUFError, match="name has 5 bytes; at most 4 are read"):
        cursor.text("name", max_bytes=4)
