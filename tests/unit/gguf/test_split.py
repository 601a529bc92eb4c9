"""Models in several files: what llama.cpp would refuse late, or load wrongly, is refused here first."""

from __future__ import annotations

import itertools
import shutil
import struct
from typing import TYPE_CHECKING

import pytest

from phi4local.convert import TargetOptions, convert_checkpoint
from phi4local.errors import GGUFError
from phi4local.gguf import read_header, read_header_of, validate
from tests.hostile.gguf_files import STR, small_model
from tests.random_checkpoint import Size, write_random_checkpoint

if TYPE_CHECKING:
    from pathlib import Path

NAMES = [f"m-{number}-of-00003.gguf" for number in ("00001", "00002", "00003")]


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model in three parts."""
    folder = tmp_path_factory.mktemp("parts")
    checkpoint = write_random_checkpoint(folder / "c", Size(hidden=64, feed_forward=64, layers=3))
    (folder / "whole").mkdir()
    options = TargetOptions(split_bytes=160_000)
    made = convert_checkpoint(checkpoint, folder / "whole" / "m.gguf", "F32", target=options)
    assert [path.name for path in made.files] == NAMES
    return folder / "whole"


@pytest.fixture
def folder(parts: Path, tmp_path: Path) -> Path:
    return shutil.copytree(parts, tmp_path / "copy")


def set_number(path: Path, key: str, value: int, layout: str = "<H") -> None:
    """Overwrite a number of the header: key, type, then the value."""
    data = bytearray(path.read_bytes())
    place = data.index(key.encode()) + len(key) + 4
    struct.pack_into(layout, data, place, value)
    path.write_bytes(data)


def test_three_parts_are_one_model(folder: Path) -> None:
    header = validate(folder / NAMES[0])
    assert [part.path.name for part in header.parts] == NAMES
    assert header.tensors == tuple(tensor for part in header.parts for tensor in part.tensors)
    assert header.file_bytes == sum((folder / name).stat().st_size for name in NAMES)
    assert read_header(folder / NAMES[0]).parts == ()


def rename_first(folder: Path) -> Path:
    return (folder / NAMES[0]).rename(folder / "model.gguf")


def remove_last(folder: Path) -> Path:
    (folder / NAMES[2]).unlink()
    return folder / NAMES[0]


def swap(folder: Path) -> Path:
    second, third = folder / NAMES[1], folder / NAMES[2]
    second.rename(folder / "x")
    third.rename(second)
    (folder / "x").rename(third)
    return folder / NAMES[0]


def first_twice(folder: Path) -> Path:
    shutil.copyfile(folder / NAMES[0], folder / NAMES[1])
    set_number(folder / NAMES[1], "split.no", 1)
    return folder / NAMES[0]


def cut_last(folder: Path) -> Path:
    data = (folder / NAMES[2]).read_bytes()
    (folder / NAMES[2]).write_bytes(data[:-100])
    return folder / NAMES[0]


def text_for_last(folder: Path) -> Path:
    (folder / NAMES[2]).write_bytes(b"text")
    return folder / NAMES[0]


def folder_for_last(folder: Path) -> Path:
    (folder / NAMES[2]).unlink()
    (folder / NAMES[2]).mkdir()
    return folder / NAMES[0]


def other_count_in_second(folder: Path) -> Path:
    set_number(folder / NAMES[1], "split.count", 4)
    return folder / NAMES[0]


def other_number_of_tensors(folder: Path) -> Path:
    set_number(folder / NAMES[0], "split.tensors.count", 20, "<i")
    return folder / NAMES[0]


def minus_one_tensor(folder: Path) -> Path:
    set_number(folder / NAMES[0], "split.tensors.count", -1, "<i")
    return folder / NAMES[0]


def sixty_thousand_parts(folder: Path) -> Path:
    set_number(folder / NAMES[0], "split.count", 60_000)
    return folder / NAMES[0]


def four_parts_by_the_key(folder: Path) -> Path:
    set_number(folder / NAMES[0], "split.count", 4)
    return folder / NAMES[0]


CASES = {
    rename_first: "is part 1 of 3, which its name does not say",
    remove_last: "is part 1 of 3, and `m-00003-of-00003.gguf` is not beside it",
    folder_for_last: "`m-00003-of-00003.gguf` is not beside it",
    swap: "`split.no` is 2; expected 1",
    first_twice: "stands in two parts",
    cut_last: "ends inside tensor",
    text_for_last: "is not a GGUF file",
    other_count_in_second: "`split.count` is 4; expected 3",
    other_number_of_tensors: "`split.tensors.count` is 20; the parts have 21",
    minus_one_tensor: "`split.tensors.count` is -1",
    sixty_thousand_parts: "at most 512",
    four_parts_by_the_key: "is part 1 of 4, which its name does not say",
}


@pytest.mark.parametrize("damage", CASES, ids=lambda function: function.__name__)
def test_parts_that_do_not_belong_together_are_refused(damage, folder: Path) -> None:
    path = damage(folder)
    with pytest.raises(GGUFError) as caught:
        validate(path)
    assert CASES[damage] in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize("name", NAMES[1:])
def test_the_first_part_is_asked_for(name: str, folder: Path) -> None:
    with pytest.raises(GGUFError, match=r"is part [23] of 3") as caught:
        validate(folder / name)
    assert NAMES[0] in str(caught.value.hint)


# files that are not on this machine


def test_a_header_read_by_ranges_equals_the_one_of_the_file(folder: Path) -> None:
    asked: list[tuple[str, int, int]] = []

    def read_remote(path: Path):
        data = (folder / path.name).read_bytes()

        def read(offset: int, count: int) -> bytes:
            asked.append((path.name, offset, count))
            return data[offset : offset + count]

        return read_header_of(read, folder / path.name, len(data))

    away = folder.parent / "away" / NAMES[0]
    assert validate(away, read=read_remote) == validate(folder / NAMES[0])
    assert [name for name, _, _ in asked] == NAMES


def test_a_long_header_is_read_in_pieces_front_to_back(tmp_path: Path) -> None:
    """A vocabulary of 15 MB: no byte of it is asked for twice."""
    file = small_model()
    file.set_array("tokenizer.ggml.tokens", STR, [f"{number:>70}" for number in range(200_000)])
    path = tmp_path / "long.gguf"
    path.write_bytes(file.build())
    data, asked = path.read_bytes(), []

    def read(offset: int, count: int) -> bytes:
        asked.append((offset, offset + count))
        return data[offset : offset + count]

    assert read_header_of(read, path, len(data)) == read_header(path)
    assert len(asked) > 1
    assert asked[0][0] == 0
    assert all(before[1] == after[0] for before, after in itertools.pairwise(asked))


def test_a_remote_file_that_ends_early_is_cut_off(folder: Path) -> None:
    data = (folder / NAMES[0]).read_bytes()[:1000]
    with pytest.raises(GGUFError, match="ends inside its header"):
        read_header_of(lambda offset, count: data[offset : offset + count], folder / NAMES[0], 200_000)
