"""Convert a checkpoint in one pass: header first, then row chunks in threads, each at its known offset."""

from __future__ import annotations

import collections
import os
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from phi4local import files
from phi4local.convert import check
from phi4local.convert.plan import ConversionPlan, PlannedTensor, plan_conversion
from phi4local.convert.writer import OffsetWriter
from phi4local.errors import FileWriteError, InvalidSettingError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Executor, Future
    from pathlib import Path
    from typing import IO

    from phi4local.convert.rows import SourceReader

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
    """

    output: Path
    quantization: str
    size_bytes: int
    tensor_types: dict[str, int]
    seconds: float
    parameters: int
    bits_per_weight: float

    def to_mapping(self) -> dict[str, Any]:
        """Return the fields by name, for JSON."""
        return asdict(self) | {"output": str(self.output)}


def convert_checkpoint(
    checkpoint: Path,
    output: Path,
    quantization: str,
    *,
    overwrite: bool = False,
    threads: int | None = None,
    progress: Progress | None = None,
) -> ConversionSummary:
    """Make the GGUF file `output` from the safetensors folder `checkpoint`.

    `output` appears complete or not at all. It takes about 10 MB of memory a thread besides the vocabulary's
    60 MB, whatever the model's size, and the bytes do not depend on the number of threads.

    Args:
        checkpoint: a folder with config.json, tokenizer.json and *.safetensors.
        output: the file to make.
        quantization: one of `QUANTIZATIONS`, in upper or lower case.
        overwrite: replace an existing regular file.
        threads: how many threads quantize; by default one for each processor that this process may use.
        progress: called with (bytes done, bytes of the file) from this thread, at most 20 times a second.

    Example: `convert_checkpoint(Path("models/phi4-nano"), Path("nano.gguf"), "Q8_0")` writes 11.2 MB.

    Raises:
        UnknownQuantizationError, InvalidSettingError: another quantization; fewer than one thread.
        CheckpointError: files that are missing, damaged, contradict each other, or change meanwhile.
        ConversionError: a checkpoint or a weight that cannot be converted.
        FileWriteError: the output exists, the disk is full, or the system refused.
        LibraryMissingError: llama-cpp-python is not installed.
    """
    started = time.perf_counter()
    if threads is not None and threads < 1:
        raise InvalidSettingError("threads", f"is {threads}; it must be at least 1")
    plan = plan_conversion(checkpoint, quantization)
    _refuse_source(plan, output)
    with files.new_file(output, overwrite=overwrite, size_bytes=plan.size_bytes) as file:
        _write(plan, file, threads or _processors(), progress or (lambda _done, _total: None))
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
    )


def _refuse_source(plan: ConversionPlan, output: Path) -> None:
    """Refuse to write over the checkpoint: over its shards, and over all but GGUF files in its folder."""
    target = output.resolve()
    beside = target.parent == plan.source.resolve() and target.suffix.lower() != ".gguf"
    if beside or target in {shard.path.resolve() for shard in plan.checkpoint.shards}:
        raise FileWriteError(output, "it is a part of the checkpoint", hint="choose another name with `-o`")


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _write(plan: ConversionPlan, file: IO[bytes], threads: int, progress: Progress) -> None:
    from concurrent.futures import ThreadPoolExecutor

    from phi4local.convert.rows import SourceReader

    file.truncate(plan.size_bytes)
    output = OffsetWriter(file)
    output.write(plan.header, offset=0)
    done, reported = plan.data_offset, time.monotonic()
    progress(done, plan.size_bytes)
    with SourceReader() as reader, ThreadPoolExecutor(threads, "convert") as executor:
        try:
            for written in _in_order(_jobs(plan, executor, reader, output), 2 * threads):
                done += written
                if time.monotonic() - reported >= _SECONDS_BETWEEN_REPORTS:
                    reported = time.monotonic()
                    progress(done, plan.size_bytes)
        except BaseException:
            executor.shutdown(wait=False, cancel_futures=True)
            raise
    progress(plan.size_bytes, plan.size_bytes)


def _jobs(
    plan: ConversionPlan, executor: Executor, reader: SourceReader, output: OffsetWriter
) -> Iterator[Future[int]]:
    """Submit one job for each chunk, as far as the caller asks for them."""
    from phi4local.convert.rows import chunks, convert_rows

    def convert(tensor: PlannedTensor, first: int, count: int) -> int:
        data = convert_rows(tensor, reader, first=first, count=count)
        row_bytes = len(data) // count
        output.write(data.data, offset=plan.data_offset + tensor.offset + first * row_bytes)
        return len(data)

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
