"""What enters the matrices of a model while it evaluates, through llama.cpp's evaluation callback.

llama.cpp asks for each node of its graph whether somebody wants to see it, and shows it when it is computed.
Names, bytes and sizes are read with exported functions, so no structure of ggml has to be known here.

Source: `ggml_backend_sched_eval_callback` in ggml/include/ggml-backend.h, and the names of nodes in
src/llama-graph.cpp, of llama.cpp 0c1e57098.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

import numpy as np

from phi4local.errors import EngineError, Phi4LocalError
from phi4local.native.ggml import library_path
from phi4local.native.llama import bindings

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from numpy.typing import NDArray


class ActivationReader:
    """Gets the values of some nodes of the graph, each time they are computed.

    Args:
        nodes: names, such as `attn_norm-0`, what enters the first layer's `attn_qkv`.
        take: called with the name and the values, float32, flat, all tokens of the batch one after the other;
            they are valid during the call only.

    Example: `NativeContext(model, shape, observer=ActivationReader({"result_norm"}, take))`.

    Raises:
        EngineError: the library lacks a function.
    """

    def __init__(self, nodes: Collection[str], take: Callable[[str, NDArray[np.float32]], None]) -> None:
        self._nodes = frozenset(name.encode() for name in nodes)
        self._take = take
        self._failure: Exception | None = None
        pointer = ctypes.c_void_p
        library = ctypes.CDLL(str(library_path()))
        try:
            self._name, self._size, self._rows = (
                library.ggml_get_name,
                library.ggml_nbytes,
                library.ggml_nrows,
            )
            self._contiguous, self._get = library.ggml_is_contiguous, library.ggml_backend_tensor_get
        except AttributeError as error:
            raise EngineError(f"llama.cpp's library has no such function: {error}") from error
        self._name.argtypes, self._name.restype = [pointer], ctypes.c_char_p
        self._size.argtypes, self._size.restype = [pointer], ctypes.c_size_t
        self._rows.argtypes, self._rows.restype = [pointer], ctypes.c_int64
        self._contiguous.argtypes, self._contiguous.restype = [pointer], ctypes.c_bool
        self._get.argtypes = [pointer, pointer, ctypes.c_size_t, ctypes.c_size_t]
        self._get.restype = None
        self.callback = bindings().ggml_backend_sched_eval_callback(self._called)

    def raise_failure(self) -> None:
        """Raise what went wrong inside a callback: an exception cannot pass through llama.cpp."""
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure

    def _called(self, tensor: int, asked: bool, _data: Any) -> bool:  # noqa: ANN401, FBT001
        name: bytes = self._name(tensor)
        if asked:
            return name in self._nodes
        if name not in self._nodes:
            return True
        try:
            self._take(name.decode(), self._values(tensor))
        except (Phi4LocalError, ValueError, MemoryError) as error:  # raised behind the call of llama.cpp
            self._failure = error
            return False  # ends the evaluation
        return True

    def _values(self, tensor: int) -> NDArray[np.float32]:
        size, rows = self._size(tensor), self._rows(tensor)
        if size % 4 or not self._contiguous(tensor):
            raise EngineError(f"a node of the graph has {size} bytes in {rows} rows, no contiguous float32")
        values = np.empty(size // 4, np.float32)
        self._get(tensor, values.ctypes.data, 0, size)
        return values
