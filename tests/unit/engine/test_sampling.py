"""Settings become llama.cpp's chain, in llama.cpp's order."""

import dataclasses
import math
import subprocess
import sys

import pytest

from phi4local import catalog
from phi4local.engine.sampling.chain import chain_steps, is_cheap, remembered_tokens, uses_penalties
from phi4local.settings import DEFAULT_SAMPLING, STRUCTURE_SETTINGS, SamplingSettings


def names(settings: SamplingSettings) -> list[str]:
    return [step[0] for step in chain_steps(settings.filled_from(DEFAULT_SAMPLING), vocabulary_tokens=100)]


def test_temperature_zero_is_greedy_and_nothing_else():
    assert names(SamplingSettings(temperature=0)) == ["greedy"]
    assert names(SamplingSettings(temperature=1e-40)) == ["greedy"]


def test_the_default_order_is_llama_cpps():
    assert names(SamplingSettings(repeat_penalty=1.1)) == [
        "penalties",
        "top_k",
        "top_p",
        "min_p",
        "temp_ext",
        "dist",
    ]


def test_steps_that_change_nothing_are_left_out():
    assert names(SamplingSettings(top_k=0, top_p=1, min_p=0)) == ["temp_ext", "dist"]


def test_penalties_count_only_when_they_do_something():
    assert not uses_penalties(DEFAULT_SAMPLING)
    assert not uses_penalties(SamplingSettings(repeat_penalty=1.2, penalty_last_tokens=0))
    assert uses_penalties(SamplingSettings(presence_penalty=0.5, penalty_last_tokens=64))


def test_a_seed_reaches_the_choice():
    assert chain_steps(
        SamplingSettings(temperature=1, seed=7).filled_from(DEFAULT_SAMPLING), vocabulary_tokens=10
    )[-1] == ("dist", 7)


def test_the_full_order_is_llama_cpps():
    everything = SamplingSettings(
        logit_bias={1: 1},
        repeat_penalty=1.1,
        dry_multiplier=1,
        top_n_sigma=1,
        typical_p=0.9,
        xtc_probability=0.5,
        dynamic_temperature_range=0.1,
    )
    assert names(everything) == [
        "logit_bias",
        "penalties",
        "dry",
        "top_n_sigma",
        "top_k",
        "typical",
        "top_p",
        "min_p",
        "xtc",
        "temp_ext",
        "dist",
    ]


def test_mirostat_replaces_penalties_and_filters_as_in_llama_cpp():
    settings = SamplingSettings(mirostat=2, repeat_penalty=1.1, logit_bias={1: 1})
    assert names(settings) == ["logit_bias", "temp", "mirostat_v2"]
    assert names(SamplingSettings(mirostat=1)) == ["temp", "mirostat"]
    assert names(SamplingSettings(mirostat=1, temperature=0)) == ["greedy"]


def test_only_the_tokens_that_a_penalty_looks_at_are_remembered():
    filled = SamplingSettings(dry_multiplier=1, dry_last_tokens=500, repeat_penalty=2).filled_from(
        DEFAULT_SAMPLING
    )
    assert remembered_tokens(DEFAULT_SAMPLING) == 0
    assert remembered_tokens(filled) == 500
    assert remembered_tokens(dataclasses.replace(filled, mirostat=2)) == 0


def test_minus_100_forbids_a_token_and_0_is_no_step():
    settings = SamplingSettings(temperature=0, logit_bias={3: -100, 4: -99, 5: 0}).filled_from(
        DEFAULT_SAMPLING
    )
    assert chain_steps(settings, vocabulary_tokens=10)[0] == ("logit_bias", ((3, -math.inf), (4, -99.0)))


@pytest.mark.parametrize("name", catalog.model_names())
def test_what_a_person_sets_comes_first_then_the_manifest_then_llama_cpp(name):
    manifest = catalog.find(name).sampling
    resolved = SamplingSettings(top_p=0.123).filled_from(manifest).filled_from(DEFAULT_SAMPLING).to_mapping()
    told = {key: value for key, value in manifest.to_mapping().items() if value is not None} | {
        "top_p": 0.123
    }
    assert {key: resolved[key] for key in told} == told
    rest = DEFAULT_SAMPLING.to_mapping().items()
    assert all(resolved[key] == value for key, value in rest if key not in told)
    structure = set(STRUCTURE_SETTINGS)
    assert {key for key, value in resolved.items() if value is None} == {"seed", "logprobs"} | structure


def test_the_reasoning_models_values_meet_llama_cpps():
    resolved = catalog.find("phi-4-reasoning").sampling.filled_from(DEFAULT_SAMPLING)
    assert (resolved.temperature, resolved.top_k, resolved.top_p, resolved.min_p) == (0.8, 50, 0.95, 0.05)


def test_the_engine_does_not_load_numpy_before_it_is_needed():
    code = "import sys, phi4local.engine.engine, phi4local.engine.worker.child; print('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize(
    ("settings", "small", "large"),
    [
        ({"temperature": 0}, True, False),
        ({"temperature": 1, "repeat_penalty": 1.1}, True, True),
        ({"temperature": 1, "top_k": 129}, True, False),
        ({"temperature": 1, "top_k": 0}, True, False),
        ({"temperature": 1, "typical_p": 0.5}, False, False),
        ({"temperature": 1, "mirostat": 1}, False, False),
        ({"temperature": 1, "top_n_sigma": 1}, True, False),
        ({"temperature": 1, "top_n_sigma": 1, "dynamic_temperature_range": 0.5}, True, True),
    ],
)
def test_llama_cpps_own_chain_runs_where_it_is_fast_and_right(settings, small, large):
    filled = SamplingSettings(**settings).filled_from(DEFAULT_SAMPLING)
    steps = chain_steps(filled, vocabulary_tokens=8192)
    assert is_cheap(steps, vocabulary_tokens=8192) == small
    assert is_cheap(steps, vocabulary_tokens=100_352) == large
