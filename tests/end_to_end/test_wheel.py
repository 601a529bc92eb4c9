"""The wheel: what is inside, and that it answers in an environment that has no checkout."""

import json
import os
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from pathlib import Path, PurePosixPath

import pytest

CHECKOUT = Path(__file__).parents[2]
MODELS = CHECKOUT / "models"
LIMIT_BYTES = 40_000_000
"""The embedded checkpoint and some room; a stray GGUF or training set would not fit."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(command, cwd=CHECKOUT, check=True, capture_output=True, timeout=60)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def names(wheel):
    return zipfile.ZipFile(wheel).namelist()


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """An environment with the wheel, and the libraries of this one."""
    folder = tmp_path_factory.mktemp("a new home") / "env"
    venv.create(folder, with_pip=False)
    scripts = folder / ("Scripts" if sys.platform == "win32" else "bin")
    python = scripts / ("python.exe" if sys.platform == "win32" else "python")
    command = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(python),
        "install",
        "--quiet",
        "--no-index",
        "--no-deps",
    ]
    subprocess.run([*command, str(wheel)], check=True, timeout=60)
    packages = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    # A path line adds a folder and does not read the .pth files in it: the editable checkout stays outside.
    libraries = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    Path(packages, "libraries.pth").write_text("\n".join(libraries) + "\n", encoding="utf-8")
    return scripts


def run(installed, cwd, *command):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.run(
        [installed / command[0], *command[1:]],
        cwd=cwd,
        env={**environment, "PYTHONUTF8": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )


def test_it_brings_one_import_name(names):
    top = {PurePosixPath(name).parts[0] for name in names}
    assert {name for name in top if not name.endswith(".dist-info")} == {"phi4local"}


def test_it_brings_the_manifests_and_the_embedded_checkpoint(names):
    index = json.loads((MODELS / "phi4-nano" / "model.safetensors.index.json").read_text(encoding="utf-8"))
    needed = {path.name for path in MODELS.glob("*.toml")}
    checkpoint = {"config.json", "tokenizer.json", "expected-greedy.json", *index["weight_map"].values()}
    needed |= {f"phi4-nano/{name}" for name in (*checkpoint, "model.safetensors.index.json")}
    assert {f"phi4local/models/{name}" for name in needed} - set(names) == set()


def test_it_brings_the_recipes(names):
    folder = CHECKOUT / "convert" / "recipes"
    recipes = {f"phi4local/recipes/{path.name}" for path in (*folder.glob("*.toml"), *folder.glob("*.txt"))}
    assert len(recipes) > 2
    assert {name for name in names if name.startswith("phi4local/recipes/")} == recipes


def test_it_brings_the_web_page(names):
    folder = CHECKOUT / "phi4local" / "server" / "page" / "static"
    page = {f"phi4local/server/page/static/{path.name}" for path in folder.iterdir()}
    assert len(page) > 10
    assert page - set(names) == set()


def test_it_brings_what_build_py_reads(names):
    assert {f"phi4local/native/build.{ending}" for ending in ("py", "cmake", "toml")} - set(names) == set()


def test_it_brings_no_training_data_and_nothing_that_tools_left(names):
    unwanted = (".jsonl", ".jsonl.gz", ".npz", ".pyc", ".gguf", ".partial")
    assert [name for name in names if name.endswith(unwanted) or "/training/" in name] == []


def test_it_is_small(wheel):
    assert wheel.stat().st_size < LIMIT_BYTES


def test_its_version_is_the_projects(wheel):
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert wheel.name == f"phi4local-{project['version']}-py3-none-any.whl"


@pytest.mark.usefixtures("native_library")
def test_it_answers_from_another_folder(installed, tmp_path):
    where = run(installed, tmp_path, "python", "-c", "import phi4local; print(phi4local.__file__)")
    assert Path(where.stdout.strip()).is_relative_to(installed.parent), where.stderr
    answer = run(installed, tmp_path, "phi4local", "run", "phi4-nano", "Hello")
    assert (answer.returncode, bool(answer.stdout.strip())) == (0, True), answer.stderr
