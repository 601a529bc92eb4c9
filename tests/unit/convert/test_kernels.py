"""Numba's kernels make ggml's bytes, in vector code."""

from __future__ import annotations

import collections
import hashlib
import platform
import re
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor

import gguf
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

pytest.importorskip("numba", reason="the kernels are an extra: phi4local[convert]")

from phi4local.convert import convert_checkpoint, plan_conversion
from phi4local.convert.kernels import Work, rows
from phi4local.convert.rows import SourceReader
from phi4local.native.ggml import TENSOR_TYPES, quantize_rows
from tests.kernel_inputs import distributions, edges

K_QUANTS = ("Q4_K", "Q5_K", "Q6_K")
TYPES = (*K_QUANTS, "Q8_0")
SOURCES = ("F32", "BF16", "F16")

PROBE = "bb80eddc4e80c8c790fac725d49c330330f38d1b8961c772ef8b4ad71a57bfa6"
"""SHA-256 of what a ggml without fused multiply-add makes of `probe()`, as it is built for x86-64."""


def probe():
    """Numbers in -0.5...0.5 that no version of numpy can change."""
    mixed = np.arange(1, 256 * 512 + 1, dtype=np.uint64) * np.uint64(2654435761) % np.uint64(2**32)
    return (mixed >> np.uint64(8)).astype(np.float32) / np.float32(2**24) - np.float32(0.5)


def ggml_is_fused():
    """Return whether this ggml was compiled with fused multiply-add, which changes its bytes.

    GCC contracts a * b + c by default where the processor is told to have FMA: aarch64, or x86-64-v3. Such a
    ggml rounds once where the reference rounds twice: 5 % of Q4_K and 28 % of Q5_K blocks come out otherwise.
    """
    digest = hashlib.sha256()
    for name in K_QUANTS:
        digest.update(quantize_rows(name, probe().reshape(1, -1)).tobytes())
    return digest.hexdigest() != PROBE


@pytest.fixture(scope="module")
def fused():
    """`ggml_is_fused()`, asked once."""
    return ggml_is_fused()


@pytest.fixture(scope="module", autouse=True)
def compiled():
    """Compile in this process first, so that the machine code can be looked at."""
    rows.prepare([Work(source, target) for target in ("Q4_K", "Q6_K", "Q8_0") for source in SOURCES])


def check(name, values, fused, source="F32"):
    """Compare the kernel's bytes with ggml's; `values` are exact in `source`."""
    expected = quantize_rows(name, values.reshape(1, -1)).reshape(-1, TENSOR_TYPES[name].block_bytes)
    found = rows.quantize(Work(source, name), narrow(values, source)).reshape(expected.shape)
    if not fused:
        return int((found != expected).any(axis=1).sum())
    kind = gguf.GGMLQuantizationType[name]
    with np.errstate(all="ignore"):
        ours = np.square(gguf.dequantize(found, kind).reshape(-1) - values, dtype=np.float64).mean()
        theirs = np.square(gguf.dequantize(expected, kind).reshape(-1) - values, dtype=np.float64).mean()
    return not (ours <= theirs * 1.01 + 1e-30 or not np.isfinite(theirs))


def narrow(values, source):
    if source == "F32":
        return values.view(np.uint8)
    if source == "F16":
        return values.astype(np.float16).view(np.uint8)
    return (values.view(np.uint32) >> np.uint32(16)).astype(np.uint16).view(np.uint8)


def rounded(values, source):
    """The same numbers, cut to what `source` holds."""
    if source == "F16":
        return np.clip(values, -65504, 65504).astype(np.float16).astype(np.float32)
    mask = np.uint32(0xFFFF0000) if source == "BF16" else np.uint32(0xFFFFFFFF)
    return (values.view(np.uint32) & mask).view(np.float32)


@pytest.mark.parametrize("name", TYPES)
def test_two_million_weights_of_each_type_are_ggmls(name, fused):
    wrong = {
        kind: check(name, values, fused) for kind, values in distributions(2**19 + 256 * 3, seed=len(name))
    }
    assert len(wrong) == 4
    assert not any(wrong.values()), wrong


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("source", ["BF16", "F16"])
def test_half_floats_are_widened_exactly(name, source, fused):
    for kind, values in distributions(2**17 + 256, seed=3):
        assert not check(name, rounded(values, source), fused, source), kind


@pytest.mark.parametrize("source", ["BF16", "F16"])
def test_every_half_float(source, fused):
    """All 65,536 patterns but NaN and infinity, shuffled."""
    bits = np.random.default_rng(1).permutation(2**16).astype(np.uint16)
    if source == "BF16":
        values = (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)
    else:
        values = bits.view(np.float16).astype(np.float32)
    values = np.where(np.isfinite(values), values, np.float32(0))
    for name in TYPES:
        assert not check(name, values, fused, source)


@pytest.mark.parametrize("name", TYPES)
def test_edges_are_ggmls(name, fused):
    wrong = {kind: check(name, values, fused) for kind, values in edges()}
    assert len(wrong) >= 82
    assert not [kind for kind, blocks in wrong.items() if blocks]


@pytest.mark.parametrize("name", TYPES)
def test_all_tensors_of_the_embedded_model_are_ggmls(name, checkpoint, fused):
    with SourceReader() as reader:
        for tensor in plan_conversion(checkpoint, "F32").tensors:
            if tensor.shape[-1] % 256 == 0:
                count = tensor.elements // tensor.shape[-1]
                raw = reader.read(tensor.source, first=0, count=count)
                values = (raw.view("<u2").astype(np.uint32) << np.uint32(16)).view(np.float32)
                assert not check(name, values, fused, "BF16"), tensor.name


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    values=arrays(
        np.float32,
        st.integers(1, 9).map(lambda blocks: blocks * 256),
        elements=st.floats(width=32, allow_nan=False, allow_infinity=False),
        fill=st.sampled_from([0.0, -0.0, 1.0, -0.02, 1e-15, 2.0**-149]),
    )
)
@pytest.mark.parametrize("name", TYPES)
def test_any_finite_numbers(name, values, fused):
    assert not check(name, values, fused)


@pytest.mark.full
@pytest.mark.parametrize("name", TYPES)
def test_hundred_million_weights_are_ggmls(name, fused):
    done = 0
    with ThreadPoolExecutor(2) as executor:
        for seed in range(100):
            sets = [values for _, values in distributions(2**18 + 256 * (seed % 9), seed=seed)]
            source = SOURCES[seed % 3]
            wrong = [executor.submit(check, name, rounded(values, source), fused, source) for values in sets]
            assert not any(job.result() for job in wrong), seed
            done += sum(values.size for values in sets)
    assert done >= 100e6


def test_pieces_make_the_same_bytes():
    """Every number of blocks in the last tile, and blocks do not know their neighbours."""
    values = np.random.default_rng(5).standard_normal(256 * 21, dtype=np.float32)
    for name in TYPES:
        work = Work("F32", name)
        whole = rows.quantize(work, values.view(np.uint8))
        for blocks in range(1, 20):
            raw = values.view(np.uint8)
            cut = blocks * 1024
            parts = [rows.quantize(work, raw[:cut]), rows.quantize(work, raw[cut:])]
            assert np.array_equal(np.concatenate(parts), whole)


def test_rows_that_are_no_blocks_are_refused():
    with pytest.raises(ValueError, match="no whole number"):
        rows.quantize(Work("BF16", "Q4_K"), np.zeros(2 * 255, np.uint8))


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


SEARCHES = r"(search|measure|weigh|begin|add_\w+?|solve|keep_better)B\d"


def instructions(assembly):
    """Count the floating-point instructions of each function."""
    found, name = collections.defaultdict(collections.Counter), ""
    for line in assembly.splitlines():
        label = re.match(r"(_Z[\w.$]+):", line)
        name = label[1] if label else name
        words = line.split()
        if words and re.match(r"v?f?n?m?(mul|add|sub|div)\w*[ps]s$", words[0]):
            found[name][words[0]] += 1
    return found


def assembly_of(kernel):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Numba warns where it has nothing to show
        return "\n".join(kernel.inspect_asm().values())


@pytest.mark.parametrize("family", ["q4_k_q5_k", "q6_k"])
def test_search_is_vector_code_without_fused_multiply_add(family):
    """A change in Numba or in these files that makes the search scalar costs a factor of six, silently."""
    assembly = assembly_of(getattr(rows, family).quantize)
    if platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("the names of instructions below are those of x86-64")
    assert "vfmadd" not in assembly
    assert "vfmsub" not in assembly
    assert "vfnmadd" not in assembly
    searching = {name: counts for name, counts in instructions(assembly).items() if re.search(SEARCHES, name)}
    assert len(searching) >= 3
    packed, scalar = collections.Counter(), collections.Counter()
    for counts in searching.values():
        for instruction, count in counts.items():
            (packed if instruction.endswith("ps") else scalar)[instruction[-5:-2]] += count
    assert scalar == {}
    assert packed["mul"] >= 100


AVX2 = """
import sys
sys.path.insert(0, sys.argv[1])
import numpy as np
from phi4local.convert.kernels import Work, rows
from phi4local.native.ggml import quantize_rows
from tests.unit.convert import test_kernels as tests
rows.prepare([Work("F32", target) for target in ("Q4_K", "Q6_K", "Q8_0")])
for family in ("q4_k_q5_k", "q6_k"):
    assert "zmm" not in tests.assembly_of(getattr(rows, family).quantize)
    tests.test_search_is_vector_code_without_fused_multiply_add(family)
fused = tests.ggml_is_fused()
for name in tests.TYPES:
    for kind, values in tests.distributions(2**18, seed=8):
        assert not tests.check(name, values, fused), (name, kind)
print("vector code")
"""


@pytest.mark.full
def test_avx2_code_is_vector_code_with_the_same_bytes(tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBA_CPU_NAME", "haswell")
    monkeypatch.setenv("NUMBA_CPU_FEATURES", "")
    monkeypatch.setenv("PHI4LOCAL_CACHE", str(tmp_path))
    root = str(rows.__file__).partition("/phi4local/convert/")[0]
    done = subprocess.run(
        [sys.executable, "-c", AVX2, root], capture_output=True, text=True, timeout=200, check=False
    )
    assert done.stdout.strip() == "vector code", done.stderr
