"""`phi4local run`: one prompt, one answer or several, for people and for scripts."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from phi4local.cli import options, run_options, run_output, structure
from phi4local.cli.run_prompt import refuse_images
from phi4local.cli.server_choice import named_server, open_through, server_choice

if TYPE_CHECKING:
    from collections.abc import Callable

    from phi4local.cli.run_task import Words
    from phi4local.runtime.language_model import LanguageModel


def run(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[MODEL] PROMPT", help="Model, then what to say", show_default=False),
    ] = None,
    system: options.System = None,
    file: run_options.Files = None,
    image: run_options.Images = None,
    template: run_options.Template = None,
    param: run_options.Parameters = None,
    save_template: run_options.SaveTemplate = None,
    output: run_options.Output = None,
    number: run_options.Number = None,
    extract: run_options.Extract = None,
    raw: run_options.Raw = False,
    think: run_options.Think = None,
    max_tokens: options.MaxTokens = None,
    temperature: options.Temperature = None,
    top_k: options.TopK = None,
    top_p: options.TopP = None,
    min_p: options.MinP = None,
    seed: options.Seed = None,
    sampling: options.OtherSampling = None,
    json_schema: structure.JsonSchema = None,
    regex: structure.Regex = None,
    grammar: structure.Grammar = None,
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
    stats: run_options.Stats = False,
    json: options.Json = False,
) -> None:
    """Answer one prompt and exit.

    The prompt is what stands on the command line, then files (`-f`), then what a pipe brings.
    Example: phi4local run phi4-nano "Why is the sky blue?"
    """
    from phi4local.assistant.templates import PromptTemplate
    from phi4local.cli.run_task import Words, keep_template, task_of

    refuse_images(image)
    form = run_output.Form(json=json, extract=extract, raw=raw, stats=stats, number=number, think=think)
    said = Words(arguments=words or [], files=file or [], template=template, parameters=param or [])
    chosen = options.sampling_settings(temperature, top_k, top_p, min_p, seed, sampling)
    chosen = chosen.filled_from(structure.structure_settings(json_schema, regex, grammar))
    given = PromptTemplate(max_tokens=max_tokens, sampling=chosen)
    if save_template is not None:
        keep_template(save_template, said, replace(given, system=system))
        return
    offload = options.offload_settings(kv_offload, tensor_override, split_mode, tensor_split, main_gpu, rpc)
    loading = options.load_settings(context, gpu_layers, kv, threads).filled_from(offload)
    loading = loading.filled_from(options.fit_settings(force=force, require_gpu=require_gpu))
    guesses = options.speculation_settings(wanted=speculation, draft_model=draft_model)
    loading = loading.filled_from(guesses)
    task = task_of(said, given, system)
    choice = server_choice(server, none=no_server)
    loading = run_output.loading_for(number, named_server(choice) or task.model, loading)
    with (
        run_output.destination(output) as written,
        _open(said, partial(open_through, choice, task.model, loading, adapter, yes=yes)) as model,
    ):
        run_output.write_answers(model, task, form, written)


def _open(said: Words, opening: Callable[[], LanguageModel]) -> LanguageModel:
    from phi4local.errors import UnknownModelError

    try:
        return opening()
    except UnknownModelError as error:
        if len(said.arguments) > 2:
            error.hint = 'put the prompt in quotes: `phi4local run "…"`, or `phi4local run MODEL "…"`'
        raise
