"""Settings are validated once, and an unset field means that somebody else decides."""

import json

import pytest

from phi4local.errors import InvalidSettingError
from phi4local.settings import DEFAULT_SAMPLING, LoadSettings, SamplingSettings


@pytest.mark.parametrize(
    ("cls", "values", "name"),
    [
        (LoadSettings, {"context_tokens": 8}, "context_tokens"),
        (LoadSettings, {"context_tokens": 4096.0}, "context_tokens"),
        (LoadSettings, {"context_tokens": True}, "context_tokens"),
        (LoadSettings, {"gpu_layers": -1}, "gpu_layers"),
        (LoadSettings, {"threads": 0}, "threads"),
        (LoadSettings, {"kv_type": "q3_0"}, "kv_type"),
        (SamplingSettings, {"temperature": -0.1}, "temperature"),
        (SamplingSettings, {"temperature": float("nan")}, "temperature"),
        (SamplingSettings, {"top_p": 1.5}, "top_p"),
        (SamplingSettings, {"top_k": -1}, "top_k"),
        (SamplingSettings, {"seed": 2**32}, "seed"),
        (SamplingSettings, {"repeat_penalty": 0}, "repeat_penalty"),
        (SamplingSettings, {"stop": ("",)}, "stop"),
        (SamplingSettings, {"regex": ""}, "regex"),
        (SamplingSettings, {"grammar": 'root ::= "\ud800"'}, "grammar"),
        (SamplingSettings, {"stop": "text"}, "stop"),
        (SamplingSettings, {"dry_base": 0.9}, "dry_base"),
        (SamplingSettings, {"dry_sequence_breakers": ("x",) * 33}, "dry_sequence_breakers"),
        (SamplingSettings, {"typical_p": -0.1}, "typical_p"),
        (SamplingSettings, {"xtc_probability": 2}, "xtc_probability"),
        (SamplingSettings, {"mirostat": 3}, "mirostat"),
        (SamplingSettings, {"mirostat": 1.0}, "mirostat"),
        (SamplingSettings, {"logprobs": -1}, "logprobs"),
        (SamplingSettings, {"logit_bias": {1: 101}}, "logit_bias"),
        (SamplingSettings, {"logit_bias": {1: float("nan")}}, "logit_bias"),
        (SamplingSettings, {"logit_bias": {-1: 1}}, "logit_bias"),
        (SamplingSettings, {"logit_bias": {"a": 1}}, "logit_bias"),
        (SamplingSettings, {"logit_bias": 5}, "logit_bias"),
        (SamplingSettings, {"logit_bias": dict.fromkeys(range(1025), 1)}, "logit_bias"),
    ],
)
def test_a_value_outside_its_range_names_the_setting(cls, values, name):
    with pytest.raises(InvalidSettingError) as caught:
        cls(**values)
    assert caught.value.setting == name
    assert f"`{name}`" in str(caught.value)


def test_an_unknown_name_is_an_error_with_near_names():
    with pytest.raises(InvalidSettingError) as caught:
        SamplingSettings.from_mapping({"temprature": 1})
    assert caught.value.hint == "known: temperature"


def test_unset_fields_are_filled_and_set_ones_kept():
    filled = SamplingSettings(temperature=0, stop=("x",)).filled_from(DEFAULT_SAMPLING)
    assert (filled.temperature, filled.stop, filled.top_k) == (0, ("x",), DEFAULT_SAMPLING.top_k)


def test_a_mapping_survives_the_way_through_json():
    settings = SamplingSettings(temperature=0.5, stop=("a", "b"), seed=3, logit_bias={9: 1, 2: -100})
    assert SamplingSettings.from_mapping(settings.to_mapping()) == settings
    assert SamplingSettings.from_mapping(json.loads(json.dumps(settings.to_mapping()))) == settings


def test_a_bias_is_sorted_pairs_whatever_it_came_as():
    pairs = ((2, -100.0), (9, 1.0))
    assert SamplingSettings(logit_bias={9: 1, 2: -100}).logit_bias == pairs
    assert SamplingSettings.from_mapping({"logit_bias": {"9": 1, "2": -100}}).logit_bias == pairs
    assert hash(SamplingSettings(logit_bias={2: 1})) == hash(SamplingSettings(logit_bias=((2, 1.0),)))
