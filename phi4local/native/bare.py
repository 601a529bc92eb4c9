"""llama-bench's context and its two loops: a decode, then wait for it; nothing is sampled.

Made for measuring, so that nothing of ours lies between the clock and llama.cpp: no limits on outputs, a
context as long as the test, batches as llama-bench makes them.

Source: `to_llama_cparams`, `test_prompt` and `test_gen` in tools/llama-bench/llama-bench.cpp, and ggml.h and
ggml-cpu.h for the thread pool, of llama.cpp 0c1e57098, as vendored in llama-cpp-python 0.3.36.
"""

from __future__ import annotations

import ctypes
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from phi4local.errors import EngineError, InvalidSettingError
from phi4local.native.context import GGML_TYPE
from phi4local.native.llama import bindings, last_log_line

if TYPE_CHECKING:
    from phi4local.native.llama import NativeModel

MOST_THREADS = 512
"""GGML_MAX_N_THREADS, the length of a mask of processors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BareShape:
    """What a context is made with, in llama-bench's words and units."""

    n_ctx: int
    n_batch: int = 2048
    n_ubatch: int = 512
    type_k: str = "f16"
    type_v: str = "f16"
    n_threads: int = 1
    flash_attn: int = -1
    no_kv_offload: bool = False
    embeddings: bool = False
    no_op_offload: bool = False


class BareContext:
    """A context of one sequence.

    Raises:
        EngineError: llama.cpp could not make it.
    """

    def __init__(self, model: NativeModel, shape: BareShape) -> None:
        self._api = api = bindings()
        parameters = api.llama_context_default_params()
        parameters.n_ctx, parameters.n_batch, parameters.n_ubatch = shape.n_ctx, shape.n_batch, shape.n_ubatch
        parameters.type_k, parameters.type_v = GGML_TYPE[shape.type_k], GGML_TYPE[shape.type_v]
        parameters.flash_attn_type = shape.flash_attn
        parameters.offload_kqv = not shape.no_kv_offload
        parameters.embeddings = shape.embeddings
        parameters.op_offload = not shape.no_op_offload
        parameters.swa_full = False
        self.handle = api.llama_init_from_model(model.handle, parameters)
        if not self.handle:
            raise EngineError(
                f"llama.cpp cannot make a context of {shape.n_ctx:,} tokens: {last_log_line()}",
                hint="try a shorter test or another type of cache",
            )
        api.llama_set_n_threads(self.handle, shape.n_threads, shape.n_threads)
        self._memory = api.llama_get_memory(self.handle)
        self._vocabulary_tokens = model.vocabulary_tokens
        starts = api.llama_vocab_get_add_bos(model.vocabulary)
        self._first = api.llama_vocab_bos(model.vocabulary) if starts else None
        self._batch_tokens = shape.n_batch

    def random_batches(self, tokens: int) -> list[Any]:
        """Return batches of random token ids for `read`; made before the clock starts."""
        sizes = [self._batch_tokens] * (tokens // self._batch_tokens)
        sizes += [tokens % self._batch_tokens] * (tokens % self._batch_tokens > 0)
        return self._batches(sizes)

    def random_steps(self, tokens: int) -> list[Any]:
        """Return batches of one random token id each."""
        return self._batches([1] * tokens)

    def run(self, batches: list[Any], *, wait_for_each: bool) -> None:
        """Evaluate batches behind what is cached, as `test_gen` with `wait_for_each`, else `test_prompt`.

        Raises:
            EngineError: llama.cpp returned an error.
        """
        decode, wait, handle = self._api.llama_decode, self._api.llama_synchronize, self.handle
        for batch in batches:
            code = decode(handle, batch)
            if code:
                raise EngineError(f"llama.cpp could not evaluate a batch (code {code}): {last_log_line()}")
            if wait_for_each:
                wait(handle)
        wait(handle)

    def clear(self) -> None:
        """Forget all cells; what they hold stays, as in llama-bench."""
        self._api.llama_memory_clear(self._memory, False)  # noqa: FBT003

    def attach(self, pool: ThreadPool) -> None:
        """Compute with the threads of a pool."""
        function = self._api._lib.llama_attach_threadpool
        function.argtypes, function.restype = [ctypes.c_void_p] * 3, None
        function(self.handle, pool.handle, None)

    def close(self) -> None:
        """Free the cache and the buffers."""
        if self.handle:
            self._api.llama_free(self.handle)
            self.handle = None

    def _batches(self, sizes: list[int]) -> list[Any]:
        batches = []
        for number, size in enumerate(sizes):
            choices = random.choices(range(self._vocabulary_tokens), k=size)  # noqa: S311
            if number == 0 and self._first is not None:
                choices[0] = self._first
            ids = (ctypes.c_int32 * size)(*choices)
            batch = self._api.llama_batch_get_one(ids, size)
            batch.kept_alive = ids
            batches.append(batch)
        return batches


class _PoolParameters(ctypes.Structure):
    """struct ggml_threadpool_params."""

    _fields_ = (
        ("cpumask", ctypes.c_bool * MOST_THREADS),
        ("n_threads", ctypes.c_int),
        ("prio", ctypes.c_int),
        ("poll", ctypes.c_uint32),
        ("strict_cpu", ctypes.c_bool),
        ("paused", ctypes.c_bool),
    )


class ThreadPool:
    """ggml's pool of compute threads; where ggml uses OpenMP, only how they are placed.

    Args:
        threads: how many.
        cpu_mask: processors they may run on, hexadecimal, the first one in the lowest bit; 0x0 for all.
        strict: each thread on a processor of its own.
        poll: 0 to 100, how long they spin before they sleep.
        priority: -1 (low) to 3 (real time).
    """

    def __init__(
        self, threads: int, *, cpu_mask: str = "0x0", strict: bool = False, poll: int = 50, priority: int = 0
    ) -> None:
        module = bindings()
        base, cpu = (
            module.load_shared_library(name, module._base_path) for name in ("ggml-base", "ggml-cpu")
        )
        parameters = _PoolParameters()
        base.ggml_threadpool_params_init(ctypes.byref(parameters), ctypes.c_int(threads))
        allowed = mask_bits(cpu_mask)
        for processor in allowed:
            parameters.cpumask[processor] = True
        parameters.strict_cpu, parameters.poll, parameters.prio = strict, poll, priority
        cpu.ggml_threadpool_new.restype = ctypes.c_void_p
        self._free = cpu.ggml_threadpool_free
        self._free.argtypes = [ctypes.c_void_p]
        self.handle: int | None = cpu.ggml_threadpool_new(ctypes.byref(parameters))
        if not self.handle:
            raise EngineError(f"llama.cpp cannot start {threads} threads", hint="try fewer")

    def close(self) -> None:
        """End the threads; close contexts that use them first."""
        if self.handle:
            self._free(self.handle)
            self.handle = None


def mask_bits(text: str) -> tuple[int, ...]:
    """Return the processors of a mask. Example: `mask_bits("0x5")` → `(0, 2)`.

    Raises:
        InvalidSettingError: no hexadecimal number, or one beyond 512 processors.
    """
    try:
        number = int(text, 16)
    except ValueError:
        number = -1
    if number < 0 or number.bit_length() > MOST_THREADS:
        raise InvalidSettingError("cpu_mask", f"is {text!r}; it must be a hexadecimal number such as 0x3")
    return tuple(place for place in range(number.bit_length()) if number >> place & 1)
