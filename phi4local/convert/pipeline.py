"""The pass over the weights: chunks of rows are read once, stored as every target type, and written.

Every thread does all three steps with its chunk, so the memory is that of one chunk a thread, and the slowest
step gets nearly all of the time.
"""

from __future__ import annotations

import collections
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, NamedTuple

from phi4local import files
from phi4local.convert.quantizer import RowQuantizer
from phi4local.convert.rows import Rows, SourceReader, chunks, read_rows, store_rows
from phi4local.convert.sources import place
from phi4local.convert.writer import OffsetWriter
from phi4local.errors import Phi4LocalError
from phi4local.native.ggml import HAVE_TABLES, lookup_tables

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Executor, Future
    from pathlib import Path

    from phi4local.convert.kernels import Choice
    from phi4local.convert.plan import ConversionPlan, PlannedTensor

    Progress = Callable[[int, int, str], None]

_SECONDS_BETWEEN_REPORTS = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Stages:
    """How busy each step kept the threads, from 0 to 1; the rest of the time they waited.

    Example: `Stages(reading=0.02, quantizing=0.96, writing=0.01).limiting` → `"quantizing"`.
    """

    reading: float
    quantizing: float
    writing: float

    @property
    def limiting(self) -> str:
        """Return the step that took most of the time."""
        shares = {"reading": self.reading, "quantizing": self.quantizing, "writing": self.writing}
        return max(shares, key=lambda name: shares[name])


class _Done(NamedTuple):
    written_bytes: int
    reading: float
    quantizing: float
    writing: float


@dataclass(frozen=True, slots=True)
class Target:
    """One output: its plan, and the open files with their final names."""

    plan: ConversionPlan
    files: tuple[IO[bytes], ...]
    paths: tuple[Path, ...]


class Pipeline:
    """Convert everything to all targets.

    Example: `Pipeline(targets, choice, threads=8, chunk_elements=2**20).run(progress)`.

    Attributes:
        targets: what is written.
        choice: which kernels were chosen.
        quantizer: what ran, and how fast.
    """

    def __init__(
        self, targets: Sequence[Target], choice: Choice, *, threads: int, chunk_elements: int
    ) -> None:
        self.choice, self.quantizer = choice, RowQuantizer(choice)
        self.targets = targets
        self._threads, self._chunk_elements = threads, chunk_elements
        self._writers = [[OffsetWriter(file) for file in target.files] for target in targets]
        self._streamed = targets[0].plan.source.streamed
        self._reader = SourceReader(self._streamed)

    def run(self, progress: Progress) -> Stages:
        """Write all files; call `progress` with (bytes done, bytes in all, tensor) from this thread.

        Raises:
            CheckpointError, ConversionError, FileWriteError: see `convert_checkpoint`.
        """
        from concurrent.futures import ThreadPoolExecutor

        done = self._write_headers()
        total = sum(target.plan.size_bytes for target in self.targets)
        progress(done, total, "")
        started, reported = time.perf_counter(), time.monotonic()
        spent = [0.0, 0.0, 0.0]
        types = {tensor.type for target in self.targets for tensor in target.plan.tensors}
        with ExitStack() as stack:
            stack.enter_context(self._reader)
            _hold_tables(types, stack)
            executor = stack.enter_context(ThreadPoolExecutor(self._threads, "convert"))
            try:
                for name, part in _in_order(self._jobs(executor), 2 * self._threads):
                    done += part.written_bytes
                    spent = [sum(pair) for pair in zip(spent, part[1:], strict=True)]
                    if time.monotonic() - reported >= _SECONDS_BETWEEN_REPORTS:
                        reported = time.monotonic()
                        progress(done, total, name)
            except BaseException:
                executor.shutdown(wait=False, cancel_futures=True)
                raise
        progress(total, total, "")
        available = max(time.perf_counter() - started, 1e-9) * self._threads
        reading, quantizing, writing = (seconds / available for seconds in spent)
        return Stages(reading=reading, quantizing=quantizing, writing=writing)

    def _write_headers(self) -> int:
        done = 0
        for target, writers in zip(self.targets, self._writers, strict=True):
            for planned, file, path, writer in zip(
                target.plan.files, target.files, target.paths, writers, strict=True
            ):
                try:
                    file.truncate(planned.size_bytes)
                    writer.write(planned.header, offset=0)
                except OSError as error:
                    raise files.write_error(path, error) from error
                done += planned.data_offset
        return done

    def _jobs(self, executor: Executor) -> Iterator[tuple[str, Future[_Done]]]:
        """Submit one job for each chunk, as far as the caller asks for them."""
        together = list(zip(*(target.plan.tensors for target in self.targets), strict=True))
        if self._streamed is not None:
            yield from self._jobs_in_passing(executor, together)
            return
        for outputs in together:
            for first, count in chunks(outputs[0], self._chunk_elements):
                yield outputs[0].name, executor.submit(self._convert, outputs, first, count)

    def _jobs_in_passing(
        self, executor: Executor, together: list[tuple[PlannedTensor, ...]]
    ) -> Iterator[tuple[str, Future[_Done]]]:
        """Read in this thread, in the order of the files, which are finished one by one."""
        if self._streamed is None:
            return
        for outputs in sorted(together, key=lambda outputs: place(outputs[0].source)):
            if self._reader.passes(outputs[0].source):
                self._streamed.finish_before(outputs[0].source.shard)
            for first, count in chunks(outputs[0], self._chunk_elements):
                read = self._read(outputs[0], first, count)
                yield outputs[0].name, executor.submit(self._store, outputs, first, count, read)
        self._streamed.finish_before(None)

    def _convert(self, outputs: tuple[PlannedTensor, ...], first: int, count: int) -> _Done:
        """Read `count` rows of one tensor and write them to every output."""
        return self._store(outputs, first, count, self._read(outputs[0], first, count))

    def _read(self, tensor: PlannedTensor, first: int, count: int) -> tuple[Rows, float]:
        begun = time.perf_counter()
        rows = read_rows(tensor, self._reader, first=first, count=count)
        return rows, time.perf_counter() - begun

    def _store(
        self, outputs: tuple[PlannedTensor, ...], first: int, count: int, read: tuple[Rows, float]
    ) -> _Done:
        (rows, reading), quantizing, writing, written = read, 0.0, 0.0, 0
        for number, tensor in enumerate(outputs):
            begun = time.perf_counter()
            data = store_rows(rows, tensor, self._reader, self.quantizer)
            stored = time.perf_counter()
            self._write(number, tensor, data.data, first * (len(data) // count))
            quantizing += stored - begun
            writing += time.perf_counter() - stored
            written += len(data)
        return _Done(written, reading, quantizing, writing)

    def _write(self, number: int, tensor: PlannedTensor, data: memoryview, offset: int) -> None:
        target = self.targets[number]
        begin = target.plan.files[tensor.file].data_offset + tensor.offset
        try:
            self._writers[number][tensor.file].write(data, offset=begin + offset)
        except OSError as error:
            raise files.write_error(target.paths[tensor.file], error) from error


def _hold_tables(types: set[str], stack: ExitStack) -> None:
    """Build ggml's tables beside this thread, which Ctrl-C can then reach: it may take ten seconds.

    The thread is no reason for the process to stay, and holds the tables until `stack` is left.
    """
    if not types & HAVE_TABLES:
        return
    ready, leave = threading.Event(), threading.Event()
    problems: list[Phi4LocalError] = []

    def hold() -> None:
        try:
            with lookup_tables(types):
                ready.set()
                leave.wait()
        except Phi4LocalError as error:
            problems.append(error)
            ready.set()

    threading.Thread(target=hold, name="tables", daemon=True).start()
    stack.callback(leave.set)
    ready.wait()
    for problem in problems:
        raise problem


def _in_order(jobs: Iterator[tuple[str, Future[_Done]]], in_flight: int) -> Iterator[tuple[str, _Done]]:
    """Yield the jobs' results in order while at most `in_flight` of them wait or run."""
    waiting: collections.deque[tuple[str, Future[_Done]]] = collections.deque()
    for job in jobs:
        waiting.append(job)
        if len(waiting) >= in_flight:
            name, future = waiting.popleft()
            yield name, future.result()
    while waiting:
        name, future = waiting.popleft()
        yield name, future.result()
