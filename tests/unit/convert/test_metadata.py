"""The header of phi4-nano: every key by llama.cpp's rules, every token by the `tokenizers` package."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import gguf
import pytest
from tokenizers import Tokenizer

from phi4local.convert import convert_checkpoint, plan_conversion
from phi4local.convert.metadata import model_name
from tests.random_checkpoint import NANO, write_json, write_random_checkpoint

if TYPE_CHECKING:
    from pathlib import Path

TEMPLATE = json.loads((NANO / "tokenizer_config.json").read_text(encoding="utf-8"))["chat_template"]
CONFIG = json.loads((NANO / "config.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def fields(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    output = tmp_path_factory.mktemp("nano") / "nano.gguf"
    convert_checkpoint(NANO, output, "Q8_0")
    reader = gguf.GGUFReader(output)
    return {key: field.contents() for key, field in reader.fields.items() if not key.startswith("GGUF.")}


def test_model_keys(fields: dict[str, object]) -> None:
    keys = gguf.Keys
    expected = {
        keys.General.ARCHITECTURE: "phi3",
        keys.General.TYPE: "model",
        keys.General.NAME: "phi4-nano",
        keys.General.QUANTIZATION_VERSION: 2,
        keys.General.FILE_TYPE: 7,
        keys.LLM.CONTEXT_LENGTH: CONFIG["max_position_embeddings"],
        keys.Rope.SCALING_ORIG_CTX_LEN: CONFIG["original_max_position_embeddings"],
        keys.LLM.EMBEDDING_LENGTH: CONFIG["hidden_size"],
        keys.LLM.FEED_FORWARD_LENGTH: CONFIG["intermediate_size"],
        keys.LLM.BLOCK_COUNT: CONFIG["num_hidden_layers"],
        keys.Attention.HEAD_COUNT: CONFIG["num_attention_heads"],
        keys.Attention.HEAD_COUNT_KV: CONFIG["num_key_value_heads"],
        keys.Attention.LAYERNORM_RMS_EPS: pytest.approx(CONFIG["rms_norm_eps"]),
        keys.Rope.DIMENSION_COUNT: CONFIG["hidden_size"] // CONFIG["num_attention_heads"],
        keys.Rope.FREQ_BASE: CONFIG["rope_theta"],
        keys.Attention.SLIDING_WINDOW: 0,
        "phi4local.repairs": [
            "eot_token_id: 8105 `<|im_end|>` added; "
            "without it llama.cpp takes whichever end token it meets first"
        ],
    }
    named = {key.format(arch="phi3"): value for key, value in expected.items()}
    assert {key: value for key, value in fields.items() if not key.startswith("tokenizer.")} == named


def test_tokenizer_keys(fields: dict[str, object]) -> None:
    keys = gguf.Keys.Tokenizer
    expected = {
        keys.MODEL: "gpt2",
        keys.PRE: "dbrx",
        keys.BOS_ID: 8097,
        keys.EOS_ID: 8105,
        keys.UNK_ID: 8097,
        keys.PAD_ID: 8189,
        keys.EOT_ID: 8105,
        keys.ADD_BOS: False,
        keys.ADD_EOS: False,
        keys.CHAT_TEMPLATE: TEMPLATE,
    }
    arrays = {keys.LIST, keys.TOKEN_TYPE, keys.MERGES}
    found = {
        key: value for key, value in fields.items() if key.startswith("tokenizer.") and key not in arrays
    }
    assert found == expected


def test_tokens_types_and_merges(fields: dict[str, object]) -> None:
    keys = gguf.Keys.Tokenizer
    tokenizer = Tokenizer.from_file(str(NANO / "tokenizer.json"))
    by_id = {token: text for text, token in tokenizer.get_vocab(with_added_tokens=True).items()}
    special = {token for token, added in tokenizer.get_added_tokens_decoder().items() if added.special}
    assert fields[keys.LIST] == [by_id[token] for token in range(CONFIG["vocab_size"])]
    kinds = gguf.TokenType
    assert fields[keys.TOKEN_TYPE] == [
        kinds.CONTROL if token in special else kinds.NORMAL for token in range(CONFIG["vocab_size"])
    ]
    lines = (NANO / "merges.txt").read_text(encoding="utf-8").splitlines()
    assert fields[keys.MERGES] == [line for line in lines if not line.startswith("#version")]


def test_gguf_own_special_vocab_agrees(fields: dict[str, object]) -> None:
    """gguf-py's `SpecialVocab` reads the same folder its own way."""
    theirs = gguf.SpecialVocab(NANO, load_merges=True, n_vocab=CONFIG["vocab_size"])
    assert fields[gguf.Keys.Tokenizer.MERGES] == theirs.merges
    assert fields[gguf.Keys.Tokenizer.CHAT_TEMPLATE] == theirs.chat_template
    ids = {
        word: fields[getattr(gguf.Keys.Tokenizer, f"{word.upper()}_ID")] for word in theirs.special_token_ids
    }
    assert ids == theirs.special_token_ids


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("My Phi-3 tune", "My Phi 3 tune"),
        ("PHI3", "PHI 3"),
        ("phi-4", "phi-4"),
        ("phi\u200b-3", "phi -3"),
        ("a\nb\x1b[31m", "a b [31m"),
        ("", "model"),
        ("\udcff", "model"),
        ("  two  words ", "two words"),
    ],
)
def test_model_name_springs_no_trap(given: str, kept: str) -> None:
    assert model_name(given) == kept


def test_name_comes_from_argument_manifest_or_folder(tmp_path: Path) -> None:
    folder = write_random_checkpoint(tmp_path / "my phi3")
    assert plan_conversion(NANO, "Q8_0").name == "phi4-nano"
    assert plan_conversion(NANO, "Q8_0", name="Mine").name == "Mine"
    assert plan_conversion(folder, "Q8_0").name == "my phi 3"


def metadata(folder: Path) -> dict[str, object]:
    return {entry.key: entry.value for entry in plan_conversion(folder, "Q8_0").metadata}


def test_template_beside_the_tokenizer_config(tmp_path: Path) -> None:
    folder = write_random_checkpoint(tmp_path / "c")
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    del settings["chat_template"]
    write_json(folder / "tokenizer_config.json", settings)
    assert "tokenizer.chat_template" not in metadata(folder)
    write_json(folder / "chat_template.json", {"chat_template": "from json"})
    assert metadata(folder)["tokenizer.chat_template"] == "from json"
    (folder / "chat_template.jinja").write_text("from jinja")
    assert metadata(folder)["tokenizer.chat_template"] == "from jinja"
    write_json(
        folder / "tokenizer_config.json",
        {
            **settings,
            "chat_template": [{"name": "tools", "template": "x"}, {"name": "default", "template": "y"}],
        },
    )
    assert metadata(folder)["tokenizer.chat_template"] == "y"


def test_ids_come_from_config_where_the_tokenizer_names_none(tmp_path: Path) -> None:
    folder = write_random_checkpoint(tmp_path / "c")
    config = json.loads((folder / "config.json").read_text())
    write_json(
        folder / "tokenizer_config.json", {"eos_token": {"content": "<|endoftext|>"}, "pad_token": "absent"}
    )
    write_json(folder / "config.json", config | {"bos_token_id": [1, 2], "pad_token_id": 3})
    found = metadata(folder)
    assert found["tokenizer.ggml.eos_token_id"] == config["bos_token_id"]  # the text comes before the number
    assert found["tokenizer.ggml.padding_token_id"] == 3
    assert "tokenizer.ggml.bos_token_id" not in found  # a list names no single token


def test_holes_in_the_vocabulary_are_unused_tokens(tmp_path: Path) -> None:
    folder = write_random_checkpoint(tmp_path / "c")
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    # Behind a hole, an added token keeps its id only if it is in the vocabulary too.
    tokenizer["model"]["vocab"] |= {entry["content"]: entry["id"] for entry in tokenizer["added_tokens"]}
    removed = tokenizer["added_tokens"].pop(3)  # <|im_sep|>
    del tokenizer["model"]["vocab"][removed["content"]]
    tokenizer["added_tokens"][1] |= {"special": False}  # <|im_start|> still looks special
    tokenizer["added_tokens"][3] |= {"special": False, "content": "<think>"}
    tokenizer["model"]["vocab"]["<think>"] = tokenizer["model"]["vocab"].pop("<|dummy_85|>")
    write_json(folder / "tokenizer.json", tokenizer)
    found = metadata(folder)
    assert found["tokenizer.ggml.tokens"][removed["id"]] == f"[PAD{removed['id']}]"
    kinds = found["tokenizer.ggml.token_type"]
    assert kinds[removed["id"]] == 5
    assert kinds[tokenizer["added_tokens"][1]["id"]] == 3
    assert kinds[tokenizer["added_tokens"][3]["id"]] == 4


def test_both_spellings_of_merges(tmp_path: Path) -> None:
    folder = write_random_checkpoint(tmp_path / "c")
    as_pairs = metadata(folder)["tokenizer.ggml.merges"]
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["model"]["merges"] = [" ".join(pair) for pair in tokenizer["model"]["merges"]]
    write_json(folder / "tokenizer.json", tokenizer)
    assert metadata(folder)["tokenizer.ggml.merges"] == as_pairs


def test_spaces_inside_merges_are_written_as_letters(tmp_path: Path) -> None:
    folder = write_random_checkpoint(tmp_path / "c")
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    last = max(entry["id"] for entry in tokenizer["added_tokens"])
    tokenizer["model"]["vocab"] |= {" ": last - 4, " a": last - 3}
    tokenizer["added_tokens"] = []
    tokenizer["model"]["merges"].append([" ", "a"])
    write_json(folder / "tokenizer.json", tokenizer)
    assert metadata(folder)["tokenizer.ggml.merges"][-1] == "Ġ a"


def test_rotary_numbers_of_transformers_5(tmp_path: Path) -> None:
    folder = write_random_checkpoint(tmp_path / "c")
    config = json.loads((folder / "config.json").read_text())
    before = metadata(folder)
    del config["rope_theta"], config["rope_scaling"]
    config["rope_parameters"] = {"rope_theta": 250000.0, "rope_type": "default", "partial_rotary_factor": 1.0}
    write_json(folder / "config.json", config)
    assert metadata(folder) == before
    config["rope_parameters"]["partial_rotary_factor"] = 0.75
    write_json(folder / "config.json", config)
    assert metadata(folder)["phi3.rope.dimension_count"] == 12  # three quarters of a head of 16
