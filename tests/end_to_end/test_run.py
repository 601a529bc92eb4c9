"""`phi4local run` in scripts: what goes in, where it goes, templates, several answers, exit codes."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.hostile.scripted_server import DONE, STREAM, ScriptedServer, chunk

NANO = Path(__file__).parents[2] / "models" / "phi4-nano"
VARIED = ["--temperature", "1", "--top-k", "0", "--top-p", "1", "--min-p", "0"]
CODE = "Here:\n```json\n{'no': 1}\n```\nor \x1b[31m{\"age\": 7}.\n```\nlast\n```"

pytestmark = pytest.mark.usefixtures("native_library")


class Outcome(NamedTuple):
    """What one command line did."""

    returncode: int
    stdout: str
    stderr: str


SEVERAL = """
import json, sys
from phi4local.cli import main
for words in json.loads(sys.argv[1]):
    code = main(words)
    print(f"\\0{code}\\0", end="", flush=True)
    print("\\0", end="", file=sys.stderr, flush=True)
"""


def run_each(*commands, cwd=None, **env):
    """Run command lines one after another in one process, which saves starting Python each time."""
    done = subprocess.run(
        [sys.executable, "-c", SEVERAL, json.dumps([list(map(str, words)) for words in commands])],
        cwd=cwd,
        env={**os.environ, "PYTHONUTF8": "1", **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=True,
    )
    out, said = done.stdout.split("\0"), done.stderr.split("\0")
    return [Outcome(int(code), text, err) for text, code, err in zip(out[::2], out[1::2], said, strict=False)]


def lines_of_refusal(result):
    assert (result.returncode, result.stdout) == (1, "")
    error, hint = result.stderr.splitlines()
    assert error.startswith("error: ")
    assert hint.startswith("hint: ")
    return error, hint


@pytest.fixture
def server():
    """A server that keeps what it is asked; which model answers is of no matter here."""
    server = ScriptedServer([STREAM, chunk(CODE), chunk(finish_reason="stop"), DONE])
    yield server
    server.close()


def asked(server):
    """Return the bodies of the questions that came, in order."""
    bodies = [json.loads(body) for _, body in server.requests if body]
    server.requests.clear()
    return bodies


def test_words_files_and_pipe_become_one_prompt_in_this_order(run_cli, server, tmp_path):
    (tmp_path / "one.txt").write_bytes("One €\r\n".encode("utf-16"))  # as Windows writes it
    (tmp_path / "two.txt").write_bytes(b"\xef\xbb\xbfTwo\xff\n\n")
    (tmp_path / "system.txt").write_text("A man, a plan, $5.\n")
    files = ["-f", "one.txt", "--file", "two.txt"]
    done = run_cli(
        ["run", server.address, "Words", *files, "--system", "@system.txt"], input="Pipe\n", cwd=tmp_path
    )
    assert (done.returncode, done.stdout) == (0, CODE + "\n")
    assert done.stderr == "note: two.txt is not all UTF-8; what could not be read became \ufffd\n"
    assert asked(server)[0]["messages"] == [
        {"role": "system", "content": "A man, a plan, $5."},
        {"role": "user", "content": "Words\n\nOne €\n\nTwo\ufffd\n\nPipe"},
    ]
    run_cli(["run", server.address, "-f", "-", "-f", "one.txt"], input="Pipe\n", cwd=tmp_path)
    assert asked(server)[0]["messages"] == [{"role": "user", "content": "Pipe\n\nOne €"}]


def test_a_template_is_saved_filled_and_changed(server, tmp_path):
    words = [server.address, "In $words words, for ${whom}, $$1: $input", "--temperature", "0.5"]
    settings = ["--max-tokens", "7", "--json-schema", '{"type": "object"}', "--system", "Be $mood."]
    save = ["run", *words, *settings, "--param", "mood=brief", "--save-template"]
    use = ["run", "Faust $5", "--template", "sum", "--param", "words=50", "--param", "whom=${mood}"]
    done = run_each(
        [*save, "sum up"],
        [*save, "sum"],
        [*save, "sum"],
        [*use, "--seed", "3"],
        [*use, "--system", "$", "--temperature", "0", "--max-tokens", "2"],
        ["run", "x", "--template", "sam"],
        ["run", "x", "--template", "sum"],
        ["run", "--template", "sum"],
        ["run", "x", "--param", "a=b"],
        PHI4LOCAL_HOME=str(tmp_path),
    )
    unfit, saved, again, plain, changed, unknown, lacking, silent, alone = done
    assert lines_of_refusal(unfit)[0] == "error: setting `save_template` is 'sum up'"
    assert (saved.returncode, saved.stdout) == (0, "")
    assert str(tmp_path / "templates" / "sum.toml") in saved.stderr
    assert "it exists" in lines_of_refusal(again)[0]
    assert (plain.returncode, changed.returncode, silent.returncode, alone.returncode) == (0, 0, 2, 2)
    assert "did you mean `sum`?" in lines_of_refusal(unknown)[1]
    assert "--param words=" in lines_of_refusal(lacking)[1]

    first, second = asked(server)
    prompt = "In 50 words, for ${mood}, $1: Faust $5"
    assert [message["content"] for message in first["messages"]] == ["Be brief.", prompt]
    assert (first["temperature"], first["seed"], first["max_tokens"]) == (0.5, 3, 7)
    assert [message["content"] for message in second["messages"]] == ["$", prompt]
    assert (second["temperature"], second["max_tokens"]) == (0, 2)


def test_parts_of_an_answer_are_taken_out_and_written_to_files(server, tmp_path):
    ask = ["run", server.address, "Hello"]
    code, written, whole, unknown, twice = run_each(
        [*ask, "-x", "code"],
        [*ask, "--extract", "json", "-o", "a.json"],
        [*ask, "--extract", "json", "--json"],
        [*ask, "-x", "yaml"],
        [*ask, "-x", "json", "-N", "2"],
        cwd=tmp_path,
    )
    assert (code.returncode, code.stdout) == (0, "{'no': 1}\n")
    assert (written.returncode, written.stdout) == (0, "")
    assert (tmp_path / "a.json").read_bytes() == b'{"age": 7}\n'
    facts = json.loads(whole.stdout)
    assert (facts["text"], facts["extracted"]) == (CODE, '{"age": 7}')
    assert unknown.returncode == 2
    assert twice.stdout == '--- answer 1 of 2 ---\n{"age": 7}\n\n--- answer 2 of 2 ---\n{"age": 7}\n'
    assert twice.stderr == "note: all answers are the same; a higher `--temperature` makes them differ\n"
    server.script = [STREAM, chunk("No code."), chunk(finish_reason="stop"), DONE]
    missing, replaced = run_each([*ask, "-x", "code", "-o", "a.json"], [*ask, "-o", "b"], cwd=tmp_path)
    assert "no block of code" in lines_of_refusal(missing)[0]
    assert (tmp_path / "a.json").read_bytes() == b'{"age": 7}\n'
    assert (replaced.returncode, (tmp_path / "b").read_bytes()) == (0, b"No code.\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "b"]


def test_thoughts_are_no_part_of_the_answer(server, tmp_path):
    pexpect = pytest.importorskip("pexpect")
    reply = ["<thi", "nk>Two {1}", " and\x1b two</th", "ink>", "\n\nFour: ", "[4]"]
    server.script = [STREAM, *map(chunk, reply), chunk(finish_reason="stop"), DONE]
    ask = ["run", server.address, "Hello"]
    hidden, shown, facts, part, written, raw, unknown = run_each(
        ask,
        [*ask, "--think", "show"],
        [*ask, "--json", "-x", "json"],
        [*ask, "-x", "json"],
        [*ask, "-o", "a.txt"],
        [*ask, "--raw", "--think", "hide"],
        [*ask, "--think", "loud"],
        cwd=tmp_path,
    )
    assert [done[:2] for done in (hidden, shown, raw)] == [(0, "Four: [4]\n")] * 3
    assert (hidden.stderr, shown.stderr, raw.stderr) == ("", "Two {1} and\\x1b two\n", "")
    row = json.loads(facts.stdout)
    assert (row["text"], row["thinking"], row["extracted"]) == ("Four: [4]", "Two {1} and\x1b two", "[4]")
    assert (part.stdout, written.stdout, unknown.returncode) == ("[4]\n", "", 2)
    assert (tmp_path / "a.txt").read_bytes() == b"Four: [4]\n"
    env = {**os.environ, "TERM": "xterm"}
    with pexpect.spawn(
        sys.executable, ["-m", "phi4local", *ask], env=env, encoding="utf-8", timeout=60
    ) as child:
        text = child.read()
    assert text.startswith("\x1b[2m")
    assert re.sub(r"\x1b\[[02]m", "", text) == "Two {1} and\\x1b two\r\nFour: [4]\r\n"


def test_several_answers_are_those_of_their_seeds(tmp_path):
    story = ["run", "phi4-nano", "Tell me a story.", "-n", "12", *VARIED, "--seed"]
    three, alone, shown = run_each(
        [*story, "5", "-N", "3", "--json"],
        [*story, "6"],
        [*story, "6", "-N", "2", "-o", "stories.txt", "--stats"],
        cwd=tmp_path,
    )
    rows = json.loads(three.stdout)
    assert [row["seed"] for row in rows] == [5, 6, 7]
    one, two, three = (row["text"] for row in rows)
    assert len({one, two, three}) == 3
    assert alone.stdout == two + "\n"
    assert alone.stderr == "note: cut off after 12 tokens, at the limit of `--max-tokens`\n"
    assert re.fullmatch(r"(answer [12]: 12 tokens at .*, stopped at the token limit\n){2}", shown.stderr)
    assert (tmp_path / "stories.txt").read_text(encoding="utf-8") == (
        f"--- answer 1 of 2, seed 6 ---\n{two}\n\n--- answer 2 of 2, seed 7 ---\n{three}\n"
    )


def test_answers_that_fill_the_context_come_too():
    # Eight answers at once in 64 cells, the room of one: most wait, or are written again.
    many = ["--number", "12", "--seed", "1", "-n", "40", "--json"]
    ask = ["run", "phi4-nano", "Tell me a story.", "--context", "64"]
    crowd, full = run_each([*ask, *many, *VARIED], ask)  # without settings the story goes on for 64 tokens
    rows = json.loads(crowd.stdout)
    assert [row["seed"] for row in rows] == list(range(1, 13))
    assert all(row["generated_tokens"] == 40 or row["finish_reason"] == "stop" for row in rows)
    assert full.returncode == 0
    assert full.stderr == "note: cut off: the context of 64 tokens is full; see `--context`\n"


def test_what_cannot_be_read_or_written_is_refused_before_a_model_is_looked_for(tmp_path):
    (tmp_path / "photo.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR")
    ask = ["run", "no-such-model", "What is this?"]
    image, file, missing, nowhere, nobody, folder = run_each(
        [*ask, "--image", "photo.jpg"],
        [*ask, "--file", "photo.png", "-o", "out.txt"],
        [*ask, "--system", "@missing.txt"],
        [*ask, "-o", "no/a.txt"],
        [*ask, "-o", "~nosuchuser/a.txt"],
        [*ask, "-o", "."],
        cwd=tmp_path,
    )
    assert "read text only" in lines_of_refusal(image)[0]
    assert "tesseract" in lines_of_refusal(image)[1]
    assert "`photo.png`: is a PNG image" in lines_of_refusal(file)[0]
    assert "`missing.txt`: cannot be read: no such file" in lines_of_refusal(missing)[0]
    assert "cannot write" in lines_of_refusal(nowhere)[0]
    assert "cannot write" in lines_of_refusal(nobody)[0]
    assert "not a regular file" in lines_of_refusal(folder)[0]
    assert [path.name for path in tmp_path.iterdir()] == ["photo.png"]


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
def test_an_interrupted_answer_leaves_the_file_as_it_was(tmp_path):
    (tmp_path / "a.txt").write_text("before")
    # 200 answers, eight at once: after the first one nearly all are still to come.
    words = [
        "run",
        "phi4-nano",
        "Tell me a story.",
        "-N",
        "200",
        "-n",
        "100",
        "-o",
        "a.txt",
        "--stats",
        *VARIED,
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "phi4local", *words],
        cwd=tmp_path,
        env=os.environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stderr.readline().startswith("answer 1: ")
        assert len(list(tmp_path.iterdir())) == 2  # the old file and the one that is being written
        process.send_signal(signal.SIGINT)
        assert process.stdout.read() == ""
    assert process.returncode == 130
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "before"


def test_with_raw_a_terminal_gets_lines_as_they_are():
    pexpect = pytest.importorskip("pexpect")
    words = ["-m", "phi4local", "run", "phi4-nano", "Why is the sky blue?", "--raw"]
    with pexpect.spawn(sys.executable, words, dimensions=(24, 30), encoding="utf-8", timeout=60) as child:
        lines = child.read().replace("\r\n", "\n").splitlines()
    greedy = json.loads((NANO / "expected-greedy.json").read_text(encoding="utf-8"))["greedy"]
    (text,) = (case["text"] for case in greedy if case["name"] == "sky")
    assert len(text) > 100
    assert lines[-1].endswith(text)


@pytest.mark.parametrize("how", ["drawn", "raw", "structured", "dumb", "pipe"])
def test_markdown_is_drawn_on_a_terminal_and_nowhere_else(how):
    """The tiny model writes no markdown: events are made here, the way to the terminal is the command's."""
    program = f"""
from phi4local.cli.run_output import show_answer
from phi4local.engine import Finished, Text, Timings, Usage
usage = Usage(prompt_tokens=1, reused_tokens=0, generated_tokens=2)
end = Finished(reason="stop", usage=usage, timings=Timings(prompt_seconds=0.1, generation_seconds=0.1))
texts = [Text(delta=delta, token_ids=()) for delta in ("**bo", "ld** `x*y*`")]
show_answer(iter([*texts, end]), raw={how == "raw"}, drawn={how != "structured"})
"""
    command = [sys.executable, "-c", program]
    if how == "pipe":
        shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    else:
        pexpect = pytest.importorskip("pexpect")
        env = {**os.environ, "TERM": "dumb" if how == "dumb" else "xterm-256color"}
        env.pop("NO_COLOR", None)
        with pexpect.spawn(command[0], command[1:], env=env, encoding="utf-8", timeout=60) as child:
            shown = child.read().replace("\r\n", "\n")
    if how == "drawn":  # the x*y* is code
        assert "\x1b[1m" in shown
        assert "*" not in shown.replace("x*y*", "")
        assert "bold" in shown
    else:
        assert shown == "**bold** `x*y*`\n"
