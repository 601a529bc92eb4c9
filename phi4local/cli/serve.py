"""`phi4local serve`: one local server for every client."""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from phi4local.cli import options, render
from phi4local.cli.opening import open_here
from phi4local.errors import InvalidSettingError

if TYPE_CHECKING:
    from phi4local.server.options import ServerOptions
    from phi4local.settings import LoadSettings

ACCESS, LIMITS = "Access", "Limits"
KEY_VARIABLE = "PHI4LOCAL_API_KEY"
INTERRUPTED = 130


def serve(
    model: options.Model = None,
    host: Annotated[str, typer.Option("--host", help="Address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", "-p", help="Port; 0 takes any free one")] = 8004,
    api_key_file: Annotated[
        Path | None,
        typer.Option(
            "--api-key-file",
            metavar="FILE",
            help=f"Keys, one a line, of which a request must bring one; or {KEY_VARIABLE}",
            rich_help_panel=ACCESS,
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-host",
            metavar="NAME",
            help="Another name under which this server may be asked; repeatable",
            rich_help_panel=ACCESS,
        ),
    ] = None,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-origin",
            metavar="URL",
            help="A web page elsewhere that may ask, such as https://chat.example; repeatable",
            rich_help_panel=ACCESS,
        ),
    ] = None,
    certificate: Annotated[
        str | None,
        typer.Option("--tls-certificate", metavar="FILE", help="PEM file for https", rich_help_panel=ACCESS),
    ] = None,
    certificate_key: Annotated[
        str | None,
        typer.Option("--tls-key", metavar="FILE", help="Its private key", rich_help_panel=ACCESS),
    ] = None,
    guard: Annotated[
        str | None,
        typer.Option(
            "--guard",
            metavar="FILE",
            help="Check questions and answers by this policy",
            rich_help_panel=ACCESS,
        ),
    ] = None,
    parallel: Annotated[
        int, typer.Option("--parallel", help="Answers written at the same time", rich_help_panel=LIMITS)
    ] = 4,
    queue: Annotated[
        int | None,
        typer.Option("--queue", help="Requests that may wait; more are told to", rich_help_panel=LIMITS),
    ] = None,
    keep_alive: Annotated[
        float,
        typer.Option(
            "--keep-alive",
            metavar="SECONDS",
            help="How long other models stay after their last answer; -1 for ever",
            rich_help_panel=LIMITS,
        ),
    ] = 300,
    request_seconds: Annotated[
        float, typer.Option("--request-seconds", help="Longest time of one answer", rich_help_panel=LIMITS)
    ] = 3600,
    stop_seconds: Annotated[
        float,
        typer.Option("--stop-seconds", help="How long answers go on after Ctrl-C", rich_help_panel=LIMITS),
    ] = 30,
    client_seconds: Annotated[
        float,
        typer.Option(
            "--client-seconds",
            help="How long a client may send nothing, or read nothing, when it is its turn",
            rich_help_panel=LIMITS,
        ),
    ] = 30,
    access_log: Annotated[
        str | None,
        typer.Option(
            "--access-log",
            metavar="FILE",
            help="A line of JSON for each request, without its text; - for standard error",
        ),
    ] = None,
    context: options.Context = None,
    gpu_layers: options.GpuLayers = None,
    kv: options.KvType = None,
    threads: options.Threads = None,
    force: options.Force = False,
    require_gpu: options.RequireGpu = False,
    yes: options.Yes = False,
) -> None:
    """Serve models: a web page, and OpenAI's, Ollama's and Anthropic's interfaces.

    Example: phi4local serve phi4-nano, then curl http://127.0.0.1:8004/v1/models
    """
    from phi4local.server.options import ServerOptions

    chosen = ServerOptions(
        host=host,
        port=port,
        api_keys=api_keys(api_key_file),
        allowed_hosts=tuple(allow_host or ()),
        allowed_origins=tuple(allow_origin or ()),
        request_seconds=request_seconds,
        stop_seconds=stop_seconds,
        client_seconds=client_seconds,
        access_log=access_log,
        certificate=certificate,
        certificate_key=certificate_key,
    )
    loading = options.load_settings(context, gpu_layers, kv, threads)
    loading = loading.filled_from(options.fit_settings(force=force, require_gpu=require_gpu))
    loading = replace(loading, parallel=parallel, queue_limit=queue)
    _run(chosen, loading, model, guard, keep_alive=keep_alive, yes=yes)


def _run(
    chosen: ServerOptions,
    loading: LoadSettings,
    model: str | None,
    guard_file: str | None,
    *,
    keep_alive: float,
    yes: bool,
) -> None:
    from phi4local.assistant.guard.guard import Guard
    from phi4local.runtime.adapters import fitting_adapters
    from phi4local.runtime.pool import ModelPool
    from phi4local.server.access_log import AccessLog
    from phi4local.server.run import check_certificate, listening_socket
    from phi4local.server.run import serve as run_server

    check_certificate(chosen)
    if chosen.access_log:
        AccessLog(chosen.access_log).close()  # one that cannot be written is known before the model is loaded
    pool = ModelPool.with_settings(loading, keep_alive_seconds=keep_alive)
    with contextlib.ExitStack() as open_things:
        listener = open_things.enter_context(listening_socket(chosen))  # a busy port is known at once
        first = open_things.enter_context(open_here(model, loading, beside=fitting_adapters(model), yes=yes))
        pool.put(told_name(model or first.name), first)
        guard = Guard.from_file(guard_file, judge_model=first) if guard_file else None
        if guard is not None:
            open_things.enter_context(guard)
        ended = run_server(pool, chosen, listener, guard=guard, tell=render.notice)
    if not ended:
        raise typer.Exit(INTERRUPTED)


def told_name(name: str) -> str:
    """Return what clients call a model: a file's or folder's name; its place is nobody's affair.

    Example: `/home/ada/models/phi-4-Q4_K_M.gguf` is `phi-4-Q4_K_M`, and `phi-4:Q8_0` is itself.
    """
    path = Path(name).expanduser()
    if not path.exists():
        return name
    return (path.resolve().name if path.is_dir() else path.stem).replace(":", "-")  # no tag


def api_keys(file: Path | None) -> tuple[str, ...]:
    """Return the keys of a file, one a line, and the one of the environment.

    Raises:
        InvalidSettingError: the file cannot be read, or has none.
    """
    own = os.environ.get(KEY_VARIABLE, "").strip()
    keys = [own] if own else []
    if file is not None:
        try:
            lines = file.read_text(encoding="utf-8").split()
        except (OSError, ValueError) as error:
            problem = (getattr(error, "strerror", None) or "no text").lower()
            raise InvalidSettingError(
                "api_key_file", f"is {file}, which cannot be read: {problem}", hint="name a text file"
            ) from error
        if os.name == "posix" and file.stat().st_mode & 0o077:
            render.notice(f"note: other users of this machine can read {file}; `chmod 600 {file}` ends that")
        if not lines:
            raise InvalidSettingError(
                "api_key_file", f"is {file}, which is empty", hint="put a long random word into it"
            )
        keys += lines
    return tuple(keys)
