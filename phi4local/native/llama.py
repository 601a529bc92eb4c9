"""libllama through llama-cpp-python's low-level bindings: library and model.

Only this module imports `llama_cpp`; the others in `native` build on it. It translates names, checks
arguments, and decides nothing. llama.cpp aborts the process on bad files and bad batches, so callers validate
files first (`phi4local.gguf.validate`) and run this in the worker process (`phi4local.engine.worker`).

Source: include/llama.h of llama.cpp 0c1e57098, as vendored in llama-cpp-python 0.3.36.
"""

from __future__ import annotations

import collections
import contextlib
import ctypes
import functools
import importlib
import importlib.util
import os
import sys
import types
from typing import TYPE_CHECKING, Any

from phi4local.errors import LibraryMissingError, ModelLoadError
from phi4local.offload import Placement

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from phi4local.native.context import NativeContext
    from phi4local.native.sampler import NativeSampler

_NEVER_TEXT = 1 | 2 | 8
"""llama_token_attr: unknown, unused, control."""
WARN_LEVEL, ERROR_LEVEL, CONTINUE_LEVEL = 3, 4, 5
"""ggml_log_level: warnings, errors, and the rest of the line before."""

_log: collections.deque[str] = collections.deque(maxlen=40)


@functools.cache
def bindings() -> Any:  # noqa: ANN401 - a foreign module without types
    """Load the library once and return llama-cpp-python's low-level module.

    Raises:
        LibraryMissingError: not installed, or its shared library does not load.
    """
    try:
        module = _import_low_level()
    except (ImportError, OSError, RuntimeError) as error:
        raise LibraryMissingError(f"llama-cpp-python does not load: {error}") from error
    module.llama_log_set(_log_callback(module), ctypes.c_void_p(0))
    module.llama_backend_init()
    return module


def _import_low_level() -> Any:  # noqa: ANN401
    """Import `llama_cpp.llama_cpp` without `llama_cpp/__init__`, which costs 0.15 s for numpy and jinja2."""
    if "llama_cpp" in sys.modules:
        return importlib.import_module("llama_cpp.llama_cpp")
    found = importlib.util.find_spec("llama_cpp")
    if found is None or not found.submodule_search_locations:
        raise ImportError("no module named llama_cpp")
    stand_in = types.ModuleType("llama_cpp")
    stand_in.__path__ = list(found.submodule_search_locations)
    sys.modules["llama_cpp"] = stand_in
    try:
        return importlib.import_module("llama_cpp.llama_cpp")
    finally:
        del sys.modules["llama_cpp"]  # a later `import llama_cpp` gets the whole package


@functools.cache
def _log_callback(module: Any) -> Any:  # noqa: ANN401
    def keep(level: int, text: bytes, _data: object) -> None:
        if level in (WARN_LEVEL, ERROR_LEVEL):
            _log.append(text.decode("utf-8", "replace").strip())
        elif level == CONTINUE_LEVEL and _log:
            _log.append((_log.pop() + text.decode("utf-8", "replace")).strip())

    return module.llama_log_callback(keep)


def last_log_line() -> str:
    """Return the newest warning or error that llama.cpp wrote, or an empty text."""
    return _log[-1] if _log else ""


def _load_failure() -> str:
    """Return why a model was not loaded: the last line of the log only says that it was not."""
    reasons = [line.partition("error loading model: ")[2] for line in _log if "error loading model: " in line]
    return reasons[-1] if reasons else last_log_line() or "no reason given"


def system_info() -> str:
    """Return the instruction sets and back ends that the library was built with.

    Example: `"CPU : SSE3 = 1 | AVX2 = 1 | OPENMP = 1 | "`.
    """
    return str(bindings().llama_print_system_info().decode())


def supports_gpu() -> bool:
    """Return whether the library was built with a GPU back end that found a device."""
    return bool(bindings().llama_supports_gpu_offload())


_MOST_PIECE_BYTES = 4 * 1024
"""The longest token that a file may have, `gguf.vocabulary.MAX_TOKEN_CHARACTERS`, in UTF-8."""


class NativeModel:
    """A loaded model file with its vocabulary.

    Args:
        path: a GGUF file that `phi4local.gguf.validate` accepted.
        placement: where its weights go; all on the CPU when left out.
        pre_tokenizer: llama.cpp's name of the way to cut text into pieces; the file's when left out.
        progress: called with the loaded share, 0.0 to 1.0; returning False ends loading.
        options: other fields of llama_model_params, such as `{"load_mode": 1}`, for benchmarks.

    Raises:
        ModelLoadError: llama.cpp refused the file; the message carries its last log line.
        InvalidSettingError: a device or a buffer type that is not there.
    """

    def __init__(
        self,
        path: Path,
        *,
        placement: Placement | None = None,
        pre_tokenizer: str | None = None,
        progress: Callable[[float], bool] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        from phi4local.native.placement import apply  # it asks this module for the library

        self._api = api = bindings()
        parameters = api.llama_model_default_params()
        placed = apply(parameters, placement or Placement(), most_devices=api.llama_max_devices())
        for name, value in (options or {}).items():
            setattr(parameters, name, value)
        if pre_tokenizer is not None:
            overrides = _override(api, "tokenizer.ggml.pre", pre_tokenizer)
            parameters.kv_overrides = overrides
            placed.append(overrides)
        if progress is not None:
            parameters.progress_callback = api.llama_progress_callback(lambda share, _data: progress(share))
        self._parameters = (parameters, placed)  # keeps the callback and the lists alive
        _log.clear()
        self.handle = api.llama_model_load_from_file(os.fsencode(path), parameters)
        if not self.handle:
            raise ModelLoadError(path, _load_failure())
        self.vocabulary = api.llama_model_get_vocab(self.handle)
        self.vocabulary_tokens: int = api.llama_vocab_n_tokens(self.vocabulary)
        self.size_bytes: int = api.llama_model_size(self.handle)
        self.parameters: int = api.llama_model_n_params(self.handle)
        self.description = _description(api, self.handle)
        self.width: int = api.llama_model_n_embd(self.handle)
        self._piece_buffer = ctypes.create_string_buffer(256)

    def tokenize(self, text: str, *, special: bool) -> list[int]:
        """Return the token ids of `text`; control tokens are recognised only when `special`.

        Example: with phi4-nano, `tokenize("<|im_end|>", special=True)` is `[8105]`.
        """
        data = text.encode("utf-8", "replace")
        room = len(data) + 8  # a byte-level vocabulary never needs more tokens than bytes
        while True:
            ids = (ctypes.c_int32 * room)()
            count = self._api.llama_tokenize(self.vocabulary, data, len(data), ids, room, False, special)  # noqa: FBT003
            if count >= 0:
                return ids[:count]
            room = -count

    def opening_token(self) -> int | None:
        """Return the token that the vocabulary puts before every text; `None` without one, as in Phi-4's."""
        adds = self._api.llama_vocab_get_add_bos(self.vocabulary)
        return int(self._api.llama_vocab_bos(self.vocabulary)) if adds else None

    def piece(self, token: int) -> bytes:
        """Return the bytes that `token` adds to the text; a control token adds none."""
        buffer = self._piece_buffer
        count = self._api.llama_token_to_piece(self.vocabulary, token, buffer, len(buffer), 0, False)  # noqa: FBT003
        if count < 0:
            self._piece_buffer = ctypes.create_string_buffer(-count)
            return self.piece(token)
        return buffer.raw[:count]

    def pieces(self) -> list[bytes]:
        """Return what `piece` does of every token; safe beside it on another thread."""
        buffer = ctypes.create_string_buffer(_MOST_PIECE_BYTES)
        convert, vocabulary, size = self._api.llama_token_to_piece, self.vocabulary, len(buffer)
        counts = (
            convert(vocabulary, token, buffer, size, 0, False)  # noqa: FBT003
            for token in range(self.vocabulary_tokens)
        )
        return [buffer.raw[: max(count, 0)] for count in counts]

    def ends_generation(self, token: int) -> bool:
        """Return whether `token` ends an answer: end of text, end of turn and the like."""
        return bool(self._api.llama_vocab_is_eog(self.vocabulary, token))

    def control_tokens(self) -> list[int]:
        """Return the ids that are never text: control tokens, unknown and unused ones."""
        attribute, vocabulary = self._api.llama_vocab_get_attr, self.vocabulary
        return [
            token for token in range(self.vocabulary_tokens) if attribute(vocabulary, token) & _NEVER_TEXT
        ]

    def close(self) -> None:
        """Free the model. Close its contexts first."""
        if self.handle:
            self._api.llama_model_free(self.handle)
            self.handle = None


def _description(api: Any, handle: Any) -> str:  # noqa: ANN401
    """Return llama.cpp's words for a model. Example: "phi3 14B Q4_K - Medium"."""
    buffer = ctypes.create_string_buffer(128)
    api.llama_model_desc(handle, buffer, len(buffer))
    return buffer.value.decode("utf-8", "replace")


def _override(api: Any, key: str, text: str) -> Any:  # noqa: ANN401 - a ctypes array
    """Return the list that makes llama.cpp read `text` where the file's header says something else."""
    overrides = (api.llama_model_kv_override * 2)()  # the second one, all zero, ends the list
    overrides[0].tag = api.LLAMA_KV_OVERRIDE_TYPE_STR
    overrides[0].key = key.encode()
    overrides[0].value.val_str = text.encode()
    return overrides


def close_all(*parts: NativeModel | NativeContext | NativeSampler | None) -> None:
    """Close what exists of `parts`, in order."""
    with contextlib.ExitStack() as stack:
        for part in reversed(parts):
            if part is not None:
                stack.callback(part.close)
