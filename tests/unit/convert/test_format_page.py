"""convert/FORMAT.md says what the code does: every table is compared."""

from __future__ import annotations

import math
from collections import Counter

import pytest

from phi4local.convert import plan_conversion, writer
from phi4local.native.ggml import TENSOR_TYPES, row_size_bytes
from phi4local.planning.mixes import QUANTIZATIONS, Mix, choose_types
from tests.random_checkpoint import NANO
from tests.unit.planning.test_mixes import PHI_4, types_of_phi_4

PAGE = (NANO.parent.parent / "convert" / "FORMAT.md").read_text(encoding="utf-8")


def table(first_column: str) -> list[list[str]]:
    """Return the cells of the table whose header begins so, without back quotes."""
    lines = PAGE.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"| {first_column} |"))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        cells = line.replace(r"\|", "\0").strip("|").split("|")
        rows.append([cell.strip().replace("`", "").replace("\0", "|") for cell in cells])
    return rows


def shown(value: object) -> str:
    if isinstance(value, tuple):
        return str(len(value))
    if isinstance(value, bool):
        return str(value).lower()
    text = str(value)
    return f"{len(text)} characters" if len(text) > 100 else text


def test_keys() -> None:
    entries = plan_conversion(NANO, "Q8_0").metadata
    assert [(row[0], row[1], row[3]) for row in table("key") if row[3] != "none"] == [
        (entry.key, entry.type, shown(entry.value)) for entry in entries
    ]


def test_tensors() -> None:
    rows = [(row[0].split()[0], row[1], row[2]) for row in table("checkpoint")]
    expected = [
        (
            tensor.parts[0].name.replace(".0.", ".N."),
            tensor.name.replace(".0.", ".N."),
            " x ".join(map(str, tensor.shape)),
        )
        for tensor in PHI_4.tensors()
        if not tensor.name.startswith("blk.") or tensor.name.startswith("blk.0.")
    ]
    assert rows == expected


def test_quantizations() -> None:
    found = {row[0]: (row[1], row[4], row[5]) for row in table("quantization")}
    expected = {}
    for name in QUANTIZATIONS:
        chosen = types_of_phi_4(name)
        types = [(chosen[tensor.name], tensor.shape) for tensor in PHI_4.tensors()]
        counts = Counter(kind for kind, _ in types).most_common()
        size = sum(math.prod(shape[:-1]) * row_size_bytes(kind, shape[-1]) for kind, shape in types)
        tensors = ", ".join(f"{count} {kind}" for kind, count in counts)
        expected[name] = (str(writer.file_type(name)), tensors, f"{size:,}")
    assert found == expected


@pytest.mark.parametrize("row", table("wanted"), ids=lambda row: row[0])
def test_fallbacks(row: list[str]) -> None:
    wanted, of_32, otherwise = row
    quantization = {"Q4_K": "Q4_K_S", "Q5_K": "Q5_K_M"}.get(wanted, wanted)
    mix = Mix(quantization=quantization, layers=64, heads_per_kv_head=4)
    for row, kind in ((512, wanted), (96, of_32), (40, otherwise)):
        assert choose_types([("blk.9.ffn_up.weight", (8, row))], mix) == {"blk.9.ffn_up.weight": kind}


def test_blocks() -> None:
    assert table("type") == [
        [
            name,
            str(kind.id),
            str(kind.block_elements),
            str(kind.block_bytes),
            f"{8 * kind.block_bytes / kind.block_elements:g}",
        ]
        for name, kind in TENSOR_TYPES.items()
    ]
