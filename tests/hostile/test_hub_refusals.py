"""Every refusal of the three services becomes one line that says what, and one that says what to do."""

import pytest

from phi4local import errors
from phi4local.store import http, sources
from phi4local.store.references import parse
from tests.hostile import hub_refusals
from tests.hubs import HuggingFaceHub, ModelScopeHub, OllamaRegistry

PLACES = {
    "huggingface": (HuggingFaceHub, "HF_ENDPOINT", "hf.co/u/r", hub_refusals.HUGGINGFACE),
    "modelscope": (ModelScopeHub, "MODELSCOPE_ENDPOINT", "modelscope.cn/u/r", hub_refusals.MODELSCOPE),
    "registry": (OllamaRegistry, "PHI4LOCAL_REGISTRY", "phi4:14b", hub_refusals.REGISTRY),
}


@pytest.mark.parametrize(
    ("place", "case"), [(place, case) for place, (*_, cases) in PLACES.items() for case in cases]
)
def test_a_refusal_is_explained_in_two_lines(place, case, monkeypatch):
    kind, variable, name, cases = PLACES[place]
    fault, expected, message, hint = cases[case]
    monkeypatch.setattr(http, "FIRST_WAIT_SECONDS", 0.01)
    with kind() as hub:
        monkeypatch.setenv(variable, hub.url)
        if place == "huggingface":
            hub.add("u/r", {"x.gguf": b"x"})  # or its answers carry a code of their own
        hub.faults = [fault]
        with pytest.raises(errors.DownloadError) as caught:
            sources.resolve(parse(name))
    error = caught.value
    assert type(error) is getattr(errors, f"{expected}Error")
    assert message in str(error)
    assert hint in error.hint
    for line in (str(error), error.hint):
        assert line.isprintable()
        assert 5 < len(line) < 400
        assert "<" not in line


def test_words_of_a_server_that_repeats_a_token_do_not_show_it(monkeypatch):
    for words in ("Bearer hf_secret is wrong", "bad token hf_secret", "see https://x.test/?sig=secret"):
        reply = http.Reply(status=400, headers={}, body=words.encode(), url="https://hf.co/x")
        assert "secret" not in sources.refusals.said(reply)


@pytest.mark.parametrize(
    ("place", "case"),
    [("huggingface", "no or private"), ("modelscope", "not there"), ("registry", "newer client")],
)
def test_the_command_line_says_it_in_two_lines(place, case, run_cli, tmp_path):
    kind, variable, name, cases = PLACES[place]
    fault, _, message, hint = cases[case]
    with kind() as hub:
        hub.faults = [fault]
        environment = {variable: hub.url, "HF_TOKEN": "hf_secret", "PHI4LOCAL_HOME": str(tmp_path / "home")}
        result = run_cli(["pull", name, "--yes"], env=environment)
    lines = [line for line in result.stderr.splitlines() if line.strip()]
    assert (result.returncode, result.stdout) == (1, "")
    assert [line.split(":")[0] for line in lines] == ["error", "hint"], result.stderr
    assert message in lines[0]
    assert hint in lines[1]
    assert "secret" not in result.stderr
    assert not [path for path in (tmp_path / "home").rglob("*") if path.is_file() and path.suffix != ".lock"]
