"""The table of tensor types against the gguf package, which lists what llama.cpp's converter can write."""

from __future__ import annotations

import pytest

from phi4local.gguf.tensor_types import (
    REMOVED_TENSOR_TYPES,
    TENSOR_TYPES,
    row_bytes,
    tensor_type,
    tensor_type_named,
)

LAST_ID = 42  # GGML_TYPE_COUNT is 43 in llama-cpp-python 0.3.36


def test_every_type_of_the_gguf_package_has_its_name_its_id_and_its_block():
    gguf = pytest.importorskip("gguf")
    sizes = {kind.name: (kind.value, *size) for kind, size in gguf.GGML_QUANT_SIZES.items()}
    # ggml's block has two 16-bit factors; the package counts two of 32 bits. No file holds this type.
    assert sizes["Q8_1"] == (9, 32, 40)
    sizes["Q8_1"] = (9, 32, 36)
    ours = {one.name: (one.id, one.block_elements, one.block_bytes) for one in TENSOR_TYPES.values()}
    # newer than gguf 0.19: two bits a number, in blocks of 64 with one 16-bit factor
    assert ours.pop("Q2_0") == (42, 64, 18)
    assert ours == sizes


def test_every_id_is_a_type_or_a_removed_one():
    assert sorted(TENSOR_TYPES.keys() | REMOVED_TENSOR_TYPES.keys()) == list(range(LAST_ID + 1))
    assert not TENSOR_TYPES.keys() & REMOVED_TENSOR_TYPES.keys()


def test_types_are_found_by_id_and_by_name_in_any_case():
    assert tensor_type(12).name == "Q4_K"
    assert tensor_type_named("Q4_K") is tensor_type(12)
    assert tensor_type_named("q4_k") is tensor_type(12)


@pytest.mark.parametrize(
    ("type_id", "message"),
    [(43, "43 does not exist"), (-1, "-1 does not exist"), (4, "4 is Q4_2, which ggml removed")],
)
def test_an_id_without_a_type_says_why(type_id: int, message: str):
    with pytest.raises(ValueError, match=message):
        tensor_type(type_id)


def test_a_name_without_a_type_is_named():
    with pytest.raises(ValueError, match="'Q9_K' does not exist"):
        tensor_type_named("Q9_K")


@pytest.mark.parametrize(
    ("name", "elements", "size"),
    [("F32", 5120, 20480), ("Q4_K", 5120, 2880), ("Q6_K", 17920, 14700), ("Q8_0", 32, 34), ("Q4_K", 0, 0)],
)
def test_a_row_has_the_bytes_of_its_blocks(name: str, elements: int, size: int):
    assert row_bytes(tensor_type_named(name), elements) == size


@pytest.mark.parametrize("elements", [1, 255, 257, -256])
def test_a_row_of_broken_blocks_is_refused(elements: int):
    with pytest.raises(ValueError, match="multiple of 256, the block of Q4_K"):
        row_bytes(tensor_type_named("Q4_K"), elements)
