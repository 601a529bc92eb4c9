"""Write an importance matrix as llama-imatrix does, so that every quantizer can read it.

Source: `save_imatrix` in tools/imatrix/imatrix.cpp of llama.cpp 0c1e57098.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from phi4local import files
from phi4local.convert.metadata import MetadataEntry
from phi4local.convert.writer import header, padded

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


@dataclass(slots=True)
class Sums:
    """Sums of squares of what enters each matrix.

    Attributes:
        squares: by the GGUF name of the matrix, float64, (elements of a row,).
        tokens: by the same name, how many rows were added up.
        chunks: pieces of text that were evaluated.
    """

    squares: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    tokens: dict[str, int] = field(default_factory=dict)
    chunks: int = 0

    def add(self, name: str, rows: NDArray[np.float32]) -> None:
        """Add rows, (tokens, elements of a row)."""
        found = np.einsum("tc,tc->c", rows, rows, dtype=np.float64)
        if name in self.squares:
            self.squares[name] += found
        else:
            self.squares[name] = found
        self.tokens[name] = self.tokens.get(name, 0) + len(rows)


def write_imatrix(
    path: Path, sums: Sums, *, dataset: str, chunk_tokens: int, more: tuple[MetadataEntry, ...] = ()
) -> None:
    """Write `sums` to the GGUF file `path`; an existing file is replaced.

    Args:
        path: the final name.
        sums: of all chunks.
        dataset: name of the text.
        chunk_tokens: tokens of a chunk.
        more: further keys.

    Example: Phi-4's file has 160 pairs `NAME.in_sum2` and `NAME.counts`, 5 MB.

    Raises:
        FileWriteError: the operating system refused.
    """
    names = sorted(sums.squares)
    arrays = []
    for name in names:
        arrays.append((f"{name}.in_sum2", sums.squares[name].astype("<f4")))
        arrays.append((f"{name}.counts", np.array([sums.tokens[name]], "<f4")))
    metadata = (
        MetadataEntry("general.type", "str", "imatrix"),
        MetadataEntry("imatrix.datasets", "[str]", (dataset,)),
        MetadataEntry("imatrix.chunk_count", "u32", sums.chunks),
        MetadataEntry("imatrix.chunk_size", "u32", chunk_tokens),
        *more,
    )
    table = [(name, (values.size,), "F32", values.nbytes) for name, values in arrays]
    with files.new_file(path, overwrite=True) as file:
        file.write(header(metadata, table))
        for _, values in arrays:
            file.write(values.tobytes())
            file.write(bytes(padded(values.nbytes) - values.nbytes))
