"""`phi4local quality`: what quantizing costs, in perplexity and KL divergence."""

from __future__ import annotations

import contextlib
from pathlib import Path  # noqa: TC003 - typer evaluates the annotations
from typing import TYPE_CHECKING, Annotated

import typer

from phi4local.cli import options, quality_report, render
from phi4local.cli.consent import consent
from phi4local.cli.progress import shown_progress
from phi4local.settings import LoadSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from phi4local.bench.quality.measure import Reading
    from phi4local.bench.quality.report import QualityRow
    from phi4local.bench.quality.subjects import Subject

    Bases = tuple[str | None, Path | None, Path | None]

TEXT, BASE, LADDER, OUTPUT = "Text", "Base", "Ladder", "Output"


def quality(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL...",
            help="Names, GGUF files or checkpoint folders",
            show_default=False,
            autocompletion=options.complete_model,
        ),
    ],
    against: Annotated[
        str | None,
        typer.Option("--against", metavar="BASE", help="Model to compare with", rich_help_panel=BASE),
    ] = None,
    text: Annotated[
        Path | None, typer.Option("--text", help="Plain text to read", rich_help_panel=TEXT)
    ] = None,
    context: Annotated[
        int | None,
        typer.Option("--context", "-c", help="Tokens of a chunk", show_default="512", rich_help_panel=TEXT),
    ] = None,
    chunks: Annotated[
        int | None, typer.Option("--chunks", help="Read only so many", rich_help_panel=TEXT)
    ] = None,
    save_base: Annotated[
        Path | None,
        typer.Option("--save-base", help="Keep the base's log-probabilities", rich_help_panel=BASE),
    ] = None,
    base_logits: Annotated[
        Path | None,
        typer.Option("--base-logits", help="Compare with such a file, not a model", rich_help_panel=BASE),
    ] = None,
    ladder: Annotated[
        bool,
        typer.Option("--ladder", help="Convert and measure many quantizations", rich_help_panel=LADDER),
    ] = False,
    quantizations: Annotated[
        str | None,
        typer.Option(
            "--quantizations", "-q", help="Steps of the ladder, with commas", rich_help_panel=LADDER
        ),
    ] = None,
    imatrix: Annotated[
        Path | None, typer.Option("--imatrix", help="Importance matrix", rich_help_panel=LADDER)
    ] = None,
    keep: Annotated[
        Path | None, typer.Option("--keep", help="Folder to keep the files in", rich_help_panel=LADDER)
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", help="Chart of size and KL: .png, .svg, .html", rich_help_panel=OUTPUT),
    ] = None,
    layout: Annotated[
        str, typer.Option("--output", "-o", help="table, md, csv, json or jsonl", rich_help_panel=OUTPUT)
    ] = "table",
    force: Annotated[
        bool, typer.Option("--force", help="Replace files; load what won't fit", rich_help_panel=OUTPUT)
    ] = False,
    gpu_layers: options.GpuLayers = None,
    kv: options.KvType = None,
    threads: options.Threads = None,
    yes: options.Yes = False,
    json: options.Json = False,
) -> None:
    """Measure what quantizing costs: perplexity, and KL divergence from a base.

    Example: phi4local quality phi-4:Q4_K_M --against phi-4:Q8_0 --text wiki.test.raw
    """
    from phi4local.bench.quality.measure import Reading

    layout = quality_report.checked_layout("json" if json else layout)
    quality_report.check_plot(plot, overwrite=force)
    _check(models, (against, base_logits, save_base), ladder=ladder)
    loading = LoadSettings(
        context_tokens=_context_tokens(context, base_logits),
        gpu_layers=gpu_layers,
        kv_type=kv,
        threads=threads,
        force=force or None,
    )
    with contextlib.ExitStack() as stack:
        found = text or stack.enter_context(
            _own_text([*models, *([against] if against else [])], base_logits)
        )
        reading = Reading(
            text=found, chunks=chunks, base_logits=base_logits, save_base=save_base, overwrite=force
        )
        if ladder:
            rows = _ladder(models[0], loading, reading, (quantizations, imatrix, keep), yes=yes)
        else:
            rows = _rows(models, against, loading, reading, yes=yes)
        measured: list[QualityRow] = []
        try:
            measured.extend(rows)
        finally:  # what took hours is shown, whatever happens to the rest
            quality_report.show(measured, layout)
    if plot is not None:
        quality_report.draw(measured, plot, overwrite=force)


DEFAULT_CONTEXT_TOKENS = 512
"""llama-perplexity's; published figures are made with it."""


def _context_tokens(wanted: int | None, base_logits: Path | None) -> int:
    """Return the tokens of a chunk; a file of log-probabilities has its own."""
    from phi4local.bench.quality.base_file import base_shape
    from phi4local.errors import InvalidSettingError

    if base_logits is None:
        return DEFAULT_CONTEXT_TOKENS if wanted is None else wanted
    found = base_shape(base_logits).context_tokens
    if wanted not in (None, found):
        raise InvalidSettingError(
            "context", f"is {wanted:,}; `{base_logits}` was made with {found:,}", hint="leave `--context` out"
        )
    return found


def _check(models: list[str], bases: Bases, *, ladder: bool) -> None:
    """Refuse options that mean nothing together.

    Raises:
        InvalidSettingError: two bases, a ladder of several models, or no base to save.
    """
    from phi4local.errors import InvalidSettingError

    against, base_logits, save_base = bases
    if base_logits and (against or save_base):
        other = "--against" if against else "--save-base"
        raise InvalidSettingError(
            "base_logits",
            f"cannot stand beside `{other}`",
            hint="the file is the base: leave one of them out",
        )
    if ladder and (against or len(models) != 1):
        raise InvalidSettingError(
            "ladder",
            "takes one model and makes its own base",
            hint="for example `phi4local quality ./phi-4 --ladder --text wiki.test.raw`",
        )
    if save_base and not (against or ladder) and len(models) != 1:
        raise InvalidSettingError(
            "save_base", "does not know which model is the base", hint="name it with `--against`"
        )


@contextlib.contextmanager
def _own_text(names: list[str], base_logits: Path | None) -> Iterator[Path | None]:
    """Yield the embedded model's held-out text when nothing else is measured."""
    from phi4local.bench.quality.measure import work_folder
    from phi4local.bench.quality.text import EMBEDDED_MODEL, write_held_out

    if base_logits or any(name.partition(":")[0].lower() != EMBEDDED_MODEL for name in names):
        yield None
        return
    with work_folder() as folder:
        yield write_held_out(folder)


def _rows(
    models: list[str], against: str | None, loading: LoadSettings, reading: Reading, *, yes: bool
) -> Iterator[QualityRow]:
    from phi4local.bench.quality.measure import measure
    from phi4local.bench.quality.subjects import check_vocabularies, find_subject

    with shown_progress() as progress:

        def found(name: str) -> Subject:
            return find_subject(name, loading, consent=consent(progress, yes=yes), progress=progress)

        # One model whose log-probabilities are kept is a base without anything to compare.
        if reading.save_base and not against:
            against, models = models[0], []
        base = found(against) if against else None
        subjects = [found(name) for name in models]
    everything = [*subjects, *([base] if base else [])]
    for line in dict.fromkeys(line for subject in everything for line in subject.notices):
        render.notice(f"note: {line}")
    if base is not None:
        check_vocabularies(base, subjects)
    with quality_report.shown() as tell:
        yield from measure(subjects, reading, base=base, count=len(subjects) + (base is not None), tell=tell)


def _ladder(
    model: str,
    loading: LoadSettings,
    reading: Reading,
    chosen: tuple[str | None, Path | None, Path | None],
    *,
    yes: bool,
) -> Iterator[QualityRow]:
    from phi4local.bench.quality.ladder import LADDER, Ladder, ladder_source, measure_ladder
    from phi4local.convert import quantization_named

    quantizations, imatrix, keep = chosen
    names = quantizations.split(",") if quantizations else LADDER
    steps = tuple(dict.fromkeys(quantization_named(name.strip()) for name in names))
    with shown_progress() as progress:
        source, base = ladder_source(model, consent=consent(progress, yes=yes), progress=progress)
    made = Ladder(
        source=source,
        base=base,
        steps=steps,
        settings=loading,
        imatrix=imatrix,
        keep=keep,
        overwrite=reading.overwrite,
    )
    with quality_report.shown() as tell:
        yield from measure_ladder(made, reading, tell=tell)
