"""Fine-tuning from names to a finished adapter: read, predict the memory, train, convert, register."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from phi4local import hardware
from phi4local.errors import FileWriteError, NotEnoughMemoryError, TrainingError
from phi4local.finetune import network, saved
from phi4local.finetune.tokens import Encoder
from phi4local.finetune.training import Training
from phi4local.planning.training import TrainingMemory, training_memory
from phi4local.runtime import resolve
from phi4local.runtime.adapters import make_adapter_file

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from phi4local.finetune.dataset import Conversation
    from phi4local.finetune.options import TrainOptions
    from phi4local.finetune.tokens import Sample
    from phi4local.finetune.training import Report

ADAPTER_FILE = "adapter.gguf"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What is known before the weights are loaded.

    Attributes:
        checkpoint: folder of the model.
        device: `cuda`, `mps` or `cpu`.
        samples, held_out: what is learned, and what the loss is measured on.
        skipped: conversations of which nothing would be learned, because `max_length` ends before an answer.
        cut: conversations that lose their end.
        memory: the prediction.
        free_bytes: of the device.
        options: how.
        resume: the checkpoint to go on from, or `None`.
    """

    checkpoint: Path
    device: str
    samples: tuple[Sample, ...]
    held_out: tuple[Sample, ...]
    padding_id: int
    skipped: int
    cut: int
    memory: TrainingMemory
    free_bytes: int
    options: TrainOptions
    resume: Path | None = None

    @property
    def data_digest(self) -> str:
        """SHA-256 of all samples: a resumed run must have the same ones."""
        return hashlib.sha256(repr((self.samples, self.held_out)).encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """What a run left.

    Attributes:
        folder: the adapter as PEFT has it.
        gguf: the same for llama.cpp; `None` for DoRA, which has no such form.
        history: a report for each step.
    """

    folder: Path
    gguf: Path | None
    history: tuple[Report, ...]


def find_checkpoint(model: str) -> Path:
    """Return the folder of a model's safetensors.

    Raises:
        TrainingError: there is only a GGUF file, whose weights cannot be trained on.
        UnknownModelError, ModelNotInstalledError: there is no such model here.
    """
    source = resolve.find(model)
    if source.checkpoint is None:
        raise TrainingError(
            f"`{model}` is a GGUF file here, and training needs its safetensors",
            hint=f"get the checkpoint, for example `hf download microsoft/{model}`, and name its folder",
        )
    return source.checkpoint


def prepare(
    checkpoint: Path,
    conversations: Sequence[Conversation],
    options: TrainOptions,
    *,
    resume: Path | None = None,
    force: bool = False,
) -> Prepared:
    """Turn conversations into samples and predict the memory; nothing is loaded yet.

    Args:
        checkpoint: folder of the model.
        conversations: what to learn from; a share of `split_dataset_ratio` is held out.
        options: how.
        resume: a checkpoint of an earlier run.
        force: go on although the prediction says that it won't fit.

    Raises:
        MissingExtraError: torch, transformers, peft or, for 4 bits, bitsandbytes are missing.
        TrainingError: nothing to learn.
        NotEnoughMemoryError: the prediction is above what is free.
        CheckpointError, ChatTemplateError: the model cannot be read, or its template refuses a conversation.
    """
    network.require_libraries(options)
    encoder = Encoder(checkpoint)
    whole = [encoder.encode(one, max_length=2**31, system=options.system) for one in conversations]
    useful = _useful(whole, options.max_length)
    held_out = useful[: int(len(useful) * options.split_dataset_ratio)]
    place = network.device()
    longest = max(len(sample.ids) for sample in useful) * options.per_device_train_batch_size
    memory, free = training_memory(network.shape_of(checkpoint, options, place, longest)), _free_bytes(place)
    if memory.total > free and not force:
        raise _too_large(memory, free, place, options)
    return Prepared(
        checkpoint=checkpoint,
        device=place,
        samples=tuple(useful[len(held_out) :]),
        held_out=tuple(held_out),
        padding_id=encoder.padding_id,
        skipped=len(whole) - len(useful),
        cut=sum(len(sample.ids) > options.max_length for sample in whole),
        memory=memory,
        free_bytes=free,
        options=options,
        resume=resume,
    )


def finetune(
    prepared: Prepared,
    output: Path,
    *,
    threads: int | None = None,
    tell: Callable[[Report], None] = lambda _report: None,
) -> Finished:
    """Train the adapter and write it.

    Args:
        prepared: from `prepare`.
        output: folder of the run; it gets `checkpoint-N` and `adapter.gguf`.
        threads: CPU threads; torch's choice if left out. More than idle cores are many times slower.
        tell: called after each step.

    Returns:
        where the adapter is, and how the loss went.

    Raises:
        TrainingError: the loss is no number, the memory is full, or the resumed run had other data.
        FileWriteError: the disk is full.
        AdapterError: nothing was learned: the adapter changes no answer.
    """
    import torch

    options = prepared.options
    _make(output)
    if threads is not None:
        torch.set_num_threads(threads)
    torch.manual_seed(options.seed)
    base = network.load_base(prepared.checkpoint, options, prepared.device)
    model = network.attach(base, options, prepared.resume)
    training = Training(model, prepared.samples, prepared.held_out, prepared.padding_id, options)
    history = _go_on(training, prepared)
    folder = prepared.resume
    for report in training.run():
        history.append(report)
        tell(report)
        if report.step % options.save_steps == 0 or report.step == report.steps:
            folder = saved.save(training, output, history, prepared.data_digest)
    if folder is None:
        raise TrainingError("there was no step to take", hint="give more samples or epochs")
    gguf = None
    if options.train_type != "dora":
        gguf = output / ADAPTER_FILE
        make_adapter_file(folder, gguf, base=str(prepared.checkpoint), overwrite=True)
    return Finished(folder=folder, gguf=gguf, history=tuple(history))


def _go_on(training: Training, prepared: Prepared) -> list[Report]:
    """Restore a resumed run, and return its reports."""
    if prepared.resume is None:
        return []
    options, data, history = saved.read_log(prepared.resume)
    if data != prepared.data_digest or options != prepared.options:
        changed = "data" if data != prepared.data_digest else "options"
        raise TrainingError(
            f"{prepared.resume} was trained with other {changed}",
            hint="repeat the command it began with, and add `--resume`",
        )
    saved.restore(training, prepared.resume)
    return history


def _useful(samples: Sequence[Sample], length: int) -> list[Sample]:
    """Cut samples, and leave out those of which nothing would be learned."""
    cut = [replace(sample, ids=sample.ids[:length], labels=sample.labels[:length]) for sample in samples]
    useful = [sample for sample in cut if sample.learned]
    if not useful:
        raise TrainingError(
            "nothing is left to learn: every answer begins after `max_length`",
            hint=f"raise `--max-length` above {length:,}",
        )
    return useful


def _too_large(
    memory: TrainingMemory, free_bytes: int, place: str, options: TrainOptions
) -> NotEnoughMemoryError:
    smaller = "a smaller model" if options.quant_bits else "weights of 4 bits (`--quant-bits 4`)"
    return NotEnoughMemoryError(
        "GPU" if place == "cuda" else "CPU",
        needed_bytes=memory.total,
        free_bytes=free_bytes,
        nearest=f"take shorter samples (`--max-length`), a smaller batch, or {smaller}",
    )


def _free_bytes(place: str) -> int:
    if place == "cuda":
        import torch

        return int(torch.cuda.mem_get_info()[0])
    return hardware.available_bytes()


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileWriteError(folder, (error.strerror or str(error)).lower()) from error
