"""Where weights and KV cache go: layers, single tensors, several GPUs, other machines. Plain values.

They are checked here as far as they can be without the library; `phi4local.native.placement` checks the rest
against the devices that are really there, before llama.cpp sees a value: it aborts on some wrong ones.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from phi4local.errors import InvalidSettingError

SPLIT_MODES = ("none", "layer", "row")
"""How GPUs share a model: one takes all, each takes whole layers, or each takes rows of every matrix.

llama.cpp's fourth, `tensor`, ends the process with Phi-4's joint query, key and value matrix
(ggml-backend-meta.cpp:605, "unsupported mul_mat split states", seen on two H100).
"""
MOST_DEVICES = 16
"""llama.cpp's own limit (ggml-backend.h, GGML_BACKEND_MAX_DEVICES; llama_max_devices)."""

LEAST_GPU_BYTES = 2**30
"""A GPU with less free memory is left alone when no layer goes there: prompts may take so much."""

_ONLY_PYTHON = re.compile(r"\(\?(?![:=!])|\\[AZ]|[*+?}]\+")


@dataclass(frozen=True, slots=True)
class TensorOverride:
    r"""Tensors whose name holds `pattern` go to the buffer type `buffer`.

    Example: `TensorOverride.parse(r"blk\.(2[0-9]|3[0-9])\.ffn_.*=CPU")` keeps the feed-forward weights of
    layers 20 to 39 in main memory.
    """

    pattern: str
    buffer: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `REGEX=BUFFER`.

        Raises:
            InvalidSettingError: no `=`, an empty side, or an expression that llama.cpp would not understand.
        """
        pattern, _, buffer = text.rpartition("=") if isinstance(text, str) else ("", "", "")
        if not pattern or not buffer:
            raise InvalidSettingError(
                "tensor_overrides",
                f"is {text!r}; it must be an expression, `=` and a buffer type",
                hint=r"for example `blk\.(2[0-9]|3[0-9])\.ffn_.*=CPU`",
            )
        problem = _expression_problem(pattern)
        if problem:
            raise InvalidSettingError(
                "tensor_overrides",
                f"has the expression {pattern!r}, which {problem}",
                hint="llama.cpp reads ECMAScript expressions: groups are `(…)`, `(?:…)`, `(?=…)` or `(?!…)`",
            )
        return cls(pattern, buffer)


def _expression_problem(pattern: str) -> str | None:
    try:
        re.compile(pattern)
    except re.error as error:
        return f"is no regular expression: {error}"
    return "only Python understands" if _ONLY_PYTHON.search(pattern) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where a model's weights go.

    Attributes:
        gpu_layers: layers on the GPU; the output counts as one more.
        overrides: tensors that go elsewhere; the first one that fits counts.
        split_mode: one of `SPLIT_MODES`.
        split: share of each device, in the devices' order; empty to divide by free memory.
        main_gpu: the device that takes everything with `split_mode` "none".
        rpc: `host:port` of ggml's RPC servers, whose devices come before this machine's.
    """

    gpu_layers: int = 0
    overrides: tuple[TensorOverride, ...] = ()
    split_mode: str = "layer"
    split: tuple[float, ...] = ()
    main_gpu: int | None = None
    rpc: tuple[str, ...] = ()


def parse_overrides(texts: tuple[str, ...] | None) -> tuple[TensorOverride, ...]:
    """Read overrides; none when the setting is unset.

    Raises:
        InvalidSettingError: one of them makes no sense, or it is no tuple of texts.
    """
    return tuple(map(TensorOverride.parse, _tuple("tensor_overrides", texts)))


def check_split_mode(split_mode: str | None) -> str:
    """Return how GPUs share the model: whole layers, unless it is set.

    Raises:
        InvalidSettingError: it is none of `SPLIT_MODES`.
    """
    if split_mode is None or split_mode in SPLIT_MODES:
        return split_mode or "layer"
    raise InvalidSettingError("split_mode", f"is {split_mode!r}; it must be one of {', '.join(SPLIT_MODES)}")


def check_shares(shares: tuple[float, ...] | None) -> tuple[float, ...]:
    """Return the share of each device; nothing when the setting is unset.

    Raises:
        InvalidSettingError: too many shares, one below zero, or nothing but zeros.
    """
    if shares is None:
        return ()
    numbers = [share for share in shares if isinstance(share, int | float) and not isinstance(share, bool)]
    fitting = len(numbers) == len(shares) and all(0 <= share < float("inf") for share in numbers)
    if not fitting or not any(numbers) or len(numbers) > MOST_DEVICES:
        raise InvalidSettingError(
            "tensor_split",
            f"is {shares!r}; it must be a share for each device, at most {MOST_DEVICES}, not all 0",
            hint="`3,1` gives three quarters to the first device",
        )
    return shares


def check_endpoints(texts: tuple[str, ...] | None) -> tuple[str, ...]:
    """Return the addresses of RPC servers; nothing when the setting is unset.

    Raises:
        InvalidSettingError: one is no `host:port`, or it is no tuple of texts.
    """
    endpoints = _tuple("rpc", texts)
    for endpoint in endpoints:
        parse_endpoint(endpoint)
    return endpoints


def parse_endpoint(text: str) -> tuple[str, int]:
    """Read `host:port`. Example: `"127.0.0.1:50052"` → `("127.0.0.1", 50052)`.

    Raises:
        InvalidSettingError: another form; ggml splits at the first colon, so no IPv6 address.
    """
    found = re.fullmatch(r"([\w.-]{1,253}):(\d{1,5})", text, re.ASCII) if isinstance(text, str) else None
    if not found or not 0 < int(found[2]) < 1 << 16:
        raise InvalidSettingError(
            "rpc", f"is {text!r}; it must be a host name and a port", hint="for example `192.168.0.7:50052`"
        )
    return found[1], int(found[2])


def _tuple(setting: str, value: tuple[str, ...] | None) -> tuple[str, ...]:
    if value is None or isinstance(value, tuple):
        return value or ()
    raise InvalidSettingError(setting, f"is {value!r}; it must be a tuple of texts")
