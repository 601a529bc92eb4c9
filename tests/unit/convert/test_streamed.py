"""Shards that arrive from elsewhere make the same bytes as shards on the disk, and go one by one."""

import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import save_file

from phi4local.convert import StreamedCheckpoint, convert_checkpoint, convert_to_several
from phi4local.errors import CheckpointError, ConversionError, DamagedFileError
from tests.random_checkpoint import Size, write_random_checkpoint

pytestmark = pytest.mark.usefixtures("native_library")
QUANTIZATIONS = ("Q4_K_M", "Q8_0", "BF16")
HEADER_BYTES = 64 * 1024


class Stream:
    """Bytes that go by: behind the header no byte can be had twice. What happens is written to `log`."""

    def __init__(self, name, data, log, *, damaged=False):
        self.name, self.size_bytes = name, len(data)
        self._data, self._log, self._damaged, self._position = data, log, damaged, 0

    def read(self, offset, count):
        assert offset >= self._position or offset + count <= HEADER_BYTES, "it went by"
        self._log.append(("read", self.name))
        data = self._data[offset : offset + count]
        self._position = max(self._position, offset + len(data))
        return data

    def finish(self):
        self._log.append(("finish", self.name))
        if self._damaged:
            raise DamagedFileError("it is another file")

    def close(self):
        self._log.append(("close", self.name))


def streamed(folder, checkpoint, log, **more):
    """Return the checkpoint with its small files in `folder` and its shards in memory."""
    folder.mkdir(parents=True)
    shards = {}
    for path in checkpoint.iterdir():
        if path.suffix == ".safetensors":
            shards[path.name] = Stream(path.name, path.read_bytes(), log, **more)
        elif path.is_file():
            shutil.copy(path, folder)
    return StreamedCheckpoint(folder, shards)


@pytest.fixture(scope="module")
def four_shards(checkpoint, tmp_path_factory):
    """phi4-nano in four shards, whose order is not the order of the output."""
    folder = tmp_path_factory.mktemp("four") / "phi4-nano"
    shutil.copytree(checkpoint, folder, ignore=shutil.ignore_patterns("*.safetensors*"))
    tensors = all_tensors(checkpoint)
    names = sorted(tensors, key=lambda name: name[::-1])
    placed = {
        name: f"model-{1 + 4 * number // len(names):05}-of-00004.safetensors"
        for number, name in enumerate(names)
    }
    for shard in set(placed.values()):
        save_file({name: tensors[name] for name in names if placed[name] == shard}, folder / shard)
    index = {"metadata": {}, "weight_map": placed}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    return folder


def all_tensors(checkpoint):
    """Return the tensors as float32 arrays by name: BF16 is the upper half of a float32."""
    tensors = {}
    for path in checkpoint.glob("*.safetensors"):
        data = path.read_bytes()
        size = int.from_bytes(data[:8], "little")
        for name, entry in json.loads(data[8 : 8 + size]).items():
            if name != "__metadata__":
                begin, end = (8 + size + offset for offset in entry["data_offsets"])
                wide = np.frombuffer(data[begin:end], "<u2").astype("<u4") << 16
                tensors[name] = wide.view("<f4").reshape(entry["shape"])
    return tensors


@pytest.mark.parametrize("threads", [1, 3])
def test_what_arrives_becomes_the_same_files(four_shards, tmp_path, threads):
    log = []
    with streamed(tmp_path / "phi4-nano", four_shards, log) as arriving:
        made = {name: tmp_path / f"streamed-{name}.gguf" for name in QUANTIZATIONS}
        convert_to_several(arriving, made, threads=threads)
    expected = {name: tmp_path / f"local-{name}.gguf" for name in QUANTIZATIONS}
    convert_to_several(four_shards, expected)
    for name in QUANTIZATIONS:
        assert made[name].read_bytes() == expected[name].read_bytes(), name


def test_a_shard_is_done_with_before_the_next_one_begins(four_shards, tmp_path):
    log = []
    with streamed(tmp_path / "phi4-nano", four_shards, log) as arriving:
        convert_checkpoint(arriving, tmp_path / "out.gguf", "Q8_0")
    names = sorted(path.name for path in four_shards.glob("*.safetensors"))
    assert [name for event, name in log if event == "finish"] == names
    headers = 3 * len(names)  # of each: length, header, hanging up
    in_order = [name for event, name in log[headers:]]
    assert in_order == sorted(in_order)
    for name in names:
        assert [event for event, of in log if of == name][-2:] == ["finish", "close"]


def test_the_embedded_checkpoint_arrives_with_its_own_shards(checkpoint, tmp_path):
    with streamed(tmp_path / "phi4-nano", checkpoint, []) as arriving:
        convert_checkpoint(arriving, tmp_path / "streamed.gguf", "Q4_K_M")
    convert_checkpoint(checkpoint, tmp_path / "local.gguf", "Q4_K_M")
    assert (tmp_path / "streamed.gguf").read_bytes() == (tmp_path / "local.gguf").read_bytes()


def test_a_single_file_needs_no_index(checkpoint, tmp_path):
    folder = tmp_path / "single"
    shutil.copytree(checkpoint, folder, ignore=shutil.ignore_patterns("*.safetensors*"))
    save_file(all_tensors(checkpoint), folder / "model.safetensors")
    with streamed(tmp_path / "a" / "single", folder, []) as arriving:
        convert_checkpoint(arriving, tmp_path / "streamed.gguf", "Q8_0")
    convert_checkpoint(folder, tmp_path / "local.gguf", "Q8_0")
    assert (tmp_path / "streamed.gguf").read_bytes() == (tmp_path / "local.gguf").read_bytes()


def test_what_arrives_damaged_makes_no_file(checkpoint, tmp_path):
    log, output = [], tmp_path / "out" / "model.gguf"
    output.parent.mkdir()
    with (
        streamed(tmp_path / "phi4-nano", checkpoint, log, damaged=True) as arriving,
        pytest.raises(DamagedFileError),
    ):
        convert_checkpoint(arriving, output, "Q8_0")
    assert list(output.parent.iterdir()) == []
    assert {name for event, name in log if event == "close"} == {
        name for event, name in log if event == "read"
    }


def test_a_shard_that_ends_early_is_an_error(checkpoint, tmp_path):
    with streamed(tmp_path / "phi4-nano", checkpoint, []) as arriving:
        for name in arriving.names:
            stream = arriving.stream(arriving.folder / name)
            stream._data = stream._data[:-1]
        with pytest.raises(CheckpointError, match="ended at byte"):
            convert_checkpoint(arriving, tmp_path / "model.gguf", "Q8_0")
    assert not (tmp_path / "model.gguf").exists()


@pytest.mark.parametrize(("value", "words"), [(np.nan, "NaN or infinity"), (3e38, "cannot store")])
def test_bad_weights_are_refused_though_they_cannot_be_counted(checkpoint, tmp_path, value, words):
    folder = tmp_path / "bad"
    shutil.copytree(checkpoint, folder, ignore=shutil.ignore_patterns("*.safetensors*"))
    tensors = all_tensors(checkpoint)
    name = "model.layers.3.mlp.down_proj.weight"
    tensors[name] = tensors[name].copy()
    tensors[name][200, 5] = value
    save_file(tensors, folder / "model.safetensors")
    with streamed(tmp_path / "a" / "bad", folder, []) as arriving, pytest.raises(ConversionError) as caught:
        convert_checkpoint(arriving, tmp_path / "model.gguf", "Q8_0")
    assert words in str(caught.value)
    assert name in str(caught.value)


def test_rows_that_lie_apart_are_refused_before_anything_is_read(tmp_path):
    folder = write_random_checkpoint(tmp_path / "llamafied", Size(layout="llama"), dtype="F32")
    with (
        streamed(tmp_path / "a" / "llamafied", folder, []) as arriving,
        pytest.raises(ConversionError, match="lie apart") as caught,
    ):
        convert_checkpoint(arriving, tmp_path / "model.gguf", "Q8_0")
    assert "--stream" in str(caught.value.hint)
