"""`phi4local check`: is a GGUF file what it should be?"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path  # noqa: TC003 - Typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer

from phi4local.cli import options, render
from phi4local.cli.progress import shown_progress

if TYPE_CHECKING:
    from phi4local.bench.quality.against import LogitsCheck
    from phi4local.convert.check_file import FileCheck, Finding
    from phi4local.runtime.check import RunCheck


def check(
    file: Annotated[Path, typer.Argument(help="GGUF file; of several parts, the first")],
    against: Annotated[
        Path | None,
        typer.Option("--against", metavar="CHECKPOINT", help="What it was made from: folder or GGUF file"),
    ] = None,
    logits: Annotated[
        bool, typer.Option("--logits/--no-logits", help="With --against: compare answers too")
    ] = True,
    json: options.Json = False,
) -> None:
    """Look for damage in a GGUF file, and compare it with its checkpoint.

    The exit code is 1 when something is wrong. Example: phi4local check phi-4-Q4_K_M.gguf --against ./phi-4
    """
    from phi4local.errors import GGUFError
    from phi4local.runtime.check import check_model
    from phi4local.runtime.progress import Progress

    with shown_progress() as show:
        found, run = check_model(
            file, against, progress=lambda done, total: show(Progress("comparing", done * 100 // total, 100))
        )
    answers = _answers(file, against) if against and logits and run and not run.not_run else None
    findings = (*found.findings, *(run.findings if run else ()), *(answers.findings if answers else ()))
    if json:
        parts = {"run": run, "logits": answers}
        render.print_json(found.to_mapping() | {name: part and asdict(part) for name, part in parts.items()})
    else:
        _show(found, run, answers, findings)
    if findings:
        some = f"{len(findings)} things are" if len(findings) > 1 else "something is"
        raise GGUFError(file, f"{some} wrong with it", hint="get or convert it again")


def _answers(file: Path, against: Path) -> LogitsCheck:
    from phi4local.bench.quality.against import check_logits
    from phi4local.cli import quality_report

    with quality_report.shown() as tell:
        return check_logits(file, against, tell=tell)


def _show(
    found: FileCheck, run: RunCheck | None, answers: LogitsCheck | None, findings: tuple[Finding, ...]
) -> None:
    if findings:
        rows = [(finding.place, finding.problem) for finding in findings]
        render.table("Wrong", ("WHERE", "WHAT"), rows)
    if found.against:
        columns = ("TYPE", "TENSORS", "ERROR", "LARGEST", "USUAL", "OF")
        types = [
            (
                one.type,
                str(one.tensors),
                _share(one.median),
                _share(one.largest),
                _share(one.usual),
                one.worst,
            )
            for one in found.types
        ]
        render.table("Distance from the checkpoint", columns, types, right=columns[1:5])
    for note in found.notes:
        render.notice(f"note: {note}")
    if run and run.not_run:
        render.notice(f"note: it was not run: {run.not_run}")
    elif run and run.skipped and found.against:
        render.notice(f"note: texts were not compared: {run.skipped}")
    if answers:
        _show_answers(answers)
    if not findings:
        tensors = sum(one.tensors for one in found.types)
        tokens = f", {run.special_tokens} special tokens" if run and run.special_tokens else ""
        texts = f", {run.texts} texts" if run and run.texts else ""
        render.notice(f"{found.path}: {tensors} tensors{tokens}{texts}: all as they should be")


def _show_answers(answers: LogitsCheck) -> None:
    if answers.not_run:
        render.notice(f"note: answers were not compared: {answers.not_run}")
    if answers.divergence:
        kl, same = answers.divergence.kl.value, answers.divergence.same_top.value
        render.notice(
            f"beside the checkpoint in F32, {answers.tokens:,} tokens: "
            f"KL divergence {kl:.2g}, the same first token at {same:.0%}"
        )


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
