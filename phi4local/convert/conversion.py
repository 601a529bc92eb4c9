"""Convert a model in one pass: headers first, then row chunks in threads, each at its known offset."""

from __future__ import annotations

import os
import time
from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from phi4local import files
from phi4local.convert import check, estimate
from phi4local.convert.kernels import Work, choose
from phi4local.convert.plan import ConversionPlan, plan_conversions
from phi4local.errors import FileWriteError, InvalidSettingError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path
    from typing import IO

    from phi4local.convert.kernels import Choice
    from phi4local.convert.merge import AdapterUse
    from phi4local.convert.pipeline import Pipeline, Stages, Target
    from phi4local.convert.quantizer import KernelUse
    from phi4local.convert.streamed import StreamedCheckpoint
    from phi4local.convert.typing_rules import TargetOptions

    Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversionSummary:
    """What a conversion made.

    Attributes:
        output: the file; the first one, if it was split.
        quantization: one of `QUANTIZATIONS`.
        size_bytes: its size; of all parts, if it was split.
        tensor_types: number of tensors of each type.
        seconds: wall-clock time, of all outputs of one pass.
        parameters: number of weights.
        bits_per_weight: stored bits of the tensors, divided by the number of weights.
        stages: how busy reading, quantizing and writing kept the threads.
        files: all files.
        unweighted: tensors that the importance matrix has no entry for, though it should.
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
    stages: Stages
    files: tuple[Path, ...]
    unweighted: tuple[str, ...] = ()
    repairs: tuple[str, ...] = ()
    kernels: tuple[KernelUse, ...] = ()
    kernel_loading_seconds: float = 0.0
    kernel_problem: str = ""
    missing_kernel_seconds: float = 0.0

    def to_mapping(self) -> dict[str, Any]:
        """Return the fields by name, for JSON."""
        stages = {**asdict(self.stages), "limiting": self.stages.limiting}
        paths = {"output": str(self.output), "files": [str(path) for path in self.files]}
        return asdict(self) | {"stages": stages} | paths


class ConversionOptions(TypedDict, total=False):
    """Options of a conversion, all by keyword.

    Attributes:
        overwrite: replace existing regular files; by default they are an error.
        repair: correct known defects of published checkpoints, the default; else write what they say.
        threads: how many threads quantize; by default one for each processor that this process may use.
        progress: called with (bytes done, bytes of all files, tensor) from this thread, at most 20 times a
            second.
        kernels: "numba", "ggml", or "auto", the default: Numba if it is installed and saves more time than
            compiling costs.
        memory_bytes: how much memory this process may take, by default 1 GiB.
        adapters: LoRA adapters to merge, one after the other, in float32 and before quantizing.
        target: types, importance matrix, size of parts.
    """

    overwrite: bool
    repair: bool
    threads: int | None
    progress: Progress | None
    kernels: str
    memory_bytes: int
    adapters: Sequence[AdapterUse]
    target: TargetOptions


def convert_checkpoint(
    checkpoint: Path | StreamedCheckpoint,
    output: Path,
    quantization: str,
    **options: Unpack[ConversionOptions],
) -> ConversionSummary:
    """Make the GGUF file `output` from a safetensors folder, or from a GGUF file with more precision.

    `output` appears complete or not at all. Memory stays below `memory_bytes`, whatever the model's size.
    The bytes depend neither on the number of threads nor on the kernels.

    Args:
        checkpoint: a folder with config.json, tokenizer.json and *.safetensors, a GGUF file, or shards that
            are read while they arrive.
        output: the file to make.
        quantization: one of `QUANTIZATIONS`, in upper or lower case.
        options: see `ConversionOptions`.

    Example: `convert_checkpoint(Path("models/phi4-nano"), Path("nano.gguf"), "Q8_0")` writes 11.2 MB.

    Raises:
        UnknownQuantizationError, InvalidSettingError: another quantization; fewer than one thread; another
            kernel, or one that is not installed; too little memory.
        CheckpointError, GGUFError: files that are missing, damaged, contradict each other, or change
            meanwhile.
        ConversionError: a checkpoint or a weight that cannot be converted; a quantization that needs an
            importance matrix.
        AdapterError: an adapter that is damaged, or made for another model.
        FileWriteError: the output exists, the disk is full, or the system refused.
        LibraryMissingError: llama-cpp-python is not installed.
    """
    return convert_to_several(checkpoint, {quantization: output}, **options)[0]


def convert_to_several(
    checkpoint: Path | StreamedCheckpoint,
    outputs: Mapping[str, Path],
    **options: Unpack[ConversionOptions],
) -> tuple[ConversionSummary, ...]:
    """Make several GGUF files, each in its quantization, while the weights are read once.

    All of them appear, or none. The other words of `convert_checkpoint` hold here, too.

    Example: `convert_to_several(folder, {"Q4_K_M": Path("a.gguf"), "Q8_0": Path("b.gguf")})`.

    Raises:
        As `convert_checkpoint`; InvalidSettingError: two outputs with one name.
    """
    started = time.perf_counter()
    threads = _checked_threads(options)
    plans = plan_conversions(
        checkpoint,
        tuple(outputs),
        options=options.get("target"),
        adapters=options.get("adapters", ()),
        repair=options.get("repair", True),
    )
    paths = [plan.paths(output) for plan, output in zip(plans, outputs.values(), strict=True)]
    sizes = _sizes(plans, paths)
    work = weights_by_work(plans)
    choice = choose(options.get("kernels", "auto"), work, threads)
    budget = options.get("memory_bytes", estimate.DEFAULT_MEMORY_BYTES)
    chunk = estimate.chunk_elements(budget, threads, work) // len(plans)  # a chunk goes into every output
    with files.new_files(sizes, overwrite=options.get("overwrite", False)) as opened:
        targets = _targets(plans, paths, opened)
        pipeline = _pipeline(targets, choice, threads, chunk)
        stages = pipeline.run(options.get("progress") or _silent)
        check.sources_unchanged(plans[0])
        for target in targets:
            check.written_files(target)
    seconds = time.perf_counter() - started
    return tuple(_summary(target, seconds, pipeline, stages) for target in targets)


def weights_by_work(plans: Iterable[ConversionPlan]) -> Counter[Work]:
    """Return how many weights each kind of work has, over all outputs."""
    from phi4local.convert.rows import work_of

    weights: Counter[Work] = Counter()
    for plan in plans:
        for tensor in plan.tensors:
            weights[work_of(tensor)] += tensor.elements
    return weights


def checked_threads(threads: int | None) -> int:
    """Return how many threads quantize: as many as asked for, or one for each processor.

    Raises:
        InvalidSettingError: fewer than one.
    """
    if threads is not None and threads < 1:
        raise InvalidSettingError("threads", f"is {threads}; it must be at least 1")
    if threads:
        return threads
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _checked_threads(options: ConversionOptions) -> int:
    if unknown := options.keys() - ConversionOptions.__annotations__.keys():
        raise TypeError(f"convert_checkpoint() has no option {sorted(unknown)}")
    return checked_threads(options.get("threads"))


def _silent(_done: int, _total: int, _tensor: str) -> None:
    """Report nothing."""


def _sizes(plans: Sequence[ConversionPlan], paths: Sequence[tuple[Path, ...]]) -> dict[Path, int]:
    """Return how large each file gets; every file is another one, and none is read."""
    sizes = {
        path: planned.size_bytes
        for plan, names in zip(plans, paths, strict=True)
        for path, planned in zip(names, plan.files, strict=True)
    }
    for path in sizes:
        _refuse_source(plans[0], path)
    for names in paths:
        _refuse_old_parts(names)
    if len({path.resolve() for path in sizes}) != sum(map(len, paths)):
        raise InvalidSettingError("output", "is the same file for two quantizations")
    return sizes


def _refuse_old_parts(names: tuple[Path, ...]) -> None:
    """Refuse to replace parts of a split model one by one: a mixture of old and new ones would load."""
    for path in names if len(names) > 1 else ():
        if path.exists():
            raise FileWriteError(
                path, "it is a part of a split model", hint="delete the old parts, or choose another name"
            )


def _refuse_source(plan: ConversionPlan, output: Path) -> None:
    """Refuse to write over what is read, and over all but GGUF files in a checkpoint's folder."""
    files.refuse_existing(output, overwrite=True)  # a circle of links has no end to resolve to
    target = output.resolve()
    beside = target.parent == plan.source.path.resolve() and target.suffix.lower() != ".gguf"
    if beside or target in {file.path.resolve() for file in plan.source.files}:
        raise FileWriteError(output, "it is a part of the checkpoint", hint="choose another name with `-o`")


def _targets(
    plans: Sequence[ConversionPlan], paths: Sequence[tuple[Path, ...]], opened: tuple[IO[bytes], ...]
) -> list[Target]:
    from phi4local.convert.pipeline import Target

    rest = iter(opened)
    return [
        Target(plan, tuple(next(rest) for _ in names), names)
        for plan, names in zip(plans, paths, strict=True)
    ]


def _pipeline(targets: Sequence[Target], choice: Choice, threads: int, chunk: int) -> Pipeline:
    from phi4local.convert.pipeline import Pipeline

    return Pipeline(targets, choice, threads=threads, chunk_elements=chunk)


def _summary(target: Target, seconds: float, pipeline: Pipeline, stages: Stages) -> ConversionSummary:
    plan = target.plan
    return ConversionSummary(
        output=target.paths[0],
        quantization=plan.quantization,
        size_bytes=plan.size_bytes,
        tensor_types=plan.tensor_types,
        seconds=seconds,
        parameters=plan.parameters,
        bits_per_weight=plan.bits_per_weight,
        stages=stages,
        files=target.paths,
        unweighted=plan.unweighted,
        repairs=plan.repairs,
        kernels=pipeline.quantizer.uses(),
        kernel_loading_seconds=pipeline.quantizer.loading_seconds,
        kernel_problem=pipeline.quantizer.loading_problem,
        missing_kernel_seconds=pipeline.choice.missing_seconds,
    )


def expected_seconds(
    plans: Sequence[ConversionPlan], *, threads: int | None = None, kernels: str = "auto"
) -> float:
    """Return about how long one pass over the weights takes that makes all `plans`; disks are not counted.

    Example: Phi-4 as Q4_K_M with Numba's kernels in two threads → about 70 seconds.

    Raises:
        InvalidSettingError: fewer than one thread, or a kernel that does not exist or is not installed.
    """
    work, number = weights_by_work(plans), checked_threads(threads)
    return estimate.seconds(work, choose(kernels, work, number), number)
