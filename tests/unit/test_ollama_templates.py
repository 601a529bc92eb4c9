"""Templates for Ollama: rendered by Go, they say what transformers renders from the models' own templates.

`tests/golden/ollama.json` has what Go, transformers and npm's `@huggingface/ollama-utils` said; see
`make_ollama.py` beside it.
"""

import hashlib
import json
from pathlib import Path

import pytest

from phi4local import catalog

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "ollama.json").read_text(encoding="utf-8"))
NAMES = sorted(GOLDEN)


def test_the_golden_file_is_about_todays_templates():
    assert tuple(NAMES) == catalog.model_names()
    for name, entry in GOLDEN.items():
        member = catalog.find(name)
        assert (entry["template"], entry["jinja"]) == (member.ollama_template, member.chat_template), name


@pytest.mark.parametrize("name", NAMES)
def test_ollama_asks_what_the_models_own_template_asks(name):
    entry = GOLDEN[name]
    assert entry["by_go"] == entry["by_transformers"]
    assert len(entry["by_go"]) == 6


def without_white_space(text):
    return "".join(text.split())


@pytest.mark.parametrize("name", ["phi-4", "phi4-nano"])
def test_phi_4_differs_from_ollamas_library_in_line_ends_only(name):
    entry = GOLDEN[name]
    # The digest of phi4:14b's template layer; it adds line ends that Phi-4 was not trained with.
    published = entry["npm"]["template"].encode()
    assert (
        hashlib.sha256(published).hexdigest().startswith("32695b892af87ef8fca6e13a1a31c67c1441d7398be037e3")
    )
    for conversation, text in entry["npm_by_go"].items():
        assert without_white_space(text) == without_white_space(entry["by_go"][conversation])


def test_phi_4_mini_differs_from_ollamas_library_in_the_missing_end_of_the_system_text():
    entry = GOLDEN["phi-4-mini-instruct"]
    for conversation, text in entry["npm_by_go"].items():
        ours = entry["by_go"][conversation]
        if ours.startswith("<|system|>"):
            ours = ours.replace("<|end|>", "", 1)
        assert text == ours


@pytest.mark.parametrize("name", NAMES)
def test_what_ends_an_answer_is_among_ollamas_stop_texts(name):
    ours = catalog.find(name).ollama_parameters()["stop"]
    theirs = (GOLDEN[name]["npm"] or {}).get("params", {}).get("stop", ours)
    assert ours[0] in theirs
