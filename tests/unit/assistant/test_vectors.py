"""Vectors of texts: the numbers of wordllama's own program, kept when they took long."""

import logging
import subprocess
import sys

import numpy
import pytest

from phi4local.assistant.retrieval import Collection, Document, KeptVectors, WordVectors
from phi4local.assistant.retrieval import kept_vectors as module
from phi4local.assistant.retrieval.documents import Line

TEXTS = ["How do I put my site live?", "deployment " * 700, "def f(x):\n    return x", "", "狐 🦊 é", "a"]


@pytest.fixture(scope="module")
def vectors():
    return WordVectors.installed()


def documents(tmp_path, *texts):
    return [
        Document(tmp_path / f"{place}.txt", f"{place}.txt", (Line(1, text),), "text")
        for place, text in enumerate(texts)
    ]


def test_vectors_are_those_of_wordllama(vectors, tmp_path):
    """In a process of its own, because importing wordllama changes how the whole program logs."""
    program = """
import sys, numpy, wordllama
from pathlib import Path
with_files = Path(wordllama.__file__).parent  # its loader does not look for the tokenizer there by itself
own = wordllama.WordLlama.load(cache_dir=with_files, disable_download=True)
numpy.save(sys.argv[1], own.embed(eval(sys.argv[2])))
"""
    path = tmp_path / "own.npy"
    texts = [text for text in TEXTS if text]
    subprocess.run([sys.executable, "-c", program, str(path), repr(texts)], check=True, capture_output=True)
    numpy.testing.assert_allclose(vectors.embed(texts), numpy.load(path), atol=1e-5)


def test_a_text_without_tokens_has_no_direction_and_half_a_character_is_no_error(vectors):
    found = vectors.embed(["", "a\ud83d"])
    assert found.shape == (2, 256)
    assert not found[0].any()
    assert found[1].any()


def test_loading_vectors_changes_no_logging_and_imports_no_code_of_wordllama():
    program = (
        "import logging, sys\n"
        "from phi4local.assistant.retrieval import WordVectors\n"
        "WordVectors.installed().embed(['a'])\n"
        "assert not logging.getLogger().handlers and 'wordllama' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
    assert logging.getLogger().level == logging.WARNING


def test_a_passage_is_found_by_what_it_means(vectors, tmp_path):
    given = documents(
        tmp_path,
        "Deployment checklist for production servers.",
        "Bread needs flour, water and yeast.",
        "The cat sleeps on the warm sofa.",
    )
    question = "putting a website live on the internet"
    assert Collection(given).search(question) == []
    assert Collection(given, embedder=vectors).search(question)[0].name == "0.txt"


class Counting:
    """An embedder that says how often it was asked."""

    def __init__(self):
        self.calls = 0

    def embed(self, texts):
        self.calls += 1
        return numpy.arange(2 * len(texts), dtype=numpy.float32).reshape(-1, 2)


def test_vectors_that_took_long_are_found_again_by_their_texts(home):
    counting = Counting()
    kept = KeptVectors(counting, "counting", seconds=0)
    first = kept.embed(["a", "b"])
    numpy.testing.assert_array_equal(kept.embed(["a", "b"]), first)
    assert counting.calls == 1
    kept.embed(["ab", ""])
    KeptVectors(counting, "other", seconds=0).embed(["a", "b"])
    assert counting.calls == 3
    kept.embed(["a"])
    kept.embed(["a"])
    assert counting.calls == 5  # a question alone is not kept


def test_vectors_that_came_soon_are_not_kept_and_old_files_go(home):
    counting = Counting()
    KeptVectors(counting, "counting", seconds=60).embed(["a", "b"])
    assert not (home / "vectors").exists()
    for number in range(module.MOST_FILES + 3):
        KeptVectors(counting, "counting", seconds=0).embed(["a", str(number)])
    assert len(list((home / "vectors").glob("*.npy"))) == module.MOST_FILES


@pytest.mark.parametrize("damage", ["cut", "rows", "nan", "objects", "folder"])
def test_a_damaged_file_of_vectors_is_made_again(home, damage):
    counting = Counting()
    kept = KeptVectors(counting, "counting", seconds=0)
    right = kept.embed(["a", "b"])
    (path,) = (home / "vectors").glob("*.npy")
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-3])
    elif damage == "folder":
        path.unlink()
        path.mkdir()
    else:
        bad = {"rows": right[:1], "nan": right * numpy.nan, "objects": numpy.array([{}, {}])}[damage]
        with path.open("wb") as file:
            numpy.save(file, bad, allow_pickle=True)
    numpy.testing.assert_array_equal(kept.embed(["a", "b"]), right)
    assert counting.calls == 2
