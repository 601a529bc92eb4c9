"""build.py, run with a real pip on a small package of the same name instead of llama-cpp-python."""

import hashlib
import http.server
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import threading
import time
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

from phi4local.native import build

CHECKOUT = Path(__file__).parents[3]
PROGRAM = CHECKOUT / "phi4local" / "native" / "build.py"
WHEEL_NAME = f"llama_cpp_python-{build.VERSION}-py3-none-any.whl"

# A build backend that stores what it was told, counts like ninja, and fails on request.
BACKEND = """
import json, os, sys, zipfile
sys.path.insert(0, os.getcwd())
from make import make_wheel
def build_wheel(folder, config_settings=None, metadata_directory=None):
    print("[3/7] compiling", flush=True)
    if os.environ.get("FAIL_WITH"):
        sys.exit(os.environ["FAIL_WITH"])
    told = {"settings": config_settings, "CMAKE_ARGS": os.environ["CMAKE_ARGS"]}
    return make_wheel(folder, json.dumps(told))
"""
MAKE_WHEEL = f"""
import base64, hashlib, os, zipfile
NAME, INFO = "{WHEEL_NAME}", "llama_cpp_python-{build.VERSION}.dist-info"
def make_wheel(folder, told):
    files = {{
        "llama_cpp/__init__.py": "", "llama_cpp/told.json": told,
        INFO + "/METADATA": "Metadata-Version: 2.1\\nName: llama-cpp-python\\nVersion: {build.VERSION}\\n",
        INFO + "/WHEEL": "Wheel-Version: 1.0\\nGenerator: x\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
    }}
    def entry(name):
        digest = base64.urlsafe_b64encode(hashlib.sha256(files[name].encode()).digest()).decode().rstrip("=")
        return f"{{name}},sha256={{digest}},{{len(files[name])}}\\n"
    files[INFO + "/RECORD"] = "".join(map(entry, files)) + INFO + "/RECORD,,\\n"
    with zipfile.ZipFile(os.path.join(folder, NAME), "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return NAME
"""
PYPROJECT = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
METADATA = f"Metadata-Version: 2.1\nName: llama_cpp_python\nVersion: {build.VERSION}\n"


@pytest.fixture(scope="module")
def fresh_python(tmp_path_factory):
    folder = tmp_path_factory.mktemp("a fresh python")
    venv.create(folder, with_pip=True)
    return str(folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python"))


@pytest.fixture
def target(fresh_python):
    """A Python that has pip and nothing else."""
    target = build.Target.of(fresh_python)
    for folder in target.packages.glob("llama_cpp*"):
        shutil.rmtree(folder)
    (target.packages / build.NOTE).unlink(missing_ok=True)
    return target


@pytest.fixture
def index(tmp_path):
    """A folder that pip takes as the package index: one source archive."""
    folder = tmp_path / "index"
    folder.mkdir()
    files = {"pyproject.toml": PYPROJECT, "PKG-INFO": METADATA, "backend.py": BACKEND, "make.py": MAKE_WHEEL}
    with tarfile.open(folder / f"llama_cpp_python-{build.VERSION}.tar.gz", "w:gz") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(f"llama_cpp_python-{build.VERSION}/{name}")
            entry.size = len(text.encode())
            archive.addfile(entry, io.BytesIO(text.encode()))
    return folder


@pytest.fixture
def environment(index, tmp_path):
    unset = ("CMAKE_ARGS", "PHI4LOCAL_LLAMA_WHEEL", "PHI4LOCAL_LLAMA_WHEEL_SHA256")
    pip = {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": index.as_uri()}
    kept = {name: value for name, value in os.environ.items() if name not in unset}
    return {**kept, **pip, "PHI4LOCAL_CACHE": str(tmp_path / "wheels")}


@pytest.fixture(scope="module")
def wheel_bytes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made elsewhere")
    scope = {}
    exec(MAKE_WHEEL, scope)
    return (folder / scope["make_wheel"](str(folder), '"made elsewhere"')).read_bytes()


@pytest.fixture
def serve():
    """Start a loopback server that answers every request by calling `answer(handler)`."""

    def start(answer):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                requests.append(self.path)
                answer(self)

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        running.append((server, thread))
        return f"http://127.0.0.1:{server.server_port}/{WHEEL_NAME}"

    requests, running = [], []
    start.requests = requests
    yield start
    for server, thread in running:
        server.shutdown()
        server.server_close()
        thread.join()


def respond(data):
    def answer(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    return answer


def told(target):
    return json.loads((target.packages / "llama_cpp" / "told.json").read_text(encoding="utf-8"))


def only_wheel(environment):
    (wheel,) = Path(environment["PHI4LOCAL_CACHE"]).glob("*/*.whl")
    return wheel


def test_version_is_the_one_that_pyproject_pins():
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert f"llama-cpp-python=={build.VERSION}" in project["dependencies"]


def test_it_compiles_once_keeps_the_wheel_and_reuses_it(target, environment, index, capfd):
    assert build.prepare(target, environment)
    said = capfd.readouterr()
    assert said.out == ""
    assert "once; about 2-3 minutes on two cores" in said.err
    assert re.search(r"^compiling: \d+ s \[3/7\]$", said.err, re.MULTILINE)
    settings = told(target)["settings"]
    assert settings["wheel.exclude"] == "/lib;/include;/bin"
    assert re.fullmatch(
        r"-DLLAVA_BUILD=OFF;.*;-DCMAKE_PROJECT_INCLUDE=.*/build\.cmake", settings["cmake.args"]
    )
    assert not build.prepare(target, environment)

    next(index.iterdir()).unlink()  # nothing is left to compile
    subprocess.run([target.python, "-m", "pip", "uninstall", "-qy", "llama-cpp-python"], check=True)
    assert build.prepare(target, environment)
    assert "compiling" not in capfd.readouterr().err


def test_cmake_args_make_another_build_and_are_remembered(target, environment):
    build.prepare(target, environment)
    gpu = {**environment, "CMAKE_ARGS": "-DGGML_VULKAN=on"}
    assert build.prepare(target, gpu)
    assert told(target)["CMAKE_ARGS"] == "-DGGML_VULKAN=on"
    assert not build.prepare(target, environment)
    assert build.prepare(target, {**environment, "CMAKE_ARGS": ""})
    assert told(target)["CMAKE_ARGS"] == ""


def test_a_package_that_somebody_else_installed_is_replaced(target, environment, wheel_bytes, tmp_path):
    build.prepare(target, environment)
    foreign = tmp_path / WHEEL_NAME
    foreign.write_bytes(wheel_bytes)
    command = [target.python, "-m", "pip", "install", "-q", "--no-index", "--force-reinstall", str(foreign)]
    subprocess.run(command, check=True)
    assert build.prepare(target, environment)
    assert told(target) != "made elsewhere"


def test_force_and_a_damaged_wheel_compile_again(target, environment, capfd):
    build.prepare(target, environment)
    kept = only_wheel(environment)
    kept.write_bytes(kept.read_bytes()[:100])
    (target.packages / build.NOTE).unlink()
    assert build.prepare(target, environment)
    assert zipfile.is_zipfile(only_wheel(environment))
    capfd.readouterr()
    assert build.prepare(target, environment, force=True)
    assert "compiling" in capfd.readouterr().err


def test_a_cache_that_cannot_be_written_costs_only_the_reuse(target, environment, tmp_path, capfd):
    (tmp_path / "wheels").write_text("a file where the folder should be", encoding="utf-8")
    assert build.prepare(target, environment)
    assert "the wheel is not kept for the next time" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        ("fatal error: x.o: No space left on device", "the disk is full"),
        ("c++: fatal error: Killed signal terminated program cc1plus", "there is too little memory"),
        ("-- Could NOT find Vulkan", "the Vulkan SDK is missing"),
        ("something nobody has seen", "the compiler or CMake failed"),
    ],
)
def test_a_failed_compilation_names_the_cause_and_the_log(target, environment, tmp_path, words, cause):
    with pytest.raises(build.BuildError) as caught:
        build.compile_wheel(target, tmp_path, {**environment, "CMAKE_ARGS": "", "FAIL_WITH": words})
    message, hint = caught.value.args
    found = re.fullmatch(rf"llama-cpp-python: {cause}; log: (.*\.log)", message)
    assert found
    log = Path(found[1])
    assert words in log.read_text(encoding="utf-8")
    shutil.rmtree(log.parent)
    assert hint


def test_a_missing_compiler_is_named_before_anything_starts(target, environment, tmp_path):
    with pytest.raises(build.BuildError, match="no C and C\\+\\+ compiler"):
        build.compile_wheel(target, tmp_path, {**environment, "CC": "/no/such/compiler"})


def test_errors_of_the_command_are_two_lines(capfd):
    assert build.main(["--python", "no-such-python"]) == 1
    assert capfd.readouterr() == (
        "",
        "error: `no-such-python` does not run\nhint: name a Python with `--python`\n",
    )


def test_it_runs_by_its_path_without_any_package(tmp_path):
    command = [sys.executable, "-I", "-S", str(PROGRAM), "--print-key", "--python", sys.executable]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert re.fullmatch(r"[0-9a-f]{24}\n", done.stdout)
    assert done.stderr == ""


def test_every_ingredient_changes_the_key(target, environment, tmp_path, monkeypatch):
    # A space in the path, and an argument: CC may hold both.
    fake = tmp_path / "my compiler.py"
    python = Path(sys.executable).as_posix()

    def key(changed=None, **variables):
        return build.key_of(build.parts_of(changed or target, {**environment, **variables}))

    keys = [
        key(),
        key(CMAKE_ARGS="-DGGML_CUDA=on"),
        key(CFLAGS="-O1"),
        key(CXXFLAGS="-O1"),
        key(LDFLAGS="-s"),
    ]
    for variable in ("CC", "CXX"):
        for version in ("13.1", "13.2"):
            fake.write_text(f"print('mycc {version}')", encoding="utf-8")
            keys.append(key(**{variable: f"'{python}' '{fake.as_posix()}'"}))
    keys.append(key(build.Target(target.python, "another-platform", target.packages)))
    for name, value in (
        ("VERSION", "0.3.37"),
        ("cpu_features", lambda: "flags: one"),
        ("CMAKE_INCLUDE", PROGRAM),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(build, name, value)
            keys.append(key())
    with monkeypatch.context() as patch:
        patch.setitem(build.RECIPE, "cmake_flags", ["-DANOTHER=ON"])
        keys.append(key())
    assert len(set(keys)) == len(keys)
    assert key() == keys[0]


def test_processor_and_compiler_are_known_here():
    assert build.cpu_features()
    assert all(build.compilers(os.environ))


@pytest.mark.parametrize(
    ("variables", "folder"),
    [
        ({"PHI4LOCAL_CACHE": "/chosen"}, Path("/chosen")),
        ({"XDG_CACHE_HOME": "/cache"}, Path("/cache/phi4local/wheels")),
        ({}, Path("~/.cache/phi4local/wheels").expanduser()),
    ],
)
def test_cache_folder(variables, folder, monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    assert build.cache_folder(variables) == folder


def test_a_wheel_made_elsewhere_is_installed_without_compiling(
    target, environment, serve, wheel_bytes, capfd
):
    url = serve(respond(wheel_bytes))
    named = {
        "PHI4LOCAL_LLAMA_WHEEL": url,
        "PHI4LOCAL_LLAMA_WHEEL_SHA256": hashlib.sha256(wheel_bytes).hexdigest(),
    }
    assert build.prepare(target, {**environment, **named})
    assert told(target) == "made elsewhere"
    assert "compiling" not in capfd.readouterr().err
    assert only_wheel(environment).read_bytes() == wheel_bytes


def test_a_wheel_with_another_hash_is_never_installed(target, environment, serve, wheel_bytes, capfd):
    named = {"PHI4LOCAL_LLAMA_WHEEL": serve(respond(wheel_bytes)), "PHI4LOCAL_LLAMA_WHEEL_SHA256": "0" * 64}
    assert build.prepare(target, {**environment, **named})
    assert told(target) != "made elsewhere"
    assert "does not have the sha256" in capfd.readouterr().err
    assert only_wheel(environment).read_bytes() != wheel_bytes


def test_a_wheel_made_elsewhere_is_no_answer_to_cmake_args(target, environment, serve, wheel_bytes):
    hexadecimal = hashlib.sha256(wheel_bytes).hexdigest()
    named = {
        "PHI4LOCAL_LLAMA_WHEEL": serve(respond(wheel_bytes)),
        "PHI4LOCAL_LLAMA_WHEEL_SHA256": hexadecimal,
    }
    build.prepare(target, {**environment, **named, "CMAKE_ARGS": "-DGGML_VULKAN=on"})
    assert told(target)["CMAKE_ARGS"] == "-DGGML_VULKAN=on"
    assert serve.requests == []


def test_without_a_hash_or_with_another_name_nothing_is_asked(tmp_path, serve, wheel_bytes):
    url, sha256 = serve(respond(wheel_bytes)), hashlib.sha256(wheel_bytes).hexdigest()
    assert build.fetch_prebuilt(url, "", tmp_path) is None
    assert build.fetch_prebuilt(url.replace(build.VERSION, "0.3.35"), sha256, tmp_path) is None
    assert build.fetch_prebuilt(url.replace("http:", "file:"), sha256, tmp_path) is None
    assert build.fetch_prebuilt(url.rpartition("/")[0] + "/..%2F..%2Fx.whl", sha256, tmp_path) is None
    assert serve.requests == []


def test_a_server_that_refuses_or_is_gone_is_no_error(tmp_path, serve, capfd):
    url = serve(lambda handler: handler.send_error(404))
    assert build.fetch_prebuilt(url, "0" * 64, tmp_path) is None
    assert build.fetch_prebuilt("http://127.0.0.1:9/" + WHEEL_NAME, "0" * 64, tmp_path) is None
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("after_headers", [False, True])
def test_a_server_that_stalls_costs_the_time_limit(tmp_path, serve, after_headers):
    released = threading.Event()

    def stall(handler):
        if after_headers:
            handler.send_response(200)
            handler.end_headers()
        if not released.wait(20):
            released.set()  # nobody gave up

    assert build.fetch_prebuilt(serve(stall), "0" * 64, tmp_path, seconds=0.2) is None
    assert not released.is_set()
    released.set()


def test_a_server_that_drips_is_left(tmp_path, serve):
    sent = 0

    def drip(handler):
        nonlocal sent
        handler.send_response(200)
        handler.end_headers()
        try:
            for _ in range(1000):
                handler.wfile.write(b"x")
                sent += 1
                time.sleep(0.01)
        except OSError:
            pass

    assert build.fetch_prebuilt(serve(drip), "0" * 64, tmp_path, seconds=0.05) is None
    assert sent < 1000
