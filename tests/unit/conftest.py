"""A home of its own for a test; and models that are only vocabularies, with as few weights as can be."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from filelock import FileLock

from phi4local import catalog
from phi4local.convert import convert_checkpoint
from tests.random_checkpoint import Size, write_json, write_random_checkpoint

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TINY = {"hidden": 32, "feed_forward": 32, "layers": 1, "heads": 2, "kv_heads": 1, "context": 4096}
MEMBERS = {"phi-4": "phi-4", "phi-4-reasoning": "phi-4-reasoning", "phi-4-mini": "phi-4-mini-instruct"}
THINK = {"<|dummy_86|>": "<think>", "<|dummy_87|>": "</think>"}


@dataclass(frozen=True)
class RealVocabulary:
    """A checkpoint folder with a real vocabulary, the GGUF that phi4local made of it, and whose it is."""

    name: str
    member: str
    folder: Path
    gguf: Path


@pytest.fixture(scope="session")
def real_vocabulary(tmp_path_factory):
    """Make `real_vocabulary("phi-4")`, once for all processes of a run: it takes seconds.

    The reasoning models have two plain tokens, `<think>` and `</think>`, in the place of two of Phi-4's.
    """
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def make(name: str) -> RealVocabulary:
        folder = shared / f"real-{name}"
        made = RealVocabulary(name, MEMBERS[name], folder, folder / "model.gguf")
        with FileLock(shared / f"real-{name}.lock"):
            if not made.gguf.exists():
                vocabulary = "phi-4-mini" if name == "phi-4-mini" else "phi-4"
                write_random_checkpoint(
                    folder, Size(**TINY, vocabulary=vocabulary, tied=name == "phi-4-mini")
                )
                if name == "phi-4-reasoning":
                    edit(folder / "tokenizer.json", with_think_tokens)
                template = catalog.find(made.member).chat_template
                edit(folder / "tokenizer_config.json", lambda config: config | {"chat_template": template})
                convert_checkpoint(folder, made.gguf, "Q8_0", kernels="ggml")
        return made

    return make


def with_think_tokens(tokenizer: dict[str, Any]) -> dict[str, Any]:
    for token in tokenizer["added_tokens"]:
        if token["content"] in THINK:
            token |= {"content": THINK[token["content"]], "special": False}
    return tokenizer


def edit(path: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    write_json(path, change(json.loads(path.read_text(encoding="utf-8"))))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of everything that is kept; not made yet."""
    folder = tmp_path / "home"
    monkeypatch.setenv("PHI4LOCAL_HOME", str(folder))
    return folder
