"""Numba's kernels make ggml's bytes."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

pytest.importorskip("numba", reason="the kernels are an extra: phi4local[convert]")

from phi4local.convert import convert_checkpoint, plan_conversion
from phi4local.convert.kernels import Work, rows
from phi4local.convert.rows import SourceReader
from tests.kernel_inputs import distributions, edges
from tests.kernel_oracle import (
    ALL_CASES,
    CASES,
    COMPILED_LATE,
    SOURCES,
    column_weights,
    ggml_is_fused,
    quantizer_of,
    rounded,
    row_elements,
    wrong_blocks,
)

FAST_CASES = [case for case in ALL_CASES if case[0] not in COMPILED_LATE]


@pytest.fixture(scope="module")
def fused():
    """`ggml_is_fused()`, asked once."""
    return ggml_is_fused()


@pytest.fixture(scope="module")
def exact(fused):
    """Skip where only mean errors over many weights like a model's can be compared."""
    if fused:
        pytest.skip("this ggml was compiled with fused multiply-add: other bytes")


@pytest.mark.parametrize(("name", "weighted"), CASES)
def test_two_hundred_thousand_weights_are_ggmls(name, weighted, fused):
    wrong = {
        kind: wrong_blocks((name, weighted), values, fused)
        for kind, values in distributions(2**16 + 256 * 3, seed=len(name))
    }
    assert len(wrong) == 4
    assert not any(wrong.values()), wrong


@pytest.mark.parametrize(("name", "weighted"), CASES)
@pytest.mark.parametrize("source", ["BF16", "F16"])
def test_half_floats_are_widened_exactly(name, weighted, source, fused):
    for kind, values in distributions(2**14 + 256, seed=3):
        assert not wrong_blocks((name, weighted), rounded(values, source), fused, source), kind


@pytest.mark.parametrize("source", ["BF16", "F16"])
def test_every_half_float(source, exact):
    """All 65,536 patterns but NaN and infinity, shuffled."""
    bits = np.random.default_rng(1).permutation(2**16).astype(np.uint16)
    if source == "BF16":
        values = (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)
    else:
        values = bits.view(np.float16).astype(np.float32)
    values = np.where(np.isfinite(values), values, np.float32(0))
    for case in FAST_CASES:
        assert not wrong_blocks(case, values, False, source), case


@pytest.mark.parametrize(("name", "weighted"), CASES)
def test_edges_are_ggmls(name, weighted, exact):
    wrong = {kind: wrong_blocks((name, weighted), values, False) for kind, values in edges()}
    assert len(wrong) >= 82
    assert not [kind for kind, blocks in wrong.items() if blocks]


@pytest.mark.parametrize(("name", "weighted"), [case for case in CASES if case.values[1]])
def test_edges_of_column_weights_are_ggmls(name, weighted, exact):
    values = dict(distributions(256 * 60, seed=2))["heavy-tailed"]
    some = column_weights(1280, seed=5)
    one = np.zeros(1280, np.float32)
    one[::100] = 1
    sets = {"none": one * 0, "all the same": one * 0 + 1, "few": one, "tiny": some * np.float32(1e-38)}
    sets |= {
        "huge": some * np.float32(1e30),
        "wide": some**8,
        "none in a block": some * (np.arange(1280) > 300),
    }
    wrong = {
        kind: wrong_blocks((name, weighted), values, False, weights=weights.astype(np.float32))
        for kind, weights in sets.items()
    }
    assert len(wrong) == 7
    assert not any(wrong.values()), wrong


@pytest.mark.parametrize(("name", "weighted"), CASES)
def test_all_tensors_of_the_embedded_model_are_ggmls(name, weighted, checkpoint, fused, request):
    """In the fast run only the first rows of each."""
    most = 10**9 if request.config.getoption("--full") else 48
    with SourceReader() as reader:
        for tensor in plan_conversion(checkpoint, "F32").tensors:
            if tensor.shape[-1] % 256 == 0:
                count = min(most, tensor.elements // tensor.shape[-1])
                raw = reader.read(tensor.source, first=0, count=count)
                values = (raw.view("<u2").astype(np.uint32) << np.uint32(16)).view(np.float32)
                weights = column_weights(tensor.shape[-1], seed=7) if weighted else None
                assert not wrong_blocks((name, weighted), values, fused, "BF16", weights), tensor.name


NUMBERS = st.floats(width=32, allow_nan=False, allow_infinity=False)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    values=arrays(
        np.float32,
        st.integers(1, 9).map(lambda blocks: blocks * 256),
        elements=NUMBERS,
        fill=st.sampled_from([0.0, -0.0, 1.0, -0.02, 1e-15, 2.0**-149]),
    )
)
@pytest.mark.parametrize(("name", "weighted"), CASES)
def test_any_finite_numbers(name, weighted, values, exact):
    assert not wrong_blocks((name, weighted), values, False)


@pytest.mark.full
@pytest.mark.parametrize(("name", "weighted"), CASES)
def test_hundred_million_weights_are_ggmls(name, weighted, fused):
    case, done = (name, weighted), 0
    with ThreadPoolExecutor(2) as executor:
        for seed in range(100):
            sets = [values for _, values in distributions(2**18 + 256 * (seed % 9), seed=seed)]
            source = SOURCES[seed % 3]
            weights = [column_weights(row_elements(one.size), seed) if weighted else None for one in sets]
            cut = [rounded(one, source) for one in sets]
            wrong = executor.map(wrong_blocks, [case] * 4, cut, [fused] * 4, [source] * 4, weights)
            assert not any(wrong), seed
            done += sum(values.size for values in sets)
    assert done >= 100e6


@pytest.mark.full
@pytest.mark.parametrize(("name", "weighted"), CASES)
def test_errors_are_no_larger_than_those_of_a_fused_ggml(name, weighted):
    """Give the path of a libggml-base that was compiled with -march=x86-64-v3."""
    path = os.environ.get("PHI4LOCAL_FUSED_GGML")
    if not path:
        pytest.skip("PHI4LOCAL_FUSED_GGML names no library")
    quantize = quantizer_of(path)
    assert ggml_is_fused(quantize)
    for kind, values in distributions(2**18, seed=3):
        assert not wrong_blocks((name, weighted), values, fused=True, quantize=quantize), kind


def test_pieces_make_the_same_bytes():
    """Every number of blocks in the last tile, and blocks do not know their neighbours."""
    values = np.random.default_rng(5).standard_normal(256 * 21, dtype=np.float32)
    weights = column_weights(256, seed=5)
    for name, weighted in FAST_CASES:
        work, columns = Work("F32", name, weighted), weights if weighted else None
        raw = values.view(np.uint8)
        whole = rows.quantize(work, raw, columns)
        for blocks in range(1, 20):
            parts = [
                rows.quantize(work, raw[: blocks * 1024], columns),
                rows.quantize(work, raw[blocks * 1024 :], columns),
            ]
            assert np.array_equal(np.concatenate(parts), whole), (name, weighted, blocks)


@pytest.mark.parametrize(
    ("name", "elements", "columns"),
    [("Q4_K", 255, None), ("Q4_K", 512, 384), ("Q6_K", 512, 1024), ("IQ4_NL", 48, None)],
)
def test_rows_that_are_no_blocks_are_refused(name, elements, columns):
    weights = None if columns is None else np.ones(columns, np.float32)
    with pytest.raises(ValueError, match="no whole number"):
        rows.quantize(Work("BF16", name, columns is not None), np.zeros(2 * elements, np.uint8), weights)


def test_work_that_does_not_go_with_its_weights_is_refused():
    raw, weights = np.zeros(512, np.uint8), np.ones(256, np.float32)
    for work, columns in (
        (Work("BF16", "Q4_K"), weights),
        (Work("BF16", "Q4_K", weighted=True), None),
        (Work("BF16", "Q4_0"), None),
    ):
        with pytest.raises(ValueError, match="column weights"):
            rows.quantize(work, raw, columns)


@pytest.mark.parametrize("quantization", ["Q4_K_M", "Q5_K_M", "Q8_0"])
def test_a_conversion_does_not_depend_on_the_kernels(checkpoint, tmp_path, quantization, fused):
    summaries = {
        (kernels, threads): convert_checkpoint(
            checkpoint, tmp_path / f"{kernels}-{threads}.gguf", quantization, kernels=kernels, threads=threads
        )
        for kernels, threads in (("ggml", 2), ("numba", 1), ("numba", 3))
    }
    files = [(tmp_path / f"{kernels}-{threads}.gguf").read_bytes() for kernels, threads in summaries]
    for (kernels, _), summary in summaries.items():
        assert {use.kernel for use in summary.kernels} == {kernels}
        assert sum(use.weights for use in summary.kernels) > 10e6
        assert all(use.megaweights_per_second > 0 for use in summary.kernels)
    assert files[1] == files[2]
    assert fused or files[0] == files[1]
