"""Options of a command line become settings."""

import pytest

from phi4local.cli.options import sampling_settings
from phi4local.errors import InvalidSettingError
from phi4local.settings import SamplingSettings


def others(*texts):
    return sampling_settings(None, None, None, None, None, list(texts))


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("repeat_penalty=1.1", SamplingSettings(repeat_penalty=1.1)),
        ("repeat-penalty=1.1", SamplingSettings(repeat_penalty=1.1)),
        ("mirostat=2", SamplingSettings(mirostat=2)),
        ('logit_bias={"5": -100}', SamplingSettings(logit_bias={5: -100})),
        ("stop=END", SamplingSettings(stop=("END",))),
        ('stop=["a", "b=c"]', SamplingSettings(stop=("a", "b=c"))),
        ("stop==", SamplingSettings(stop=("=",))),
    ],
)
def test_any_setting_can_be_given_by_name(text, settings):
    assert others(text) == settings


@pytest.mark.parametrize(
    "text", ["repeat_penalty", "repeat_penalty=", "repeat_penalty=much", "repetition=1", "top_p=NaN"]
)
def test_what_is_no_setting_is_an_error(text):
    with pytest.raises(InvalidSettingError):
        others(text)


def test_an_option_of_its_own_counts_before_the_general_one():
    assert sampling_settings(0.5, None, None, None, None, ["temperature=1", "top_k=3"]) == SamplingSettings(
        temperature=0.5, top_k=3
    )
