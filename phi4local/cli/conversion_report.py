"""What a person sees of a conversion: its plan, how far it is, and what it made."""

from __future__ import annotations

import contextlib
import math
import shlex
import shutil
import sys
import textwrap
from typing import TYPE_CHECKING, Any

from phi4local.cli import render

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from phi4local.convert import ConversionPlan, ConversionSummary

    Show = Callable[[int, int, str], None]


@contextlib.contextmanager
def progress_bar(doing: str = "Converting") -> Iterator[Show]:
    """Yield a function that shows (done, in all, tensor) on stderr, if that is a terminal; bytes, usually."""
    if not sys.stderr.isatty():
        yield lambda _done, _total, _tensor: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (
        TextColumn("{task.description:<24}", markup=False),
        BarColumn(bar_width=None),
        *((DownloadColumn(), TransferSpeedColumn()) if doing == "Converting" else ()),
        TimeRemainingColumn(compact=True),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True, expand=True) as bars:
        task = bars.add_task(doing)

        def show(done: int, total: int, tensor: str) -> None:
            bars.update(
                task, completed=done, total=total, description=tensor.removesuffix(".weight") or doing
            )

        yield show


def plans(planned: Sequence[ConversionPlan], *, threads: int | None, kernels: str, json: bool) -> None:
    """Print what would be written: every tensor, the size, and about how long it takes."""
    from phi4local.convert import expected_seconds

    seconds = expected_seconds(planned, threads=threads, kernels=kernels)
    if json:
        render.print_json([_plan_mapping(plan, seconds) for plan in planned])
        return
    for plan in planned:
        _plan_table(plan)
    for plan in planned:
        _say(
            f"{plan.quantization}: {render.size(plan.size_bytes)}{_in_parts(len(plan.files))}, "
            f"{plan.bits_per_weight:.2f} bits per weight ({_counts(plan.tensor_types)})"
        )
        _notice_unweighted(plan.unweighted)
    for line in planned[0].repairs:
        _say(f"to repair: {line}")
    _say(f"takes about {_duration(seconds)}; nothing was written")


def summaries(made: Sequence[ConversionSummary], *, json: bool) -> None:
    """Say what was made, how fast, what was repaired, and what to type next."""
    if json:
        mappings = [summary.to_mapping() for summary in made]
        render.print_json(mappings if len(mappings) > 1 else mappings[0])
        return
    for summary in made:
        _say(
            f"{summary.output}: {render.size(summary.size_bytes)}{_in_parts(len(summary.files))}, "
            f"{summary.bits_per_weight:.2f} bits per weight ({_counts(summary.tensor_types)})"
        )
        _notice_unweighted(summary.unweighted)
    first = made[0]
    _notice_speed(first)
    for line in first.repairs:
        _say(f"repaired: {line}")
    render.notice(f'next: phi4local run {shlex.quote(_as_path(first))} "Why is the sky blue?"')


def _say(text: str) -> None:
    """Say something on stderr; on a terminal, break lines between words."""
    if sys.stderr.isatty():
        width = shutil.get_terminal_size().columns
        for line in textwrap.wrap(
            text, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
        ):
            render.notice(line)
    else:
        render.notice(text)


def _notice_speed(summary: ConversionSummary) -> None:
    stages = summary.stages
    shares = {"reading": stages.reading, "quantizing": stages.quantizing, "writing": stages.writing}
    limiting = shares.pop(stages.limiting)
    others = ", ".join(f"{name} {share:.0%}" for name, share in shares.items())
    _say(
        f"took {_duration(summary.seconds)}: {stages.limiting} was the limit, {limiting:.0%} of the threads' "
        f"time ({others})"
    )
    if summary.kernels:
        used = ", ".join(
            f"{use.type} by {use.kernel} at {use.megaweights_per_second:.0f}" for use in summary.kernels
        )
        loading = summary.kernel_loading_seconds
        ready = f"; kernels ready after {loading:.1f} s" if loading else ""
        _say(f"million weights a second and thread: {used}{ready}")
    if summary.kernel_problem:
        _say(f"Numba's kernels could not be loaded, ggml did their work ({summary.kernel_problem})")
    if summary.missing_kernel_seconds:
        _say(f"with `pip install numba` this takes about {summary.missing_kernel_seconds:.0f} s less")


def _notice_unweighted(tensors: Sequence[str]) -> None:
    if tensors:
        shown = ", ".join(tensors[:3]) + (f" and {len(tensors) - 3} more" if len(tensors) > 3 else "")
        _say(f"the importance matrix has no entry for {shown}: quantized without")


def _plan_table(plan: ConversionPlan) -> None:
    rows = [
        (
            tensor.name,
            " x ".join(f"{axis:,}" for axis in tensor.shape),
            tensor.source.dtype,
            tensor.type,
            f"{tensor.size_bytes:,}",
        )
        for tensor in plan.tensors
    ]
    columns = ("tensor", "rows x columns", "from", "to", "bytes")
    render.table(f"{plan.name} as {plan.quantization}", columns, rows, right=("rows x columns", "bytes"))


def _plan_mapping(plan: ConversionPlan, seconds: float) -> dict[str, Any]:
    return {
        "name": plan.name,
        "quantization": plan.quantization,
        "size_bytes": plan.size_bytes,
        "bits_per_weight": plan.bits_per_weight,
        "parameters": plan.parameters,
        "tensor_types": plan.tensor_types,
        "files": [file.size_bytes for file in plan.files],
        "expected_seconds": round(seconds, 1),
        "repairs": list(plan.repairs),
        "unweighted": list(plan.unweighted),
        "tensors": [
            {
                "name": tensor.name,
                "shape": list(tensor.shape),
                "from": tensor.source.dtype,
                "type": tensor.type,
                "size_bytes": tensor.size_bytes,
                "file": tensor.file,
                "weighted": tensor.column_weights is not None,
            }
            for tensor in plan.tensors
        ],
    }


def _counts(types: dict[str, int]) -> str:
    return ", ".join(f"{number} {name}" for name, number in types.items())


def _in_parts(count: int) -> str:
    return f" in {count} parts" if count > 1 else ""


def _as_path(summary: ConversionSummary) -> str:
    """Return the file as `run` takes it: `run phi-4.gguf` works, `-q.gguf` would be an option."""
    text = str(summary.output)
    return f"./{text}" if text.startswith("-") else text


def _duration(seconds: float) -> str:
    """Return a time as people write it. Examples: 0.42 → "0.4 s", 75 → "1 min 15 s", 7300 → "2 h 2 min"."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(math.ceil(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
