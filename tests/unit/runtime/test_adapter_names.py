"""What stands behind `--adapter`: a name of the store, a file, or a folder of PEFT."""

from pathlib import Path

import pytest

from phi4local import gguf
from phi4local.convert import convert_checkpoint
from phi4local.errors import AdapterError
from phi4local.runtime.adapters import adapter_file, keep_adapter
from tests.peft_folders import copied
from tests.random_checkpoint import Size, write_random_checkpoint


@pytest.fixture
def base(tmp_path, home, monkeypatch):
    """Return the header of the model that the adapter is for; its folder is the working one."""
    checkpoint = write_random_checkpoint(
        tmp_path / "c", Size(hidden=32, feed_forward=48, layers=1), dtype="F32"
    )
    convert_checkpoint(checkpoint, tmp_path / "base.gguf", "F32")
    monkeypatch.chdir(tmp_path)
    return gguf.validate(tmp_path / "base.gguf")


def test_a_folder_that_is_no_adapter_gives_way_to_the_name(base, tmp_path):
    kept = keep_adapter(copied("lora", tmp_path), "nova", base="c")
    Path("nova", "checkpoint-12").mkdir(parents=True)  # as `phi4local finetune --output-dir nova` leaves it
    assert adapter_file(Path("nova"), base) == kept.file


def test_a_folder_that_is_one_goes_before_the_name(base, tmp_path):
    kept = keep_adapter(copied("lora", tmp_path), "adapter", base="c")
    assert adapter_file(Path("adapter"), base) != kept.file


def test_a_folder_that_is_none_and_has_no_name_either_is_refused(base):
    Path("empty").mkdir()
    with pytest.raises(AdapterError, match="adapter_config"):
        adapter_file(Path("empty"), base)


def test_a_name_that_nothing_has_is_told_where_the_names_are(base):
    with pytest.raises(AdapterError, match="is no name of an adapter, no file and no folder") as caught:
        adapter_file(Path("nowa"), base)
    assert "`phi4local adapters list`" in caught.value.hint
