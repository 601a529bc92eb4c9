"""Kept results: complete or not there, damaged lines left out, the same test found again."""

import json
import subprocess
import sys

import pytest

from phi4local.errors import FileWriteError, UnknownResultError
from phi4local.store import results

ROW = {"n_prompt": 512, "n_threads": 4, "model_digest": "m1", "avg_ts": 9.5, "samples_ns": [1, 2]}


@pytest.fixture(autouse=True)
def _home(home):
    return home


def the_file():
    return next(results.results_folder().glob("*.jsonl"))


def test_a_run_comes_back_as_it_was_kept():
    run = results.keep([ROW, {**ROW, "n_prompt": 0, "n_gen": 128}])
    assert results.runs() == (run,)
    assert run.rows[0] == {**ROW, "key": results.key_of(ROW, run.machine["key"])}
    assert json.loads(the_file().read_text()) == {
        "format": 1,
        "id": run.id,
        "at": run.at,
        "machine": run.machine,
        "rows": list(run.rows),
    }


def test_nothing_kept_is_no_error():
    assert results.runs() == ()


def test_the_same_test_has_the_same_key_and_another_test_another():
    key = results.key_of(ROW, "here")
    same = [
        {
            **ROW,
            "avg_ts": 3.0,
            "samples_ns": [7],
            "version": "9",
            "build_commit": "abc",
            "conditions": {"a": 1},
        },
        {**ROW, "test_time": "2026-01-31T12:00:00Z", "model_filename": "elsewhere.gguf"},
        {**ROW, "a_column_of_a_later_version": 0, "another": ""},
    ]
    others = [{**ROW, "n_threads": 8}, {**ROW, "n_depth": 1}, {**ROW, "model_digest": "m2"}]
    assert {results.key_of(row, "here") for row in same} == {key}
    assert key not in {results.key_of(row, "here") for row in others}
    assert results.key_of(ROW, "elsewhere") != key


def test_models_on_servers_are_told_apart_by_their_names():
    one, other = ({"n_prompt": 512, "model": name} for name in ("phi-4", "phi-4-mini"))
    assert results.key_of(one, "here") != results.key_of(other, "here")


@pytest.mark.parametrize(
    "damaged",
    [
        "{",
        "[" * 100_000,
        "null",
        '{"format": 2, "id": "x", "at": "", "machine": {}, "rows": []}',
        '{"format": 1, "id": 5, "at": "", "machine": {}, "rows": []}',
        '{"format": 1, "id": "x", "at": "", "machine": {}, "rows": [5]}',
        '{"format": 1, "id": "x", "at": "", "machine": {}, "rows": [{}]}',
        "\udcff\udcfe",
    ],
)
def test_damaged_lines_are_reported_and_left_out(damaged):
    first = results.keep([ROW])
    with the_file().open("ab") as file:
        file.write(damaged.encode("utf-8", "surrogateescape") + b"\n")
    last = results.keep([ROW])
    said = []
    assert results.runs(said.append) == (first, last)
    assert len(said) == 1
    assert f"`{the_file()}` line 2 is damaged" in said[0]


def test_a_line_cut_off_by_a_kill_costs_only_itself():
    first = results.keep([ROW])
    content = the_file().read_bytes()
    the_file().write_bytes(content + content[: len(content) // 2])
    last = results.keep([ROW])
    said = []
    assert results.runs(said.append) == (first, last)
    assert len(said) == 1


def test_processes_that_keep_at_once_lose_nothing():
    program = (
        "from phi4local.store import results\n"
        "for n in range(20): results.keep([{'n_prompt': n, 'filler': 'x' * 20000}])\n"
    )
    children = [subprocess.Popen([sys.executable, "-c", program]) for _ in range(4)]
    assert [child.wait(timeout=120) for child in children] == [0] * 4
    said = []
    kept = results.runs(said.append)
    assert not said
    assert sorted(run.rows[0]["n_prompt"] for run in kept) == sorted(list(range(20)) * 4)
    assert len({run.id for run in kept}) == 80


def test_results_of_other_machines_are_read_when_asked_for():
    results.keep([ROW])
    (results.results_folder() / "0123456789ab.jsonl").write_bytes(the_file().read_bytes())
    assert len(results.runs()) == 1
    assert len(results.runs(everywhere=True)) == 2


def test_a_run_is_found_by_last_or_by_the_beginning_of_its_id():
    kept = (results.keep([ROW]), results.keep([ROW]))
    newest = results.runs()[-1]
    assert results.find(results.runs(), "last") == newest
    assert results.find(kept, kept[0].id) == kept[0]
    for name, problem in (("2", "2 kept runs"), ("zebra", "no kept runs"), ("", "no kept runs")):
        with pytest.raises(UnknownResultError, match=problem) as refused:
            results.find(kept, name)
        assert "--history" in refused.value.hint
    with pytest.raises(UnknownResultError, match="nothing was kept"):
        results.find((), "last")


def test_a_file_in_the_place_of_the_folder_is_an_error_with_its_name(home):
    home.mkdir()
    (home / "results").write_text("mine")
    with pytest.raises(FileWriteError, match="results"):
        results.keep([ROW])
    assert (home / "results").read_text() == "mine"


def test_a_digest_tells_content_apart_and_not_names(tmp_path):
    content = bytes(range(256)) * 4096
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(content)
    (tmp_path / "c").write_bytes(content[:-1] + b"!")
    (tmp_path / "d").write_bytes(content + b"!")
    digests = [results.model_digest(tmp_path / name) for name in "abcd"]
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3
    assert results.model_digest(tmp_path / "missing") == ""
