"""Text comes out whole: no half characters, nothing of a stop text."""

import codecs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phi4local.engine.text import TextStream


def feed_all(stream: TextStream, parts: list[bytes]) -> list[str]:
    return [stream.feed(part) for part in parts] + [stream.finish()]


@pytest.mark.parametrize("text", ["é", "漢", "👩‍👩‍👧‍👦", "🇩🇪", "नमस्ते", "a\u0301", "שלום"])
def test_a_character_is_never_split(text):
    parts = [bytes([byte]) for byte in text.encode()]
    deltas = feed_all(TextStream(), parts)
    assert "".join(deltas) == text
    assert "\ufffd" not in "".join(deltas)


@given(st.lists(st.binary(max_size=6), max_size=30))
def test_any_bytes_give_what_unicode_says(parts):
    whole = codecs.decode(b"".join(parts), "utf-8", "replace")
    assert "".join(feed_all(TextStream(), parts)) == whole


def test_a_stop_text_across_tokens_is_not_shown():
    stream = TextStream(("END",))
    assert [stream.feed(b"one E"), stream.feed(b"N"), stream.feed(b"D two")] == ["one ", "", ""]
    assert stream.stopped_by
    assert stream.finish() == ""


def test_what_only_began_like_a_stop_text_is_shown():
    stream = TextStream(("END",))
    assert "".join(feed_all(stream, [b"E", b"N", b"E", b"N", b"T"])) == "ENENT"
    assert not stream.stopped_by


def test_a_held_beginning_comes_out_at_the_end():
    stream = TextStream(("END",))
    assert stream.feed(b"x EN") == "x "
    assert stream.finish() == "EN"


@given(
    st.text("abE", max_size=40),
    st.lists(st.text("abE", min_size=1, max_size=4), min_size=1, max_size=3),
    st.randoms(),
)
def test_streaming_shows_exactly_the_text_before_the_first_stop(text, stops, random):
    parts, rest = [], text.encode()
    while rest:
        size = random.randint(1, len(rest))
        parts.append(rest[:size])
        rest = rest[size:]
    stream = TextStream(tuple(stops))
    shown = "".join(feed_all(stream, parts))
    places = [text.find(stop) for stop in stops if stop in text]
    if not places:
        assert shown == text
        return
    # Streaming acts at the first moment a stop text is complete; of those complete then, the earliest wins.
    ends = min(text.find(stop) + len(stop) for stop in stops if stop in text)
    assert stream.stopped_by
    assert text.startswith(shown)
    assert min(places) <= len(shown) < ends or shown == text[: min(places)]
