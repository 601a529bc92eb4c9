"""Which words name a model on a server."""

import pytest

from phi4local.runtime import names


@pytest.mark.parametrize(
    ("word", "reference"),
    [
        ("phi-4", "hf.co/microsoft/phi-4-gguf"),
        ("phi-4:Q8_0", "hf.co/microsoft/phi-4-gguf:Q8_0"),
        ("phi4:14b", "registry.ollama.ai/library/phi4:14b"),
        ("hf.co/unsloth/phi-4-GGUF:Q4_K_M", "hf.co/unsloth/phi-4-GGUF:Q4_K_M"),
        ("modelscope.cn/unsloth/phi-4-GGUF", "modelscope.cn/unsloth/phi-4-GGUF"),
        ("LLM-Research/phi-4", "modelscope.cn/LLM-Research/phi-4"),
        ("microsoft/phi-4", "hf.co/microsoft/phi-4"),
        ("ollama run phi4:14b 'hi'", "registry.ollama.ai/library/phi4:14b"),
        ("https://huggingface.co/unsloth/phi-4-GGUF", "hf.co/unsloth/phi-4-GGUF"),
        ("http://127.0.0.1:5000/library/phi4:14b", "127.0.0.1:5000/library/phi4:14b"),
    ],
)
def test_a_name_on_a_server_is_found(word, reference):
    assert str(names.remote_name(word)) == reference


@pytest.mark.parametrize(
    "word", ["phi4-nano", "phi-5", "hello", "./phi-4", "~/phi-4.gguf", "/models/phi-4", "phi-4.gguf", r"C:\m"]
)
def test_other_words_are_left_alone(word):
    assert names.remote_name(word) is None


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("https://huggingface.co/unsloth/phi-4-GGUF", True),
        ("https://www.modelscope.cn/models/unsloth/phi-4-GGUF", True),
        ("http://127.0.0.1:5000/library/phi4:14b", True),
        ("http://127.0.0.1:8080", False),
        ("http://127.0.0.1:8080/v1", False),
        ("https://api.example.com/openai/v1", False),
        ("http://[::1", False),
        ("hf.co/unsloth/phi-4-GGUF", False),
    ],
)
def test_a_link_to_a_hub_is_told_from_the_address_of_a_server(word, expected):
    assert names.is_link(word) is expected


@pytest.mark.parametrize(
    ("word", "expected"),
    [("hf.co/a/b", True), ("phi4:14b", True), ("either/or", False), ("phi", False), ("hf.co", False)],
)
def test_a_single_word_is_a_model_only_when_it_can_be_nothing_else(word, expected):
    assert names.is_on_a_hub(word) is expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("phi-4", ("phi-4", {})),
        ("phi-4+nova", ("phi-4", {"nova": 1.0})),
        ("phi-4:Q4_K_M+nova:0.5+terse", ("phi-4:Q4_K_M", {"nova": 0.5, "terse": 1.0})),
        ("./one+two.gguf", ("./one+two.gguf", {})),
        ("./one+two.gguf+nova:2", ("./one+two.gguf", {"nova": 2.0})),
        ("./one+three.gguf", ("./one", {"three.gguf": 1.0})),
    ],
)
def test_adapters_in_a_name_stand_behind_the_longest_known_model(name, expected):
    known = ["./one", "./one+two.gguf", "phi-4"]
    assert names.split_adapters(name, known) == expected
    assert names.split_adapters(names.with_adapters(*expected), known) == expected
