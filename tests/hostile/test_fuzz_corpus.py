"""Every input that fuzzing kept, through the reader that it was found for: no error but our own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.hostile.fuzz_targets import TARGETS

CORPUS = Path(__file__).parent / "corpus"


@pytest.mark.parametrize("name", TARGETS)
def test_everything_in_the_corpus_is_judged(name: str):
    inputs = sorted((CORPUS / name).iterdir())
    assert len(inputs) >= 10
    for path in inputs:
        TARGETS[name](path.read_bytes())
