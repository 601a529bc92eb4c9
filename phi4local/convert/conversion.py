"""Convert a checkpoint in one pass: header first, then row chunks in threads, each at its known offset."""

from __future__ import annotations

import collections
import os
import time
from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from phi4local import files
from phi4local.convert import check
from phi4local.convert.kernels import Work, choose
from phi4local.convert.plan import ConversionPlan, PlannedTensor, plan_conversion
from phi4local.convert.writer import OffsetWriter
from phi4local.errors import FileWriteError, InvalidSettingError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Executor, Future
    from pathlib import Path
    from typing import IO

    from phi4local.convert.kernels import Choice
    from phi4local.convert.merge import AdapterUse
    from phi4local.convert.quantizer import KernelUse, RowQuantizer

    Progress = Callable[[int, int], None]

_SECONDS_BETWEEN_REPORTS = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversionSummary:
    """What a conversion made.

    Attributes:
        output: the file.
        quantization: one of `QUANTIZATIONS`.
        size_bytes: its size.
        tensor_types: number of tensors of each type.
        seconds: wall-clock time.
        parameters: number of weights.
        bits_per_weight: stored bits of the tensors, divided by the number of weights.
        repairs: one line for each known defect of the checkpoint that was corrected.
        kernels: what quantized each type, and how fast; types that are only copied or widened are not there.
        kernel_loading_seconds: how long compiling or loading Numba's kernels took; part of `seconds`.
        kernel_problem: why Numba's kernels could not be loaded and ggml did everything; "" if they could.
        missing_kernel_seconds: what Numba would have saved, had it been installed; 0 if nothing.
    """

    output: Path
    quantization: str
    size_bytes: int
    tensor_types: dict[str, int]
    seconds: float
    parameters: int
    bits_per_weight: float
    repairs: tuple[str, ...] = ()
    kernels: tuple[KernelUse, ...] = ()
    kernel_loading_seconds: float = 0.0
    kernel_problem: str = ""
    missing_kernel_seconds: float = 0.0

    def to_mapping(self) -> dict[str, Any]:
        """Return the fields by name, for JSON."""
        return asdict(self) | {"output": str(self.output)}


class ConversionOptions(TypedDict, total=False):
    """Options of a conversion, all by keyword.

    Attributes:
        overwrite: replace an existing regular file; by default it is an error.
        repair: correct known defects of published checkpoints, the default; else write what they say.
        threads: how many threads quantize; by default one for each processor that this process may use.
        progress: called with (bytes done, bytes of the file) from this thread, at most 20 times a second.
        kernels: "numba", "ggml", or "auto", the default: Numba if it is installed and saves more time than
            compiling costs.
        adapters: LoRA adapters to merge, one after the other, in float32 and before quantizing.
    """

    overwrite: bool
    repair: bool
    threads: int | None
    progress: Progress | None
    kernels: str
    adapters: Sequence[AdapterUse]


def convert_checkpoint(
    checkpoint: Path, output: Path, quantization: str, **options: Unpack[ConversionOptions]
) -> ConversionSummary:
    """Make the GGUF file `output` from the safetensors folder `checkpoint`.

    `output` appears complete or not at all. It takes about 10 MB of memory a thread besides the vocabulary's
    60 MB (and Numba's 100 MB, 200 MB if it compiles), whatever the model's size. Threads and kernels change
    no byte.

    Args:
        checkpoint: a folder with config.json, tokenizer.json and *.safetensors.
        output: the file to make.
        quantization: one of `QUANTIZATIONS`, in upper or lower case.
        options: see `ConversionOptions`.

    Example: `convert_checkpoint(Path("models/phi4-nano"), Path("nano.gguf"), "Q8_0")` writes 11.2 MB.

    Raises:
        UnknownQuantizationError, InvalidSettingError: another quantization; fewer than one thread; another
            kernel, or one that is not installed.
        CheckpointError: files that are missing, damaged, contradict each other, or change meanwhile.
        ConversionError, AdapterError: a checkpoint, weight or adapter that cannot be converted.
        FileWriteError: the output exists, the disk is full, or the system refused.
        LibraryMissingError: llama-cpp-python is not installed.
    """
    started = time.perf_counter()
    threads = _checked_threads(options)
    plan = _plan(checkpoint, quantization, options)
    _refuse_source(plan, output)
    choice = choose(options.get("kernels", "auto"), _weights_by_work(plan), threads)
    overwrite = options.get("overwrite", False)
    with files.new_file(output, overwrite=overwrite, size_bytes=plan.size_bytes) as file:
        quantizer = _write(plan, file, choice, threads, options.get("progress") or _silent)
        check.sources_unchanged(plan)
        check.written_file(plan, file, output)
    return ConversionSummary(
        output=output,
        quantization=plan.quantization,
        size_bytes=plan.size_bytes,
        tensor_types=plan.tensor_types,
        seconds=time.perf_counter() - started,
        parameters=plan.parameters,
        bits_per_weight=plan.bits_per_weight,
        repairs=plan.repairs,
        kernels=quantizer.uses(),
        kernel_loading_seconds=quantizer.loading_seconds,
        kernel_problem=quantizer.loading_problem,
        missing_kernel_seconds=choice.missing_seconds,
    )


def _plan(checkpoint: Path, quantization: str, options: ConversionOptions) -> ConversionPlan:
    repair, adapters = options.get("repair", True), options.get("adapters", ())
    return plan_conversion(checkpoint, quantization, adapters=adapters, repair=repair)


def _checked_threads(options: ConversionOptions) -> int:
    if unknown := options.keys() - ConversionOptions.__annotations__.keys():
        raise TypeError(f"convert_checkpoint() has no option {sorted(unknown)}")
    threads = options.get("threads")
    if threads is not None and threads < 1:
        raise InvalidSettingError("threads", f"is {threads}; it must be at least 1")
    return threads or _processors()


def _silent(_done: int, _total: int) -> None:
    """Report nothing."""


def _weights_by_work(plan: ConversionPlan) -> Counter[Work]:
    weights: Counter[Work] = Counter()
    for tensor in plan.tensors:
        weights[Work(tensor.source.dtype, tensor.type)] += tensor.elements
    return weights


def _refuse_source(plan: ConversionPlan, output: Path) -> None:
    """Refuse to write over the checkpoint: over its shards, and over all but GGUF files in its folder."""
    files.refuse_existing(output, overwrite=True)  # a circle of links has no end to resolve to
    target = output.resolve()
    beside = target.parent == plan.source.resolve() and target.suffix.lower() != ".gguf"
    if beside or target in {shard.path.resolve() for shard in plan.checkpoint.shards}:
        raise FileWriteError(output, "it is a part of the checkpoint", hint="choose another name with `-o`")


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _write(
    plan: ConversionPlan, file: IO[bytes], choice: Choice, threads: int, progress: Progress
) -> RowQuantizer:
    from concurrent.futures import ThreadPoolExecutor

    from phi4local.convert.quantizer import RowQuantizer
    from phi4local.convert.rows import SourceReader, convert_rows

    quantizer = RowQuantizer(choice)

    file.truncate(plan.size_bytes)
    output = OffsetWriter(file)
    output.write(plan.header, offset=0)
    done, reported = plan.data_offset, time.monotonic()
    progress(done, plan.size_bytes)

    def convert(tensor: PlannedTensor, first: int, count: int) -> int:
        data = convert_rows(tensor, reader, quantizer, first=first, count=count)
        row_bytes = len(data) // count
        output.write(data.data, offset=plan.data_offset + tensor.offset + first * row_bytes)
        return len(data)

    with SourceReader() as reader, ThreadPoolExecutor(threads, "convert") as executor:
        try:
            for written in _in_order(_jobs(plan, executor, convert), 2 * threads):
                done += written
                if time.monotonic() - reported >= _SECONDS_BETWEEN_REPORTS:
                    reported = time.monotonic()
                    progress(done, plan.size_bytes)
        except BaseException:
            executor.shutdown(wait=False, cancel_futures=True)
            raise
    progress(plan.size_bytes, plan.size_bytes)
    return quantizer


def _jobs(
    plan: ConversionPlan, executor: Executor, convert: Callable[[PlannedTensor, int, int], int]
) -> Iterator[Future[int]]:
    """Submit one job for each chunk, as far as the caller asks for them."""
    from phi4local.convert.rows import chunks

    for tensor in plan.tensors:
        for first, count in chunks(tensor):
            yield executor.submit(convert, tensor, first, count)


def _in_order(jobs: Iterator[Future[int]], in_flight: int) -> Iterator[int]:
    """Yield the jobs' results in order while at most `in_flight` of them wait or run."""
    waiting: collections.deque[Future[int]] = collections.deque()
    for job in jobs:
        waiting.append(job)
        if len(waiting) >= in_flight:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
