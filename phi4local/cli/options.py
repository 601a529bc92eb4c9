"""Options that several commands share: the same name, help and meaning everywhere."""

from __future__ import annotations

from typing import Annotated

import typer

from phi4local.settings import KV_TYPES, LoadSettings, SamplingSettings

LOADING, SAMPLING = "Loading", "Sampling"


def complete_model(incomplete: str) -> list[str]:
    """Return the names that a shell offers for a model."""
    from phi4local import catalog
    from phi4local.store import installed

    names = {*catalog.model_names(), *(model.name for model in installed.installed())}
    return sorted(name for name in names if name.startswith(incomplete))


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
MaxTokens = Annotated[
    int | None,
    typer.Option("--max-tokens", "-n", min=1, help="Longest answer, in tokens", rich_help_panel=SAMPLING),
]
System = Annotated[
    str | None, typer.Option("--system", help="Instruction before the conversation", show_default=False)
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on standard output")]


def load_settings(
    context: int | None, gpu_layers: int | None, kv: str | None, threads: int | None
) -> LoadSettings:
    """Build the load settings of a command line."""
    return LoadSettings(context_tokens=context, gpu_layers=gpu_layers, kv_type=kv, threads=threads)


def sampling_settings(
    temperature: float | None,
    top_k: int | None,
    top_p: float | None,
    min_p: float | None,
    seed: int | None,
) -> SamplingSettings:
    """Build the sampling settings of a command line."""
    return SamplingSettings(temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p, seed=seed)
