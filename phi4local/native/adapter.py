"""LoRA adapters in llama.cpp.

Source: include/llama.h of llama.cpp 0c1e57098 (`llama_adapter_lora_*`, `llama_set_adapters_lora`).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from phi4local.errors import EngineError, ModelLoadError
from phi4local.native.llama import bindings, last_log_line

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from phi4local.native.context import NativeContext
    from phi4local.native.llama import NativeModel


class NativeAdapter:
    """An adapter in memory; it is freed with its model.

    Args:
        model: the base it was made for.
        path: a GGUF file that was validated for this base.

    Raises:
        ModelLoadError: llama.cpp refused the file.
    """

    def __init__(self, model: NativeModel, path: Path) -> None:
        self.handle = bindings().llama_adapter_lora_init(model.handle, os.fsencode(path))
        if not self.handle:
            raise ModelLoadError(path, last_log_line() or "no reason given")


def set_adapters(context: NativeContext, adapters: Sequence[tuple[NativeAdapter, float]]) -> None:
    """Let a context compute with these adapters and scales, and no others.

    Raises:
        EngineError: llama.cpp returned an error.
    """
    api = bindings()
    count = len(adapters)
    handles = (api.llama_adapter_lora_p_ctypes * count)(*(adapter.handle for adapter, _ in adapters))
    scales = (api.ctypes.c_float * count)(*(scale for _, scale in adapters))
    code = api.llama_set_adapters_lora(context.handle, handles, count, scales)
    if code:
        raise EngineError(f"llama.cpp could not set {count} adapters (code {code}): {last_log_line()}")
