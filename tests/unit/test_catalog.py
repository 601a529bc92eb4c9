"""Manifests agree with the checkpoints they describe."""

import json

import pytest

from phi4local import catalog
from phi4local.convert import plan_conversion
from phi4local.errors import UnknownModelError


@pytest.mark.parametrize("name", catalog.model_names())
def test_every_manifest_reads_and_carries_its_own_name(name):
    manifest = catalog.find(name)
    assert manifest.name == name
    assert manifest.repository or manifest.folder
    assert manifest.chat_template
    assert catalog.find(name.upper()) == manifest


def test_the_embedded_manifest_says_what_its_checkpoint_says():
    manifest = catalog.find("phi4-nano")
    folder = manifest.checkpoint_folder()
    config = json.loads((folder / "config.json").read_text())
    tokenizer = json.loads((folder / "tokenizer_config.json").read_text())
    shape = manifest.architecture
    assert (
        shape.layers,
        shape.embedding_length,
        shape.feed_forward_length,
        shape.heads,
        shape.kv_heads,
        shape.context_tokens,
        manifest.vocabulary_tokens,
    ) == tuple(
        config[key]
        for key in (
            "num_hidden_layers",
            "hidden_size",
            "intermediate_size",
            "num_attention_heads",
            "num_key_value_heads",
            "max_position_embeddings",
            "vocab_size",
        )
    )
    assert manifest.chat_template == tokenizer["chat_template"]
    strips = {entry["lstrip"] and entry["rstrip"] for entry in tokenizer["added_tokens_decoder"].values()}
    assert strips == {manifest.strip_whitespace_around_special_tokens}
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    assert manifest.parameters == index["metadata"]["total_parameters"]


def test_the_embedded_manifest_names_the_pre_tokenizer_and_the_end_tokens_of_its_checkpoint():
    manifest = catalog.find("phi4-nano")
    folder = manifest.checkpoint_folder()
    metadata = {entry.key: entry.value for entry in plan_conversion(folder, "Q8_0").metadata}
    assert metadata["tokenizer.ggml.pre"] == manifest.pre
    ends = json.loads((folder / "generation_config.json").read_text())["eos_token_id"]
    assert tuple(metadata["tokenizer.ggml.tokens"][token] for token in ends) == manifest.end_tokens


@pytest.mark.parametrize("name", catalog.model_names())
def test_parameters_follow_from_the_architecture(name):
    manifest = catalog.find(name)
    shape = manifest.architecture
    width, head_length = shape.embedding_length, shape.embedding_length // shape.heads
    layer = (
        width * (shape.heads + 2 * shape.kv_heads) * head_length
        + width * width
        + 3 * width * shape.feed_forward_length
        + 2 * width
    )
    matrices = 1 if shape.tied_embeddings else 2
    assert manifest.parameters == shape.layers * layer + matrices * manifest.vocabulary_tokens * width + width


@pytest.mark.parametrize(
    ("name", "lengths"),
    [
        ("phi-4", [462, 377]),
        ("phi-4-mini-instruct", [390, 423]),
        ("phi-4-mini-reasoning", [568]),
        ("phi-4-reasoning", [1658, 1623]),
        ("phi-3-mini-4k-instruct", [407, 269]),
        ("phi-3.5-mini-instruct", [430]),
        ("phi-3-medium-4k-instruct", [254]),
    ],
)
def test_published_templates_have_their_published_lengths(name, lengths):
    manifest = catalog.find(name)
    assert [len(text) for text in (manifest.chat_template, *manifest.known_templates)] == lengths


@pytest.mark.parametrize("name", catalog.model_names())
def test_a_file_with_the_numbers_and_the_template_of_a_model_is_that_model(name):
    manifest = catalog.find(name)
    shape = manifest.architecture
    found = catalog.recognise(
        layers=shape.layers,
        embedding_length=shape.embedding_length,
        vocabulary_tokens=manifest.vocabulary_tokens,
        context_tokens=shape.context_tokens,
        chat_template=manifest.chat_template,
    )
    # These two differ in their training only.
    assert found.name == ("phi-4-reasoning" if name == "phi-4-reasoning-plus" else name)


def test_models_that_cannot_be_told_apart_say_the_same():
    one, other = catalog.find("phi-4-reasoning"), catalog.find("phi-4-reasoning-plus")
    same = ("architecture", "sampling", "chat_template", "known_templates", "end_tokens", "defects")
    assert all(getattr(one, field) == getattr(other, field) for field in same)


def test_a_tune_with_its_own_template_is_recognised_by_the_words_it_kept():
    numbers = {"layers": 32, "embedding_length": 3072, "vocabulary_tokens": 200064, "context_tokens": 131072}
    assert catalog.recognise(**numbers).name == "phi-4-mini-instruct"
    assert catalog.recognise(**numbers, chat_template="{{ messages }}").name == "phi-4-mini-instruct"
    kept = "<|system|>Your name is Phi, an AI math expert developed by Ann.<|end|>{{ messages }}"
    assert catalog.recognise(**numbers, chat_template=kept).name == "phi-4-mini-reasoning"


@pytest.mark.parametrize("name", catalog.model_names())
def test_defects_are_of_a_known_kind(name):
    for defect in catalog.find(name).defects:
        assert defect.what in ("eos", "padding", "chat_template")
        assert defect.why
        assert (defect.what == "chat_template") == (not defect.found and not defect.right)


def test_a_near_name_is_offered():
    with pytest.raises(UnknownModelError) as caught:
        catalog.find("phi4")
    assert "phi-4" in caught.value.near


def test_a_file_is_recognised_by_its_numbers():
    shape = {"layers": 40, "embedding_length": 5120, "vocabulary_tokens": 100352, "context_tokens": 16384}
    assert catalog.recognise(**shape).name == "phi-4"
    assert catalog.recognise(**(shape | {"layers": 41})) is None


def test_repositories_lead_back_to_their_member():
    assert catalog.published_as("UNSLOTH/phi-4-gguf", at="modelscope").name == "phi-4"
    assert catalog.published_as("microsoft/phi-4", at="huggingface").name == "phi-4"
    assert catalog.published_as("phi4-reasoning:plus", at="ollama").name == "phi-4-reasoning-plus"
    assert catalog.published_as("phi4-reasoning", at="ollama") is None
