"""One model, many tests: load it as seldom as possible and yield row after row."""

from __future__ import annotations

import importlib.metadata
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from phi4local import __version__, gguf, hardware, planning
from phi4local.bench import matrix
from phi4local.bench.chat import Chat
from phi4local.bench.raw import Rounds, measure_raw
from phi4local.bench.row import Row
from phi4local.bench.speakers import LocalSpeaker
from phi4local.errors import InvalidSettingError, NotEnoughMemoryError
from phi4local.gguf.file_types import quantization_of
from phi4local.planning.plan import BATCH_TOKENS, DEFAULT_CONTEXT_TOKENS
from phi4local.runtime.facts import file_facts
from phi4local.runtime.open import check_overrides
from phi4local.runtime.settle import settle
from phi4local.settings import KV_TYPES, LoadSettings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from phi4local.bench.matrix import Test
    from phi4local.planning import ModelShape
    from phi4local.runtime.facts import FileFacts
    from phi4local.runtime.model import Model

Open = Callable[[LoadSettings], "Model"]
CHAT, RAW = "chat", "raw"
_ROOM = 2
"""Tokens of a test's context beside the counted ones: the first one of the answer, and a prompt for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What is being measured. `repeat` 0 is the warm-up."""

    row: Row
    number: int
    tests: int
    repeat: int
    repeats: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What to measure of one model, and how.

    Attributes:
        name: of the model.
        path: its file.
        tests: from `matrix.combinations`.
        rounds: how often.
        settings: what holds for all tests, such as `rpc`, `force` and `context_tokens`.
        open_model: returns the running model, for the path that chat uses.
        tell: told what begins.
        skip: told why a test is left out.
        machine: where the bare loop has to fit; this one if left out.

    Example: `list(Bench(…).rows("raw"))`.
    """

    name: str
    path: Path
    tests: Sequence[Test]
    rounds: Rounds
    settings: LoadSettings
    open_model: Open
    tell: Callable[[Step], None] = lambda _step: None
    skip: Callable[[str], None] = lambda _line: None
    machine: hardware.Machine | None = None
    _left_out: list[str] = field(default_factory=list, init=False)

    def check(self, path: str) -> FileFacts:
        """Return the facts of the file, after checking every test; nothing is loaded.

        Raises:
            InvalidSettingError: a test that the path or the model cannot do.
            GGUFError: the file is damaged or no Phi-4 model.
        """
        (matrix.check_raw if path == RAW else matrix.check_chat)(self.tests)
        file = file_facts(gguf.validate(self.path))
        room = 0 if path == RAW else _ROOM
        matrix.check_length(self.tests, file.context_tokens - room, self.name)
        return file

    def rows(self, path: str) -> Iterator[Row]:
        """Yield the rows of a path, `chat` or `raw`, each as soon as it is measured.

        A test that does not fit into memory is left out.

        Raises:
            InvalidSettingError, GGUFError: see `check`.
            NotEnoughMemoryError: no test fits.
            EngineError: llama.cpp failed.
        """
        file = self.check(path)
        measured, refusal = 0, None
        measure = self._raw if path == RAW else self._chat
        for group in _groups(self.tests, _raw_key if path == RAW else self._chat_settings):
            try:
                for row in measure(file, group, measured):
                    measured += 1
                    yield row
            except NotEnoughMemoryError as error:
                refusal = error
                if path != RAW:
                    self._left_out.append(f"{_words(group)} left out: {error}")
        if refusal is not None and not measured:
            raise refusal
        while self._left_out:
            self.skip(self._left_out.pop(0))

    def _raw(self, file: FileFacts, group: Sequence[Test], done: int) -> Iterator[Row]:
        ready, rooflines = self._fitting(file, group)
        begun: list[str] = []

        def step(test: int, repeat: int) -> None:
            if len(begun) <= test:
                begun.append(_now())
            self._tell(_named(ready[test]), done + test, repeat)

        rows = measure_raw(self.path, ready, self.rounds, rpc=self.settings.rpc or (), step=step)
        for number, row in enumerate(rows):
            began = begun[number] if number < len(begun) else _now()
            yield replace(
                row, roofline_ts=rooflines[number], test_time=began, **_facts(self.name, self.path, file)
            )

    def _fitting(self, file: FileFacts, group: Sequence[Test]) -> tuple[list[Test], list[float | None]]:
        """Return the tests that fit, with threads and layers set, and the most tokens per second of each."""
        machine = self.machine or hardware.this_machine(measure=True)
        ready, rooflines = [], []
        refusal: NotEnoughMemoryError | None = None
        for test in group:
            settings = self._raw_settings(test)
            check_overrides(settings, file.header)
            try:
                plan = settle(file.header, settings, machine).plan
            except NotEnoughMemoryError as error:
                refusal = error
                self._left_out.append(f"{_named(test).test} left out: {error}")
                continue
            layers = test.n_gpu_layers
            if layers is None and machine.gpus and plan.gpu_layers < plan.layers:
                layers = plan.gpu_layers
            threads = test.n_threads or hardware.usable_cores()
            ready.append(replace(test, n_threads=threads, n_gpu_layers=layers))
            rooflines.append(plan.speeds.roofline if plan.speeds else None)
        if refusal is not None and not ready:
            raise refusal
        return ready, rooflines

    def _chat(self, file: FileFacts, group: Sequence[Test], done: int) -> Iterator[Row]:
        before = hardware.gpus_now() if hardware.this_machine(measure=True).gpus else ()
        model = self.open_model(self._chat_settings(group[0]))
        with model:
            longest = max(test.context_tokens for test in group) + _ROOM
            if longest > model.context_tokens:
                raise InvalidSettingError(
                    "tests", f"take {longest:,} tokens; the context has {model.context_tokens:,}",
                    hint=f"give a larger --context; the model has {file.context_tokens:,}",
                )  # fmt: skip
            setup = _setup(model) | {"roofline_ts": _roofline(planning.model_shape(file.header), model)}
            chat = Chat.of(LocalSpeaker(model), self.rounds)
            for number, test in enumerate(group):
                time.sleep(self.rounds.delay_seconds)
                began, named = _now(), _named(test)
                samples = chat.measure(test, lambda repeat: self._tell(named, done + number, repeat))  # noqa: B023
                yield replace(
                    named,
                    test_time=began,
                    peak_memory_bytes=model.peak_memory_bytes(),
                    peak_vram_bytes=_taken(before),
                    **setup,
                    **samples,
                    **_facts(self.name, self.path, file),
                )

    def _tell(self, row: Row, number: int, repeat: int) -> None:
        named = replace(row, model=self.name)
        tests, repeats = len(self.tests), self.rounds.repeats
        self.tell(Step(row=named, number=number + 1, tests=tests, repeat=repeat, repeats=repeats))

    def _chat_settings(self, test: Test) -> LoadSettings:
        needed = max(each.context_tokens for each in self.tests) + _ROOM
        usual = LoadSettings(context_tokens=needed if needed > DEFAULT_CONTEXT_TOKENS else None)
        return self.settings.filled_from(_settings_of(test).filled_from(usual))

    def _raw_settings(self, test: Test) -> LoadSettings:
        known = test.type_k if test.type_k in KV_TYPES else "f16"
        settings = self.settings.filled_from(_settings_of(test))
        context_tokens = max(16, test.context_tokens)
        return replace(settings, kv_type=known, parallel=1, context_tokens=context_tokens)


def _facts(name: str, path: Path, file: FileFacts) -> dict[str, Any]:
    """Return what is the same for every row of a model."""
    bindings = importlib.metadata.version("llama_cpp_python")
    return {
        "build_commit": f"llama-cpp-python-{bindings}",
        "model_filename": str(path),
        "model": name,
        "quantization": quantization_of(file.header),
        "version": __version__,
    }


def _settings_of(test: Test) -> LoadSettings:
    """Return what the engine takes of a test's settings; what is left to the plan is unset."""
    flash = test.flash_attn
    return LoadSettings(
        gpu_layers=None if (test.n_gpu_layers or 0) < 0 else test.n_gpu_layers,
        kv_type=test.type_k if test.type_k in KV_TYPES else None,
        threads=test.n_threads,
        flash_attention=None if flash in (None, -1) else bool(flash),
        parallel=test.parallel,
        kv_offload=None if test.no_kv_offload is None else not test.no_kv_offload,
        tensor_overrides=test.tensor_overrides,
        split_mode=test.split_mode,
        tensor_split=test.tensor_split,
        main_gpu=test.main_gpu,
    )


def _groups(tests: Sequence[Test], key: Callable[[Test], object]) -> list[list[Test]]:
    return [list(group) for _key, group in itertools.groupby(tests, key)]


def _raw_key(test: Test) -> object:
    return test.given(*matrix.LOADING)


def _named(test: Test) -> Row:
    return Row(n_prompt=test.n_prompt, n_gen=test.n_gen, n_depth=test.n_depth, parallel=test.parallel)


def _words(tests: Sequence[Test]) -> str:
    return ", ".join(_named(test).test for test in tests)


def _setup(model: Model) -> dict[str, Any]:
    """Return llama-bench's columns for a model that the engine has loaded."""
    facts, settings = model.facts, model.facts.settings
    return {
        "cpu_info": facts.cpu_info,
        "gpu_info": facts.gpu_info,
        "backends": facts.back_ends,
        "model_type": facts.description,
        "model_size": facts.size_bytes,
        "model_n_params": facts.parameters,
        "n_batch": BATCH_TOKENS,
        "n_ubatch": BATCH_TOKENS,
        "n_threads": settings.threads,
        "type_k": settings.kv_type,
        "type_v": settings.kv_type,
        "n_gpu_layers": settings.gpu_layers,
        "split_mode": settings.split_mode or "layer",
        "main_gpu": settings.main_gpu or 0,
        "no_kv_offload": settings.kv_offload is False,
        "flash_attn": -1 if settings.flash_attention is None else int(settings.flash_attention),
        "tensor_split": "/".join(f"{share:.2f}" for share in settings.tensor_split or (0.0,)),
        "tensor_buft_overrides": ";".join(settings.tensor_overrides or ("none",)),
        "context_tokens": model.context_tokens,
        "load_seconds": facts.load_seconds,
    }


def _roofline(shape: ModelShape, model: Model) -> float | None:
    plan = planning.fit(shape, hardware.this_machine(measure=True), settings=model.facts.settings)
    return plan.speeds.roofline if plan.speeds else None


def _taken(before: Sequence[hardware.Gpu]) -> int:
    """Return how much less memory all GPUs have free than before."""
    if not before:
        return 0
    free = {gpu.name: gpu.free_bytes for gpu in hardware.gpus_now()}
    return max(0, sum(gpu.free_bytes - free.get(gpu.name, gpu.free_bytes) for gpu in before))


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
