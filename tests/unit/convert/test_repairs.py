"""Known defects of published checkpoints: corrected, said aloud, and left alone where nobody asked."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import gguf
import pytest

from phi4local import catalog
from phi4local.convert import convert_checkpoint, plan_conversion
from phi4local.convert.architectures.phi3 import Phi3
from phi4local.convert.repairs import named, repaired
from phi4local.convert.vocabulary import Vocabulary
from tests.random_checkpoint import NANO, Size, write_json, write_random_checkpoint
from tests.unit.planning.test_mixes import PHI_4

if TYPE_CHECKING:
    from pathlib import Path

PHI = catalog.find("phi-4")
FIRST_TEMPLATE = PHI.known_templates[0]


def phi_4_vocabulary(**changes: object) -> Vocabulary:
    """Phi-4's special tokens at their ids; the other texts do not matter here."""
    tokens = [f"t{token}" for token in range(100_352)]
    known = {100257: "<|endoftext|>", 100265: "<|im_end|>", 100349: "<|dummy_85|>", 100351: "<|dummy_87|>"}
    for token, text in known.items():
        tokens[token] = text
    values: dict[str, object] = {
        "model": "gpt2",
        "pre": "dbrx",
        "tokens": tuple(tokens),
        "types": (1,) * 100_352,
        "special_ids": {"bos": 100257, "eos": 100265, "padding": 100349},
        "chat_template": PHI.chat_template,
    }
    return Vocabulary(**(values | changes))


def repair(vocabulary: Vocabulary, architecture: Phi3 = PHI_4, config: dict | None = None):
    return repaired(named("tune", architecture, vocabulary), config or {"sliding_window": None})


def keys_of(lines: tuple[str, ...]) -> list[str]:
    return [line.partition(":")[0] for line in lines]


def test_the_first_upload_of_phi_4() -> None:
    """bos, eos and pad were all 100257, and the template opened a turn by itself (phi-4's first weeks)."""
    found = repair(
        phi_4_vocabulary(
            special_ids={"bos": 100257, "eos": 100257, "padding": 100257}, chat_template=FIRST_TEMPLATE
        )
    )
    assert found.vocabulary.special_ids == {"bos": 100257, "eos": 100265, "padding": 100349, "eot": 100265}
    assert found.vocabulary.chat_template == PHI.chat_template
    assert keys_of(found.repairs) == ["eos_token_id", "padding_token_id", "chat_template", "eot_token_id"]
    assert "100265 `<|im_end|>` instead of 100257 `<|endoftext|>`" in found.repairs[0]


def test_the_repaired_upload_lacks_only_the_end_of_turn() -> None:
    found = repair(phi_4_vocabulary())
    assert keys_of(found.repairs) == ["eot_token_id"]
    assert found.vocabulary.special_ids["eot"] == 100265


def test_other_tokens_that_a_tune_chose_are_kept() -> None:
    """Unsloth pads with `<|dummy_87|>`, and people write templates of their own."""
    found = repair(
        phi_4_vocabulary(
            special_ids={"bos": 100257, "eos": 100265, "padding": 100351}, chat_template="{{ messages }}"
        )
    )
    assert found.vocabulary.special_ids["padding"] == 100351
    assert found.vocabulary.chat_template == "{{ messages }}"
    assert keys_of(found.repairs) == ["eot_token_id"]


@pytest.mark.parametrize("difference", ["numbers", "tokens"])
def test_another_model_is_left_alone(difference: str) -> None:
    vocabulary = phi_4_vocabulary(special_ids={"eos": 100257})
    architecture = PHI_4
    if difference == "numbers":
        architecture = replace(PHI_4, layers=39)
    else:
        vocabulary = phi_4_vocabulary(special_ids={"eos": 100257}, tokens=("a",) * 100_352)
    found = repair(vocabulary, architecture)
    assert found.vocabulary.special_ids["eos"] == 100257
    assert "eos_token_id" not in keys_of(found.repairs)


MINI = Phi3(
    layers=32,
    embedding_length=3072,
    feed_forward_length=8192,
    heads=32,
    kv_heads=32,
    vocabulary_tokens=32064,
    context_tokens=4096,
    original_context_tokens=4096,
    rms_norm_epsilon=1e-5,
    rope_theta=10000.0,
    rope_dimensions=96,
    sliding_window_tokens=0,
    tied_embeddings=False,
)


@pytest.mark.parametrize(
    ("config", "window"), [({}, 2047), ({"sliding_window": None}, 0), ({"sliding_window": 0}, 0)]
)
def test_a_missing_sliding_window(config: dict, window: int) -> None:
    tokens = (*(f"t{token}" for token in range(32_062)), "<|end|>", "<|endoftext|>")
    vocabulary = phi_4_vocabulary(tokens=tokens, special_ids={}, chat_template=None)
    found = repaired(named("tune", MINI, vocabulary), config)
    assert found.architecture.sliding_window_tokens == window
    assert ("attention.sliding_window" in keys_of(found.repairs)) == (window > 0)


def first_upload(tmp_path: Path) -> Path:
    """Return a copy of phi4-nano with the tokens of Phi-4's first upload."""
    target = tmp_path / "my phi3 tune"
    shutil.copytree(NANO, target, ignore=shutil.ignore_patterns("training", "*.jsonl*", "*.npz"))
    settings = json.loads((target / "tokenizer_config.json").read_text(encoding="utf-8"))
    settings |= {"eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}
    write_json(target / "tokenizer_config.json", settings)
    return target


def test_repairs_are_said_and_stand_in_the_file(tmp_path: Path, run_cli) -> None:
    folder = first_upload(tmp_path)
    done = run_cli(["convert", folder, "-q", "Q8_0", "-o", tmp_path / "m.gguf"])
    assert done.returncode == 0
    reader = gguf.GGUFReader(tmp_path / "m.gguf")
    stored = reader.fields["phi4local.repairs"].contents()
    assert keys_of(stored) == ["general.name", "eos_token_id", "padding_token_id", "eot_token_id"]
    said = " ".join(done.stderr.split())
    assert all(f"repaired: {line}" in said for line in stored)
    assert said.count("repaired: ") == len(stored)
    assert reader.fields["tokenizer.ggml.eos_token_id"].contents() == 8105
    assert reader.fields["tokenizer.ggml.padding_token_id"].contents() == 8189
    assert reader.fields["general.name"].contents() == "my phi 3 tune"


def test_no_repair_writes_what_the_checkpoint_says(tmp_path: Path) -> None:
    folder = first_upload(tmp_path)
    summary = convert_checkpoint(folder, tmp_path / "m.gguf", "Q8_0", repair=False)
    fields = gguf.GGUFReader(tmp_path / "m.gguf").fields
    assert fields["tokenizer.ggml.eos_token_id"].contents() == 8097
    assert fields["tokenizer.ggml.padding_token_id"].contents() == 8097
    assert "tokenizer.ggml.eot_token_id" not in fields
    # Under the folder's own name llama.cpp would not load the file.
    assert keys_of(summary.repairs) == ["general.name"]


@pytest.mark.parametrize("name", ["su", "yarn"])
def test_older_names_of_longrope_are_said(name: str, tmp_path: Path) -> None:
    folder = write_random_checkpoint(tmp_path / "c", Size(context=4096, original_context=512))
    config = json.loads((folder / "config.json").read_text())
    config["rope_scaling"]["type"] = name
    write_json(folder / "config.json", config)
    assert f"rope_scaling: `{name}` read as longrope" in " ".join(plan_conversion(folder, "Q8_0").repairs)
