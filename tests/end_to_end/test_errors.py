"""Bad input gets one `error:` line and one `hint:` line, exit code 1, no traceback, no partial file."""

import json
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.usefixtures("native_library")


def assert_refused(result, *fragments: str) -> None:
    assert result.returncode == 1, result.stderr
    lines = result.stderr.splitlines()
    assert [line.split(":")[0] for line in lines] == ["error", "hint"], result.stderr
    for fragment in fragments:
        assert fragment in lines[0], lines[0]
    assert "\x1b" not in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


@pytest.fixture
def copy(checkpoint, tmp_path):
    """A copy of the checkpoint that may be damaged."""
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    for path in checkpoint.iterdir():
        if path.suffix in (".json", ".safetensors"):
            shutil.copy(path, folder)
    return folder


@pytest.fixture
def output(tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    yield folder / "model.gguf"
    assert list(folder.iterdir()) == [], "a refused conversion left a file"


@pytest.fixture(scope="module")
def good_file(checkpoint, tmp_path_factory):
    from phi4local.convert import convert_checkpoint

    path = tmp_path_factory.mktemp("good") / "good.gguf"
    convert_checkpoint(checkpoint, path, "Q8_0")
    return path


def convert(run_cli, folder, output, *options):
    return run_cli(["convert", str(folder), "-o", str(output), *options])


def test_a_folder_that_is_no_checkpoint(run_cli, tmp_path, output):
    (tmp_path / "empty").mkdir()
    assert_refused(convert(run_cli, tmp_path / "empty", output), "config.json")


def test_a_folder_that_does_not_exist(run_cli, tmp_path, output):
    assert_refused(convert(run_cli, tmp_path / "nowhere", output), "nowhere")


def test_a_truncated_shard(run_cli, copy, output):
    shard = copy / "model-00002-of-00002.safetensors"
    os.truncate(shard, shard.stat().st_size - 1)
    assert_refused(convert(run_cli, copy, output), shard.name)


def test_a_missing_shard(run_cli, copy, output):
    (copy / "model-00001-of-00002.safetensors").unlink()
    assert_refused(convert(run_cli, copy, output), "model-00001-of-00002.safetensors")


def test_an_unknown_architecture(run_cli, copy, output):
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(
        json.dumps(config | {"architectures": ["LlavaModel"], "model_type": "llava"})
    )
    assert_refused(convert(run_cli, copy, output), "llava")


def test_an_unknown_quantization_lists_near_names(run_cli, copy, output):
    result = convert(run_cli, copy, output, "-q", "Q4_K_X")
    assert_refused(result, "Q4_K_X")
    assert "Q4_K_M" in result.stderr


def test_an_unknown_model_lists_near_names(run_cli):
    result = run_cli(["run", "phi4-nanno", "Hello"])
    assert_refused(result, "phi4-nanno")
    assert "phi4-nano" in result.stderr.splitlines()[1]


def test_a_model_that_is_not_here_says_how_to_get_it(run_cli):
    result = run_cli(["run", "phi-4", "Hello"])
    assert_refused(result, "phi-4")
    assert "phi4local pull phi-4" in result.stderr


def test_an_output_that_exists_is_kept_until_force(run_cli, checkpoint, tmp_path):
    output = tmp_path / "model.gguf"
    output.write_text("mine")
    assert_refused(convert(run_cli, checkpoint, output), "exists")
    assert output.read_text() == "mine"
    assert convert(run_cli, checkpoint, output, "--force").returncode == 0
    assert output.read_bytes()[:4] == b"GGUF"


def test_a_hostile_name_cannot_steer_the_terminal(run_cli, tmp_path):
    path = tmp_path / "a b\n\x1b[31mred\x1b[0m [bold]x.gguf"
    path.write_bytes(b"not a model")
    assert_refused(run_cli(["run", str(path), "Hello"]), "\\x1b[31mred", "\\n", "[bold]x")


def test_a_hostile_name_works_where_the_file_is_good(run_cli, good_file, tmp_path):
    path = tmp_path / "a b\n\x1b[31m.gguf"
    shutil.copy(good_file, path)
    assert run_cli(["run", str(path), "What is 3 plus 4?"]).stdout == "3 plus 4 is 7.\n"
    table = run_cli(["show", str(path)])
    assert table.returncode == 0
    assert "\x1b" not in table.stdout


def patched(good_file: Path, tmp_path: Path, key: bytes, value: bytes) -> Path:
    """Write other bytes over the value of a scalar key: name, then 4 bytes of type, then the value."""
    data = bytearray(good_file.read_bytes())
    place = data.index(key) + len(key) + 4
    data[place : place + len(value)] = value
    path = tmp_path / "bad.gguf"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("key", "value", "cause"),
    [
        (b"phi3.block_count", struct.pack("<I", 0), "block_count"),
        (b"phi3.block_count", struct.pack("<I", 513), "block_count"),
        (b"phi3.rope.dimension_count", struct.pack("<I", 0), "dimension_count"),
        (b"phi3.rope.dimension_count", struct.pack("<I", 17), "dimension_count"),
        (b"phi3.attention.layer_norm_rms_epsilon", struct.pack("<f", float("nan")), "epsilon"),
    ],
)
@pytest.mark.parametrize("command", [["run", "{}", "Hello"], ["chat", "{}"], ["show", "{}"], ["bench", "{}"]])
def test_a_file_that_would_crash_the_library_is_refused_first(
    run_cli, good_file, tmp_path, key, value, cause, command
):
    path = patched(good_file, tmp_path, key, value)
    assert_refused(run_cli([word.format(path) for word in command], input=""), "bad.gguf", cause)


def test_duplicate_tokens_are_refused(run_cli, good_file, tmp_path):
    data = bytearray(good_file.read_bytes())
    place = data.index(b"<|dummy_12|>")
    data[place : place + 12] = b"<|dummy_11|>"
    path = tmp_path / "bad.gguf"
    path.write_bytes(data)
    assert_refused(run_cli(["run", str(path), "Hello"]), "dummy_11")


@pytest.mark.parametrize("content", [b"", b"GGUF", b"GGML" + bytes(60), b"\x7fELF" + bytes(60), b"{}"])
def test_a_file_that_is_no_gguf(run_cli, tmp_path, content):
    path = tmp_path / "x.gguf"
    path.write_bytes(content)
    assert_refused(run_cli(["run", str(path), "Hello"]), "x.gguf")


@pytest.mark.skipif(sys.platform == "win32", reason="file size limits are POSIX")
def test_a_disk_that_fills_up_leaves_nothing(checkpoint, tmp_path):
    script = f"""
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (4_000_000, 4_000_000))
from phi4local.cli import main
sys.exit(main(["convert", {str(checkpoint)!r}, "-o", {str(tmp_path / "model.gguf")!r}]))
"""
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert_refused(result, "model.gguf")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["run"],
        ["nonsense"],
        ["run", "--nonsense"],
        ["convert"],
        ["run", "phi4-nano"],
        ["run", "a", "b", "-c", "x"],
    ],
)
def test_wrong_usage_exits_with_2(run_cli, arguments):
    result = run_cli(arguments, input="")
    assert result.returncode == 2
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "setting"),
    [(["--temperature", "-1"], "temperature"), (["--kv", "q9"], "kv_type"), (["-c", "3"], "context_tokens")],
)
def test_a_setting_outside_its_range_is_named(run_cli, arguments, setting):
    assert_refused(run_cli(["run", "phi4-nano", "Hello", *arguments]), setting)


@pytest.mark.parametrize(
    "name", ["tokenizer.json", "config.json", "model-00001-of-00002.safetensors", "new.txt"]
)
def test_a_checkpoint_is_never_written_over(run_cli, copy, name):
    before = {path.name: path.stat().st_size for path in copy.iterdir()}
    assert_refused(convert(run_cli, copy, copy / name, "--force"), "part of the checkpoint")
    assert {path.name: path.stat().st_size for path in copy.iterdir()} == before


@pytest.mark.parametrize("prompt", ["Explain this: " + "a" * 1500, "a/b" * 200, "~nosuch", "x\udcff"])
def test_any_text_may_be_a_prompt(run_cli, prompt):
    result = run_cli(["run", prompt])
    assert result.returncode == 0, result.stderr


def test_a_folder_does_not_take_a_catalog_name(run_cli, checkpoint, tmp_path):
    folder = tmp_path / "phi-4"
    shutil.copytree(checkpoint, folder, ignore=shutil.ignore_patterns("training", "*.jsonl*"))
    env = {"PHI4LOCAL_HOME": str(tmp_path / "home")}
    assert run_cli(["run", str(folder), "Hello"], env=env).returncode == 0
    assert_refused(run_cli(["run", "phi-4", "Hello"], env=env), "not on this machine")
    again = run_cli(["run", "phi-4-local", "What is 3 plus 4?", "--json"], env=env)
    assert json.loads(again.stdout)["text"] == "3 plus 4 is 7."


def test_a_remembered_name_is_told_from_a_prompt(run_cli, checkpoint, tmp_path):
    folder = tmp_path / "finetune"
    shutil.copytree(checkpoint, folder, ignore=shutil.ignore_patterns("training", "*.jsonl*"))
    env = {"PHI4LOCAL_HOME": str(tmp_path / "home")}
    run_cli(["run", str(folder), "Hello"], env=env)
    assert run_cli(["run", "finetune"], input="What is 3 plus 4?", env=env).stdout == "3 plus 4 is 7.\n"
    assert run_cli(["run", "finetune"], env=env).returncode == 2
    assert json.loads(run_cli(["run", "What is 3 plus 4?", "--json"], env=env).stdout)["model"] == "finetune"
    assert_refused(run_cli(["run", "finetune:Q4_K_M", "Hi"], env=env), "finetune:Q4_K_M")


def test_words_without_quotes_get_the_right_hint(run_cli):
    result = run_cli(["run", "Why", "is", "the", "sky", "blue?"])
    assert_refused(result, "Why")
    assert "quotes" in result.stderr


@pytest.mark.parametrize("home", ["file", "~nosuch/x", "/proc/nope"])
def test_a_home_that_cannot_be_is_one_line(run_cli, tmp_path, home):
    (tmp_path / "file").write_text("x")
    chosen = str(tmp_path / home) if home == "file" else home
    assert_refused(run_cli(["run", "phi4-nano", "Hello"], env={"PHI4LOCAL_HOME": chosen}), "cannot write")


@pytest.mark.parametrize("record", ['{"size_bytes": 1e999}', "[" * 200_000, "null", '{"name": 1}', "\x00"])
def test_a_damaged_record_is_no_trouble(run_cli, tmp_path, record):
    manifests = tmp_path / "models" / "manifests" / "registry.ollama.ai" / "library" / "bad"
    manifests.mkdir(parents=True)
    (manifests / "Q8_0").write_text(record)
    (tmp_path / "models" / "bad-Q8_0.json").write_text(record)  # as before there were manifests
    (tmp_path / "models" / "bad-Q8_0.gguf").write_bytes(b"x")
    result = run_cli(["list"], env={"PHI4LOCAL_HOME": str(tmp_path)})
    assert result.returncode == 0, result.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("arguments", [["run", "phi4-nano", "Hello"], ["list"], ["--version"], ["--help"]])
def test_an_output_that_is_full_is_one_line(arguments):
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(
            [sys.executable, "-m", "phi4local", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert result.returncode == 1
    assert result.stderr.startswith("error: cannot write `standard output`: no space left")


@pytest.mark.skipif(sys.platform == "win32", reason="descriptors are closed by a POSIX shell")
@pytest.mark.parametrize("redirection", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_trouble(redirection):
    command = f'exec "{sys.executable}" -m phi4local run phi4-nano Hello {redirection}'
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes on Linux")
def test_a_file_name_need_not_be_utf8(good_file, tmp_path):
    path = os.fsencode(tmp_path) + b"/caf\xe9.gguf"
    shutil.copy(good_file, path)
    result = subprocess.run(
        [sys.executable, "-m", "phi4local", "run", path, "What is 3 plus 4?"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert result.stdout == b"3 plus 4 is 7.\n"


def test_a_wish_that_the_model_does_not_fulfil_is_told(run_cli):
    result = run_cli(["run", "phi4-nano", "What is 3 plus 4?", "--context", "999999", "--gpu-layers", "5"])
    assert result.stdout == "3 plus 4 is 7.\n"
    assert "2,048 tokens, this model's own limit" in result.stderr


def test_a_prompt_that_fits_no_context_says_so(run_cli):
    result = run_cli(["run", "phi4-nano"], input="word " * 5000)
    assert_refused(result, "2,048")
    assert "holds no more" in result.stderr


@pytest.mark.parametrize("path", ["a:b.gguf", "C:\\models\\phi.gguf", "./no:where"])
def test_a_path_with_a_colon_is_a_path(run_cli, path):
    assert_refused(run_cli(["show", path]), "no such file")
