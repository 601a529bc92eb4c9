"""The two sets of settings that everything is built from: how to load a model, how to choose tokens.

An unset field is `None`: the manifest or the plan decides. The resolved copy is what the engine gets and
what `--json` shows. CLI, server, Python API and benchmarks build these two and nothing else.
"""

from __future__ import annotations

import difflib
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Self

from phi4local.errors import InvalidSettingError

if TYPE_CHECKING:
    from collections.abc import Mapping

KV_TYPES = ("f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0")
"""Element types that llama.cpp's KV cache can have."""


class _Settings:
    """What both settings can do: build from a mapping, and fill unset fields."""

    __slots__ = ()

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Self:
        """Build settings from names and values, as TOML and JSON hold them.

        Example: `SamplingSettings.from_mapping({"temperature": 0})`.

        Raises:
            InvalidSettingError: a name that is no field; the hint lists near names.
        """
        known = [field.name for field in fields(cls)]  # type: ignore[arg-type]
        for name in values:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=2) or known
                raise InvalidSettingError(name, "does not exist", hint=f"known: {', '.join(near)}")
        return cls(**{name: tuple(v) if isinstance(v, list) else v for name, v in values.items()})

    def filled_from(self, defaults: Self) -> Self:
        """Return a copy whose unset fields come from `defaults`.

        Example: `SamplingSettings(top_k=5).filled_from(SamplingSettings(top_k=40, temperature=0.8))`
        has `top_k` 5 and `temperature` 0.8.
        """
        unset = {name: getattr(defaults, name) for name, v in self.to_mapping().items() if v is None}
        return replace(self, **unset)  # type: ignore[type-var]

    def to_mapping(self) -> dict[str, Any]:
        """Return the fields by name, for JSON."""
        return asdict(self)  # type: ignore[call-overload, no-any-return]


def _require(setting: str, value: float | None, *, low: float, high: float = float("inf")) -> None:
    if value is None:
        return
    if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:
        wanted = f"at least {low:,}" if high == float("inf") else f"between {low:,} and {high:,}"
        raise InvalidSettingError(setting, f"is {value!r}; it must be {wanted}")


def _require_whole(setting: str, value: int | None, *, low: int, high: float = float("inf")) -> None:
    if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
        raise InvalidSettingError(setting, f"is {value!r}; it must be a whole number")
    _require(setting, value, low=low, high=high)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadSettings(_Settings):
    """How a model is put into memory. `None` lets the model and the machine decide.

    Attributes:
        context_tokens: room for prompt and answer together, in tokens; at least 16.
        gpu_layers: layers kept on the GPU; 0 keeps all on the CPU, a large number all on the GPU.
        kv_type: element type of the KV cache, one of `KV_TYPES`.
        threads: CPU threads that compute.
        flash_attention: use the fused attention kernel.
        parallel: sequences that can be in work at the same time.

    Example: `LoadSettings(context_tokens=4096, kv_type="q8_0")`.

    Raises:
        InvalidSettingError: a value outside its range.
    """

    context_tokens: int | None = None
    gpu_layers: int | None = None
    kv_type: str | None = None
    threads: int | None = None
    flash_attention: bool | None = None
    parallel: int | None = None

    def __post_init__(self) -> None:
        _require_whole("context_tokens", self.context_tokens, low=16, high=2**31 - 1)
        _require_whole("gpu_layers", self.gpu_layers, low=0, high=2**31 - 1)
        _require_whole("threads", self.threads, low=1, high=512)
        _require_whole("parallel", self.parallel, low=1, high=256)
        if self.kv_type is not None and self.kv_type not in KV_TYPES:
            raise InvalidSettingError(
                "kv_type", f"is {self.kv_type!r}; it must be one of {', '.join(KV_TYPES)}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingSettings(_Settings):
    """How the next token is chosen from the logits. `None` takes the manifest's value.

    Attributes:
        temperature: 0 takes the most likely token every time; higher is more varied.
        top_k: keep the k most likely tokens; 0 keeps all.
        top_p: keep the smallest set whose probabilities sum to p (nucleus sampling).
        min_p: drop tokens less likely than p times the most likely one.
        repeat_penalty: divide the logits of recent tokens by this; 1 is off.
        frequency_penalty: subtract this for every recent occurrence of a token; 0 is off.
        presence_penalty: subtract this once for every token that occurred recently; 0 is off.
        penalty_last_tokens: how many tokens count as recent.
        seed: number that makes random choices repeatable.
        stop: texts that end the answer; they are not part of it.

    Example: `SamplingSettings(temperature=0.7, top_p=0.95, seed=1)`.

    Raises:
        InvalidSettingError: a value outside its range.
    """

    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    repeat_penalty: float | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    penalty_last_tokens: int | None = None
    seed: int | None = None
    stop: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        _require("temperature", self.temperature, low=0, high=100)
        _require_whole("top_k", self.top_k, low=0, high=2**31 - 1)
        _require("top_p", self.top_p, low=0, high=1)
        _require("min_p", self.min_p, low=0, high=1)
        _require("repeat_penalty", self.repeat_penalty, low=0.01, high=100)
        _require("frequency_penalty", self.frequency_penalty, low=-100, high=100)
        _require("presence_penalty", self.presence_penalty, low=-100, high=100)
        _require_whole("penalty_last_tokens", self.penalty_last_tokens, low=0, high=2**20)
        _require_whole("seed", self.seed, low=0, high=2**32 - 1)
        stop = () if self.stop is None else self.stop
        if not isinstance(stop, tuple) or not all(isinstance(text, str) and text for text in stop):
            raise InvalidSettingError("stop", f"is {self.stop!r}; it must be texts that are not empty")


DEFAULT_SAMPLING = SamplingSettings(
    temperature=0.8,
    top_k=40,
    top_p=0.95,
    min_p=0.05,
    repeat_penalty=1.0,
    frequency_penalty=0.0,
    presence_penalty=0.0,
    penalty_last_tokens=64,
    stop=(),
)
"""llama.cpp's own defaults (common/common.h, common_params_sampling); a manifest's values come first."""
