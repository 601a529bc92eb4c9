"""The cells of one sequence as bytes, to keep them and to put them back."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

from phi4local.native.llama import bindings

if TYPE_CHECKING:
    from phi4local.native.bare import BareContext
    from phi4local.native.context import NativeContext


def read_state(context: NativeContext | BareContext, sequence: int) -> bytearray:
    """Return the cells of a sequence, in llama.cpp's own format."""
    api = bindings()
    data = bytearray(api.llama_state_seq_get_size(context.handle, sequence))
    buffer = (ctypes.c_uint8 * len(data)).from_buffer(data)
    written = api.llama_state_seq_get_data(context.handle, buffer, len(data), sequence)
    del buffer  # a bytearray with a view on it cannot shrink
    del data[written:]
    return data


def write_state(context: NativeContext | BareContext, sequence: int, data: bytearray | memoryview) -> bool:
    """Fill an empty sequence with what `read_state` returned; return whether llama.cpp took it.

    The library trusts these bytes with sizes and counts, so check where they come from first.
    """
    buffer = (ctypes.c_uint8 * len(data)).from_buffer(data)
    return bool(bindings().llama_state_seq_set_data(context.handle, buffer, len(data), sequence))
