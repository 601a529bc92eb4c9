"""Models in several files, as llama.cpp splits them: `name-00001-of-00003.gguf` and so on.

The first file has all keys; every file has `split.no`, `split.count`, `split.tensors.count` and its own
tensors. llama.cpp wants to be given the first file and finds the others by their names.
Source: src/llama-model-loader.cpp and `llama_split_path` in src/llama.cpp of llama.cpp 0c1e57098.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from phi4local.errors import GGUFError
from phi4local.gguf.cursor import shown
from phi4local.gguf.fields import require_type
from phi4local.gguf.header import Header, read_header

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MAX_PARTS = 512
"""Most files of a model; Phi-4 in parts of 256 MB has 115."""

_NAME = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.gguf", re.DOTALL)


def read_parts(path: Path, *, read: Callable[[Path], Header] = read_header) -> Header:
    """Read the header of a model in one file or in several.

    Args:
        path: the file, or the first of them.
        read: reads one of them; another one than `read_header` where they are not on this machine.

    Returns:
        The header of `path`. If it is the first of several, it has the tensors of all of them, `file_bytes`
        counts all of them, and `parts` holds each part's own header; a tensor's offset is that of its part.

    Example: `read_parts(Path("phi-4-00001-of-00003.gguf")).parts[2].path` → `phi-4-00003-of-00003.gguf`.

    Raises:
        GGUFError: damaged; a part that is missing or belongs to another model; not the first part.
    """
    first = read(path)
    count = _number(first, "split.count") if "split.count" in first.metadata else 1
    if count <= 1:
        return first
    if count > MAX_PARTS:
        raise GGUFError(path, f"is one of {count:,} parts; at most {MAX_PARTS:,} are read")
    paths = _paths(first, count)
    others = list(enumerate(paths))[1:]
    if read is read_header:
        _require_beside(first, [part for _, part in others])
    parts = (first, *(_checked_part(read(part), number, count) for number, part in others))
    return _joined(parts)


def _number(header: Header, key: str) -> int:
    if key not in header.metadata:
        raise GGUFError(header.path, f"`{key}` is missing")
    value = require_type(header, key, "i32" if key == "split.tensors.count" else "u16")
    return value if isinstance(value, int) else 0


def _paths(first: Header, count: int) -> list[Path]:
    """Return the names of all parts; `first` must be the first of them."""
    number = _number(first, "split.no")
    found = _NAME.fullmatch(first.path.name)
    if found is None or (int(found[2]), int(found[3])) != (number + 1, count):
        raise GGUFError(
            first.path,
            f"is part {number + 1} of {count}, which its name does not say",
            hint=f"llama.cpp finds the parts by their names: NAME-00001-of-{count:05d}.gguf and so on",
        )
    paths = [first.path.with_name(f"{found[1]}-{part + 1:05d}-of-{count:05d}.gguf") for part in range(count)]
    if number:
        raise GGUFError(
            first.path, f"is part {number + 1} of {count}", hint=f"give the first one, `{paths[0].name}`"
        )
    return paths


def _require_beside(first: Header, others: list[Path]) -> None:
    for path in others:
        if not path.is_file():
            raise GGUFError(
                first.path,
                f"is part 1 of {len(others) + 1}, and `{path.name}` is not beside it",
                hint="put all parts into one folder, under the names that they were made with",
            )


def _checked_part(part: Header, number: int, count: int) -> Header:
    for key, expected in (("split.no", number), ("split.count", count)):
        if _number(part, key) != expected:
            raise GGUFError(part.path, f"`{key}` is {part.get(key)}; expected {expected}", hint=_MIXED)
    return part


_MIXED = "the parts are of different models, or were renamed: download or convert them again"


def _joined(parts: tuple[Header, ...]) -> Header:
    first = parts[0]
    tensors = {}
    for part in parts:
        if not part.tensors:
            raise GGUFError(part.path, "is a part without tensors", hint=_MIXED)
        for tensor in part.tensors:
            if tensor.name in tensors:
                raise GGUFError(part.path, f"tensor `{shown(tensor.name)}` stands in two parts", hint=_MIXED)
            tensors[tensor.name] = tensor
    announced = _number(first, "split.tensors.count")
    if announced != len(tensors):
        raise GGUFError(
            first.path,
            f"`split.tensors.count` is {announced:,}; the parts have {len(tensors):,}",
            hint=_MIXED,
        )
    return replace(
        first,
        alignment=min(part.alignment for part in parts),
        tensors=tuple(tensors.values()),
        file_bytes=sum(part.file_bytes for part in parts),
        parts=parts,
    )
