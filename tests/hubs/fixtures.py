"""The three hubs as fixtures, with an environment in which every name leads to them.

Import them where they are used: `from tests.hubs.fixtures import huggingface  # noqa: F401`.
"""

import pytest

from phi4local.store import http
from tests.hubs import HuggingFaceHub, ModelScopeHub, OllamaRegistry

TOKENS = (
    "HF_TOKEN",
    "HF_HUB_OFFLINE",
    "MODELSCOPE_API_TOKEN",
    "PHI4LOCAL_REGISTRY_AUTH",
    "PHI4LOCAL_OFFLINE",
)


@pytest.fixture
def no_secrets(monkeypatch, tmp_path):
    """No token of a person, and no long waits."""
    for name in (*TOKENS, "PHI4LOCAL_TRUST_ENDPOINT", "MODELSCOPE_DOMAIN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.setattr(http, "FIRST_WAIT_SECONDS", 0.01)


@pytest.fixture
def huggingface(no_secrets, monkeypatch):
    with HuggingFaceHub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        yield hub


@pytest.fixture
def modelscope(no_secrets, monkeypatch):
    with ModelScopeHub() as hub:
        monkeypatch.setenv("MODELSCOPE_ENDPOINT", hub.url)
        yield hub


@pytest.fixture
def registry(no_secrets, monkeypatch):
    with OllamaRegistry() as hub:
        monkeypatch.setenv("PHI4LOCAL_REGISTRY", hub.url)
        yield hub
