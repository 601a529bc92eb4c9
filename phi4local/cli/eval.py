"""`phi4local eval`: how often a model is right, beside the published figure."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer evaluates the annotations
from typing import TYPE_CHECKING, Annotated, Any

import typer

from phi4local.cli import options, render
from phi4local.cli.opening import open_with_progress
from phi4local.cli.progress import shown_progress
from phi4local.settings import LoadSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from phi4local.evaluation.run import Marked, Score


def evaluate(
    model: Annotated[str, typer.Argument(help="Name, GGUF file, checkpoint folder or a server's address")],
    data: Annotated[
        Path,
        typer.Option("--data", help="Folder with MGSM's mgsm_en.tsv, mgsm_de.tsv, …", show_default=False),
    ],
    languages: Annotated[
        str | None, typer.Option("--languages", help="With commas, for example en,de", show_default="all 11")
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Draw so many questions", show_default="all")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the drawing and the sampling")] = 0,
    at_once: Annotated[
        int, typer.Option("--parallel", min=1, max=128, help="Answers written at the same time")
    ] = 4,
    threads: options.Threads = None,
    gpu_layers: options.GpuLayers = None,
    yes: options.Yes = False,
    json: options.Json = False,
) -> None:
    """Measure how often a model is right: MGSM, by simple-evals' rules.

    Example: phi4local eval phi-4 --data ./mgsm --languages en,de --limit 100
    """
    from phi4local.evaluation.mgsm import read_questions
    from phi4local.evaluation.run import ask, drawn
    from phi4local.runtime.progress import Progress
    from phi4local.runtime.remote.address import is_address

    questions = drawn(read_questions(data, _languages(languages)), limit, seed)
    # A server decides itself how many it answers at once.
    parallel = None if is_address(model) else at_once
    loading = LoadSettings(threads=threads, gpu_layers=gpu_layers, parallel=parallel)
    with open_with_progress(model, loading, yes=yes) as opened, shown_progress() as show:
        marked = ask(
            opened,
            questions,
            seed=seed,
            at_once=at_once,
            tell=lambda done: show(Progress("measuring", done * 100 // len(questions), 100)),
        )
        known = getattr(opened, "manifest", None)
    published = _published(known.name if known else None) if not languages else None
    if json:
        render.print_json(_mapping(marked, published))
    else:
        _show(marked, published)


def _languages(text: str | None) -> tuple[str, ...]:
    from phi4local.errors import InvalidSettingError
    from phi4local.evaluation.mgsm import LANGUAGES

    chosen = tuple(dict.fromkeys(name.strip() for name in text.split(","))) if text else LANGUAGES
    for name in chosen:
        if name not in LANGUAGES:
            raise InvalidSettingError(
                "languages", f"knows no `{name}`", hint=f"there are {', '.join(LANGUAGES)}"
            )
    return chosen


def _published(name: str | None) -> float | None:
    from phi4local.evaluation.mgsm import PUBLISHED

    return PUBLISHED.get(name or "")


def _scores(marked: Sequence[Marked]) -> dict[str, Score]:
    from phi4local.evaluation.run import score

    languages = dict.fromkeys(one.question.language for one in marked)
    parts = {name: score(one for one in marked if one.question.language == name) for name in languages}
    return {"mgsm": score(marked), **parts}


def _mapping(marked: Sequence[Marked], published: float | None) -> dict[str, Any]:
    return {
        "task": "mgsm",
        "published": published,
        "scores": {
            name: {"right": one.right, "count": one.count, "share": one.share, "interval": one.interval}
            for name, one in _scores(marked).items()
        },
        "answers": [
            {
                "language": one.question.language,
                "prompt": one.question.prompt,
                "target": one.question.target,
                "answer": one.answer,
                "extracted": one.question.extracted(one.answer),
                "right": one.right,
            }
            for one in marked
        ],
    }


def _show(marked: Sequence[Marked], published: float | None) -> None:
    rows = []
    for name, one in _scores(marked).items():
        low, high = one.interval
        beside = published if name == "mgsm" else None
        rows.append(
            (
                name,
                str(one.count),
                f"{100 * one.share:.1f}",
                f"{100 * low:.1f} to {100 * high:.1f}",
                "-" if beside is None else f"{100 * beside:.1f}",
                "-" if beside is None else f"{100 * (one.share - beside):+.1f}",
            )
        )
    columns = ("TASK", "QUESTIONS", "RIGHT %", "95 % INTERVAL", "PUBLISHED", "DIFFERENCE")
    render.table("Right answers", columns, rows, right=columns[1:])
