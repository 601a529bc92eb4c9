"""The web page in a real Chromium, before a real `phi4local serve` with the embedded model."""

import json
import os
import re
import sys
import urllib.error
import urllib.request
from importlib import resources

import pytest

from phi4local.assistant.sessions.feedback import feedback_file
from phi4local.assistant.sessions.library import SessionLibrary
from tests.browser import CHROMIUM, LAUNCH
from tests.hostile.terminal_strings import STRINGS
from tests.hostile.test_terminal_strings import is_inside, readable
from tests.served import ServedProcess

IN_CI = bool(os.environ.get("CI")) and sys.platform == "linux"
if CHROMIUM is None and not IN_CI:
    pytest.skip("no Chromium here: install the package `chromium`", allow_module_level=True)

MARKUP = (
    "<img src=x onerror=\"document.title='owned'\">",
    "<script>document.title='owned'</script>",
    "[click](javascript:document.title='owned')",
    "![](https://evil.example/pixel.png)",
    "<iframe srcdoc='<script>parent.document.title=1</script>'></iframe>",
    "</div></article><h1>heading</h1><style>*{display:none}</style>",
)
DRAWN = {
    "P",
    "BR",
    "CODE",
    "PRE",
    "DIV",
    "SPAN",
    "A",
    "STRONG",
    "EM",
    "DEL",
    "UL",
    "OL",
    "LI",
    "HR",
    "BLOCKQUOTE",
}
DRAWN |= {"TABLE", "THEAD", "TBODY", "TR", "TH", "TD", "H3", "H4", "H5", "H6", "BUTTON", "svg", "path"}
"""Every element that the page makes of a model's text."""


@pytest.fixture(scope="module")
def server(native_library):
    with ServedProcess("phi4-nano") as process:
        yield process
        assert process.stop() == 0


@pytest.fixture(scope="module")
def browser():
    assert CHROMIUM, "no Chromium in CI: `.ci/run` installs the package `chromium`"
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        found = play.chromium.launch(**LAUNCH)
        yield found
        found.close()


@pytest.fixture(scope="module")
def axe():
    return (resources.files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")


@pytest.fixture
def open_page(browser, server):
    """Open the page; at the end, nothing was written on the console and nobody else was asked."""
    contexts, wrong = [], []

    def opened(**options):
        context = browser.new_context(**options)
        context.set_default_timeout(15_000)
        page = context.new_page()
        page.on(
            "console", lambda line: wrong.append(line.text) if line.type in ("error", "warning") else None
        )
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("dialog", lambda dialog: wrong.append(f"dialog: {dialog.message}"))
        page.on(
            "request", lambda asked: None if asked.url.startswith(server.address) else wrong.append(asked.url)
        )
        page.goto(server.address)
        page.wait_for_selector("html[data-ready]")
        contexts.append(context)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert wrong == []


def fetch(address, accept):
    request = urllib.request.Request(address, headers={"Accept": accept})
    with urllib.request.urlopen(request, timeout=20) as response:
        return response.headers, response.read().decode()


def choose(page, **values):
    page.click("#settings")
    for name, value in values.items():
        page.fill(f"#set-{name}", str(value))
    page.click("#settings-dialog .primary")


def ask(page, text):
    page.fill("#question", text)
    page.keyboard.press("Enter")


def wait_for_answers(page, count):
    page.wait_for_function(
        "n => document.querySelectorAll('.message.assistant .facts-line').length === n"
        " && document.getElementById('stop').hidden",
        arg=count,
    )


def kept(name):
    return SessionLibrary().read(name)


def newest():
    return SessionLibrary().list()[0].id


def keep(*turns, name=None):
    """Write a conversation as the terminal does."""
    with SessionLibrary().create(name, model="phi4-nano") as session:
        for question, answer, thought in turns:
            session.add_user(question)
            session.add_answer(answer, reason="stop", tokens=3, thought=thought)
        return session.transcript.id


def show(page, id_):
    """Open a kept conversation from the list at the side."""
    page.click(f"#sessions li[data-id='{id_}'] .open")
    page.wait_for_selector("#meter:visible")


def test_browsers_get_the_page_and_ollamas_clients_their_greeting(server):
    headers, text = fetch(server.address, "text/html,application/xhtml+xml,*/*;q=0.8")
    policy = headers["Content-Security-Policy"]
    assert "<!DOCTYPE html>" in text
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert fetch(server.address, "*/*")[1] == "Ollama is running"


def test_a_question_is_answered_kept_and_asked_again(open_page):
    page = open_page()
    choose(page, max_tokens=5)
    ask(page, "What is 3 plus 4?")
    wait_for_answers(page, 1)
    (summary, *_) = SessionLibrary().list()
    first = kept(summary.id)
    assert (first.turns, first.said[1].reason, first.said[1].tokens) == (1, "length", 5)
    assert page.locator(".bubble").inner_text() == "What is 3 plus 4?"
    used, total = re.findall(r"[\d,]+", page.inner_text("#meter-text"))
    assert 5 < int(used) < int(total.replace(",", ""))

    page.click("[aria-label='Ask again']")
    wait_for_answers(page, 1)
    assert kept(summary.id).turns == 1

    ask(page, "And 5 plus 6?")
    wait_for_answers(page, 2)
    page.locator("[aria-label='Edit and ask again']").first.click()
    page.fill("[aria-label='Edit the question']", "What is 8 plus 1?")
    page.keyboard.press("Enter")
    wait_for_answers(page, 1)
    assert [one.message.content for one in kept(summary.id).said if one.message.role == "user"] == [
        "What is 8 plus 1?"
    ]


def test_escape_stops_an_answer_and_keeps_what_came(open_page):
    page = open_page()
    # So hot that every token is about as likely, the one that ends an answer too: it goes on and on.
    choose(page, temperature=5, top_p=1, top_k=0, min_p=0, seed=10)
    ask(page, "Count from one to a thousand.")
    page.wait_for_function("() => document.querySelector('.message.assistant .text')?.textContent.length > 0")
    page.keyboard.press("Escape")
    wait_for_answers(page, 1)
    assert page.locator(".note").inner_text() == "Stopped."
    choose(page, temperature=0, max_tokens=4)
    ask(page, "Again?")  # waits until the server let the session go
    wait_for_answers(page, 2)
    first, again = (one for one in kept(newest()).said if one.message.role == "assistant")
    assert (first.reason, again.tokens) == ("cancelled", 4)
    assert 0 < first.tokens < 1800


def test_another_conversation_ends_the_answer_of_this_one(open_page):
    id_ = keep(("Hello", "Hi there.", None))
    page = open_page()
    choose(page, temperature=5, top_p=1, top_k=0, min_p=0, seed=3)
    ask(page, "Count from one to ten thousand.")
    page.wait_for_function("() => document.querySelectorAll('#sessions .current').length === 1")
    show(page, id_)
    page.wait_for_selector(".message.assistant >> text=Hi there.")
    assert page.locator(".bubble").all_inner_texts() == ["Hello"]
    assert kept(id_).turns == 1


def test_the_system_text_is_for_new_conversations(open_page):
    id_ = keep(("Hello", "Hi.", None))
    page = open_page()
    choose(page, max_tokens=2, system="You are brief.")
    ask(page, "Who are you?")
    wait_for_answers(page, 1)
    assert kept(newest()).system == "You are brief."
    show(page, id_)
    ask(page, "Who are you?")
    wait_for_answers(page, 2)
    assert (kept(id_).turns, kept(id_).system) == (2, None)


def test_the_page_asks_for_the_key_of_a_server_that_needs_one(browser, native_library):
    with ServedProcess("phi4-nano", env={"PHI4LOCAL_API_KEY": "open sesame"}) as server:
        page = browser.new_page()
        page.goto(server.address)
        page.fill("#ask-input", "open sesame")
        page.click("#ask-ok")
        page.wait_for_function("() => document.querySelectorAll('#model option').length > 0")
        assert page.locator("#notices .notice").count() == 0
        page.close()


def test_a_conversation_of_the_terminal_is_shown_renamed_and_deleted(open_page):
    id_ = keep(("Hello", "Hi, **you**.", "Be kind. They greet me."))
    page = open_page()
    show(page, id_)
    assert page.locator(".message.assistant strong").inner_text() == "you"
    assert page.locator("details.thought summary").inner_text() == "Thought: 5 words"
    assert not page.locator("details.thought .text").is_visible()
    row = page.locator("#sessions li.current")
    row.hover()
    row.locator(".icon").first.click()
    page.fill("#ask-input", "trip to Rome")
    page.click("#ask-ok")
    page.wait_for_selector("#sessions >> text=trip to Rome")
    assert kept("trip to Rome").id == id_
    row = page.locator("#sessions li.current")
    row.hover()
    row.locator(".icon").last.click()
    page.click("#ask-ok")
    page.wait_for_selector("#sessions >> text=trip to Rome", state="detached")
    assert id_ not in [one.id for one in SessionLibrary().list()]


def test_a_session_that_a_terminal_has_open_is_refused(server):
    id_ = keep(("Hello", "Hi.", None))
    body = json.dumps({"model": "phi4-nano", "text": "More?", "session": id_}).encode()
    with SessionLibrary().open(id_), pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{server.address}/page-api/answer", data=body, timeout=20)
    refused.value.close()
    assert refused.value.code == 409
    assert kept(id_).turns == 1


def test_a_rating_is_kept_where_the_terminal_keeps_it(open_page):
    id_ = keep(("Is the page rated?", "Yes.", None))
    page = open_page()
    show(page, id_)
    page.click("[aria-label='Good answer']")
    page.wait_for_selector("[aria-label='Good answer'][aria-pressed=true]")
    rated = json.loads(feedback_file().read_text(encoding="utf-8").splitlines()[-1])
    assert (rated["rating"], rated["messages"][-1]["content"]) == ("good", "Yes.")


def test_a_text_file_goes_with_the_question_and_says_what_it_costs(open_page):
    page = open_page()
    choose(page, max_tokens=4)
    page.set_input_files(
        "#files", {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"The key is under the mat.\n"}
    )
    page.wait_for_selector("#attachments >> text=/\\d+ tokens/")
    page.set_input_files(
        "#files", {"name": "photo.jpg", "mimeType": "image/jpeg", "buffer": b"\xff\xd8\xff\x00"}
    )
    page.wait_for_selector("#notices >> text=photo.jpg is no text file")
    ask(page, "Where is it?")
    wait_for_answers(page, 1)
    question = kept(newest()).said[0].message.content
    assert question == "File notes.txt:\n```\nThe key is under the mat.\n```\n\nWhere is it?"


DROP = """() => {
    const files = new DataTransfer();
    files.items.add(new File(["one two three"], "dropped.txt"));
    const question = document.getElementById("question");
    question.dispatchEvent(new DragEvent("drop", { dataTransfer: files, bubbles: true, cancelable: true }));
}"""


def test_a_file_that_is_dropped_can_be_left_out_again(open_page):
    page = open_page()
    page.evaluate(DROP)
    page.wait_for_selector("#attachments >> text=dropped.txt")
    page.click("[aria-label='Leave out dropped.txt']")
    page.wait_for_selector("#attachments", state="hidden")


def test_hostile_strings_are_text(open_page):
    strings = [*(readable(data, "reply") for data in STRINGS), *MARKUP]
    raw = [*(data.decode("utf-8", "replace") for data in STRINGS), *MARKUP]
    id_ = keep(*((text or " ", f"begin {text} end", None) for text in raw))
    page = open_page()
    show(page, id_)
    shown = page.evaluate("[...document.querySelectorAll('.message.user .bubble')].map(e => e.textContent)")
    answers = page.evaluate(
        "[...document.querySelectorAll('.message.assistant .text')].map(e => e.textContent)"
    )
    elements = page.evaluate(
        "[...new Set([...document.querySelectorAll('.message .text *')].map(e => e.tagName))]"
    )
    addresses = page.evaluate("[...document.querySelectorAll('.message a')].map(e => e.protocol)")
    assert (len(shown), len(answers)) == (len(raw), len(raw))
    steering = re.compile(
        "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u206f\u2028\u2029]"
    )
    for text, question, answer in zip(strings, shown, answers, strict=True):
        assert not steering.search(question + answer), (text, question, answer)
        assert is_inside(text, question), (text, question)
        # Marks of markdown may go, and of a link's address all but the server's name.
        words = re.sub(r"https?://", "", text) if "](" in text else text
        letters = "".join(mark for mark in words if mark.isalnum())
        assert is_inside(letters, answer) or "![](https" in text, (text, answer)
    assert set(elements) <= DRAWN
    assert set(addresses) <= {"https:", "http:", "mailto:"}
    assert page.title() == "phi4local"


MARKDOWN = """# Title

A **bold** and *soft* `x < 1` [home](https://example.org/a) word_with_marks 2 * 3 * 4.

- one
  1. inner
- two

| a | b |
|---|--:|
| 1 | 2 |

> quoted

```python
print("hi")  # done
```
"""


def test_markdown_becomes_elements(open_page):
    id_ = keep(("Draw", MARKDOWN, None))
    page = open_page()
    show(page, id_)
    text = page.locator(".message.assistant .text")
    texts = {
        tag: text.locator(tag).first.text_content()
        for tag in ("h3", "strong", "em", "p code", "a", "ul > li ol li")
    }
    assert texts == {
        "h3": "Title",
        "strong": "bold",
        "em": "soft",
        "p code": "x < 1",
        "a": "home",
        "ul > li ol li": "inner",
    }
    assert text.locator("td").all_text_contents() == ["1", "2"]
    assert text.locator("blockquote").inner_text() == "quoted"
    assert text.locator("pre code").text_content() == 'print("hi")  # done'
    assert text.locator(".t-string").text_content() == '"hi"'
    assert "word_with_marks 2 * 3 * 4." in text.locator("p").first.text_content()


def colours(page):
    return page.evaluate("getComputedStyle(document.body).backgroundColor")


def test_dark_follows_the_system_and_the_switch(open_page):
    page = open_page(color_scheme="dark")
    dark = colours(page)
    page.click("#theme")  # light
    light = colours(page)
    page.reload()
    page.wait_for_selector("html[data-ready]")
    assert colours(page) == light != dark


def test_nothing_is_wider_than_a_narrow_screen(open_page):
    id_ = keep(("w" * 400, MARKDOWN + "\n" + "x" * 500 + "\n\n```\n" + "y" * 300 + "\n```\n", None))
    page = open_page(viewport={"width": 320, "height": 640})
    page.click("#open-side")
    show(page, id_)
    for name, mark in (("chat", "#question"), ("plan", "#plan .facts"), ("speed", "#speed .small")):
        page.evaluate("name => { location.hash = name; }", name)
        page.wait_for_selector(f"{mark} >> visible=true")
        widths = page.evaluate("""() => {
            const log = document.getElementById("log");
            return [document.documentElement.scrollWidth, log.scrollWidth - log.clientWidth];
        }""")
        assert widths == [320, 0], name


def violations(page, axe):
    page.evaluate(axe)
    found = page.evaluate("axe.run()")["violations"]
    return [(one["id"], [node["html"] for node in one["nodes"]][:3]) for one in found]


def test_axe_finds_no_fault_in_light(open_page, axe):
    id_ = keep(("Draw", MARKDOWN, "Thinking."))
    # Trusted Types would keep axe itself from working.
    page = open_page(color_scheme="light", bypass_csp=True)
    assert violations(page, axe) == []
    show(page, id_)
    page.click("details.thought summary")
    assert violations(page, axe) == []
    page.click("#settings")
    assert violations(page, axe) == []
    page.keyboard.press("Escape")
    page.click("[data-page=speed]")
    page.wait_for_selector("#speed .small")
    assert violations(page, axe) == []


def test_axe_finds_no_fault_in_dark(open_page, axe):
    id_ = keep(("Draw", MARKDOWN, "Thinking."))
    page = open_page(color_scheme="dark", bypass_csp=True)
    show(page, id_)
    page.click("details.thought summary")
    assert violations(page, axe) == []
    page.click("[data-page=plan]")
    page.wait_for_selector("#plan .facts")
    assert violations(page, axe) == []
