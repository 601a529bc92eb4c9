"""The options of `bench`: llama-bench's, each a list that may hold ranges."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from phi4local.bench.words import CACHE_TYPES, FORMATS, LOAD_MODES
from phi4local.cli.options import OFFLOAD, complete_model
from phi4local.errors import InvalidSettingError
from phi4local.offload import SPLIT_MODES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from phi4local.bench.matrix import Test

TESTS = "Tests (lists 1,2,4 and ranges 64-256+64 or 1-8*2; repeatable)"
RAW, OUTPUT = "Only with --raw", "Output"

Texts = list[str] | None


def _option(*names: str, help: str, panel: str, metavar: str = "N,…") -> Any:  # noqa: A002, ANN401
    return typer.Option(*names, help=help, metavar=metavar, rich_help_panel=panel, show_default=False)


Models = Annotated[
    list[str] | None,
    typer.Argument(
        help="Names, GGUF files or checkpoint folders", show_default=False, autocompletion=complete_model
    ),
]
MoreModels = Annotated[Texts, _option("--model", "-m", help="Another model", panel=TESTS, metavar="MODEL,…")]
Urls = Annotated[
    Texts,
    typer.Option("--url", help="A server, as its clients see it", metavar="ADDRESS", rich_help_panel=TESTS),
]
Prompts = Annotated[
    Texts, _option("--n-prompt", "--prompt-tokens", "-p", help="Lengths of prompts (512)", panel=TESTS)
]
Answers = Annotated[
    Texts, _option("--n-gen", "--generated-tokens", "-n", help="Lengths of answers (128)", panel=TESTS)
]
Both = Annotated[
    Texts, _option("-pg", help="Prompt and answer measured together", panel=TESTS, metavar="PP,TG")
]
Depths = Annotated[Texts, _option("--n-depth", "-d", help="Tokens in the context before (0)", panel=TESTS)]
Parallel = Annotated[Texts, _option("--parallel", help="Streams at the same time (1)", panel=TESTS)]
KvTypes = Annotated[
    Texts,
    _option("--kv", help=f"Type of the KV cache: {', '.join(CACHE_TYPES)}", panel=TESTS, metavar="TYPE,…"),
]
KeyTypes = Annotated[
    Texts,
    _option("--cache-type-k", "-ctk", help="Type of the cache's keys", panel=TESTS, metavar="TYPE,…"),
]
ValueTypes = Annotated[
    Texts, _option("--cache-type-v", "-ctv", help="Type of its values", panel=TESTS, metavar="TYPE,…")
]
Threads = Annotated[Texts, _option("--threads", "-t", help="CPU threads", panel=TESTS)]
GpuLayers = Annotated[
    Texts,
    _option("--n-gpu-layers", "--gpu-layers", "-ngl", help="Layers on the GPU; -1 for all", panel=TESTS),
]
FlashAttention = Annotated[
    Texts,
    _option("--flash-attn", "-fa", help="Fused attention: on, off, auto", panel=TESTS, metavar="WORD,…"),
]
Repeats = Annotated[
    int, typer.Option("--repetitions", "--repeats", "-r", min=1, help="Counted rounds", rich_help_panel=TESTS)
]
SplitModes = Annotated[
    Texts, _option("--split-mode", "-sm", help="none, layer or row", panel=OFFLOAD, metavar="MODE,…")
]
MainGpus = Annotated[Texts, _option("--main-gpu", "-mg", help="The GPU for `-sm none`", panel=OFFLOAD)]
NoKvOffload = Annotated[
    Texts,
    _option("--no-kv-offload", "-nkvo", help="1 keeps the cache off the GPU", panel=OFFLOAD, metavar="0|1,…"),
]
TensorSplits = Annotated[
    Texts, _option("--tensor-split", "-ts", help="Shares of the GPUs", panel=OFFLOAD, metavar="A/B,…")
]
Overrides = Annotated[
    Texts,
    _option(
        *("--override-tensor", "--tensor-override", "-ot"),
        help="Tensors whose name fits go elsewhere; `;` between several",
        panel=OFFLOAD,
        metavar="REGEX=BUFFER",
    ),
]
Batches = Annotated[Texts, _option("--batch-size", "-b", help="Tokens of a batch (2048)", panel=RAW)]
MicroBatches = Annotated[Texts, _option("--ubatch-size", "-ub", help="Tokens of a step (512)", panel=RAW)]
CpuMasks = Annotated[Texts, _option("--cpu-mask", "-C", help="Processors", panel=RAW, metavar="HEX,…")]
CpuStrict = Annotated[
    Texts, _option("--cpu-strict", help="1 ties each thread to one", panel=RAW, metavar="0|1,…")
]
Polls = Annotated[Texts, _option("--poll", help="How long threads spin, 0 to 100 (50)", panel=RAW)]
LoadModes = Annotated[
    Texts, _option("--load-mode", "-lm", help=", ".join(LOAD_MODES), panel=RAW, metavar="MODE,…")
]
Embeddings = Annotated[
    Texts, _option("--embeddings", "-embd", help="1 computes hidden states", panel=RAW, metavar="0|1,…")
]
NoOpOffload = Annotated[
    Texts,
    _option("--no-op-offload", "-nopo", help="1 keeps operations off the GPU", panel=RAW, metavar="0|1,…"),
]
NoHost = Annotated[Texts, _option("--no-host", help="1 bypasses pinned memory", panel=RAW, metavar="0|1,…")]
Repack = Annotated[
    Texts, _option("--repack", help="0 leaves weights as in the file", panel=RAW, metavar="0|1,…")
]
Priority = Annotated[
    int, typer.Option("--prio", min=-1, max=3, help="Of the process, -1 low to 3", rich_help_panel=RAW)
]
Raw = Annotated[bool, typer.Option("--raw", help="The bare decode loop, as llama-bench measures")]
BothPaths = Annotated[bool, typer.Option("--both", help="Measure both, for comparison")]
Delay = Annotated[
    int, typer.Option("--delay", min=0, help="Seconds of rest before a test", rich_help_panel=TESTS)
]
NoWarmUp = Annotated[
    bool, typer.Option("--no-warmup", help="No round that is not counted", rich_help_panel=TESTS)
]
Output = Annotated[
    str | None,
    typer.Option("--output", "-o", help=f"For programs: {', '.join(FORMATS)}", rich_help_panel=OUTPUT),
]
OutputError = Annotated[
    str | None, typer.Option("--output-err", "-oe", help="The same on stderr", rich_help_panel=OUTPUT)
]
Json = Annotated[bool, typer.Option("--json", help="The same as `-o json`", rich_help_panel=OUTPUT)]


def tests_of(given: Mapping[str, Any]) -> list[Test]:
    """Return the tests that the options stand for.

    Args:
        given: lists of texts by the names of the command's parameters; `None` where an option is not given.

    Raises:
        InvalidSettingError: a list or range that means nothing, or no test at all.
    """
    from phi4local.bench import matrix, ranges

    def numbers(name: str, least: int = 0) -> tuple[int, ...]:
        return ranges.numbers(name, given[name] or (), least=least)

    values: dict[str, Any] = {
        **{name: numbers(name, 1) for name in ("n_threads", "n_batch", "n_ubatch", "parallel")},
        **{name: numbers(name) for name in ("main_gpu", "n_depth", "poll")},
        "n_gpu_layers": numbers("n_gpu_layers", -1),
        **{name: ranges.switches(name, given[name] or ()) for name in SWITCHES},
        **{name: ranges.words(name, given[name] or (), known) for name, known in WORDS.items()},
        "cpu_mask": tuple(mask for text in given["cpu_mask"] or () for mask in text.split(",")),
        "flash_attn": ranges.flash_attention(given["flash_attn"] or ()),
        "tensor_split": ranges.shares(given["tensor_split"] or ()),
        "tensor_overrides": ranges.overrides(given["override_tensor"] or ()),
    }
    both_types = ranges.words("kv", given["kv"] or (), CACHE_TYPES)
    if both_types:
        values["type_k"], values["type_v"] = both_types, ()
    prompts = numbers("n_prompt") if given["n_prompt"] else (512,)
    answers = numbers("n_gen") if given["n_gen"] else (128,)
    pairs = ranges.pairs("pg", given["pg"] or ())
    tests = list(matrix.combinations(values, prompts, answers, pairs))
    if not tests:
        raise InvalidSettingError("tests", "are none", hint="give -p, -n or -pg a number above 0")
    return [replace(test, type_v=test.type_k) for test in tests] if both_types else tests


SWITCHES = ("no_host", "repack", "embeddings", "no_op_offload", "no_kv_offload", "cpu_strict")
WORDS = {
    "split_mode": SPLIT_MODES,
    "load_mode": LOAD_MODES,
    "type_k": CACHE_TYPES,
    "type_v": CACHE_TYPES,
}
