"""Options that several commands share: the same name, help and meaning everywhere."""

from __future__ import annotations

import json
import re
from typing import Annotated, Any

import typer

from phi4local.cli.text_files import system_text
from phi4local.errors import InvalidSettingError
from phi4local.offload import SPLIT_MODES
from phi4local.settings import KV_TYPES, LoadSettings, SamplingSettings

LOADING, OFFLOAD, SAMPLING = "Loading", "Offload", "Sampling"
TEXT_SETTINGS = ("stop", "dry_sequence_breakers")
"""Sampling settings that are lists of texts; on the command line one text will do."""


def complete_model(incomplete: str) -> list[str]:
    """Return the names that a shell offers for a model."""
    from phi4local import catalog
    from phi4local.store import installed

    names = {*catalog.model_names(), *(model.name for model in installed.installed())}
    return sorted(name for name in names if name.startswith(incomplete))


def complete_installed(incomplete: str) -> list[str]:
    """Return the names that a shell offers for a model of the store."""
    from phi4local.store import manifests

    names = sorted(str(name) for _, name in manifests.names())
    return [name for name in names if name.startswith(incomplete)]


Model = Annotated[
    str | None,
    typer.Argument(
        help="Name, GGUF file or checkpoint folder; see `phi4local list`",
        show_default=False,
        autocompletion=complete_model,
    ),
]
Context = Annotated[
    int | None,
    typer.Option("--context", "-c", help="Tokens of prompt and answer together", rich_help_panel=LOADING),
]
GpuLayers = Annotated[
    int | None,
    typer.Option("--gpu-layers", help="Layers on the GPU; 0 for CPU only", rich_help_panel=LOADING),
]
KvType = Annotated[
    str | None,
    typer.Option("--kv", help=f"Type of the KV cache: {', '.join(KV_TYPES)}", rich_help_panel=LOADING),
]
Threads = Annotated[int | None, typer.Option("--threads", "-t", help="CPU threads", rich_help_panel=LOADING)]
Adapters = Annotated[
    list[str] | None,
    typer.Option(
        "--adapter",
        metavar="ADAPTER[:SCALE]",
        help="LoRA adapter (name, GGUF file or PEFT folder), with its strength; repeatable",
        rich_help_panel=LOADING,
    ),
]
KvOffload = Annotated[
    bool | None,
    typer.Option(
        "--kv-offload/--no-kv-offload",
        help="Keep the KV cache on the GPU, beside its layers",
        rich_help_panel=OFFLOAD,
        show_default=False,
    ),
]
TensorOverrides = Annotated[
    list[str] | None,
    typer.Option(
        "--tensor-override",
        metavar="REGEX=BUFFER",
        help="Put tensors whose name fits into a buffer type, such as CPU or CUDA1; repeatable",
        rich_help_panel=OFFLOAD,
    ),
]
SplitMode = Annotated[
    str | None,
    typer.Option(
        "--split-mode", help=f"How GPUs share the model: {', '.join(SPLIT_MODES)}", rich_help_panel=OFFLOAD
    ),
]
TensorSplit = Annotated[
    str | None,
    typer.Option(
        "--tensor-split", metavar="A,B,…", help="Share of each GPU, such as 3,1", rich_help_panel=OFFLOAD
    ),
]
MainGpu = Annotated[
    int | None,
    typer.Option("--main-gpu", help="The GPU for `--split-mode none`", rich_help_panel=OFFLOAD),
]
Rpc = Annotated[
    list[str] | None,
    typer.Option(
        "--rpc",
        metavar="HOST:PORT",
        help="Layers on another machine's ggml-rpc-server; a trusted network only; repeatable",
        rich_help_panel=OFFLOAD,
    ),
]
Speculation = Annotated[
    bool | None,
    typer.Option(
        "--speculation/--no-speculation",
        help="Guess repeated text and check it in one step; by itself where it pays",
        rich_help_panel=LOADING,
        show_default=False,
    ),
]
DraftModel = Annotated[
    str | None,
    typer.Option(
        "--draft-model",
        metavar="MODEL",
        help="A smaller model with the same vocabulary guesses too",
        rich_help_panel=LOADING,
        autocompletion=complete_installed,
    ),
]
Force = Annotated[
    bool, typer.Option("--force", help="Load what the plan says won't fit", rich_help_panel=LOADING)
]
RequireGpu = Annotated[
    bool, typer.Option("--require-gpu", help="Fail rather than compute on the CPU", rich_help_panel=LOADING)
]
Temperature = Annotated[
    float | None,
    typer.Option("--temperature", help="0 is exact, higher is more varied", rich_help_panel=SAMPLING),
]
TopK = Annotated[
    int | None, typer.Option("--top-k", help="Keep the k most likely tokens", rich_help_panel=SAMPLING)
]
TopP = Annotated[
    float | None,
    typer.Option("--top-p", help="Keep the likeliest tokens up to this share", rich_help_panel=SAMPLING),
]
MinP = Annotated[
    float | None,
    typer.Option("--min-p", help="Drop tokens below this share of the best", rich_help_panel=SAMPLING),
]
Seed = Annotated[
    int | None, typer.Option("--seed", help="Number that repeats a random answer", rich_help_panel=SAMPLING)
]
OtherSampling = Annotated[
    list[str] | None,
    typer.Option(
        "--sampling",
        metavar="NAME=VALUE",
        help="Any other setting, such as repeat_penalty=1.1; repeatable; docs/sampling.md lists them",
        rich_help_panel=SAMPLING,
    ),
]
MaxTokens = Annotated[
    int | None,
    typer.Option("--max-tokens", "-n", min=1, help="Longest answer, in tokens", rich_help_panel=SAMPLING),
]
System = Annotated[
    str | None,
    typer.Option(
        "--system",
        metavar="TEXT|@FILE",
        help="Instruction before the conversation",
        show_default=False,
        callback=system_text,
    ),
]
Server = Annotated[
    str | None,
    typer.Option(
        "--server",
        metavar="URL",
        help="Ask this server, with the key of PHI4LOCAL_API_KEY",
        rich_help_panel=LOADING,
        show_default=False,
    ),
]
NoServer = Annotated[
    bool,
    typer.Option(
        "--no-server",
        help="Load the model here, also when a server of yours has it in memory",
        rich_help_panel=LOADING,
    ),
]
Yes = Annotated[
    bool, typer.Option("--yes", "-y", help="Pull a model that is not here without asking", show_default=False)
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on standard output")]


def load_settings(
    context: int | None, gpu_layers: int | None, kv: str | None, threads: int | None
) -> LoadSettings:
    """Build the load settings of a command line."""
    return LoadSettings(context_tokens=context, gpu_layers=gpu_layers, kv_type=kv, threads=threads)


def fit_settings(*, force: bool, require_gpu: bool) -> LoadSettings:
    """Build the part of the load settings that says what to do when a model does not fit."""
    return LoadSettings(force=force or None, require_gpu=require_gpu or None)


def speculation_settings(*, wanted: bool | None, draft_model: str | None) -> LoadSettings:
    """Build the part of the load settings that says whether text is guessed, and by whom."""
    mode = None if wanted is None else "lookup" if wanted else "off"
    return LoadSettings(speculation=mode, draft_model=draft_model)


def adapter_scales(adapters: list[str] | None) -> dict[str, float]:
    """Return the scale of each adapter file. Example: `["a.gguf:0.5", "b.gguf"]` → a.gguf 0.5, b.gguf 1."""
    scales = {}
    for text in adapters or ():
        path, colon, scale = text.rpartition(":")
        try:
            value = float(scale) if colon else 1.0
        except ValueError:  # a colon of the path, as in C:\adapters\style.gguf
            path, value = "", 1.0
        scales[path or text] = value
    return scales


def offload_settings(
    kv_offload: bool | None,
    overrides: list[str] | None,
    split_mode: str | None,
    split: str | None,
    main_gpu: int | None,
    rpc: list[str] | None,
) -> LoadSettings:
    """Build the part of the load settings that says where weights and cache go."""
    return LoadSettings(
        kv_offload=kv_offload,
        tensor_overrides=tuple(overrides) if overrides else None,
        split_mode=split_mode,
        tensor_split=None if split is None else tuple(map(_share, split.split(","))),
        main_gpu=main_gpu,
        rpc=tuple(rpc) if rpc else None,
    )


def _share(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InvalidSettingError(
            "tensor_split", f"has {text!r}; it must be numbers", hint="for example `--tensor-split 3,1`"
        ) from None


def sampling_settings(
    temperature: float | None,
    top_k: int | None,
    top_p: float | None,
    min_p: float | None,
    seed: int | None,
    others: list[str] | None = None,
) -> SamplingSettings:
    """Build the sampling settings of a command line; an option of its own counts before `--sampling`."""
    given = SamplingSettings(temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p, seed=seed)
    return given.filled_from(SamplingSettings.from_mapping(dict(map(_named_value, others or ()))))


def _named_value(text: str) -> tuple[str, Any]:
    """Read one setting. Example: `"repeat-penalty=1.1"` → `("repeat_penalty", 1.1)`."""
    name, equals, value = text.partition("=")
    if not equals:
        hint = "for example `--sampling repeat_penalty=1.1`"
        raise InvalidSettingError("sampling", f"is {text!r}; it must be NAME=VALUE", hint=hint)
    name = name.strip().replace("-", "_")
    try:
        parsed = json.loads(value)
    except ValueError:
        parsed = value
    return name, [parsed] if name in TEXT_SETTINGS and isinstance(parsed, str) else parsed


_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "KI": 2**10, "MI": 2**20, "GI": 2**30}


def size_bytes(text: str, setting: str) -> int:
    """Return the bytes of a size such as `2G`, `500MB` or `1GiB`; M and G count in thousands.

    Raises:
        InvalidSettingError: no size above 0.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([KMG]?I?)B?", text.strip(), re.IGNORECASE)
    size = int(float(found[1]) * _UNITS.get(found[2].upper(), 0)) if found else 0
    if size <= 0:
        raise InvalidSettingError(setting, f"is {text!r}", hint="write a size such as 2G, 500M or 1GiB")
    return size
