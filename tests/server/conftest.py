"""One server for all tests of a worker process, and the model that it serves, opened here too."""

import pytest

import phi4local
from tests.served import ServedProcess


@pytest.fixture(scope="session")
def served(native_library):
    """`phi4local serve phi4-nano`, in a process of its own."""
    with ServedProcess("phi4-nano") as server:
        yield server
        assert server.stop() == 0


@pytest.fixture(scope="session")
def nano(native_library):
    """The same model through the Python interface: what the server's answers must equal."""
    with phi4local.load("phi4-nano") as model:
        yield model
