"""Checkpoints of a run: the adapter as PEFT has it, and what goes on from it exactly."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from phi4local.errors import FileWriteError, TrainingError
from phi4local.finetune.options import TrainOptions
from phi4local.finetune.training import Report

if TYPE_CHECKING:
    from pathlib import Path

    from phi4local.finetune.training import Training

_STATE, _LOG = "training_state.pt", "training_log.json"
_PREFIX = "checkpoint-"


def save(training: Training, folder: Path, history: list[Report], data_digest: str) -> Path:
    """Write `checkpoint-STEP` into a folder, complete or not at all; only the newest few stay.

    Args:
        training: after a step.
        folder: of the run.
        history: reports so far.
        data_digest: of the samples, so that a resume with others is refused.

    Returns:
        the checkpoint's folder; PEFT and `phi4local convert-adapter` read it.

    Raises:
        FileWriteError: the disk is full, or the folder cannot be written.
    """
    import torch

    output = folder / f"{_PREFIX}{training.step}"
    partial = folder / f".{output.name}.partial"
    state = {
        "optimizer": training.optimizer.state_dict(),
        "step": training.step,
        "random": torch.get_rng_state(),
        "gpu_random": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }
    log = {
        "options": training.options.to_mapping(),
        "data": data_digest,
        "history": [asdict(report) for report in history],
    }
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        training.model.save_pretrained(partial)
        torch.save(state, partial / _STATE)
        (partial / _LOG).write_text(json.dumps(log, indent=1) + "\n", encoding="utf-8")
        shutil.rmtree(output, ignore_errors=True)
        partial.replace(output)
    except (OSError, RuntimeError) as error:  # torch says RuntimeError where the disk is full
        shutil.rmtree(partial, ignore_errors=True)
        raise FileWriteError(output, str(error).lower(), hint="free some space, then `--resume`") from error
    for old in checkpoints(folder)[: -training.options.save_total_limit]:
        shutil.rmtree(old, ignore_errors=True)
    return output


def checkpoints(folder: Path) -> list[Path]:
    """Return a run's checkpoints, oldest first."""
    found = [path for path in folder.glob(f"{_PREFIX}*") if path.name.removeprefix(_PREFIX).isdecimal()]
    return sorted(found, key=lambda path: int(path.name.removeprefix(_PREFIX)))


def read_log(checkpoint: Path) -> tuple[TrainOptions, str, list[Report]]:
    """Return a checkpoint's options, its data's digest and its reports.

    Raises:
        TrainingError: it has none, or they are damaged.
    """
    try:
        log: dict[str, Any] = json.loads((checkpoint / _LOG).read_text(encoding="utf-8"))
        history = [Report(**report) for report in log["history"]]
        return TrainOptions.from_mapping(log["options"]), str(log["data"]), history
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(
            f"{checkpoint} is no checkpoint that can be gone on with: {error}",
            hint="name a folder `checkpoint-N` of an earlier run, or begin anew without `--resume`",
        ) from error


def restore(training: Training, checkpoint: Path) -> None:
    """Put a run to where a checkpoint was written; its adapter is on the model already.

    Raises:
        TrainingError: the state is damaged, or of another adapter.
    """
    import pickle

    import torch

    try:
        state = torch.load(checkpoint / _STATE, map_location="cpu", weights_only=True)
        training.optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["random"])
        if torch.cuda.is_available() and state["gpu_random"]:
            torch.cuda.set_rng_state_all(state["gpu_random"])
        training.step = int(state["step"])
    except (OSError, ValueError, KeyError, RuntimeError, pickle.UnpicklingError) as error:
        raise TrainingError(
            f"{checkpoint} cannot be gone on with: {error}", hint="name the checkpoint before it"
        ) from error
