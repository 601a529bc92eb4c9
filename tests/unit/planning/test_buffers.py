"""Bytes beside the weights, against what llama.cpp reports when it allocates them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from phi4local import gguf
from phi4local.convert import convert_checkpoint
from phi4local.planning import model_shape
from phi4local.planning.buffers import Cells, compute_bytes, kv_bytes, output_bytes

REPORTER = Path(__file__).parents[2] / "llama_memory.py"
GGML_TYPES = {"f32": 0, "f16": 1, "q8_0": 8, "q4_0": 2}

SETTINGS = [
    Cells(context_tokens=256, sequences=9),
    Cells(context_tokens=1000, sequences=9),
    Cells(context_tokens=2048, sequences=1),
    Cells(context_tokens=2048, sequences=9, batch_tokens=128),
    Cells(context_tokens=2048, sequences=9, kv_type="q8_0"),
    Cells(context_tokens=2048, sequences=9, kv_type="q4_0"),
    Cells(context_tokens=2048, sequences=4, streams=4),
    Cells(context_tokens=2048, sequences=2, batch_tokens=2048),
    Cells(context_tokens=512, sequences=9, flash_attention=False),
    Cells(context_tokens=2048, sequences=9, flash_attention=False),
    Cells(context_tokens=2048, sequences=4, streams=4, flash_attention=False),
    Cells(context_tokens=2048, sequences=9, kv_type="f32", flash_attention=False),
]


@pytest.fixture(scope="module")
def nano(checkpoint, tmp_path_factory):
    path = tmp_path_factory.mktemp("nano") / "nano.gguf"
    convert_checkpoint(checkpoint, path, "Q8_0")
    return path


@pytest.fixture(scope="module")
def reported(nano, native_library):
    asked = [
        {
            "n_ctx": cells.context_tokens * cells.streams,
            "kv": GGML_TYPES[cells.kv_type],
            "fa": int(cells.flash_attention),
            "batch": cells.batch_tokens,
            "sequences": cells.sequences,
            "unified": cells.streams == 1,
        }
        for cells in SETTINGS
    ]
    command = [sys.executable, REPORTER, nano, json.dumps(asked)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    return json.loads(done.stdout)


@pytest.mark.parametrize("number", range(len(SETTINGS)))
def test_buffers_are_within_one_per_cent_of_what_llama_cpp_allocates(number, nano, reported):
    cells, theirs = SETTINGS[number], reported["contexts"][number]
    model = model_shape(gguf.read_header(nano))
    ours = {
        "KV CPU": kv_bytes(model, cells),
        "compute CPU": compute_bytes(model, cells),
        "output CPU": output_bytes(model, cells),
    }
    assert set(theirs) == set(ours)
    for name, size in ours.items():
        assert size / 2**20 == pytest.approx(theirs[name], rel=0.01, abs=0.006), (
            name
        )  # two decimals are logged


def test_the_weights_are_the_bytes_that_llama_cpp_maps(nano, reported):
    weights = sum(size for name, size in reported["weights"].items() if name.startswith("model"))
    assert model_shape(gguf.read_header(nano)).weight_bytes / 2**20 == pytest.approx(weights, rel=0.01)
