"""`check` finds planted defects, says where they are, and accepts good files."""

from __future__ import annotations

import json
import re
import struct

import gguf as oracle
import numpy as np
import pytest

from phi4local import errors, gguf
from phi4local.convert import TargetOptions, convert_checkpoint, plan_conversion
from phi4local.convert.check_file import check_file
from phi4local.convert.check_weights import USUAL_ERROR
from phi4local.native.ggml import (
    TENSOR_TYPES,
    dequantize_rows,
    quantize_rows,
    row_size_bytes,
)
from tests.llama_quantize import write_imatrix_gguf
from tests.random_checkpoint import NANO

pytestmark = pytest.mark.usefixtures("native_library")


@pytest.fixture(scope="module")
def q4(tmp_path_factory):
    path = tmp_path_factory.mktemp("check") / "nano.gguf"
    convert_checkpoint(NANO, path, "Q4_K_M")
    return path


@pytest.fixture
def spoiled(q4, tmp_path):
    """`spoiled(change)`: the file with its bytes changed by `change(data, place of a tensor's bytes)`."""

    def make(change):
        data = bytearray(q4.read_bytes())
        header = gguf.read_header(q4)
        tensors = {tensor.name: tensor for tensor in header.tensors}

        def place(name):
            tensor = tensors[name]
            start = header.data_offset + tensor.offset
            return slice(start, start + tensor.size_bytes)

        path = tmp_path / "spoiled.gguf"
        change(data, place)
        path.write_bytes(data)
        return path

    return make


UP, OUTPUT, DOWN = "blk.3.ffn_up.weight", "blk.3.attn_output.weight", "blk.0.ffn_down.weight"
BLOCK = TENSOR_TYPES["Q4_K"].block_bytes


def flip(name, byte, bit):
    def change(data, place):
        data[place(name).start + byte] ^= 1 << bit

    return change


def infinite(name):
    def change(data, place):
        start = place(name).start
        data[start : start + 2] = b"\x00\x7c"

    return change


def swap(one, other):
    def change(data, place):
        data[place(one)], data[place(other)] = data[place(other)], data[place(one)]

    return change


def shift(name, by):
    """The tensor's bytes begin `by` too early."""

    def change(data, place):
        found = data[place(name)]
        data[place(name)] = found[by:] + found[:by]

    return change


def zero(name):
    def change(data, place):
        data[place(name)] = bytes(place(name).stop - place(name).start)

    return change


def number(name, value):
    def change(data, place):
        data[place(name).start : place(name).start + 4] = struct.pack("<f", value)

    return change


def swapped_rows(name):
    def change(data, place):
        begin, row = place(name).start, BLOCK
        one, other = slice(begin, begin + row), slice(begin + row, begin + 2 * row)
        data[one], data[other] = data[other], data[one]

    return change


def value(key, form, number):
    """Another number under a key, in the same place."""

    def change(data, _place):
        start = data.index(key.encode()) + len(key) + 4  # the type stands before the value
        struct.pack_into(form, data, start, number)

    return change


def swapped_texts(key, one, other):
    """Two texts of an array change places; all of them together keep their length."""

    def change(data, _place):
        start = data.index(key.encode()) + len(key) + 8
        (count,) = struct.unpack_from("<Q", data, start)
        texts, end = [], start + 8
        for _ in range(count):
            (length,) = struct.unpack_from("<Q", data, end)
            texts.append(data[end : end + 8 + length])
            end += 8 + length
        texts[one], texts[other] = texts[other], texts[one]
        data[start + 8 : end] = b"".join(texts)

    return change


DEFECTS = {
    "a bit of a scale": (flip(UP, 5 * BLOCK + 1, 2), UP, "1 block is not the checkpoint's: first row 5"),
    "the sign of a scale": (flip(UP, 1, 7), UP, "first row 0, elements from 0 on, error [2-9]"),
    "an infinite scale": (
        lambda d, p: d.__setitem__(p(UP).start + 1, 0x7C),
        UP,
        "block 0 holds NaN or inf",
    ),
    "a bit of small scales": (
        flip(UP, 7 * BLOCK + 6, 5),
        UP,
        "1 block is not the checkpoint's: first row 7",
    ),
    "swapped tensors": (swap(UP, "blk.5.ffn_up.weight"), UP, "is another tensor, or of another model"),
    "rows that are swapped": (swapped_rows(UP), UP, "2 blocks are not the checkpoint's: first row 0"),
    "an offset that is off by one": (shift(OUTPUT, 1), OUTPUT, "another tensor|holds NaN"),
    "a block too early": (shift(OUTPUT, BLOCK), OUTPUT, "another tensor"),
    "a tensor of zeros": (zero(DOWN), DOWN, "another tensor"),
    "a norm that is not a number": (
        number("blk.2.attn_norm.weight", float("nan")),
        "blk.2.attn_norm.weight",
        "holds NaN or infinity",
    ),
    "a changed norm": (number("output_norm.weight", 1.75), "output_norm.weight", "1 block is not"),
    "a wrong end token": (
        value("tokenizer.ggml.eos_token_id", "<I", 8097),
        "tokenizer.ggml.eos_token_id",
        "is 8097, the checkpoint says 8105",
    ),
    "merges in another order": (
        swapped_texts("tokenizer.ggml.merges", 10, 700),
        "tokenizer.ggml.merges",
        "differs in 2 places: at 10 is",
    ),
    "tokens in another order": (
        swapped_texts("tokenizer.ggml.tokens", 400, 500),
        "tokenizer.ggml.tokens",
        "differs in 2 places: at 400",
    ),
    "another base of rotation": (
        value("phi3.rope.freq_base", "<f", 10000.0),
        "phi3.rope.freq_base",
        "is 10000.0, the checkpoint says 250000.0",
    ),
}


@pytest.mark.parametrize("name", DEFECTS)
def test_planted_defects_are_found(name, spoiled):
    change, where, says = DEFECTS[name]
    found = check_file(spoiled(change), NANO)
    assert where in {finding.place for finding in found.findings}
    problem = next(finding.problem for finding in found.findings if finding.place == where)
    assert re.search(says, problem), problem


@pytest.mark.parametrize(
    "quantization", ["F32", "F16", "BF16", "Q8_0", "Q4_K_M", "Q3_K_S", "Q2_K", "IQ4_XS", "Q5_1"]
)
def test_good_files_are_accepted(quantization, tmp_path):
    convert_checkpoint(NANO, tmp_path / "a.gguf", quantization)
    found = check_file(tmp_path / "a.gguf", NANO)
    assert found.findings == ()
    assert found.notes == ()
    assert all(one.largest <= 1.5 * one.usual + 1e-9 for one in found.types if one.type != "F32")
    assert {one.largest for one in found.types if one.type == "F32"} <= {0.0}


@pytest.fixture(scope="module")
def nano_imatrix(tmp_path_factory):
    """Column weights that differ by a factor of a thousand, as real ones do."""
    choose = np.random.default_rng(7)
    columns = {
        tensor.name: np.exp(choose.normal(0, 1.5, tensor.shape[-1])).astype(np.float32)
        for tensor in plan_conversion(NANO, "F16").tensors
        if len(tensor.shape) == 2
    }
    path = tmp_path_factory.mktemp("imatrix") / "nano.imatrix.gguf"
    write_imatrix_gguf(path, columns)
    return path


@pytest.mark.parametrize("quantization", ["IQ2_XXS", "Q4_K_M", "Q4_0"])
def test_good_files_made_with_an_importance_matrix_are_accepted(quantization, nano_imatrix, tmp_path):
    """Weighted errors make plain errors larger, but not those of a damaged file."""
    target = TargetOptions(imatrix=nano_imatrix)
    convert_checkpoint(NANO, tmp_path / "a.gguf", quantization, target=target)
    assert check_file(tmp_path / "a.gguf", NANO).findings == ()


def test_what_llama_cpp_writes_is_accepted(q4, tmp_path):
    """Keys that it leaves out or adds are notes, no findings."""
    reader = oracle.GGUFReader(q4)
    writer = oracle.GGUFWriter(tmp_path / "other.gguf", "phi3")
    for key, field in reader.fields.items():
        if key.startswith(("phi3.", "tokenizer.", "general.file")) and key != "tokenizer.ggml.eot_token_id":
            kind = field.types[0]
            sub = field.types[-1] if kind == oracle.GGUFValueType.ARRAY else None
            writer.add_key_value(key, field.contents(), kind, sub)
    writer.add_uint32("tokenizer.ggml.fim_pre_token_id", 8098)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    found = check_file(tmp_path / "other.gguf", NANO)
    assert found.findings == ()
    assert "`tokenizer.ggml.eot_token_id` is left out" in found.notes
    assert "`tokenizer.ggml.fim_pre_token_id` is added" in found.notes


def test_without_a_checkpoint_only_numbers_are_checked(spoiled):
    assert check_file(spoiled(swap(UP, "blk.5.ffn_up.weight"))).findings == ()
    change, where, _ = DEFECTS["an infinite scale"]
    assert [finding.place for finding in check_file(spoiled(change)).findings] == [where]


def test_a_broken_header_ends_the_check(spoiled):
    with pytest.raises(errors.GGUFError, match=r"magic|GGUF"):
        check_file(spoiled(lambda data, _place: data.__setitem__(0, 0)), NANO)


SLOW_TABLES = ("IQ2_XS", "IQ2_S", "IQ1_S", "IQ1_M")
QUANTIZED = [name for name, kind in TENSOR_TYPES.items() if kind.block_elements > 1]


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.full) if name in SLOW_TABLES else name for name in QUANTIZED],
)
def test_numbers_and_usual_errors(name):
    """Blocks are read as llama.cpp's own Python package reads them; normal weights have the usual error."""
    values = np.random.default_rng(4).standard_normal((64, 1024)).astype(np.float32)
    weights = np.ones(1024, np.float32) if name.startswith(("IQ1", "IQ2")) else None
    stored = quantize_rows(name, values, weights)
    found = dequantize_rows(name, stored.reshape(-1), 1024)
    expected = oracle.quants.dequantize(stored, oracle.GGMLQuantizationType[name])
    assert np.allclose(found, expected, rtol=1e-5, atol=1e-6)
    error = np.sqrt(((found - values) ** 2).sum() / (values**2).sum())
    assert 0.93 * USUAL_ERROR[name] <= error <= 1.07 * USUAL_ERROR[name]


def test_bytes_that_are_no_rows_are_refused():
    with pytest.raises(ValueError, match="no contiguous rows"):
        dequantize_rows("Q8_0", np.zeros(row_size_bytes("Q8_0", 32) + 1, np.uint8), 32)
    with pytest.raises(ValueError, match="no contiguous rows"):
        dequantize_rows("F16", np.zeros(64, np.uint8), 32)


def test_the_command(run_cli, q4, spoiled):
    good = run_cli(["check", q4, "--against", NANO, "--json"])
    assert good.returncode == 0, good.stderr
    facts = json.loads(good.stdout)
    assert facts["findings"] == []
    assert facts["run"]["special_tokens"] > 90
    assert facts["run"]["texts"] == 8
    assert 0 < facts["logits"]["divergence"]["kl"]["value"] < 1
    change, where, _ = DEFECTS["merges in another order"]
    bad = run_cli(["check", spoiled(change), "--against", NANO, "--no-logits"])
    assert bad.returncode == 1
    assert where in bad.stdout
    assert [line.partition(":")[0] for line in bad.stderr.splitlines()][-2:] == ["error", "hint"]
    damaged = run_cli(["check", spoiled(DEFECTS["an infinite scale"][0])])
    assert damaged.returncode == 1
    assert "NaN or infinity" in damaged.stdout
