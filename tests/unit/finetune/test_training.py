"""The loop: transformers' schedule and loss, the same numbers again, and after a break."""

import dataclasses
import json
import math

import pytest
import torch
from transformers import AutoModelForCausalLM, get_cosine_schedule_with_warmup

from phi4local.convert.adapters import read_adapter
from phi4local.errors import InvalidSettingError, NotEnoughMemoryError, TrainingError
from phi4local.finetune import network, run, saved
from phi4local.finetune.options import TrainOptions
from phi4local.finetune.tokens import Encoder
from phi4local.finetune.training import Training, learning_rate
from phi4local.messages import Message
from phi4local.planning.training import TrainingShape, adapter_parameters, training_memory

pytestmark = pytest.mark.usefixtures("native_library")
CONVERSATIONS = [
    (Message("user", f"What is {n} + {n}?"), Message("assistant", f"It is {2 * n}." + " Really." * (n % 4)))
    for n in range(21)
]
OPTIONS = TrainOptions(
    per_device_train_batch_size=3,
    per_device_eval_batch_size=2,
    gradient_accumulation_steps=2,
    num_train_epochs=2,
    learning_rate=5e-3,
    split_dataset_ratio=0.1,
    save_steps=3,
    eval_steps=4,
    save_total_limit=2,
)


def trained(checkpoint, folder, **changes):
    resume = changes.pop("resume", None)
    options = dataclasses.replace(OPTIONS, **changes)
    return run.finetune(run.prepare(checkpoint, CONVERSATIONS, options, resume=resume), folder)


@pytest.fixture(scope="module")
def first(small, tmp_path_factory):
    folder = tmp_path_factory.mktemp("first")
    return folder, trained(small, folder)


def losses(finished):
    return [(report.step, report.loss, report.eval_loss, report.gradient_norm) for report in finished.history]


def test_it_learns_and_leaves_an_adapter_in_both_forms(first):
    folder, finished = first
    history = finished.history
    assert [report.step for report in history] == list(range(1, 9))  # 19 samples in steps of 6, twice
    assert history[-1].loss < history[0].loss - 0.5
    assert [report.step for report in history if report.eval_loss is not None] == [4, 8]
    assert [path.name for path in saved.checkpoints(folder)] == ["checkpoint-6", "checkpoint-8"]
    assert finished.folder == folder / "checkpoint-8"
    assert finished.gguf.is_file()
    assert len(read_adapter(finished.folder).low_rank) == 4
    assert not list(folder.glob(".*"))


def test_the_same_seed_gives_the_same_losses_and_another_one_others(small, first, tmp_path):
    assert losses(trained(small, tmp_path / "again")) == losses(first[1])
    assert losses(trained(small, tmp_path / "other", seed=7)) != losses(first[1])


def test_a_resumed_run_ends_as_one_that_was_never_stopped(small, first, tmp_path):
    folder, finished = first
    again = trained(small, tmp_path, resume=folder / "checkpoint-6")
    assert losses(again) == losses(finished)
    name = "adapter_model.safetensors"
    assert (again.folder / name).read_bytes() == (finished.folder / name).read_bytes()


@pytest.mark.parametrize(
    ("change", "says"), [({"learning_rate": 1e-3}, "options"), ({"max_length": 20}, "data")]
)
def test_a_run_is_not_resumed_with_something_else(change, says, small, first, tmp_path):
    with pytest.raises(TrainingError, match=f"was trained with other {says}"):
        trained(small, tmp_path, resume=first[0] / "checkpoint-6", **change)


@pytest.mark.parametrize("name", ["training_state.pt", "training_log.json", "adapter_model.safetensors"])
def test_a_damaged_checkpoint_is_one_error(name, small, first, tmp_path):
    import shutil

    shutil.copytree(first[0] / "checkpoint-6", tmp_path / "checkpoint-6")
    path = tmp_path / "checkpoint-6" / name
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(TrainingError, match=r"checkpoint-6|PEFT"):
        trained(small, tmp_path / "out", resume=tmp_path / "checkpoint-6")


@pytest.mark.parametrize(("steps", "ratio"), [(8, 0.05), (100, 0.05), (37, 0.3), (5, 0.0)])
def test_the_rate_is_transformers_cosine_one_step_ahead_while_it_rises(steps, ratio):
    """Transformers' first step has a rate of 0, which would waste it; the fall is its own."""
    options = TrainOptions(warmup_ratio=ratio)
    warmup = math.ceil(steps * ratio)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=options.learning_rate)
    schedule = get_cosine_schedule_with_warmup(optimizer, warmup, steps)
    for step in range(steps):
        ahead = step + 1 if step < warmup else step
        assert learning_rate(step, steps, options) == pytest.approx(
            options.learning_rate * schedule.lr_lambdas[0](ahead)
        )
        optimizer.step()
        schedule.step()


def test_the_loss_is_transformers_mean_over_the_learned_tokens(small):
    encoder = Encoder(small)
    samples = [encoder.encode(one, max_length=99) for one in CONVERSATIONS]
    options = dataclasses.replace(OPTIONS, lora_dropout=0.0)
    model = network.attach(network.load_base(small, options, "cpu"), options)
    mine = Training(model, samples, samples, encoder.padding_id, options).loss_of(samples)
    oracle = AutoModelForCausalLM.from_pretrained(small, dtype=torch.float32).eval()
    total = 0.0
    with torch.inference_mode():
        for sample in samples:
            loss = oracle(input_ids=torch.tensor([sample.ids]), labels=torch.tensor([sample.labels])).loss
            total += float(loss) * sample.learned
    assert mine == pytest.approx(total / sum(sample.learned for sample in samples), rel=1e-5)


@pytest.mark.parametrize("kind", ["rslora", "dora"])
def test_other_kinds_of_adapters_are_peft_s(kind, small, tmp_path):
    finished = trained(small, tmp_path, train_type=kind, num_train_epochs=1)
    config = json.loads((finished.folder / "adapter_config.json").read_text())
    assert config[{"rslora": "use_rslora", "dora": "use_dora"}[kind]] is True
    assert (finished.gguf is None) == (kind == "dora")


def test_nothing_to_learn_is_an_error_and_so_is_too_little_memory(small, monkeypatch):
    with pytest.raises(TrainingError, match="nothing is left to learn"):
        run.prepare(small, CONVERSATIONS, dataclasses.replace(OPTIONS, max_length=3))
    monkeypatch.setattr("phi4local.hardware.available_bytes", lambda: 1_000_000)
    with pytest.raises(NotEnoughMemoryError):
        run.prepare(small, CONVERSATIONS, OPTIONS)
    assert run.prepare(small, CONVERSATIONS, OPTIONS, force=True).memory.total > 1_000_000


def test_a_loss_that_is_no_number_stops_the_run(small, tmp_path):
    with pytest.raises(TrainingError, match="the loss of step"):
        trained(small, tmp_path, learning_rate=1e18, max_grad_norm=1e30)


def test_a_gguf_file_cannot_be_trained_on(tmp_path):
    from phi4local.convert import convert_checkpoint
    from tests.random_checkpoint import NANO

    convert_checkpoint(NANO, tmp_path / "nano.gguf", "Q8_0")
    with pytest.raises(TrainingError, match="is a GGUF file"):
        run.find_checkpoint(str(tmp_path / "nano.gguf"))


@pytest.mark.parametrize(
    "values",
    [
        {"train_type": "full"},
        {"torch_dtype": "int8"},
        {"lora_rank": 0},
        {"warmup_ratio": 1},
        {"learning_rate": -1},
    ],
)
def test_values_that_cannot_be_are_refused_by_name(values):
    with pytest.raises(InvalidSettingError, match=next(iter(values))):
        TrainOptions(**values)


def test_the_weights_of_an_adapter_are_counted_as_peft_makes_them(small):
    options = dataclasses.replace(OPTIONS, lora_rank=5)
    shape = network.shape_of(small, options, "cpu", 100)
    model = network.attach(network.load_base(small, options, "cpu"), options)
    assert adapter_parameters(shape) == sum(w.numel() for w in model.parameters() if w.requires_grad)
    assert shape.parameters == sum(
        w.numel() for w in model.get_base_model().parameters() if not w.requires_grad
    )


def test_phi_4_in_bfloat16_is_29_gigabytes_and_a_little():
    phi4 = TrainingShape(
        parameters=14_659_507_200, layers=40, width=5120, kv_width=1280, feed_forward=17920,
        vocabulary_tokens=100352, dtype_bytes=2, rank=8, tokens=2048, checkpointing=True, gpu=True,
    )  # fmt: skip
    assert adapter_parameters(phi4) == 27_852_800
    memory = training_memory(phi4)
    assert memory.weights == 29_319_014_400
    assert 30e9 < memory.total < 40e9
    assert training_memory(dataclasses.replace(phi4, checkpointing=False)).total > 2 * memory.total
