"""Lists, ranges and the order of tests, against what the real llama-bench made of the same words."""

import json
from pathlib import Path

import pytest
import typer

from phi4local.bench import matrix, ranges
from phi4local.bench.matrix import Test as Case
from phi4local.bench.row import Row
from phi4local.cli import app, bench_options
from phi4local.errors import InvalidSettingError

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "llama_bench_options.json").read_text())
UNSET = Row().to_mapping()


def cases_of(*words):
    command = typer.main.get_command(app).commands["bench"]
    return bench_options.tests_of(command.make_context("bench", list(words)).params)


@pytest.mark.parametrize(("text", "theirs"), GOLDEN["lists"].items())
def test_lists_and_ranges_mean_what_llama_bench_reads(text, theirs):
    if text == "9-3":  # llama-bench takes its default without a word
        theirs = None
    if theirs is None:
        with pytest.raises(InvalidSettingError):
            ranges.numbers("n_prompt", [text])
    else:
        assert list(ranges.numbers("n_prompt", [text])) == theirs


def test_an_option_may_be_given_several_times():
    assert [test.n_prompt for test in cases_of("-p", "1,2", "-p", "4-8*2", "-n", "0")] == [1, 2, 4, 8]


@pytest.mark.parametrize("case", GOLDEN["order"], ids=lambda case: case["flags"][-2])
def test_tests_come_in_llama_benchs_order(case):
    ours = []
    for test in cases_of(*case["flags"]):
        row = {name: getattr(test, name, None) for name in case["rows"][0]}
        if row.get("n_threads", 1) is None:
            row["n_threads"] = UNSET["n_threads"]
        ours.append({name: UNSET[name] if value is None else value for name, value in row.items()})
    assert ours == case["rows"]


@pytest.mark.parametrize("text", ["1-1000000", "1-2147483647", "5000000000", "9" * 30, "1-" + "9" * 30, ""])
def test_lists_that_would_take_days_are_refused(text):
    with pytest.raises(InvalidSettingError):
        ranges.numbers("n_prompt", [text])


@pytest.mark.parametrize(
    "words",
    [
        *(["-ctk", "q9"], ["-fa", "maybe"], ["-nkvo", "2"], ["-sm", "tensor"], ["-pg", "5"], ["-pg", "a,b"]),
        *(["-p", "0", "-n", "0"], ["-t", "0"], ["-ngl", "-2"], ["-ts", "1/x"], ["--kv", "f8"], ["-b", "0"]),
    ],
    ids=" ".join,
)
def test_words_that_mean_nothing_are_refused_with_a_hint(words):
    with pytest.raises(InvalidSettingError) as caught:
        cases_of(*words)
    assert caught.value.hint


def test_layers_may_be_all_of_them():
    assert [test.n_gpu_layers for test in cases_of("-ngl", "-1,4", "-n", "0")] == [-1, 4]


def test_one_type_stands_for_keys_and_values():
    tests = cases_of("--kv", "f16,q8_0", "-n", "0")
    assert [(test.type_k, test.type_v) for test in tests] == [("f16", "f16"), ("q8_0", "q8_0")]


def test_overrides_go_together_by_semicolons():
    tests = cases_of("-ot", "ffn=CPU;attn=CPU,none", "-n", "0")
    assert [test.tensor_overrides for test in tests] == [("ffn=CPU", "attn=CPU"), ()]


def test_the_path_of_chat_refuses_what_only_the_bare_loop_has():
    for name, value in {"n_batch": 64, "poll": 0, "repack": False, "type_k": "q8_0"}.items():
        with pytest.raises(InvalidSettingError) as caught:
            matrix.check_chat([Case(n_prompt=1, **{name: value})])
        assert "--raw" in caught.value.hint
    with pytest.raises(InvalidSettingError):
        matrix.check_raw([Case(n_prompt=1, parallel=2)])


def test_a_test_longer_than_the_context_is_refused_with_its_length():
    with pytest.raises(InvalidSettingError, match=r"2,050 tokens.*phi4-nano"):
        matrix.check_length([Case(n_prompt=2), Case(n_gen=50, n_depth=2000)], 2048, "phi4-nano")
