"""Options of `phi4local chat`; the conversation is in `terminal`, the one through a pipe in `piped`."""

from __future__ import annotations

from typing import Annotated

import typer

from phi4local.cli import options
from phi4local.cli.server_choice import server_choice

SESSION, SCREEN = "Session", "Screen"


def chat(
    model: options.Model = None,
    system: options.System = None,
    go_on: Annotated[
        bool, typer.Option("--continue", "-C", help="Go on with the last session", rich_help_panel=SESSION)
    ] = False,
    session: Annotated[
        str | None,
        typer.Option("--session", help="Go on with this session, or begin it", rich_help_panel=SESSION),
    ] = None,
    save: Annotated[
        bool,
        typer.Option(
            "--save/--no-save", help="Keep the conversation on this machine", rich_help_panel=SESSION
        ),
    ] = True,
    keep_state: Annotated[
        bool,
        typer.Option(
            "--keep-state",
            help="Keep the model's memory of the session too (up to 512 MiB), to go on at once",
            rich_help_panel=SESSION,
        ),
    ] = False,
    history: Annotated[
        bool,
        typer.Option(
            "--history/--no-history", help="Keep what was typed, for the arrow keys", rich_help_panel=SESSION
        ),
    ] = True,
    context_full: Annotated[
        str | None,
        typer.Option(
            "--context-full",
            metavar="ask|drop|summarize|shift|stop",
            help="What goes when the context is full",
            rich_help_panel=SESSION,
        ),
    ] = None,
    guard: Annotated[
        str | None,
        typer.Option("--guard", metavar="FILE", help="Check questions and answers by this policy"),
    ] = None,
    docs: Annotated[
        list[str] | None,
        typer.Option(
            "--docs", metavar="PATH", help="Answer from this file or folder and cite it; repeatable"
        ),
    ] = None,
    raw: Annotated[
        bool,
        typer.Option("--raw", help="Show answers as they come, without markdown", rich_help_panel=SCREEN),
    ] = False,
    think: Annotated[
        str,
        typer.Option(
            "--think", metavar="show|fold|hide", help="Thoughts of reasoning models", rich_help_panel=SCREEN
        ),
    ] = "fold",
    max_tokens: options.MaxTokens = None,
    temperature: options.Temperature = None,
    top_k: options.TopK = None,
    top_p: options.TopP = None,
    min_p: options.MinP = None,
    seed: options.Seed = None,
    sampling: options.OtherSampling = None,
    context: options.Context = None,
    gpu_layers: options.GpuLayers = None,
    kv: options.KvType = None,
    threads: options.Threads = None,
    force: options.Force = False,
    require_gpu: options.RequireGpu = False,
    adapter: options.Adapters = None,
    server: options.Server = None,
    no_server: options.NoServer = False,
    kv_offload: options.KvOffload = None,
    tensor_override: options.TensorOverrides = None,
    split_mode: options.SplitMode = None,
    tensor_split: options.TensorSplit = None,
    main_gpu: options.MainGpu = None,
    rpc: options.Rpc = None,
    speculation: options.Speculation = None,
    draft_model: options.DraftModel = None,
    yes: options.Yes = False,
) -> None:
    """Talk with a model.

    In a pipe every line is one turn and only the answers come out. Example: phi4local chat phi4-nano
    """
    from phi4local.cli.chat import start
    from phi4local.cli.chat.state import View, think_mode

    chosen = options.sampling_settings(temperature, top_k, top_p, min_p, seed, sampling)
    offload = options.offload_settings(kv_offload, tensor_override, split_mode, tensor_split, main_gpu, rpc)
    loading = options.load_settings(context, gpu_layers, kv, threads).filled_from(offload)
    loading = loading.filled_from(options.fit_settings(force=force, require_gpu=require_gpu))
    guesses = options.speculation_settings(wanted=speculation, draft_model=draft_model)
    loading = loading.filled_from(guesses)
    opening = start.Opening(
        loading=loading,
        adapters=adapter or [],
        yes=yes,
        guard=guard,
        server=server_choice(server, none=no_server),
        keeps_state=keep_state,
    )
    talk = start.Talk(system=system, sampling=chosen, max_tokens=max_tokens, guard=guard)
    kept = start.Kept(go_on=go_on, session=session, save=save, history=history, state=keep_state)
    room = start.Room(context_full, docs or [])
    start.talk(model, opening, talk, room, kept, View(raw=raw, think=think_mode(think)))
