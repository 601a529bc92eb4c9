"""`phi4local convert-adapter`: a LoRA adapter of PEFT becomes a GGUF file."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from phi4local.cli import options, render


def convert_adapter(
    adapter: Annotated[
        Path, typer.Argument(help="Folder with adapter_config.json and adapter_model.safetensors")
    ],
    base: Annotated[
        str | None,
        typer.Option(
            "--base", metavar="MODEL", help="The model that it was trained on", show_default="as it says"
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="GGUF file", show_default="ADAPTER-lora.gguf")
    ] = None,
    type_name: Annotated[str, typer.Option("--type", help="F32, F16 or BF16")] = "F32",
    force: Annotated[bool, typer.Option("--force", help="Replace an existing output")] = False,
    json: options.Json = False,
) -> None:
    """Make a GGUF file of a LoRA adapter, for `--adapter` and for llama.cpp.

    Example: phi4local convert-adapter ./my-lora --base phi-4 -o my-lora.gguf
    """
    from phi4local.runtime.adapters import make_adapter_file

    target = output or Path(f"{adapter.resolve().name}-lora.gguf")
    made = make_adapter_file(adapter, target, base=base, type_name=type_name.upper(), overwrite=force)
    if json:
        render.print_json(asdict(made) | {"output": str(made.output)})
        return
    render.notice(
        f"{made.output}: {made.matrices} matrices, {made.parameters:,} weights, {made.type}, "
        f"{render.size(made.size_bytes)}"
    )
    render.notice(f"use it with `phi4local chat MODEL --adapter {made.output}`")
