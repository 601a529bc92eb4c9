"""Where weights go is checked before llama.cpp, which ignores or dies of some wrong values."""

import pytest

from phi4local.errors import InvalidSettingError
from phi4local.offload import Placement, TensorOverride, parse_endpoint
from phi4local.settings import LoadSettings


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"tensor_overrides": ("ffn_up",)}, "tensor_overrides"),
        ({"tensor_overrides": ("=CPU",)}, "tensor_overrides"),
        ({"tensor_overrides": ("ffn_up=",)}, "tensor_overrides"),
        ({"tensor_overrides": (3,)}, "tensor_overrides"),
        ({"tensor_overrides": "ffn_up=CPU"}, "tensor_overrides"),
        ({"tensor_overrides": ("ffn_(up=CPU",)}, "tensor_overrides"),
        ({"tensor_overrides": ("[=CPU",)}, "tensor_overrides"),
        # Python's own constructs, on which std::regex throws.
        ({"tensor_overrides": ("(?<=x)y=CPU",)}, "tensor_overrides"),
        ({"tensor_overrides": ("(?P<n>y)=CPU",)}, "tensor_overrides"),
        ({"tensor_overrides": (r"\Ablk=CPU",)}, "tensor_overrides"),
        ({"tensor_overrides": ("blk++=CPU",)}, "tensor_overrides"),
        ({"split_mode": "tensor"}, "split_mode"),
        ({"tensor_split": ()}, "tensor_split"),
        ({"tensor_split": (0.0, 0.0)}, "tensor_split"),
        ({"tensor_split": (1, -1)}, "tensor_split"),
        ({"tensor_split": (1, float("nan"))}, "tensor_split"),
        ({"tensor_split": (1, float("inf"))}, "tensor_split"),
        ({"tensor_split": (1, True)}, "tensor_split"),
        ({"tensor_split": ("1",)}, "tensor_split"),
        ({"tensor_split": (1.0,) * 17}, "tensor_split"),
        ({"main_gpu": -1}, "main_gpu"),
        ({"main_gpu": 16}, "main_gpu"),
        ({"rpc": ("localhost",)}, "rpc"),
        ({"rpc": ("localhost:0",)}, "rpc"),
        ({"rpc": ("localhost:65536",)}, "rpc"),
        ({"rpc": ("::1:50052",)}, "rpc"),
        ({"rpc": ("a b:50052",)}, "rpc"),
        ({"rpc": "localhost:50052"}, "rpc"),
    ],
)
def test_a_wrong_value_names_its_setting(values, name):
    with pytest.raises(InvalidSettingError) as caught:
        LoadSettings(**values)
    assert caught.value.setting == name
    assert caught.value.hint


def test_an_override_is_an_expression_and_a_buffer_type():
    assert TensorOverride.parse(r"blk\.(2[0-9])\.ffn_.*=CPU") == TensorOverride(
        r"blk\.(2[0-9])\.ffn_.*", "CPU"
    )
    # The last `=` divides: look-ahead has one too, and no buffer type does.
    assert TensorOverride.parse("(?=blk)x=CUDA0") == TensorOverride("(?=blk)x", "CUDA0")


def test_an_endpoint_is_a_host_and_a_port():
    assert parse_endpoint("box-2.local:50052") == ("box-2.local", 50052)


def test_settings_become_a_placement():
    settings = LoadSettings(
        gpu_layers=20, tensor_overrides=("ffn=CPU",), split_mode="row", tensor_split=(3, 1), rpc=("a:1",)
    )
    assert settings.placement() == Placement(
        gpu_layers=20, overrides=(TensorOverride("ffn", "CPU"),), split_mode="row", split=(3, 1), rpc=("a:1",)
    )
    assert LoadSettings().placement() == Placement()


def test_offload_settings_survive_the_way_through_json():
    settings = LoadSettings(tensor_overrides=("a=CPU", "b=CPU"), tensor_split=(1.0, 2.0), rpc=("a:1",))
    lists = {k: list(v) if isinstance(v, tuple) else v for k, v in settings.to_mapping().items()}
    assert LoadSettings.from_mapping(lists) == settings
