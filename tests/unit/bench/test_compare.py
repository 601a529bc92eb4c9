"""Intervals against an integrated t distribution and simulated samples; pairs that a person expects."""

import dataclasses
import json
import math
import random
from pathlib import Path

import pytest

from phi4local.bench import compare, sources
from phi4local.bench.row import Row
from phi4local.errors import FileFormatError, UnknownResultError
from phi4local.store import results

LLAMA_BENCH = Path(__file__).parents[2] / "golden" / "llama_bench.json"


def t_below(t, freedom):
    """Integrate the density of Student's t from 0 to `t` with Simpson's rule."""
    scale = math.gamma((freedom + 1) / 2) / math.sqrt(freedom * math.pi) / math.gamma(freedom / 2)
    steps = 20_000
    weights = [1, *([4, 2] * (steps // 2 - 1)), 4, 1]
    values = ((1 + (t * n / steps) ** 2 / freedom) ** (-(freedom + 1) / 2) for n in range(steps + 1))
    return 0.5 + scale * t / steps / 3 * sum(w * v for w, v in zip(weights, values, strict=True))


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 8, 17, 30, 40, 60, 120])
def test_t_leaves_five_per_cent_outside(freedom):
    assert t_below(compare.t_quantile(freedom), freedom) == pytest.approx(0.975, abs=2e-4)


def test_between_two_degrees_of_freedom_the_wider_interval_is_taken():
    assert compare.t_quantile(8.9) == compare.t_quantile(8)
    assert compare.t_quantile(0.3) == compare.t_quantile(1)
    assert compare.t_quantile(1e9) == compare.t_quantile(120)


def test_the_interval_holds_the_truth_as_often_as_it_says():
    chance = random.Random(7)
    rounds, inside = 2000, 0
    for _ in range(rounds):
        old = [chance.lognormvariate(math.log(1.3), 0.02) for _ in range(5)]
        new = [chance.lognormvariate(0, 0.05) for _ in range(7)]
        found = compare.ratio(old, new)
        inside += found.low <= 1.3 <= found.high
    assert 0.935 < inside / rounds < 0.975


def test_swapping_the_sides_gives_the_reciprocal():
    there, back = (
        compare.ratio((200, 204, 198), (100, 99, 103)),
        compare.ratio((100, 99, 103), (200, 204, 198)),
    )
    assert there.value * back.value == pytest.approx(1)
    assert there.low * back.high == pytest.approx(1)
    assert (there.verdict, back.verdict) == ("faster", "slower")
    assert there.percent == pytest.approx(100 * (there.value - 1))


def test_verdicts_that_nobody_can_give_are_not_given():
    assert compare.ratio((100,), (50, 51)).verdict == "one sample"
    assert compare.ratio((100,), (50, 51)).low is None
    assert compare.ratio((100, 110, 90), (101, 112, 92)).verdict == "in the spread"
    exact = compare.ratio((100, 100), (50, 50))
    assert exact.low == exact.high == pytest.approx(2)


def rows(*changes):
    base = Row(n_prompt=512, samples_ns=(100, 101), model_filename="a.gguf", n_threads=2)
    return [dataclasses.replace(base, **change) for change in changes]


def test_rows_are_paired_by_test_and_by_what_was_varied():
    old = rows({"n_threads": 2}, {"n_threads": 4}, {"n_prompt": 0, "n_gen": 8, "n_threads": 4})
    new = [dataclasses.replace(row, model_filename="b.gguf") for row in reversed(old)]
    found = compare.pairs(old, new)
    assert [(pair.old, pair.new) for pair in found] == list(zip(reversed(old), new, strict=True))
    assert compare.differences(found) == {"model_filename": ("a.gguf", "b.gguf")}


def test_rows_without_a_counterpart_are_left_out():
    assert compare.pairs(rows({"n_prompt": 64}), rows({"n_prompt": 65})) == []
    assert compare.pairs(rows({"n_threads": 2}), rows({"n_threads": 4}, {"n_threads": 8})) == []
    assert len(compare.pairs(rows({}, {}), rows({}, {}, {}))) == 2


def test_files_of_llama_bench_are_read_in_both_layouts(tmp_path):
    theirs = json.loads(LLAMA_BENCH.read_text())
    lines = tmp_path / "lines.jsonl"
    lines.write_text("".join(json.dumps(row) + "\n" for row in theirs))
    found = sources.read_file(LLAMA_BENCH)
    assert sources.read_file(lines) == found
    assert [list(row.samples_ns) for row in found] == [row["samples_ns"] for row in theirs]
    assert {row.path for row in found} == {"raw"}
    mine = tmp_path / "mine.json"
    mine.write_text(json.dumps({"rows": [dataclasses.replace(found[0], path="chat").to_mapping()]}))
    assert sources.read_file(mine)[0].path == "chat"
    found = compare.pairs(found, sources.read_file(lines))
    assert len(found) == len(theirs)
    assert {pair.ratio.value for pair in found} == {1.0}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "no rows"),
        ("tokens per second", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ("[1]", "no list of rows"),
        ("[]", "no rows"),
        ('[{"n_prompt": 512}]', "row 1: it has no samples"),
        ('[{"n_prompt": "many", "samples_ns": [1]}]', 'row 1: `n_prompt` is "many"'),
        ('[{"samples_ns": [0]}]', "row 1: `samples_ns` is no list of numbers above zero"),
        ('[{"samples_ns": [NaN]}]', "above zero"),
        ('[{"samples_ns": 5}]', "above zero"),
        ('[{"samples_ns": [1], "conditions": 5}]', "`conditions` is 5"),
    ],
)
def test_other_files_are_refused_with_what_is_wrong(tmp_path, content, problem):
    path = tmp_path / "other.json"
    path.write_text(content)
    with pytest.raises(FileFormatError, match=r"other\.json") as refused:
        sources.read_file(path)
    assert problem in str(refused.value)
    assert "llama-bench -o json" in refused.value.hint


def test_a_name_is_a_file_or_a_kept_run():
    run = results.Run(
        id="20260131T120000-1f2e", at="", machine={}, rows=({"samples_ns": [5, 6], "key": "k"}, {})
    )
    said = []
    assert sources.rows_of("last", [run], said.append) == (Row(samples_ns=(5, 6)),)
    assert said == ["row 2 of result `20260131T120000-1f2e` is damaged (it has no samples in `samples_ns`) "
                    "and was left out"]  # fmt: skip
    assert sources.rows_of(str(LLAMA_BENCH), []) == sources.read_file(LLAMA_BENCH)
    with pytest.raises(UnknownResultError):
        sources.rows_of("missing.json", [run])
