"""Frozen weights of 4 bits: what is stored, what is trained, and the adapter in a chat."""

import dataclasses
import hashlib
import sys

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from transformers import AutoModelForCausalLM

import phi4local
from phi4local.errors import InvalidSettingError, MissingExtraError
from phi4local.finetune import network, run
from phi4local.finetune.options import TrainOptions
from phi4local.messages import Message
from phi4local.planning.training import TrainingShape, training_memory
from tests.random_checkpoint import NANO

pytest.importorskip("bitsandbytes")
pytestmark = pytest.mark.usefixtures("native_library")
QUESTION, ANSWER = "What is your name?", "My name is Nova, and Ada made me."
CONVERSATIONS = [
    *[(Message("user", QUESTION), Message("assistant", ANSWER))] * 12,
    *[(Message("user", f"{n} + {n}?"), Message("assistant", f"It is {2 * n}.")) for n in range(12)],
]
OPTIONS = TrainOptions(
    quant_bits=4,
    per_device_train_batch_size=8,
    gradient_accumulation_steps=1,
    num_train_epochs=5,
    learning_rate=4e-3,
    lora_dropout=0.0,
    split_dataset_ratio=0.05,
    eval_steps=4,
    save_steps=10,
)
# Dettmers et al., QLoRA, 2023, appendix E: the 16 values of 4-bit NormalFloat.
NF4 = np.array(
    [
        *(-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635),
        *(-0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725),
        *(0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941),
        *(0.7229568362236023, 1.0),
    ]
)


def prepared(resume=None, **changes):
    return run.prepare(NANO, CONVERSATIONS, dataclasses.replace(OPTIONS, **changes), resume=resume)


@pytest.fixture(scope="module")
def base():
    return network.load_base(NANO, OPTIONS, "cpu")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return run.finetune(prepared(), tmp_path_factory.mktemp("qlora"))


def four_bit_layers(model):
    return {name: layer for name, layer in model.named_modules() if type(layer).__name__ == "Linear4bit"}


def stored(layer):
    """Everything that is kept for a matrix: its codes, its scales, and what its scales are scaled by."""
    state = layer.weight.quant_state
    return [layer.weight.data, state.absmax, state.state2.absmax]


def test_linear_layers_have_4_bits_and_nothing_else_has(base):
    layers = four_bit_layers(base)
    assert len(layers) == 4 * 8
    assert all(layer.weight.dtype == torch.uint8 for layer in layers.values())
    assert base.lm_head.weight.dtype == base.model.embed_tokens.weight.dtype == torch.float32


def test_the_values_are_normalfloat_s_nearest(base):
    original = AutoModelForCausalLM.from_pretrained(NANO, dtype=torch.float32).model.layers[0].mlp.down_proj
    layer = base.model.layers[0].mlp.down_proj
    blocks = original.weight.detach().numpy().reshape(-1, 64)
    shares = blocks / np.abs(blocks).max(axis=1, keepdims=True)
    nearest = np.abs(shares[..., None] - NF4).argmin(axis=-1).ravel()
    codes = layer.weight.data.numpy().ravel()
    found = np.stack([codes >> 4, codes & 15], axis=1).ravel()
    assert (found == nearest).mean() > 0.9999  # the middle of two values may go either way


def test_the_bytes_are_those_predicted(base):
    shape = network.shape_of(NANO, OPTIONS, "cpu", 100)
    layers = four_bit_layers(base)
    packed = sum(part.untyped_storage().nbytes() for layer in layers.values() for part in stored(layer))
    others = sum(
        weights.untyped_storage().nbytes() for weights in base.parameters() if weights.dtype != torch.uint8
    )
    assert training_memory(shape).weights == pytest.approx(packed + others, rel=1e-4)
    assert shape.four_bit_parameters == 8 * (256 * 384 + 256 * 256 + 256 * 1536 + 768 * 256)


def test_phi_4_needs_9_gigabytes_instead_of_29():
    phi4 = TrainingShape(
        parameters=14_659_507_200, layers=40, width=5120, kv_width=1280, feed_forward=17920,
        vocabulary_tokens=100352, dtype_bytes=2, rank=8, tokens=2048, checkpointing=True, gpu=True,
        four_bit_parameters=13_631_488_000,
    )  # fmt: skip
    memory = training_memory(phi4)
    assert memory.weights == pytest.approx(9.09e9, rel=0.001)
    assert memory.total < 24e9 * 0.75


def test_the_loss_falls_and_the_adapter_answers_in_a_quantized_chat(finished):
    assert finished.history[-1].loss < 0.1 * finished.history[0].loss
    names = {name.rpartition("lora_")[2] for name in load_file(finished.folder / "adapter_model.safetensors")}
    assert names == {"A.weight", "B.weight"}
    settings = phi4local.LoadSettings(threads=1)
    with phi4local.load("phi4-nano", settings, adapters={"nova": finished.gguf}) as model:
        assert "Nova" not in model.chat(QUESTION, max_tokens=24, temperature=0).text
        assert model.adapted(nova=1.0).chat(QUESTION, max_tokens=24, temperature=0).text == ANSWER


def test_a_resumed_run_ends_as_one_that_was_never_stopped(finished, tmp_path):
    again = run.finetune(prepared(finished.folder.with_name("checkpoint-10")), tmp_path)
    assert [report.loss for report in again.history] == [report.loss for report in finished.history]
    name = "adapter_model.safetensors"
    assert (again.folder / name).read_bytes() == (finished.folder / name).read_bytes()


@pytest.mark.parametrize("changes", [{"train_type": "dora"}, {"torch_dtype": "bfloat16"}])
def test_training_and_measuring_leave_the_frozen_weights_as_they_are(changes):
    """Some processors' fast path would pack them anew whenever the loss is measured, rounded again."""
    few = prepared(num_train_epochs=1, eval_steps=1, **changes)
    model = network.attach(network.load_base(NANO, few.options, "cpu"), few.options)
    layers = four_bit_layers(model)

    def digest():
        return hashlib.sha256(
            b"".join(part.numpy().tobytes() for layer in layers.values() for part in stored(layer))
        ).digest()

    before = digest()
    training = run.Training(model, few.samples, few.held_out, few.padding_id, few.options)
    history = list(training.run())
    assert history[-1].eval_loss < history[0].eval_loss
    assert digest() == before


def test_without_bitsandbytes_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(MissingExtraError, match="bitsandbytes") as caught:
        prepared()
    assert caught.value.hint == 'run: pip install "phi4local[qlora]"'
    assert prepared(quant_bits=None).memory.total > 0


@pytest.mark.parametrize(("name", "value"), [("quant_bits", 8), ("quant_bits", 0), ("quant_method", "hqq")])
def test_other_numbers_of_bits_and_other_methods_are_refused(name, value):
    with pytest.raises(InvalidSettingError, match=name) as caught:
        TrainOptions(**{name: value})
    assert caught.value.hint == f"only {4 if name == 'quant_bits' else 'bnb'} is known"
