"""Rows of a checkpoint → rows of the output: read, check, store as the target type.

The unit of work is a chunk of whole rows, so memory does not depend on the size of a tensor. Whatever the
chunks, the bytes are the same: ggml's quantizers treat every row on its own.
"""

from __future__ import annotations

import math
import os
import threading
from contextlib import ExitStack
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Self

import numpy as np

from phi4local.convert import refusals
from phi4local.convert.kernels.choice import Work
from phi4local.convert.merged_rows import RowMerger
from phi4local.convert.quantizer import largest_magnitude, widen
from phi4local.convert.safetensors import ELEMENT_BYTES
from phi4local.convert.sources import ConfigTensor, JoinedTensor, MergedTensor
from phi4local.errors import CheckpointError, ConversionError, NonFiniteWeightError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from phi4local.convert.plan import PlannedTensor
    from phi4local.convert.quantizer import RowQuantizer
    from phi4local.convert.safetensors import SourceTensor
    from phi4local.convert.sources import Source
    from phi4local.convert.streamed import StreamedCheckpoint
    from phi4local.errors import UnstorableWeightError

CHUNK_ELEMENTS = 2**20
"""Most elements of a chunk: 4 MiB as float32. A single longer row makes a longer chunk."""


def chunks(tensor: PlannedTensor | Source, elements: int | None = None) -> Iterator[tuple[int, int]]:
    """Yield (first row, number of rows) until all rows of `tensor` are covered. A norm is one row.

    A chunk has at most `elements` and at most `CHUNK_ELEMENTS` weights, or one row.

    Example: Phi-4's `token_embd.weight` of (100352, 5120) → (0, 204), (204, 204), …
    """
    rows = math.prod(tensor.shape[:-1])
    step = max(1, min(elements or CHUNK_ELEMENTS, CHUNK_ELEMENTS) // tensor.shape[-1])
    for first in range(0, rows, step):
        yield first, min(step, rows - first)


class SourceReader:
    """The checkpoint's shards, open for reading at any offset from several threads.

    Reading, unlike mapping, keeps the process's memory small, and a shard that shrinks meanwhile is an error
    instead of a bus error.

    Args:
        streamed: shards that arrive from elsewhere; their rows must be asked for in their order.
    """

    def __init__(self, streamed: StreamedCheckpoint | None = None) -> None:
        self._streamed = streamed
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

    def passes(self, source: Source) -> bool:
        """Return whether the rows of `source` can be read only once."""
        return self._streamed is not None and self._streamed.holds(source.shard)

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
        if self._streamed is not None and self._streamed.holds(shard):
            data = self._streamed.stream(shard).read(offset, len(buffer))
            buffer[: len(data)] = data
            return len(data)
        with self._lock:
            if shard not in self._files:
                self._files[shard] = self._open_files.enter_context(shard.open("rb", buffering=0))
            file = self._files[shard]
            if not hasattr(os, "preadv"):
                file.seek(offset)
                return file.readinto(buffer)  # type: ignore[attr-defined, no-any-return]
        return os.preadv(file.fileno(), [buffer], offset)


def work_of(tensor: PlannedTensor) -> Work:
    """Return the kind of work that `tensor` is. Q8_0 in a GGUF file is widened to F32 first."""
    dtype = tensor.source.dtype
    source = "F32" if dtype == "Q8_0" and tensor.type != dtype else dtype
    return Work(source, tensor.type, tensor.column_weights is not None)


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows as they were read.

    Attributes:
        raw: their bytes.
        plain: the same as numbers, in the bytes of F32, F16 or BF16; `None` for types that are only copied.
        largest: the largest absolute value.
    """

    raw: NDArray[np.uint8]
    plain: NDArray[np.uint8] | None
    largest: float


def read_rows(tensor: PlannedTensor, reader: SourceReader, *, first: int, count: int) -> Rows:
    """Read `count` rows of the source of `tensor`, beginning with row `first`.

    Raises:
        NonFiniteWeightError: NaN or infinity in the tensor; counted over all of it.
        ConversionError: a block of a quantized tensor that is NaN or infinite.
        CheckpointError: the file cannot be read.
    """
    raw, dtype = reader.read(tensor.source, first=first, count=count), tensor.source.dtype
    if dtype not in ELEMENT_BYTES and not refusals.storable(raw, dtype).all():
        raise ConversionError(
            f"tensor `{tensor.source.name}` in `{tensor.source.shard}` holds NaN or infinity",
            hint="the file is damaged: download or convert it again",
        )
    if dtype not in (*ELEMENT_BYTES, "Q8_0"):
        return Rows(raw, None, 0.0)
    plain, dtype = (widen(raw, dtype).view(np.uint8), "F32") if dtype == "Q8_0" else (raw, dtype)
    largest = largest_magnitude(plain, dtype)
    if not np.isfinite(largest):
        raise _non_finite(tensor, reader)
    return Rows(raw, plain, largest)


def store_rows(
    rows: Rows, tensor: PlannedTensor, reader: SourceReader, quantizer: RowQuantizer
) -> NDArray[np.uint8]:
    """Return `rows` of `tensor` as they stand in the output.

    Raises:
        UnstorableWeightError: a weight that the target type cannot hold; `reader` is used to find all.
    """
    work = work_of(tensor)
    if rows.plain is None or tensor.type == tensor.source.dtype:
        return rows.raw
    if tensor.type == "F32":
        return widen(rows.plain, work.source).view(np.uint8)
    stored = None
    if rows.largest < _limit(tensor):
        stored = quantizer.store(work, rows.plain, tensor.shape[-1], tensor.column_weights)
    if stored is None or not refusals.storable(stored, tensor.type).all():
        raise _unstorable(tensor, reader, quantizer)
    return stored


def _limit(tensor: PlannedTensor) -> float:
    weights = tensor.column_weights
    return refusals.limit(tensor.type, 0.0 if weights is None else float(weights.max()))


def _unstorable(
    tensor: PlannedTensor, reader: SourceReader, quantizer: RowQuantizer
) -> UnstorableWeightError | ConversionError:
    if reader.passes(tensor.source):
        return ConversionError(
            f"tensor `{tensor.source.name}`: {tensor.type} cannot store some of its values",
            hint="choose BF16 or F32",
        )

    def pieces(part: Source) -> Iterator[tuple[int, NDArray[np.float32]]]:
        for first, count in chunks(part):
            values = widen(reader.read(part, first=first, count=count), part.dtype)
            yield first * part.shape[-1], values.reshape(count, -1)

    def store(values: NDArray[np.float32]) -> NDArray[np.uint8]:
        work = Work("F32", tensor.type, tensor.column_weights is not None)
        raw = values.reshape(-1).view(np.uint8)
        return quantizer.store(work, raw, tensor.shape[-1], tensor.column_weights)

    source = tensor.source
    for part in source.parts if isinstance(source, JoinedTensor) else (source,):
        error = refusals.unstorable(part.name, tensor.type, pieces(part), store, _limit(tensor))
        if error.count:
            break
    return error


def _non_finite(tensor: PlannedTensor, reader: SourceReader) -> NonFiniteWeightError | ConversionError:
    """Count NaN and infinity in the whole tensor; this path ends the conversion, so it may take its time."""
    source = tensor.source
    if reader.passes(source):
        return ConversionError(
            f"tensor `{source.name}` holds NaN or infinity",
            hint="the checkpoint is damaged or its training diverged; download or train it again",
        )
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
