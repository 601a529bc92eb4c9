"""The record of a measured row, against rows that the real llama-bench printed."""

import dataclasses
import json
from pathlib import Path

import pytest

from phi4local.bench.row import COLUMNS, LLAMA_BENCH_COLUMNS, Row

THEIRS = json.loads((Path(__file__).parents[2] / "golden" / "llama_bench.json").read_text())
JSON_TYPES = {bool: "true or false", int: "whole number", float: "number", str: "text", list: "list"}


def test_columns_are_llama_benchs_in_its_order_and_then_ours():
    names = list(THEIRS[0])
    assert [*LLAMA_BENCH_COLUMNS, "samples_ns", "samples_ts"] == names
    assert list(COLUMNS)[: len(names)] == names
    assert list(Row().to_mapping()) == list(COLUMNS)
    assert len(set(COLUMNS)) == len(COLUMNS)


@pytest.mark.parametrize(
    "theirs", THEIRS, ids=lambda row: f"p{row['n_prompt']}n{row['n_gen']}d{row['n_depth']}"
)
def test_a_row_of_llama_bench_has_the_same_numbers_here(theirs):
    ours = Row.from_mapping(theirs).to_mapping()
    for name in LLAMA_BENCH_COLUMNS:
        kind = JSON_TYPES[type(theirs[name])]
        assert JSON_TYPES[type(ours[name])] == kind, name
        if name == "avg_ns":
            assert abs(ours[name] - theirs[name]) <= 1
        elif name == "stddev_ns":  # computed in integers there, from a mean that is cut off
            assert abs(ours[name] ** 2 - theirs[name] ** 2) <= 4 * theirs["avg_ns"]
        else:
            assert ours[name] == (pytest.approx(theirs[name], rel=1e-3) if kind == "number" else theirs[name])
    assert ours["samples_ns"] == theirs["samples_ns"]
    assert ours["samples_ts"] == pytest.approx(theirs["samples_ts"], rel=1e-5)


def test_unset_columns_have_llama_benchs_defaults():
    theirs = THEIRS[0]
    machine = {"build_commit", "build_number", "cpu_info", "gpu_info", "n_threads", "test_time"}
    measured = {name for name in theirs if name.startswith(("model_", "avg_", "stddev_", "samples_", "n_p"))}
    ours = Row().to_mapping()
    for name in set(theirs) - machine - measured:
        assert ours[name] == theirs[name], name


def test_a_row_survives_json():
    row = Row(
        n_gen=8,
        samples_ns=(10, 12),
        samples_slowest_ts=(3.5, 3.0),
        parallel=4,
        conditions={"load": [0.5]},
        sampling_ns=9,
        samples_first_token_ns=(4, 6),
    )
    assert Row.from_mapping(json.loads(json.dumps(row.to_mapping()))) == row


def test_rates_of_several_streams_are_those_of_all_together():
    row = Row(n_gen=100, parallel=4, samples_ns=(2 * 10**9,), roofline_ts=100.0)
    assert row.samples_ts == (200.0,)
    assert row.roofline_fraction == pytest.approx(0.5)  # 50 steps a second of 100
    assert dataclasses.replace(row, n_prompt=1).roofline_fraction is None


@pytest.mark.parametrize(
    ("numbers", "name"),
    [((512, 0, 0), "pp512"), ((0, 128, 0), "tg128"), ((512, 128, 1024), "pp512+tg128 @ d1024")],
)
def test_tests_have_llama_benchs_names(numbers, name):
    assert Row(n_prompt=numbers[0], n_gen=numbers[1], n_depth=numbers[2]).test == name
