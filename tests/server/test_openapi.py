"""The OpenAPI document, and requests that follow it or do not: the server never fails."""

import contextlib

import hypothesis
import pytest
import schemathesis
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

CHECKS = (
    not_a_server_error,
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
CHANGING = r"/(pull|delete|create|copy|push|blobs)"
"""Addresses that would change what is on this machine, or ask another one."""


@pytest.fixture(scope="session")
def api(served):
    return schemathesis.openapi.from_url(f"{served.address}/openapi.json").exclude(path_regex=CHANGING)


def ask(case):
    """Send a request; the model is one that is there, and answers are short."""
    if isinstance(case.body, dict):
        case.body["model"] = "phi4-nano"
        if case.path.startswith("/api/"):
            shorten_ollamas(case.body)
        else:
            shorten(case.path, case.body)
    case.call_and_validate(checks=CHECKS)


def shorten(path, body):
    """Let an answer of OpenAI's dialect have four tokens."""
    limits = {"max_tokens", "max_completion_tokens", "max_output_tokens"} & set(body)
    for limit in limits:
        if isinstance(body[limit], int) and body[limit] > 4:
            body[limit] = 4
    usual = {"/v1/responses": "max_output_tokens"}.get(path, "max_tokens" if "messages" in body else None)
    if usual and not limits:
        body[usual] = 4


def shorten_ollamas(body):
    """Let an answer of Ollama's dialect have four tokens, unless its options are wrong anyway."""
    options = body.get("options") or {}
    if isinstance(options, dict):
        body["options"] = {**options, "num_predict": 4}


def explore(api, examples):
    """Ask every address: as the document says, and as it does not."""
    asked = 0

    def check(case):
        nonlocal asked
        asked += 1
        ask(case)

    settings = hypothesis.settings(
        max_examples=examples,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    for operation in (found.ok() for found in api.get_all_operations()):
        for mode in schemathesis.GenerationMode:
            cases = operation.as_strategy(generation_mode=mode)
            with contextlib.suppress(hypothesis.errors.Unsatisfiable):  # some have nothing to be wrong about
                settings(hypothesis.given(case=cases)(check))()
    return asked


def test_requests_of_openais_dialect_are_answered_or_refused(api):
    assert (
        explore(api.include(path_regex="^/(v1/(chat|completions|responses|embeddings|models)|health)"), 6)
        >= 30
    )


def test_requests_of_ollamas_dialect_are_answered_or_refused(api):
    assert explore(api.include(path_regex="^/api/"), 4) >= 30


@pytest.mark.full
def test_a_thousand_requests_are_answered_or_refused(api):
    assert explore(api, 200) >= 1000
