"""llama-bench's measurement: the bare decode loop in a child process, without sampling, text and events.

In a process of its own, so that a crash of the library is an error line and the peak memory is its own.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from phi4local.bench.row import Row
from phi4local.bench.words import LOAD_MODES
from phi4local.engine.worker.task import messages_of
from phi4local.offload import Placement

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from phi4local.bench.matrix import Test

NICENESS = {-1: 5, 0: 0, 1: -5, 2: -10, 3: -20}
"""setpriority's value for each of llama-bench's priorities."""
_SHAPE = (
    *("n_batch", "n_ubatch", "type_k", "type_v", "n_threads", "flash_attn", "no_kv_offload"),
    *("embeddings", "no_op_offload"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounds:
    """How often, how long after a pause, and how important.

    Attributes:
        repeats: samples of each test.
        warm_up: one round before them that is not counted.
        delay_seconds: pause before each test, to cool off.
        priority: -1 (low) to 3 (real time), as llama-bench has them.
    """

    repeats: int = 5
    warm_up: bool = True
    delay_seconds: int = 0
    priority: int = 0


def measure_raw(
    path: Path,
    tests: Sequence[Test],
    rounds: Rounds,
    *,
    rpc: tuple[str, ...] = (),
    step: Callable[[int, int], None] = lambda _test, _repeat: None,
) -> Iterator[Row]:
    """Yield a row for each test as soon as it is measured.

    Args:
        path: a GGUF file that passed `phi4local.gguf.validate`.
        tests: with the same values of `matrix.LOADING`, so that the model is loaded once; threads are set.
        rounds: how often.
        rpc: `host:port` of ggml's RPC servers.
        step: told which test is in which repeat; 0 is the warm-up.

    Raises:
        EngineCrashedError: the child died.
        EngineError: llama.cpp could not do what was asked.
    """
    order, loaded = _order(path, tests, rounds, rpc), Row()
    with closing(messages_of("phi4local.bench.raw_child", order, doing="measures")) as messages:
        for event in messages:
            kind = event.pop("type")
            if kind == "loaded":
                loaded = Row(backends=event.pop("back_ends"), **event)
            elif kind == "progress":
                step(event["test"], event["repeat"])
            elif kind == "row":
                yield _row(loaded, tests[event.pop("test")], event)


def _order(path: Path, tests: Sequence[Test], rounds: Rounds, rpc: tuple[str, ...]) -> dict[str, Any]:
    first = tests[0]
    placement = Placement(
        gpu_layers=-1 if first.n_gpu_layers is None else first.n_gpu_layers,
        split_mode=first.split_mode or "layer",
        split=first.tensor_split or (),
        main_gpu=first.main_gpu or None,  # the first is the default, and no GPU may be there
        rpc=rpc,
    )
    options: dict[str, Any] = first.given("no_host")
    if first.load_mode is not None:
        options["load_mode"] = LOAD_MODES[first.load_mode]
    if first.repack is not None:
        options["use_extra_bufts"] = first.repack
    return {
        "path": str(path),
        "placement": asdict(placement) | {"overrides": first.tensor_overrides or ()},
        "model_options": options,
        "tests": [_test_order(test, rounds) for test in tests],
        **asdict(rounds),
    }


def _test_order(test: Test, rounds: Rounds) -> dict[str, Any]:
    pool = {"cpu_mask": test.cpu_mask, "strict": test.cpu_strict, "poll": test.poll}
    return {
        **{name: getattr(test, name) for name in ("n_prompt", "n_gen", "n_depth")},
        "shape": {"n_ctx": test.context_tokens, **test.given(*_SHAPE)},
        "pool": {
            "threads": test.n_threads,
            "priority": rounds.priority,
            **{name: value for name, value in pool.items() if value is not None},
        },
    }


def _row(loaded: Row, test: Test, event: dict[str, Any]) -> Row:
    """Return the row of a test; llama-bench's default where nothing was said."""
    same = ("n_gpu_layers", "split_mode", "load_mode", "main_gpu", "no_host", "repack", "cpu_mask", "poll")
    given: dict[str, Any] = test.given(*_SHAPE, *same, "cpu_strict", "n_prompt", "n_gen", "n_depth")
    given["no_op_offload"] = int(given.get("no_op_offload", False))
    event["samples_ns"] = tuple(event["samples_ns"])
    return replace(
        loaded,
        **given,
        **event,
        path="raw",
        tensor_split="/".join(f"{share:.2f}" for share in test.tensor_split or (0.0,)),
        tensor_buft_overrides=";".join(test.tensor_overrides or ("none",)),
        context_tokens=test.context_tokens,
    )
