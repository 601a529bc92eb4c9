"""Streamed text is the whole text, however its bytes are cut into tokens: 1,500 texts, 10,000 byte streams.

The oracle is Rust's `String::from_utf8_lossy`, reached through `tokenizers`: one U+FFFD for each maximal bad
part, as Unicode 3.9 has it.
"""

import random

from tokenizers import decoders

from phi4local.engine.text import TextStream
from tests.random_checkpoint import byte_letters

CLUSTERS = [
    *"aZ09 .,\n\t",
    "\r\n",
    "é",
    "e\u0301",
    "ß",
    "\u00a0",
    "Ω",
    "שלום",
    "مرحبا",
    "नमस्ते",
    "க்ஷ",
    "ไทย",
    "한국",
    "漢字",
    "\U00020000\U0002a6df",
    "\U0001f642",
    "\U0001f44d\U0001f3fd",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466",
    "\U0001f3f3\ufe0f\u200d\U0001f308",
    "\U0001f1e9\U0001f1ea",
    "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
    "1\ufe0f\u20e3",
    "\ufeff",
    "\ufffd",
    "\uffff",
    "\U0010ffff",
    "\ud7ff\ue000",
    "Z\u0351\u036b\u0343\u036a",
]
BAD = [
    b"\x80",
    b"\xbf",
    b"\xc0\xaf",
    b"\xc3",
    b"\xe2\x82",
    b"\xed\xa0\x80",
    b"\xf0\x9f\x98",
    b"\xf4\x90\x80\x80",
]
BAD += [b"\xff", b"\xfe", b"\xf8\x88\x80\x80\x80", b"\xe0\x80\xaf", b"\xf0\x80\x80\xaf"]
LETTERS = byte_letters()


def lossy(data: bytes) -> str:
    """Return what Rust makes of bytes that may be no UTF-8."""
    return decoders.ByteLevel().decode(["".join(LETTERS[byte] for byte in data)])


def streamed(*parts: bytes) -> str:
    stream = TextStream()
    return "".join([stream.feed(part) for part in parts]) + stream.finish()


def cut(data: bytes, generator: random.Random) -> list[bytes]:
    parts = []
    while data:
        size = generator.choice([1, 1, 1, 2, 3, 5, 9])
        parts.append(data[:size])
        data = data[size:]
    return parts


def test_fifteen_hundred_texts_survive_every_cut():
    generator = random.Random(3)
    texts = ["".join(generator.choices(CLUSTERS, k=generator.randint(1, 12))) for _ in range(1_500)]
    for text in texts:
        data = text.encode()
        assert all(streamed(data[:place], data[place:]) == text for place in range(len(data) + 1)), text
        assert streamed(*(bytes([byte]) for byte in data)) == text


def test_each_maximal_bad_part_of_ten_thousand_byte_streams_is_one_replacement_character():
    generator = random.Random(4)
    pieces = [*BAD, *(cluster.encode() for cluster in CLUSTERS)]
    for number in range(10_000):
        if number % 2:
            data = generator.randbytes(generator.randint(1, 24))
        else:
            data = b"".join(generator.choices(pieces, k=generator.randint(1, 6)))
        parts = cut(data, generator)
        assert streamed(*parts) == lossy(data), parts


def test_every_single_byte():
    assert [streamed(bytes([byte])) for byte in range(256)] == [lossy(bytes([byte])) for byte in range(256)]
    assert streamed(bytes(range(256))) == lossy(bytes(range(256)))


def test_every_delta_can_be_shown_by_itself():
    """No delta ends in half a character: each is UTF-8, and a character comes in one of them."""
    generator = random.Random(5)
    for _ in range(300):
        text = "".join(generator.choices(CLUSTERS, k=8))
        stream = TextStream()
        deltas = [stream.feed(part) for part in cut(text.encode(), generator)] + [stream.finish()]
        assert "".join(delta.encode().decode() for delta in deltas) == text
        assert text.count("\ufffd") == "".join(deltas).count("\ufffd")


def test_a_stop_text_is_found_wherever_its_bytes_are_cut():
    generator = random.Random(6)
    for _ in range(500):
        stop = "".join(generator.choices(CLUSTERS[9:], k=2))
        before = "".join(generator.choices(CLUSTERS, k=6))
        whole = before + stop + "".join(generator.choices(CLUSTERS, k=3))
        stream = TextStream((stop,))
        shown = "".join(stream.feed(part) for part in cut(whole.encode(), generator)) + stream.finish()
        assert stream.stopped_by
        assert shown == whole[: whole.find(stop)]
