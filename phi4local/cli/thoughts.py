"""What a person sees of a reasoning model's thoughts."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from phi4local.cli.text import VisibleStream
from phi4local.cli.wrap import WordWrap

if TYPE_CHECKING:
    from collections.abc import Callable

    from phi4local.cli.chat.state import ThinkMode

DIM, PLAIN, CLEAR = "\x1b[2m", "\x1b[0m", "\r\x1b[K"


class Thoughts:
    """Thoughts, dimmed as they come, folded into one line that counts them, or hidden.

    Args:
        mode: "show", "fold" or "hide".
        columns: asks for the terminal's width.
        colour: whether styles are shown.

    Example: "fold" shows "thinking… 120 words" while they come, and then "thought for 4 s, 180 words".
    """

    def __init__(self, mode: ThinkMode, *, columns: Callable[[], int], colour: bool) -> None:
        self._mode = mode
        self._dim, self._plain = (DIM, PLAIN) if colour else ("", "")
        self._visible = VisibleStream()
        self._wrap = WordWrap(columns())
        self._words = 0
        self._began: float | None = None

    def feed(self, delta: str) -> str:
        """Take new thoughts and return what to write."""
        if self._began is None:
            self._began = time.monotonic()
        self._words += len(delta.split())
        if self._mode == "hide":
            return ""
        if self._mode == "fold":
            return f"{CLEAR}{self._dim}thinking… {self._words:,} words{self._plain}"
        return self._dim + self._wrap.feed(self._visible.feed(delta)) + self._plain

    def finish(self) -> str:
        """Return what ends the thoughts; nothing if there were none, or if they ended before."""
        if self._began is None:
            return ""
        seconds, self._began = time.monotonic() - self._began, None
        if self._mode == "hide":
            return ""
        if self._mode == "show":
            rest = self._wrap.feed(self._visible.finish()) + self._wrap.finish()
            return f"{self._dim}{rest}{self._plain}\n"
        line = f"thought for {seconds:,.0f} s, {self._words:,} words (/think show)"
        return f"{CLEAR}{self._dim}{line}{self._plain}\n"
