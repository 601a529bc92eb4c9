"""Weights that are not finite, or beyond what a type can hold: tensor, count and first index."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from phi4local import errors
from phi4local.convert import convert_checkpoint
from tests.hostile.spoiled_checkpoints import INDEX, split_shard
from tests.random_checkpoint import Size, stored, write_random_checkpoint, write_weights


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_checkpoint(tmp_path_factory.mktemp("good"), shards=2)


@pytest.fixture
def folder(good: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(good, tmp_path / "c"))


@pytest.fixture
def output(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / "model.gguf"


VALUES = {"NaN": np.nan, "inf": np.inf, "-inf": -np.inf}


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("quantization", ["Q8_0", "Q4_K_M", "F16", "BF16", "F32"])
@pytest.mark.parametrize(
    "tensor", ["model.embed_tokens.weight", "model.layers.1.mlp.down_proj.weight", "model.norm.weight"]
)
def test_weights_that_are_not_finite(
    value: str, quantization: str, tensor: str, folder: Path, output: Path, tmp_path: Path
) -> None:
    source = write_weights_with(folder, tensor, {17: VALUES[value], 40: np.nan, 41: -np.inf})
    with pytest.raises(errors.NonFiniteWeightError) as caught:
        convert_checkpoint(source, output, quantization)
    assert (caught.value.tensor, caught.value.count, caught.value.first_index) == (tensor, 3, 17)
    assert list(output.parent.iterdir()) == []


def write_weights_with(folder: Path, tensor: str, values: dict[int, float], dtype: str = "BF16") -> Path:
    """Rewrite the weights as one file in which single elements of `tensor` are replaced."""
    weights: dict[str, np.ndarray] = {}
    for shard in sorted(folder.glob("*.safetensors")):
        header, data = split_shard(shard)
        for name, entry in header.items():
            if name != "__metadata__":
                begin, end = entry["data_offsets"]
                bits = np.frombuffer(data[begin:end], "<u2").astype(np.uint32) << 16
                weights[name] = bits.view(np.float32).reshape(entry["shape"])
        shard.unlink()
    (folder / INDEX).unlink(missing_ok=True)
    for place, value in values.items():
        weights[tensor].reshape(-1)[place] = value
    with np.errstate(over="ignore"):
        write_weights(folder, {name: stored(array, dtype) for name, array in weights.items()}, dtype)
    return folder


def test_first_of_many_chunks_is_counted_over_the_whole_tensor(folder: Path, output: Path) -> None:
    """An index beyond the first chunk is an index of the tensor."""
    from phi4local.convert import rows

    places = {3: np.nan, 6000: np.nan, 6001: np.inf}
    source = write_weights_with(folder, "model.embed_tokens.weight", places)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows, "CHUNK_ELEMENTS", 640)
        for threads in (1, 4):
            with pytest.raises(errors.NonFiniteWeightError) as caught:
                convert_checkpoint(source, output, "Q8_0", threads=threads)
            assert (caught.value.count, caught.value.first_index) == (3, 3)


@pytest.mark.parametrize(
    ("value", "quantization", "fits"),
    [
        (65504.0, "F16", True),
        (65519.0, "F16", True),
        (65520.0, "F16", False),
        (-70000.0, "F16", False),
        (70000.0, "BF16", True),
        (70000.0, "Q8_0", True),
        (8.3e6, "Q8_0", True),
        (8.4e6, "Q8_0", False),
        (-5.2e5, "Q4_0", True),
        (5.3e5, "Q4_0", False),
        (1e12, "Q4_0", False),
        (1e30, "Q8_0", False),
        (1e30, "F32", True),
        (1e30, "BF16", True),
    ],
)
def test_weights_beyond_a_types_range(
    value: float, quantization: str, fits: bool, folder: Path, output: Path
) -> None:
    tensor = "model.layers.0.mlp.gate_up_proj.weight"
    source = write_weights_with(folder, tensor, {5: value}, dtype="F32")
    if fits:
        convert_checkpoint(source, output, quantization)
        return
    with pytest.raises(errors.UnstorableWeightError, match=rf"{tensor}.* cannot store 1 of") as caught:
        convert_checkpoint(source, output, quantization)
    assert (caught.value.tensor, caught.value.count, caught.value.first_index) == (tensor, 1, 5)
    assert caught.value.first_value == pytest.approx(value)
    assert list(output.parent.iterdir()) == []


@pytest.mark.parametrize("value", [1e9, 1e12, 1e20, 1e30, 3e38])
@pytest.mark.parametrize("quantization", ["Q4_K_M", "Q5_K_M", "Q6_K"])
def test_weights_beyond_the_range_of_k_quants(
    value: float, quantization: str, tmp_path: Path, output: Path
) -> None:
    """ggml alone stores NaN scales for these, and Q6_K even a plain 0 for 1e20: its sums overflow."""
    source = write_random_checkpoint(tmp_path / "c", Size(hidden=256, layers=1, heads=4))
    write_weights_with(source, "model.layers.0.self_attn.o_proj.weight", {5: value}, dtype="F32")
    with pytest.raises(errors.UnstorableWeightError, match="cannot store") as caught:
        convert_checkpoint(source, output, quantization)
    assert (caught.value.count, caught.value.first_index) == (1, 5)


@pytest.mark.parametrize(("quantization", "count"), [("F16", 4), ("Q8_0", 3)])
def test_values_beyond_the_range_are_counted_over_the_whole_tensor(
    quantization: str, count: int, folder: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four values in three blocks of 32; the smallest chunk comes last, the first index is of the tensor."""
    from phi4local.convert import rows

    tensor = "model.embed_tokens.weight"
    values = {6000: 1e8, 6001: -1e10, 6400: 9e9, 9000: 1e7}
    source = write_weights_with(folder, tensor, values, dtype="F32")
    monkeypatch.setattr(rows, "CHUNK_ELEMENTS", 640)
    for threads in (1, 4):
        with pytest.raises(errors.UnstorableWeightError) as caught:
            convert_checkpoint(source, output, quantization, threads=threads)
        assert caught.value.count == count
        assert caught.value.first_index == (6000 if quantization == "F16" else 6001)
