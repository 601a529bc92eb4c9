"""`phi4local imatrix`: which columns of each matrix matter, measured on text."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from phi4local.cli import options, render
from phi4local.cli.progress import shown_progress


def imatrix(
    model: Annotated[str, typer.Argument(help="GGUF file or name; best F32, F16, BF16 or Q8_0")],
    texts: Annotated[
        list[Path] | None, typer.Argument(help="Text files, UTF-8", show_default="a mixed text that ships")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="GGUF file", show_default="MODEL.imatrix.gguf")
    ] = None,
    chunks: Annotated[
        int | None, typer.Option("--chunks", help="At most so many pieces of text", show_default="all")
    ] = None,
    chunk_tokens: Annotated[int, typer.Option("--context", "-c", help="Tokens of a piece")] = 512,
    process_output: Annotated[
        bool, typer.Option("--process-output", help="Measure the output matrix too")
    ] = False,
    threads: options.Threads = None,
    gpu_layers: options.GpuLayers = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing output")] = False,
    json: options.Json = False,
) -> None:
    """Measure on text which weights matter, for better quantizing.

    Example: phi4local imatrix phi-4-Q8_0.gguf mine.txt -o phi-4.imatrix.gguf
    """
    from phi4local.runtime import imatrix as measuring
    from phi4local.runtime.progress import Progress

    how = measuring.ImatrixOptions(
        chunk_tokens=chunk_tokens,
        most_chunks=chunks,
        threads=threads,
        gpu_layers=gpu_layers,
        process_output=process_output,
    )
    with shown_progress() as show:
        path = measuring.model_file(model)
        made = measuring.make_imatrix(
            path,
            texts or [measuring.shipped_text()],
            output or Path(f"{path.stem}.imatrix.gguf"),
            options=how,
            overwrite=force,
            progress=lambda done, total: show(Progress("measuring", done * 100 // total, 100)),
        )
    if json:
        render.print_json(asdict(made) | {"output": str(made.output)})
        return
    render.notice(f"{made.output}: {made.entries} matrices, {made.chunks} pieces, {made.tokens:,} tokens")
    render.notice(f"use it with `phi4local convert CHECKPOINT -q IQ3_M --imatrix {made.output}`")
