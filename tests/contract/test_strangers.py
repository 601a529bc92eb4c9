"""What a request must not do to others: foreign token ids, and an engine that closes meanwhile."""

import random
import threading

import pytest

from phi4local import gguf
from phi4local.convert import convert_checkpoint
from phi4local.engine import Request
from phi4local.engine.engine import Engine
from phi4local.errors import EngineError, InvalidSettingError
from phi4local.prompts import TextSegment, TokenSegment
from phi4local.runtime.facts import file_facts
from phi4local.settings import LoadSettings, SamplingSettings

GREEDY = SamplingSettings(temperature=0)
TEXT = TextSegment("Hello world", special=False)


@pytest.fixture(scope="module")
def model_file(checkpoint, tmp_path_factory):
    path = tmp_path_factory.mktemp("f32") / "nano-F32.gguf"
    convert_checkpoint(checkpoint, path, "F32")
    return file_facts(gguf.validate(path)).model_file()


@pytest.fixture
def engine(model_file, native_library):
    with Engine(model_file, LoadSettings(context_tokens=512, threads=1, parallel=2)) as engine:
        yield engine


def ask(ids, **fields):
    return Request(segments=(TokenSegment(tuple(ids)),), sampling=GREEDY, ignore_end=True, **fields)


@pytest.mark.parametrize("foreign", [8192, -1, 2**40])
def test_a_foreign_token_id_ends_only_its_own_request(engine, foreign):
    running = engine.submit(ask(random.Random(1).choices(range(8000), k=50), max_tokens=200))
    with pytest.raises(InvalidSettingError):
        engine.submit(ask([5, foreign], max_tokens=2)).result()
    assert running.result().finished.usage.generated_tokens == 200


def test_a_closed_engine_refuses_everything(model_file, native_library, tmp_path):
    engine = Engine(model_file, LoadSettings(context_tokens=512, threads=1))
    engine.close()
    request = Request(segments=(TEXT,), sampling=GREEDY)
    for work in (
        lambda: engine.submit(request).result(),
        lambda: engine.tokenize((TEXT,)),
        lambda: engine.embed(["Hello world"]),
        lambda: engine.save(request, tmp_path / "state"),
    ):
        with pytest.raises(EngineError, match="closed"):
            work()


class SlowSegments(tuple):
    """Segments whose reader is held up until the engine's thread has ended."""

    def __getitem__(self, place):
        if isinstance(place, slice):
            closing = threading.Thread(target=self.close)
            closing.start()
            self.thread.join()
        return super().__getitem__(place)


def test_a_request_that_comes_while_the_engine_closes_has_an_end(model_file, native_library):
    engine = Engine(model_file, LoadSettings(context_tokens=512, threads=1))
    segments = SlowSegments((TEXT,))
    segments.close = engine.close
    segments.thread = next(t for t in threading.enumerate() if t.name == "phi4local-scheduler")
    generation = engine.submit(Request(segments=segments, sampling=GREEDY))
    assert generation.result().finished.reason == "cancelled"
