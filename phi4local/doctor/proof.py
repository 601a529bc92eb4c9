"""Proof that the engine computes right: phi4-nano answers on each device, and every token is compared.

The weights are converted to F32 into a temporary folder and loaded through the worker process, as in `chat`.
The expected tokens were recorded with transformers (`models/phi4-nano/expected-greedy.json`). A GPU rounds
differently, so it may choose otherwise where two tokens are nearly equally likely: there an answer is
compared up to its first step whose two best logits were recorded less than `SURE_GAP` apart.
"""

from __future__ import annotations

import json
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phi4local import catalog, gguf
from phi4local.convert import convert_checkpoint
from phi4local.doctor import programs
from phi4local.doctor.library import NO_GPU
from phi4local.doctor.result import OK, SKIPPED, WRONG, Result
from phi4local.engine import Request
from phi4local.engine.worker import EngineWorker
from phi4local.errors import EngineCrashedError, EngineError, EngineHungError, Phi4LocalError
from phi4local.prompts import TokenSegment
from phi4local.runtime.facts import file_facts
from phi4local.runtime.resolve import EMBEDDED_MODEL
from phi4local.settings import LoadSettings, SamplingSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from phi4local.doctor.library import Library
    from phi4local.engine.model import ModelFile

SURE_GAP = 0.5
"""Logits; the rounding of a GPU moves them by hundredths."""
_HANG_SHARE = 0.1
"""Of the time for a device: two tries, with four times as much for the first step of each, are within it."""
_CONTEXT_TOKENS = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A prompt and the tokens that must come."""

    name: str
    prompt_ids: tuple[int, ...]
    expected_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One device to try: what it is called, how the model is put there, what is compared."""

    device: str
    settings: LoadSettings
    cases: tuple[Case, ...]


def check(library: Library, seconds: float) -> Iterator[Result]:
    """Yield one result for the processor, and one for each GPU that llama.cpp sees.

    Args:
        library: what loading llama.cpp showed.
        seconds: how long each device may take.

    Raises:
        CheckpointError, FileWriteError: the model cannot be converted; nothing is left behind.
    """
    if library.problem or library.device_problem:
        yield Result(name="engine on CPU", state=SKIPPED, seen="the library does not work")
        return
    checkpoint = catalog.find(EMBEDDED_MODEL).checkpoint_folder() or Path()
    recorded = json.loads((checkpoint / "expected-greedy.json").read_text(encoding="utf-8"))["greedy"]
    with tempfile.TemporaryDirectory(prefix="phi4local-doctor-", ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "phi4-nano-F32.gguf"
        convert_checkpoint(checkpoint, path, "F32", kernels="ggml")
        file = file_facts(gguf.validate(path)).model_file()
        for trial in trials(library.devices, recorded, file.layers):
            yield _try(file, trial, seconds)


def trials(
    devices: tuple[dict[str, Any], ...], recorded: list[dict[str, Any]], layers: int
) -> Iterator[Trial]:
    """Yield what to try: the processor first.

    With a GPU in the build, long prompts are computed there whatever the layers' place is, so that only a
    build without one is held to every token.

    Args:
        devices: GPUs, in llama.cpp's order.
        recorded: the cases of `expected-greedy.json`.
        layers: transformer blocks of the model; the output is one more.
    """
    gap = SURE_GAP if devices else 0.0
    on_cpu = LoadSettings(context_tokens=_CONTEXT_TOKENS, gpu_layers=0, kv_type="f32")
    yield Trial(device="CPU", settings=on_cpu, cases=cases(recorded, gap))
    for number, device in enumerate(devices):
        if device["back_end"] not in NO_GPU:
            whole = LoadSettings(
                context_tokens=_CONTEXT_TOKENS, gpu_layers=layers + 1, split_mode="none", main_gpu=number
            )
            yield Trial(device=device["name"], settings=whole, cases=cases(recorded, SURE_GAP))


def cases(recorded: list[dict[str, Any]], sure_gap: float) -> tuple[Case, ...]:
    """Return the prompts with the tokens that are certain; a case that begins uncertain is left out.

    Example: gaps of 8.1, 0.3 and 9.0 with `sure_gap=0.5` → the first token only; with 0 → all three.
    """
    found = []
    for case in recorded:
        gaps = case["logit_gap"]
        certain = next((step for step, gap in enumerate(gaps) if gap < sure_gap), len(gaps))
        if certain:
            found.append(
                Case(
                    name=case["name"],
                    prompt_ids=tuple(case["prompt_ids"]),
                    expected_ids=tuple(case["generated_ids"][:certain]),
                )
            )
    return tuple(found)


def _try(file: ModelFile, trial: Trial, seconds: float) -> Result:
    """Load the model on one device and compare its answers; the engine is ended when the time is over."""
    began, late = time.monotonic(), threading.Event()
    worker = EngineWorker(hang_seconds=seconds * _HANG_SHARE)

    def end() -> None:
        late.set()
        worker.close()

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        seen = _compare(worker, file, trial)
    except EngineError as error:
        seen = f"did not finish within {seconds:g} s" if late.is_set() else _ending(error)
    except Phi4LocalError as error:
        seen = f"refused: {error}"
    else:
        if not seen:
            count = sum(len(case.expected_ids) for case in trial.cases)
            took = time.monotonic() - began
            seen = f"{len(trial.cases)} answers of phi4-nano, all {count} tokens as recorded, {took:.1f} s"
            return Result(name=f"engine on {trial.device}", state=OK, seen=seen)
    finally:
        timer.cancel()
        worker.close()
    advice = "do not trust answers of this build; compile it again"
    command = programs.build_command(force=True)
    return Result(name=f"engine on {trial.device}", state=WRONG, seen=seen, advice=advice, command=command)


def _ending(error: EngineError) -> str:
    kind = {EngineCrashedError: "crashed: ", EngineHungError: "hangs: "}.get(type(error), "failed: ")
    return f"{kind}{error}"


def _compare(worker: EngineWorker, file: ModelFile, trial: Trial) -> str:
    """Return the first difference, or an empty text."""
    facts = worker.load(file, trial.settings)
    if facts.settings.gpu_layers != trial.settings.gpu_layers:
        return f"only {facts.settings.gpu_layers} of {trial.settings.gpu_layers} layers are on it"
    for case in trial.cases:
        request = Request(
            segments=(TokenSegment(case.prompt_ids),),
            sampling=SamplingSettings(temperature=0),
            max_tokens=len(case.expected_ids),
        )
        problem = difference(case, worker.submit(request).result().token_ids)
        if problem:
            return problem
    return ""


def difference(case: Case, ids: tuple[int, ...]) -> str:
    """Say where an answer leaves the recorded one; an empty text if it does not."""
    for step, expected in enumerate(case.expected_ids):
        got = ids[step] if step < len(ids) else None
        if got != expected:
            found = "the answer ends" if got is None else f"it is {got:,}"
            return f"other tokens: number {step + 1} of `{case.name}` should be {expected:,}, {found}"
    return ""
