"""The KV cache is arithmetic."""

import pytest

from phi4local.planning.kv_cache import ELEMENT_BITS, kv_cache_bytes
from phi4local.settings import KV_TYPES


@pytest.mark.parametrize(
    ("kv_type", "per_token"),
    [
        ("f16", 204_800),
        ("q8_0", 108_800),
        ("q5_1", 76_800),
        ("q5_0", 70_400),
        ("q4_1", 64_000),
        ("q4_0", 57_600),
    ],
)
def test_phi4_takes_this_for_each_token(kv_type, per_token):
    size = kv_cache_bytes(layers=40, kv_heads=10, head_length=128, context_tokens=1, kv_type=kv_type)
    assert size == per_token


def test_every_cache_type_has_a_size():
    assert set(ELEMENT_BITS) == set(KV_TYPES)
