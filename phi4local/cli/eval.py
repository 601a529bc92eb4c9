"""`phi4local eval`: how often a model is right, beside the published figure."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer evaluates the annotations
from typing import Annotated

import typer

from phi4local.cli import options  # noqa: TC001 - the same


def evaluate(
    tasks: Annotated[
        str,
        typer.Argument(
            help="mmlu, gpqa, mgsm, math, humaneval, simpleqa, drop or safety, with commas, or all"
        ),
    ],
    model: Annotated[str, typer.Argument(help="Name, GGUF file, checkpoint folder or a server's address")],
    data: Annotated[
        Path | None, typer.Option("--data", help="Folder with the tasks' files", show_default=False)
    ] = None,
    grader: Annotated[
        str | None,
        typer.Option("--grader", help="Model or address that compares answers, for math and simpleqa"),
    ] = None,
    ladder: Annotated[
        str | None,
        typer.Option(
            "--ladder", help="Quantizations to compare, for example Q4_K_M,Q8_0", show_default=False
        ),
    ] = None,
    languages: Annotated[
        str | None, typer.Option("--languages", help="Of mgsm, for example en,de", show_default="all 11")
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Draw so many questions", show_default="all")
    ] = None,
    repeats: Annotated[
        int | None,
        typer.Option(
            "--repeats", min=1, max=100, help="Ask each so often", show_default="simple-evals' number"
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the drawing and the sampling")] = 0,
    at_once: Annotated[
        int, typer.Option("--parallel", min=1, max=128, help="Answers written at the same time")
    ] = 4,
    max_tokens: Annotated[
        int, typer.Option("--max-tokens", min=1, help="Cut answers off there; simple-evals' number is 1024")
    ] = 1024,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Ask again what the same command asked before")
    ] = False,
    threads: options.Threads = None,
    gpu_layers: options.GpuLayers = None,
    context: options.Context = None,
    yes: options.Yes = False,
    json: options.Json = False,
) -> None:
    """Measure how often a model is right, by simple-evals' rules, beside Phi-4's published figures.

    A run that was stopped goes on where it was. Example: phi4local eval mgsm phi-4 --data ./data --limit 99
    """
    from phi4local.cli.eval_run import Wanted, run
    from phi4local.evaluation.run import Asking
    from phi4local.evaluation.task import Draw
    from phi4local.evaluation.tasks import chosen
    from phi4local.settings import LoadSettings

    parts = tuple(name.strip() for name in languages.split(",")) if languages else None
    wanted = Wanted(
        tasks=tuple(chosen(tasks, parts)),
        folder=data,
        draw=Draw(limit=limit, seed=seed, repeats=repeats),
        asking=Asking(seed=seed, at_once=at_once, max_tokens=max_tokens),
        grader=grader,
        loading=LoadSettings(threads=threads, gpu_layers=gpu_layers, context_tokens=context),
        fresh=fresh,
        yes=yes,
    )
    run(wanted, model, ladder.split(",") if ladder else [], as_json=json)
