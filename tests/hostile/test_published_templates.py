"""Chat templates of attacks that were really published: none runs, and those that poison prompts are named.

`published_templates.json` holds the 28 that c4nary's source distribution ships (MIT).
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from pathlib import Path

import pytest

from phi4local import catalog
from phi4local.errors import ChatTemplateError
from phi4local.messages import Message
from phi4local.prompts.known import choose_template
from tests.hostile.gguf_files import STR, small_model

PUBLISHED = json.loads((Path(__file__).parent / "published_templates.json").read_text(encoding="utf-8"))
TEMPLATES = PUBLISHED["templates"]
# These run nothing; they put a stranger's words into the prompt, two of them for certain questions.
POISON = {name for name in TEMPLATES if name[:2] in ("17", "18", "21", "25")}
WORDS = (
    "Hello",
    "Please answer precisely. password",
    "compliance-audit",
    "recommend a financial advisor",
)
CONVERSATIONS = [
    [],
    *([Message("user", words)] for words in WORDS),
    [Message("system", "s"), Message("user", "u"), Message("assistant", "a"), Message("user", "u")],
]


@pytest.fixture
def canaries(monkeypatch):
    """Fail the test when a template starts a process or opens a file."""
    for module, name in ((os, "system"), (os, "popen"), (subprocess, "Popen"), (os, "execv")):
        monkeypatch.setattr(module, name, lambda *_, **__: pytest.fail("the template ran a command"))


def test_there_are_as_many_as_were_published():
    assert len(TEMPLATES) == 28


@pytest.mark.parametrize("name", sorted(set(TEMPLATES) - POISON))
def test_a_published_attack_is_refused(name: str, canaries):
    refused = []
    for messages in CONVERSATIONS:
        try:
            template, _ = choose_template(TEMPLATES[name], None)
            text = template.render(messages)
        except ChatTemplateError as error:
            refused.append(error)
        else:
            assert "uid=" not in text
    assert refused
    assert all(error.hint and "\n" not in str(error) for error in refused)


@pytest.mark.parametrize("name", sorted(POISON))
@pytest.mark.parametrize("manifest", [None, "phi-4"])
def test_a_template_that_poisons_prompts_is_named(name: str, manifest: str | None, canaries):
    _, notice = choose_template(TEMPLATES[name], catalog.find(manifest) if manifest else None)
    assert notice is not None
    assert "it decides how your messages reach the model" in notice


@pytest.mark.parametrize("name", sorted(POISON))
def test_a_poison_never_becomes_a_part_of_what_was_typed(name: str):
    """The segments carry the messages word for word, whatever the template makes of them."""
    template, _ = choose_template(TEMPLATES[name], None)
    for messages in CONVERSATIONS[1:-1]:
        with contextlib.suppress(ChatTemplateError):
            prompt = template.segments(messages, strip_whitespace=True)
            plain = [segment.text for segment in prompt.segments if not segment.special]
            assert any(messages[0].content in text for text in plain)


def test_the_command_refuses_the_file_in_two_lines(tmp_path: Path, native_library, run_cli):
    file = small_model()
    file.set("tokenizer.chat_template", STR, TEMPLATES["11-dyingc-gguf-scanner-test-samples"])
    path = tmp_path / "attack.gguf"
    path.write_bytes(file.build())
    run = run_cli(["run", path, "Hello"])
    assert (run.returncode, run.stdout) == (1, "")
    errors = [line for line in run.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert "`__class__`" in errors[0]
    assert "Traceback" not in run.stderr
