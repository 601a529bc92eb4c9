"""The devices that ggml can compute on: this machine's, and those of ggml's RPC servers.

Asking starts the GPU's driver, so it happens in the process that loads the model.

Source: ggml/include/ggml-backend.h and ggml-rpc.h of llama.cpp 0c1e57098, as vendored in llama-cpp-python
0.3.36.
"""

from __future__ import annotations

import ctypes
import functools
import socket
import struct
from dataclasses import dataclass
from typing import Any

from phi4local.errors import InvalidSettingError, LibraryMissingError
from phi4local.native.llama import bindings
from phi4local.offload import parse_endpoint

CPU, GPU, INTEGRATED_GPU, ACCELERATOR = 0, 1, 2, 3
"""ggml_backend_dev_type."""
RPC_VERSION = 7
"""Major number of the RPC protocol (RPC_PROTO_MAJOR_VERSION); a server with another one ends this process."""

_HELLO, _CAPABILITIES_BYTES, _RPC_SECONDS = 14, 24, 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """One device. Example: `CUDA0`, "NVIDIA H100 80GB HBM3", buffer type `CUDA0`, 84 GB, 83 GB of it free."""

    name: str
    description: str
    kind: int
    back_end: str
    buffer_type: str
    total_bytes: int
    free_bytes: int
    splits_rows: bool


@functools.cache
def _functions() -> dict[str, Any]:
    """Return ggml's functions by name; on Windows each library exports only its own."""
    module = bindings()
    signatures: dict[str, tuple[str, list[Any], Any]] = {
        "dev_count": ("ggml", [], ctypes.c_size_t),
        "dev_get": ("ggml", [ctypes.c_size_t], ctypes.c_void_p),
        "reg_count": ("ggml", [], ctypes.c_size_t),
        "reg_get": ("ggml", [ctypes.c_size_t], ctypes.c_void_p),
        "reg_by_name": ("ggml", [ctypes.c_char_p], ctypes.c_void_p),
        "register": ("ggml", [ctypes.c_void_p], None),
        "dev_name": ("ggml-base", [ctypes.c_void_p], ctypes.c_char_p),
        "dev_description": ("ggml-base", [ctypes.c_void_p], ctypes.c_char_p),
        "dev_type": ("ggml-base", [ctypes.c_void_p], ctypes.c_int),
        "dev_backend_reg": ("ggml-base", [ctypes.c_void_p], ctypes.c_void_p),
        "dev_buffer_type": ("ggml-base", [ctypes.c_void_p], ctypes.c_void_p),
        "dev_memory": ("ggml-base", [ctypes.c_void_p, *[ctypes.POINTER(ctypes.c_size_t)] * 2], None),
        "buft_name": ("ggml-base", [ctypes.c_void_p], ctypes.c_char_p),
        "reg_name": ("ggml-base", [ctypes.c_void_p], ctypes.c_char_p),
        "reg_get_proc_address": ("ggml-base", [ctypes.c_void_p, ctypes.c_char_p], ctypes.c_void_p),
    }
    functions = {}
    for name, (library, arguments, result) in signatures.items():
        try:
            loaded = module.load_shared_library(library, module._base_path)
            function = getattr(loaded, f"ggml_backend_{name}")
        except (OSError, RuntimeError, AttributeError) as error:
            raise LibraryMissingError(f"ggml's list of devices cannot be read: {error}") from error
        function.argtypes, function.restype = arguments, result
        functions[name] = function
    return functions


def devices() -> list[Device]:
    """Return what ggml can compute on, in its order.

    Example: on a machine without a GPU the one device `CPU`.
    """
    ask = _functions()
    found = []
    for handle in _handles():
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        ask["dev_memory"](handle, ctypes.byref(free), ctypes.byref(total))
        buffer_type, back_end = ask["dev_buffer_type"](handle), ask["dev_backend_reg"](handle)
        found.append(
            Device(
                name=ask["dev_name"](handle).decode(),
                description=ask["dev_description"](handle).decode("utf-8", "replace"),
                kind=ask["dev_type"](handle),
                back_end=ask["reg_name"](back_end).decode(),
                buffer_type=ask["buft_name"](buffer_type).decode() if buffer_type else "",
                total_bytes=total.value,
                free_bytes=free.value,
                splits_rows=bool(ask["reg_get_proc_address"](back_end, b"ggml_backend_split_buffer_type")),
            )
        )
    return found


def offload_devices() -> list[Device]:
    """Return the devices that layers can be put on, in the order in which llama.cpp numbers them.

    RPC servers first; integrated GPUs only where there is no other (llama_prepare_model_devices).
    """
    known = devices()
    remote = [device for device in known if device.kind == GPU and device.back_end == "RPC"]
    local = [device for device in known if device.kind == GPU and device.back_end != "RPC"]
    return [*remote, *(local or [device for device in known if device.kind == INTEGRATED_GPU])]


def summary() -> dict[str, str]:
    """Return what computes here in llama-bench's words: `cpu_info`, `gpu_info` and `back_ends`.

    Example: `{"cpu_info": "AMD EPYC", "gpu_info": "", "back_ends": "CPU"}`.
    """
    ask, known = _functions(), devices()
    names = [ask["reg_name"](ask["reg_get"](number)).decode() for number in range(ask["reg_count"]())]
    used = [name for name in names if name != "CPU" and not name.startswith("RPC")]
    used += ["RPC"] * any(device.back_end.startswith("RPC") for device in known)
    processors = [device.description for device in known if device.kind in (CPU, ACCELERATOR)]
    gpus = [device.description for device in known if device.kind in (GPU, INTEGRATED_GPU)]
    return {
        "cpu_info": ", ".join(processors),
        "gpu_info": ", ".join(gpus),
        "back_ends": ",".join(used) or "CPU",
    }


def taken_bytes(before: list[Device]) -> int:
    """Return how much less memory all GPUs have free than in an earlier list of devices."""
    kinds = (GPU, INTEGRATED_GPU)
    free = {device.name: device.free_bytes for device in devices() if device.kind in kinds}
    then = {device.name: device.free_bytes for device in before if device.kind in kinds}
    return max(0, sum(then[name] - free.get(name, then[name]) for name in then))


def buffer_types() -> dict[str, int]:
    """Return the buffer types that a tensor can be put into, by name, as addresses.

    Example: `{"CPU": …, "CUDA0": …}`.
    """
    ask = _functions()
    handles = (ask["dev_buffer_type"](handle) for handle in _handles())
    return {ask["buft_name"](handle).decode(): handle for handle in handles if handle}


def add_rpc_servers(endpoints: tuple[str, ...]) -> None:
    """Make the devices of RPC servers known; llama.cpp then uses them like GPUs of its own.

    Raises:
        InvalidSettingError: this build has no RPC back end, or no such server answers. ggml would abort.
    """
    if not endpoints:
        return
    ask = _functions()
    back_end = ask["reg_by_name"](b"RPC")
    address = back_end and ask["reg_get_proc_address"](back_end, b"ggml_backend_rpc_add_server")
    if not address:
        raise InvalidSettingError(
            "rpc",
            "needs ggml's RPC back end, which this build of llama.cpp does not have",
            hint="build it with `CMAKE_ARGS=-DGGML_RPC=on make setup`",
        )
    add_server = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_char_p)(address)
    for endpoint in endpoints:
        check_rpc_server(endpoint)
        registered = add_server(endpoint.encode())
        if not registered:
            raise InvalidSettingError("rpc", f"names `{endpoint}`, which offers no device")
        ask["register"](registered)


def check_rpc_server(endpoint: str) -> None:
    """Say hello as ggml does, and hang up.

    Raises:
        InvalidSettingError: nothing listens there, or something that is no RPC server of this version.
    """
    hello = struct.pack("<BQ", _HELLO, _CAPABILITIES_BYTES) + bytes(_CAPABILITIES_BYTES)
    answer_bytes = 8 + 4 + _CAPABILITIES_BYTES
    try:
        with socket.create_connection(parse_endpoint(endpoint), timeout=_RPC_SECONDS) as connection:
            connection.sendall(hello)
            with connection.makefile("rb") as stream:
                answer = stream.read(answer_bytes)
    except OSError as error:
        raise InvalidSettingError(
            "rpc",
            f"names `{endpoint}`, which does not answer: {error}",
            hint="start `ggml-rpc-server` there, on a network that you trust",
        ) from error
    if len(answer) < answer_bytes or struct.unpack_from("<Q", answer)[0] != answer_bytes - 8:
        raise InvalidSettingError("rpc", f"names `{endpoint}`, which is no RPC server of ggml")
    if answer[8] != RPC_VERSION:
        raise InvalidSettingError(
            "rpc",
            f"names `{endpoint}`, which speaks version {answer[8]} of the protocol; here it is {RPC_VERSION}",
            hint="use a `ggml-rpc-server` of the same llama.cpp",
        )


def _handles() -> list[int]:
    ask = _functions()
    return [ask["dev_get"](number) for number in range(ask["dev_count"]())]
