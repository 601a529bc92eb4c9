"""Bad checkpoints: the right error, one line that names the file, and nothing left behind."""

from __future__ import annotations

import json
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
from tests.hostile.spoiled_checkpoints import (
    FIRST,
    INDEX,
    SECOND,
    drop,
    edit,
    edit_header,
    set_config,
    split_shard,
)
from tests.random_checkpoint import write_random_checkpoint, write_raw

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


def pad_headers(folder: Path) -> None:
    """White space around the JSON is legal: `test_whitespace_*_padded_header` in safetensors' tensor.rs."""
    for name in (FIRST, SECOND):
        header, data = split_shard(folder / name)
        write_raw(folder / name, b" \n\t" + json.dumps(header).encode() + b"  \n", data)


def add_buffer(folder: Path) -> None:
    """Old checkpoints stored what follows from rope_theta."""
    header, data = split_shard(folder / FIRST)
    name = "model.layers.0.self_attn.rotary_emb.inv_freq"
    header[name] = {"dtype": "F32", "shape": [8], "data_offsets": [len(data), len(data) + 32]}
    write_raw(folder / FIRST, json.dumps(header).encode(), data + bytes(32))
    edit(INDEX, lambda index: index["weight_map"].update({name: FIRST}))(folder)


UNUSUAL = {
    "white space around the headers": pad_headers,
    "no metadata in a shard": edit_header(FIRST, drop("__metadata__")),
    "wrong total size": edit(INDEX, lambda index: index["metadata"].update(total_size=1)),
    "no total size": edit(INDEX, drop("metadata")),
    "a shard that the index does not name": lambda folder: (folder / "old.safetensors").write_bytes(b"x"),
    "a pickle beside the shards": lambda folder: (folder / "training_args.bin").write_bytes(b"\x80"),
    "a window of null": set_config(sliding_window=None),
    "a frequency buffer": add_buffer,
    "other files": lambda folder: (folder / "README.md").write_text("hello"),
}


@pytest.mark.parametrize("name", UNUSUAL)
def test_unusual_and_legal(name: str, folder: Path, output: Path) -> None:
    """The file is the same as without it."""
    convert_checkpoint(folder, output, "Q8_0")
    expected = output.read_bytes()
    UNUSUAL[name](folder)
    convert_checkpoint(folder, output, "Q8_0", overwrite=True)
    assert output.read_bytes() == expected


@pytest.mark.parametrize("name", ["absent", "file"])
def test_no_folder(name: str, tmp_path: Path, output: Path) -> None:
    (tmp_path / "file").write_bytes(b"text")
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


def test_fingerprint_refuses_what_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(errors.CheckpointError):
        fingerprint(tmp_path)
