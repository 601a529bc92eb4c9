"""A store of its own for every test, and small models in it."""

import hashlib

import pytest

from phi4local.store import installed
from phi4local.store.home import make_work_folder
from phi4local.store.manifests import Origin
from phi4local.store.names import ModelName
from tests.hubs.fixtures import huggingface, modelscope, no_secrets, registry  # noqa: F401


@pytest.fixture
def keep(home):
    """`keep("a:Q8_0", b"bytes")`: a model of these bytes, and its file."""

    def keep(name, content=b"GGUF content", member=None):
        written = make_work_folder("test") / "model.gguf"
        written.write_bytes(content)
        reference = ModelName.parse(name)
        digest = hashlib.sha256(content).hexdigest()
        origin = Origin(source="test", fingerprint=digest, quantization="Q8_0")
        return installed.keep_converted(written, reference, origin, member)

    return keep


@pytest.fixture
def blob(home):
    """`blob(b"bytes")`: where the store keeps these bytes."""
    return lambda content: home / "models" / "blobs" / f"sha256-{hashlib.sha256(content).hexdigest()}"
