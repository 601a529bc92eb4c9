"""Make the pictures in docs/images: `python -m tests.screenshots`. Needs Playwright and Chromium.

The conversation in them is an example that a person wrote: the embedded model is too small for pictures.
"""

import contextlib
import os
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

from tests.browser import LAUNCH
from tests.served import ServedProcess

IMAGES = Path(__file__).parents[1] / "docs" / "images"
MOST_BYTES = 150_000

QUESTION = "How do I count the words of a text file in Python, the most frequent ones first?"
ANSWER = textwrap.dedent("""\
    `collections.Counter` does the counting. Read the file, split it into words, ask for the largest counts:

    ```python
    from collections import Counter
    from pathlib import Path

    # letters only, so that "word," and "word" are the same
    text = Path("notes.txt").read_text(encoding="utf-8").lower()
    words = "".join(c if c.isalpha() else " " for c in text).split()

    for word, count in Counter(words).most_common(10):
        print(f"{count:5} {word}")
    ```

    Two things to know:

    1. **Memory**: the whole file is read at once. For very large files go through it line by line.
    2. **Languages**: `isalpha` knows the letters of all scripts, but not every language has spaces.
    """)
OTHERS = (
    "Plan three days in Lisbon without a car",
    "Explain eigenvalues with an example",
    "Shorten this letter to half a page",
)


def fill_home():
    """Keep conversations as the terminal would, and the speed of the embedded model here."""
    from phi4local.assistant.sessions.library import SessionLibrary

    for words in (*OTHERS, QUESTION):
        with contextlib.closing(SessionLibrary().create(model="phi-4:Q4_K_M")) as session:
            session.add_user(words)
            session.add_answer(ANSWER, reason="stop", tokens=231, thought=None)
    command = [sys.executable, "-m", "phi4local", "bench", "phi4-nano"]
    subprocess.run([*command, "-p", "128,512", "-n", "64", "-r", "3"], check=True, stdout=subprocess.DEVNULL)


def take(browser, address, folder):
    """Take every picture."""
    for name, width, height, scheme in (
        ("page-light", 1280, 800, "light"),
        ("page-dark", 1280, 800, "dark"),
        ("page-phone", 390, 844, "light"),
    ):
        page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
        page.goto(address)
        page.wait_for_selector("html[data-ready]")
        if width < 760:
            page.click("#open-side")
        page.click(f"text={QUESTION[:40]}")
        page.wait_for_selector(".message.assistant .facts-line")
        page.wait_for_selector("#meter:visible")
        page.evaluate("document.getElementById('log').scrollTop = 0")
        save(page, folder / f"{name}.png")
        if name == "page-light":
            page.click("[data-page=plan]")
            page.wait_for_selector(".facts")
            save(page, folder / "page-plan.png")
            page.click("[data-page=speed]")
            page.wait_for_selector("#speed .chart")
            save(page, folder / "page-speed.png")
        page.close()


def save(page, path):
    """Write a picture, and refuse one that is too large for a repository."""
    page.screenshot(path=path)
    if path.stat().st_size > MOST_BYTES:
        raise SystemExit(f"error: {path} has {path.stat().st_size:,} bytes; at most {MOST_BYTES:,}")


def main():
    """Serve the embedded model from a new home, and take pictures of its page."""
    from playwright.sync_api import sync_playwright

    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as home:
        os.environ["PHI4LOCAL_HOME"] = home
        fill_home()
        with ServedProcess("phi4-nano") as server, sync_playwright() as play:
            browser = play.chromium.launch(**LAUNCH)
            take(browser, server.address, IMAGES)
            browser.close()


if __name__ == "__main__":
    main()
