"""No weights and no importance matrix below our limits make ggml end the process."""

from __future__ import annotations

import subprocess
import sys

import pytest

from phi4local.native.ggml import HAVE_TABLES, NEEDS_COLUMN_WEIGHTS, TENSOR_TYPES

SCRIPT = """
import sys
import numpy as np
from phi4local.convert import refusals
from phi4local.native import ggml

kind, weighted, rounds = sys.argv[1], sys.argv[2] == "weighted", int(sys.argv[3])
dice = np.random.default_rng(11)

def rows():
    plain = dice.standard_normal((4, 256))
    return (
        lambda: plain * 10.0 ** dice.integers(-38, 9),
        lambda: np.sign(plain) * 10.0 ** dice.integers(-40, 9),
        lambda: plain * 10.0 ** dice.integers(-40, 9, plain.shape),
        lambda: np.where(dice.random(plain.shape) < 0.004, 1e9, plain * 0.02),
        lambda: np.where(dice.random(plain.shape) < 0.004, plain, 0.0),
        lambda: plain * 1e-45,
    )[dice.integers(6)]().astype(np.float32)

def columns():
    return (
        lambda: np.zeros(256),
        lambda: np.full(256, 10.0 ** dice.integers(-40, 30)),
        lambda: 10.0 ** dice.uniform(-40, 30, 256),
        lambda: np.where(np.arange(256) == dice.integers(256), 1e35, 0.0),
        lambda: np.full(256, 1e-45),
    )[dice.integers(5)]().astype(np.float32)

with ggml.lookup_tables({kind}):
    for _ in range(rounds):
        values, weights = rows(), columns() if weighted else None
        limit = refusals.limit(kind, float(weights.max()) if weighted else 0.0)
        largest = np.abs(values).max()
        if largest >= limit:
            values *= np.float32(0.99 * limit / largest)
        stored = ggml.quantize_rows(kind, np.ascontiguousarray(values), weights)
        refusals.storable(stored.reshape(-1), kind)
print("done")
"""

QUANTIZED = [name for name in TENSOR_TYPES if name not in ("F32", "F16", "BF16")]
SLOW = HAVE_TABLES - {"IQ3_XXS"}  # ggml builds their tables in one to ten seconds
CASES = [
    pytest.param(kind, mode, marks=[pytest.mark.full] if kind in SLOW else [])
    for kind in QUANTIZED
    for mode in ("plain", "weighted")
    if mode == "weighted" or kind not in NEEDS_COLUMN_WEIGHTS
]


@pytest.mark.parametrize(("kind", "mode"), CASES)
def test_nothing_below_the_limits_ends_the_process(kind: str, mode: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SCRIPT, kind, mode, "100"],
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
