"""The kernels' bytes beside those of `ggml_quantize_chunk`, and how to tell which ggml this is."""

from __future__ import annotations

import ctypes
import hashlib

import gguf
import numpy as np
import pytest

from phi4local.convert.kernels import Work
from phi4local.native.ggml import TENSOR_TYPES, quantize_rows, row_size_bytes

SOURCES = ("F32", "BF16", "F16")
PLAIN = ("Q4_K", "Q5_K", "Q6_K", "Q3_K", "IQ4_NL", "IQ4_XS", "Q8_0", "Q2_K")
WEIGHTED = ("Q4_K", "Q5_K", "Q6_K", "Q3_K", "IQ4_NL", "IQ4_XS", "Q2_K", "Q4_0", "Q4_1", "Q5_0", "Q5_1")
COMPILED_LATE = ("Q2_K", "Q4_0", "Q4_1", "Q5_0", "Q5_1")
"""Their searches are tested with other types, so they are compiled and tested with `--full` only."""

ALL_CASES = [(name, False) for name in PLAIN] + [(name, True) for name in WEIGHTED]
CASES = [
    pytest.param(
        name,
        weighted,
        id=f"{name}{'-imatrix' * weighted}",
        marks=[pytest.mark.full] * (name in COMPILED_LATE),
    )
    for name, weighted in ALL_CASES
]

PROBE = "bb80eddc4e80c8c790fac725d49c330330f38d1b8961c772ef8b4ad71a57bfa6"
"""SHA-256 of what a ggml without fused multiply-add makes of `probe()`, as it is built for x86-64."""


def probe():
    """Numbers in -0.5...0.5 that no version of numpy can change."""
    mixed = np.arange(1, 256 * 512 + 1, dtype=np.uint64) * np.uint64(2654435761) % np.uint64(2**32)
    return (mixed >> np.uint64(8)).astype(np.float32) / np.float32(2**24) - np.float32(0.5)


def ggml_is_fused(quantize=quantize_rows):
    """Return whether this ggml was compiled with fused multiply-add, which changes its bytes.

    GCC contracts a * b + c by default where the processor is told to have FMA: aarch64, or x86-64-v3. Such a
    ggml rounds once where the reference rounds twice: 5 % of Q4_K and 28 % of Q5_K blocks come out otherwise.
    """
    digest = hashlib.sha256()
    for name in ("Q4_K", "Q5_K", "Q6_K"):
        digest.update(quantize(name, probe().reshape(1, -1)).tobytes())
    return digest.hexdigest() != PROBE


def quantizer_of(path):
    """Return a function like `quantize_rows` that calls the ggml library at `path`."""
    function = ctypes.CDLL(str(path)).ggml_quantize_chunk
    pointer, whole = ctypes.c_void_p, ctypes.c_int64
    function.argtypes = [ctypes.c_int, pointer, pointer, whole, whole, whole, pointer]
    function.restype = ctypes.c_size_t

    def quantize(name, rows, weights=None):
        stored = np.empty((len(rows), row_size_bytes(name, rows.shape[1])), np.uint8)
        given = None if weights is None else weights.ctypes.data
        number, data = TENSOR_TYPES[name].id, stored.ctypes.data
        written = function(number, rows.ctypes.data, data, 0, *rows.shape, given)
        assert written == stored.nbytes
        return stored

    return quantize


def row_elements(count):
    """Return how long rows of `count` weights are: the most blocks of 256, at most 5,120 elements."""
    return 256 * max(blocks for blocks in range(1, 21) if count // 256 % blocks == 0)


def column_weights(count, seed):
    """Numbers like an imatrix's: over many magnitudes, one column in ten without any."""
    draw = np.random.default_rng(seed)
    weights = np.exp(draw.standard_normal(count) * 2).astype(np.float32)
    weights[draw.random(count) < 0.1] = 0
    return weights


def wrong_blocks(case, values, fused, source="F32", weights=None, quantize=quantize_rows):
    """Count blocks in which the kernel's bytes differ from ggml's; `values` are exact in `source`.

    Where ggml is fused, return whether the kernel's blocks have an error more than 1 % above that of ggml's:
    the mean square, or the mean magnitude for Q2_K, as its search goes by that. `values` must be a model's
    or like that then: single blocks of edge sets come out much better or worse.
    """
    from phi4local.convert.kernels import rows

    name, weighted = case
    row = row_elements(values.size) if weights is None else weights.size
    if weighted and weights is None:
        weights = column_weights(row, seed=row)
    work = Work(source, name, weighted)
    expected = quantize(name, values.reshape(-1, row), weights).reshape(-1, TENSOR_TYPES[name].block_bytes)
    found = rows.quantize(work, narrow(values, source), weights).reshape(expected.shape)
    if not fused:
        return int((found != expected).any(axis=1).sum())
    ours, theirs = (_error(name, stored, values, weights) for stored in (found, expected))
    return not (ours <= theirs * 1.01 + 1e-30 or not np.isfinite(theirs))


def _error(name, stored, values, weights):
    with np.errstate(all="ignore"):
        numbers = gguf.dequantize(stored, gguf.GGMLQuantizationType[name]).reshape(-1)
        errors = np.abs(np.subtract(numbers, values, dtype=np.float64))
        errors = errors if name == "Q2_K" else errors**2
        return (errors if weights is None else errors.reshape(-1, weights.size) * weights).mean()


def narrow(values, source):
    """Return the bytes of `values` in `source`."""
    if source == "F32":
        return values.view(np.uint8)
    if source == "F16":
        return values.astype(np.float16).view(np.uint8)
    return (values.view(np.uint32) >> np.uint32(16)).astype(np.uint16).view(np.uint8)


def rounded(values, source):
    """Return the same numbers, cut to what `source` holds."""
    if source == "F16":
        return np.clip(values, -65504, 65504).astype(np.float16).astype(np.float32)
    mask = np.uint32(0xFFFF0000) if source == "BF16" else np.uint32(0xFFFFFFFF)
    return (values.view(np.uint32) & mask).view(np.float32)
