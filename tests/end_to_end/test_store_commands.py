"""The store's commands as a person types them."""

import json
import os
from pathlib import Path

import pytest

pytestmark = pytest.mark.usefixtures("native_library")


@pytest.fixture(scope="module")
def good_file(run_cli, checkpoint, tmp_path_factory):
    path = tmp_path_factory.mktemp("good") / "my-tune-Q6_K.gguf"
    assert run_cli(["convert", checkpoint, "-q", "Q6_K", "-o", path]).returncode == 0
    return path


@pytest.fixture
def phi(run_cli, tmp_path):
    """`phi("list")`: a command in a home of its own, its output; an exit code other than 0 fails."""

    def run(*arguments, code=0):
        result = run_cli(arguments, env={"PHI4LOCAL_HOME": str(tmp_path / "home")})
        assert result.returncode == code, result.stderr
        assert "Traceback" not in result.stderr
        return result

    run.json = lambda *arguments: json.loads(run(*arguments, "--json").stdout)
    return run


def test_an_imported_file_runs_under_its_name_and_stays_where_it_is(phi, good_file):
    before = good_file.stat()
    made = phi.json("import", good_file)
    assert (made["name"], made["quantization"]) == ("my-tune:Q6_K", "Q6_K")
    assert phi("run", "my-tune", "What is 3 plus 4?").stdout == "3 plus 4 is 7.\n"
    after = good_file.stat()
    assert (after.st_ino, after.st_mode, after.st_mtime_ns) == (
        before.st_ino,
        before.st_mode,
        before.st_mtime_ns,
    )
    assert Path(made["path"]).samefile(good_file)
    phi("rm", "my-tune")
    assert good_file.read_bytes()[:4] == b"GGUF"


def test_a_copied_import_does_without_its_file(phi, good_file, tmp_path):
    own = tmp_path / "own.gguf"
    own.write_bytes(good_file.read_bytes())
    assert phi.json("import", own, "--name", "mine", "--copy")["name"] == "mine:Q6_K"
    own.unlink()
    assert phi("run", "mine", "What is 3 plus 4?").stdout == "3 plus 4 is 7.\n"


def test_cp_du_verify_rm_and_prune_tell_the_same_story(phi, good_file):
    phi("import", good_file, "--copy")
    phi("cp", "my-tune", "work")
    names = {row["reference"] for row in phi.json("list") if row["state"] == "ready"}
    assert names == {"my-tune:Q6_K", "work:latest"}
    usage = phi.json("du")
    assert {row["name"] for row in usage["models"]} == names
    assert usage["total_bytes"] > good_file.stat().st_size
    assert phi.json("verify")["findings"] == []
    assert phi.json("rm", "my-tune") == {"removed": ["my-tune:Q6_K"], "freed_bytes": 0}
    assert phi.json("rm", "work")["freed_bytes"] > good_file.stat().st_size
    assert phi.json("prune", "--all")["removed"] == []
    assert phi.json("du")["total_bytes"] == 0


def test_a_damaged_model_is_named_and_not_run(phi, good_file):
    path = Path(phi.json("import", good_file, "--copy")["path"])
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"x")
    result = phi("verify", code=1)
    assert "my-tune:Q6_K" in result.stdout
    assert [line.split(":")[0] for line in result.stderr.splitlines()] == ["error", "hint"]
    assert "damaged" in phi("run", "my-tune", "Hello", code=1).stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["rm", "nothing"], "not on this machine"),
        (["cp", "nothing", "x"], "not on this machine"),
        (["verify", "nothing"], "not on this machine"),
        (["import", "nowhere.gguf"], "nowhere.gguf"),
        (["rm", "../../x"], "not on this machine"),
    ],
)
def test_what_is_not_there_is_one_error_and_one_hint(phi, arguments, words):
    result = phi(*arguments, code=1)
    assert [line.split(":")[0] for line in result.stderr.splitlines()] == ["error", "hint"]
    assert words in result.stderr


def test_rm_of_nothing_is_wrong_usage(phi):
    phi("rm", code=2)
