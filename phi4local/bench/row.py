"""One measured row: llama-bench's columns with its names and units, and what it does not measure.

Source: `test::get_fields` and `test::get_field_type` in tools/llama-bench/llama-bench.cpp of llama.cpp
0c1e57098, as vendored in llama-cpp-python 0.3.36.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

LLAMA_BENCH_COLUMNS = (
    *("build_commit", "build_number", "cpu_info", "gpu_info", "backends", "model_filename", "model_type"),
    *("model_size", "model_n_params", "n_batch", "n_ubatch", "n_threads", "cpu_mask", "cpu_strict", "poll"),
    *("type_k", "type_v", "n_gpu_layers", "n_cpu_moe", "split_mode", "main_gpu", "no_kv_offload"),
    *("flash_attn", "devices", "tensor_split", "tensor_buft_overrides", "load_mode", "lazy_mode"),
    *("embeddings", "no_op_offload", "no_host", "repack", "fit_target", "fit_min_ctx"),
    *("n_prompt", "n_gen", "n_depth", "test_time", "avg_ns", "stddev_ns", "avg_ts", "stddev_ts"),
)
"""llama-bench's columns, in its order; its JSON has `samples_ns` and `samples_ts` behind them."""
_SAMPLES = ("samples_ns", "samples_ts", "samples_first_token_ns", "samples_slowest_ts")
_COMPUTED = (
    *("test", "median_ns", "median_ts", "first_token_ns", "slowest_ts"),
    *("roofline_fraction", "joules_per_token"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What is measured and how, in llama-bench's columns, words and defaults.

    `n_gpu_layers` -1 is all of them; `flash_attn` -1 lets llama.cpp choose, 0 is off, 1 is on.
    """

    build_commit: str = ""
    build_number: int = 0
    cpu_info: str = ""
    gpu_info: str = ""
    backends: str = "CPU"
    model_filename: str = ""
    model_type: str = ""
    model_size: int = 0
    model_n_params: int = 0
    n_batch: int = 2048
    n_ubatch: int = 512
    n_threads: int = 1
    cpu_mask: str = "0x0"
    cpu_strict: bool = False
    poll: int = 50
    type_k: str = "f16"
    type_v: str = "f16"
    n_gpu_layers: int = -1
    n_cpu_moe: int = 0
    split_mode: str = "layer"
    main_gpu: int = 0
    no_kv_offload: bool = False
    flash_attn: int = -1
    devices: str = "auto"
    tensor_split: str = "0.00"
    tensor_buft_overrides: str = "none"
    load_mode: str = "auto"
    lazy_mode: str = "auto"
    embeddings: bool = False
    no_op_offload: int = 0
    no_host: bool = False
    repack: bool = True
    fit_target: int = 0
    fit_min_ctx: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Row(Setup):
    """A test with its setup and every sample.

    What follows from the samples is a property; `to_mapping` has all columns, as every output prints them.

    Attributes:
        n_prompt, n_gen, n_depth: tokens read, tokens written, and tokens in the context before, of a stream.
        test_time: when the row was begun, `2026-01-31T12:00:00Z`.
        samples_ns: nanoseconds of each repeat: all prompt and generated tokens of all streams.
        path: `chat` (worker process, sampling, text), `raw` (bare decode loop) or `server` (over HTTP).
        model: the model's name.
        quantization: such as `Q4_K_M`; empty if unknown.
        version: of phi4local.
        context_tokens: room for each stream.
        parallel: streams at the same time; the rates are those of all streams together.
        samples_first_token_ns: from the request to the first text, of each repeat; of the last stream to
            begin where there are several.
        samples_slowest_ts: tokens per second of the slowest stream of each repeat; empty with one stream.
        load_seconds: from opening the file to ready, in the process that holds the model.
        peak_memory_bytes: largest resident size of that process; 0 where nobody tells.
        peak_vram_bytes: what the model took of all GPUs' memory; 0 without a GPU.
        sampling_ns: time to choose one token, llama.cpp's chain with the model's usual settings.
        roofline_ts: tokens per second of one stream if memory bandwidth were the only limit.
        energy_joules: what the machine used for one repeat on average.
        conditions: what else happened on the machine meanwhile, as plain JSON values.

    Example: `Row(n_prompt=512, samples_ns=(500_000_000, 512_000_000))` → `test` "pp512", `avg_ts` 1012.
    """

    n_prompt: int = 0
    n_gen: int = 0
    n_depth: int = 0
    test_time: str = ""
    samples_ns: tuple[int, ...] = ()

    path: str = "chat"
    model: str = ""
    quantization: str = ""
    version: str = ""
    context_tokens: int = 0
    parallel: int = 1
    samples_first_token_ns: tuple[int, ...] = ()
    samples_slowest_ts: tuple[float, ...] = ()
    load_seconds: float = 0.0
    peak_memory_bytes: int = 0
    peak_vram_bytes: int = 0
    sampling_ns: int | None = None
    roofline_ts: float | None = None
    energy_joules: float | None = None
    conditions: Mapping[str, Any] = field(default_factory=dict)

    @property
    def test(self) -> str:
        """llama-bench's name of the test. Examples: "pp512", "tg128", "pp512+tg128 @ d1024"."""
        parts = [f"{kind}{tokens}" for kind, tokens in (("pp", self.n_prompt), ("tg", self.n_gen)) if tokens]
        return "+".join(parts) + (f" @ d{self.n_depth}" if self.n_depth else "")

    @property
    def samples_ts(self) -> tuple[float, ...]:
        """Tokens per second of each repeat, read and written tokens of all streams counted alike."""
        tokens = (self.n_prompt + self.n_gen) * self.parallel
        return tuple(1e9 * tokens / nanoseconds for nanoseconds in self.samples_ns)

    @property
    def avg_ns(self) -> int:
        """Mean time of a repeat."""
        return round(_mean(self.samples_ns))

    @property
    def stddev_ns(self) -> int:
        """Sample standard deviation of the times; 0 for one repeat."""
        return round(_deviation(self.samples_ns))

    @property
    def median_ns(self) -> int:
        """Median time of a repeat."""
        return round(_median(self.samples_ns))

    @property
    def avg_ts(self) -> float:
        """Mean of the rates."""
        return _mean(self.samples_ts)

    @property
    def stddev_ts(self) -> float:
        """Sample standard deviation of the rates; 0 for one repeat."""
        return _deviation(self.samples_ts)

    @property
    def median_ts(self) -> float:
        """Median of the rates."""
        return _median(self.samples_ts)

    @property
    def first_token_ns(self) -> int | None:
        """Median time to the first text; `None` where it was not measured."""
        return round(_median(self.samples_first_token_ns)) if self.samples_first_token_ns else None

    @property
    def slowest_ts(self) -> float | None:
        """Median rate of the slowest stream; `None` with one stream."""
        return _median(self.samples_slowest_ts) if self.samples_slowest_ts else None

    @property
    def roofline_fraction(self) -> float | None:
        """Share of the memory bandwidth that generation uses; `None` for prompts and where it is unknown.

        Steps per second, since one step reads the weights once for all streams, divided by `roofline_ts`.
        """
        if not self.roofline_ts or self.n_prompt or not self.n_gen:
            return None
        return self.median_ts / self.parallel / self.roofline_ts

    @property
    def joules_per_token(self) -> float | None:
        """Energy for a token read or written; `None` where nobody tells."""
        tokens = (self.n_prompt + self.n_gen) * self.parallel
        return self.energy_joules / tokens if self.energy_joules is not None and tokens else None

    def to_mapping(self) -> dict[str, Any]:
        """Return llama-bench's columns in its order, its samples, then ours; plain JSON values."""
        return {name: _plain(getattr(self, name)) for name in COLUMNS}

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Self:
        """Return the row of a mapping; what it lacks takes the default, what no field is called is left out.

        Example: `Row.from_mapping(row.to_mapping()) == row`; it reads llama-bench's own JSON as well.
        """
        kept: dict[str, Any] = {name: values[name] for name in _FIELDS if name in values}
        whole: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in kept.items()}
        return cls(**whole)


_FIELDS = tuple(entry.name for entry in fields(Row))
_OWN = tuple(name for name in _FIELDS if name not in LLAMA_BENCH_COLUMNS + _SAMPLES)
COLUMNS = (*LLAMA_BENCH_COLUMNS, *_SAMPLES[:2], *_OWN, *_COMPUTED, *_SAMPLES[2:])
"""Every column, llama-bench's first."""


def _plain(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, tuple):
        return list(value)
    return dict(value) if hasattr(value, "keys") else value


def _mean(values: tuple[float, ...]) -> float:
    return statistics.fmean(values) if values else 0.0


def _median(values: tuple[float, ...]) -> float:
    return statistics.median(values) if values else 0.0


def _deviation(values: tuple[float, ...]) -> float:
    return statistics.stdev(values) if len(values) > 1 else 0.0
