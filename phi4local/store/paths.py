"""The one place that turns what a server, a manifest or a person wrote into a path or a digest."""

from __future__ import annotations

import re

from phi4local.errors import UnsafeNameError

MOST_PART_BYTES = 255
"""Longest name of a file or folder on the usual file systems."""
MOST_PATH_CHARACTERS = 1024

_DIGEST = re.compile(r"(?:sha256[:-])?([0-9a-fA-F]{64})")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_FORBIDDEN = re.compile(
    r'[\x00-\x1f\x7f-\x9f<>:"|?*\\\u061c\u200e\u200f\u2028-\u202e\u2066-\u206f\ufff9-\ufffb\U000e0000-\U000e00ff]'
)
_RESERVED = re.compile(r"(?:CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|(?:COM|LPT)[0-9¹²³])(?:\..*)?", re.IGNORECASE)


def safe_path(text: str) -> str:
    r"""Return a file's path in a repository unchanged, if it stays inside any folder on any system.

    It must be relative, with `/` between its parts. No part may be empty, `.` or `..`, end with a dot or a
    space, be longer than 255 bytes, be a device of Windows, or hold a control character or one of `<>:"|?*\`.

    Examples: `safe_path("Q4_K_M/phi-4-Q4_K_M.gguf")` is the same text; `"../x"`, `"/etc/x"`, `"C:x"` and
    `"nul.gguf"` are refused.

    Raises:
        UnsafeNameError: it would not.
    """
    if not text or len(text) > MOST_PATH_CHARACTERS:
        raise UnsafeNameError("path", text, "is empty or too long")
    for part in text.split("/"):
        problem = _problem(part)
        if problem:
            raise UnsafeNameError("path", text, problem)
    return text


def _problem(part: str) -> str | None:
    if part in ("", ".", ".."):
        return "leaves its folder"
    if _FORBIDDEN.search(part):
        return "has characters that no file name should have"
    if part[-1] in ". " or _RESERVED.fullmatch(part):
        return "is no file name on Windows"
    try:
        too_long = len(part.encode()) > MOST_PART_BYTES
    except UnicodeEncodeError:  # half a surrogate pair
        return "is no text"
    return "has a part that is too long" if too_long else None


def safe_digest(text: str) -> str:
    """Return the 64 hex digits of a SHA-256 in lower case.

    Example: `"sha256:" + 64 * "A"` → `64 * "a"`; also `sha256-…` and the bare digits.

    Raises:
        UnsafeNameError: anything else.
    """
    found = _DIGEST.fullmatch(text)
    if found is None:
        raise UnsafeNameError("digest", text, "is not SHA-256 in hex digits")
    return found[1].lower()


def safe_commit(text: str) -> str:
    """Return a commit's 40 hex digits unchanged.

    Raises:
        UnsafeNameError: anything else.
    """
    if not _COMMIT.fullmatch(text):
        raise UnsafeNameError("commit", text, "is not 40 hex digits")
    return text
