"""`phi4local run`: one prompt, one answer or several, for people and for scripts."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from phi4local.cli import options, run_options, run_output, structure
from phi4local.cli.opening import open_with_progress
from phi4local.cli.run_prompt import refuse_images

if TYPE_CHECKING:
    from phi4local.runtime.language_model import LanguageModel
    from phi4local.settings import LoadSettings


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
    loading = run_output.loading_for(number, task.model, loading)
    with (
        run_output.destination(output) as written,
        _open(task.model, loading, adapter, yes=yes, many_words=len(said.arguments) > 2) as model,
    ):
        run_output.write_answers(model, task, form, written)


def _open(
    name: str | None, loading: LoadSettings, adapters: list[str] | None, *, yes: bool, many_words: bool
) -> LanguageModel:
    from phi4local.errors import UnknownModelError

    try:
        return open_with_progress(name, loading, adapters, yes=yes)
    except UnknownModelError as error:
        if many_words:
            error.hint = 'put the prompt in quotes: `phi4local run "…"`, or `phi4local run MODEL "…"`'
        raise
