"""What Numba makes of the kernels: vector instructions, and no fused multiply-add."""

from __future__ import annotations

import collections
import platform
import re
import subprocess
import sys
import warnings

import pytest

pytest.importorskip("numba", reason="the kernels are an extra: phi4local[convert]")

from phi4local.convert.kernels import Work, rows
from tests.kernel_oracle import COMPILED_LATE

SEARCHES = (
    r"(minimum_search|symmetric_search|level_descent|iq4|importance|q4_k_q5_k)\d+"
    r"(search|measure|measure_blocks|weigh_columns|begin|add_\w+?|solve|keep_better|move_levels)B\d"
)
"""Parts of a search, which work on lanes side by side; what stores the scales of a block is scalar."""

FAMILIES = {
    "q4_k_q5_k": ("Q4_K", 100),
    "q6_k": ("Q6_K", 50),
    "q3_k": ("Q3_K", 50),
    "iq4": ("IQ4_XS", 20),
    "q8_0": ("Q8_0", 1),
    "q2_k": ("Q2_K", 100),
    "blocks_of_32": ("Q4_0", 100),
}
"""Each family: one of its types, and how many packed multiplications its searches have at least."""


SLOW = {"q3_k", "q6_k", "iq4"}
"""Families that take seconds to compile and are written in the same way as Q4_K's and Q5_K's."""


def instructions(assembly):
    """Count the floating-point instructions of each function."""
    found, name = collections.defaultdict(collections.Counter), ""
    for line in assembly.splitlines():
        label = re.match(r"(_Z[\w.$]+):", line)
        name = label[1] if label else name
        words = line.split()
        if words and re.match(r"v?f?n?m?(mul|add|sub|div|sqrt)\w*[ps]s$", words[0]):
            found[name][words[0]] += 1
    return found


def numbers_moved_alone(assembly):
    """Count the loads and stores of single numbers in the functions that turn tiles."""
    found, name = collections.Counter(), ""
    for line in assembly.splitlines():
        label = re.match(r"(_Z[\w.$]+):", line)
        name = label[1] if label else name
        if re.search(r"tiles\d+_transpose_\d+B", name):
            found[name] += line.split()[:1] == ["vmovss"]
    return found


def assembly_of(family):
    """Return a family's machine code, compiled in this process: kept code cannot be looked at."""
    name = FAMILIES[family][0]
    rows.prepare([Work("F32", name, weighted=name in COMPILED_LATE)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Numba warns where it has nothing to show
        return "\n".join(getattr(rows, family).quantize.inspect_asm().values())


@pytest.mark.parametrize(
    "family",
    [
        pytest.param(family, marks=[pytest.mark.full] * (name in COMPILED_LATE or family in SLOW))
        for family, (name, _) in FAMILIES.items()
    ],
)
def test_search_is_vector_code_without_fused_multiply_add(family):
    """A change in Numba or in these files that makes the search scalar costs a factor of six, silently."""
    assembly = assembly_of(family)
    if platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("the names of instructions below are those of x86-64")
    assert not re.search(r"\bvfn?m(add|sub)", assembly)
    scalar, packed = collections.Counter(), collections.Counter()
    for name, counts in instructions(assembly).items():
        if re.search(SEARCHES, name):
            for instruction, count in counts.items():
                (packed if instruction.endswith("ps") else scalar)[f"{name}: {instruction}"] += count
    if family == "q8_0":  # no search: its rounding is a loop over the 32 weights of a block
        assert "cvttps2dq" in assembly
        return
    assert scalar == {}
    turned = numbers_moved_alone(assembly)
    assert turned
    assert not any(turned.values()), "tiles are turned with shuffles, not one number after the other"
    assert sum(count for name, count in packed.items() if "mul" in name) >= FAMILIES[family][1]


AVX2 = """
import sys
sys.path.insert(0, sys.argv[1])
from tests import kernel_oracle as oracle
from tests.kernel_inputs import distributions
from tests.unit.convert import test_kernel_code as tests
for family in tests.FAMILIES:
    assert "zmm" not in tests.assembly_of(family)
    tests.test_search_is_vector_code_without_fused_multiply_add(family)
fused = oracle.ggml_is_fused()
for case in oracle.ALL_CASES:
    for kind, values in distributions(2**16, seed=8):
        assert not oracle.wrong_blocks(case, values, fused), (case, kind)
print("vector code")
"""


@pytest.mark.full
def test_avx2_code_is_vector_code_with_the_same_bytes(tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBA_CPU_NAME", "haswell")
    monkeypatch.setenv("NUMBA_CPU_FEATURES", "")
    monkeypatch.setenv("PHI4LOCAL_CACHE", str(tmp_path))
    root = str(rows.__file__).partition("/phi4local/convert/")[0]
    done = subprocess.run(
        [sys.executable, "-c", AVX2, root], capture_output=True, text=True, timeout=250, check=False
    )
    assert done.stdout.strip() == "vector code", done.stderr
