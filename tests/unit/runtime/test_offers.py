"""Which quantization is recommended, and what fits."""

import pytest

from phi4local import catalog
from phi4local.hardware import Gpu, Machine
from phi4local.planning.kv_cache import kv_cache_bytes
from phi4local.planning.shape import manifest_shape
from phi4local.runtime.offers import rate, reason

GB = 10**9
SIZES = {"Q8_0": int(15.6 * GB), "Q2_K": int(5.55 * GB), "Q4_K_M": int(9.05 * GB), "Q3_K_S": int(6.5 * GB)}


PHI4 = manifest_shape(catalog.find("phi-4"), "Q4_K_M")


def machine(memory_gb, gpu_gb=0.0, bandwidth=None):
    gpu = Gpu(
        name="CUDA0",
        description="a GPU",
        back_end="CUDA",
        total_bytes=int(gpu_gb * GB),
        free_bytes=int(gpu_gb * GB),
    )
    return Machine(
        memory_bytes=2 * int(memory_gb * GB),
        available_bytes=int(memory_gb * GB),
        cores=8,
        gpus=(gpu,) if gpu_gb else (),
        bandwidth=bandwidth,
    )


def rows(memory_gb, gpu_gb=0.0, bandwidth=None):
    return rate(SIZES, PHI4, machine(memory_gb, gpu_gb, bandwidth))


def recommended(found):
    marked = [row for row in found if row.recommended]
    assert len(marked) == 1
    return marked[0]


@pytest.mark.parametrize(
    ("memory_gb", "gpu_gb", "quantization", "fits"),
    [
        (32, 0, "Q4_K_M", "CPU"),
        (8, 0, "Q3_K_S", "CPU"),
        (7, 0, "Q2_K", "CPU"),
        (2, 0, "Q2_K", "no"),
        (8, 24, "Q4_K_M", "GPU"),
        (8, 6, "Q4_K_M", "partly"),
    ],
)
def test_the_best_that_fits_is_recommended(memory_gb, gpu_gb, quantization, fits):
    best = recommended(rows(memory_gb, gpu_gb))
    assert (best.quantization, best.fits) == (quantization, fits)


def test_rows_are_sorted_by_size_and_grow_with_the_context():
    found = rows(32)
    assert [row.quantization for row in found] == ["Q2_K", "Q3_K_S", "Q4_K_M", "Q8_0"]
    for row in found:
        cache = {
            tokens: kv_cache_bytes(layers=40, kv_heads=10, head_length=128, context_tokens=tokens)
            for tokens in (4096, 16384)
        }
        more = row.memory_bytes[16384] - row.memory_bytes[4096]
        assert more == pytest.approx(cache[16384] - cache[4096], rel=0.01)
        assert row.memory_bytes[4096] > row.size_bytes + cache[4096]


@pytest.mark.parametrize(
    ("memory_gb", "words"), [(32, "usual compromise"), (8, "Q4_K_M does not fit"), (2, "nothing fits")]
)
def test_the_reason_says_what_decided(memory_gb, words):
    found = rows(memory_gb)
    assert words in reason(recommended(found), found)


def test_without_a_header_nothing_is_claimed():
    found = rate({"Q4_K_M": GB}, None, machine(16))
    assert (found[0].fits, found[0].memory_bytes) == ("?", {})


def test_the_speed_is_a_range_and_larger_files_are_slower():
    ranges = [row.tokens_per_second for row in rows(32, bandwidth=50e9)]
    assert all(0 < low < high for low, high in ranges)
    assert ranges == sorted(ranges, reverse=True)
    assert rows(32)[0].tokens_per_second is None
