"""README.md: commands and Python run, the command reference is the program's, links lead somewhere.

Convention: every line of a block tagged `sh` is a command; in a block that shows output, commands begin with
`$ `. All run in order in one folder that has the checkout's `models` and nothing else.
`<!-- not run: reason -->` above a block of code excuses it.
Between `<!-- commands:begin -->` and `<!-- commands:end -->`: | `phi4local NAME …` | the words of --help |.
"""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

CHECKOUT = Path(__file__).parents[1]
README = CHECKOUT / "README.md"
TEXT = README.read_text(encoding="utf-8") if README.exists() else ""
MAXIMUM_LINES = 199
COMMANDS = re.compile(r"<!-- commands:begin -->\n(.*?)<!-- commands:end -->", re.DOTALL)


class Block(NamedTuple):
    """One fenced block of code."""

    line: int
    language: str
    code: str
    excuse: str | None


def blocks():
    pattern = r"(?:<!-- not run: (?P<excuse>[^>]+?) -->\s*\n)?^```(?P<language>\w*)\n(?P<code>.*?)^```$"
    for match in re.finditer(pattern, TEXT, re.DOTALL | re.MULTILINE):
        line = TEXT[: match.start("language")].count("\n") + 1
        yield Block(line, match["language"], match["code"], match["excuse"])


def commands_of(code):
    """Return the command lines of a block, a backslash joining two.

    `"$ phi4local list\\nname  size\\n"` → `["phi4local list"]`.
    """
    lines = code.replace("\\\n", " ").splitlines()
    marked = [line[2:] for line in lines if line.startswith("$ ")]
    return marked or [line for line in lines if line.strip() and not line.lstrip().startswith("#")]


@pytest.fixture
def environment(tmp_path):
    """The commands of this Python first, and a PHI4LOCAL_HOME that no other test uses."""
    scripts = Path(sys.executable).parent
    path = os.pathsep.join((str(scripts), os.environ["PATH"]))
    return {**os.environ, "PATH": path, "PHI4LOCAL_HOME": str(tmp_path / "home"), "PYTHONUTF8": "1"}


def test_it_is_short():
    assert 0 < len(TEXT.splitlines()) <= MAXIMUM_LINES


def test_every_excuse_stands_above_a_block():
    assert TEXT.count("<!-- not run:") == sum(block.excuse is not None for block in blocks())


@pytest.mark.usefixtures("native_library")
@pytest.mark.skipif(sys.platform == "win32", reason="the blocks are written for a POSIX shell")
def test_its_commands_run(environment, tmp_path):
    folder = tmp_path / "somewhere"
    folder.mkdir()
    (folder / "models").symlink_to(CHECKOUT / "models")
    todo = [b for b in blocks() if b.language == "sh" and b.excuse is None]
    assert todo
    for block in todo:
        for command in commands_of(block.code):
            done = subprocess.run(
                ["sh", "-c", command],
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
            assert done.returncode == 0, f"README.md:{block.line}: {command}\n{done.stdout}\n{done.stderr}"


@pytest.mark.usefixtures("native_library")
@pytest.mark.parametrize(
    "block",
    [block for block in blocks() if block.language == "python" and block.excuse is None],
    ids=lambda block: f"line-{block.line}",
)
def test_its_python_runs(block, environment, tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", block.code],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def listed(help_text):
    """Return command → description from Typer's table: `│ chat      Talk with a model. │`."""
    table = help_text[help_text.index("Commands") :]
    return dict(re.findall(r"^│ (\w[\w-]*) {2,}(\S.*?) *│$", table, re.MULTILINE))


def test_its_command_reference_is_the_help(run_cli):
    reference = COMMANDS.search(TEXT)
    assert reference, "README.md has no <!-- commands:begin --> … <!-- commands:end -->"
    helped = run_cli(["--help"], env={"COLUMNS": "200", "TERM": "dumb"})
    commands = listed(helped.stdout)
    assert commands
    # Each command once as `phi4local NAME`, with the words of --help behind it, in a list or in a table.
    written = dict(
        re.findall(r"`phi4local ([\w-]+)[^`]*`\s*(?:\||:|—|-)\s*(.*?)\s*\|?$", reference[1], re.MULTILINE)
    )
    assert {name: text.rstrip(".") for name, text in written.items()} == {
        name: text.rstrip(".") for name, text in commands.items()
    }


def test_its_links_lead_somewhere():
    targets = re.findall(r"!?\[[^\]]*\]\(([^)\s]+)", TEXT)
    relative = [target.partition("#")[0] for target in targets if not re.match(r"[a-z]+:", target)]
    assert [target for target in relative if target and not (CHECKOUT / target).exists()] == []
    anchors = {target[1:] for target in targets if target.startswith("#")}
    headings = re.findall(r"^#+ (.+)$", TEXT, re.MULTILINE)
    known = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    assert anchors - known == set()


def test_its_table_of_sizes_is_the_arithmetic():
    from benchmarks.models_table import table

    found = re.search(r"<!-- models:begin -->\n(.*?)\n<!-- models:end -->", TEXT, re.DOTALL)
    assert found, "README.md has no <!-- models:begin --> … <!-- models:end -->"
    assert found[1] == table()
