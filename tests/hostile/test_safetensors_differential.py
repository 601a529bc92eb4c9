"""Damaged safetensors files, judged by us, by the library that defines the format, and by `modelvet`.

What we accept, the library opens with the same tensors. We refuse more than it: other types, names that stand
twice, headers above 8 MB.
"""

from __future__ import annotations

import json
import random
import struct
from typing import TYPE_CHECKING

import pytest

from phi4local.convert.safetensors import read_shard
from phi4local.errors import CheckpointError, UnsupportedCheckpointError

if TYPE_CHECKING:
    from pathlib import Path

GOOD = {
    "__metadata__": {"format": "pt"},
    "a.weight": {"dtype": "BF16", "shape": [4, 8], "data_offsets": [0, 64]},
    "b.weight": {"dtype": "F32", "shape": [3], "data_offsets": [64, 76]},
    "c": {"dtype": "F16", "shape": [], "data_offsets": [76, 78]},
    "d": {"dtype": "F16", "shape": [0, 5], "data_offsets": [78, 78]},
}
STRICTER = {"MVET_V_ST_KEY_ESCAPE", "MVET_V_ST_TENSOR_FIELDS"}  # legal JSON, which the library reads
NUMBERS = (0, 1, 2, 3, 4, 8, 63, 64, 65, 76, 78, 79, -1, 2**31, 2**63, 2**64, 1.0, True, None, "4", [])


def spoiled(randomness: random.Random) -> bytes:
    """Return a file with up to three changes of its fields, its bytes or its length."""
    fields = json.loads(json.dumps(GOOD))
    data = bytes(range(78))
    for _ in range(randomness.choice((0, 1, 1, 2))):
        name = randomness.choice(("a.weight", "b.weight", "c", "d"))
        match randomness.choice(("shape", "offset", "dtype", "drop", "name", "extra")):
            case "shape":
                fields[name]["shape"] = [randomness.choice(NUMBERS) for _ in range(randomness.randrange(4))]
            case "offset":
                fields[name]["data_offsets"][randomness.randrange(2)] = randomness.choice(NUMBERS)
            case "dtype":
                fields[name]["dtype"] = randomness.choice(("BF16", "F16", "F32", "I8", "F8_E4M3", "x", 1))
            case "drop":
                fields.pop(name)
                return framed(fields, data)
            case "name":
                fields[randomness.choice(("", "a\0", "\ud800", "é", "x" * 200))] = fields.pop(name)
                return framed(fields, data)
            case "extra":
                fields[name]["extra"] = randomness.choice(NUMBERS)
    whole = framed(fields, data)
    match randomness.choice(("as it is", "as it is", "bytes", "cut", "more", "length")):
        case "bytes":
            place = randomness.randrange(len(whole) - 78)
            return whole[:place] + bytes([randomness.randrange(256)]) + whole[place + 1 :]
        case "cut":
            return whole[: randomness.randrange(len(whole))]
        case "more":
            return whole + b"x"
        case "length":
            length = struct.unpack("<Q", whole[:8])[0] + randomness.choice((-1, 1, 8, 2**32, 2**63 - 1000))
            return struct.pack("<Q", length) + whole[8:]
    return whole


def framed(fields: dict, data: bytes) -> bytes:
    header = json.dumps(fields).encode()
    return struct.pack("<Q", len(header)) + header + data


def ours(path: Path) -> dict[str, tuple[str, list[int]]] | None:
    try:
        shard = read_shard(path)
    except (CheckpointError, UnsupportedCheckpointError):
        return None
    return {tensor.name: (tensor.dtype, list(tensor.shape)) for tensor in shard.tensors}


@pytest.mark.parametrize("count", [400, pytest.param(20_000, marks=pytest.mark.full)])
def test_what_is_accepted_is_what_the_library_reads(count: int, tmp_path: Path):
    safetensors = pytest.importorskip("safetensors")
    modelvet = pytest.importorskip("modelvet")
    randomness = random.Random(20260109)
    accepted, stricter = 0, {}
    path = tmp_path / "any.safetensors"
    for number in range(count):
        data = spoiled(randomness)
        path.write_bytes(data)
        found = ours(path)
        if found is None:
            continue
        accepted += 1
        with safetensors.safe_open(path, framework="np") as opened:
            theirs = {name: opened.get_slice(name) for name in opened.keys()}  # noqa: SIM118 - no mapping
            assert found == {name: (one.get_dtype(), one.get_shape()) for name, one in theirs.items()}, number
        report = modelvet.verify_safetensors(data)
        if not report.accepted:
            stricter[str(report.violation_name)] = data
    assert set(stricter) <= STRICTER, stricter
    assert count // 20 < accepted < count
