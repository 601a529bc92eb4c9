"""Put a `Placement` into llama.cpp's model parameters, after checking it against the devices that are there.

Source: llama_model_params and llama_model_tensor_buft_override in include/llama.h of llama.cpp 0c1e57098, as
vendored in llama-cpp-python 0.3.36, whose bindings leave the overrides' type out.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

from phi4local.errors import InvalidSettingError
from phi4local.native import devices
from phi4local.offload import LEAST_GPU_BYTES, SPLIT_MODES

if TYPE_CHECKING:
    from phi4local.offload import Placement


class _Override(ctypes.Structure):
    _fields_ = (("pattern", ctypes.c_char_p), ("buffer_type", ctypes.c_void_p))


def apply(parameters: Any, placement: Placement, *, most_devices: int) -> list[Any]:  # noqa: ANN401 - a foreign structure
    """Fill in where weights go, and return what must live as long as the parameters are used.

    Args:
        parameters: llama_model_params.
        placement: what was asked for.
        most_devices: entries of llama.cpp's list of shares (llama_max_devices).

    Raises:
        InvalidSettingError: a device or a buffer type that is not there.
    """
    devices.add_rpc_servers(placement.rpc)
    parameters.n_gpu_layers = placement.gpu_layers
    parameters.split_mode = SPLIT_MODES.index(placement.split_mode)  # the order of enum llama_split_mode
    kept: list[Any] = []
    if not placement.gpu_layers and _all_full():
        none = (ctypes.c_void_p * 1)()  # an empty list, ended by a zero
        parameters.devices = ctypes.cast(none, ctypes.c_void_p)
        kept.append(none)
    if placement.split_mode == "row":
        _check_split_by_rows()
    if placement.main_gpu is not None or placement.split:
        _check_devices(placement)
        parameters.main_gpu = placement.main_gpu or 0
    if placement.split:
        shares = (ctypes.c_float * max(most_devices, len(placement.split)))(*placement.split)
        parameters.tensor_split = ctypes.cast(shares, ctypes.POINTER(ctypes.c_float))
        kept.append(shares)
    if placement.overrides:
        overrides = _overrides(placement)
        parameters.tensor_buft_overrides = ctypes.cast(overrides, ctypes.c_void_p)
        kept.append(overrides)
    return kept


def _all_full() -> bool:
    """Return whether no GPU has room for its part of prompts, which needs no layers there."""
    known = devices.offload_devices()
    return bool(known) and all(device.free_bytes < LEAST_GPU_BYTES for device in known)


def _check_split_by_rows() -> None:
    known = devices.offload_devices()
    unable = [device.name for device in known if not device.splits_rows]
    if unable or not known:
        raise InvalidSettingError(
            "split_mode",
            f"is 'row', which {', '.join(unable) or 'a machine without a GPU'} cannot do here",
            hint="choose `layer`; this version of llama.cpp splits rows on SYCL and Hexagon devices only",
        )


def _check_devices(placement: Placement) -> None:
    known = [device.name for device in devices.offload_devices()]
    hint = f"llama.cpp sees: {', '.join(known)}" if known else "llama.cpp sees no GPU here"
    if len(placement.split) > len(known):
        raise InvalidSettingError(
            "tensor_split", f"has {len(placement.split)} shares for {len(known)} devices", hint=hint
        )
    if placement.main_gpu is not None and placement.main_gpu >= len(known):
        raise InvalidSettingError(
            "main_gpu", f"is {placement.main_gpu}; there are {len(known)} devices, counted from 0", hint=hint
        )


def _overrides(placement: Placement) -> Any:  # noqa: ANN401 - a ctypes array
    known = devices.buffer_types()
    usable = [name for name in known if name in _used_buffers(placement)]
    entries = []
    for override in placement.overrides:
        if override.buffer not in usable:
            problem = "is not used in this load" if override.buffer in known else "is not there"
            raise InvalidSettingError(
                "tensor_overrides",
                f"names the buffer type `{override.buffer}`, which {problem}",
                hint=f"known: {', '.join(usable)}",
            )
        entries.append(_Override(override.pattern.encode(), known[override.buffer]))
    return (_Override * (len(entries) + 1))(*entries)  # the last one, all zero, ends the list


def _used_buffers(placement: Placement) -> set[str]:
    """Return the buffer types whose devices compute in this load: ggml aborts on a tensor anywhere else."""
    used = devices.offload_devices()
    if placement.split_mode == "none":
        used = used[placement.main_gpu or 0 :][:1]
    on_gpu = {device.buffer_type for device in used}
    return on_gpu | {device.buffer_type for device in devices.devices() if device.kind == devices.CPU}
