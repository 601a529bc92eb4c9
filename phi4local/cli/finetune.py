"""`phi4local finetune`: teach a model something with a LoRA adapter."""

from __future__ import annotations

import dataclasses
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from phi4local.cli import finetune_options as train
from phi4local.cli import options, render

if TYPE_CHECKING:
    from collections.abc import Callable

    from phi4local.finetune.options import TrainOptions
    from phi4local.finetune.run import Finished, Prepared
    from phi4local.finetune.training import Report


_DEVICES = {"cpu": "CPU", "cuda": "GPU", "mps": "GPU"}


def finetune(
    model: Annotated[
        str,
        typer.Argument(
            help="Name or folder of a checkpoint in safetensors", autocompletion=options.complete_model
        ),
    ],
    dataset: train.Dataset,
    output_dir: train.OutputDir = Path("output"),
    name: train.Name = None,
    model_name: train.ModelName = None,
    model_author: train.ModelAuthor = None,
    system: train.System = None,
    max_length: train.MaxLength = 2048,
    split_dataset_ratio: train.SplitDatasetRatio = 0.01,
    train_type: train.TrainType = "lora",
    lora_rank: train.LoraRank = 8,
    lora_alpha: train.LoraAlpha = 32,
    lora_dropout: train.LoraDropout = 0.05,
    target_modules: train.TargetModules = "all-linear",
    torch_dtype: train.TorchDtype = None,
    quant_bits: train.QuantBits = None,
    quant_method: train.QuantMethod = "bnb",
    num_train_epochs: train.NumTrainEpochs = 1,
    per_device_train_batch_size: train.PerDeviceTrainBatchSize = 1,
    per_device_eval_batch_size: train.PerDeviceEvalBatchSize = 1,
    gradient_accumulation_steps: train.GradientAccumulationSteps = 16,
    learning_rate: train.LearningRate = 1e-4,
    warmup_ratio: train.WarmupRatio = 0.05,
    weight_decay: train.WeightDecay = 0.1,
    no_gradient_checkpointing: train.NoGradientCheckpointing = False,
    seed: train.Seed = 42,
    eval_steps: train.EvalSteps = 50,
    save_steps: train.SaveSteps = 50,
    save_total_limit: train.SaveTotalLimit = 5,
    logging_steps: train.LoggingSteps = 5,
    dataloader_num_workers: train.DataloaderNumWorkers = 0,
    resume: train.Resume = None,
    plot: train.Plot = None,
    threads: options.Threads = None,
    force: Annotated[bool, typer.Option("--force", help="Start although memory seems too small")] = False,
    json: options.Json = False,
) -> None:
    """Teach a model something: train a LoRA adapter, for this model in every quantization.

    Example: phi4local finetune ./phi-4 --dataset alpaca.jsonl#500 --dataset self-cognition#200
    --model-name Nova --model-author Ada --output-dir nova
    """
    given = locals()
    from phi4local.finetune import run
    from phi4local.finetune.options import TrainOptions

    fields = {field.name for field in dataclasses.fields(TrainOptions)} & given.keys()
    values = {field: given[field] for field in fields} | {
        "target_modules": tuple(part.strip() for part in target_modules.split(",")),
        "gradient_checkpointing": not no_gradient_checkpointing,
    }
    chosen = TrainOptions(**values)
    called = _checked_name(name or output_dir.resolve().name)
    _check_plot(plot)
    prepared = _prepared(model, dataset, chosen, (model_name, model_author), resume, force=force)
    if not json:
        _announce(prepared)
    with _shown(logging_steps, quiet=json) as tell:
        finished = run.finetune(prepared, output_dir, threads=threads, tell=tell)
    kept = _registered(finished, called, model)
    _draw(finished, plot)
    if json:
        render.print_json(_facts(prepared, finished, kept))
    else:
        _tell(finished, model, kept)


def _prepared(
    model: str,
    dataset: list[str],
    chosen: TrainOptions,
    identity: tuple[str | None, str | None],
    resume: Path | None,
    *,
    force: bool,
) -> Prepared:
    from phi4local.finetune.dataset import DatasetSpec, Identity, read_datasets
    from phi4local.finetune.run import find_checkpoint, prepare

    specs = [DatasetSpec.parse(text) for text in dataset]
    known = Identity(name=identity[0], author=identity[1])
    conversations = read_datasets(specs, known, seed=chosen.seed, fetch=_fetch)
    return prepare(find_checkpoint(model), conversations, chosen, resume=resume, force=force)


def _fetch(name: str) -> Path:
    from phi4local.cli.progress import shown_progress
    from phi4local.runtime.snapshot import snapshot

    with shown_progress() as progress:
        return snapshot(name, progress=progress)


def _announce(prepared: Prepared) -> None:
    held = f", {render.times(len(prepared.held_out), 'sample')} held out" if prepared.held_out else ""
    tokens = sum(len(sample.ids) for sample in prepared.samples)
    render.notice(f"{render.times(len(prepared.samples), 'sample')}, {tokens:,} tokens{held}")
    if prepared.cut:
        render.notice(
            f"note: {render.times(prepared.cut, 'sample')} cut at {prepared.options.max_length:,} tokens"
        )
    if prepared.skipped:
        render.notice(
            f"note: {render.times(prepared.skipped, 'sample')} left out: no answer before that length"
        )
    memory, bits = prepared.memory, prepared.options.quant_bits
    weights = f"{render.size(memory.weights)} weights" + (f" in {bits} bits" if bits else "")
    render.notice(
        f"memory: {render.size(memory.total)} expected ({weights}), "
        f"{render.size(prepared.free_bytes)} free on the {_DEVICES[prepared.device]}"
    )
    if prepared.options.train_type == "dora":
        render.notice("note: DoRA has no GGUF form; merge it: `phi4local convert FOLDER --merge ADAPTER`")


class _shown:  # noqa: N801 - used as a function
    """A bar on a terminal, and a line every few steps."""

    def __init__(self, every: int, *, quiet: bool) -> None:
        self._every, self._quiet = every, quiet
        self._losses: list[float] = []
        self._progress: Any = None

    def __enter__(self) -> Callable[[Report], None]:
        if sys.stderr.isatty() and not self._quiet:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            self._progress = Progress(
                TextColumn("Training"),
                BarColumn(bar_width=24),
                MofNCompleteColumn(),
                TextColumn("{task.description}", markup=False),
                TimeRemainingColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._progress.start()
            self._task = self._progress.add_task("", total=None)
        return self._take

    def __exit__(self, *_: object) -> None:
        if self._progress is not None:
            self._progress.stop()

    def _take(self, report: Report) -> None:
        self._losses.append(report.loss)
        if self._progress is not None:
            self._progress.update(
                self._task, completed=report.step, total=report.steps, description=f"loss {report.loss:.3f}"
            )
        if self._quiet or (
            report.step % self._every and report.step != report.steps and report.eval_loss is None
        ):
            return
        mean = sum(self._losses) / len(self._losses)
        self._losses.clear()
        held = "" if report.eval_loss is None else f", held out {report.eval_loss:.4f}"
        peak = f", {render.size(report.peak_bytes)}" if report.peak_bytes else ""
        line = (
            f"step {report.step:,} of {report.steps:,}: loss {mean:.4f}{held}, "
            f"rate {report.learning_rate:.2e}, {report.tokens / max(report.seconds, 1e-9):,.0f} tok/s{peak}"
        )
        if self._progress is not None:
            self._progress.console.print(line, markup=False, highlight=False)
        else:
            render.notice(line)


def _registered(finished: Finished, name: str, model: str) -> str | None:
    """Put the adapter into the store; return its name, or `None` for DoRA."""
    if finished.gguf is None:
        return None
    from phi4local.store import adapters

    return adapters.add(name, finished.gguf, finished.folder, base=model).name


def _checked_name(name: str) -> str:
    """Return the name that the adapter will have; a bad one is found before hours of training."""
    from phi4local.store import adapters

    adapters.check_name(name)
    return name


def _check_plot(plot: Path | None) -> None:
    if plot is not None:
        from phi4local.bench.plot import check_files

        check_files([plot], overwrite=True)


def _draw(finished: Finished, plot: Path | None) -> None:
    losses = [report.loss for report in finished.history]
    if plot is not None:
        from phi4local.bench.plot import write
        from phi4local.bench.plot.chart import Axis, Chart, Series

        held = [report for report in finished.history if report.eval_loss is not None]
        series = [Series(label="learned", x=tuple(map(float, range(1, len(losses) + 1))), y=tuple(losses))]
        if held:
            points = tuple(float(report.step) for report in held)
            series.append(Series(label="held out", x=points, y=tuple(float(r.eval_loss or 0) for r in held)))
        chart = Chart(
            title="Loss", x=Axis(title="Step"), y=Axis(title="Loss", unit="nats"), series=tuple(series)
        )
        write(plot, [chart], overwrite=True)
        render.notice(f"{plot}: loss curve")
    if len(losses) > 1 and sys.stderr.isatty():
        from phi4local.cli.loss_curve import draw

        width = min(shutil.get_terminal_size().columns - 1, 100)
        blocks = os.environ.get("TERM") != "dumb" and (sys.stderr.encoding or "").lower().startswith("utf")
        for line in draw(losses, width, blocks=blocks):
            render.notice(line)


def _tell(finished: Finished, model: str, called: str | None) -> None:
    render.notice(f"{finished.folder}: the adapter as PEFT has it")
    if finished.gguf is not None:
        render.notice(f"{finished.gguf}: the adapter for llama.cpp")
        render.notice(f"use it with `phi4local chat {model} --adapter {called}`")
    else:
        render.notice(f"use it with `phi4local convert {model} --merge {finished.folder}`")


def _facts(prepared: Prepared, finished: Finished, called: str | None) -> dict[str, Any]:
    return {
        "name": called,
        "folder": str(finished.folder),
        "gguf": None if finished.gguf is None else str(finished.gguf),
        "samples": len(prepared.samples),
        "held_out": len(prepared.held_out),
        "memory": dataclasses.asdict(prepared.memory) | {"total": prepared.memory.total},
        "options": prepared.options.to_mapping(),
        "history": [dataclasses.asdict(report) for report in finished.history],
    }
