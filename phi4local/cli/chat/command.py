"""Options of `phi4local chat`; the conversation is in `terminal`, the one through a pipe in `piped`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from phi4local.cli import options, render
from phi4local.cli.opening import open_with_progress

if TYPE_CHECKING:
    from phi4local.runtime.language_model import LanguageModel


def chat(
    model: options.Model = None,
    system: options.System = None,
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
    kv_offload: options.KvOffload = None,
    tensor_override: options.TensorOverrides = None,
    split_mode: options.SplitMode = None,
    tensor_split: options.TensorSplit = None,
    main_gpu: options.MainGpu = None,
    rpc: options.Rpc = None,
    speculation: options.Speculation = None,
    yes: options.Yes = False,
) -> None:
    """Talk with a model.

    In a pipe every line is one turn and only the answers come out. Example: phi4local chat phi4-nano
    """
    from phi4local.assistant.conversation import Conversation
    from phi4local.cli.chat import piped, terminal

    chosen = options.sampling_settings(temperature, top_k, top_p, min_p, seed, sampling)
    offload = options.offload_settings(kv_offload, tensor_override, split_mode, tensor_split, main_gpu, rpc)
    loading = options.load_settings(context, gpu_layers, kv, threads).filled_from(offload)
    loading = loading.filled_from(options.fit_settings(force=force, require_gpu=require_gpu))
    loading = loading.filled_from(options.speculation_settings(wanted=speculation))
    with open_with_progress(model, loading, adapter, yes=yes) as opened:
        _mention_real_model(model, opened)
        conversation = Conversation(opened, system=system, sampling=chosen, max_tokens=max_tokens)
        if sys.stdin.isatty():
            terminal.converse(opened, conversation)
        else:
            piped.converse(conversation)


def _mention_real_model(asked: str | None, opened: LanguageModel) -> None:
    from phi4local import catalog
    from phi4local.runtime.resolve import EMBEDDED_MODEL, how_to_get

    if asked is None and opened.name == EMBEDDED_MODEL:
        render.notice(f"phi4-nano is a tiny demo; for the real model: {how_to_get(catalog.find('phi-4'))}")
