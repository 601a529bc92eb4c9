"""Exports: Markdown that reads well, JSON that is JSON, HTML that is inert; and feedback for a fine-tune."""

import html.parser
import json
import stat
import sys

import pytest

from phi4local.assistant.sessions.export import to_html, to_json, to_markdown
from phi4local.assistant.sessions.feedback import rate
from phi4local.assistant.sessions.transcript import Transcript
from phi4local.errors import NoTurnError, TextTooLongError
from phi4local.messages import Message

HOSTILE = [
    "<script>alert(1)</script>",
    "</div></section></body><img src=x onerror=alert(1)>",
    '"><a href="javascript:alert(1)">x</a>',
    "</style><style>body{display:none}",
    "&lt;b&gt; &amp; &#60;script&#62;",
    "<!-- --><![CDATA[",
    "```html\n<script>alert(1)</script>\n```\n<b>after</b>",
    "{title} {0} %s {",
    "\x1b[2J\x9b\u202e\x00",
]


class Page(html.parser.HTMLParser):
    """What a browser would see: elements and text."""

    def __init__(self, page):
        super().__init__(convert_charrefs=True)
        self.elements, self.attributes, self.text = set(), set(), []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture
def transcript(library, talk):
    """A conversation with everything that an export shows."""
    with library.create("trip", model="phi-4:Q4_K_M", system="Be kind.") as session:
        talk(session, "Code?", "Here:\n```python\nprint(1 < 2)\n```\nDone.", thought="They want\ncode.")
        talk(session, "More", "No", reason="length")
    return library.read("trip")


def test_markdown_has_a_heading_for_each_message(transcript):
    lines = to_markdown(transcript).splitlines()
    assert [line for line in lines if line.startswith("#")] == [
        "# trip",
        "## System",
        "## You",
        "## phi-4:Q4_K_M",
        "## You",
        "## phi-4:Q4_K_M",
    ]
    assert lines[lines.index("> They want") + 1] == "> code."
    assert "*the answer ended early: length*" in lines
    assert "print(1 < 2)" in lines


def test_json_has_messages_as_chat_programs_write_them(transcript):
    found = json.loads(to_json(transcript))
    assert (found["name"], found["model"]) == ("trip", "phi-4:Q4_K_M")
    assert [(message["role"], message["content"]) for message in found["messages"]] == [
        (message.role, message.content) for message in transcript.messages
    ]
    assert found["messages"][2]["thought"] == "They want\ncode."
    assert found["messages"][4]["reason"] == "length"


def test_html_shows_every_text_and_asks_nobody(transcript):
    page = to_html(transcript)
    seen = Page(page)
    shown = "".join(seen.text)
    for text in ("trip", "Be kind.", "Code?", "print(1 < 2)", "They want\ncode.", "ended early: length"):
        assert text in shown
    assert "code" in seen.elements
    assert "prefers-color-scheme: dark" in page
    assert "default-src 'none'" in page
    for outside in ("http:", "https:", "url(", "src=", "href=", "@import", "<script"):
        assert outside not in page


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_becomes_part_of_the_page(text):
    plain = Page(to_html(Transcript.of([Message("user", "a"), Message("assistant", "b")], model="m")))
    messages = [Message(role, text) for role in ("system", "user", "assistant")]
    hostile = Transcript.of(messages, name=text, model=text)
    page = to_html(hostile)
    seen = Page(page)
    assert seen.elements - {"pre", "code"} == plain.elements
    assert seen.attributes == plain.attributes
    assert not set(page) & {"\0", "\x1b", "\x9b"}
    if "\x1b" not in text and "```" not in text:
        assert "".join(seen.text).count(text) == 7  # title twice, three messages, who spoke, the facts


def test_a_conversation_that_was_not_kept_can_be_exported():
    transcript = Transcript.of([Message("user", "Hi"), Message("assistant", "Hello!")], model="m")
    assert "## You\n\nHi\n\n## m\n\nHello!\n" in to_markdown(transcript)
    assert transcript.turns == 1


def test_ratings_are_examples_in_messages_form(home):
    messages = [
        Message("system", "Be kind."),
        Message("user", "Hi \ud83d"),
        Message("assistant", "Hello!"),
        Message("user", "not answered"),
    ]
    path = rate(messages, "good", model="phi-4:Q4_K_M")
    rate(messages[:3], "bad", note="too short\n")
    found = [json.loads(line) for line in path.read_bytes().splitlines()]
    turns = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Hi \ufffd"},
        {"role": "assistant", "content": "Hello!"},
    ]
    assert [len(line.pop("time")) for line in found] == [20, 20]
    assert found == [
        {"messages": turns, "rating": "good", "note": None, "model": "phi-4:Q4_K_M"},
        {"messages": turns, "rating": "bad", "note": "too short\n", "model": None},
    ]
    assert path == home / "feedback.jsonl"
    if sys.platform != "win32":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_torn_rating_spoils_no_other(home):
    messages = [Message("user", "Hi"), Message("assistant", "Hello!")]
    path = rate(messages, "good")
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:20])
    rate(messages, "bad")
    first, torn, last = path.read_bytes().splitlines()
    assert (json.loads(first)["rating"], torn, json.loads(last)["rating"]) == ("good", whole[:20], "bad")


def test_what_was_not_answered_is_not_rated(home):
    with pytest.raises(NoTurnError, match="nothing was answered"):
        rate([Message("system", "x"), Message("user", "Hi")], "good")
    with pytest.raises(TextTooLongError):
        rate([Message("user", "x" * 2**24), Message("assistant", "y")], "good")
    assert not (home / "feedback.jsonl").exists()
