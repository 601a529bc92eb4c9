"""`phi4local serve`: one local server for every client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from phi4local.cli import options, render
from phi4local.cli.opening import open_here

if TYPE_CHECKING:
    from phi4local.runtime.pool import ModelPool
    from phi4local.settings import LoadSettings

ACCESS, LIMITS = "Access", "Limits"


def serve(
    model: options.Model = None,
    host: Annotated[str, typer.Option("--host", help="Address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", "-p", help="Port; 0 for any free one")] = 8004,
    parallel: Annotated[
        int, typer.Option("--parallel", help="Answers written at the same time", rich_help_panel=LIMITS)
    ] = 4,
    context: options.Context = None,
    gpu_layers: options.GpuLayers = None,
    kv: options.KvType = None,
    threads: options.Threads = None,
    force: options.Force = False,
    require_gpu: options.RequireGpu = False,
    yes: options.Yes = False,
) -> None:
    """Serve models to other programs: OpenAI's interface on this machine.

    Example: phi4local serve phi4-nano, then curl http://127.0.0.1:8004/v1/models
    """
    from dataclasses import replace

    from phi4local.runtime.pool import ModelPool
    from phi4local.server.options import ServerOptions
    from phi4local.server.run import serve as run_server

    chosen = ServerOptions(host=host, port=port)
    loading = options.load_settings(context, gpu_layers, kv, threads)
    loading = replace(loading, parallel=parallel).filled_from(
        options.fit_settings(force=force, require_gpu=require_gpu)
    )
    pool = ModelPool.with_settings(loading)
    _load_first(pool, model, loading, yes=yes)
    if not run_server(pool, chosen, tell=render.notice):
        raise typer.Exit(130)


def _load_first(pool: ModelPool, model: str | None, loading: LoadSettings, *, yes: bool) -> None:
    first = open_here(model, loading, yes=yes)
    pool.put(model or first.name, first)
