"""Importance matrices: the sums of llama-imatrix, and files that work in both directions."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import gguf
import numpy as np
import pytest

from benchmarks import build_peers
from phi4local import catalog, errors
from phi4local.convert import convert_checkpoint
from phi4local.convert.imatrix import read_imatrix
from phi4local.runtime.imatrix import ImatrixOptions, make_imatrix
from tests.random_checkpoint import NANO

pytestmark = pytest.mark.usefixtures("native_library")

GOLDEN = Path(__file__).parents[1] / "golden" / "imatrix.npz"
TEXT = catalog.recipes_folder() / "calibration.txt"
CHUNKS = 3


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("imatrix") / "nano.gguf"
    convert_checkpoint(NANO, path, "F32")
    return path


@pytest.fixture(scope="module")
def made(model):
    output = model.with_name("ours.gguf")
    options = ImatrixOptions(most_chunks=CHUNKS, process_output=True)
    return make_imatrix(model, [TEXT], output, options=options)


def sums(path):
    return {tensor.name: np.array(tensor.data) for tensor in gguf.GGUFReader(path).tensors}


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert found[name].shape == values.shape
        assert np.allclose(found[name], values, rtol=1e-4, atol=1e-4 * values.max()), name


def test_sums_are_those_of_llama_imatrix(made):
    """Recorded: `llama-imatrix -f calibration.txt -c 512 -b 512 --chunks 3 --process-output --no-ppl`."""
    with np.load(GOLDEN) as file:
        expected = {name: file[name] for name in file}
    assert_same(sums(made.output), expected)
    assert len(expected) == 2 * (4 * 8 + 1)
    assert (made.entries, made.chunks, made.tokens) == (33, 3, 1536)


def test_sums_are_those_of_llama_imatrix_here(made, model, tmp_path, monkeypatch):
    monkeypatch.delenv("PHI4LOCAL_CACHE")  # the tests' own, which is empty
    peers = build_peers.find() or pytest.skip("needs the programs of `python -m benchmarks.build_peers`")
    options = ["-c", "512", "-b", "512", "--chunks", str(CHUNKS), "--process-output", "--no-ppl", "-t", "2"]
    command = [peers.program("llama-imatrix"), "-m", model, "-f", TEXT, "-o", tmp_path / "t.gguf", *options]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    assert_same(sums(made.output), sums(tmp_path / "t.gguf"))


def test_keys_are_those_of_llama_imatrix(made):
    reader = gguf.GGUFReader(made.output)
    found = {key: field.contents() for key, field in reader.fields.items() if not key.startswith("GGUF.")}
    assert found == {
        "general.type": "imatrix",
        "imatrix.datasets": ["calibration.txt"],
        "imatrix.chunk_count": 3,
        "imatrix.chunk_size": 512,
    }


def test_the_converter_takes_it(made, tmp_path):
    found = read_imatrix(made.output)
    assert (found.chunks, found.dataset) == (3, "calibration.txt")
    assert found.columns["blk.7.ffn_down.weight"].shape == (768,)
    assert all(values.min() >= 0 and values.max() > 0 for values in found.columns.values())


def test_an_interrupted_run_goes_on(made, model, tmp_path):
    """Ended after two of its chunks, the same call evaluates the others and has the same sums."""
    output, options = (
        tmp_path / "resumed.gguf",
        ImatrixOptions(most_chunks=3, process_output=True, save_seconds=0),
    )

    class StoppedError(Exception):
        pass

    def stop(done, _total):
        if done == 2:
            raise StoppedError

    with pytest.raises(StoppedError):
        make_imatrix(model, [TEXT], output, options=options, progress=stop)
    assert not output.exists()
    seen = []
    make_imatrix(model, [TEXT], output, options=options, progress=lambda *report: seen.append(report))
    assert seen[0][0] >= 2
    assert seen[-1] == (3, 3)
    assert_same(sums(output), sums(made.output))
    assert [path.name for path in tmp_path.iterdir()] == ["resumed.gguf"]


def test_the_command(run_cli, model, tmp_path):
    (tmp_path / "mine.txt").write_text("Sunlight is made of many colors, and the sky is blue. " * 60)
    ask = ["imatrix", model, tmp_path / "mine.txt", "-c", "128", "-o", tmp_path / "a.gguf"]
    done = run_cli([*ask, "--json"])
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["entries"] == 32
    assert facts["tokens"] == 128 * facts["chunks"] > 0
    again = run_cli(ask)
    assert again.returncode == 1
    assert [line.partition(":")[0] for line in again.stderr.splitlines()] == ["error", "hint"]
    quantized = run_cli(
        ["convert", model, "-q", "IQ2_XXS", "--imatrix", tmp_path / "a.gguf", "-o", tmp_path / "q.gguf"]
    )
    assert quantized.returncode == 0, quantized.stderr


def test_no_text_is_too_little(model, tmp_path):
    (tmp_path / "short.txt").write_text("A short text.")
    with pytest.raises(errors.InvalidSettingError, match="tokens; at least 1,024 are needed"):
        make_imatrix(model, [tmp_path / "short.txt"], tmp_path / "a.gguf")
    with pytest.raises(errors.FileFormatError, match="no such file"):
        make_imatrix(model, [tmp_path / "none.txt"], tmp_path / "a.gguf")
    assert not (tmp_path / "a.gguf").exists()
