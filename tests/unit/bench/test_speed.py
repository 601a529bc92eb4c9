"""Workloads and samples of the speed measurement."""

import pytest

from phi4local.bench.report import Samples
from phi4local.bench.speed import Workload, random_prompt
from phi4local.errors import InvalidSettingError


def test_samples_have_a_mean_and_the_deviation_of_a_sample():
    assert (Samples((9.0, 11.0)).mean, round(Samples((9.0, 11.0)).deviation, 3)) == (10.0, 1.414)
    assert Samples((5.0,)).deviation == 0


@pytest.mark.parametrize(
    "numbers", [{"prompt_tokens": 0}, {"generated_tokens": 1}, {"repeats": 0}, {"repeats": -1}]
)
def test_a_workload_that_measures_nothing_is_refused(numbers):
    with pytest.raises(InvalidSettingError):
        Workload(**numbers)


@pytest.mark.parametrize("context_tokens", [16, 64, 256, 640, 2048])
def test_a_workload_is_cut_to_the_context(context_tokens):
    fitted = Workload(prompt_tokens=512, generated_tokens=128).fitted(context_tokens)
    assert fitted.prompt_tokens + 1 <= context_tokens
    assert 8 + fitted.generated_tokens <= max(context_tokens, 16)


def test_prompts_of_different_rounds_share_no_beginning():
    prompts = [random_prompt(32, 1000, seed=seed).token_ids for seed in range(20)]
    assert len({prompt[0] for prompt in prompts}) == 20
    assert all(0 <= token < 900 for prompt in prompts for token in prompt)
    assert random_prompt(32, 1000, seed=3) == random_prompt(32, 1000, seed=3)
