"""Bytes of tokens → text to show: whole UTF-8 characters, and nothing of a stop text."""

from __future__ import annotations

import codecs


class TextStream:
    """Turn token bytes into text that can be shown at once.

    Half a character waits for its other half; a possible beginning of a stop text waits until it is one or
    cannot become one. Bytes that are no UTF-8 become one U+FFFD for each maximal bad part (Unicode 3.9).

    Example: with `stop=("END",)`, feeding `b"a E"`, `b"N"`, `b"Ds"` gives `"a "`, `""`, and then
    `stopped_by` is "END" with nothing more.

    Attributes:
        stopped_by: the stop text that came, or `None`.
    """

    def __init__(self, stop: tuple[str, ...] = ()) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._stop = stop
        self._held = ""
        self.stopped_by: str | None = None

    def feed(self, data: bytes) -> str:
        """Take the bytes of a token and return the text that is certain by now."""
        return self._release(self._decoder.decode(data))

    def finish(self) -> str:
        """Return what was still held when the answer ended."""
        rest = self._release(self._decoder.decode(b"", final=True))
        held, self._held = ("" if self.stopped_by else self._held), ""
        return rest + held

    def _release(self, text: str) -> str:
        if not self._stop or self.stopped_by:
            return "" if self.stopped_by else text
        text = self._held + text
        places = [(place, stop) for stop in self._stop if (place := text.find(stop)) >= 0]
        if places:
            place, self.stopped_by = min(places)
            self._held = ""
            return text[:place]
        keep = max(_overlap(text, stop) for stop in self._stop)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]


def _overlap(text: str, stop: str) -> int:
    """Return how many characters at the end of `text` could begin `stop`. Example: ("xEN", "END") → 2."""
    for length in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0
