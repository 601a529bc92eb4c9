"""What every test gets: its own PHI4LOCAL_HOME, no network, the commands as processes, and `--full`."""

from __future__ import annotations

import atexit
import collections
import importlib.metadata
import importlib.util
import ipaddress
import json
import os
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import hypothesis
import pytest

# A busy machine is no failure: nothing here is judged by the clock.
hypothesis.settings.register_profile("phi4local", deadline=None)
hypothesis.settings.load_profile("phi4local")

CHECKOUT = Path(__file__).parents[1]
HOME = Path(tempfile.mkdtemp(prefix="phi4local-tests-"))
"""One for each process of a run, so that the embedded model is converted once there."""

# Set at import, so that processes which a test starts by itself have them too.
os.environ["PHI4LOCAL_HOME"] = str(HOME)
os.environ["PHI4LOCAL_CACHE"] = str(HOME / "cache")
os.environ["PHI4LOCAL_REUSE"] = "0"  # what this machine's other programs hold is no part of a test
os.environ["PHI4LOCAL_SERVER"] = "off"  # a test's own server is nobody else's
for name in (
    "FORCE_COLOR",
    "CLICOLOR_FORCE",
    "COLUMNS",
    "LINES",
    "PHI4LOCAL_DEBUG",
    "HF_TOKEN",
    "HF_ENDPOINT",
):
    os.environ.pop(name, None)
# Many tests run beside others; the ones about waiting threads take this out again.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
atexit.register(shutil.rmtree, HOME, ignore_errors=True)


@dataclass(frozen=True)
class CompletedRun:
    """What one command left behind."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture(scope="session")
def phi4local_home():
    """The folder that phi4local keeps its files in during this run."""
    return HOME


@pytest.fixture(scope="session")
def checkpoint():
    """The embedded checkpoint."""
    return CHECKOUT / "models" / "phi4-nano"


@pytest.fixture(scope="session")
def native_library():
    """llama.cpp. A person may test without it; a CI that lost it must not stay green."""
    if importlib.util.find_spec("llama_cpp") is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(
            "llama_cpp is not installed: make setup"
        )


@pytest.fixture(scope="session")
def run_cli():
    """`run_cli(["run", "phi4-nano", "Hello"])`: a real process, its exit code and both streams.

    `input` goes to stdin, which is empty without it; `env` is added to the environment, and a variable that
    is `None` there is taken out.
    """

    def run(arguments, input=None, env=None, cwd=None, timeout_seconds=120):  # noqa: A002 - as in subprocess
        merged = {**os.environ, **(env or {})}
        done = subprocess.run(
            [sys.executable, "-m", "phi4local", *map(str, arguments)],
            input=(input or "").encode(),
            env={name: value for name, value in merged.items() if value is not None},
            cwd=cwd,
            timeout=timeout_seconds,
            capture_output=True,
            check=False,
        )
        return CompletedRun(done.returncode, _text(done.stdout), _text(done.stderr))

    return run


def _text(data: bytes) -> str:
    text = data.decode("utf-8")
    return text.replace("\r\n", "\n") if sys.platform == "win32" else text


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    """Fail a test that leaves this machine; `pytest.fail` is no `Exception`, so nothing swallows it."""
    connect, connect_ex = socket.socket.connect, socket.socket.connect_ex

    def guard(original):
        def guarded(self, address):
            if self.family in (socket.AF_INET, socket.AF_INET6) and not _is_loopback(address[0]):
                pytest.fail(f"a test tried to reach {address[0]}")
            return original(self, address)

        return guarded

    monkeypatch.setattr(socket.socket, "connect", guard(connect))
    monkeypatch.setattr(socket.socket, "connect_ex", guard(connect_ex))


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def pytest_addoption(parser):
    parser.addoption("--full", action="store_true", help="the full counts of every bar; takes much longer")
    parser.addoption(
        "--shard", default="1/1", help="I/N: every Nth test from the Ith on, to share among processes"
    )


def pytest_configure(config):
    if hasattr(config, "workerinput"):  # pytest-xdist: the reports of its processes come to the first one
        return
    everything = config.args_source is pytest.Config.ArgsSource.TESTPATHS and not config.option.keyword
    if config.getoption("--full") and everything and config.getoption("--shard") == "1/1":
        config.pluginmanager.register(FullReport(), "full-report")


def pytest_collection_modifyitems(config, items):
    full = config.getoption("--full")
    number, _, count = config.getoption("--shard").partition("/")
    wanted = [item for item in items if full or not item.get_closest_marker("full")]
    share = wanted[int(number) - 1 :: int(count)]
    chosen = set(share)
    left_out = [item for item in items if item not in chosen]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = share


def pytest_unconfigure():
    shutil.rmtree(HOME, ignore_errors=True)  # processes of pytest-xdist end without `atexit`


class FullReport:
    """Count outcomes by folder, and write them to benchmarks/results/test-full.json."""

    PACKAGES = ("llama-cpp-python", "gguf", "numpy", "transformers", "tokenizers", "pytest")

    def __init__(self):
        self.started = time.monotonic()
        self.outcomes = collections.defaultdict(collections.Counter)

    def pytest_runtest_logreport(self, report):
        # A failed or skipped set-up is the outcome; otherwise the call is. A failing tear-down counts too.
        if report.when == "call" or report.outcome != "passed":
            folder = Path(report.nodeid.partition("::")[0]).parent.as_posix()
            self.outcomes[folder][report.outcome] += 1

    def pytest_sessionfinish(self, exitstatus):
        total = sum(self.outcomes.values(), collections.Counter())
        result = {
            "command": "pytest --full",
            "exit_status": int(exitstatus),
            "tests": dict(sorted(total.items())),
            "by_folder": {folder: dict(sorted(n.items())) for folder, n in sorted(self.outcomes.items())},
            "duration_seconds": round(time.monotonic() - self.started, 1),
            "system": f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors",
            "versions": {"python": platform.python_version(), **dict(map(_version, self.PACKAGES))},
        }
        path = CHECKOUT / "benchmarks" / "results" / "test-full.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def _version(package: str) -> tuple[str, str]:
    try:
        return package, importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return package, "not installed"
