"""The reader: what it says about good files, which odd files it takes, and what it does not even open."""

from __future__ import annotations

import dataclasses
import os
import struct
import sys
import threading
from pathlib import Path

import pytest

from phi4local.errors import GGUFError
from phi4local.gguf import Header, TensorInfo, read_header
from phi4local.gguf import header as header_module
from tests.hostile.gguf_files import (
    ARR,
    BOOL,
    F32,
    F64,
    I8,
    I16,
    I32,
    I64,
    STR,
    U8,
    U16,
    U32,
    U64,
    WIDTH,
    File,
    array,
    sentencepiece_model,
    small_model,
)


def header_of(file: File | bytes, path: Path) -> Header:
    path.write_bytes(file if isinstance(file, bytes) else file.build())
    return read_header(path)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.gguf"


# what it reads


@pytest.mark.parametrize("build", [small_model, sentencepiece_model])
def test_keys_values_and_tensors_equal_what_the_gguf_package_reads(build, path: Path):
    gguf = pytest.importorskip("gguf")
    header = header_of(build(), path)
    reader = gguf.GGUFReader(path)
    theirs = {key: field.contents() for key, field in reader.fields.items() if not key.startswith("GGUF.")}
    ours = {key: list(value) if isinstance(value, tuple) else value for key, value in header.metadata.items()}
    assert ours == theirs
    assert [
        (
            tensor.name,
            list(tensor.shape),
            tensor.type.id,
            header.data_offset + tensor.offset,
            tensor.size_bytes,
        )
        for tensor in header.tensors
    ] == [
        (tensor.name, tensor.shape.tolist(), tensor.tensor_type.value, tensor.data_offset, tensor.n_bytes)
        for tensor in reader.tensors
    ]
    assert header.alignment == reader.alignment
    assert header.data_offset == reader.data_offset


def test_a_header_tells_version_architecture_sizes_and_single_values(path: Path):
    file = small_model()
    header = header_of(file, path)
    assert (header.path, header.version, header.alignment) == (path, 3, 32)
    assert header.architecture == "phi3"
    assert header.file_bytes == path.stat().st_size
    assert header.data_offset == file.padded(len(file.head()))
    assert header.get("phi3.block_count") == 2
    assert header.get("phi3.nothing") is None
    assert header.get("phi3.nothing", 7) == 7
    assert header.tensors[0] == TensorInfo(
        "token_embd.weight", (WIDTH, 266), header.tensors[0].type, 0, 34048
    )


def test_an_architecture_that_is_missing_or_no_text_is_none(path: Path):
    file = File()
    assert header_of(file, path).architecture is None
    file.set("general.architecture", U32, 3)
    assert header_of(file, path).architecture is None


@pytest.mark.parametrize(
    ("kind", "name", "low", "high"),
    [
        (U8, "u8", 0, 255),
        (I8, "i8", -128, 127),
        (U16, "u16", 0, 2**16 - 1),
        (I16, "i16", -(2**15), 2**15 - 1),
        (U32, "u32", 0, 2**32 - 1),
        (I32, "i32", -(2**31), 2**31 - 1),
        (U64, "u64", 0, 2**64 - 1),
        (I64, "i64", -(2**63), 2**63 - 1),
        (F32, "f32", -0.5, 1.5),
        (F64, "f64", -0.1, 1e308),
        (BOOL, "bool", False, True),
        (STR, "str", "", "naïve 🙂"),
    ],
)
def test_every_type_is_read_alone_and_in_arrays_of_any_length(kind, name, low, high, path: Path):
    file = File()
    file.set("low", kind, low)
    file.set("high", kind, high)
    for count in range(4):
        file.set_array(f"array.{count}", kind, [high, low, high][:count])
    header = header_of(file, path)
    assert header.metadata["low"] == low
    assert header.metadata["high"] == high
    assert type(header.metadata["high"]) is type(high)
    assert [header.metadata[f"array.{count}"] for count in range(4)] == [
        (),
        (high,),
        (high, low),
        (high, low, high),
    ]
    assert header.value_types == {"low": name, "high": name} | {f"array.{n}": f"[{name}]" for n in range(4)}


def test_a_header_cannot_be_changed(path: Path):
    header = header_of(small_model(), path)
    with pytest.raises(dataclasses.FrozenInstanceError):
        header.version = 2  # type: ignore[misc]
    with pytest.raises(TypeError):
        header.metadata["general.name"] = "x"  # type: ignore[index]


def test_a_header_longer_than_the_first_read_is_read_completely(path: Path, monkeypatch: pytest.MonkeyPatch):
    file = small_model()
    expected = header_of(file, path)
    for first in (1, 24, 1_000, len(file.head()) - 1):
        monkeypatch.setattr(header_module, "_FIRST_READ_BYTES", first)
        assert read_header(path) == expected


def test_a_header_longer_than_the_limit_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(header_module, "_FIRST_READ_BYTES", 100)
    monkeypatch.setattr(header_module, "MAX_HEADER_BYTES", 2_000)
    with pytest.raises(GGUFError, match="the header is longer than 2,000 bytes"):
        header_of(small_model(), path)


def test_no_more_than_the_limit_is_read_of_a_sparse_file_of_a_terabyte(path: Path):
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, 10_000))
    try:
        os.truncate(path, 2**40)
    except OSError:
        pytest.skip("this file system has no sparse files of this size")
    with pytest.raises(GGUFError, match="key 0 is empty"):
        read_header(path)


# files that must be read (the good ones of llama.cpp's tests/test-gguf.cpp, and more of the kind)


def test_a_file_without_keys_and_tensors_is_read(path: Path):
    header = header_of(File(), path)
    assert (header.metadata, header.tensors, header.data_offset) == ({}, (), 24)


def test_version_2_is_read(path: Path):
    file = small_model()
    file.version = 2
    assert header_of(file, path).version == 2


@pytest.mark.parametrize("alignment", [8, 16, 64, 4096])
def test_other_alignments_are_read(alignment: int, path: Path):
    file = small_model()
    file.alignment = alignment
    file.set("general.alignment", U32, alignment)
    header = header_of(file, path)
    assert header.alignment == alignment
    assert header.data_offset % alignment == 0
    assert all(tensor.offset % alignment == 0 for tensor in header.tensors)


def test_a_tensor_without_numbers_is_read(path: Path):
    file = small_model()
    file.resize("output.weight", 0, 3)
    assert header_of(file, path).tensors[-1].size_bytes == 0


def test_one_to_four_dimensions_are_read(path: Path):
    file = File()
    shapes = [(4,), (4, 3), (4, 3, 2), (4, 3, 2, 1)]
    for index, shape in enumerate(shapes):
        file.add_tensor(f"t{index}", *shape)
    assert [tensor.shape for tensor in header_of(file, path).tensors] == shapes


def test_the_padding_behind_the_last_tensor_may_be_missing_or_there_but_no_more(path: Path):
    file = File()
    file.add_tensor("t", 33)
    data = file.build()
    padding = 160 - 33 * 4
    for missing in range(padding + 1):
        assert header_of(data[: len(data) - missing], path).file_bytes == len(data) - missing
    with pytest.raises(GGUFError, match=r"has 1 bytes behind its last tensor"):
        header_of(data + b"\0", path)
    with pytest.raises(GGUFError, match=r"inside tensor `t`"):
        header_of(data[: -padding - 1], path)


def test_arrays_may_have_as_many_elements_as_the_limit(path: Path):
    file = File()
    file.set_raw("big", ARR, array(U8, bytes(2**22)))
    assert len(header_of(file, path).metadata["big"]) == 2**22  # type: ignore[arg-type]


# files that are not even opened


def test_a_link_to_a_regular_file_is_read(path: Path, tmp_path: Path):
    path.write_bytes(small_model().build())
    link = tmp_path / "link.gguf"
    try:
        link.symlink_to(path)
    except OSError:
        pytest.skip("this system does not allow links")
    assert read_header(link).architecture == "phi3"


def test_a_folder_is_refused(tmp_path: Path):
    with pytest.raises(GGUFError, match="is a folder, not a regular file"):
        read_header(tmp_path)


def test_a_missing_file_is_refused(path: Path):
    with pytest.raises(GGUFError, match="cannot be read: No such file") as caught:
        read_header(path)
    assert isinstance(caught.value.__cause__, FileNotFoundError)
    assert "permissions" in str(caught.value.hint)


def test_a_name_that_cannot_be_a_file_is_refused():
    with pytest.raises(GGUFError, match=r"cannot be a file name|cannot be read"):
        read_header(Path("a\0b"))


@pytest.mark.skipif(sys.platform == "win32", reason="no FIFOs")
def test_a_fifo_is_refused_without_waiting_for_a_writer(path: Path):
    os.mkfifo(path)
    refused: list[GGUFError] = []

    def read() -> None:
        try:
            read_header(path)
        except GGUFError as error:
            refused.append(error)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    reader.join(10)
    assert "is a FIFO, not a regular file" in str(refused[0])


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="no such device")
def test_an_endless_device_is_refused():
    with pytest.raises(GGUFError, match="is a device, not a regular file"):
        read_header(Path("/dev/zero"))


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_refused(path: Path):
    path.write_bytes(small_model().build())
    path.chmod(0)
    with pytest.raises(GGUFError, match="cannot be read: Permission denied"):
        read_header(path)


@pytest.mark.skipif(os.name != "posix", reason="a FIFO of POSIX")
def test_a_fifo_that_takes_the_place_of_a_file_is_refused(tmp_path: Path, monkeypatch) -> None:
    """Between the look at the name and its opening."""
    fifo, other = tmp_path / "model.gguf", tmp_path / "regular"
    os.mkfifo(fifo)
    other.touch()
    regular = other.stat()
    monkeypatch.setattr(Path, "stat", lambda *_arguments, **_options: regular)
    with pytest.raises(GGUFError, match="is no longer a regular file"):
        read_header(fifo)
