"""Read a JSON file that a stranger wrote: bounded, UTF-8, an object, no key twice, no NaN."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NoReturn

from phi4local.errors import CheckpointError

if TYPE_CHECKING:
    from pathlib import Path

MEBIBYTE = 2**20


def read_object(path: Path, *, limit_bytes: int = 16 * MEBIBYTE) -> dict[str, Any]:
    """Return the JSON object in `path`.

    Example: a `config.json` of `{"hidden_size": 256}` → `{"hidden_size": 256}`.

    Raises:
        CheckpointError: unreadable, larger than `limit_bytes`, or not such an object.
    """
    return parse_object(read_bytes(path, limit_bytes=limit_bytes), path)


def read_bytes(path: Path, *, limit_bytes: int) -> bytes:
    """Return what is in the regular file `path`, at most `limit_bytes`.

    Raises:
        CheckpointError: unreadable, no regular file, or larger.
    """
    try:
        if not path.is_file():
            raise CheckpointError(path, "it is missing or not a regular file")
        with path.open("rb") as file:
            content = file.read(limit_bytes + 1)
    except OSError as error:
        raise CheckpointError(path, f"cannot be read: {error.strerror or error}") from error
    if len(content) > limit_bytes:
        raise CheckpointError(path, f"is larger than {limit_bytes:,} bytes")
    return content


def parse_object(content: bytes, path: Path) -> dict[str, Any]:
    """Return the JSON object that `content` spells; `path` is named when it does not.

    Raises:
        CheckpointError: not UTF-8, not JSON, nested too deeply, no object, a key twice, half a surrogate
            pair, or NaN or infinity.
    """
    try:
        value = json.loads(
            content.decode("utf-8"), object_pairs_hook=_without_duplicates, parse_constant=_refuse_constant
        )
    except RecursionError as error:
        raise CheckpointError(path, "its JSON is nested too deeply") from error
    except UnicodeDecodeError as error:
        raise CheckpointError(path, f"is not UTF-8 text (byte {error.start:,})") from error
    except ValueError as error:
        raise CheckpointError(path, f"is not valid JSON: {shown(str(error))}") from error
    if not isinstance(value, dict):
        raise CheckpointError(path, "is not a JSON object")
    if b"\\ud" in content.lower() and _holds_half_a_character(value):
        raise CheckpointError(path, "is not valid JSON: half of a UTF-16 pair stands alone")
    return value


def _holds_half_a_character(value: object) -> bool:
    """Return whether a text in `value` cannot be written as UTF-8; no other JSON reader takes such a file."""
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        return True
    return False


def shown(value: object) -> str:
    """Return `value` for a message, at most 80 characters.

    Example: a text of 200 `a` → 79 `a` and `…`.
    """
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 80 else text[:79] + "…"


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key `{shown(twice)}` occurs twice")
    return values


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")
