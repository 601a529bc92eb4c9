"""Pulling and running models by every name, as real processes against real servers on loopback."""

import hashlib
import json
import os
import re
import shutil
import signal
import sys
from pathlib import Path

import pytest

from phi4local.convert import convert_checkpoint
from tests.hubs import Fault, HuggingFaceHub, ModelScopeHub, OllamaRegistry

ALWAYS = 10**9
pytestmark = pytest.mark.usefixtures("native_library")

QUESTION, ANSWER = "What is 3 plus 4?", "3 plus 4 is 7."
GGUF_REPOSITORY = "unsloth/phi-4-GGUF"
TEMPLATE = b"{{ .Prompt }}"


@pytest.fixture(scope="module")
def files(checkpoint, native_library, tmp_path_factory):
    """Two quantizations of phi4-nano, called like Phi-4's."""
    folder = tmp_path_factory.mktemp("served")
    for quantization in ("Q4_K_M", "Q8_0"):
        convert_checkpoint(checkpoint, folder / f"phi-4-{quantization}.gguf", quantization)
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture
def huggingface(files):
    with HuggingFaceHub() as hub:
        hub.add(GGUF_REPOSITORY, {**files, "README.md": b"# Phi-4\n"})
        hub.add("microsoft/phi-4-gguf", files)
        yield hub


@pytest.fixture
def modelscope(files):
    with ModelScopeHub() as hub:
        hub.add(GGUF_REPOSITORY, files)
        yield hub


@pytest.fixture
def registry(files):
    with OllamaRegistry() as hub:
        hub.add("library/phi4:14b", [("model", files["phi-4-Q8_0.gguf"]), ("template", TEMPLATE)])
        yield hub


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


@pytest.fixture
def phi4local(run_cli, home):
    """`phi4local([hub, …], "run", …)`: the command with these hubs and a home of its own."""

    def run(hubs, *arguments, **env):
        return run_cli(arguments, env={**addresses(hubs), "PHI4LOCAL_HOME": str(home), **env})

    return run


def addresses(hubs):
    """Return the variables that lead to these hubs; the others lead nowhere."""
    variables = {
        "HF_ENDPOINT": HuggingFaceHub,
        "MODELSCOPE_ENDPOINT": ModelScopeHub,
        "PHI4LOCAL_REGISTRY": OllamaRegistry,
    }
    nowhere = "http://127.0.0.1:9"
    return {
        name: next((hub.url for hub in hubs if isinstance(hub, kind)), nowhere)
        for name, kind in variables.items()
    }


# every name


def test_run_pulls_from_modelscope_and_answers(phi4local, modelscope):
    result = phi4local([modelscope], "run", f"modelscope.cn/{GGUF_REPOSITORY}", QUESTION, "--yes")
    assert (result.returncode, result.stdout) == (0, ANSWER + "\n"), result.stderr
    assert "modelscope.cn/unsloth/phi-4-GGUF" in result.stderr


def test_run_pulls_from_hugging_face_and_answers(phi4local, huggingface, files):
    name = f"hf.co/{GGUF_REPOSITORY}:Q8_0"
    result = phi4local([huggingface], "run", name, QUESTION, "--yes")
    assert (result.returncode, result.stdout) == (0, ANSWER + "\n"), result.stderr
    assert huggingface.served["phi-4-Q8_0.gguf"] >= len(files["phi-4-Q8_0.gguf"])
    asked = len(huggingface.requests)
    again = phi4local([huggingface], "run", name.lower(), QUESTION)
    assert again.stdout == ANSWER + "\n"
    assert len(huggingface.requests) == asked


def test_run_pulls_from_a_registry_and_answers(phi4local, registry):
    result = phi4local([registry], "run", "phi4:14b", QUESTION, "--yes")
    assert (result.returncode, result.stdout) == (0, ANSWER + "\n"), result.stderr


def test_a_registry_is_found_by_its_address(phi4local, registry):
    result = phi4local([], "run", f"{registry.url}/library/phi4:14b", QUESTION, "--yes")
    assert (result.returncode, result.stdout) == (0, ANSWER + "\n"), result.stderr


@pytest.mark.parametrize(
    "name",
    [
        f"https://huggingface.co/{GGUF_REPOSITORY}/blob/main/phi-4-Q8_0.gguf",
        f"ollama run hf.co/{GGUF_REPOSITORY}:Q8_0",
        "phi-4:Q8_0",
    ],
)
def test_run_takes_what_people_paste(phi4local, huggingface, name):
    result = phi4local([huggingface], "run", name, QUESTION, "--yes")
    assert (result.returncode, result.stdout) == (0, ANSWER + "\n"), result.stderr


def test_chat_and_show_take_names_on_servers(phi4local, huggingface, run_cli, home):
    env = {**addresses([huggingface]), "PHI4LOCAL_HOME": str(home)}
    name = f"hf.co/{GGUF_REPOSITORY}:Q8_0"
    result = run_cli(["chat", name, "--yes"], input=QUESTION + "\n", env=env)
    assert result.stdout == ANSWER + "\n", result.stderr
    for other in (name, f"https://huggingface.co/{GGUF_REPOSITORY}/blob/main/phi-4-Q4_K_M.gguf"):
        shown = json.loads(run_cli(["show", other, "--yes", "--json"], env=env).stdout)
        assert shown["layers"] == 8


def test_without_consent_nothing_is_asked_and_nothing_pulled(phi4local, huggingface):
    result = phi4local([huggingface], "run", f"hf.co/{GGUF_REPOSITORY}:Q8_0", QUESTION)
    assert result.returncode == 1
    assert result.stdout == ""
    error, hint = result.stderr.splitlines()
    assert error.startswith("error: ")
    assert "--yes" in hint
    assert f"phi4local pull hf.co/{GGUF_REPOSITORY}:Q8_0" in hint
    assert huggingface.requests == []


def test_a_program_pulls_what_it_loads(huggingface, home, tmp_path):
    program = (
        "import phi4local\n"
        f"with phi4local.load('hf.co/{GGUF_REPOSITORY}:Q8_0') as model:\n"
        f"    print(model.chat({QUESTION!r}).text)\n"
    )
    assert python(program, [huggingface], home, tmp_path) == ANSWER + "\n"


def python(program, hubs, home, folder, **env):
    import subprocess

    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env={**os.environ, **addresses(hubs), "PHI4LOCAL_HOME": str(home), **env},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# before the first byte


def test_a_dry_run_shows_every_quantization_and_writes_nothing(phi4local, huggingface, home, files):
    result = phi4local([huggingface], "pull", f"hf.co/{GGUF_REPOSITORY}", "--dry-run", "--json")
    assert result.returncode == 0, result.stderr
    plan = json.loads(result.stdout)
    assert plan["quantization"] == "Q4_K_M"
    assert {row["quantization"]: row["size_bytes"] for row in plan["quantizations"]} == {
        "Q4_K_M": len(files["phi-4-Q4_K_M.gguf"]),
        "Q8_0": len(files["phi-4-Q8_0.gguf"]),
    }
    assert [row["quantization"] for row in plan["quantizations"] if row["recommended"]] == ["Q4_K_M"]
    assert plan["reason"]
    assert not list(home.rglob("sha256-*"))
    assert len([seen for seen in huggingface.requests if "/tree/" in seen.path]) == 1


def test_the_table_is_text_for_people(phi4local, huggingface):
    result = phi4local([huggingface], "pull", "phi-4", "--dry-run")
    assert re.search(r"Q4_K_M \(recommended\) +\d", result.stdout)
    assert "16k" in result.stdout


def test_what_is_no_phi4_is_refused_by_its_header(phi4local, huggingface, files, home):
    data = files["phi-4-Q8_0.gguf"]
    place = data.index(b"phi3", data.index(b"general.architecture"))
    other = data[:place] + b"gpt2" + data[place + 4 :]
    huggingface.add(GGUF_REPOSITORY, {"phi-4-Q8_0.gguf": other})
    result = phi4local([huggingface], "pull", f"hf.co/{GGUF_REPOSITORY}:Q8_0")
    assert result.returncode == 1
    assert "gpt2" in result.stderr
    assert huggingface.served["phi-4-Q8_0.gguf"] < len(other)
    assert not list(home.rglob("sha256-*"))


# what is kept


def test_a_pulled_model_has_its_name_its_digest_and_its_origin(phi4local, huggingface, files):
    result = phi4local([huggingface], "pull", f"hf.co/{GGUF_REPOSITORY}:Q8_0", "--json")
    assert result.returncode == 0, result.stderr
    pulled = json.loads(result.stdout)
    assert pulled["name"] == f"hf.co/{GGUF_REPOSITORY}:Q8_0"
    assert pulled["sha256"] == hashlib.sha256(files["phi-4-Q8_0.gguf"]).hexdigest()
    listed = json.loads(phi4local([], "list", "--json").stdout)
    assert any(row["path"] == pulled["path"] for row in listed)


def test_the_same_file_under_another_name_is_not_fetched_again(phi4local, huggingface, modelscope, files):
    first = phi4local([huggingface], "pull", f"hf.co/{GGUF_REPOSITORY}:Q8_0")
    assert first.returncode == 0, first.stderr
    second = phi4local([modelscope], "pull", f"modelscope.cn/{GGUF_REPOSITORY}:Q8_0")
    assert second.returncode == 0, second.stderr
    header = 6 * 2**20  # what may be read of it, to look at it
    assert modelscope.served["phi-4-Q8_0.gguf"] <= min(header, len(files["phi-4-Q8_0.gguf"]))


def test_update_all_pulls_what_changed(phi4local, huggingface, files):
    name = f"hf.co/{GGUF_REPOSITORY}:Q8_0"
    assert phi4local([huggingface], "pull", name).returncode == 0
    same = phi4local([huggingface], "pull", "--update-all")
    assert "up to date" in same.stderr, same.stderr
    huggingface.add(GGUF_REPOSITORY, {"phi-4-Q8_0.gguf": files["phi-4-Q4_K_M.gguf"]})
    changed = phi4local([huggingface], "pull", "--update-all", "--json")
    assert json.loads(changed.stdout) == [{"name": name, "state": "updated"}]
    shown = json.loads(phi4local([], "list", "--json").stdout)
    assert [row["size_bytes"] for row in shown if row["name"].startswith("hf.co")] == [
        len(files["phi-4-Q4_K_M.gguf"])
    ]


# offline


GUARD = """
import os, socket
def refuse(self, address, *more):
    if self.family != socket.AF_UNIX:
        os._exit(97)
socket.socket.connect = socket.socket.connect_ex = refuse
"""


def test_what_is_installed_opens_no_socket(phi4local, huggingface, tmp_path):
    name = f"hf.co/{GGUF_REPOSITORY}:Q8_0"
    assert phi4local([huggingface], "pull", name).returncode == 0
    (tmp_path / "sitecustomize.py").write_text(GUARD, encoding="utf-8")
    guarded = {"PYTHONPATH": str(tmp_path)}
    refused = phi4local([huggingface], "pull", "phi-4", **guarded)
    assert refused.returncode == 97
    for arguments in (["run", name, QUESTION], ["show", name, "--json"], ["list"], ["verify"]):
        result = phi4local([huggingface], *arguments, **guarded)
        assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("variable", ["PHI4LOCAL_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline_pulls_nothing_and_says_so(phi4local, huggingface, variable):
    result = phi4local([huggingface], "pull", "phi-4", **{variable: "1"})
    assert result.returncode == 1
    assert "offline" in result.stderr
    assert huggingface.requests == []
    again = phi4local([huggingface], "pull", "phi-4", "--offline")
    assert (again.returncode, "offline" in again.stderr) == (1, True)


def test_offline_an_installed_model_is_pulled_already(phi4local, huggingface):
    name = f"hf.co/{GGUF_REPOSITORY}:Q8_0"
    assert phi4local([huggingface], "pull", name).returncode == 0
    asked = len(huggingface.requests)
    result = phi4local([huggingface], "pull", name, "--offline")
    assert result.returncode == 0, result.stderr
    assert len(huggingface.requests) == asked


# the announcement


SNIPPET = """
from {package} import snapshot_download
import {transformers}

model_dir = snapshot_download("LLM-Research/phi-4")
pipeline = transformers.pipeline(
    "text-generation",
    model=model_dir,
    model_kwargs={{"torch_dtype": "auto"}},
    device_map="auto",
)
messages = [
    {{
        "role": "system",
        "content": "You are a medieval knight and must provide explanations to modern people.",
    }},
    {{"role": "user", "content": "How should I explain the Internet?"}},
]
outputs = pipeline(messages, max_new_tokens=128)
print(outputs[0]["generated_text"][-1])
"""


def served(checkpoint):
    """Return the files of a checkpoint's repository."""
    return {path.name: path for path in checkpoint.iterdir() if path.suffix in (".json", ".safetensors")}


def test_the_snippet_of_the_announcement_runs_with_other_import_lines(modelscope, checkpoint, home, tmp_path):
    modelscope.add("LLM-Research/phi-4", served(checkpoint))
    program = SNIPPET.format(package="phi4local", transformers="phi4local as transformers")
    printed = python(program, [modelscope], home, tmp_path)
    assert re.fullmatch(r"\{'role': 'assistant', 'content': .+\}\n", printed)


def test_a_checkpoint_is_pulled_and_converted(phi4local, huggingface, checkpoint):
    huggingface.add("somebody/my-tune", served(checkpoint))
    name = "hf.co/somebody/my-tune"
    result = phi4local([huggingface], "pull", name, "--convert", "q4_k_m", "--json")
    assert result.returncode == 0, result.stderr
    pulled = json.loads(result.stdout)
    assert (pulled["name"], pulled["quantization"]) == ("my-tune:Q4_K_M", "Q4_K_M")
    asked = len(huggingface.requests)
    answer = phi4local([huggingface], "run", "my-tune", QUESTION)
    assert answer.stdout == ANSWER + "\n"
    assert phi4local([huggingface], "run", name, QUESTION).stdout == ANSWER + "\n"
    assert len(huggingface.requests) == asked


def test_a_checkpoint_is_converted_while_it_arrives(phi4local, huggingface, checkpoint, home, tmp_path):
    huggingface.add("somebody/my-tune", served(checkpoint))
    first = "model-00001-of-00002.safetensors"
    huggingface.faults.append(
        Fault(file=first, route="cdn", skip=1, cut_after=2**20, ending="reset", times=2)
    )
    arguments = ("pull", "hf.co/somebody/my-tune", "--convert", "q4_k_m", "--stream", "--json")
    result = phi4local([huggingface], *arguments)
    assert result.returncode == 0, result.stderr
    pulled = json.loads(result.stdout)
    assert (pulled["name"], pulled["quantization"]) == ("my-tune:Q4_K_M", "Q4_K_M")
    folder = tmp_path / "local" / "my-tune"
    folder.mkdir(parents=True)
    for path in served(checkpoint).values():
        shutil.copy(path, folder)
    convert_checkpoint(folder, tmp_path / "local.gguf", "Q4_K_M")
    assert Path(pulled["path"]).read_bytes() == (tmp_path / "local.gguf").read_bytes()
    assert not huggingface.faults[0].times  # both breaks happened
    assert not list(home.rglob("*.safetensors"))
    assert not list(home.rglob("convert-*/*"))
    before = huggingface.served[first]
    again = phi4local([huggingface], *arguments)
    assert json.loads(again.stdout)["path"] == pulled["path"]
    assert huggingface.served[first] == before
    assert phi4local([], "run", "my-tune", QUESTION).stdout == ANSWER + "\n"


def test_a_shard_that_arrives_damaged_leaves_nothing(phi4local, huggingface, checkpoint, home):
    shard = "model-00002-of-00002.safetensors"
    files = served(checkpoint)
    huggingface.add("somebody/my-tune", files, announced={shard: "0" * 64})
    result = phi4local([huggingface], "pull", "hf.co/somebody/my-tune", "--convert", "Q8_0", "--stream")
    assert result.returncode == 1
    assert shard in result.stderr
    assert "damaged" in result.stderr
    assert not list(home.rglob("*.gguf"))
    assert not list(home.rglob("sha256-*"))


def test_a_gguf_file_is_not_converted(phi4local, huggingface):
    result = phi4local([huggingface], "pull", f"hf.co/{GGUF_REPOSITORY}", "--convert", "Q4_K_M")
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].startswith("hint: ")


def test_a_data_set_comes_through_the_same_door(huggingface, home, tmp_path):
    lines = b'{"messages": []}\n' * 3
    files = {"train.jsonl": lines, "README.md": b"# Data\n", "load.py": b"raise SystemExit"}
    huggingface.add("somebody/knights", files, kind="datasets")
    program = (
        "import pathlib, phi4local\n"
        "folder = pathlib.Path(phi4local.snapshot_download('hf.co/datasets/somebody/knights'))\n"
        "print(sorted(path.name for path in folder.iterdir()), (folder / 'train.jsonl').stat().st_size)\n"
    )
    assert python(program, [huggingface], home, tmp_path) == f"['train.jsonl'] {len(lines)}\n"


def test_a_file_that_is_not_the_announced_one_gets_no_name(phi4local, huggingface, files):
    announced = {"phi-4-Q8_0.gguf": 64 * "0"}
    huggingface.add(GGUF_REPOSITORY, {"phi-4-Q8_0.gguf": files["phi-4-Q8_0.gguf"]}, announced=announced)
    result = phi4local([huggingface], "pull", f"hf.co/{GGUF_REPOSITORY}:Q8_0")
    assert result.returncode == 1
    assert 64 * "0" in result.stderr
    assert not any(row["path"] for row in json.loads(phi4local([], "list", "--json").stdout))


# on a terminal


@pytest.fixture
def terminal(home):
    pexpect = pytest.importorskip("pexpect")
    started = []

    def start(hubs, *arguments, columns=80):
        child = pexpect.spawn(
            sys.executable,
            ["-m", "phi4local", *arguments],
            env={
                **os.environ,
                **addresses(hubs),
                "PHI4LOCAL_HOME": str(home),
                "TERM": "xterm-256color",
            },
            encoding="utf-8",
            dimensions=(24, columns),
            timeout=60,
        )
        started.append(child)
        return child

    yield start
    for child in started:
        child.close(force=True)


def test_a_person_is_shown_the_choice_and_asked(terminal, huggingface):
    import pexpect

    run = terminal([huggingface], "run", f"hf.co/{GGUF_REPOSITORY}", QUESTION)
    run.expect("recommended")
    run.expect(r"\[Y/n\]")
    run.sendline("")
    run.expect(ANSWER)
    run.expect(pexpect.EOF)
    run.wait()
    assert run.exitstatus == 0


def test_a_person_who_says_no_gets_nothing(terminal, huggingface, home):
    import pexpect

    run = terminal([huggingface], "run", f"hf.co/{GGUF_REPOSITORY}:Q8_0", QUESTION)
    run.expect(r"\[Y/n\]")
    run.sendline("n")
    run.expect(pexpect.EOF)
    run.wait()
    assert run.exitstatus == 130
    assert not list(home.rglob("sha256-*"))


def header_requests(phi4local, hub, name):
    """Return how often the CDN is asked for the header, before the download itself."""
    assert phi4local([hub], "pull", name, "--dry-run").returncode == 0
    return len([seen for seen in hub.requests if seen.server == "cdn"])


def test_ctrl_c_says_how_to_go_on_and_the_next_pull_does(terminal, huggingface, phi4local, files):
    import pexpect

    name, size = f"hf.co/{GGUF_REPOSITORY}:Q8_0", len(files["phi-4-Q8_0.gguf"])
    header = header_requests(phi4local, huggingface, name)
    stall = Fault(route="cdn", skip=header, cut_after=size // 2, ending="stall", times=ALWAYS)
    huggingface.faults.append(stall)
    pull = terminal([huggingface], "pull", name)
    pull.expect(r"Downloading")
    pull.expect(r"[45]\d %")
    pull.sendintr()
    pull.expect("the same command goes on from there")
    pull.expect(pexpect.EOF)
    pull.wait()
    assert pull.exitstatus == 130
    huggingface.faults.clear()
    before = huggingface.served["phi-4-Q8_0.gguf"]
    assert phi4local([huggingface], "pull", name).returncode == 0
    assert huggingface.served["phi-4-Q8_0.gguf"] - before < size


def test_progress_never_runs_backwards(terminal, huggingface, files):
    """Connections end and begin again; what a person sees only grows."""
    import pexpect

    name = f"hf.co/{GGUF_REPOSITORY}:Q8_0"
    resets = [Fault(route="cdn", skip=1, cut_after=2**20, ending="reset", times=6)]
    huggingface.faults.extend(resets)
    pull = terminal([huggingface], "pull", name)
    pull.expect(pexpect.EOF)
    pull.wait()
    assert pull.exitstatus == 0
    shown = [int(found) for found in re.findall(r"(\d+) %", pull.before)]
    assert shown
    assert shown == sorted(shown)


def test_a_log_gets_a_line_every_few_seconds(phi4local, huggingface, files, home):
    """The server sends a few bytes at a time."""
    import subprocess

    name = f"hf.co/{GGUF_REPOSITORY}:Q8_0"
    header = header_requests(phi4local, huggingface, name)
    huggingface.faults.append(Fault(route="cdn", skip=header, bytes_per_second=10_000, times=ALWAYS))
    env = {**os.environ, **addresses([huggingface]), "PHI4LOCAL_HOME": str(home)}
    command = [sys.executable, "-m", "phi4local", "pull", name]
    with subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True) as pull:
        line = next((line for line in pull.stderr if line.startswith("downloading: ")), "")
        pull.send_signal(signal.SIGINT)
        rest = pull.stderr.read()
        assert re.match(r"downloading: \d+ %, [\d.]+ of [\d.]+ MB, [\d.]+ [kM]?B/s, .+ left$", line)
        assert "the same command goes on from there" in rest
    assert pull.returncode == 130
