"""docs/python.md: every block of Python runs as a program of its own and prints the text block behind it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hostile.scripted_server import DONE, STREAM, ScriptedServer, chunk

PAGE = Path(__file__).parents[1] / "docs" / "python.md"
TEXT = PAGE.read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```\n+^```text\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
SERVER = "http://127.0.0.1:8080"


def test_every_example_says_what_it_prints():
    assert len(BLOCKS) == TEXT.count("```python") == TEXT.count("```text") > 5


@pytest.fixture
def address():
    """A server that says what the page shows; tests/contract/test_remote.py asks real ones."""
    said = [STREAM, chunk("3 plus 4"), chunk(" is 7."), chunk(finish_reason="stop"), DONE]
    server = ScriptedServer(said)
    yield server.address
    server.close()


@pytest.mark.usefixtures("native_library")
@pytest.mark.parametrize(("code", "printed"), BLOCKS, ids=range(len(BLOCKS)))
def test_an_example_prints_what_the_page_shows(code, printed, address, tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code.replace(SERVER, address)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONUTF8": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == printed


def test_links_lead_somewhere():
    targets = re.findall(r"\]\(([^)\s]+)", TEXT)
    assert [target for target in targets if ":" not in target and not (PAGE.parent / target).exists()] == []
