"""A conversation's KV cells in a file, so that it goes on at once the next time.

Layout: magic, length of a JSON head (u32, little-endian), the head, token ids (i32 each), and llama.cpp's own
bytes for the cells. The head names the model, the settings that shape the cells, and the SHA-256 of what
follows; the library trusts these bytes with sizes, so nothing reaches it before all of that fits.
"""

from __future__ import annotations

import array
import hashlib
import json
import os
import struct
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from phi4local.errors import SavedStateError
from phi4local.files import new_file

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from phi4local.engine.cache import AdapterKey

MOST_BYTES = 512 * 2**20
"""Larger states are refused unless the caller allows them: a disk fills quickly with them."""
_MAGIC = b"phi4local KV 1\n"
_HEAD_LENGTH = struct.Struct("<I")
_MOST_HEAD_BYTES = 64 * 2**10
_MOST_TOKENS = 2**24
_TOKEN_BYTES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class StateIdentity:
    """What must be the same when cells are put back.

    Attributes:
        model: SHA-256 over samples of the model file, see `sample_digest`.
        kv_type: element type of the cache.
        flash_attention: whether the fused kernel was asked for; it changes how values lie in memory.
        library: version of llama.cpp's binding; its format has no stable form.
    """

    model: str
    kv_type: str
    flash_attention: bool | None
    library: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedState:
    """The cells of one sequence.

    Attributes:
        tokens: the ids that they belong to.
        adapters: digests and scales that they were computed with.
        exact_tokens: how many were never moved; `None` for all.
        long: whether they were computed with LongRoPE's long factors.
        streams: KV streams of the context; llama.cpp puts cells back only into one with as many.
        cells: llama.cpp's bytes.
    """

    tokens: Sequence[int]
    adapters: AdapterKey
    exact_tokens: int | None
    long: bool
    streams: int
    cells: bytearray | memoryview


def sample_digest(path: Path, *, block_bytes: int = 2**16, blocks: int = 256) -> str:
    """Return the SHA-256 of a file's size and of blocks spread over it, the first and the last included.

    Reading a 9 GB model whole takes longer than evaluating the prompt that is saved. 16 MiB tell one model
    from another; they do not protect against somebody who changes a byte on purpose.
    """
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        for number in range(blocks):
            file.seek((size - block_bytes) * number // (blocks - 1) if size > block_bytes else 0)
            digest.update(file.read(block_bytes))
    return digest.hexdigest()


def write_saved(path: Path, identity: StateIdentity, state: SavedState, *, most_bytes: int) -> int:
    """Write a state, replacing the file; return its size in bytes.

    Raises:
        SavedStateError: more than `most_bytes`.
        FileWriteError: the operating system refused.
    """
    tokens = _little_endian(array.array("i", state.tokens))
    digest = hashlib.sha256(tokens)
    digest.update(state.cells)
    head = json.dumps(
        {
            "identity": asdict(identity),
            "tokens": len(state.tokens),
            "adapters": state.adapters,
            "exact_tokens": state.exact_tokens,
            "long": state.long,
            "streams": state.streams,
            "cell_bytes": len(state.cells),
            "sha256": digest.hexdigest(),
        }
    ).encode()
    parts = (_MAGIC, _HEAD_LENGTH.pack(len(head)), head, tokens, state.cells)
    size = sum(len(part) for part in parts)
    if size > most_bytes:
        raise SavedStateError(
            path,
            f"would have {size:,} bytes; {most_bytes:,} are allowed",
            hint="allow more with `most_bytes`, or load the model with a smaller KV cache type",
        )
    with new_file(path, overwrite=True, size_bytes=size) as file:
        if hasattr(os, "fchmod"):
            os.fchmod(file.fileno(), 0o600)  # whoever reads it knows what was said
        for part in parts:
            file.write(part)
    return size


def read_saved(path: Path, identity: StateIdentity) -> SavedState:
    """Read a state and check it against the model and the settings that it is for.

    Raises:
        SavedStateError: not a saved state, damaged, or of another model or other settings.
    """
    try:
        data = bytearray(path.stat().st_size)
        with path.open("rb") as file:
            file.readinto(data)
    except OSError as error:
        raise SavedStateError(path, f"cannot be read: {error.strerror or error}") from error
    head, start = _read_head(path, data)
    _compare(path, head["identity"], identity)
    tokens_end = start + _TOKEN_BYTES * head["tokens"]
    if len(data) != tokens_end + head["cell_bytes"]:
        raise SavedStateError(path, f"has {len(data):,} bytes, not {tokens_end + head['cell_bytes']:,}")
    if hashlib.sha256(memoryview(data)[start:]).hexdigest() != head["sha256"]:
        raise SavedStateError(path, "is damaged: its SHA-256 is another one")
    tokens = array.array("i", data[start:tokens_end])
    if sys.byteorder == "big":
        tokens.byteswap()
    return SavedState(
        tokens=tokens.tolist(),
        adapters=tuple((str(digest), float(scale)) for digest, scale in head["adapters"]),
        exact_tokens=head["exact_tokens"],
        long=head["long"],
        streams=head["streams"],
        cells=memoryview(data)[tokens_end:],
    )


def _read_head(path: Path, data: bytearray) -> tuple[dict[str, Any], int]:
    start = len(_MAGIC) + _HEAD_LENGTH.size
    if not data.startswith(_MAGIC) or len(data) < start:
        raise SavedStateError(path, "is no saved conversation")
    (length,) = _HEAD_LENGTH.unpack(data[len(_MAGIC) : start])
    try:
        head = json.loads(data[start : start + min(length, _MOST_HEAD_BYTES)])
        known = {
            "identity": dict(head["identity"]),
            "tokens": _whole(head["tokens"], _MOST_TOKENS),
            "cell_bytes": _whole(head["cell_bytes"], len(data)),
            "exact_tokens": None
            if head["exact_tokens"] is None
            else _whole(head["exact_tokens"], _MOST_TOKENS),
            "sha256": str(head["sha256"]),
            "long": bool(head["long"]),
            "streams": _whole(head["streams"], _MOST_TOKENS),
            "adapters": [(str(digest), float(scale)) for digest, scale in head["adapters"]],
        }
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise SavedStateError(path, "has a damaged head") from error
    return known, start + length


def _whole(value: object, most: int) -> int:
    if type(value) is not int or not 0 <= value <= most:
        raise ValueError(value)
    return value


def _compare(path: Path, found: dict[str, Any], wanted: StateIdentity) -> None:
    for name, value in asdict(wanted).items():
        if found.get(name) != value:
            raise SavedStateError(path, f"was saved with another {name.replace('_', ' ')}")


def _little_endian(numbers: array.array[int]) -> bytes:
    if sys.byteorder == "big":
        numbers = array.array(numbers.typecode, numbers)
        numbers.byteswap()
    return numbers.tobytes()
