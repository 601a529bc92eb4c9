"""F32, F16 and BF16: the numbers equal the source's, read by the `safetensors` package."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import gguf
import numpy as np
import pytest
import safetensors

from phi4local.convert import convert_checkpoint, plan_conversion
from tests.random_checkpoint import NANO, Size, shapes, stored, write_random_checkpoint, write_weights

if TYPE_CHECKING:
    from pathlib import Path


def source_values(folder: Path) -> dict[str, np.ndarray]:
    """Return every tensor as float32."""
    found = {}
    for shard in sorted(folder.glob("*.safetensors")):
        for name, tensor in safetensors.deserialize(shard.read_bytes()):
            raw = np.frombuffer(tensor["data"], np.uint8)
            if tensor["dtype"] == "BF16":
                values = np.stack([np.zeros_like(raw.view("<u2")), raw.view("<u2")], axis=-1).view("<f4")
            else:
                values = raw.view({"F16": "<f2", "F32": "<f4"}[tensor["dtype"]]).astype(np.float32)
            found[name] = values.reshape(tensor["shape"])
    return found


@pytest.fixture(scope="module")
def f32_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_checkpoint(tmp_path_factory.mktemp("f32"), dtype="F32", shards=3)


@pytest.fixture(scope="module")
def f16_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_checkpoint(tmp_path_factory.mktemp("f16"), Size(hidden=32), dtype="F16")


@pytest.mark.parametrize("target", ["F32", "F16", "BF16"])
@pytest.mark.parametrize("source", ["nano", "f32_checkpoint", "f16_checkpoint"])
def test_values_are_the_sources(
    source: str, target: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    folder = NANO if source == "nano" else request.getfixturevalue(source)
    output = tmp_path / "model.gguf"
    convert_checkpoint(folder, output, target)
    names = {tensor.name: tensor.source.name for tensor in plan_conversion(folder, target).tensors}
    expected = source_values(folder)
    assert sorted(names.values()) == sorted(expected)
    for tensor in gguf.GGUFReader(output).tensors:
        values = expected[names[tensor.name]]
        kind = "F32" if values.ndim == 1 else target
        assert tensor.tensor_type.name == kind
        wanted = stored(values, kind)
        assert np.array_equal(
            np.asarray(tensor.data).reshape(-1).view(np.uint8), wanted.reshape(-1).view(np.uint8)
        )


def test_extreme_finite_numbers_survive(tmp_path: Path) -> None:
    """Zeros with a sign, subnormal numbers and the largest finite ones stay bit for bit."""
    checkpoint = write_random_checkpoint(tmp_path / "checkpoint")
    tokens = json.loads((checkpoint / "config.json").read_text())["vocab_size"]
    bits = np.array([0x0000, 0x8000, 0x0001, 0x807F, 0x0080, 0x7F7F, 0xFF7F, 0x3F80], np.uint16)
    weights = {name: np.resize(bits, shape) for name, shape in shapes(Size(), tokens).items()}
    write_weights(checkpoint, weights, "BF16")
    for target in ("BF16", "F32"):
        output = tmp_path / f"{target}.gguf"
        convert_checkpoint(checkpoint, output, target)
        for tensor in gguf.GGUFReader(output).tensors:
            found = np.asarray(tensor.data).reshape(-1).view(np.uint8)
            if tensor.tensor_type.name == "BF16":
                assert np.array_equal(found.view(np.uint16), np.resize(bits, found.size // 2))
            else:
                assert np.array_equal(
                    found.view(np.uint32), np.resize(bits, found.size // 4).astype(np.uint32) << 16
                )
