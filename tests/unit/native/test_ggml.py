"""ggml's quantizers: the table of types is ggml's, and nothing that would abort the process gets through."""

from __future__ import annotations

import ctypes
import importlib.util
import subprocess
import sys
from typing import TYPE_CHECKING

import gguf
import numpy as np
import pytest

from phi4local.errors import LibraryMissingError
from phi4local.gguf import tensor_types
from phi4local.native import ggml

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


@pytest.fixture
def fresh_library():
    ggml._library.cache_clear()
    yield
    ggml._library.cache_clear()


def test_the_table_is_ggmls() -> None:
    library = ctypes.CDLL(str(ggml.library_path()))
    library.ggml_type_name.restype = ctypes.c_char_p
    library.ggml_blck_size.restype = ctypes.c_int64
    library.ggml_type_size.restype = ctypes.c_size_t
    library.ggml_quantize_requires_imatrix.restype = ctypes.c_bool
    for name, known in ggml.TENSOR_TYPES.items():
        assert library.ggml_type_name(known.id).decode().upper() == name
        assert library.ggml_blck_size(known.id) == known.block_elements
        assert library.ggml_type_size(known.id) == known.block_bytes
        assert library.ggml_quantize_requires_imatrix(known.id) == (name in ggml.NEEDS_COLUMN_WEIGHTS)
        assert gguf.GGMLQuantizationType[name] == known.id
        block = (known.block_elements, known.block_bytes)
        assert gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[name]] == block
        reader = tensor_types.tensor_type_named(name)
        assert (reader.id, reader.block_elements, reader.block_bytes) == (known.id, *block)


@pytest.mark.parametrize("name", ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "BF16", "F16", "F32"])
def test_blocks_equal_those_of_the_gguf_package(name: str) -> None:
    """Its numpy code was written apart from ggml's C code."""
    rows = np.random.default_rng(1).standard_normal((7, 96), dtype=np.float32)
    expected = gguf.quantize(rows, gguf.GGMLQuantizationType[name])
    assert np.array_equal(ggml.quantize_rows(name, rows), expected.view(np.uint8))


def of_types(names: Iterable[str]) -> list[object]:
    """Names as parameters; types whose tables take seconds to build come with `--full`."""
    return [pytest.param(name, marks=[pytest.mark.full] * (name in ggml.HAVE_TABLES)) for name in names]


def all_alike(name: str, count: int) -> np.ndarray | None:
    """Column weights that say nothing, for types that do not go without."""
    return np.ones(count, np.float32) if name in ggml.NEEDS_COLUMN_WEIGHTS else None


@pytest.mark.parametrize("name", of_types(ggml.TENSOR_TYPES))
def test_dequantized_rows_are_near(name: str) -> None:
    rows = np.random.default_rng(2).standard_normal((5, 512), dtype=np.float32)
    stored = ggml.quantize_rows(name, rows, all_alike(name, 512))
    assert stored.shape == (5, ggml.row_size_bytes(name, 512))
    values = gguf.dequantize(stored, gguf.GGMLQuantizationType[name])
    bits = 8 * ggml.TENSOR_TYPES[name].block_bytes / ggml.TENSOR_TYPES[name].block_elements
    assert np.sqrt(np.mean((values - rows) ** 2)) < 2.0 ** (2 - min(bits, 8))


def test_rows_are_independent() -> None:
    rows = np.random.default_rng(3).standard_normal((9, 256), dtype=np.float32)
    whole = ggml.quantize_rows("Q4_K", rows)
    parts = [ggml.quantize_rows("Q4_K", rows[first : first + 2]) for first in range(0, 9, 2)]
    assert np.array_equal(whole, np.concatenate(parts))


WEIGH_NOTHING = {"F32", "F16", "BF16", "Q8_0", "TQ1_0", "TQ2_0", "MXFP4"}


@pytest.mark.parametrize("name", of_types(name for name in ggml.TENSOR_TYPES if name not in WEIGH_NOTHING))
def test_column_weights_move_the_error_to_columns_that_matter_less(name: str) -> None:
    draw = np.random.default_rng(4)
    rows = draw.standard_normal((64, 512), dtype=np.float32)
    weights = (10.0 ** draw.uniform(-3, 3, 512)).astype(np.float32)
    kind = gguf.GGMLQuantizationType[name]
    errors = [
        (np.square(gguf.dequantize(ggml.quantize_rows(name, rows, given), kind) - rows) * weights).sum()
        for given in (all_alike(name, 512), weights)
    ]
    assert errors[1] < errors[0] * 0.9


@pytest.mark.parametrize("name", sorted(WEIGH_NOTHING))
def test_types_without_a_search_ignore_column_weights(name: str) -> None:
    rows = np.random.default_rng(5).standard_normal((3, 256), dtype=np.float32)
    weights = np.arange(256, dtype=np.float32)
    assert np.array_equal(ggml.quantize_rows(name, rows, weights), ggml.quantize_rows(name, rows))


@pytest.mark.parametrize(
    "weights",
    [
        np.ones(128, np.float32),
        np.ones((1, 256), np.float32),
        np.ones(256, np.float64),
        np.ones(512, np.float32)[::2],
        np.full(256, np.nan, np.float32),
        np.full(256, np.inf, np.float32),
        np.full(256, -1, np.float32),
    ],
)
def test_column_weights_that_make_no_sense(weights: np.ndarray) -> None:
    with pytest.raises(ValueError, match="column weights"):
        ggml.quantize_rows("Q4_K", np.ones((2, 256), np.float32), weights)


@pytest.mark.parametrize(
    ("name", "elements", "size"), [("Q4_K", 5120, 2880), ("Q8_0", 64, 68), ("F32", 3, 12), ("BF16", 3, 6)]
)
def test_row_sizes(name: str, elements: int, size: int) -> None:
    assert ggml.row_size_bytes(name, elements) == size


@pytest.mark.parametrize(
    ("name", "elements"), [("Q4_K", 255), ("Q8_0", 33), ("Q8_0", 0), ("Q9_9", 256), ("F32", -1)]
)
def test_rows_that_do_not_fit(name: str, elements: int) -> None:
    with pytest.raises(ValueError, match=r"blocks|no tensor type"):
        ggml.row_size_bytes(name, elements)


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("Q4_K", np.zeros((2, 128), np.float32)),
        ("Q8_0", np.zeros((2, 32), np.float64)),
        ("Q8_0", np.zeros(32, np.float32)),
        ("Q8_0", np.zeros((2, 2, 32), np.float32)),
        ("Q8_0", np.zeros((4, 64), np.float32)[:, ::2]),
        ("Q8_0", np.zeros((64, 64), np.float32, order="F")),
        ("IQ2_XXS", np.zeros((2, 256), np.float32)),
        ("", np.zeros((2, 256), np.float32)),
    ],
)
def test_arrays_that_ggml_would_abort_on(name: str, rows: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"expected contiguous|blocks|no tensor type|column weights"):
        ggml.quantize_rows(name, rows)


def test_no_rows_make_no_bytes() -> None:
    assert ggml.quantize_rows("Q8_0", np.zeros((0, 32), np.float32)).shape == (0, 34)


def test_library_is_missing(monkeypatch: pytest.MonkeyPatch, fresh_library: None) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(LibraryMissingError, match="was not found"):
        ggml.quantize_rows("Q8_0", np.zeros((1, 32), np.float32))


def test_library_does_not_load(monkeypatch: pytest.MonkeyPatch, fresh_library: None, tmp_path: Path) -> None:
    broken = tmp_path / "libggml-base.so"
    broken.write_bytes(b"no library")
    monkeypatch.setattr(ggml, "library_path", lambda: broken)
    with pytest.raises(LibraryMissingError, match="does not load"):
        ggml.quantize_rows("Q8_0", np.zeros((1, 32), np.float32))


def test_importing_loads_neither_numpy_nor_a_library() -> None:
    code = (
        "import sys, phi4local.native.ggml; "
        "print([m for m in ('numpy', 'llama_cpp', 'gguf') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_quantizing_does_not_import_llama_cpp() -> None:
    code = (
        "import sys, numpy; from phi4local.native import ggml; "
        "ggml.quantize_rows('Q8_0', numpy.ones((1, 32), 'f4')); print('llama_cpp' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
