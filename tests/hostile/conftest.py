"""What the tests with faults and deaths share."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from phi4local import gguf
from phi4local.convert import convert_checkpoint
from phi4local.runtime.facts import file_facts
from tests.hostile.fault_runner import FaultRunner
from tests.hostile.worker_crowd import expected_cases


@pytest.fixture(scope="session")
def faulty():
    """`faulty.run(arguments, watch=[folder], fault=Fault(call="sync", number=1))`: see `FaultRunner`."""
    if not hasattr(os, "fork"):
        pytest.skip("needs os.fork")
    with tempfile.TemporaryDirectory() as folder, FaultRunner(Path(folder)) as runner:
        yield runner


@pytest.fixture
def open_folder():
    """Return a folder that every user may enter; pytest's own belong to one user."""
    folder = Path(tempfile.mkdtemp(prefix="phi4local-open-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def nano(checkpoint, native_library, tmp_path_factory):
    """phi4-nano in F32, whose greedy ids are those of transformers."""
    path = tmp_path_factory.mktemp("nano") / "nano.gguf"
    convert_checkpoint(checkpoint, path, "F32")
    return file_facts(gguf.validate(path)).model_file()


@pytest.fixture(scope="session")
def cases(checkpoint):
    """Prompts and the ids that transformers generated."""
    return expected_cases(checkpoint)
