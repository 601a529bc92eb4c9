"""`phi4local bench`: tokens per second on this machine."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from phi4local.cli import bench_options as own
from phi4local.cli import options
from phi4local.cli.opening import find_file, open_here

if TYPE_CHECKING:
    from collections.abc import Iterator

    from phi4local.bench.row import Row
    from phi4local.cli.bench_output import Printer


def bench(
    models: own.Models = None,
    model: own.MoreModels = None,
    raw: own.Raw = False,
    both: own.BothPaths = False,
    n_prompt: own.Prompts = None,
    n_gen: own.Answers = None,
    pg: own.Both = None,
    n_depth: own.Depths = None,
    parallel: own.Parallel = None,
    kv: own.KvTypes = None,
    type_k: own.KeyTypes = None,
    type_v: own.ValueTypes = None,
    n_threads: own.Threads = None,
    n_gpu_layers: own.GpuLayers = None,
    flash_attn: own.FlashAttention = None,
    repetitions: own.Repeats = 5,
    delay: own.Delay = 0,
    no_warmup: own.NoWarmUp = False,
    context_tokens: options.Context = None,
    force: options.Force = False,
    require_gpu: options.RequireGpu = False,
    split_mode: own.SplitModes = None,
    main_gpu: own.MainGpus = None,
    no_kv_offload: own.NoKvOffload = None,
    tensor_split: own.TensorSplits = None,
    override_tensor: own.Overrides = None,
    rpc: options.Rpc = None,
    n_batch: own.Batches = None,
    n_ubatch: own.MicroBatches = None,
    cpu_mask: own.CpuMasks = None,
    cpu_strict: own.CpuStrict = None,
    poll: own.Polls = None,
    prio: own.Priority = 0,
    load_mode: own.LoadModes = None,
    embeddings: own.Embeddings = None,
    no_op_offload: own.NoOpOffload = None,
    no_host: own.NoHost = None,
    repack: own.Repack = None,
    output: own.Output = None,
    output_err: own.OutputError = None,
    json: own.Json = False,
    yes: options.Yes = False,
) -> None:
    """Measure how fast a model reads and writes here.

    Options and columns are llama-bench's, and some more. Rows are of the path that chat uses, unless --raw.
    Example: phi4local bench phi4-nano -p 128,512 -d 0,1024
    """
    given = dict(locals())  # the options by name, before there is any other variable
    from phi4local.cli.bench_output import Printer

    printer = Printer.of("json" if json else output, output_err)
    with printer:
        for row in _measured(given, printer):
            printer.row(row)


def _measured(given: dict[str, Any], printer: Printer) -> Iterator[Row]:
    """Yield the rows of all models, checking every option before the first one is loaded."""
    from phi4local.bench.raw import Rounds
    from phi4local.bench.run import CHAT, RAW, Bench
    from phi4local.settings import LoadSettings

    tests = own.tests_of(given)
    rounds = Rounds(
        repeats=given["repetitions"],
        warm_up=not given["no_warmup"],
        delay_seconds=given["delay"],
        priority=given["prio"],
    )
    rpc = tuple(given["rpc"]) if given["rpc"] else None
    fit = options.fit_settings(force=given["force"], require_gpu=given["require_gpu"])
    settings = LoadSettings(context_tokens=given["context_tokens"], rpc=rpc).filled_from(fit)
    more = [name for text in given["model"] or () for name in text.split(",")]
    yes = given["yes"]
    for typed in [*(given["models"] or ()), *more] or [None]:
        name, path = find_file(typed, yes=yes)
        bench = Bench(
            name=name,
            path=path,
            tests=tests,
            rounds=rounds,
            settings=settings,
            open_model=partial(open_here, typed, yes=yes),
            tell=printer.step,
            skip=printer.note,
        )
        for kind in (CHAT, RAW) if given["both"] else (RAW,) if given["raw"] else (CHAT,):
            yield from bench.rows(kind)
