"""Files that a message names with `@`."""

from __future__ import annotations

import re
from pathlib import Path

# Before the sign stands no letter, so that e-mail addresses stay what they are.
_MENTION = re.compile(r"""(?<![\w.@/\\+-])@(?:"([^"\n]+)"|'([^'\n]+)'|([^\s"'@][^\s@]*))""")
_CLOSING = ".,;:!?)]}>\"'"


def mentioned_files(text: str, base: Path) -> tuple[list[Path], list[str]]:
    """Return files and folders that a typed message names, and one line for each quoted name that is none.

    `@notes.md` and `@"my notes.md"` name files, from `base`, the home folder (`~/`) or the root. A word
    that is no existing file (`@anna`, an address) is left alone; a closing point or bracket is no part of it.

    Example: `mentioned_files("Compare @a.txt, @b.txt.", Path())` is `([Path("a.txt"), Path("b.txt")], [])`
    when both exist.
    """
    paths: list[Path] = []
    problems: list[str] = []
    for match in _MENTION.finditer(text):
        quoted = match[1] or match[2]
        path = _existing(base, quoted) if quoted else _unquoted(base, match[3])
        if path is not None and path not in paths:
            paths.append(path)
        elif path is None and quoted:
            problems.append(f"`{quoted}` does not exist")
    return paths, problems


def _unquoted(base: Path, word: str) -> Path | None:
    while word:
        path = _existing(base, word)
        if path is not None or word[-1] not in _CLOSING:
            return path
        word = word[:-1]
    return None


def _existing(base: Path, name: str) -> Path | None:
    if set(name) <= {".", "/", "\\"}:  # `@.` is a slip of the finger more often than a folder
        return None
    try:
        path = base / Path(name).expanduser()
        return path if path.exists() else None
    except (OSError, ValueError, RuntimeError):  # too long, a NUL inside, no such user
        return None
