"""`phi4local doctor` on machines that are well and on others: broken libraries, stores and networks."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.broken_library import broken_package, wrapped_package


def checks(done):
    """Return the results of `doctor --json` by name; several of one name as a list."""
    found = {}
    for check in json.loads(done.stdout)["checks"]:
        found.setdefault(check["name"], []).append(check)
    return {name: several[0] if len(several) == 1 else several for name, several in found.items()}


@pytest.fixture(scope="module")
def healthy(run_cli, native_library):
    return run_cli(["doctor", "--json"], env={"PHI4LOCAL_OFFLINE": "1"})


def test_all_is_well_and_the_engine_is_proved(healthy):
    facts, found = json.loads(healthy.stdout), checks(healthy)
    assert healthy.returncode == 0, healthy.stdout
    assert facts["ok"] is True
    assert facts["counts"]["wrong"] == 0
    assert found["engine on CPU"]["state"] == "ok"
    assert "as recorded" in found["engine on CPU"]["seen"]
    assert found["llama-cpp-python"]["state"] == "ok"
    assert set(facts["checks"][0]) == {"name", "state", "seen", "advice", "command"}


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_library_that_crashes_is_one_wrong_line_and_everything_else_is_looked_at(run_cli, tmp_path):
    folder = broken_package(tmp_path, "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    env = {"PHI4LOCAL_OFFLINE": "1", "PYTHONPATH": str(tmp_path)}
    done = run_cli(["doctor", "--json"], env=env)
    found = checks(done)
    assert done.returncode == 1, done.stderr
    assert [name for name, check in found.items() if "wrong" in str(check)] == ["llama-cpp-python"]
    assert "is ended by SIGSEGV" in found["llama-cpp-python"]["seen"]
    assert f"{folder} hides the installed one" in found["llama-cpp-python"]["seen"]
    assert found["engine on CPU"]["state"] == found["GPU"]["state"] == "skipped"
    assert found["disk"]["state"] == "ok"


def test_a_library_that_is_not_installed_is_wrong(tmp_path):
    """A Python whose packages are all there but this one."""
    (packages,) = {
        Path(place).parent for place in importlib.util.find_spec("llama_cpp").submodule_search_locations
    }
    for entry in packages.iterdir():
        if not entry.name.startswith("llama_cpp"):
            (tmp_path / entry.name).symlink_to(entry)
    path = [place for place in sys.path if Path(place) != packages]
    code = f"import sys; sys.path[:] = {[str(tmp_path), *path]}; sys.argv[1:] = ['doctor', '--json']; "
    code += "from phi4local.__main__ import run; sys.exit(run())"
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        env={**os.environ, "PHI4LOCAL_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    check = checks(done)["llama-cpp-python"]
    assert done.returncode == 1, done.stderr
    assert (check["state"], check["seen"]) == ("wrong", "is not installed")
    assert check["command"] == f"{sys.executable} -m phi4local.native.build"


@pytest.fixture(scope="module")
def ailing(run_cli, native_library, tmp_path_factory):
    """A machine with a GPU that a CPU build leaves idle, where the first step of the engine crashes."""
    if sys.platform == "win32":
        pytest.skip("links need rights there, and the driver's tool is a shell script")
    folder = tmp_path_factory.mktemp("ailing")
    wrapped_package(folder, "import os; os.abort()")
    program, temporary = folder / "nvidia-smi", folder / "temporary"
    program.write_text("#!/bin/sh\necho 'NVIDIA GeForce RTX 4070, 12282'\n")
    program.chmod(0o755)
    temporary.mkdir()
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"
    env = {"PHI4LOCAL_OFFLINE": "1", "PYTHONPATH": str(folder), "TMPDIR": str(temporary), "PATH": path}
    return run_cli(["doctor", "--json"], env=env), temporary


def test_an_engine_that_crashes_is_wrong_and_leaves_nothing(ailing):
    done, temporary = ailing
    check = checks(done)["engine on CPU"]
    assert done.returncode == 1, done.stderr
    assert check["seen"].startswith("crashed: the engine process died of SIGABRT")
    assert check["state"] == "wrong"
    assert list(temporary.iterdir()) == []


def test_a_gpu_that_the_build_leaves_idle_is_a_warning_with_a_command(ailing):
    done, _ = ailing
    check = checks(done)["GPU"]
    if not check["seen"].startswith("NVIDIA GeForce RTX 4070"):
        pytest.skip("this build computes on a GPU of its own")
    assert check["state"] == "warning"
    assert check["seen"].startswith("NVIDIA GeForce RTX 4070 with 12.9 GB; llama.cpp was built without CUDA")
    assert check["command"] == f"CMAKE_ARGS=-DGGML_CUDA=on {sys.executable} -m phi4local.native.build"


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_ctrl_c_ends_the_proof_and_leaves_nothing(native_library, tmp_path):
    fifo, temporary = tmp_path / "fifo", tmp_path / "temporary"
    os.mkfifo(fifo)
    temporary.mkdir()
    wrapped_package(tmp_path, f"import time; kept = open({str(fifo)!r}, 'w'); time.sleep(600)")
    env = {"PHI4LOCAL_OFFLINE": "1", "PYTHONPATH": str(tmp_path), "TMPDIR": str(temporary)}
    command = [sys.executable, "-m", "phi4local", "doctor"]
    with subprocess.Popen(command, env={**os.environ, **env}, stdout=subprocess.DEVNULL) as process:
        with fifo.open() as computing:  # opens when the engine computes
            assert len(list(temporary.iterdir())) == 1
            process.send_signal(signal.SIGINT)
            assert computing.read() == ""  # ends with the engine
        assert process.wait(60) == 130
    assert list(temporary.iterdir()) == []


@pytest.fixture
def quick(tmp_path):
    """Variables with which llama.cpp is broken at once, so that only the other checks take time."""
    broken_package(tmp_path, "raise ImportError")
    return {"PYTHONPATH": str(tmp_path), "PHI4LOCAL_OFFLINE": "1"}


def test_a_person_reads_lines_that_fit_a_proxy_that_is_away_and_no_password(run_cli, quick):
    proxies = dict.fromkeys(("HTTPS_PROXY", "https_proxy"), "http://me:swordfish@127.0.0.1:1")
    others = dict.fromkeys(
        ("NO_PROXY", "no_proxy", "PHI4LOCAL_OFFLINE", "HF_ENDPOINT", "MODELSCOPE_ENDPOINT")
    )
    env = {**quick, **others, **proxies, "HF_TOKEN": "hf_swordfish", "PHI4LOCAL_HOEM": "x"}
    done = run_cli(["doctor"], env=env)
    lines, words = done.stdout.splitlines(), " ".join(done.stdout.split())
    assert (done.returncode, done.stderr) == (1, "")
    assert max(map(len, (line for line in lines if "$ " not in line))) <= 120
    for name in ("Hugging Face", "ModelScope", "Ollama registry"):
        assert f"warn {name} cannot be reached: " in words
    assert "HF_TOKEN is set, HTTPS_PROXY = http://127.0.0.1:1" in words
    assert "PHI4LOCAL_HOEM is no variable of phi4local; did you mean PHI4LOCAL_HOME?" in words
    assert "swordfish" not in done.stdout
    assert lines[-1].endswith(" 1 wrong, 5 skipped")


AS_A_PERSON = """
import ctypes, os, sys
library = ctypes.CDLL(None)
for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH: root asks for permission, too
    library.prctl(24, capability, 0, 0, 0)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""
STORE = """
import json
from phi4local.doctor import result, store
print(json.dumps(result.report(list(store.check()))))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs capabilities")
@pytest.mark.parametrize(
    ("place", "name", "program"),
    [
        ("", "disk", ("-m", "phi4local", "doctor", "--json")),
        ("models/blobs", "store", ("-c", STORE)),
        ("models/manifests/registry.ollama.ai", "store", ("-c", STORE)),
    ],
)
def test_a_folder_that_may_not_be_read_is_wrong_and_no_crash(place, name, program, quick, tmp_path):
    home = tmp_path / "home"
    (home / "models/manifests/registry.ollama.ai").mkdir(parents=True)
    (home / "models/blobs").mkdir()
    closed = home / place
    closed.chmod(0)
    done = subprocess.run(
        [sys.executable, "-c", AS_A_PERSON, *program],
        env={**os.environ, **quick, "PHI4LOCAL_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    closed.chmod(0o755)
    check = checks(done)[name]
    assert (done.returncode, done.stderr) == ("doctor" in program, "")
    assert check["state"] == "wrong"
    assert str(closed) in check["seen"]
    assert check["command"].startswith("chmod ")
