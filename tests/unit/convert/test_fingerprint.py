"""A fingerprint changes with the content and with nothing else."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from phi4local.convert import fingerprint
from tests.random_checkpoint import write_random_checkpoint


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_random_checkpoint(tmp_path / "c", shards=2)


def test_the_same_twice_and_elsewhere(folder: Path, tmp_path: Path) -> None:
    first = fingerprint(folder)
    assert len(first) == 64
    assert int(first, 16) >= 0
    assert fingerprint(folder) == first
    (folder / "README.md").write_text("not a part of the model")
    assert fingerprint(folder) == first
    moved = shutil.copytree(folder, tmp_path / "moved")  # keeps times
    assert fingerprint(Path(moved)) == first


@pytest.mark.parametrize(
    "name", ["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors.index.json"]
)
def test_a_byte_in_a_small_file(name: str, folder: Path) -> None:
    before = fingerprint(folder)
    with (folder / name).open("ab") as file:
        file.write(b"\n")
    assert fingerprint(folder) != before


@pytest.mark.parametrize("name", ["chat_template.jinja", "chat_template.json", "generation_config.json"])
def test_a_new_small_file(name: str, folder: Path) -> None:
    before = fingerprint(folder)
    (folder / name).write_text("{}")
    assert fingerprint(folder) != before


def test_a_shard_written_again(folder: Path) -> None:
    before = fingerprint(folder)
    shard = min(folder.glob("*.safetensors"))
    state = shard.stat()
    os.utime(shard, ns=(state.st_atime_ns, state.st_mtime_ns + 1))
    assert fingerprint(folder) != before


def test_weights_are_not_read(folder: Path) -> None:
    """Only headers count, so the time does not depend on the size of the model."""
    before = fingerprint(folder)
    shard = min(folder.glob("*.safetensors"))
    state = shard.stat()
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1
    shard.write_bytes(content)
    os.utime(shard, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert fingerprint(folder) == before
