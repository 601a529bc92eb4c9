"""`phi4local convert`: a safetensors checkpoint becomes a GGUF file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from phi4local.cli import options, render

if TYPE_CHECKING:
    from phi4local.convert import ConversionSummary


def convert(
    checkpoint: Annotated[Path, typer.Argument(help="Folder with config.json and *.safetensors")],
    quantization: Annotated[
        str,
        typer.Option("--quantization", "-q", help="F32, F16, BF16, Q8_0, Q6_K, Q5_K_M, Q4_K_M, Q4_K_S, Q4_0"),
    ] = "Q4_K_M",
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="GGUF file to write", show_default="CHECKPOINT-QUANTIZATION.gguf"
        ),
    ] = None,
    no_repair: Annotated[
        bool, typer.Option("--no-repair", help="Write what the checkpoint says, known defects included")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing output")] = False,
    threads: Annotated[int | None, typer.Option("--threads", "-t", help="Threads that quantize")] = None,
    kernels: Annotated[
        str, typer.Option("--kernels", help="auto, numba or ggml: same bytes, different speed")
    ] = "auto",
    merge: Annotated[
        list[str] | None,
        typer.Option(
            "--merge", metavar="ADAPTER[:SCALE]", help="Merge a LoRA adapter (PEFT folder); may be repeated"
        ),
    ] = None,
    json: options.Json = False,
) -> None:
    """Make a GGUF file from a safetensors checkpoint.

    One pass, no intermediate file. Example: phi4local convert ./phi-4 -q Q4_K_M -o phi-4-Q4_K_M.gguf
    """
    from phi4local.convert import AdapterUse, convert_checkpoint, quantization_named
    from phi4local.runtime.open import Progress

    wanted = quantization_named(quantization)
    adapters = [AdapterUse.parse(text) for text in merge or ()]
    target = output or Path(f"{checkpoint.resolve().name}-{wanted}.gguf")
    with render.progress_bar() as show:
        summary = convert_checkpoint(
            checkpoint,
            target,
            wanted,
            overwrite=force,
            repair=not no_repair,
            threads=threads,
            kernels=kernels,
            adapters=adapters,
            progress=lambda done, total, _tensor: show(Progress("converting", done, total)),
        )
    if json:
        render.print_json(summary.to_mapping())
        return
    _report(summary)
    if adapters:
        render.notice(f"merged {', '.join(map(str, adapters))}")


def _report(summary: ConversionSummary) -> None:
    types = ", ".join(f"{number} {name}" for name, number in summary.tensor_types.items())
    render.notice(
        f"{summary.output}: {render.size(summary.size_bytes)}, {summary.bits_per_weight:.2f} bits per weight "
        f"({types}) in {summary.seconds:.1f} s"
    )
    for line in summary.repairs:
        render.notice(f"repaired: {line}")
    if summary.kernels:
        used = ", ".join(
            f"{use.type} by {use.kernel} at {use.megaweights_per_second:.0f}" for use in summary.kernels
        )
        loading = summary.kernel_loading_seconds
        ready = f"; kernels ready after {loading:.1f} s" if loading else ""
        render.notice(f"million weights a second and thread: {used}{ready}")
    if summary.kernel_problem:
        render.notice(f"Numba's kernels could not be loaded, ggml did their work ({summary.kernel_problem})")
    if summary.missing_kernel_seconds:
        render.notice(
            f"with `pip install numba` this takes about {summary.missing_kernel_seconds:.0f} s less"
        )
