"""`phi4local convert`: a safetensors checkpoint, or a GGUF file, becomes one or more GGUF files."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from phi4local.cli import conversion_report, convert_size, options, render

if TYPE_CHECKING:
    from phi4local.convert import TargetOptions

TYPES, OUTPUT, WORK = "Types", "Output", "Work"
_PRECISION_AT_THE_END = re.compile(r"[-.](F32|F16|BF16|Q8_0)$", re.IGNORECASE)
_PART_AT_THE_END = re.compile(r"-\d{5}-of-\d{5}$")


def convert(
    checkpoint: Annotated[
        Path, typer.Argument(help="Folder with config.json and *.safetensors, or a GGUF file")
    ],
    quantization: Annotated[
        str | None,
        typer.Option(
            "--quantization",
            "-q",
            help="Q4_K_M, Q8_0, BF16, …; several with commas are made in one read",
            show_default="Q4_K_M",
        ),
    ] = None,
    target_size: Annotated[
        str | None,
        typer.Option("--target-size", metavar="SIZE", help="The best types for a file of at most 8.5GB, …"),
    ] = None,
    fit: Annotated[
        bool, typer.Option("--fit", help="The best types for a file that this machine has room for")
    ] = False,
    context: Annotated[
        int | None, typer.Option("--context", "-c", help="Tokens that shall fit beside it, with `--fit`")
    ] = None,
    recipe: Annotated[
        Path | None, typer.Option("--recipe", help="Types that `--target-size` or `--fit` chose before")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="GGUF file or folder", show_default="CHECKPOINT-QUANTIZATION.gguf"
        ),
    ] = None,
    imatrix: Annotated[
        Path | None,
        typer.Option("--imatrix", help="Importance matrix of llama-imatrix", rich_help_panel=TYPES),
    ] = None,
    pure: Annotated[
        bool, typer.Option("--pure", help="One type for all, no mix", rich_help_panel=TYPES)
    ] = False,
    output_tensor_type: Annotated[
        str | None, typer.Option("--output-tensor-type", metavar="TYPE", rich_help_panel=TYPES)
    ] = None,
    token_embedding_type: Annotated[
        str | None, typer.Option("--token-embedding-type", metavar="TYPE", rich_help_panel=TYPES)
    ] = None,
    tensor_type: Annotated[
        list[str] | None,
        typer.Option(
            "--tensor-type",
            metavar="REGEX=TYPE",
            help="Type of the tensors whose names match; may be repeated",
            rich_help_panel=TYPES,
        ),
    ] = None,
    merge: Annotated[
        list[str] | None,
        typer.Option(
            "--merge", metavar="ADAPTER[:SCALE]", help="Merge a LoRA adapter (PEFT folder); may be repeated"
        ),
    ] = None,
    no_repair: Annotated[
        bool, typer.Option("--no-repair", help="Write what the checkpoint says, known defects included")
    ] = False,
    split_max_size: Annotated[
        str | None,
        typer.Option(
            "--split-max-size", metavar="SIZE", help="Split into parts, such as 2G", rich_help_panel=OUTPUT
        ),
    ] = None,
    force: Annotated[
        bool,
        typer.Option("--force", help="Replace an existing output; make TQ1_0, TQ2_0", rich_help_panel=OUTPUT),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the plan and write nothing", rich_help_panel=OUTPUT)
    ] = False,
    threads: Annotated[
        int | None, typer.Option("--threads", "-t", help="Threads that quantize", rich_help_panel=WORK)
    ] = None,
    memory: Annotated[
        str, typer.Option("--memory", metavar="SIZE", help="Memory to stay below", rich_help_panel=WORK)
    ] = "1GiB",
    kernels: Annotated[
        str,
        typer.Option(
            "--kernels", help="auto, numba or ggml: same bytes, different speed", rich_help_panel=WORK
        ),
    ] = "auto",
    json: options.Json = False,
) -> None:
    """Make a GGUF file from a safetensors checkpoint.

    One pass, no intermediate file. Example: phi4local convert ./phi-4 -q Q4_K_M -o phi-4-Q4_K_M.gguf
    """
    from phi4local.convert import AdapterUse, convert_to_several, plan_conversions

    types = (output_tensor_type, token_embedding_type)
    target = _target_options(types, tensor_type or [], imatrix, split_max_size, pure=pure, ternary=force)
    wish = convert_size.SizeWish(quantization, target_size, fit, context, recipe)
    chosen = convert_size.choose(checkpoint, wish, target, threads=threads)
    names, target = list(chosen.names), chosen.options
    adapters = [AdapterUse.parse(text) for text in merge or ()]
    if dry_run:
        plans = plan_conversions(checkpoint, names, options=target, adapters=adapters, repair=not no_repair)
        conversion_report.plans(plans, threads=threads, kernels=kernels, json=json)
        return
    outputs = _outputs(checkpoint, names, output, label=chosen.label)
    with conversion_report.progress_bar() as show:
        summaries = convert_to_several(
            checkpoint,
            outputs,
            overwrite=force,
            threads=threads,
            kernels=kernels,
            memory_bytes=options.size_bytes(memory, "memory"),
            target=target,
            progress=show,
            adapters=adapters,
            repair=not no_repair,
        )
    convert_size.keep_recipe(chosen, summaries[0].output)
    conversion_report.summaries(summaries, json=json)
    if adapters and not json:
        render.notice(f"merged {', '.join(map(str, adapters))}")


def _target_options(
    chosen: tuple[str | None, str | None],
    overrides: list[str],
    imatrix: Path | None,
    split_max_size: str | None,
    *,
    pure: bool,
    ternary: bool,
) -> TargetOptions:
    from phi4local.convert import TargetOptions, TypeChoices
    from phi4local.convert.typing_rules import parse_override

    return TargetOptions(
        choices=TypeChoices(
            pure=pure,
            output=chosen[0],
            embedding=chosen[1],
            overrides=tuple(parse_override(text) for text in overrides),
        ),
        imatrix=imatrix,
        split_bytes=options.size_bytes(split_max_size, "split-max-size") if split_max_size else None,
        ternary=ternary,
    )


def _outputs(
    checkpoint: Path, names: list[str], output: Path | None, *, label: str | None = None
) -> dict[str, Path]:
    """Return the file of each quantization; `label` stands in the name for the only one.

    Example: `./phi-4`, Q4_K_M and Q8_0 → `phi-4-Q4_K_M.gguf` and `phi-4-Q8_0.gguf`, here or in the folder.
    """
    from phi4local.errors import InvalidSettingError

    if output is not None and not os.path.isdir(output):  # noqa: PTH112 - no error for a name that is too long
        if len(names) > 1:
            raise InvalidSettingError(
                "output",
                f"`{output}` is no folder",
                hint="several quantizations go into a folder; make it first",
            )
        return {names[0]: output}
    stem = checkpoint.resolve().name
    if os.path.isfile(checkpoint):  # noqa: PTH113 - the same
        stem = _PRECISION_AT_THE_END.sub("", _PART_AT_THE_END.sub("", stem.removesuffix(".gguf")))
    return {name: (output or Path()) / f"{stem}-{label or name}.gguf" for name in names}
