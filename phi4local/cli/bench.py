"""`phi4local bench`: tokens per second on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from phi4local.cli import options, render
from phi4local.cli.opening import open_here

if TYPE_CHECKING:
    from phi4local.bench.report import Samples, SpeedReport
    from phi4local.runtime.model import Model


def bench(
    model: options.Model = None,
    prompt_tokens: Annotated[int, typer.Option("--prompt-tokens", "-p", help="Length of the prompt")] = 512,
    generated_tokens: Annotated[
        int, typer.Option("--generated-tokens", "-n", help="Length of the answers")
    ] = 128,
    repeats: Annotated[int, typer.Option("--repeats", "-r", help="Counted rounds, after a warm-up")] = 5,
    raw: Annotated[bool, typer.Option("--raw", help="Add the bare decode loop, without sampling")] = False,
    context: options.Context = None,
    gpu_layers: options.GpuLayers = None,
    kv: options.KvType = None,
    threads: options.Threads = None,
    kv_offload: options.KvOffload = None,
    tensor_override: options.TensorOverrides = None,
    split_mode: options.SplitMode = None,
    tensor_split: options.TensorSplit = None,
    main_gpu: options.MainGpu = None,
    rpc: options.Rpc = None,
    yes: options.Yes = False,
    json: options.Json = False,
) -> None:
    """Measure how fast a model reads and writes here.

    The rows are mean ± standard deviation. Example: phi4local bench phi4-nano --raw
    """
    from phi4local.bench.speed import Workload, measure

    workload = Workload(prompt_tokens=prompt_tokens, generated_tokens=generated_tokens, repeats=repeats)
    offload = options.offload_settings(kv_offload, tensor_override, split_mode, tensor_split, main_gpu, rpc)
    loading = options.load_settings(context, gpu_layers, kv, threads).filled_from(offload)
    with open_here(model, loading, yes=yes) as opened:
        reports = [measure(opened, workload)]
    if raw:
        reports.append(_measure_raw(opened, workload))
    if json:
        render.print_json(_to_json(opened, reports))
    else:
        _print_table(opened, reports)


def _measure_raw(model: Model, workload: Any) -> SpeedReport:  # noqa: ANN401
    from phi4local.bench.raw import measure_raw

    return measure_raw(model.file.model_file(), model.facts.settings, workload.fitted(model.context_tokens))


def _to_json(model: Model, reports: list[SpeedReport]) -> dict[str, Any]:
    from phi4local import __version__, hardware

    return {
        "model": model.name,
        "file": str(model.file.header.path),
        "phi4local": __version__,
        "library": model.facts.system_info,
        "machine": hardware.describe(),
        "settings": model.facts.settings.to_mapping(),
        "rows": [report.to_mapping() for report in reports],
    }


def _print_table(model: Model, reports: list[SpeedReport]) -> None:
    settings = model.facts.settings
    where = f"{settings.gpu_layers} layers on the GPU" if settings.gpu_layers else "CPU"
    title = f"{model.name}, {render.size(model.file.header.file_bytes)}, {settings.threads} threads, {where}"
    columns = ("PATH", "READ tok/s", "WRITE tok/s", "FIRST TOKEN", "LOAD", "MEMORY")
    rows = [
        (
            report.path,
            _rate(report.prompt_tokens_per_second),
            _rate(report.generated_tokens_per_second),
            f"{report.first_token_seconds.mean * 1000:,.0f} ms",
            f"{report.load_seconds:.2f} s",
            render.size(report.peak_memory_bytes) if report.peak_memory_bytes else "-",
        )
        for report in reports
    ]
    render.table(title, columns, rows, right=columns[1:])
    first = reports[0]
    render.notice(
        f"read {first.prompt_tokens} prompt tokens, wrote {first.generated_tokens}; "
        f"{len(first.prompt_tokens_per_second.values)} rounds after a warm-up"
    )


def _rate(samples: Samples) -> str:
    return f"{samples.mean:,.1f} ± {samples.deviation:,.1f}"
