"""docs/service.md: the examples are well-formed, their options exist, and answers have time to end."""

import configparser
import os
import plistlib
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import typer

from phi4local.cli import app

PAGE = (Path(__file__).parents[1] / "docs" / "service.md").read_text(encoding="utf-8")
UNIT, NAMESPACES = re.findall(r"^```ini\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
(PLIST,) = re.findall(r"^```xml\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def unit(text):
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str
    parser.read_string(text)
    return parser


def stop_seconds(command):
    """Return `--stop-seconds` of a command line, all of whose options exist."""
    parsed = typer.main.get_command(app).commands["serve"].make_context("serve", list(command[2:]))
    assert command[1] == "serve"
    assert parsed.params["model"] == "phi-4"
    assert parsed.params["api_key_file"].name == "keys"
    assert parsed.params["access_log"].endswith("/.phi4local/access.jsonl")
    return parsed.params["stop_seconds"]


def test_systemd_waits_for_answers_and_stops_the_server_before_its_engine():
    service = unit(UNIT)["Service"]
    assert int(service["TimeoutStopSec"]) > stop_seconds(service["ExecStart"].split())
    assert service["KillMode"] == "mixed"
    assert service["NoNewPrivileges"] == "yes"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
@pytest.mark.parametrize("text", [UNIT, UNIT + NAMESPACES], ids=["unit", "with namespaces"])
def test_systemd_finds_nothing_wrong_with_the_unit(text, tmp_path):
    program = tmp_path / "phi4local"
    program.write_text("#!/bin/sh\n", encoding="utf-8")
    program.chmod(0o755)
    file = tmp_path / "phi4local.service"
    file.write_text(text.replace("%h/phi4local/.venv/bin/phi4local", str(program)), encoding="utf-8")
    done = subprocess.run(
        ["systemd-analyze", "--user", "verify", file],
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_launchd_waits_for_answers():
    found = plistlib.loads(PLIST.encode())
    assert found["ExitTimeOut"] > stop_seconds(found["ProgramArguments"])
    assert found["Umask"] == 0o077
    assert found["KeepAlive"] == {"SuccessfulExit": False}
    assert all(path.startswith("/") for path in (found["ProgramArguments"][0], found["StandardErrorPath"]))
