"""Ollama's `options` → settings. Each is done, reported, or refused by its name; none is dropped."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from phi4local.errors import InvalidSettingError, UnsupportedFieldError
from phi4local.server.task import SEEDS
from phi4local.settings import STRUCTURE_SETTINGS, SamplingSettings
from phi4local.settings_base import require, require_whole
from phi4local.store import parameters

if TYPE_CHECKING:
    from collections.abc import Mapping

FLAGS = (
    *("use_mmap", "use_mlock", "numa", "low_vram", "penalize_newline"),
    *("f16_kv", "logits_all", "vocab_only", "embedding_only"),
)
"""Switches of llama.cpp that change no answer; reported."""
COUNTS = ("num_gpu", "main_gpu", "num_thread", "num_batch", "num_keep")
"""How a model is loaded and read is decided when the server starts; reported."""
OWN = tuple(
    field.name for field in fields(SamplingSettings) if field.name not in (*STRUCTURE_SETTINGS, "logprobs")
)
"""Fields of `SamplingSettings`, by their own names; `format` and `logprobs` are no options."""
KNOWN = (*parameters.SAMPLING, parameters.MOST_TOKENS, "num_ctx", "tfs_z", *FLAGS, *COUNTS, *OWN)
MOST_RECENT = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """What a request's options say.

    Attributes:
        sampling: how tokens are chosen.
        max_tokens: longest answer; 0 for as long as the context allows, `None` for the model's own limit.
        context_tokens: `num_ctx`, which the loaded model has to have.
        whole_context_is_recent: `repeat_last_n` is -1.
        without_effect: options that were sent and change nothing here.
    """

    sampling: SamplingSettings
    max_tokens: int | None = None
    context_tokens: int | None = None
    whole_context_is_recent: bool = False
    without_effect: tuple[str, ...] = ()

    def sampling_for(self, context_tokens: int) -> SamplingSettings:
        """Return the settings for a model that has room for so many tokens."""
        if not self.whole_context_is_recent:
            return self.sampling
        return replace(self.sampling, penalty_last_tokens=min(context_tokens, MOST_RECENT))

    def max_tokens_for(self, context_tokens: int) -> int | None:
        """Return the longest answer of such a model."""
        return context_tokens if self.max_tokens == 0 else self.max_tokens

    def require_context(self, context_tokens: int) -> None:
        """Refuse a context that the model was not loaded with.

        Raises:
            UnsupportedFieldError: it has less room; cutting the conversation off would be the alternative.
        """
        if self.context_tokens is not None and self.context_tokens > context_tokens:
            raise UnsupportedFieldError(
                "options.num_ctx",
                f"is {self.context_tokens:,}; the model is loaded with {context_tokens:,}",
                hint=f"start the server with `--context {self.context_tokens}`, or leave it out",
            )


def chosen(options: Mapping[str, Any] | None, **more: Any) -> Chosen:  # noqa: ANN401 - fields of SamplingSettings
    """Return what options say, and `more` settings of the request.

    Example: `chosen({"repeat_last_n": 32, "num_batch": 512}).sampling.penalty_last_tokens` is 32, and its
    `without_effect` is `("options.num_batch",)`.

    Raises:
        UnsupportedFieldError: an option that does not exist, or a value that it cannot have.
        InvalidSettingError: one of `more` that cannot be.
    """
    given = {name: value for name, value in (options or {}).items() if value is not None}
    settings: dict[str, Any] = {}
    for name, value in given.items():
        settings.update(_setting(name, value))
    context_tokens, most_tokens = given.get("num_ctx"), given.get(parameters.MOST_TOKENS)
    silent = [name for name in given if name in (*FLAGS, *COUNTS, "tfs_z", "num_ctx")]
    return Chosen(
        sampling=SamplingSettings.from_mapping({**settings, **more}),
        max_tokens=None if most_tokens is None else max(0, most_tokens),
        context_tokens=context_tokens,
        whole_context_is_recent=given.get("repeat_last_n") == -1,
        without_effect=tuple(f"options.{name}" for name in silent),
    )


def _setting(name: str, value: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    """Return the field of `SamplingSettings` that an option sets; nothing for those that set none.

    Raises:
        UnsupportedFieldError: no such option, or a value that it cannot have.
    """
    place = f"options.{name}"
    if name not in KNOWN:
        near = difflib.get_close_matches(name, KNOWN, n=3)
        hint = f"did you mean {', '.join(near)}?" if near else None
        raise UnsupportedFieldError(f"options.{name[:40]}", "is no option", hint=hint)
    if name in FLAGS:
        if not isinstance(value, bool):
            raise UnsupportedFieldError(place, f"is {_shown(value)}; it must be true or false")
        return {}
    field = parameters.SAMPLING.get(name, name)
    try:
        if name in _LEAST_COUNTS:
            require_whole(name, value, low=_LEAST_COUNTS[name], high=_MOST_COUNT)
        if name == "tfs_z":
            require(name, value, low=0)  # llama.cpp has no such sampler any more
        if name in _SETS_NOTHING:
            return {}
        made = SamplingSettings.from_mapping({field: _as_here(name, value)})
    except InvalidSettingError as error:
        problem = str(error).partition("` ")[2]
        raise UnsupportedFieldError(place, problem, hint="docs/serve.md lists what is known") from error
    return {field: getattr(made, field)}


_MOST_COUNT = 2**63
_LEAST_COUNTS = {
    **dict.fromkeys(COUNTS, -1),
    "num_ctx": 1,
    parameters.MOST_TOKENS: -2,
    "seed": -_MOST_COUNT,
    "top_k": -1,
    "repeat_last_n": -1,
}
"""The smallest value of whole numbers that mean something else here than in `SamplingSettings`."""
_SETS_NOTHING = (*COUNTS, "num_ctx", parameters.MOST_TOKENS, "tfs_z")


def _as_here(name: str, value: Any) -> Any:  # noqa: ANN401 - JSON
    """Return a value in our terms: below 0 is any seed, every token, the whole context."""
    if name == "seed":
        return None if value < 0 else value % SEEDS
    if name == "repeat_last_n" and value == -1:
        return None
    if name == "top_k":
        return max(0, value)
    if name in parameters.LISTS:
        return [value] if isinstance(value, str) else value
    return value


def _shown(value: object) -> str:
    return repr(value)[:40]
