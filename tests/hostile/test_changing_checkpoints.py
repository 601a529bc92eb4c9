"""A checkpoint that somebody changes while it is converted: one error, nothing left, whatever the change."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from phi4local import errors
from phi4local.convert import AdapterUse, convert_checkpoint
from tests.random_checkpoint import Size, write_random_checkpoint

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="an open file cannot be changed there")

ADAPTERS = Path(__file__).parents[1] / "golden" / "adapters"


def grow(shard: Path) -> None:
    with shard.open("ab") as file:
        file.write(b"more")


def shrink(shard: Path) -> None:
    os.truncate(shard, shard.stat().st_size // 2)


def write_other_weights(shard: Path) -> None:
    with shard.open("r+b") as file:
        file.seek(-64, os.SEEK_END)
        file.write(bytes(64))


def replace_by_a_copy_of_the_same_age(shard: Path) -> None:
    """As rsync does: another file of the same size and time gets the name."""
    other = shard.with_name("other")
    shutil.copy2(shard, other)
    other.replace(shard)


CHANGES = {
    "touched": lambda shard: os.utime(shard, (1, 1)),
    "grown": grow,
    "shrunk": shrink,
    "other weights": write_other_weights,
    "replaced": replace_by_a_copy_of_the_same_age,
    "deleted": os.unlink,
    "a folder now": lambda shard: (shard.unlink(), shard.mkdir()),
    "a link to nowhere now": lambda shard: (shard.unlink(), shard.symlink_to("nowhere")),
}


@pytest.mark.parametrize("moment", ["first", "last"])
@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_found(change: str, moment: str, tmp_path: Path) -> None:
    """At the first report nothing was read but headers, at the last one everything."""
    folder = write_random_checkpoint(tmp_path / "c", shards=2)
    (tmp_path / "out").mkdir()
    shard = max(folder.glob("*.safetensors"))
    reports: list[int] = []

    def progress(done: int, total: int, _tensor: str) -> None:
        reports.append(done)
        if (moment == "first" and len(reports) == 1) or (moment == "last" and done == total):
            CHANGES[change](shard)

    with pytest.raises(
        errors.CheckpointError, match=r"changed|disappeared|ended at byte|cannot be"
    ) as caught:
        convert_checkpoint(folder, tmp_path / "out" / "m.gguf", "Q8_0", progress=progress)
    assert shard.name in str(caught.value)
    assert list((tmp_path / "out").iterdir()) == []


def test_an_adapter_that_changes(tmp_path: Path) -> None:
    adapter = Path(shutil.copytree(ADAPTERS / "lora", tmp_path / "lora"))
    folder = write_random_checkpoint(tmp_path / "c", Size(hidden=32, feed_forward=48, layers=1))
    (tmp_path / "out").mkdir()
    shard = adapter / "adapter_model.safetensors"

    def progress(*_: object) -> None:
        os.utime(shard, (1, 1))

    with pytest.raises(errors.CheckpointError, match=r"adapter_model.*changed while it was converted"):
        convert_checkpoint(
            folder,
            tmp_path / "out" / "m.gguf",
            "Q8_0",
            adapters=[AdapterUse(adapter)],
            progress=progress,
        )
    assert list((tmp_path / "out").iterdir()) == []
