"""What the tests with faults share."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from tests.hostile.fault_runner import FaultRunner


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
