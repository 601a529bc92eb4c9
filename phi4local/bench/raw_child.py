"""The bare decode loop, in a process of its own: an order comes in, a line of JSON goes out for each event.

The steps are llama-bench's, one by one: a context for each test, a thread pool, a warm-up of the whole prompt
and one token, and before every repeat an empty cache, filled up to the test's depth. Whatever Python has to
prepare is prepared before the clock starts.

Source: `llama_bench` in tools/llama-bench/llama-bench.cpp of llama.cpp 0c1e57098.
"""

from __future__ import annotations

import contextlib
import os
import random
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phi4local import hardware
from phi4local.bench.raw import NICENESS
from phi4local.engine.worker import task
from phi4local.native import bare, devices, llama
from phi4local.native.state import read_state, write_state
from phi4local.offload import Placement, parse_overrides

if TYPE_CHECKING:
    from collections.abc import Callable


class Bench:
    """Runs the tests of one order on one loaded model.

    Args:
        order: from `phi4local.bench.raw`.
        tell: takes what happens.
    """

    def __init__(self, order: dict[str, Any], tell: Callable[[dict[str, Any]], None]) -> None:
        self._order, self._send = order, tell
        self._state: tuple[int, bytearray] = (0, bytearray())
        self._before = devices.devices()
        started = time.perf_counter()
        self._model = _load(order)
        self._tell(
            type="loaded",
            load_seconds=time.perf_counter() - started,
            model_type=self._model.description,
            model_size=self._model.size_bytes,
            model_n_params=self._model.parameters,
            **devices.summary(),
        )

    def _tell(self, **event: Any) -> None:  # noqa: ANN401 - JSON
        self._send(event)

    def run(self) -> None:
        """Measure test after test."""
        for number, test in enumerate(self._order["tests"]):
            time.sleep(self._order["delay_seconds"])
            pool = bare.ThreadPool(**test["pool"])
            context = bare.BareContext(self._model, bare.BareShape(**test["shape"]))
            context.attach(pool)
            try:
                samples = self._measure(context, test, number)
            finally:
                taken = devices.taken_bytes(self._before)
                context.close()
                pool.close()
            peak = hardware.peak_memory_bytes()
            self._tell(
                type="row", test=number, samples_ns=samples, peak_memory_bytes=peak, peak_vram_bytes=taken
            )

    def _measure(self, context: bare.BareContext, test: dict[str, Any], number: int) -> list[int]:
        prompt, answer, depth = test["n_prompt"], test["n_gen"], test["n_depth"]
        context.clear()
        if self._order["warm_up"]:
            self._tell(type="progress", test=number, repeat=0)
            context.run(context.random_batches(prompt), wait_for_each=False)
            context.run(context.random_steps(min(answer, 1)), wait_for_each=True)
        samples = []
        for repeat in range(self._order["repeats"]):
            self._tell(type="progress", test=number, repeat=repeat + 1)
            context.clear()
            if depth:
                self._fill(context, depth)
            batches, steps = context.random_batches(prompt), context.random_steps(answer)
            started = time.perf_counter_ns()
            if batches:
                context.run(batches, wait_for_each=False)
            if steps:
                context.run(steps, wait_for_each=True)
            samples.append(time.perf_counter_ns() - started)
        return samples

    def _fill(self, context: bare.BareContext, depth: int) -> None:
        """Put tokens into the cache; what was computed for this depth before is copied back."""
        if self._state[0] == depth and write_state(context, 0, self._state[1]):
            return
        context.clear()
        context.run(context.random_batches(depth), wait_for_each=False)
        self._state = (depth, read_state(context, 0))


def _load(order: dict[str, Any]) -> llama.NativeModel:
    placement = dict(order["placement"])
    placement["overrides"] = parse_overrides(tuple(placement["overrides"]))
    placement |= {name: tuple(placement[name]) for name in ("split", "rpc")}
    return llama.NativeModel(
        Path(order["path"]), placement=Placement(**placement), options=order["model_options"]
    )


def carry_out(order: dict[str, Any], tell: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Measure what the order asks for."""
    random.seed(1)
    if order["priority"] and hasattr(os, "setpriority"):
        with contextlib.suppress(OSError):  # only root may be more important than others
            os.setpriority(os.PRIO_PROCESS, 0, NICENESS[order["priority"]])
    Bench(order, tell).run()
    return {}


def main() -> None:
    """Carry out one order, and end with the parent."""
    task.serve(carry_out)
