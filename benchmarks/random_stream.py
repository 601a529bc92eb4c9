"""A random checkpoint that is never on a disk: its shard is made while the converter reads it.

Bytes depend on their place alone, so that a range may be read in pieces.
"""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.random_model import POOL_VALUES, Shape, write_small_files
from phi4local.convert import StreamedCheckpoint

if TYPE_CHECKING:
    from pathlib import Path

_SIGMA = 0.02


class RandomShard:
    """A safetensors file of bfloat16 weights with a standard deviation of 0.02; norms are about 1.

    Args:
        shape: of the model.
        seed: of the pool that all weights are taken from.

    Example: `RandomShard(Shape()).size_bytes` is 1.26e9.
    """

    def __init__(self, shape: Shape, *, seed: int = 0) -> None:
        header, offset = {}, 0
        self._vectors: list[tuple[int, int]] = []
        for name, dimensions in shape.tensors().items():
            size = 2 * int(np.prod(dimensions))
            place = [offset, offset + size]
            header[name] = {"dtype": "BF16", "shape": list(dimensions), "data_offsets": place}
            if len(dimensions) == 1:
                self._vectors.append((offset, offset + size))
            offset += size
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        self._head = struct.pack("<Q", len(text)) + text
        self.size_bytes = len(self._head) + offset
        pool = np.random.default_rng(seed).standard_normal(POOL_VALUES, dtype=np.float32)
        values = (pool * np.float32(_SIGMA)).view(np.uint32) >> 16
        self._pool = values.astype(np.uint16)
        self._ones = (np.float32(1) + np.float32(0.1) * pool[: 2**16]).view(np.uint32) >> 16

    def read(self, offset: int, count: int) -> bytes:
        """Return `count` bytes from `offset` on."""
        count = min(count, self.size_bytes - offset)
        head = self._head[offset : offset + count]
        if len(head) == count:
            return head
        begin = offset + len(head) - len(self._head)
        return head + self._weights(begin, count - len(head))

    def _weights(self, begin: int, count: int) -> bytes:
        first, last = begin // 2, -(-(begin + count) // 2)
        inside = any(low <= begin < high for low, high in self._vectors)
        pool = self._ones.astype(np.uint16) if inside else self._pool
        start = first % len(pool)
        pieces, wanted = [], last - first
        while wanted:
            piece = pool[start : start + wanted]
            pieces.append(piece)
            start, wanted = 0, wanted - len(piece)
        data = np.concatenate(pieces).tobytes()
        skipped = begin - 2 * first
        return data[skipped : skipped + count]

    def finish(self) -> None:
        """Do nothing: whatever was read is right."""

    def close(self) -> None:
        """Do nothing."""


def random_checkpoint(folder: Path, shape: Shape) -> StreamedCheckpoint:
    """Write the small files of a checkpoint into `folder`, and return it with a stream for its weights."""
    write_small_files(folder, shape)
    return StreamedCheckpoint(folder, {"model.safetensors": RandomShard(shape)})
