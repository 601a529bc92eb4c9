"""What loading does when a model fits, when it fits with less, and when it does not fit."""

from dataclasses import replace

import pytest

from phi4local import gguf
from phi4local.convert import convert_checkpoint
from phi4local.errors import GpuMissingError, NotEnoughMemoryError
from phi4local.hardware import Gpu, Machine
from phi4local.planning import fit, model_shape
from phi4local.runtime.settle import settle
from phi4local.settings import LoadSettings

MIB = 2**20
CARD = Gpu(name="CUDA0", description="", back_end="CUDA", total_bytes=2**33, free_bytes=2**33)
ROOMY = Machine(memory_bytes=2**34, available_bytes=2**34, cores=4)


@pytest.fixture(scope="module")
def header(checkpoint, tmp_path_factory):
    path = tmp_path_factory.mktemp("settle") / "nano.gguf"
    convert_checkpoint(checkpoint, path, "Q8_0", kernels="ggml")
    return gguf.validate(path)


def needed(header, **settings):
    """Bytes of main memory of a plan; `test_buffers.py` compares these with llama.cpp's own."""
    return fit(model_shape(header), ROOMY, settings=LoadSettings(**settings)).memory_bytes


def with_room_for(size_bytes):
    return replace(ROOMY, available_bytes=size_bytes)


def test_what_fits_is_loaded_as_asked(header):
    settled = settle(header, LoadSettings(), ROOMY)
    assert settled.settings == LoadSettings(threads=ROOMY.cores)
    assert settled.notices == ()


def test_a_smaller_cache_comes_before_a_smaller_context(header):
    room = with_room_for(needed(header, kv_type="q8_0"))
    settled = settle(header, LoadSettings(), room)
    assert (settled.settings.kv_type, settled.settings.context_tokens) == ("q8_0", None)
    assert settled.notices == ("the KV cache is q8_0, to fit into memory",)


def test_then_the_context_shrinks_to_what_fits(header):
    room = with_room_for(needed(header, kv_type="f16", context_tokens=1024))
    settled = settle(header, LoadSettings(kv_type="f16"), room)
    assert settled.settings.context_tokens == 1024
    assert settled.notices == ("the context has 1,024 tokens, the most that fit into memory",)


def test_what_a_person_set_is_refused_rather_than_changed(header):
    asked = LoadSettings(kv_type="f16", context_tokens=2048)
    room = with_room_for(needed(header, kv_type="f16", context_tokens=1024))
    with pytest.raises(NotEnoughMemoryError, match="of main memory") as refused:
        settle(header, asked, room)
    assert refused.value.needed_bytes > refused.value.free_bytes == room.available_bytes
    assert "`--context 1024` fits" in refused.value.hint
    forced = settle(header, replace(asked, force=True), room)
    assert forced.settings.context_tokens == 2048
    assert "`--force`" in forced.notices[0]


def test_nothing_fits_into_nearly_nothing(header):
    with pytest.raises(NotEnoughMemoryError, match="GB are free") as refused:
        settle(header, LoadSettings(), with_room_for(10 * MIB))
    assert "phi4local recommend" in refused.value.hint


def test_layers_go_to_the_gpu_as_far_as_they_fit_and_the_rest_is_said(header):
    full = settle(header, LoadSettings(require_gpu=True), replace(ROOMY, gpus=(CARD,)))
    assert (full.settings.gpu_layers, full.notices) == (9, ())
    small = replace(CARD, free_bytes=(600 + 16) * MIB)
    settled = settle(header, LoadSettings(), replace(ROOMY, gpus=(small,)))
    assert 0 < settled.settings.gpu_layers < 9
    assert settled.notices[0].endswith("of 9 layers fit on the GPU; the CPU computes the others")


def test_a_required_gpu_is_never_replaced_by_the_cpu(header):
    wanted = LoadSettings(require_gpu=True)
    with pytest.raises(GpuMissingError, match="sees none"):
        settle(header, wanted, ROOMY)
    full_card = replace(CARD, free_bytes=100 * MIB)
    with pytest.raises(GpuMissingError, match="0 of 9 layers have room on CUDA0"):
        settle(header, wanted, replace(ROOMY, gpus=(full_card,)))


def test_a_required_gpu_is_required_of_those_who_place_tensors_by_hand_too(header):
    by_hand = LoadSettings(require_gpu=True, tensor_overrides=("ffn=CPU",))
    with pytest.raises(GpuMissingError, match="sees none"):
        settle(header, by_hand, ROOMY)
    with pytest.raises(GpuMissingError, match="`--gpu-layers 0`"):
        settle(header, replace(by_hand, gpu_layers=0), replace(ROOMY, gpus=(CARD,)))
    assert settle(header, by_hand, replace(ROOMY, gpus=(CARD,))).settings == by_hand


def test_who_places_tensors_by_hand_is_left_alone(header):
    by_hand = LoadSettings(tensor_overrides=("ffn=CPU",))
    assert settle(header, by_hand, with_room_for(MIB)).settings == by_hand


def test_a_system_that_does_not_tell_its_memory_refuses_nothing(header):
    assert settle(header, LoadSettings(), with_room_for(0)).notices == ()


def test_threads_are_the_plans_unless_a_person_set_them(header):
    assert settle(header, LoadSettings(), ROOMY).settings.threads == ROOMY.cores
    assert settle(header, LoadSettings(threads=1), ROOMY).settings.threads == 1
