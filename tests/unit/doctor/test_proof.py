"""What of the recorded answers is compared, and how a difference is told."""

import json
import sys
import tempfile

import pytest

from phi4local.doctor import proof
from phi4local.doctor.library import Library
from tests.broken_library import wrapped_package

CUDA = {"name": "CUDA0", "back_end": "CUDA"}
FULL = {
    "identity": 18,
    "story": 64,
    "sky": 33,
    "repeat": 8,
    "sum": 9,
    "list": 12,
    "elephants": 44,
    "json": 13,
    "poem": 48,
    "memory": 6,
}
CERTAIN = {"sky": 33, "repeat": 8, "sum": 9, "list": 2, "elephants": 15, "json": 13, "memory": 6}
"""Tokens before the first logit gap below 0.5, counted by hand in the file."""


@pytest.fixture(scope="module")
def recorded(checkpoint):
    return json.loads((checkpoint / "expected-greedy.json").read_text())["greedy"]


def lengths(cases):
    return {case.name: len(case.expected_ids) for case in cases}


def test_a_processor_is_held_to_every_token_and_a_gpu_to_the_certain_ones(recorded):
    assert lengths(proof.cases(recorded, 0.0)) == FULL
    assert lengths(proof.cases(recorded, proof.SURE_GAP)) == CERTAIN


def test_without_a_gpu_one_trial_compares_everything(recorded):
    (trial,) = proof.trials((), recorded, 8)
    assert (trial.device, trial.settings.gpu_layers, lengths(trial.cases)) == ("CPU", 0, FULL)


def test_each_gpu_gets_all_layers_and_servers_of_layers_none(recorded):
    devices = ({"name": "RPC0", "back_end": "RPC"}, CUDA, {**CUDA, "name": "CUDA1"})
    cpu, *gpus = proof.trials(devices, recorded, 8)
    assert lengths(cpu.cases) == CERTAIN  # the GPU takes part in long prompts
    found = [(trial.device, trial.settings.main_gpu, trial.settings.gpu_layers) for trial in gpus]
    assert found == [("CUDA0", 1, 9), ("CUDA1", 2, 9)]
    assert {trial.settings.split_mode for trial in gpus} == {"none"}


@pytest.mark.parametrize(
    ("ids", "words"),
    [
        ((5, 6, 7), ""),
        ((5, 6, 7, 8), ""),
        ((5, 9, 7), "other tokens: number 2 of `sky` should be 6, it is 9"),
        ((5,), "other tokens: number 2 of `sky` should be 6, the answer ends"),
    ],
)
def test_the_first_difference_is_told(ids, words):
    case = proof.Case(name="sky", prompt_ids=(1,), expected_ids=(5, 6, 7))
    assert proof.difference(case, ids) == words


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
@pytest.mark.parametrize(
    ("body", "seconds", "words"),
    [
        ("batch.token[0] = 5; return _decode(context, batch)", 60.0, ("other tokens: number ",)),
        (
            "import time; time.sleep(600)",
            2.0,
            ("hangs: the engine process made no", "did not finish within 2 s"),
        ),
    ],
)
def test_other_tokens_and_a_hang_are_told_apart(body, seconds, words, native_library, tmp_path, monkeypatch):
    wrapped_package(tmp_path, body)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    (result,) = proof.check(Library(system_info="CPU"), seconds)
    assert (result.name, result.state) == ("engine on CPU", "wrong")
    assert result.seen.startswith(words)
    assert result.command.endswith("-m phi4local.native.build --force")
    assert list((tmp_path / "temporary").iterdir()) == []
