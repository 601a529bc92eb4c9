"""Bad checkpoints: the right error, one line that names the file, and nothing left behind."""

from __future__ import annotations

import os
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest

from phi4local import errors
from phi4local.convert import convert_checkpoint, fingerprint, plan_conversion
from phi4local.convert.safetensors import read_shard
from tests.hostile.bad_configs import CONFIGS
from tests.hostile.bad_shards import FOLDERS, HEADERS, INDEXES, TENSORS
from tests.hostile.bad_tokenizers import TOKENIZERS
from tests.hostile.spoiled_checkpoints import FIRST, INDEX, split_shard
from tests.random_checkpoint import Size, stored, write_random_checkpoint, write_weights

ALL = FOLDERS | INDEXES | HEADERS | TENSORS | CONFIGS | TOKENIZERS


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_checkpoint(tmp_path_factory.mktemp("good"), shards=2)


@pytest.fixture
def folder(good: Path, tmp_path: Path) -> Path:
    """Return a copy to spoil; its name is the sort that paths in messages have to survive."""
    return Path(shutil.copytree(good, tmp_path / "check point"))


@pytest.fixture
def output(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / "model.gguf"


@pytest.mark.parametrize("name", ALL)
def test_refused_with_its_cause(name: str, folder: Path, output: Path) -> None:
    case = ALL[name]
    case.spoil(folder)
    with pytest.raises(case.error, match=case.says) as caught:
        convert_checkpoint(folder, output, "Q8_0")
    message = str(caught.value)
    assert type(caught.value) is case.error
    assert str(folder) in message
    assert case.names in message
    assert "\n" not in message
    assert len(message.replace(str(folder), "")) <= 300
    assert caught.value.hint
    assert list(output.parent.iterdir()) == []


def test_the_good_one_converts(folder: Path, output: Path) -> None:
    convert_checkpoint(folder, output, "Q8_0")
    assert output.is_file()


@pytest.mark.parametrize("name", ["absent", "file"])
def test_no_folder(name: str, tmp_path: Path, output: Path) -> None:
    (tmp_path / "file").write_bytes(b"GGUF")
    with pytest.raises(errors.CheckpointError, match=r"no folder|no such folder"):
        convert_checkpoint(tmp_path / name, output, "Q8_0")
    assert list(output.parent.iterdir()) == []


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ([], "no checkpoint: config.json is missing"),
        (["config.json"], "model.safetensors is missing"),
        (["config.json", "model.Q4_K_M.gguf"], "GGUF file, which needs no conversion"),
        (["config.json", "pytorch_model.bin"], "pickle"),
        (["config.json", "consolidated.00.pth"], "pickle"),
        (["config.json", "part.safetensors"], "index.json is missing"),
    ],
)
def test_folders_that_hold_something_else(names: list[str], says: str, tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    for name in names:
        (tmp_path / "c" / name).write_bytes(b"{}")
    with pytest.raises(errors.CheckpointError, match=says):
        plan_conversion(tmp_path / "c", "Q8_0")


def test_a_pickle_is_not_opened(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ALL["pickles only"].spoil(folder)
    opened: list[Path] = []
    original = Path.open
    monkeypatch.setattr(Path, "open", lambda self, *a, **k: (opened.append(self), original(self, *a, **k))[1])
    with pytest.raises(errors.CheckpointError, match="pickle"):
        plan_conversion(folder, "Q8_0")
    assert not [path for path in opened if path.suffix == ".bin"]


@pytest.mark.skipif(os.name == "nt", reason="making a link needs a privilege there")
def test_the_layout_of_the_hugging_face_cache(good: Path, tmp_path: Path, output: Path) -> None:
    """There, every file of a snapshot is a link to `blobs/`."""
    blobs, snapshot = tmp_path / "models--x" / "blobs", tmp_path / "models--x" / "snapshots" / "abc"
    shutil.copytree(good, blobs)
    snapshot.mkdir(parents=True)
    for path in blobs.iterdir():
        (snapshot / path.name).symlink_to(Path("../../blobs") / path.name)
    convert_checkpoint(snapshot, output, "Q8_0")
    (tmp_path / "link").symlink_to(snapshot)
    convert_checkpoint(tmp_path / "link", output, "Q8_0", overwrite=True)


def test_truncated_shards(folder: Path, output: Path) -> None:
    """Every length of the header, and 200 of the data: refused, with what was expected and found."""
    whole = (folder / FIRST).read_bytes()
    header_bytes = 8 + struct.unpack("<Q", whole[:8])[0]
    lengths = [
        *range(0, header_bytes, 7),
        header_bytes - 1,
        *np.linspace(header_bytes, len(whole) - 1, 200, dtype=int),
    ]
    for length in lengths:
        (folder / FIRST).write_bytes(whole[:length])
        with pytest.raises(errors.CheckpointError, match=rf"truncated: expected .* bytes, found {length:,}$"):
            plan_conversion(folder, "Q8_0")
    (folder / FIRST).write_bytes(whole[:-1])
    with pytest.raises(
        errors.CheckpointError, match=f"expected {len(whole):,} bytes, found {len(whole) - 1:,}"
    ):
        convert_checkpoint(folder, output, "Q8_0")
    assert list(output.parent.iterdir()) == []


@pytest.mark.full
def test_truncated_shards_at_every_byte_of_the_header(folder: Path) -> None:
    whole = (folder / FIRST).read_bytes()
    for length in range(8 + struct.unpack("<Q", whole[:8])[0] + 100):
        (folder / FIRST).write_bytes(whole[:length])
        with pytest.raises(errors.CheckpointError, match=rf"found {length:,}$"):
            read_shard(folder / FIRST)


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
    with pytest.raises(errors.ConversionError, match=rf"{tensor}.* cannot store") as caught:
        convert_checkpoint(source, output, quantization)
    assert type(caught.value) is errors.ConversionError
    assert "model.safetensors" in str(caught.value)
    assert list(output.parent.iterdir()) == []


@pytest.mark.parametrize("value", [1e9, 1e12, 1e20, 1e30, 3e38])
@pytest.mark.parametrize("quantization", ["Q4_K_M", "Q5_K_M", "Q6_K"])
def test_weights_beyond_the_range_of_k_quants(
    value: float, quantization: str, tmp_path: Path, output: Path
) -> None:
    """ggml alone stores NaN scales for these, and Q6_K even a plain 0 for 1e20: its sums overflow."""
    source = write_random_checkpoint(tmp_path / "c", Size(hidden=256, layers=1, heads=4))
    write_weights_with(source, "model.layers.0.self_attn.o_proj.weight", {5: value}, dtype="F32")
    with pytest.raises(errors.ConversionError, match="cannot store"):
        convert_checkpoint(source, output, quantization)


def test_fingerprint_refuses_what_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(errors.CheckpointError):
        fingerprint(tmp_path)
