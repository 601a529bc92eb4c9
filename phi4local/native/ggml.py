"""ggml's row quantizers through libggml-base, the library that llama-cpp-python ships.

`TENSOR_TYPES` is plain data and costs nothing. `quantize_rows` loads the library on first use, without
importing `llama_cpp`; the call releases the GIL, so threads quantize at the same time.

ggml checks its arguments with `abort()`, which ends the process. Everything it could object to is checked
here first and raises `ValueError`.

Source: ggml/include/ggml.h and ggml/src/ggml-common.h of llama.cpp 0c1e57098 (llama-cpp-python 0.3.36).
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib.util
import os
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phi4local.errors import LibraryMissingError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class TensorType:
    """How ggml stores elements: blocks of `block_elements` neighbours in a row take `block_bytes` bytes."""

    id: int
    block_elements: int
    block_bytes: int


TENSOR_TYPES = {
    "F32": TensorType(0, 1, 4),
    "F16": TensorType(1, 1, 2),
    "BF16": TensorType(30, 1, 2),
    "Q4_0": TensorType(2, 32, 18),
    "Q4_1": TensorType(3, 32, 20),
    "Q5_0": TensorType(6, 32, 22),
    "Q5_1": TensorType(7, 32, 24),
    "Q8_0": TensorType(8, 32, 34),
    "Q2_K": TensorType(10, 256, 84),
    "Q3_K": TensorType(11, 256, 110),
    "Q4_K": TensorType(12, 256, 144),
    "Q5_K": TensorType(13, 256, 176),
    "Q6_K": TensorType(14, 256, 210),
    "IQ4_NL": TensorType(20, 32, 18),
    "IQ4_XS": TensorType(23, 256, 136),
    "IQ3_XXS": TensorType(18, 256, 98),
    "IQ3_S": TensorType(21, 256, 110),
    "IQ2_XXS": TensorType(16, 256, 66),
    "IQ2_XS": TensorType(17, 256, 74),
    "IQ2_S": TensorType(22, 256, 82),
    "IQ1_S": TensorType(19, 256, 50),
    "IQ1_M": TensorType(29, 256, 56),
    "TQ1_0": TensorType(34, 256, 54),
    "TQ2_0": TensorType(35, 256, 66),
    "MXFP4": TensorType(39, 32, 17),
}
"""The types that this project writes."""

NEEDS_COLUMN_WEIGHTS = frozenset({"IQ2_XXS", "IQ2_XS", "IQ1_S"})
"""Types that ggml aborts on without column weights (`ggml_quantize_requires_imatrix`)."""

HAVE_TABLES = frozenset({"IQ3_XXS", "IQ3_S", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ1_S", "IQ1_M"})
"""Types that ggml builds tables for before it can quantize to them, in up to ten seconds."""

_LIBRARY_NAMES = {"win32": "ggml-base.dll", "darwin": "libggml-base.dylib"}


def row_size_bytes(type_name: str, row_elements: int) -> int:
    """Return how many bytes a row of `row_elements` takes.

    Example: a row of Phi-4's embedding in Q4_K is 5,120 / 256 x 144 = 2,880 bytes.

    Raises:
        ValueError: a type that is not in `TENSOR_TYPES`, or a row that is no whole number of blocks.
    """
    known = TENSOR_TYPES.get(type_name)
    if known is None:
        raise ValueError(f"no tensor type {type_name!r}")
    blocks, rest = divmod(row_elements, known.block_elements)
    if rest or row_elements <= 0:
        raise ValueError(f"{row_elements} elements are no whole number of {type_name} blocks")
    return blocks * known.block_bytes


def quantize_rows(
    type_name: str, rows: NDArray[np.float32], column_weights: NDArray[np.float32] | None = None
) -> NDArray[np.uint8]:
    """Store `rows` as `type_name`, with ggml's quantizer for it.

    Args:
        type_name: a key of `TENSOR_TYPES`.
        rows: float32, C-contiguous, (rows, elements of a row). All values must be finite.
        column_weights: float32, C-contiguous, (elements of a row,): how much an error in each column matters,
            an imatrix's row for this tensor. Finite, none below zero. Q8_0 and types that are not quantized
            ignore it.

    Returns:
        uint8, (rows, bytes of a row). Example: Q8_0 turns (2, 64) floats into (2, 68) bytes.

    Raises:
        ValueError: an array that ggml would abort on, or missing column weights (`NEEDS_COLUMN_WEIGHTS`).
        LibraryMissingError: llama-cpp-python's library is not there or does not load.
    """
    import numpy as np

    if rows.ndim != 2 or rows.dtype != np.float32 or not rows.flags.c_contiguous:
        raise ValueError(f"expected contiguous float32 rows, got {rows.dtype} of shape {rows.shape}")
    if column_weights is None and type_name in NEEDS_COLUMN_WEIGHTS:
        raise ValueError(f"{type_name} needs column weights")
    row_count, row_elements = rows.shape
    importance = None if column_weights is None else _checked(column_weights, row_elements).ctypes.data
    stored = np.empty((row_count, row_size_bytes(type_name, row_elements)), np.uint8)
    if row_count == 0:
        return stored
    number, data = TENSOR_TYPES[type_name].id, stored.ctypes.data
    with lookup_tables({type_name}):
        written = _library().ggml_quantize_chunk(
            number, rows.ctypes.data, data, 0, row_count, row_elements, importance
        )
    if written != stored.nbytes:
        raise ValueError(f"ggml wrote {written} bytes for {type_name}, expected {stored.nbytes}")
    return stored


def dequantize_rows(type_name: str, stored: NDArray[np.uint8], row_elements: int) -> NDArray[np.float32]:
    """Return the numbers that blocks stand for, with ggml's own function.

    Args:
        type_name: a quantized key of `TENSOR_TYPES`.
        stored: uint8, C-contiguous, whole rows.
        row_elements: elements of one row.

    Returns:
        float32, (rows, row_elements). Example: 34 bytes of Q8_0 and 32 elements a row → (1, 32).

    Raises:
        ValueError: a type that is not quantized, or bytes that are no whole rows.
        LibraryMissingError: llama-cpp-python's library is not there or does not load.
    """
    import numpy as np

    row_bytes = row_size_bytes(type_name, row_elements)
    if (
        TENSOR_TYPES[type_name].block_elements == 1
        or stored.size % row_bytes
        or not stored.flags.c_contiguous
    ):
        raise ValueError(f"{stored.size} bytes are no contiguous rows of {row_elements} {type_name}")
    values = np.empty((stored.size // row_bytes, row_elements), np.float32)
    # The library calls them dequantize_row_q4_K and dequantize_row_iq4_xs.
    name = type_name.lower().replace("_k", "_K") if type_name.startswith("Q") else type_name.lower()
    function = getattr(_library(), f"dequantize_row_{name}")
    function.argtypes, function.restype = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64], None
    function(stored.ctypes.data, values.ctypes.data, values.size)
    return values


def _checked(column_weights: NDArray[np.float32], row_elements: int) -> NDArray[np.float32]:
    import numpy as np

    if column_weights.dtype != np.float32 or not column_weights.flags.c_contiguous:
        raise ValueError(f"expected contiguous float32 column weights, got {column_weights.dtype}")
    if column_weights.shape != (row_elements,):
        raise ValueError(f"expected {row_elements} column weights, got shape {column_weights.shape}")
    if not (np.isfinite(column_weights).all() and (column_weights >= 0).all()):
        raise ValueError("column weights must be finite and not below zero")
    return column_weights


@contextlib.contextmanager
def lookup_tables(type_names: Iterable[str]) -> Iterator[None]:
    """Keep ggml's tables for the IQ types while the block runs; the last block to end frees them.

    A conversion holds one around all its rows, so that the tables are built once, up to a second, and before
    its threads start. Blocks may overlap, in any thread.

    Example: `with lookup_tables({"IQ2_XS"}): quantize_rows("IQ2_XS", rows, weights)`.

    Raises:
        LibraryMissingError: llama-cpp-python's library is not there or does not load.
    """
    wanted = [name for name in sorted(type_names) if name in HAVE_TABLES]
    if not wanted:
        yield
        return
    library = _library()
    _tables.enter(library, wanted)
    try:
        yield
    finally:
        _tables.leave(library)


class _Tables:
    """Count who uses ggml's tables: they are global, and freeing them under a reader ends the process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0

    def enter(self, library: Any, type_names: list[str]) -> None:  # noqa: ANN401
        with self._lock:
            self._users += 1
            for name in type_names:
                library.ggml_quantize_init(TENSOR_TYPES[name].id)

    def leave(self, library: Any) -> None:  # noqa: ANN401
        with self._lock:
            self._users -= 1
            if not self._users:
                library.ggml_quantize_free()


_tables = _Tables()


def library_path() -> Path:
    """Return where llama-cpp-python keeps libggml-base; its Python code is not run.

    Example: `…/site-packages/llama_cpp/lib/libggml-base.so`.

    Raises:
        LibraryMissingError: no such file.
    """
    package = importlib.util.find_spec("llama_cpp")
    name = _LIBRARY_NAMES.get(sys.platform, "libggml-base.so")
    for folder in (package.submodule_search_locations or ()) if package else ():
        path = Path(folder) / "lib" / name
        if path.is_file():
            return path
    raise LibraryMissingError(f"llama-cpp-python's {name} was not found")


@functools.cache
def _library() -> Any:  # noqa: ANN401 - ctypes has no type for a library's functions
    path = library_path()
    try:
        if sys.platform == "win32":
            os.add_dll_directory(str(path.parent))
        library = ctypes.CDLL(str(path))
        function = library.ggml_quantize_chunk
        library.ggml_quantize_init.argtypes, library.ggml_quantize_init.restype = [ctypes.c_int], None
        library.ggml_quantize_free.argtypes, library.ggml_quantize_free.restype = [], None
    except (OSError, AttributeError) as error:
        raise LibraryMissingError(f"`{path}` does not load: {error}") from error
    pointer, whole = ctypes.c_void_p, ctypes.c_int64
    # size_t ggml_quantize_chunk(type, const float * src, void * dst, start, nrows, n_per_row, imatrix)
    function.argtypes = [ctypes.c_int, pointer, pointer, whole, whole, whole, pointer]
    function.restype = ctypes.c_size_t
    return library
