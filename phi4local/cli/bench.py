"""`phi4local bench`: tokens per second on this machine."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from phi4local.cli import bench_options as own
from phi4local.cli import bench_results as kept
from phi4local.cli import options
from phi4local.cli.opening import find_file, open_here
from phi4local.runtime.remote.address import is_address

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from phi4local.bench.row import Row
    from phi4local.bench.run import Bench


def bench(
    models: own.Models = None,
    model: own.MoreModels = None,
    url: own.Urls = None,
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
    compare: kept.Compare = None,
    history: kept.History = False,
    no_save: kept.NoSave = False,
    plot: kept.Plots = None,
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

    output = "json" if json else output
    if kept.only_shows(given, json=output == "json"):
        return
    printer = Printer.of(output, output_err)
    with kept.Keeper(given, printer) as keeper, printer:
        for row in _measured(given, keeper):
            keeper.row(row)


def _measured(given: dict[str, Any], keeper: kept.Keeper) -> Iterator[Row]:
    """Yield the rows of all models; every option is checked for all of them before anything is measured."""
    from phi4local.bench.raw import Rounds
    from phi4local.bench.run import CHAT, RAW
    from phi4local.runtime.names import is_link

    rounds = Rounds(
        repeats=given["repetitions"],
        warm_up=not given["no_warmup"],
        delay_seconds=given["delay"],
        priority=given["prio"],
    )
    common = {"tests": own.tests_of(given), "rounds": rounds, "tell": keeper.step}
    more = [name for text in given["model"] or () for name in text.split(",")]
    paths = (CHAT, RAW) if given["both"] else (RAW,) if given["raw"] else (CHAT,)
    ready: list[Callable[[], Iterator[Row]]] = []
    for name in [*(given["models"] or ()), *more, *(given["url"] or ())] or [None]:
        if name and is_address(name) and not is_link(name):
            ready.append(_server(name, given, common))
        else:
            bench = _local(name, given, common | {"skip": keeper.note})
            for path in paths:
                bench.check(path)
                ready.append(partial(bench.rows, path))
    for rows in ready:
        yield from rows()


def _server(address: str, given: dict[str, Any], common: dict[str, Any]) -> Callable[[], Iterator[Row]]:
    from phi4local.bench.server import ServerBench, check_server
    from phi4local.errors import InvalidSettingError
    from phi4local.runtime.remote.open import open_remote

    for name in ("raw", "both", "context_tokens", "rpc", "force", "require_gpu"):
        if given[name] and not (name == "force" and given["plot"]):
            raise InvalidSettingError(name, "has no meaning for a server", hint="leave it out")
    check_server(common["tests"])
    return ServerBench(open_model=partial(open_remote, address), **common).rows


def _local(name: str | None, given: dict[str, Any], common: dict[str, Any]) -> Bench:
    from phi4local.bench.run import Bench
    from phi4local.settings import LoadSettings

    rpc = tuple(given["rpc"]) if given["rpc"] else None
    fit = options.fit_settings(force=given["force"], require_gpu=given["require_gpu"])
    settings = LoadSettings(
        context_tokens=given["context_tokens"],
        rpc=rpc,
        speculation="off",  # guesses depend on the text: figures that are compared have none
    ).filled_from(fit)
    shown, path = find_file(name, yes=given["yes"])
    opened = partial(open_here, name, yes=given["yes"])
    return Bench(name=shown, path=path, settings=settings, open_model=opened, **common)
