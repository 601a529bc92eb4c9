"""Plans: file sizes against published ones, and decisions for machines that are easy to judge by hand."""

from dataclasses import replace

import pytest

from phi4local import catalog, planning
from phi4local.convert import convert_checkpoint
from phi4local.gguf import read_header
from phi4local.hardware import Gpu, Machine
from phi4local.planning.buffers import Cells, kv_bytes
from phi4local.settings import LoadSettings

GB, GIB = 10**9, 2**30
LAPTOP = Machine(memory_bytes=16 * GIB, available_bytes=12 * GIB, cores=8, bandwidth=60e9)
CARD = Gpu(
    name="CUDA0",
    description="a card",
    back_end="CUDA",
    total_bytes=24 * GIB,
    free_bytes=23 * GIB,
    bandwidth=936e9,
)
WORKSTATION = Machine(memory_bytes=64 * GIB, available_bytes=60 * GIB, cores=16, bandwidth=80e9, gpus=(CARD,))

# Sums over llama-quantize's choices, tensors alone, in GB (llama.cpp 0c1e57098). F16 to Q3_K_S equal the
# published files of bartowski/phi-4-GGUF but for the mixes that changed since.
PHI_4 = {
    "F32": 58.638,
    "F16": 29.320,
    "BF16": 29.320,
    "Q8_0": 15.577,
    "Q6_K": 12.027,
    "Q5_K_M": 10.496,
    "Q5_K_S": 10.148,
    "Q4_K_M": 9.056,
    "Q4_K_S": 8.457,
    "Q4_1": 9.264,
    "Q4_0": 8.380,
    "IQ4_NL": 8.634,
    "IQ4_XS": 8.255,
    "Q3_K_L": 8.123,
    "Q3_K_M": 7.370,
    "Q3_K_S": 6.501,
    "IQ3_M": 6.910,
    "Q2_K": 5.912,
}
MINI = {
    "F16": 7.672,
    "Q8_0": 4.076,
    "Q6_K": 3.147,
    "Q5_K_M": 2.806,
    "Q4_K_M": 2.486,
    "Q4_K_S": 2.337,
    "Q4_0": 2.317,
    "Q3_K_M": 2.113,
    "Q2_K": 1.726,
}
TABLE = [("phi-4", *row) for row in PHI_4.items()] + [("phi-4-mini-instruct", *row) for row in MINI.items()]


def shape(name, quantization="Q4_K_M"):
    return planning.manifest_shape(catalog.find(name), quantization)


@pytest.mark.parametrize(("name", "quantization", "gigabytes"), TABLE)
def test_tensor_bytes_of_the_family_are_the_known_ones(name, quantization, gigabytes):
    assert shape(name, quantization).weight_bytes / GB == pytest.approx(gigabytes, rel=0.0003)


def test_parameters_are_the_manifests():
    assert shape("phi-4").parameters == 14_659_507_200
    assert shape("phi-4-mini-instruct").parameters == 3_836_021_760


@pytest.mark.parametrize(
    ("name", "kv_type", "bytes_per_token"),
    [
        ("phi-4", "f16", 204_800),
        ("phi-4", "q8_0", 108_800),
        ("phi-4", "q4_0", 57_600),
        ("phi-4-mini-instruct", "f16", 131_072),
        ("phi-4-mini-instruct", "q8_0", 69_632),
        ("phi-4-mini-instruct", "q4_0", 36_864),
    ],
)
def test_a_token_of_cache_costs_what_its_layout_says(name, kv_type, bytes_per_token):
    assert kv_bytes(shape(name), Cells(context_tokens=16384, kv_type=kv_type)) == 16384 * bytes_per_token


@pytest.mark.parametrize("quantization", ["F32", "F16", "Q8_0", "Q4_K_M", "Q2_K", "IQ4_XS"])
def test_the_tensors_predicted_without_a_file_are_those_of_the_file(quantization, checkpoint, tmp_path):
    path = tmp_path / "nano.gguf"
    convert_checkpoint(checkpoint, path, quantization, kernels="ggml")
    file = planning.model_shape(read_header(path))
    predicted = shape("phi4-nano", quantization)
    assert {w.name: w.size_bytes for w in predicted.weights} == {w.name: w.size_bytes for w in file.weights}


def test_phi_4_in_four_bits_fits_a_laptop_and_in_eight_does_not():
    assert planning.fit(shape("phi-4"), LAPTOP).verdict == "cpu"
    plan = planning.fit(shape("phi-4", "Q8_0"), LAPTOP)
    assert plan.verdict == "no"
    assert plan.largest_context_tokens == 0


def test_a_card_takes_all_layers_then_some_then_none():
    assert planning.fit(shape("phi-4"), WORKSTATION).gpu_layers == 41
    small = replace(WORKSTATION, gpus=(replace(CARD, free_bytes=6 * GIB),))
    partly = planning.fit(shape("phi-4"), small)
    assert partly.verdict == "partly"
    assert 10 < partly.gpu_layers < 30
    tiny = replace(WORKSTATION, gpus=(replace(CARD, free_bytes=600 * 2**20),))
    assert planning.fit(shape("phi-4"), tiny).verdict == "cpu"


def test_every_byte_of_weights_and_cache_is_somewhere():
    model = shape("phi-4")
    small = replace(WORKSTATION, gpus=(replace(CARD, free_bytes=6 * GIB), replace(CARD, free_bytes=3 * GIB)))
    plan = planning.fit(model, small)
    assert sum(device.weight_bytes for device in plan.devices) == model.weight_bytes
    assert sum(device.layers for device in plan.devices) == model.layers
    assert sum(device.kv_bytes for device in plan.devices) == 4096 * 204_800


def test_the_largest_context_fits_and_the_next_one_does_not():
    model = shape("phi-4")
    machine = replace(LAPTOP, available_bytes=11 * GIB)
    largest = planning.fit(model, machine).largest_context_tokens
    assert 4096 < largest < 16384
    assert planning.fit(model, machine, context_tokens=largest).fits
    assert not planning.fit(model, machine, context_tokens=largest + 256).fits


def test_what_is_set_is_kept():
    plan = planning.fit(
        shape("phi-4"), WORKSTATION, settings=LoadSettings(gpu_layers=7, kv_type="q8_0", context_tokens=8192)
    )
    assert (plan.gpu_layers, plan.kv_type, plan.context_tokens) == (7, "q8_0", 8192)
    assert sum(device.kv_bytes for device in plan.devices) == 8192 * 108_800


def test_shared_memory_is_counted_once():
    metal = replace(CARD, name="MTL0", back_end="MTL", free_bytes=12 * GIB, shares_memory=True)
    machine = replace(LAPTOP, available_bytes=9 * GIB, gpus=(metal,))
    assert planning.fit(shape("phi-4"), machine).verdict == "no"
    assert planning.fit(shape("phi-4"), replace(machine, available_bytes=13 * GIB)).verdict == "gpu"


def test_no_prediction_exceeds_the_roofline():
    speeds = planning.fit(shape("phi-4"), LAPTOP).speeds
    assert speeds.roofline == pytest.approx(60 / 8.767, rel=0.01)  # 9.056 GB less 0.289 GB of embedding
    assert speeds.generation.low < speeds.generation.expected <= speeds.generation.high <= speeds.roofline


def test_a_cpu_prompt_is_slowed_by_reading_the_weights_again_in_every_step():
    def expected(bandwidth):
        return planning.fit(shape("phi-4"), replace(LAPTOP, bandwidth=bandwidth)).speeds.prompt.expected

    assert expected(20e9) < expected(60e9) < expected(1e15)
    # 14.7 billion weights take 0.5 s from memory at 20 GB/s: twice that for each step of 16 tokens.
    assert 1 / expected(20e9) - 1 / expected(1e15) > 2 * 0.4 / 16


def test_no_bandwidth_no_prediction():
    assert planning.fit(shape("phi-4"), replace(LAPTOP, bandwidth=None)).speeds is None


def test_recommended_is_the_largest_model_that_a_person_can_wait_for():
    def best(machine):
        names = ("phi-4", "phi-4-mini-instruct")
        offers = [
            planning.make_offer(f"{name}:{kind}", shape(name, kind), machine)
            for name in names
            for kind in ("Q2_K", "Q4_K_M", "Q8_0", "F16")
        ]
        found = planning.recommend(offers, machine)
        return found and found.offer.name

    assert best(WORKSTATION) == "phi-4:Q8_0"
    assert best(LAPTOP) == "phi-4:Q4_K_M"
    assert best(replace(LAPTOP, bandwidth=20e9)) == "phi-4-mini-instruct:Q4_K_M"
    assert best(replace(LAPTOP, available_bytes=GIB)) is None
