"""Read an importance matrix: how much an error in each input column of each tensor matters.

llama-imatrix runs a model over text and sums the squares of what enters each matrix. It writes a GGUF file
(`NAME.in_sum2`, `NAME.counts`), and did write a format of its own, `.dat`, until 2025. Both are read, with
the arithmetic of llama-quantize, so that the quantizers get the same numbers.

Source: `common_imatrix_load` in common/imatrix-loader.cpp, `load_imatrix` in tools/quantize/quantize.cpp of
llama.cpp 0c1e57098.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from phi4local import gguf
from phi4local.convert.metadata import MetadataEntry
from phi4local.convert.strict_json import shown
from phi4local.errors import FileFormatError, GGUFError

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

MAXIMUM_BYTES = 256 * 2**20
"""Phi-4's matrix has 5 MB."""

_HINT = "give a file that llama-imatrix wrote for this model, or leave `--imatrix` out"
_SUMS, _COUNTS = ".in_sum2", ".counts"
_KEYS = ("imatrix.datasets", "imatrix.chunk_count", "imatrix.chunk_size")
_LONGEST_NAME = 4096
_STORED_TEXT_BYTES = 127  # llama_model_kv_override keeps a text in 128 bytes, one of them zero


@dataclass(frozen=True, slots=True)
class Imatrix:
    """An importance matrix.

    Attributes:
        path: the file, as it was named.
        columns: by the GGUF name of a tensor, float32 of (elements of a row,), finite and not below zero.
        dataset: the text that it was computed on; "" if the file does not say.
        chunks: pieces of text that it was computed on; 0 if the file does not say.
    """

    path: Path
    columns: dict[str, NDArray[np.float32]] = field(repr=False)
    dataset: str = ""
    chunks: int = 0

    def metadata(self) -> tuple[MetadataEntry, ...]:
        """Return the keys that tell where the numbers came from, as llama-quantize writes them.

        Example: a matrix of Phi-4 → `quantize.imatrix.file` "phi-4.imatrix", `.dataset` "calibration.txt",
        `.entries_count` 160, `.chunks_count` 125. Texts are cut to 127 bytes.
        """
        entries = [MetadataEntry("quantize.imatrix.file", "str", _cut(str(self.path)))]
        if self.dataset:
            entries.append(MetadataEntry("quantize.imatrix.dataset", "str", _cut(self.dataset)))
        entries.append(MetadataEntry("quantize.imatrix.entries_count", "u32", len(self.columns)))
        if self.chunks > 0:
            entries.append(MetadataEntry("quantize.imatrix.chunks_count", "u32", self.chunks))
        return tuple(entries)


def read_imatrix(path: Path) -> Imatrix:
    """Read the importance matrix in `path`, a GGUF file or the older format.

    Example: `read_imatrix(Path("phi-4.imatrix")).columns["blk.0.attn_qkv.weight"].shape` → (5120,).

    Raises:
        FileFormatError: no such file, damaged, empty, or values that no sum of squares can have.
    """
    try:
        size_bytes = path.stat().st_size
        if not path.is_file():
            raise _refused(path, "is no regular file")
        if size_bytes > MAXIMUM_BYTES:
            raise _refused(path, f"has {size_bytes:,} bytes; at most {MAXIMUM_BYTES:,} are read")
        data = path.read_bytes()
    except OSError as error:
        raise _refused(path, f"cannot be read: {error.strerror or error}") from error
    except ValueError as error:  # a NUL in the name
        raise _refused(path, f"cannot be a file name: {error}") from error
    found = _read_gguf(path, data) if data[:4] == b"GGUF" else _read_legacy(path, data)
    if not found.columns:
        raise _refused(path, "holds no entries")
    for name, columns in found.columns.items():
        _check_values(path, name, columns)
    return found


def _refused(path: Path, problem: str) -> FileFormatError:
    return FileFormatError(path, problem, hint=_HINT)


def _read_gguf(path: Path, data: bytes) -> Imatrix:
    try:
        header = gguf.read_header(path)
    except GGUFError as error:
        raise _refused(path, error.problem) from error
    if header.get("general.type") != "imatrix" and any(key not in header.metadata for key in _KEYS):
        raise _refused(path, "is a GGUF file without an importance matrix")
    for key in _KEYS:
        if key not in header.metadata:
            raise _refused(path, f"`{key}` is missing")
    pairs: dict[str, dict[str, NDArray[np.float32]]] = {}
    for tensor in header.tensors:
        for suffix in (_SUMS, _COUNTS):
            if tensor.name.endswith(suffix):
                found = pairs.setdefault(tensor.name.removesuffix(suffix), {})
                found[suffix] = _floats(header, tensor, data)
    columns = {name: _average(path, name, pair) for name, pair in pairs.items()}
    datasets, chunks = header.get("imatrix.datasets"), header.get("imatrix.chunk_count")
    first = datasets[0] if isinstance(datasets, tuple) and datasets else ""
    return Imatrix(
        path,
        columns,
        dataset=first if isinstance(first, str) else "",
        chunks=chunks if isinstance(chunks, int) and chunks < 2**31 else 0,
    )


def _floats(header: gguf.Header, tensor: gguf.TensorInfo, data: bytes) -> NDArray[np.float32]:
    import numpy as np

    if tensor.type.name != "F32":
        raise _refused(header.path, f"`{shown(tensor.name)}` has the type {tensor.type.name}; expected F32")
    begin = header.data_offset + tensor.offset
    return np.frombuffer(data, "<f4", tensor.size_bytes // 4, begin)


def _average(path: Path, name: str, pair: dict[str, NDArray[np.float32]]) -> NDArray[np.float32]:
    """Divide each matrix's sums by its count; a matrix that saw no token gets ones."""
    import numpy as np

    if len(pair) < 2:
        raise _refused(path, f"`{shown(name)}` has sums or counts, but not both")
    sums, counts = pair[_SUMS], pair[_COUNTS]
    if not counts.size or sums.size % counts.size:
        raise _refused(path, f"`{shown(name)}` has {sums.size} sums for {counts.size} counts")
    if not np.isfinite(counts).all() or (counts < 0).any() or (counts > 2**53).any():
        raise _refused(path, f"`{shown(name)}` has a count that is no number of tokens")
    averages = np.ones((counts.size, sums.size // counts.size), np.float32)
    for row, part, count in zip(averages, sums.reshape(counts.size, -1), counts, strict=True):
        whole = math.floor(float(count) + 0.5)  # C's lround
        if whole > 0:
            row[:] = part / np.float32(whole)
    return averages.reshape(-1)


class _Reader:
    """Little-endian numbers and bytes, front to back; every length is compared with what is left."""

    def __init__(self, path: Path, data: bytes) -> None:
        self._path, self._data, self._position = path, data, 0

    @property
    def rest(self) -> int:
        return len(self._data) - self._position

    def number(self) -> int:
        return int(struct.unpack("<i", self.take(4))[0])

    def take(self, count: int) -> bytes:
        if not 0 <= count <= self.rest:
            raise _refused(self._path, f"ends or is damaged at byte {self._position:,}")
        begin = self._position
        self._position += count
        return self._data[begin : self._position]

    def text(self) -> str:
        length = self.number()
        if not 0 <= length <= _LONGEST_NAME:
            raise _refused(self._path, f"is no importance matrix: a name of {length:,} bytes")
        return self.take(length).partition(b"\0")[0].decode("utf-8", "replace")


def _read_legacy(path: Path, data: bytes) -> Imatrix:
    """Read: entries, then for each its name, calls, values; then calls of all and the dataset's name."""
    import numpy as np

    reader = _Reader(path, data)
    entries = reader.number()
    if not 1 <= entries <= reader.rest // 16:
        raise _refused(path, "is no importance matrix, neither in GGUF nor in the older format")
    columns: dict[str, NDArray[np.float32]] = {}
    for _ in range(entries):
        name, calls, values = reader.text(), reader.number(), reader.number()
        if values < 1:
            raise _refused(path, f"`{shown(name)}` has {values} values")
        sums = np.frombuffer(reader.take(4 * values), "<f4")
        columns[name] = np.divide(sums, np.float32(max(calls, 1)), dtype=np.float32)
    chunks = reader.number() if reader.rest >= 4 else 0
    dataset = reader.text() if reader.rest >= 4 else ""
    return Imatrix(path, columns, dataset=dataset, chunks=max(chunks, 0))


def _check_values(path: Path, name: str, columns: NDArray[np.float32]) -> None:
    import numpy as np

    bad = ~np.isfinite(columns) | (columns < 0)
    if bad.any():
        first = int(np.flatnonzero(bad)[0])
        raise _refused(
            path,
            f"`{shown(name)}` holds {columns[first]:g} at column {first}; "
            "a mean of squares is finite and not below zero",
        )


def _cut(text: str) -> str:
    raw = text.encode("utf-8", "replace")
    return raw[:_STORED_TEXT_BYTES].decode("utf-8", "ignore")
