"""Settings become llama.cpp's chain, in llama.cpp's order."""

from phi4local.engine.sampling.chain import chain_steps, uses_penalties
from phi4local.settings import DEFAULT_SAMPLING, SamplingSettings


def names(settings: SamplingSettings) -> list[str]:
    return [step[0] for step in chain_steps(settings.filled_from(DEFAULT_SAMPLING), vocabulary_tokens=100)]


def test_temperature_zero_is_greedy_and_nothing_else():
    assert names(SamplingSettings(temperature=0)) == ["greedy"]


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
