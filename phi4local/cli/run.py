"""`phi4local run`: one question, one answer."""

from __future__ import annotations

import os
import stat
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from phi4local.cli import options, render, structure
from phi4local.cli.opening import open_with_progress
from phi4local.cli.stream import completion_to_json, print_answer, statistics
from phi4local.cli.text import visible

if TYPE_CHECKING:
    from phi4local.runtime.language_model import LanguageModel
    from phi4local.settings import LoadSettings


def run(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[MODEL] PROMPT", help="Model, then what to say", show_default=False),
    ] = None,
    system: options.System = None,
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
    yes: options.Yes = False,
    stats: Annotated[bool, typer.Option("--stats", help="Print tokens per second on stderr")] = False,
    json: options.Json = False,
) -> None:
    """Answer one prompt and exit.

    The prompt stands on the command line, in a pipe, or both: piped text follows the words.
    Example: phi4local run phi4-nano "Why is the sky blue?"
    """
    from phi4local.messages import Message

    name, prompt = split_words(words or [], _piped_text())
    chosen = options.sampling_settings(temperature, top_k, top_p, min_p, seed, sampling)
    chosen = chosen.filled_from(structure.structure_settings(json_schema, regex, grammar))
    offload = options.offload_settings(kv_offload, tensor_override, split_mode, tensor_split, main_gpu, rpc)
    loading = options.load_settings(context, gpu_layers, kv, threads).filled_from(offload)
    loading = loading.filled_from(options.fit_settings(force=force, require_gpu=require_gpu))
    loading = loading.filled_from(options.speculation_settings(wanted=speculation))
    messages = [Message("system", system)] if system else []
    with _open(name, loading, adapter, yes=yes, many_words=len(words or []) > 2) as model:
        generation = model.chat([*messages, Message("user", prompt)], sampling=chosen, max_tokens=max_tokens)
        with generation:
            if json:
                render.print_json(completion_to_json(model.name, generation.result()))
                return
            finished = print_answer(generation)
    if stats:
        render.notice(statistics(finished))


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


def split_words(words: list[str], piped: str) -> tuple[str | None, str]:
    """Tell the model from the prompt.

    Two words or more: the first is the model. One word: the model when the prompt comes through a pipe and
    the word names a model, else the prompt for the default model.

    Example: `(["phi4-nano", "Hello"], "")` → `("phi4-nano", "Hello")`; `(["Hello"], "")` → `(None, "Hello")`.
    """
    name: str | None = None
    if len(words) > 1 or (words and piped and _names_a_model(words[0])):
        name, *words = words
    elif words and _names_a_model(words[0]):
        shown = visible(words[0])
        raise typer.BadParameter(f"say something to {shown}, or use `phi4local chat {shown}`")
    prompt = "\n\n".join(part for part in (" ".join(words), piped) if part)
    if not prompt.strip():
        raise typer.BadParameter('there is no prompt: add one, as in `phi4local run "Hello"`')
    return name, prompt


def _names_a_model(word: str) -> bool:
    from phi4local.runtime.resolve import names_a_model

    return names_a_model(word)


def _piped_text() -> str:
    """Return what a pipe or file brings on standard input; never wait for a terminal or a device."""
    try:
        mode = os.fstat(sys.stdin.fileno()).st_mode
    except (OSError, ValueError, AttributeError):
        return ""
    if not (stat.S_ISFIFO(mode) or stat.S_ISREG(mode)):
        return ""
    return sys.stdin.read().rstrip("\n")
