"""What is written down of a chat, and what happens when it cannot be."""

import json
import subprocess
import sys

import pytest

import phi4local
from phi4local.assistant.conversation import Conversation
from phi4local.assistant.sessions.library import SessionLibrary
from phi4local.cli.chat import keeping
from phi4local.cli.chat.commands import perform
from phi4local.cli.chat.places import digest_of
from phi4local.cli.chat.state import Chat
from phi4local.errors import FileWriteError
from phi4local.settings import LoadSettings, SamplingSettings


@pytest.fixture(scope="module")
def model(native_library):
    with phi4local.load("phi4-nano", LoadSettings(threads=1, context_tokens=256)) as model:
        yield model


@pytest.fixture
def new_chat(model, home):
    """`new_chat()`: a chat as the command begins it; its sessions are in `home`."""
    chats = []

    def new(**options):
        conversation = Conversation(model, **options)
        chat = Chat(conversation=conversation, library=SessionLibrary(), open_model=lambda *_: model)
        chats.append(chat)
        return chat

    yield new
    for chat in chats:
        if chat.session is not None:
            chat.session.close()


def ask(chat, question="What is 3 plus 4?"):
    for _ in chat.conversation.ask(question):
        pass


def lines(session):
    return [json.loads(line) for line in session.path.read_bytes().splitlines()]


def test_the_first_line_has_a_digest_of_the_models_file(new_chat, model):
    session = keeping.begin(new_chat())
    assert lines(session)[0]["digest"] == digest_of(model)
    assert digest_of(model).startswith("sampled-")


def test_settings_come_back_when_a_session_goes_on(new_chat):
    chat = new_chat()
    perform(chat, "/set temperature 0.25")  # before there is a file
    keeping.begin(chat, "trip")
    perform(chat, "/set max_tokens 5")
    perform(chat, "/set seed 3")
    perform(chat, "/set seed off")
    perform(chat, "/set stop ['xyz']")
    perform(chat, "/json")
    ask(chat)
    notes = [event["facts"] for event in lines(chat.session) if event["event"] == "note"]
    chosen = chat.conversation.sampling
    assert notes == [
        {"temperature": 0.25},
        {"max_tokens": 5},
        {"seed": 3},
        {"seed": None},
        {"stop": list(chosen.stop)},
        {"json_schema": chosen.json_schema},
    ]
    chat.session.close()
    again = new_chat()
    keeping.go_on(again, again.library.open("trip"))
    assert again.conversation.max_tokens == 5
    assert again.conversation.sampling == chosen
    copy = again.session.fork("copy")
    assert copy.transcript.settings == again.session.transcript.settings | {"seed": None}
    copy.close()


def test_what_this_run_was_told_wins_over_the_sessions_settings(new_chat):
    chat = new_chat()
    keeping.begin(chat, "trip")
    perform(chat, "/set temperature 0.25")
    perform(chat, "/set top_k 3")
    perform(chat, "/set max_tokens 5")
    ask(chat)
    chat.session.close()
    again = new_chat(sampling=SamplingSettings(temperature=1.5), max_tokens=9)
    keeping.go_on(again, again.library.open("trip"))
    assert again.conversation.sampling == SamplingSettings(temperature=1.5, top_k=3)
    assert again.conversation.max_tokens == 9


def test_a_setting_that_means_nothing_is_left_out_and_said(new_chat, capsys):
    chat = new_chat()
    session = keeping.begin(chat, "trip")
    ask(chat)
    bad = {"temperature": "hot", "wings": 2, "max_tokens": -1, "top_k": 3, "\x1b[2J": 1, "seed": [1]}
    session.note("settings", **bad)
    session.close()
    again = new_chat()
    capsys.readouterr()
    keeping.go_on(again, again.library.open("trip"))
    said = capsys.readouterr().err
    assert again.conversation.sampling == SamplingSettings(top_k=3)
    assert said.count("was left out") == 5
    assert "\x1b" not in said


def test_a_kept_state_spares_the_evaluation_of_what_was_said(new_chat, capsys):
    with phi4local.load("phi4-nano", LoadSettings(threads=1, context_tokens=256)) as first:
        chat = new_chat()
        chat.conversation.take_over(first)
        keeping.begin(chat, "trip")
        ask(chat)
        ask(chat, "Why is the sky blue?")
        said = first.count_tokens(chat.conversation.messages)
        keeping.save_state(chat)
        chat.session.close()
    with phi4local.load("phi4-nano", LoadSettings(threads=1, context_tokens=256)) as second:
        again = new_chat()
        again.conversation.take_over(second)
        again.keeps_state = True
        keeping.go_on(again, again.library.open("trip"))
        *_, finished = again.conversation.ask("What is 3 plus 4?")
        new = finished.usage.prompt_tokens - finished.usage.reused_tokens
        assert finished.usage.reused_tokens >= said - 8
        assert new < 20 < finished.usage.prompt_tokens
    assert "need not be evaluated again" in capsys.readouterr().err


@pytest.mark.parametrize("what", ["damaged", "something else", "not wanted"])
def test_a_state_that_is_of_no_use_is_left_out_and_said(new_chat, model, capsys, what):
    chat = new_chat()
    session = keeping.begin(chat, "trip")
    ask(chat)
    keeping.save_state(chat)
    if what == "damaged":
        data = bytearray(session.snapshot_path.read_bytes())
        data[len(data) // 2] ^= 1
        session.snapshot_path.write_bytes(data)
    elif what == "something else":
        session.snapshot_path.write_bytes(b"nothing of ours")
    session.close()
    again = new_chat()
    again.keeps_state = what != "not wanted"
    capsys.readouterr()
    keeping.go_on(again, again.library.open("trip"))
    said = capsys.readouterr().err
    assert ("is of no use" in said) == (what != "not wanted")
    assert "need not" not in said
    ask(again)
    assert again.conversation.last_answer == "3 plus 4 is 7."


def test_without_a_turn_or_a_session_no_state_is_kept(new_chat):
    chat = new_chat()
    keeping.save_state(chat)
    session = keeping.begin(chat, "trip")
    keeping.save_state(chat)
    assert not session.snapshot_path.exists()


def test_another_file_of_the_same_name_is_said(new_chat, capsys):
    chat = new_chat()
    session = keeping.begin(chat, "trip")
    ask(chat)
    session.set_model(session.transcript.model, "sampled-other")
    session.close()
    again = new_chat()
    keeping.go_on(again, again.library.open("trip"))
    assert "is not the one that answered before" in capsys.readouterr().err
    assert again.session.transcript.digest == digest_of(again.model)


PROGRAM = """
import resource, signal
import phi4local
from phi4local.assistant.conversation import Conversation
from phi4local.assistant.sessions.library import SessionLibrary
from phi4local.cli.chat import keeping
from phi4local.cli.chat.state import Chat
from phi4local.settings import LoadSettings

def room(limit):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
with phi4local.load("phi4-nano", LoadSettings(threads=1, context_tokens=256)) as model:
    chat = Chat(conversation=Conversation(model), library=SessionLibrary(), open_model=None, saves=True)
    def ask():
        for event in chat.conversation.ask("What is 3 plus 4?"):
            pass
        print(chat.conversation.last_answer)
    keeping.begin(chat, "full")
    ask()
    size = chat.session.path.stat().st_size
    room(size + AFTER)
    ask()
    ask()
    assert (chat.session, chat.saves) == (None, False)
    keeping.begin_if_possible(chat)
    room(resource.RLIM_INFINITY)
    keeping.begin(chat, "again")
    ask()
    chat.session.close()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits the size of files")
@pytest.mark.parametrize("after", [5, 150], ids=["in the question", "in the answer"])
def test_with_a_full_disk_answers_come_and_it_is_said_once(home, native_library, after):
    program = PROGRAM.replace("AFTER", str(after))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["3 plus 4 is 7."] * 4
    assert done.stderr.count("is not kept any more") == 2  # the conversation, and the attempt to begin again
    library = SessionLibrary()
    assert library.read("full").turns <= 2
    with library.open("full") as session:
        assert [message.content for message in session.messages] == ["What is 3 plus 4?", "3 plus 4 is 7."]
    assert library.read("again").turns == 4


def test_a_session_that_cannot_begin_is_an_error_where_it_was_asked_for(new_chat, home):
    home.mkdir(exist_ok=True)
    (home / "sessions").write_text("a file where the folder belongs")
    chat = new_chat()
    with pytest.raises(FileWriteError):
        keeping.begin(chat, "trip")
    keeping.begin_if_possible(chat)
    assert (chat.session, chat.record) == (None, None)
