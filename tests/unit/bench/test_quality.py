"""Scores, figures and files of the quality measurement, against plain arithmetic in float64."""

import contextlib
import math
import statistics as plain
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phi4local.bench.quality import statistics
from phi4local.bench.quality.base_file import BaseFile, BaseWriter
from phi4local.bench.quality.chunks import Chunks
from phi4local.bench.quality.figures import Divergence
from phi4local.bench.quality.scores import BLOCK_VALUES, Scorer, stored_width
from phi4local.errors import FileFormatError, InvalidSettingError, NonFiniteLogitsError


def random(seed=4):
    return np.random.default_rng(seed)


def logits_of(rows, width):
    return random(width).normal(0, 4, (rows, width)).astype(np.float32)


def log_probabilities(logits):
    wide = logits.astype(np.float64)
    return (
        wide
        - np.log(np.exp(wide - wide.max(1, keepdims=True)).sum(1, keepdims=True))
        - wide.max(1, keepdims=True)
    )


@pytest.fixture
def scorer():
    made = []

    def make(width, threads=2):
        made.append(Scorer(width, threads))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.mark.parametrize("width", [7, 8192, BLOCK_VALUES + 3])
def test_losses_are_those_of_float64(scorer, width):
    logits, targets = logits_of(40, width), random().integers(0, width, 40).astype(np.int32)
    expected = -log_probabilities(logits)[np.arange(40), targets]
    assert scorer(width).losses(logits, targets, 0) == pytest.approx(expected, rel=2e-6)


@pytest.mark.parametrize("width", [8192, 32011])
def test_stored_log_probabilities_are_within_a_step_down_to_16_below_the_best(scorer, width):
    logits, targets = logits_of(20, width), random().integers(0, width, 20).astype(np.int32)
    losses, stored = scorer(width).store(logits, targets, 0)
    assert stored.shape == (20, stored_width(width))
    head = np.ascontiguousarray(stored[:, :4]).view(np.float32).astype(np.float64)
    kept = stored[:, 4 : 4 + width] * head[:, :1] + head[:, 1:]
    exact = log_probabilities(logits)
    expected = np.maximum(exact, exact.max(1, keepdims=True) - 16)
    assert np.abs(kept - expected).max() < 0.51 * 16 / 65535 + 1e-5
    assert losses == pytest.approx(-exact[np.arange(20), targets], rel=2e-6)


def test_divergence_is_that_of_float64(scorer):
    base, targets = logits_of(30, 5000), random().integers(0, 5000, 30).astype(np.int32)
    other = base + random().normal(0, 0.3, base.shape).astype(np.float32)
    scores = scorer(5000)
    _, stored = scores.store(base, targets, 0)
    found = scores.compare(other, targets, stored, 0)
    p, q = log_probabilities(base), log_probabilities(other)
    rows = np.arange(30)
    assert found.divergences == pytest.approx((np.exp(p) * (p - q)).sum(1), abs=16 / 65535)
    assert found.probability_differences == pytest.approx(
        np.exp(q[rows, targets]) - np.exp(p[rows, targets]), abs=1e-5
    )
    assert found.same_best.tolist() == (p.argmax(1) == q.argmax(1)).tolist()


def test_threads_and_blocks_do_not_change_a_digit(scorer):
    logits, targets = logits_of(64, 9000), np.zeros(64, np.int32)
    one, four = scorer(9000, 1).store(logits, targets, 0), scorer(9000, 4).store(logits, targets, 0)
    assert (one[0] == four[0]).all()
    assert (one[1] == four[1]).all()


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_logits_that_are_not_finite_are_refused_with_their_place(scorer, value):
    logits = logits_of(300, 1000)
    logits[177, 3] = value
    with pytest.raises(NonFiniteLogitsError) as refused:
        scorer(1000).losses(logits, np.zeros(300, np.int32), 256)
    assert refused.value.position == 256 + 177


def test_a_mean_has_the_standard_error_of_a_mean():
    values = [1.0, 4.0, 2.5, 9.0, 0.5]
    found = statistics.mean(np.array(values))
    assert found.value == pytest.approx(plain.fmean(values))
    assert found.error == pytest.approx(plain.stdev(values) / math.sqrt(5))


def test_perplexity_of_a_coin_is_two():
    found = statistics.perplexity(np.full(100, math.log(2)))
    assert (found.value, found.error) == (pytest.approx(2), pytest.approx(0, abs=1e-9))


def test_percentiles_lie_between_values_in_proportion():
    found = statistics.percentiles(np.array([1.0, 2.0]))
    assert (found["0.0"], found["50.0"], found["90.0"], found["100.0"]) == (1, 1.5, pytest.approx(1.9), 2)


def test_figures_survive_json(scorer):
    base, targets = logits_of(12, 50), np.zeros(12, np.int32)
    scores = scorer(50)
    _, stored = scores.store(base, targets, 0)
    found = statistics.divergence(scores.compare(base, targets, stored, 0), None)
    assert Divergence.from_mapping(found.to_mapping()) == found


@pytest.mark.parametrize(
    ("tokens", "limit", "chunks"), [(1024, None, 2), (1535, None, 2), (1536, None, 3), (9999, 4, 4)]
)
def test_a_text_is_cut_into_whole_contexts(tokens, limit, chunks):
    cut = Chunks.cut(range(tokens), 512, limit)
    assert (len(cut), cut.first, cut.scored) == (chunks, 256, 255)
    assert cut.tokens[1, 0] == 512


def test_a_text_shorter_than_two_contexts_is_refused_with_its_length():
    with pytest.raises(InvalidSettingError, match="1,023 tokens"):
        Chunks.cut(range(1023), 512)


def written(path, *, losses=True, width=9):
    chunks = Chunks.cut(range(64), 16)
    chunks = Chunks(chunks.tokens % width)
    rows = np.arange(4 * 7 * stored_width(width), dtype=np.uint16).reshape(-1, stored_width(width))
    with path.open("wb") as file:
        writer = BaseWriter(file, chunks, width)
        writer.add(rows[:10])
        writer.add(rows[10:])
        if losses:
            writer.finish(np.linspace(0, 1, 28))
    return chunks, rows


@pytest.mark.parametrize("losses", [True, False])
def test_a_base_is_read_as_it_was_written(tmp_path, losses):
    chunks, rows = written(tmp_path / "base", losses=losses)
    with BaseFile(tmp_path / "base") as base:
        assert (base.chunks.tokens == chunks.tokens).all()
        assert (base.rows(5, 9) == rows[5:14]).all()
        assert (base.losses is not None) == losses
        assert base.shape.file_bytes == (tmp_path / "base").stat().st_size + (0 if losses else 8 + 8 * 28)


@given(st.data())
def test_a_damaged_base_is_refused(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("base") / "base"
    written(path, losses=False)
    whole = path.read_bytes()
    if data.draw(st.booleans()):
        path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    else:
        place = data.draw(st.sampled_from([0, 8, 12, 16]))
        numbers = st.integers(-(2**31), 2**31 - 1).filter(lambda n: n not in (16, 9, 4, *range(1, 4)))
        path.write_bytes(whole[:place] + struct.pack("<i", data.draw(numbers)) + whole[place + 4 :])
    # Smaller sizes can be a smaller base; then it must be readable.
    with contextlib.suppress(FileFormatError), BaseFile(path) as base:
        base.rows(0, base.shape.chunks * base.shape.scored)


def test_tokens_outside_the_vocabulary_are_refused(tmp_path):
    written(tmp_path / "base")
    data = bytearray((tmp_path / "base").read_bytes())
    data[20:24] = struct.pack("<i", 9)
    (tmp_path / "base").write_bytes(data)
    with pytest.raises(FileFormatError, match="outside its vocabulary"):
        BaseFile(tmp_path / "base")
