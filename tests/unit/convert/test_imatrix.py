"""Importance matrices: both formats, the keys they leave behind, and files that are damaged or of others."""

from __future__ import annotations

import random
import struct
from typing import TYPE_CHECKING

import gguf
import numpy as np
import pytest

from phi4local import errors
from phi4local.convert import TargetOptions, convert_checkpoint, plan_conversion
from phi4local.convert.imatrix import read_imatrix
from tests.llama_quantize import random_columns, write_imatrix_gguf, write_imatrix_legacy
from tests.random_checkpoint import Size, write_random_checkpoint

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

COLUMNS = random_columns({"blk.0.attn_qkv.weight": 256, "blk.0.ffn_down.weight": 512})
WRITERS = {"gguf": write_imatrix_gguf, "dat": write_imatrix_legacy}


@pytest.mark.parametrize("kind", WRITERS)
def test_values_are_those_that_were_written(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "imatrix"
    WRITERS[kind](path, COLUMNS)
    found = read_imatrix(path)
    assert found.columns.keys() == COLUMNS.keys()
    for name, columns in COLUMNS.items():  # multiplied by a power of two and divided by it again
        assert np.array_equal(found.columns[name], columns)
        assert found.columns[name].dtype == np.float32
    assert (found.dataset, found.chunks) == ("calibration.txt", 125)


def test_division_rounds_as_in_float32(tmp_path: Path) -> None:
    """llama-quantize divides two float32; 1/3 of a float32 differs from 1/3 of a double in the last bits."""
    write_imatrix_gguf(tmp_path / "m", {"t": np.float32([1e-3, 7.7])}, count=3)
    with gguf_reader(tmp_path / "m") as stored:
        expected = stored["t.in_sum2"].reshape(-1) / np.float32(3)
    assert np.array_equal(read_imatrix(tmp_path / "m").columns["t"], expected)


class gguf_reader:  # noqa: N801 - reads as a function
    def __init__(self, path: Path) -> None:
        self._tensors = {tensor.name: tensor.data.copy() for tensor in gguf.GGUFReader(path).tensors}

    def __enter__(self) -> dict[str, np.ndarray]:
        return self._tensors

    def __exit__(self, *_: object) -> None: ...


def test_a_matrix_that_saw_nothing_weighs_all_columns_alike(tmp_path: Path) -> None:
    write_imatrix_gguf(tmp_path / "m", {"t": np.float32([1, 2])}, count=0)
    assert read_imatrix(tmp_path / "m").columns["t"].tolist() == [1.0, 1.0]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    size = Size(hidden=256, feed_forward=512, layers=1, heads=4, kv_heads=4)
    return write_random_checkpoint(tmp_path_factory.mktemp("c"), size)


@pytest.fixture(scope="module")
def columns(checkpoint: Path) -> dict[str, np.ndarray]:
    tensors = plan_conversion(checkpoint, "F32").tensors
    return random_columns({t.name: t.shape[-1] for t in tensors if len(t.shape) > 1 and "blk" in t.name})


def options(path: Path) -> TargetOptions:
    return TargetOptions(imatrix=path)


def test_keys_are_llama_quantizes(checkpoint: Path, columns: dict, tmp_path: Path) -> None:
    """tools/quantize/quantize.cpp: file, dataset, entries_count, chunks_count; texts have 127 bytes."""
    name = "i" * 100 + "ä" * 40 + ".gguf"
    path = tmp_path / name
    write_imatrix_gguf(path, columns)
    metadata = {
        entry.key: entry for entry in plan_conversion(checkpoint, "Q4_K_M", options=options(path)).metadata
    }
    found = {key: (entry.type, entry.value) for key, entry in metadata.items() if "imatrix" in key}
    file = str(path).encode()[:127].decode(errors="ignore")
    assert found == {
        "quantize.imatrix.file": ("str", file),
        "quantize.imatrix.dataset": ("str", "calibration.txt"),
        "quantize.imatrix.entries_count": ("u32", len(columns)),
        "quantize.imatrix.chunks_count": ("u32", 125),
    }
    assert "quantize.imatrix.file" not in {e.key for e in plan_conversion(checkpoint, "Q4_K_M").metadata}


def test_both_formats_make_the_same_file(checkpoint: Path, columns: dict, tmp_path: Path) -> None:
    path = tmp_path / "imatrix"
    found = set()
    for write in WRITERS.values():
        write(path, columns)
        convert_checkpoint(checkpoint, tmp_path / "m.gguf", "Q4_K_M", overwrite=True, target=options(path))
        found.add((tmp_path / "m.gguf").read_bytes())
    assert len(found) == 1
    convert_checkpoint(checkpoint, tmp_path / "plain.gguf", "Q4_K_M")
    assert (tmp_path / "plain.gguf").read_bytes() not in found


def test_an_entry_of_another_length_is_refused(checkpoint: Path, columns: dict, tmp_path: Path) -> None:
    write_imatrix_gguf(tmp_path / "m", columns | {"blk.0.ffn_up.weight": np.ones(255, np.float32)})
    with pytest.raises(errors.FileFormatError, match=r"255 columns for tensor `blk.0.ffn_up.weight`"):
        plan_conversion(checkpoint, "Q4_K_M", options=options(tmp_path / "m"))


def test_of_the_embedding_it_is_ignored(checkpoint: Path, columns: dict, tmp_path: Path) -> None:
    """As llama-quantize does: every imatrix of an old tool has a wrong one."""
    write_imatrix_gguf(tmp_path / "m", columns | {"token_embd.weight": np.ones(320, np.float32)})
    plan = plan_conversion(checkpoint, "Q4_K_M", options=options(tmp_path / "m"))
    assert next(t for t in plan.tensors if t.name == "token_embd.weight").column_weights is None


def test_a_missing_entry_is_named(checkpoint: Path, columns: dict, tmp_path: Path) -> None:
    rest = {name: values for name, values in columns.items() if "ffn_up" not in name}
    write_imatrix_gguf(tmp_path / "m", rest)
    plan = plan_conversion(checkpoint, "Q4_K_M", options=options(tmp_path / "m"))
    assert plan.unweighted == ("blk.0.ffn_up.weight",)
    with pytest.raises(errors.MissingImatrixError, match=r"blk\.0\.ffn_up\.weight") as caught:
        plan_conversion(checkpoint, "IQ2_XS", options=options(tmp_path / "m"))
    assert "has no entry" in str(caught.value.hint)


def test_what_ggml_would_abort_on_is_refused(checkpoint: Path, columns: dict, tmp_path: Path) -> None:
    from phi4local.convert import TypeChoices

    write_imatrix_gguf(tmp_path / "m", columns)
    pure = TargetOptions(imatrix=tmp_path / "m", choices=TypeChoices(pure=True))
    with pytest.raises(errors.MissingImatrixError, match=r"output\.weight|token_embd\.weight") as caught:
        plan_conversion(checkpoint, "IQ2_XXS", options=pure)
    assert "--token-embedding-type" in str(caught.value.hint)


def entry(name: bytes, calls: int, values: bytes, count: int | None = None) -> bytes:
    number = len(values) // 4 if count is None else count
    return struct.pack("<i", len(name)) + name + struct.pack("<ii", calls, number) + values


ONE = np.float32([1, 2]).tobytes()
BAD_LEGACY = {
    "empty": b"",
    "text": b"not an importance matrix, but a page of text about one",
    "no entries": struct.pack("<i", 0),
    "minus one entry": struct.pack("<i", -1) + entry(b"t", 1, ONE),
    "two billion entries": struct.pack("<i", 2**31 - 1) + entry(b"t", 1, ONE),
    "one entry too many": struct.pack("<i", 2) + entry(b"t", 1, ONE),
    "a name of two billion bytes": struct.pack("<ii", 1, 2**31 - 1) + b"t" * 64,
    "a name of minus one byte": struct.pack("<ii", 1, -1) + b"t" * 64,
    "two billion values": struct.pack("<i", 1) + entry(b"t", 1, ONE, 2**31 - 1),
    "no values": struct.pack("<i", 1) + entry(b"t", 1, b""),
    "minus one value": struct.pack("<i", 1) + entry(b"t", 1, ONE, -1),
    "a NaN": struct.pack("<i", 1) + entry(b"t", 1, np.float32([1, np.nan]).tobytes()),
    "an infinity": struct.pack("<i", 1) + entry(b"t", 1, np.float32([np.inf, 1]).tobytes()),
    "below zero": struct.pack("<i", 1) + entry(b"t", 1, np.float32([1, -1]).tobytes()),
}


@pytest.mark.parametrize("name", BAD_LEGACY)
def test_damaged_files_of_the_older_format(name: str, tmp_path: Path) -> None:
    path = tmp_path / "m.dat"
    path.write_bytes(BAD_LEGACY[name])
    with pytest.raises(errors.FileFormatError) as caught:
        read_imatrix(path)
    assert "--imatrix" in str(caught.value.hint)


def change(edit: Callable[[gguf.GGUFWriter], None]) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        writer = gguf.GGUFWriter(path, "")
        writer.kv_data[0].clear()
        writer.add_array("imatrix.datasets", ["x"])
        writer.add_uint32("imatrix.chunk_count", 1)
        writer.add_uint32("imatrix.chunk_size", 1)
        edit(writer)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()

    return write


def pair(
    sums: list[float], counts: list[float], kind: type = np.float32
) -> Callable[[gguf.GGUFWriter], None]:
    def add(writer: gguf.GGUFWriter) -> None:
        writer.add_tensor("t.in_sum2", np.array(sums, kind))
        writer.add_tensor("t.counts", np.array(counts, np.float32))

    return add


BAD_GGUF = {
    "no tensors": change(lambda writer: None),
    "sums alone": change(lambda writer: writer.add_tensor("t.in_sum2", np.ones(4, np.float32))),
    "counts alone": change(lambda writer: writer.add_tensor("t.counts", np.ones(1, np.float32))),
    "other tensors": change(lambda writer: writer.add_tensor("t.weight", np.ones(4, np.float32))),
    "sums in F16": change(pair([1, 2], [1], np.float16)),
    "three sums for two counts": change(pair([1, 2, 3], [1, 1])),
    "a NaN count": change(pair([1, 2], [np.nan])),
    "minus one count": change(pair([1, 2], [-1])),
    "an enormous count": change(pair([1, 2], [1e30])),
    "a NaN sum": change(pair([1, np.nan], [1])),
    "a sum below zero": change(pair([1, -2], [1])),
}


@pytest.mark.parametrize("name", BAD_GGUF)
def test_damaged_gguf_files(name: str, tmp_path: Path) -> None:
    BAD_GGUF[name](tmp_path / "m.gguf")
    with pytest.raises(errors.FileFormatError) as caught:
        read_imatrix(tmp_path / "m.gguf")
    assert "--imatrix" in str(caught.value.hint)


def test_a_model_is_no_importance_matrix(checkpoint: Path, tmp_path: Path) -> None:
    convert_checkpoint(checkpoint, tmp_path / "model.gguf", "Q8_0")
    with pytest.raises(errors.FileFormatError, match="without an importance matrix"):
        read_imatrix(tmp_path / "model.gguf")


@pytest.mark.parametrize("kind", ["absent", "folder"])
def test_no_file(kind: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(errors.FileFormatError):
        read_imatrix(tmp_path / kind)


@pytest.mark.parametrize("kind", WRITERS)
def test_every_cut_and_random_bytes_are_refused_or_read(kind: str, tmp_path: Path) -> None:
    """No input hangs, crashes or takes memory: the way out is a matrix or an error."""
    path = tmp_path / "m"
    WRITERS[kind](path, {"blk.0.ffn_up.weight": np.ones(8, np.float32)})
    whole, dice = path.read_bytes(), random.Random(5)
    cases = [whole[:end] for end in range(0, len(whole), 3)]
    for _ in range(300):
        damaged = bytearray(whole)
        for _ in range(dice.randrange(1, 5)):
            damaged[dice.randrange(len(damaged))] = dice.randrange(256)
        cases.append(bytes(damaged))
    read = 0
    for case in cases:
        path.write_bytes(case)
        try:
            columns = read_imatrix(path).columns
        except errors.FileFormatError:
            continue
        read += 1
        assert all(np.isfinite(values).all() and (values >= 0).all() for values in columns.values())
    assert 0 < read < len(cases)
