"""Text of models, people and files, made safe for a terminal."""

from __future__ import annotations

import re
import unicodedata

# C0 but tab and line feed, DEL, C1; and the marks that reorder text (CVE-2021-42574).
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def visible(text: str, *, keep_lines: bool = False) -> str:
    r"""Return `text` with control characters written out, so that it cannot steer a terminal.

    Example: `visible("a\x1b[2Jb")` is `"a\\x1b[2Jb"`; a line feed stays only with `keep_lines`.
    """
    shown = _UNSAFE.sub(lambda match: _escape(match[0]), text)
    return shown if keep_lines else shown.replace("\n", "\\n")


def json_visible(text: str) -> str:
    r"""Return JSON with the same value and no character that could steer a terminal.

    Example: DEL, which `json.dumps` leaves as it is, becomes the six characters `\u007f`.
    """
    return _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def _escape(character: str) -> str:
    code = ord(character)
    if unicodedata.category(character) == "Cc":
        return f"\\x{code:02x}"
    return f"\\u{code:04x}"
