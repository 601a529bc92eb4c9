"""Rows of a checkpoint → rows of the output: read, check, store as the target type.

The unit of work is a chunk of whole rows, so memory does not depend on the size of a tensor. Whatever the
chunks, the bytes are the same: ggml's quantizers treat every row on its own.
"""

from __future__ import annotations

import math
import os
import threading
from contextlib import ExitStack
from typing import IO, TYPE_CHECKING, Self

import numpy as np

from phi4local.convert import refusals
from phi4local.convert.kernels.choice import Work
from phi4local.convert.merged_rows import RowMerger
from phi4local.convert.quantizer import largest_magnitude, widen
from phi4local.convert.sources import ConfigTensor, JoinedTensor, MergedTensor
from phi4local.errors import CheckpointError, NonFiniteWeightError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from phi4local.convert.plan import PlannedTensor
    from phi4local.convert.quantizer import RowQuantizer
    from phi4local.convert.safetensors import SourceTensor
    from phi4local.convert.sources import Source
    from phi4local.errors import UnstorableWeightError

CHUNK_ELEMENTS = 2**20
"""Elements of a chunk: 4 MiB as float32. A single longer row makes a longer chunk."""


def chunks(tensor: PlannedTensor | Source) -> Iterator[tuple[int, int]]:
    """Yield (first row, number of rows) until all rows of `tensor` are covered. A norm is one row.

    Example: Phi-4's `token_embd.weight` of (100352, 5120) → (0, 204), (204, 204), …
    """
    rows = math.prod(tensor.shape[:-1])
    step = max(1, CHUNK_ELEMENTS // tensor.shape[-1])
    for first in range(0, rows, step):
        yield first, min(step, rows - first)


class SourceReader:
    """The checkpoint's shards, open for reading at any offset from several threads.

    Reading, unlike mapping, keeps the process's memory small, and a shard that shrinks meanwhile is an error
    instead of a bus error.
    """

    def __init__(self) -> None:
        self._files: dict[Path, IO[bytes]] = {}
        self._open_files = ExitStack()
        self._lock = threading.Lock()
        self._merger = RowMerger(self._read_whole)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open_files.close()

    def read(self, source: Source, *, first: int, count: int) -> NDArray[np.uint8]:
        """Return the bytes of `count` rows of `source`, beginning with row `first`.

        Raises:
            CheckpointError: the shard cannot be read, or ended early.
            AdapterError: an adapter to merge holds NaN or infinity.
        """
        if isinstance(source, ConfigTensor):
            return np.array(source.values, "<f4").view(np.uint8)
        if isinstance(source, JoinedTensor):
            return self._read_joined(source, first, count)
        if isinstance(source, MergedTensor):
            rows = widen(self.read(source.base, first=first, count=count), source.base.dtype)
            return self._merger.merge(source, rows.reshape(count, -1), first).reshape(-1).view(np.uint8)
        row_bytes = source.size_bytes // math.prod(source.shape[:-1])
        data = np.empty(count * row_bytes, np.uint8)
        rest, offset = data.data, source.offset + first * row_bytes
        try:
            while rest:
                found = self._read_some(source.shard, rest, offset)
                if found == 0:
                    raise CheckpointError(source.shard, f"ended at byte {offset:,} while it was read")
                rest, offset = rest[found:], offset + found
        except OSError as error:
            raise CheckpointError(source.shard, f"cannot be read: {error.strerror or error}") from error
        return data

    def _read_whole(self, source: SourceTensor) -> NDArray[np.uint8]:
        return self.read(source, first=0, count=math.prod(source.shape[:-1]))

    def _read_joined(self, source: JoinedTensor, first: int, count: int) -> NDArray[np.uint8]:
        pieces, last, begin = [], first + count, 0
        for part in source.parts:
            end = begin + part.shape[0]
            if first < end and begin < last:
                low, high = max(first, begin) - begin, min(last, end) - begin
                piece = self.read(part, first=low, count=high - low)
                same = part.dtype == source.dtype
                pieces.append(piece if same else widen(piece, part.dtype).view(np.uint8))
            begin = end
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)

    def _read_some(self, shard: Path, buffer: memoryview, offset: int) -> int:
        with self._lock:
            if shard not in self._files:
                self._files[shard] = self._open_files.enter_context(shard.open("rb", buffering=0))
            file = self._files[shard]
            if not hasattr(os, "preadv"):
                file.seek(offset)
                return file.readinto(buffer)  # type: ignore[attr-defined, no-any-return]
        return os.preadv(file.fileno(), [buffer], offset)


def convert_rows(
    tensor: PlannedTensor, reader: SourceReader, quantizer: RowQuantizer, *, first: int, count: int
) -> NDArray[np.uint8]:
    """Return `count` rows of `tensor` as they stand in the output, beginning with row `first`.

    Raises:
        NonFiniteWeightError: NaN or infinity in the tensor; counted over all of it.
        UnstorableWeightError: a weight that the target type cannot hold.
        CheckpointError: the shard cannot be read.
    """
    raw = reader.read(tensor.source, first=first, count=count)
    largest = largest_magnitude(raw, tensor.source.dtype)
    if not np.isfinite(largest):
        raise _non_finite(tensor, reader)
    if tensor.type == tensor.source.dtype:
        return raw
    if tensor.type == "F32":
        return widen(raw, tensor.source.dtype).view(np.uint8)
    stored = None
    if largest < _limit(tensor.type):
        stored = quantizer.store(Work(tensor.source.dtype, tensor.type), raw, tensor.shape[-1])
    if stored is None or not refusals.storable(stored, tensor.type).all():
        raise _unstorable(tensor, reader, quantizer)
    return stored


def _limit(type_name: str) -> float:
    if type_name == "F16":
        return refusals.F16_OVERFLOW
    return refusals.QUANTIZED_OVERFLOW if type_name in refusals.SCALE_OFFSETS else np.inf


def _unstorable(
    tensor: PlannedTensor, reader: SourceReader, quantizer: RowQuantizer
) -> UnstorableWeightError:
    def pieces(part: Source) -> Iterator[tuple[int, NDArray[np.float32]]]:
        for first, count in chunks(part):
            values = widen(reader.read(part, first=first, count=count), part.dtype)
            yield first * part.shape[-1], values.reshape(count, -1)

    def store(values: NDArray[np.float32]) -> NDArray[np.uint8]:
        return quantizer.store(Work("F32", tensor.type), values.reshape(-1).view(np.uint8), tensor.shape[-1])

    source = tensor.source
    for part in source.parts if isinstance(source, JoinedTensor) else (source,):
        error = refusals.unstorable(part.name, tensor.type, pieces(part), store)
        if error.count:
            break
    return error


def _non_finite(tensor: PlannedTensor, reader: SourceReader) -> NonFiniteWeightError:
    """Count NaN and infinity in the whole tensor; this path ends the conversion, so it may take its time."""
    source = tensor.source
    for part in source.parts if isinstance(source, JoinedTensor) else (source,):
        found, first_index = 0, -1
        for first, count in chunks(part):
            values = widen(reader.read(part, first=first, count=count), part.dtype)
            places = np.flatnonzero(~np.isfinite(values))
            if places.size and first_index < 0:
                first_index = first * part.shape[-1] + int(places[0])
            found += int(places.size)
        if found:
            break
    return NonFiniteWeightError(part.name, found, first_index)
