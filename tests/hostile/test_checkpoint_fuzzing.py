"""Generated headers, bytes and values: a plan, or an error of ours; never another exception."""

from __future__ import annotations

import contextlib
import json
import shutil
import struct
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from phi4local import errors
from phi4local.convert import plan_conversion
from phi4local.convert.safetensors import read_shard
from tests.hostile.spoiled_checkpoints import FIRST, INDEX
from tests.random_checkpoint import write_random_checkpoint, write_raw

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_checkpoint(tmp_path_factory.mktemp("good"), shards=2)


def header_fields() -> st.SearchStrategy[Any]:
    numbers = st.one_of(
        st.integers(-(2**70), 2**70), st.integers(0, 64), st.floats(), st.booleans(), st.none()
    )
    shapes = st.one_of(st.lists(numbers, max_size=4), numbers, st.text(max_size=3))
    entry = st.fixed_dictionaries(
        {
            "dtype": st.sampled_from(["BF16", "F16", "F32", "I8", "F64", "", None, 3]),
            "shape": st.one_of(st.lists(st.integers(0, 8), max_size=3), shapes),
            "data_offsets": st.one_of(st.lists(st.integers(0, 300), min_size=2, max_size=2), shapes),
        }
    )
    return st.dictionaries(st.text(max_size=8), st.one_of(entry, numbers, st.text(max_size=3)), max_size=4)


def check_any_header(header: bytes, data: bytes, path: Path) -> None:
    """The reader accepts or refuses; what it accepts lies inside the file and is what the fields say."""
    write_raw(path, header, data)
    try:
        shard = read_shard(path)
    except (errors.CheckpointError, errors.UnsupportedCheckpointError):
        return
    end = 8 + len(shard.header)
    for tensor in shard.tensors:
        assert tensor.offset == end
        end += tensor.size_bytes
    assert end == path.stat().st_size


FAST = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@FAST
@given(fields=header_fields(), data=st.binary(max_size=300))
def test_any_header_of_fields(fields: dict[str, Any], data: bytes, tmp_path: Path) -> None:
    check_any_header(json.dumps(fields).encode("utf-8", "surrogatepass"), data, tmp_path / "m.safetensors")


@FAST
@given(data=st.binary(max_size=200))
def test_any_bytes(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "m.safetensors").write_bytes(data)
    with contextlib.suppress(errors.CheckpointError, errors.UnsupportedCheckpointError):
        read_shard(tmp_path / "m.safetensors")
    check_any_header(data, b"", tmp_path / "n.safetensors")


@pytest.mark.full
@settings(FAST, max_examples=20_000)
@given(fields=header_fields(), data=st.binary(max_size=300))
def test_any_header_of_fields_at_length(fields: dict[str, Any], data: bytes, tmp_path: Path) -> None:
    check_any_header(json.dumps(fields).encode("utf-8", "surrogatepass"), data, tmp_path / "m.safetensors")


@FAST
@given(place=st.integers(0, 10**9), bit=st.integers(0, 7))
def test_a_flipped_bit_in_a_header(place: int, bit: int, good: Path, tmp_path: Path) -> None:
    """A changed header is refused, or means the same tensors under other names, types or places."""
    whole = bytearray((good / FIRST).read_bytes())
    length = 8 + struct.unpack("<Q", whole[:8])[0]
    whole[place % length] ^= 1 << bit
    (tmp_path / "m.safetensors").write_bytes(whole)
    with contextlib.suppress(errors.CheckpointError, errors.UnsupportedCheckpointError):
        read_shard(tmp_path / "m.safetensors")


JSON_VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=10)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=8,
)


@FAST
@given(data=st.data())
def test_any_value_in_a_config_or_tokenizer(data: st.DataObject, good: Path, tmp_path_factory: Any) -> None:
    """One field replaced by anything: a plan, or an error of ours."""
    name = data.draw(st.sampled_from(["config.json", "tokenizer.json", "tokenizer_config.json", INDEX]))
    folder = tmp_path_factory.getbasetemp() / "any-value"
    if not folder.exists():
        shutil.copytree(good, folder)
    original = (good / name).read_bytes()
    fields = json.loads(original)
    parts = [fields, *[part for part in fields.values() if isinstance(part, dict)]]
    part = data.draw(st.sampled_from(parts))
    part[data.draw(st.sampled_from(sorted(part)))] = data.draw(JSON_VALUES)
    (folder / name).write_text(json.dumps(fields), encoding="utf-8")
    try:
        plan_conversion(folder, "Q4_K_M")
    except (errors.FileFormatError, errors.ConversionError):
        pass
    finally:
        (folder / name).write_bytes(original)
