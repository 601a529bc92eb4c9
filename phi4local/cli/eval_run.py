"""The work of `phi4local eval`: read the questions, open each model, ask, show."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phi4local.cli import render
from phi4local.cli.opening import open_with_progress
from phi4local.cli.progress import shown_progress
from phi4local.errors import InvalidSettingError, ModelNotInstalledError, RemoteError, UnknownModelError
from phi4local.evaluation.outcome import Outcome, outcome
from phi4local.evaluation.run import TEMPERATURE, Asking, Examination
from phi4local.evaluation.transcript import Transcript, digest_of_model
from phi4local.runtime import resolve
from phi4local.runtime.progress import Progress
from phi4local.runtime.remote.address import is_address

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from phi4local.evaluation.task import Draw, Marked, Question, Task
    from phi4local.runtime.model import Model
    from phi4local.runtime.remote.model import RemoteModel
    from phi4local.settings import LoadSettings

GRADER_KEY = "PHI4LOCAL_GRADER_KEY"
"""Another server's key than the model's, so that neither sees the other's."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What the person typed."""

    tasks: tuple[Task, ...]
    folder: Path | None
    draw: Draw
    asking: Asking
    grader: str | None
    loading: LoadSettings
    fresh: bool
    yes: bool


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One task's result for one model, and the file with its answers."""

    model: str
    outcome: Outcome
    transcript: Path


def run(wanted: Wanted, model: str, ladder: Sequence[str], *, as_json: bool) -> None:
    """Measure every model of the ladder, or the one, and print the results."""
    questions = _questions(wanted)  # before anything is loaded: what cannot be asked is refused at once
    found: list[Measured] = []
    for name in _models(model, ladder):
        with _opened(wanted, name) as (asked, grader):
            found += [
                _measured(wanted, task, questions[task.name], (name, asked, grader)) for task in wanted.tasks
            ]
    if as_json:
        render.print_json([_mapping(one) for one in found])
    else:
        _show(found)


def _models(model: str, ladder: Sequence[str]) -> list[str]:
    if not ladder:
        return [model]
    tagged = ":" in model.rpartition("/")[2]
    if tagged or is_address(model) or Path(model).exists():
        hint = "a ladder takes a model's name alone, such as phi-4"
        raise InvalidSettingError("ladder", f"goes with no address, file or quantization: {model}", hint=hint)
    names = [part.strip() for part in ladder]
    if not all(names):
        hint = "write quantizations with commas, such as Q4_K_M,Q8_0"
        raise InvalidSettingError("ladder", "has a place without a name", hint=hint)
    found = list(dict.fromkeys(f"{model}:{name}" for name in names))
    for one in found:  # the last one's bad name is found before the first one is asked
        with contextlib.suppress(ModelNotInstalledError, UnknownModelError):
            resolve.find(one)
    return found


def _questions(wanted: Wanted) -> dict[str, list[Question]]:
    found = {}
    for task in wanted.tasks:
        if task.needs_grader and wanted.grader is None:
            hint = "add --grader MODEL or ADDRESS; simple-evals used gpt-4o"
            raise InvalidSettingError(
                "grader", f"is missing: {task.name} cannot be marked without one", hint=hint
            )
        if wanted.folder is None and not task.shipped:
            hint = "docs/eval.md says where each task's files are"
            raise InvalidSettingError(
                "data", f"is missing: {task.name} reads its questions from a folder", hint=hint
            )
        found[task.name] = task.read(wanted.folder or Path(), wanted.draw)
    return found


@contextlib.contextmanager
def _opened(wanted: Wanted, name: str) -> Iterator[tuple[Model | RemoteModel, Model | RemoteModel | None]]:
    """Yield the model and, if a task has use for it, the grader; a model may grade itself."""
    with contextlib.ExitStack() as stack:
        asked = _open(wanted, name)
        stack.callback(asked.close)
        grader: Model | RemoteModel | None = None
        if wanted.grader and any(task.grading for task in wanted.tasks):
            grader = asked if wanted.grader == name else _open_grader(wanted, wanted.grader)
            stack.callback(grader.close)
        yield asked, grader


def _open(wanted: Wanted, name: str) -> Model | RemoteModel:
    # A server decides itself how many it answers at once.
    parallel = None if is_address(name) else wanted.asking.at_once
    loading = dataclasses.replace(wanted.loading, parallel=parallel)
    return open_with_progress(name, loading, yes=wanted.yes)


def _open_grader(wanted: Wanted, name: str) -> Model | RemoteModel:
    from phi4local.runtime.remote.open import open_remote

    if not is_address(name):
        return _open(wanted, name)
    try:
        return open_remote(name, api_key=os.environ.get(GRADER_KEY, ""))
    except RemoteError as error:
        if error.status in (401, 403):
            error.hint = f"set {GRADER_KEY} to the grader's key"
        raise


def _measured(
    wanted: Wanted,
    task: Task,
    questions: list[Question],
    models: tuple[str, Model | RemoteModel, Model | RemoteModel | None],
) -> Measured:
    name, asked, grader = models
    grader = grader if task.grading else None
    header = getattr(getattr(asked, "file", None), "header", None)
    digest = digest_of_model(getattr(header, "path", None))
    settings = {
        "task": task.name,
        "model": digest or f"{getattr(asked, 'address', '')}#{asked.name}",
        "limit": wanted.draw.limit,
        "seed": wanted.asking.seed,
        "temperature": TEMPERATURE,
        "max_tokens": wanted.asking.max_tokens,
        "grader": wanted.grader if grader else None,
    }
    with Transcript(settings, questions, fresh=wanted.fresh) as transcript:
        _ask_what_is_left(Examination(asked, task, wanted.asking, grader), transcript, questions)
    marked = [transcript.marked[one.key, one.repeat] for one in questions]
    known = getattr(asked, "manifest", None)
    family = known.name if known else asked.name
    result = outcome(task, marked, model=family, graded=grader is not None)
    return Measured(model=name, outcome=result, transcript=transcript.path)


def _ask_what_is_left(examination: Examination, transcript: Transcript, questions: list[Question]) -> None:
    if transcript.marked:
        render.notice(f"note: {len(transcript.marked)} of {len(questions)} answers are in {transcript.path}")
    left = [
        (place, one) for place, one in enumerate(questions) if (one.key, one.repeat) not in transcript.marked
    ]
    with shown_progress() as show:

        def keep(one: Marked) -> None:
            transcript.append(one)
            show(Progress("measuring", len(transcript.marked) * 100 // len(questions), 100))

        examination.run(left, keep)


def _mapping(one: Measured) -> dict[str, Any]:
    return {"model": one.model, **one.outcome.to_mapping(), "transcript": str(one.transcript)}


def _show(found: Sequence[Measured]) -> None:
    rows = []
    for one in found:
        result = one.outcome
        rows.append(_row(one.model, result.task, result))
        rows += [_row("", f"  {name}", result, group=name) for name in _groups(result)]
    columns = ("MODEL", "TASK", "QUESTIONS", "SCORE %", "95 % INTERVAL", "PUBLISHED", "DIFFERENCE")
    render.table("Right answers", columns, rows, right=columns[2:])
    for one in found:
        for name, value in one.outcome.figures.items():
            render.write(f"{one.model} {one.outcome.task} {name.replace('_', ' ')}: {100 * value:.1f} %")
        if not one.outcome.comparable:
            render.notice(f"note: {one.outcome.task} was marked without a grader: not comparable")
        render.notice(f"answers: {one.transcript}")


def _groups(result: Outcome) -> list[str]:
    """Return the parts that are shown: those of tasks with a handful, not MMLU's 57 subjects."""
    most = 11
    return list(result.groups) if 1 < len(result.groups) <= most else []


def _row(model: str, label: str, result: Outcome, group: str = "") -> tuple[str, ...]:
    score = result.groups[group] if group else result.score
    low, high = (100 * end for end in score.interval)
    published, difference = "-", "-"
    if not group and result.difference is not None and result.published is not None:
        middle, least, most = (100 * value for value in result.difference)
        published = f"{100 * result.published:.1f}"
        difference = f"{middle:+.1f} ({least:+.1f} to {most:+.1f})"
        if not result.comparable:
            difference = "not comparable"
    interval = f"{low:.1f} to {high:.1f}"
    return (model, label, str(score.questions), f"{100 * score.share:.1f}", interval, published, difference)
