"""The store: what is missing, cut short, unreadable or left behind. Nothing is written while looking."""

import os
import sys
import time

import pytest

from phi4local.doctor import store
from tests.unit.store.conftest import blob, keep  # noqa: F401

CONTENT = b"GGUF one" * 1000


def look():
    return {result.name: result for result in store.check()}


def tree(folder):
    return sorted(folder.rglob("*"))


@pytest.fixture
def model(keep, blob):  # noqa: F811
    """The file of the store's one model."""
    keep("one:Q8_0", CONTENT)
    path = blob(CONTENT)
    path.chmod(0o644)
    return path


def test_a_good_store_is_right_and_stays_as_it_is(model, home):
    before = tree(home)
    found = look()
    assert {result.state for result in found.values()} == {"ok"}
    assert found["store"].seen.startswith("1 model, ")
    assert tree(home) == before


def test_a_store_that_does_not_exist_yet_is_right_and_is_not_made(home):
    assert {name: result.state for name, result in look().items()} == {
        "disk": "ok",
        "store": "ok",
        "unfinished downloads": "ok",
    }
    assert not home.exists()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda path: path.unlink(), "one:Q8_0: its model is missing"),
        (lambda path: os.truncate(path, 10), "one:Q8_0: its model has 10 bytes; 8,000 are right"),
        (lambda path: (path.unlink(), path.mkdir()), "one:Q8_0: its model is no regular file"),
    ],
)
def test_a_file_that_is_not_what_it_was_is_wrong(spoil, words, model):
    spoil(model)
    result = look()["store"]
    assert (result.state, result.seen, result.command) == ("wrong", words, "phi4local verify")


def test_a_damaged_manifest_is_wrong(model, home):
    (manifest,) = (path for path in (home / "models/manifests").rglob("Q8_0") if path.is_file())
    manifest.write_text("{")
    assert look()["store"].state == "wrong"
    assert "is no manifest" in look()["store"].seen


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_a_folder_that_cannot_be_listed_is_not_an_empty_store(model, home):
    folder = home / "models" / "manifests"
    folder.rename(home / "aside")
    folder.symlink_to(folder)
    result = look()["store"]
    assert (result.state, result.seen) == ("wrong", f"{folder} cannot be read")


def test_a_home_that_is_a_file_is_wrong(home):
    home.write_bytes(b"")
    (result,) = store.check()
    assert (result.name, result.state, result.seen) == ("disk", "wrong", f"{home}: {home} is no folder")


@pytest.mark.parametrize(("age", "state"), [(0, "ok"), (90_000, "warning")])
def test_downloads_that_stopped_are_a_warning_after_a_day(age, state, model, home, monkeypatch):
    folder = home / "models" / "unfinished" / "sha256-0"
    folder.mkdir(parents=True)
    (folder / "data").write_bytes(b"x" * 1000)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + age)
    result = look()["unfinished downloads"]
    assert result.state == state
    assert result.command == ("phi4local rm --partial" if age else "")
