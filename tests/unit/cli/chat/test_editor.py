"""What a typed line means, and what the editor does with keys and pastes."""

import contextlib
import os

import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput

from phi4local.cli.chat import editor
from phi4local.cli.chat.completion import Words
from phi4local.cli.chat.editor import Editor, finished, is_open

ALT_ENTER, UP, CTRL_C, CTRL_D = "\x1b\r", "\x1b[A", "\x03", "\x04"


@pytest.mark.parametrize("text", ['"""one', '  """one\ntwo', "one\\", 'say """x""" """'])
def test_some_lines_go_on(text):
    assert is_open(text) == (not text.startswith("say"))


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ('"""one\ntwo"""', "one\ntwo"),
        ('"""\none\n\n  two\n"""', "one\n\n  two"),
        ("one\\\ntwo", "one\ntwo"),
        ("a path C:\\\\", "a path C:\\\\"),
        ('""""""', ""),
        ('"""', '"""'),
        ("  one  ", "one"),
    ],
)
def test_what_was_typed_is_what_is_meant(typed, meant):
    assert finished(typed) == meant


@pytest.fixture
def type_keys(tmp_path, monkeypatch):
    """Return a function that types into an editor and gives what it read, one text for each read."""
    monkeypatch.setattr(editor, "_output", DummyOutput)

    def read(keys, reads=1, history=None):
        with create_pipe_input() as terminal, create_app_session(input=terminal):
            terminal.send_text(keys)
            words = Words(["/help", "/model"], {})
            one = Editor(history=history, completer=words, status=lambda: "", colour=False)
            return [one.read() for _ in range(reads)]

    return read


def paste(text):
    return f"\x1b[200~{text}\x1b[201~"


def test_enter_sends_and_other_ways_make_new_lines(type_keys):
    assert type_keys("Hello\r") == ["Hello"]
    assert type_keys(f"one{ALT_ENTER}two\r") == ["one\ntwo"]
    assert type_keys('"""one\rtwo"""\r') == ["one\ntwo"]
    assert type_keys("one\\\rtwo\r") == ["one\ntwo"]


@pytest.mark.parametrize("lines", [3, 5000])
def test_a_paste_arrives_whole_and_is_not_sent_by_its_line_feeds(type_keys, lines):
    text = "\n".join(f"line {number}" for number in range(lines))
    assert type_keys(paste(text.replace("\n", "\r")) + " what is it?\r") == [f"{text} what is it?"]


def test_a_forged_end_of_a_paste_is_text_too(type_keys):
    assert type_keys(paste("one\x1b[2Jtwo") + "\r") == ["one\x1b[2Jtwo"]


def test_what_was_typed_is_there_in_the_next_run_and_only_for_its_owner(type_keys, tmp_path):
    kept = tmp_path / "home" / "history"
    type_keys("first\rsecond\r", reads=2, history=kept)
    assert type_keys(f"{UP}{UP}\r", history=kept) == ["first"]
    if os.name == "posix":
        assert kept.stat().st_mode & 0o777 == 0o600


def test_a_long_paste_comes_back_in_full_but_a_huge_one_is_not_kept(type_keys, tmp_path):
    kept = tmp_path / "history"
    long, huge = "\n".join(["word"] * 50), "\n".join(["word"] * 5000)
    type_keys(f"{paste(long)}\r{paste(huge)}\r", reads=2, history=kept)
    assert type_keys(f"{UP}\r", history=kept) == [long]


def test_ctrl_c_and_ctrl_d_are_told_apart(type_keys):
    with pytest.raises(KeyboardInterrupt):
        type_keys(f"half a line{CTRL_C}")
    with pytest.raises(EOFError):
        type_keys(CTRL_D)


def offered(text, folder=None):
    lists = {"/model": lambda: ["phi-4", "phi4-nano"], "/adapter": lambda: ["off", "nova"]}
    words = Words(["/help", "/model", "/set", "/read"], lists)
    with contextlib.chdir(folder) if folder else contextlib.nullcontext():
        found = words.get_completions(Document(text, len(text)), CompleteEvent(completion_requested=True))
        return [completion.text for completion in found]


def test_tab_offers_commands_models_settings_and_files(tmp_path):
    (tmp_path / "notes.md").touch()
    assert offered("/mo") == ["/model"]
    assert offered("/model phi-") == ["phi-4"]
    assert offered("/set temp") == ["temperature"]
    assert offered("/read no", tmp_path) == ["tes.md"]
    assert offered("/adapter no", tmp_path) == ["nova", "tes.md"]
    assert offered("what is in @no", tmp_path) == ["tes.md"]
    assert offered("an ordinary question") == []
