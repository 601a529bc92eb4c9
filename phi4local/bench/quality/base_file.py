"""The base's log-probabilities in a file: llama-perplexity's format, read and written.

    "_logits_"                     8 bytes
    context_tokens                 int32, little-endian like everything else
    vocabulary_tokens              int32
    chunks                         int32
    tokens                         int32, (chunks, context_tokens)
    log-probabilities              uint16, (chunks, scored, stored_width), see `Scorer.store`
    "_losses_"                     8 bytes; llama-perplexity writes no more and does not read this
    losses                         float64, (chunks, scored): what 16 bits cannot hold

Source: `perplexity` and `kl_divergence` in tools/perplexity/perplexity.cpp of llama.cpp 0c1e57098, which are
called with `--kl-divergence-base FILE`.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Self

import numpy as np

from phi4local.bench.quality.chunks import FEWEST_CONTEXT_TOKENS, Chunks
from phi4local.bench.quality.scores import stored_width
from phi4local.errors import FileFormatError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

MAGIC, LOSSES_MAGIC = b"_logits_", b"_losses_"
_NUMBERS = struct.Struct("<3i")
_HINT = "make it with `--save-base`, or with llama-perplexity's `--kl-divergence-base`"


@dataclass(frozen=True, slots=True)
class BaseShape:
    """Sizes of a file. Example: 512 tokens of context, 99 chunks, a vocabulary of 8,192 → 414 MB."""

    context_tokens: int
    vocabulary_tokens: int
    chunks: int

    @property
    def scored(self) -> int:
        """Positions of a chunk that have log-probabilities."""
        return self.context_tokens - 1 - self.context_tokens // 2

    @property
    def tokens_offset(self) -> int:
        """Where the tokens begin."""
        return len(MAGIC) + _NUMBERS.size

    @property
    def row_offset(self) -> int:
        """Where the log-probabilities begin."""
        return self.tokens_offset + 4 * self.chunks * self.context_tokens

    @property
    def losses_offset(self) -> int:
        """Where llama-perplexity's part ends."""
        return self.row_offset + 2 * self.chunks * self.scored * stored_width(self.vocabulary_tokens)

    @property
    def file_bytes(self) -> int:
        """Size of a file that phi4local wrote."""
        return self.losses_offset + len(LOSSES_MAGIC) + 8 * self.chunks * self.scored


def base_shape(path: Path) -> BaseShape:
    """Return the sizes of a file.

    Raises:
        FileFormatError: as `BaseFile`.
    """
    with BaseFile(path) as base:
        return base.shape


class BaseWriter:
    """Writes a file in order: the tokens, then position after position.

    Args:
        file: open for writing, empty.
        chunks: the whole text.
        vocabulary_tokens: of the model.
    """

    def __init__(self, file: IO[bytes], chunks: Chunks, vocabulary_tokens: int) -> None:
        self._file = file
        shape = BaseShape(chunks.context_tokens, vocabulary_tokens, len(chunks))
        file.write(MAGIC + _NUMBERS.pack(shape.context_tokens, vocabulary_tokens, shape.chunks))
        file.write(chunks.tokens.astype("<i4").tobytes())

    def add(self, stored: NDArray[np.uint16]) -> None:
        """Write the next positions, `(positions, stored_width)`."""
        self._file.write(stored.astype("<u2", copy=False).data)

    def finish(self, losses: NDArray[np.float64]) -> None:
        """Write the exact losses of all positions."""
        self._file.write(LOSSES_MAGIC + losses.astype("<f8").tobytes())


class BaseFile:
    """A file that is there, checked, and read chunk by chunk.

    Attributes:
        shape: its sizes.
        chunks: the text.
        losses: exact losses of the base, `(chunks * scored,)`; `None` in a file of llama-perplexity.

    Raises:
        FileFormatError: not such a file, cut off, or with impossible sizes.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._file = path.open("rb")
        except OSError as error:
            problem = (error.strerror or str(error)).lower()
            raise FileFormatError(path, problem, hint=_HINT) from error
        try:
            self.shape = self._read_shape()
            self.chunks = self._read_chunks()
            self.losses = self._read_losses()
        except BaseException:
            self._file.close()
            raise

    def _read_shape(self) -> BaseShape:
        head = self._file.read(len(MAGIC) + _NUMBERS.size)
        if len(head) < len(MAGIC) + _NUMBERS.size or not head.startswith(MAGIC):
            raise FileFormatError(self._path, "holds no log-probabilities of a base", hint=_HINT)
        shape = BaseShape(*_NUMBERS.unpack(head[len(MAGIC) :]))
        size_bytes = os.fstat(self._file.fileno()).st_size
        if shape.context_tokens < FEWEST_CONTEXT_TOKENS or min(shape.vocabulary_tokens, shape.chunks) < 1:
            raise FileFormatError(self._path, f"has impossible sizes: {shape}", hint=_HINT)
        if size_bytes < shape.losses_offset:
            problem = f"has {size_bytes:,} bytes of {shape.losses_offset:,}: it was cut off"
            raise FileFormatError(self._path, problem, hint=_HINT)
        return shape

    def _read_chunks(self) -> Chunks:
        count = self.shape.chunks * self.shape.context_tokens
        tokens = np.fromfile(self._file, "<i4", count).astype(np.int32)
        if tokens.min() < 0 or tokens.max() >= self.shape.vocabulary_tokens:
            raise FileFormatError(self._path, "holds tokens outside its vocabulary", hint=_HINT)
        return Chunks(tokens.reshape(self.shape.chunks, self.shape.context_tokens))

    def _read_losses(self) -> NDArray[np.float64] | None:
        self._file.seek(self.shape.losses_offset)
        if self._file.read(len(LOSSES_MAGIC)) != LOSSES_MAGIC:
            return None
        losses = np.fromfile(self._file, "<f8", self.shape.chunks * self.shape.scored).astype(np.float64)
        return losses if len(losses) == self.shape.chunks * self.shape.scored else None

    def rows(self, start: int, count: int) -> NDArray[np.uint16]:
        """Return stored positions, `(count, stored_width)`, counted through all chunks."""
        width = stored_width(self.shape.vocabulary_tokens)
        self._file.seek(self.shape.row_offset + 2 * start * width)
        rows = np.fromfile(self._file, "<u2", count * width)
        if len(rows) < count * width:
            raise FileFormatError(self._path, "became shorter while it was read", hint=_HINT)
        return rows.reshape(count, width)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
