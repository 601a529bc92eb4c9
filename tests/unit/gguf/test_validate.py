"""The validator: Phi-4 models of every permitted form are accepted. (tests/hostile has what is refused.)"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from phi4local.errors import GGUFError
from phi4local.gguf import read_header, validate
from phi4local.gguf.hyperparameters import Hyperparameters, read_hyperparameters
from phi4local.gguf.vocabulary import byte_characters, check_vocabulary
from phi4local.gguf.weights import expected_tensors
from tests.hostile import gguf_files
from tests.hostile.gguf_edits import attributes, changed, renamed, together, value, values, without
from tests.hostile.gguf_files import (
    BOOL,
    F32,
    HEAD_WIDTH,
    I32,
    STR,
    U16,
    U32,
    WIDTH,
    File,
    sentencepiece_model,
    small_model,
    vocabulary,
)

if TYPE_CHECKING:
    from pathlib import Path

PHI_4 = Hyperparameters(
    blocks=40, width=5120, feed_forward=17920, heads=40, key_value_heads=10, rope_dimensions=128
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.gguf"


def split_attention(file: File) -> None:
    file.drop_tensor("blk.0.attn_qkv.weight")
    file.add_tensor("blk.0.attn_q.weight", WIDTH, WIDTH)
    file.add_tensor("blk.0.attn_k.weight", WIDTH, 2 * HEAD_WIDTH)
    file.add_tensor("blk.0.attn_v.weight", WIDTH, 2 * HEAD_WIDTH)


def rope_factors(file: File) -> None:
    file.add_tensor("rope_factors_long.weight", HEAD_WIDTH // 2)
    file.add_tensor("rope_factors_short.weight", HEAD_WIDTH // 2)


GOOD = {
    "plain": lambda file: None,
    "version 2": attributes(version=2),
    "tied output": lambda file: file.drop_tensor("output.weight"),
    "queries, keys and values apart in one block": split_attention,
    "rope factors": rope_factors,
    "partial rope": value("phi3.rope.dimension_count", U32, HEAD_WIDTH - 2),
    "rope dimensions left out": without("phi3.rope.dimension_count"),
    "frequency base left out": without("phi3.rope.freq_base"),
    "sliding window left out": without("phi3.attention.sliding_window"),
    "sliding window": value("phi3.attention.sliding_window", U32, 262144),
    "original context left out": without("phi3.rope.scaling.original_context_length"),
    "longrope": together(
        value("phi3.rope.scaling.type", STR, "longrope"), value("phi3.rope.scaling.attn_factor", F32, 1.19)
    ),
    "lengths of keys and values": together(
        value("phi3.attention.key_length", U32, HEAD_WIDTH),
        value("phi3.attention.value_length", U32, HEAD_WIDTH),
    ),
    "size of the vocabulary": value("phi3.vocab_size", U32, 266),
    "type and file type left out": together(without("general.type"), without("general.file_type")),
    "quantization version left out": without("general.quantization_version"),
    "a single shard": together(value("split.count", U16, 1), value("split.no", U16, 0)),
    "alignment 64": together(value("general.alignment", U32, 64), attributes(alignment=64)),
    "template left out": without("tokenizer.chat_template"),
    "named templates": together(
        value("tokenizer.chat_template.tool_use", STR, "x"),
        values("tokenizer.chat_templates", STR, ["tool_use"]),
    ),
    "template of 1 MiB": value("tokenizer.chat_template", STR, "x" * 2**20),
    "no merges": values("tokenizer.ggml.merges", STR, []),
    "scores": values("tokenizer.ggml.scores", F32, [0.0] * 266),
    "bos left out": without("tokenizer.ggml.bos_token_id"),
    "bos added": value("tokenizer.ggml.add_bos_token", BOOL, 1),
    "keys of other programs": together(
        value("quantize.imatrix.file", STR, "x"), values("my.own", I32, [1, 2])
    ),
    "a name with phi-4": value("general.name", STR, "Phi-4 mini, distilled from phi4"),
}


@pytest.mark.parametrize("name", GOOD)
def test_a_phi_4_model_is_accepted(name: str, path: Path):
    path.write_bytes(changed(small_model(), GOOD[name]))
    assert validate(path) == read_header(path)


def test_a_llama_style_vocabulary_is_accepted(path: Path):
    path.write_bytes(sentencepiece_model().build())
    assert validate(path).get("tokenizer.ggml.model") == "llama"


def test_a_name_with_phi_3_is_accepted_where_the_library_finds_the_tokens_it_looks_for(path: Path):
    file = sentencepiece_model()
    file.set("general.name", STR, "Phi-3.5 mini")
    path.write_bytes(file.build())
    assert validate(path).get("general.name") == "Phi-3.5 mini"


def test_the_name_trap_comes_with_a_way_out(path: Path):
    file = small_model()
    file.set("general.name", STR, "my phi3")
    path.write_bytes(file.build())
    with pytest.raises(GGUFError) as caught:
        validate(path)
    assert caught.value.hint == "convert it again with a name that does not say phi3 or phi-3"


def test_a_shard_comes_with_a_way_out(path: Path):
    file = small_model()
    file.set("split.count", U16, 2)
    file.set("split.no", U16, 1)
    second = path.with_name("model-00002-of-00002.gguf")
    second.write_bytes(file.build())
    with pytest.raises(GGUFError, match="is part 2 of 2") as caught:
        validate(second)
    assert "model-00001-of-00002.gguf" in str(caught.value.hint)


def test_optional_numbers_have_the_defaults_of_llama_cpp(path: Path):
    file = small_model()
    for key in ("phi3.attention.head_count_kv", "phi3.rope.dimension_count"):
        file.drop(key)
    path.write_bytes(file.build())
    model = read_hyperparameters(read_header(path))
    assert (model.key_value_heads, model.rope_dimensions) == (model.heads, model.head_width)


def test_the_tensors_of_phi_4_are_243_of_the_known_shapes():
    shapes = expected_tensors(PHI_4, 100_352, {"output.weight": None})
    assert len(shapes) == 243
    numbers = sum(shape[0] * (shape[1] if len(shape) > 1 else 1) for shape in shapes.values())
    assert numbers == 14_659_507_200
    assert shapes["blk.39.attn_qkv.weight"] == (5120, 7680)
    assert shapes["blk.0.ffn_up.weight"] == (5120, 35840)
    assert shapes["output.weight"] == (5120, 100_352)


def test_the_characters_that_stand_for_bytes_are_256():
    assert byte_characters() == set(gguf_files.byte_characters())
    assert len(byte_characters()) == 256


def test_a_vocabulary_of_the_size_of_phi_4_mini_is_checked_completely(path: Path):
    characters = sorted(byte_characters())
    tokens = [a + b + c for a in characters[:94] for b in characters[:94] for c in characters[:23]][:200_064]
    merges = [f"{token[0]} {token[1:]}" for token in tokens]
    file = small_model()
    file.set_array("tokenizer.ggml.tokens", STR, tokens)
    file.set_array("tokenizer.ggml.token_type", I32, [1] * len(tokens))
    file.set_array("tokenizer.ggml.merges", STR, merges)
    path.write_bytes(file.build())
    assert check_vocabulary(read_header(path)) == 200_064
    merges[-1] = "nospace"
    file.set_array("tokenizer.ggml.merges", STR, merges)
    path.write_bytes(file.build())
    with pytest.raises(GGUFError, match="entry 200063, is `nospace`"):
        check_vocabulary(read_header(path))


def test_renaming_a_tensor_names_the_missing_one(path: Path):
    path.write_bytes(changed(small_model(), renamed("output_norm.weight", "norm.weight")))
    with pytest.raises(GGUFError, match=r"tensor `output_norm\.weight` is missing"):
        validate(path)


def test_the_smallest_network_that_can_be_is_accepted(path: Path):
    file = small_model()
    file.set("phi3.feed_forward_length", U32, 1)
    file.set("phi3.context_length", U32, 1)
    file.set("phi3.rope.scaling.original_context_length", U32, 1)
    file.set("phi3.rope.dimension_count", U32, 2)
    for block in range(2):
        file.resize(f"blk.{block}.ffn_up.weight", WIDTH, 2)
        file.resize(f"blk.{block}.ffn_down.weight", 1, WIDTH)
    path.write_bytes(file.build())
    assert validate(path).get("phi3.feed_forward_length") == 1


def _one_block(file):
    file.set("phi3.block_count", U32, 1)
    file.tensors = [tensor for tensor in file.tensors if not tensor.name.startswith(b"blk.1.")]


def _every_type(file):
    tokens, types, _ = vocabulary()
    tokens[264], types[264], types[263], types[261] = b"<0x41>", 6, 2, 4
    file.set_array("tokenizer.ggml.tokens", STR, tokens)
    file.set_array("tokenizer.ggml.token_type", I32, types)


EDGES = {
    "every type of token": _every_type,
    "one block": _one_block,
    "the last token begins texts": together(
        value("tokenizer.ggml.add_bos_token", BOOL, 1),
        value("tokenizer.ggml.bos_token_id", U32, len(vocabulary()[0]) - 1),
    ),
    "the first token begins texts": value("tokenizer.ggml.bos_token_id", U32, 0),
    "nothing begins texts": together(
        without("tokenizer.ggml.add_bos_token"), without("tokenizer.ggml.bos_token_id")
    ),
}


@pytest.mark.parametrize("edge", EDGES)
def test_what_is_just_allowed_is_accepted(edge, tmp_path):
    path = tmp_path / "model.gguf"
    path.write_bytes(changed(small_model(), EDGES[edge]))
    assert validate(path).path == path
