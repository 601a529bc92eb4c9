"""Buffers beside and on a GPU, against what llama.cpp reported on an H100 (benchmarks/results/gpu.json)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from phi4local import catalog
from phi4local.hardware import Gpu, Machine
from phi4local.planning.buffers import Cells
from phi4local.planning.layers import LayerBytes, place
from phi4local.planning.shape import manifest_shape

RESULTS = Path(__file__).parents[3] / "benchmarks" / "results" / "gpu.json"
ROWS = json.loads(RESULTS.read_text())["stages"]["buffers"]["rows"]
CARD = Gpu(
    name="CUDA0",
    description="NVIDIA H100 80GB HBM3",
    back_end="CUDA",
    total_bytes=85 * 10**9,
    free_bytes=84 * 10**9,
    bandwidth=3350e9,
)
MACHINE = Machine(memory_bytes=2**37, available_bytes=2**36, cores=16, gpus=(CARD,), bandwidth=105e9)
MIB = 2**20


def name_of(row):
    fused = "fused" if row["flash_attention"] else "plain"
    return f"{row['gpu_layers']}-{row['context_tokens']}-{row['kv_type']}-{fused}-{row['batch_tokens']}"


@pytest.mark.parametrize("row", ROWS, ids=name_of)
def test_what_llama_cpp_reported(row):
    shape = manifest_shape(catalog.find("phi-4"), "Q4_K_M")
    cells = Cells(
        context_tokens=row["context_tokens"],
        sequences=9,
        batch_tokens=row["batch_tokens"],
        kv_type=row["kv_type"],
        flash_attention=row["flash_attention"],
    )
    main, gpu = place(shape, LayerBytes.of(shape), (cells,), MACHINE, row["gpu_layers"])
    reported = row["reported_mib"]
    for device, planned in (("CUDA0", gpu), ("CPU", main)):
        assert planned.kv_bytes / MIB == pytest.approx(reported[f"KV {device}"], rel=0.01)
        assert planned.weight_bytes / MIB == pytest.approx(reported[f"model {device}"], rel=0.01)
    assert main.output_bytes / MIB == pytest.approx(reported["output CPU"], rel=0.01)
    assert main.compute_bytes / MIB == pytest.approx(reported["compute CPU"], rel=0.01, abs=0.7)
    found = gpu.compute_bytes / MIB
    if row["gpu_layers"] == 41:
        assert found == pytest.approx(reported["compute CUDA0"], rel=0.01)
    else:  # never too little, and the copied matrices are not counted to the last one
        assert reported["compute CUDA0"] <= found <= 1.17 * reported["compute CUDA0"]


def test_there_are_twelve_settings_for_each_of_three_placements():
    assert len({name_of(row) for row in ROWS}) == len(ROWS) == 36
    assert {row["gpu_layers"] for row in ROWS} == {41, 20, 0}
