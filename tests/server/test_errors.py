"""Every error of the tree has a status that was thought about, and a dead engine is an error, not the end."""

import os
import signal
import sys
from pathlib import Path

import openai
import pytest

from phi4local import errors
from phi4local.errors import Phi4LocalError
from phi4local.server.errors import status_of
from tests.served import ServedProcess

NOT_THE_CLIENTS_FAULT = {
    *("ServerError", "AddressInUseError", "EngineError", "LibraryMissingError", "ModelLoadError"),
    *("EngineCrashedError", "NonFiniteLogitsError", "FileWriteError", "Phi4LocalError"),
}
"""500 on purpose, in requests of OpenAI's dialect."""
NEVER_IN_A_REQUEST = (
    *(errors.FileFormatError, errors.ConversionError, errors.MissingExtraError, errors.GuardCheckError),
    *(errors.ModelfileError, errors.UnknownTemplateError, errors.NothingToExtractError),
    *(errors.UnknownResultError, errors.AmbiguousNameError, errors.NoTurnError, errors.TrainingError),
    *(errors.NoServerError, errors.EvaluationBusyError),
)
"""Trouble with files of this machine, or of commands: 500 too, when it happens all the same."""


def tree(kind=Phi4LocalError):
    yield kind
    for child in kind.__subclasses__():
        yield from tree(child)


def test_every_error_has_a_status_on_purpose():
    server_fault = {
        kind.__name__
        for kind in tree()
        if kind.__module__.startswith("phi4local.errors")
        and status_of(kind.__new__(kind)) == 500
        and not issubclass(kind, NEVER_IN_A_REQUEST)
    }
    assert server_fault <= NOT_THE_CLIENTS_FAULT


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("InvalidSettingError", 400),
        ("ContextTooLongError", 400),
        ("GuardRefusedError", 400),
        ("ModelNotInstalledError", 404),
        ("EngineBusyError", 429),
        ("NotEnoughMemoryError", 503),
        ("EngineRestartError", 503),
        ("RequestTimeoutError", 504),
    ],
)
def test_errors_have_the_status_that_clients_expect(kind, status):
    found = getattr(errors, kind)
    assert status_of(found.__new__(found)) == status


def children(pid):
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]


@pytest.mark.skipif(sys.platform != "linux", reason="looks for the engine's process in /proc")
def test_dead_engine_is_an_error_in_the_stream_and_the_next_answer_is_right(native_library):
    story = [{"role": "user", "content": "Tell me a long story."}]
    endless = {"logit_bias": {str(token): -100 for token in range(8096, 8192)}, "max_tokens": 1900}
    with ServedProcess("phi4-nano") as server:
        with openai.OpenAI(base_url=f"{server.address}/v1", api_key="none", max_retries=0) as client:
            stream = iter(
                client.chat.completions.create(model="phi4-nano", messages=story, stream=True, **endless)
            )
            for _ in range(5):
                next(stream)
            (engine,) = children(server.process.pid)
            os.kill(engine, signal.SIGKILL)
            with pytest.raises(openai.APIError, match="engine process"):
                list(stream)
            question = [{"role": "user", "content": "What is 3 plus 4?"}]
            answer = client.chat.completions.create(model="phi4-nano", messages=question, temperature=0)
            assert answer.choices[0].message.content == "3 plus 4 is 7."
        assert server.stop() == 0
