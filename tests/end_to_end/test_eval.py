"""`phi4local eval` as a person types it."""

import json

import pytest

from tests.served import ServedProcess

pytestmark = pytest.mark.usefixtures("native_library")


@pytest.fixture
def data(tmp_path):
    (tmp_path / "mgsm_en.tsv").write_text("What is 3 plus 4?\t7\nWhat is 1 plus 1?\t2\n", encoding="utf-8")
    (tmp_path / "mgsm_de.tsv").write_text("Was ist 3 plus 4?\t7\n", encoding="utf-8")
    return tmp_path


def test_every_question_is_asked_and_kept(run_cli, phi4local_home, data):
    done = run_cli(
        [
            "eval",
            "phi4-nano",
            "--data",
            data,
            "--languages",
            "en,de",
            "--json",
            "-t",
            "1",
            "--gpu-layers",
            "0",
        ]
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [(one["language"], one["target"]) for one in found["answers"]] == [
        ("en", "7"),
        ("en", "2"),
        ("de", "7"),
    ]
    assert all(one["answer"] for one in found["answers"])
    assert found["scores"]["mgsm"]["count"] == 3
    assert found["scores"]["en"]["count"] == 2
    assert found["published"] is None


def test_the_table_names_each_language(run_cli, phi4local_home, data):
    done = run_cli(
        [
            "eval",
            "phi4-nano",
            "--data",
            data,
            "--languages",
            "en",
            "--limit",
            "1",
            "-t",
            "1",
            "--gpu-layers",
            "0",
        ]
    )
    assert done.returncode == 0, done.stderr
    assert "95 % INTERVAL" in done.stdout
    assert "mgsm" in done.stdout


@pytest.mark.parametrize(
    ("languages", "problem", "hint"),
    [("en,xx", "knows no `xx`", "there are bn, de, en"), ("fr", "mgsm_fr.tsv", "url-nlp")],
)
def test_what_cannot_be_asked_is_refused_before_loading(run_cli, data, languages, problem, hint):
    done = run_cli(["eval", "phi4-nano", "--data", data, "--languages", languages])
    assert done.returncode == 1
    error, second = done.stderr.splitlines()
    assert error.startswith("error: ")
    assert problem in error
    assert second.startswith("hint: ")
    assert hint in second


def test_a_server_is_asked_too(run_cli, phi4local_home, data):
    with ServedProcess("phi4-nano") as server:
        done = run_cli(["eval", f"{server.address}#phi4-nano", "--data", data, "--languages", "en", "--json"])
    assert done.returncode == 0, done.stderr
    assert [one["target"] for one in json.loads(done.stdout)["answers"]] == ["7", "2"]
