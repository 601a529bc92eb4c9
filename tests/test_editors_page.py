"""docs/editors.md: every setting is well-formed, and names the server's address and a model that exists."""

import ast
import json
import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from phi4local import catalog
from phi4local.server.app import ROUTERS
from phi4local.server.options import DEFAULT_PORT

PAGE = Path(__file__).parents[1] / "docs" / "editors.md"
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
SETTINGS = [(language, code) for language, code in BLOCKS if language != "sh"]
ADDRESS_KEYS = ("apiBase", "api_url", "url", "api_base", "openai-api-base", "OPENAI_API_BASE_URL", "base_url")
MODEL_KEYS = ("model", "id", "name", "model_name")
CONTEXT_KEYS = ("contextLength", "max_tokens", "context_window", "maxInputTokens")


def parsed(language, code):
    """Return the values of a setting, as its program reads them."""
    if language == "json":
        return json.loads(code)
    if language == "yaml":
        return pytest.importorskip("yaml").safe_load(code)
    tree = ast.parse(code)
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [{word.arg: ast.literal_eval(word.value) for word in call.keywords} for call in calls]


def pairs(value):
    """Yield every key with its value, at any depth."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key, inner
            yield from pairs(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from pairs(inner)


@pytest.mark.parametrize(("language", "code"), SETTINGS, ids=[code.split("\n")[0] for _, code in SETTINGS])
def test_a_setting_names_the_server_and_a_model(language, code):
    if language in ("json", "yaml", "python"):
        found = list(pairs(parsed(language, code)))
        addresses = [value for key, value in found if key in ADDRESS_KEYS]
        contexts = [value for key, value in found if key in CONTEXT_KEYS]
        models = {value for key, value in found if key in MODEL_KEYS}
        assert all(0 < one <= catalog.find("phi-4").architecture.context_tokens for one in contexts)
        assert models & {"phi-4", "openai/phi-4"} or "services" in parsed(language, code)
    else:  # Lua and Emacs Lisp
        assert code.count("(") == code.count(")")
        assert code.count("{") == code.count("}")
        host = re.findall(r'"((?:http://)?127\.0\.0\.1:\d+[^"]*)"', code)
        addresses = [one if one.startswith("http") else f"http://{one}" for one in host]
        assert re.search(r"\bphi-4\b", code)
    assert addresses
    paths = {str(route.path) for router in ROUTERS for route in router.routes}
    for address in addresses:
        parts = urlsplit(address)
        assert parts.hostname in ("127.0.0.1", "host.docker.internal")
        assert (parts.scheme, parts.port) == ("http", DEFAULT_PORT)
        path = parts.path.removesuffix("/v1").removesuffix("/chat/completions").removesuffix("/v1")
        assert path == ""
        assert "/v1/chat/completions" in paths


def test_every_number_of_a_port_and_every_model_on_the_page_is_right():
    text = PAGE.read_text(encoding="utf-8")
    assert set(re.findall(r"(?:127\.0\.0\.1|internal):(\d+)", text)) == {str(DEFAULT_PORT)}
    named = set(re.findall(r"phi4local serve (phi-4[\w.-]*)", text))
    assert named <= set(catalog.model_names())
    assert len({language for language, _ in SETTINGS}) == 5
