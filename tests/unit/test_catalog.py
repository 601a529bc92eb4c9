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
    assert manifest.parameters == shape.layers * layer + 2 * manifest.vocabulary_tokens * width + width


def test_published_templates_have_their_published_lengths():
    phi = catalog.find("phi-4")
    assert len(phi.chat_template) == 462
    assert [len(text) for text in phi.known_templates] == [377]


def test_a_near_name_is_offered():
    with pytest.raises(UnknownModelError) as caught:
        catalog.find("phi4")
    assert "phi-4" in caught.value.near


def test_a_file_is_recognised_by_its_numbers():
    shape = {"layers": 40, "embedding_length": 5120, "vocabulary_tokens": 100352, "context_tokens": 16384}
    assert catalog.recognise(**shape).name == "phi-4"
    assert catalog.recognise(**(shape | {"layers": 41})) is None
