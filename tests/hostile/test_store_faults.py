"""The store when the disk fails or its process is killed at any call: models are whole, or not there."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from phi4local.store import installed, kept, remove, verify
from phi4local.store.home import make_work_folder
from phi4local.store.manifests import Origin
from phi4local.store.names import ModelName
from tests.hostile.faults import SIGKILL, Fault
from tests.random_checkpoint import write_random_checkpoint

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="counts calls that Windows has not")
CALLS = ("open", "read", "write", "sync", "rename", "remove", "list")
SAMPLED_CALLS = ("write", "sync", "rename", "remove")
SAMPLED = (("over another", SIGKILL), ("create", SIGKILL), ("rm", SIGKILL), ("over another", "EIO"))
COMMANDS = {
    "import": ["import", "FILE", "--name", "new:Q8_0", "--copy"],
    "import, linked": ["import", "FILE", "--name", "new:Q8_0"],
    "over another": ["import", "FILE", "--name", "old:Q8_0", "--copy"],
    "create": ["create", "new:Q8_0", "-f", "MODELFILE"],
    "cp": ["cp", "old:Q8_0", "new:Q8_0"],
    "rm": ["rm", "old:Q8_0"],
    "prune": ["prune", "--all"],
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, native_library: None) -> dict[str, Path]:
    """Two models of a few kilobytes and a Modelfile."""
    from phi4local.convert import convert_checkpoint

    folder = tmp_path_factory.mktemp("files")
    checkpoint = write_random_checkpoint(folder / "c")
    found = {"FILE": folder / "new.gguf", "OLD": folder / "old.gguf", "MODELFILE": folder / "Modelfile"}
    convert_checkpoint(checkpoint, found["FILE"], "Q8_0")
    convert_checkpoint(checkpoint, found["OLD"], "F16")
    found["MODELFILE"].write_text("FROM old:Q8_0\nSYSTEM You are Pip.\nPARAMETER temperature 0.5\n")
    return found


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PHI4LOCAL_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def numbers(count: int, *, sampled: bool) -> list[int]:
    """Every call; of many, the first, the last and one between."""
    return sorted({1, (count + 1) // 2, count} - {0}) if sampled and count else list(range(1, count + 1))


def cases() -> Iterator[object]:
    for command in COMMANDS:
        for failure in (SIGKILL, "EIO"):
            if (command, failure) in SAMPLED:
                yield pytest.param(command, failure, True, id=f"{command}, {failure}")
            full = f"{command}, {failure}, every call"
            yield pytest.param(command, failure, False, id=full, marks=pytest.mark.full)


@pytest.mark.parametrize(("command", "failure", "sampled"), [*cases()])
def test_a_fault_at_any_call_leaves_whole_models(
    command: str, failure: str, sampled: bool, files: dict[str, Path], home: Path, faulty: object
) -> None:
    arguments = [files.get(word, word) for word in COMMANDS[command]]
    template = home.with_name("template")
    prepare(files["OLD"], template, faulty)

    def run(fault: Fault | None):
        shutil.rmtree(home, ignore_errors=True)
        shutil.copytree(template, home, symlinks=True)
        return faulty.run(arguments, watch=[home], fault=fault, home=home)

    untouched = run(None)
    assert untouched.returncode == 0, untouched.stderr
    after = state()
    for call in SAMPLED_CALLS if sampled else CALLS:
        for number in numbers(untouched.calls.get(call, 0), sampled=sampled):
            outcome = run(Fault(call=call, number=number, failure=failure))
            case = (call, number, outcome.stderr)
            assert outcome.returncode in ((-9,) if failure == SIGKILL else (0, 1)), case
            if outcome.returncode == 1:
                assert [line.split(":")[0] for line in outcome.stderr.splitlines()] == ["error", "hint"], case
            seen = verify.verify()
            assert seen.findings == (), (case, seen.findings)
            for model in installed.installed():
                assert digest(installed.ready_path(model)) == model.manifest.of_kind("model")[0].digest
            again = faulty.run(arguments, home=home)
            done = command == "rm" and "not on this machine" in again.stderr
            assert again.returncode == 0 or done, (case, again.stderr)
            assert state() == after, case
            remove.remove_partial()
            assert not list(home.rglob("*.partial")), case


def prepare(file: Path, home: Path, faulty: object) -> None:
    """Keep one model, and one blob that no model needs."""
    shutil.rmtree(home, ignore_errors=True)
    made = faulty.run(["import", file, "--name", "old:Q8_0", "--copy"], home=home)
    assert made.returncode == 0, made.stderr
    lonely = home / "models" / "blobs" / f"sha256-{hashlib.sha256(b'lonely').hexdigest()}"
    lonely.write_bytes(b"lonely")


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def state() -> dict[str, set[str]]:
    """Return what each name in the store stands for."""
    return {str(model.reference): model.manifest.digests() for model in installed.installed()}


def test_a_chat_goes_on_while_its_model_is_replaced_and_removed(
    home: Path, run_cli: object, checkpoint: Path, native_library: None, tmp_path: Path
) -> None:
    from phi4local.convert import convert_checkpoint

    convert_checkpoint(checkpoint, tmp_path / "nano.gguf", "Q8_0")
    convert_checkpoint(checkpoint, tmp_path / "other.gguf", "Q4_0")
    assert run_cli(["import", tmp_path / "nano.gguf", "--name", "mine:x", "--copy"]).returncode == 0
    expected = run_cli(["run", "mine:x", "What is 3 plus 4?"]).stdout
    with subprocess.Popen(
        [sys.executable, "-m", "phi4local", "chat", "mine:x"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        bufsize=1,
    ) as chat:
        chat.stdin.write("What is 3 plus 4?\n")
        assert chat.stdout.readline() == expected
        assert run_cli(["import", tmp_path / "other.gguf", "--name", "mine:x", "--copy"]).returncode == 0
        chat.stdin.write("Hello\n")
        assert chat.stdout.readline()
        assert run_cli(["rm", "mine:x"]).returncode == 0
        chat.stdin.write("Hello\n")
        assert chat.stdout.readline()
        chat.stdin.close()
        assert chat.wait() == 0
    assert installed.installed() == ()


def test_whoever_opens_a_model_that_is_replaced_and_removed_gets_whole_files(home: Path) -> None:
    """One thread replaces and removes, one prunes; the opener sees one content or the other, or no model."""
    contents = [bytes([value]) * 100_000 for value in (1, 2)]
    right = {hashlib.sha256(content).hexdigest() for content in contents}
    stop, problems = threading.Event(), []

    def replace() -> None:
        try:
            for turn in range(60):
                written = make_work_folder("replace") / "model.gguf"
                written.write_bytes(contents[turn % 2])
                name = ModelName.parse("m:x")
                installed.keep_converted(written, name, Origin(quantization="Q8_0"), None)
                if turn % 5 == 4:
                    remove.remove(name)
        except Exception as error:  # noqa: BLE001 - reported below
            problems.append(error)
        finally:
            stop.set()

    thread = threading.Thread(target=replace)
    thread.start()
    seen = set()
    while not stop.is_set():
        for model in installed.named("m"):
            try:
                seen.add(digest(installed.ready_path(model)))
            except (OSError, installed.StoreError):
                continue  # removed a moment ago
        remove.prune(grace_seconds=-1)
    thread.join()
    assert problems == []
    assert seen <= right
    assert kept.usage().unused_bytes == 0
