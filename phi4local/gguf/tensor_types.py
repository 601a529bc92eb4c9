"""The element types that a GGUF tensor can have, and how many bytes they take.

A type packs `block_elements` numbers of one row into `block_bytes` bytes. The ids, and the sizes of the
blocks, are those of ggml: `enum ggml_type` in ggml/include/ggml.h and the `block_*` structures in
ggml/src/ggml-common.h, as shipped with llama-cpp-python 0.3.36.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TensorType:
    """One element type.

    Attributes:
        name: as GGUF tools print it.
        id: the number in the file.
        block_elements: numbers in one block; a row holds whole blocks.
        block_bytes: bytes of one block.
        multiplies: ggml can multiply a matrix of this type with a vector on the CPU, and look up its rows.

    Example: `tensor_type_named("Q4_K")` packs 256 numbers into 144 bytes: 4.5 bits a number.
    """

    name: str
    id: int
    block_elements: int
    block_bytes: int
    multiplies: bool = True


# Q8_1 has 36 bytes in ggml (two 16-bit factors, 32 numbers); the gguf package counts 40. No file stores it.
# Without `multiplies`: whole numbers and F64 have no product in ggml-cpu, and Q8_1 and Q8_K are what it turns
# activations into. As weights they make the library abort or jump to address zero.
_TYPES = (
    TensorType("F32", 0, 1, 4),
    TensorType("F16", 1, 1, 2),
    TensorType("Q4_0", 2, 32, 18),
    TensorType("Q4_1", 3, 32, 20),
    TensorType("Q5_0", 6, 32, 22),
    TensorType("Q5_1", 7, 32, 24),
    TensorType("Q8_0", 8, 32, 34),
    TensorType("Q8_1", 9, 32, 36, multiplies=False),
    TensorType("Q2_K", 10, 256, 84),
    TensorType("Q3_K", 11, 256, 110),
    TensorType("Q4_K", 12, 256, 144),
    TensorType("Q5_K", 13, 256, 176),
    TensorType("Q6_K", 14, 256, 210),
    TensorType("Q8_K", 15, 256, 292, multiplies=False),
    TensorType("IQ2_XXS", 16, 256, 66),
    TensorType("IQ2_XS", 17, 256, 74),
    TensorType("IQ3_XXS", 18, 256, 98),
    TensorType("IQ1_S", 19, 256, 50),
    TensorType("IQ4_NL", 20, 32, 18),
    TensorType("IQ3_S", 21, 256, 110),
    TensorType("IQ2_S", 22, 256, 82),
    TensorType("IQ4_XS", 23, 256, 136),
    TensorType("I8", 24, 1, 1, multiplies=False),
    TensorType("I16", 25, 1, 2, multiplies=False),
    TensorType("I32", 26, 1, 4, multiplies=False),
    TensorType("I64", 27, 1, 8, multiplies=False),
    TensorType("F64", 28, 1, 8, multiplies=False),
    TensorType("IQ1_M", 29, 256, 56),
    TensorType("BF16", 30, 1, 2),
    TensorType("TQ1_0", 34, 256, 54),
    TensorType("TQ2_0", 35, 256, 66),
    TensorType("MXFP4", 39, 32, 17),
    TensorType("NVFP4", 40, 64, 36),
    TensorType("Q1_0", 41, 128, 18),
    TensorType("Q2_0", 42, 64, 18),
)

TENSOR_TYPES = {entry.id: entry for entry in _TYPES}
"""Every type that current ggml knows, by id."""

REMOVED_TENSOR_TYPES = {
    4: "Q4_2",
    5: "Q4_3",
    31: "Q4_0_4_4",
    32: "Q4_0_4_8",
    33: "Q4_0_8_8",
    36: "IQ4_NL_4_4",
    37: "IQ4_NL_4_8",
    38: "IQ4_NL_8_8",
}
"""Types of old files that ggml does not read any more, by id."""

_BY_NAME = {entry.name: entry for entry in _TYPES}


def tensor_type(type_id: int) -> TensorType:
    """Return the type with this number.

    Example: `tensor_type(12).name == "Q4_K"`.

    Raises:
        ValueError: no type has this number, or ggml removed it.
    """
    try:
        return TENSOR_TYPES[type_id]
    except KeyError:
        removed = REMOVED_TENSOR_TYPES.get(type_id)
        problem = f"is {removed}, which ggml removed" if removed else "does not exist"
        raise ValueError(f"tensor type {type_id} {problem}") from None


def tensor_type_named(name: str) -> TensorType:
    """Return the type with this name, in upper or lower case.

    Example: `tensor_type_named("q6_k").id == 14`.

    Raises:
        ValueError: no type has this name.
    """
    try:
        return _BY_NAME[name.upper()]
    except KeyError:
        raise ValueError(f"tensor type {name!r} does not exist") from None


def row_bytes(element_type: TensorType, elements: int) -> int:
    """Return the bytes of one row of `elements` numbers.

    Example: `row_bytes(tensor_type_named("Q4_K"), 5120) == 2880`, which is 20 blocks of 144 bytes.

    Raises:
        ValueError: the row does not hold whole blocks.
    """
    blocks, rest = divmod(elements, element_type.block_elements)
    if rest or elements < 0:
        raise ValueError(
            f"a row of {elements} numbers is no multiple of {element_type.block_elements}, "
            f"the block of {element_type.name}"
        )
    return blocks * element_type.block_bytes
