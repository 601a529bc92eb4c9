r"""Text of models, people and files, made safe for a terminal.

Written out, as `\x1b` or `\u202e`, is what steers a terminal or deceives the person before it: control
characters; marks that reorder text (CVE-2021-42574) or change the shape of letters; separators that are line
breaks to some programs only; tags, annotations and variation selectors that hide text; bytes of a file name
that are no UTF-8. Joiners, soft hyphens and zero-width spaces stay: emoji and many scripts need them.
"""

from __future__ import annotations

import json
import re

_HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_FLAG = "\U0001f3f4"
_TAGS = "\U000e0000-\U000e007f"
_FLAGS = tuple(
    _FLAG + "".join(chr(0xE0000 + ord(letter)) for letter in region) + "\U000e007f"
    for region in ("gbeng", "gbsct", "gbwls")
)
"""England, Scotland and Wales: the only emoji with tags (Unicode's emoji-sequences.txt)."""

_UNSAFE = re.compile(
    f"(?P<fine>{'|'.join(_FLAGS)}|[{_HAN}][\U000e0100-\U000e01ef])"
    "|[\x00-\x08\x0b-\x1f\x7f-\x9f"
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\u206a-\u206f"
    "\u2028\u2029\ufff9-\ufffb\U000e0000-\U000e0fff\ud800-\udfff]"
)
_OPEN = re.compile(f"(?:\r|{_FLAG}[{_TAGS}]{{0,6}})\\Z")
_LAST_HAN = re.compile(f"[{_HAN}]\\Z")


def visible(text: str, *, keep_lines: bool = False) -> str:
    r"""Return `text` with what steers a terminal or hides written out.

    Example: `visible("a\x1b[2Jb")` is `"a\\x1b[2Jb"`; a line feed stays only with `keep_lines`, which also
    takes CR LF for one.
    """
    if keep_lines:
        return _UNSAFE.sub(_written_out, text.replace("\r\n", "\n"))
    return _UNSAFE.sub(_written_out, text).replace("\n", "\\n")


def json_visible(json_text: str) -> str:
    r"""Return JSON that means the same and is safe for a terminal.

    Example: the text `["é\u009b"]`, in which U+009B stands as it is, becomes `["é\\u009b"]`.
    """
    return _UNSAFE.sub(lambda match: match["fine"] or json.dumps(match[0])[1:-1], json_text)


class VisibleStream:
    r"""`visible` for text that comes in pieces; line feeds stay.

    What could be the first half of CR LF or of a flag waits for the rest.

    Example: feeding `"one\r"`, `"\ntwo"` gives `"one"`, `"\ntwo"`.
    """

    def __init__(self) -> None:
        self._held = ""
        self._before = ""

    def feed(self, text: str) -> str:
        """Take new text and return what can be shown."""
        text = self._held + text
        found = _OPEN.search(text)
        self._held = found[0] if found else ""
        return self._show(text[: len(text) - len(self._held)])

    def finish(self) -> str:
        """Return what still waited."""
        held, self._held = self._held, ""
        return self._show(held)

    def _show(self, text: str) -> str:
        shown = visible(self._before + text, keep_lines=True)[len(self._before) :]
        if text:  # a variation selector belongs to the ideograph before it
            last = _LAST_HAN.search(text)
            self._before = last[0] if last else ""
        return shown


def _written_out(match: re.Match[str]) -> str:
    if match["fine"]:
        return match[0]
    code = ord(match[0])
    if 0xDC80 <= code <= 0xDCFF:  # a byte of a file name (PEP 383)
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def shortened(text: str, most: int = 80) -> str:
    """Return a text as one line of at most `most` characters.

    Example: `shortened("one two", 6)` is "one t…".
    """
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 1] + "…"
