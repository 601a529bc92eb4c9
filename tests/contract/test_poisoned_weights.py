"""One token's weights are not numbers: who uses it gets an error, everybody else the right answer.

llama.cpp's kernels multiply the values of masked and free cells by zero, which leaves NaN as it is: without
care one such request ends all others of its step, and with some kernels all later ones.
"""

import numpy
import pytest
from gguf import GGUFReader

from phi4local import gguf
from phi4local.convert import convert_checkpoint
from phi4local.engine import Request
from phi4local.engine.engine import Engine
from phi4local.engine.worker import EngineWorker
from phi4local.errors import NonFiniteLogitsError
from phi4local.prompts import TokenSegment
from phi4local.runtime.facts import file_facts
from phi4local.settings import LoadSettings
from tests.hostile.worker_crowd import GREEDY, Crowd, expected_cases, read, right_answers

POISON = 7000
"""A token that no prompt and no answer of the oracle has."""
POISONED = Request(
    segments=(TokenSegment((5,) * 100 + (POISON,) + (6,) * 30),), sampling=GREEDY, max_tokens=4
)


@pytest.fixture(scope="module")
def file(checkpoint, tmp_path_factory):
    path = tmp_path_factory.mktemp("poisoned") / "nano.gguf"
    convert_checkpoint(checkpoint, path, "F32")
    reader = GGUFReader(path, "r+")
    (embedding,) = (tensor for tensor in reader.tensors if tensor.name == "token_embd.weight")
    embedding.data[POISON] = numpy.nan
    reader.data.flush()
    return file_facts(gguf.validate(path)).model_file()


@pytest.fixture(scope="module")
def cases(checkpoint):
    return expected_cases(checkpoint)


@pytest.mark.parametrize("flash_attention", [None, False, True])
@pytest.mark.parametrize("unified", [True, False])
def test_poison_ends_its_own_request_and_no_later_one(file, native_library, cases, flash_attention, unified):
    settings = LoadSettings(
        context_tokens=512, threads=1, parallel=2, flash_attention=flash_attention, unified_kv=unified
    )
    with Engine(file, settings) as engine:
        for _ in range(2):
            assert type(read(engine.submit(POISONED)).error) is NonFiniteLogitsError
            assert right_answers(engine, cases[3:5]) == [True, True]


def test_poison_is_seen_in_logits_that_were_cut_on_the_device(file, native_library, cases):
    settings = LoadSettings(context_tokens=512, threads=1, parallel=2, device_cut=True)
    with Engine(file, settings) as engine:
        for _ in range(2):
            assert type(read(engine.submit(POISONED)).error) is NonFiniteLogitsError
            assert right_answers(engine, cases[3:5]) == [True, True]


@pytest.mark.parametrize("flash_attention", [False, True])
def test_poison_in_one_stream_leaves_the_others_right(file, native_library, cases, flash_attention):
    settings = LoadSettings(context_tokens=512, threads=1, parallel=6, flash_attention=flash_attention)
    with EngineWorker() as worker:
        worker.load(file, settings)
        process_id = worker.process_id
        crowd = Crowd(worker, cases[2:6])
        poisoned = [worker.submit(POISONED) for _ in range(2)]
        assert [type(read(each).error) for each in poisoned] == [NonFiniteLogitsError] * 2
        assert [each.token_ids for each in crowd.wait()] == [case["generated_ids"] for case in cases[2:6]]
        assert worker.process_id == process_id
