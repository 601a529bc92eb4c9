"""GGUF files that are no LoRA adapter for a model: each refused with its cause before llama.cpp sees it.

The model is `small_model()`; the good adapter fits three of its matrices, one of them no square.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

from phi4local.errors import GGUFError
from phi4local.gguf import validate, validate_adapter
from tests.hostile.gguf_edits import (
    Edit,
    changed,
    cut,
    renamed,
    resized,
    tensor,
    together,
    typed,
    value,
    without,
)
from tests.hostile.gguf_files import (
    F32,
    FEED_FORWARD,
    QKV_ROWS,
    STR,
    U32,
    WIDTH,
    File,
    small_model,
    vocabulary,
)

if TYPE_CHECKING:
    from pathlib import Path

RANK = 4
QKV, DOWN, EMBEDDING = "blk.0.attn_qkv.weight", "blk.1.ffn_down.weight", "token_embd.weight"
TOKENS = len(vocabulary()[0])


def adapter() -> File:
    file = File()
    file.set("general.architecture", STR, "phi3")
    file.set("general.type", STR, "adapter")
    file.set("adapter.type", STR, "lora")
    file.set("adapter.lora.alpha", F32, 8.0)
    for name, width, rows in ((QKV, WIDTH, QKV_ROWS), (DOWN, FEED_FORWARD, WIDTH)):
        file.add_tensor(f"{name}.lora_a", width, RANK)
        file.add_tensor(f"{name}.lora_b", RANK, rows)
    file.add_tensor(f"{EMBEDDING}.lora_a", RANK, TOKENS)  # looked up, so the other way round
    file.add_tensor(f"{EMBEDDING}.lora_b", RANK, WIDTH)
    return file


def dropped(name: str) -> Edit:
    return lambda file: file.drop_tensor(name)


BAD: dict[str, tuple[Edit, str]] = {
    "empty": (lambda _: b"", "ends inside its header"),
    "text": (lambda _: b"adapter_config.json", "is not a GGUF file"),
    "cut off": (cut(1), "ends inside tensor"),
    "cut off in the header": (lambda file: file.head()[:100], "ends inside"),
    "type missing": (without("general.type"), "is no adapter"),
    "a model": (lambda _: small_model().build(), "is no adapter"),
    "type a number": (value("general.type", U32, 1), "is no adapter"),
    "kind missing": (without("adapter.type"), "`adapter.type` is missing"),
    "kind a control vector": (value("adapter.type", STR, "control_vector"), "expected lora"),
    "kind a number": (value("adapter.type", U32, 1), "`adapter.type` has the type u32"),
    "other architecture": (value("general.architecture", STR, "llama"), "expected phi3"),
    "architecture missing": (without("general.architecture"), "`general.architecture`"),
    "alpha missing": (without("adapter.lora.alpha"), "`adapter.lora.alpha` is missing"),
    "alpha whole": (value("adapter.lora.alpha", U32, 8), "`adapter.lora.alpha` has the type u32"),
    "alpha NaN": (value("adapter.lora.alpha", F32, math.nan), "a finite number, 0 or above"),
    "alpha infinite": (value("adapter.lora.alpha", F32, math.inf), "a finite number, 0 or above"),
    "alpha negative": (value("adapter.lora.alpha", F32, -1e-30), "a finite number, 0 or above"),
    "activated": (value("adapter.alora.invocation_tokens", U32, 1), "activated adapter"),
    "no tensors": (lambda file: file.tensors.clear(), "has no `.lora_a` and `.lora_b` tensors"),
    "only a": (dropped(f"{QKV}.lora_b"), "has only `lora_a` of its pair"),
    "only b": (dropped(f"{DOWN}.lora_a"), "has only `lora_b` of its pair"),
    "another half": (renamed(f"{QKV}.lora_b", f"{QKV}.lora_c"), "is no part of a LoRA"),
    "a norm": (lambda file: file.add_tensor("output_norm.weight", WIDTH), "is no part of a LoRA"),
    "for a norm": (
        together(
            *(renamed(f"{QKV}.lora_{half}", f"output_norm.weight.lora_{half}") for half in "ab"),
        ),
        "`output_norm.weight` is no matrix",
    ),
    "for another block": (
        together(*(renamed(f"{QKV}.lora_{half}", f"blk.9.attn_qkv.weight.lora_{half}") for half in "ab")),
        "`blk.9.attn_qkv.weight` is not in the model",
    ),
    "quantized": (
        tensor(f"{QKV}.lora_a", kind=8, data=bytes(34 * RANK)),
        "is no matrix of type F32, F16, BF16",
    ),
    "F64": (typed(f"{QKV}.lora_a", 28, 64), "is no matrix of type F32, F16, BF16"),
    "three axes": (resized(f"{QKV}.lora_a", WIDTH, RANK, 2), "is no matrix"),
    "one axis": (resized(f"{QKV}.lora_a", WIDTH), "is no matrix"),
    "a wider": (resized(f"{QKV}.lora_a", WIDTH + 1, RANK), "does not fit 33 x 4 and 4 x 64"),
    "b longer": (resized(f"{QKV}.lora_b", RANK, QKV_ROWS + 1), "does not fit 32 x 4 and 4 x 65"),
    "ranks differ": (resized(f"{QKV}.lora_a", WIDTH, RANK + 1), "does not fit 32 x 5 and 4 x 64"),
    "transposed": (
        together(resized(f"{DOWN}.lora_a", RANK, FEED_FORWARD), resized(f"{DOWN}.lora_b", WIDTH, RANK)),
        "does not fit 4 x 48 and 32 x 4",
    ),
    "embedding as if multiplied": (
        together(resized(f"{EMBEDDING}.lora_a", TOKENS, RANK), resized(f"{EMBEDDING}.lora_b", WIDTH, RANK)),
        "(32 x 266) does not fit",
    ),
    "embedding of more tokens": (
        resized(f"{EMBEDDING}.lora_a", RANK, TOKENS + 1),
        "does not fit 4 x 267 and 4 x 32",
    ),
    "embedding wider": (resized(f"{EMBEDDING}.lora_b", RANK, WIDTH + 1), "does not fit 4 x 266 and 4 x 33"),
    "embedding of two ranks": (
        resized(f"{EMBEDDING}.lora_b", RANK + 1, WIDTH),
        "does not fit 4 x 266 and 5 x 32",
    ),
    "twice": (lambda file: file.tensors.append(file.tensors[0]), "stands there twice"),
    "overlapping": (tensor(f"{QKV}.lora_b", offset=0), "begins at offset 0"),
}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    path = tmp_path_factory.mktemp("base") / "model.gguf"
    path.write_bytes(small_model().build())
    return validate(path)


@pytest.mark.parametrize("name", BAD)
def test_a_bad_adapter_is_refused_with_its_cause(name: str, base, tmp_path: Path):
    edit, cause = BAD[name]
    path = tmp_path / "adapter.gguf"
    path.write_bytes(changed(adapter(), edit))
    with pytest.raises(GGUFError) as caught:
        validate_adapter(path, base)
    assert cause in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize(
    "edit",
    [
        lambda _: None,
        value("adapter.lora.alpha", F32, 0.0),
        typed(f"{QKV}.lora_a", 1, 16),
        typed(f"{QKV}.lora_b", 30, 16),
        together(*(dropped(f"{DOWN}.lora_{half}") for half in "ab")),
    ],
)
def test_a_good_adapter_is_accepted(edit: Edit, base, tmp_path: Path):
    path = tmp_path / "adapter.gguf"
    path.write_bytes(changed(adapter(), edit))
    assert validate_adapter(path, base).path == path
