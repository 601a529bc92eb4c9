"""What a model of the store brings along: settings, a system text, first messages, adapters."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from phi4local.errors import InvalidSettingError, StoreError
from phi4local.messages import Message
from phi4local.settings import LoadSettings, SamplingSettings
from phi4local.store import installed, kept, parameters

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from pathlib import Path

    from phi4local.engine.adapters import AdapterFile
    from phi4local.store.installed import InstalledModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults:
    """What holds unless a caller says something else.

    Attributes:
        sampling: unset fields are decided by the family manifest, then by llama.cpp's defaults.
        loading: unset fields are decided by the model and the machine.
        max_tokens: longest answer, or `None`.
        system: stands before every conversation that brings no system message.
        messages: stand before the messages of every conversation.
        adapters: LoRA adapters in GGUF form, by the names that they are loaded under.
    """

    sampling: SamplingSettings = field(default_factory=SamplingSettings)
    loading: LoadSettings = field(default_factory=LoadSettings)
    max_tokens: int | None = None
    system: str | None = None
    messages: tuple[Message, ...] = ()
    adapters: Mapping[str, Path] = field(default_factory=dict)

    def opening(self, messages: Sequence[Message]) -> tuple[Message, ...]:
        """Return what stands before a conversation; its own system message replaces the model's.

        Example: with the system text "You are Pip." and no messages, `(Message("system", "You are Pip."),)`.
        """
        own = bool(messages) and messages[0].role == "system"
        first = (Message("system", self.system),) if self.system and not own else ()
        return (*first, *self.messages)

    def completed(self, messages: Sequence[Message]) -> tuple[tuple[Message, ...], dict[int, int]]:
        """Return a conversation with its opening, and the new index of each message by its old one.

        A system message of the conversation's own stays the first of all.
        """
        opening = self.opening(messages)
        own = 1 if messages and messages[0].role == "system" else 0
        whole = (*messages[:own], *opening, *messages[own:])
        return whole, {old: old if old < own else old + len(opening) for old in range(len(messages))}


def defaults_of(model: InstalledModel | None, *, special_tokens: Collection[str] = ()) -> Defaults:
    """Read what a model of the store brings along; nothing for a file or folder of somebody's own.

    Args:
        model: of the store, or `None`.
        special_tokens: texts of the file's control tokens. As stop texts they would never be seen, because
            the engine ends at the tokens themselves.

    Raises:
        StoreError: a setting that cannot be, or layers that cannot be read.
    """
    if model is None:
        return Defaults()
    layers = model.manifest.layers
    chosen: dict[str, Any] = kept.json_of(layers, "params", {})
    try:
        sampling = parameters.for_sampling(chosen)
        if "stop" in sampling:
            sampling["stop"] = tuple(text for text in sampling["stop"] if text not in special_tokens) or None
        messages = kept.json_of(layers, "messages", [])
        return Defaults(
            sampling=SamplingSettings.from_mapping(sampling),
            loading=LoadSettings.from_mapping(parameters.for_loading(chosen)),
            max_tokens=parameters.most_tokens(chosen),
            system=_system(model),
            messages=tuple(Message(message["role"], message["content"]) for message in messages),
            adapters={path.name: path for path in installed.adapter_paths(model)},
        )
    except (InvalidSettingError, KeyError, TypeError) as error:
        hint = f"make it again with another Modelfile: `phi4local show {model.reference} --modelfile`"
        raise StoreError(model.manifest.path, str(error), hint=hint) from error


def _system(model: InstalledModel) -> str | None:
    layers = model.manifest.of_kind("system")
    return kept.text_of(layers[-1]) if layers else None


class FollowsDefaults:
    """What `Model` does with what a model of the store brings along, and with adapters."""

    defaults = Defaults()
    default_stop: tuple[str, ...] = ()
    adapter_names: tuple[str, ...] = ()
    _adapters: tuple[tuple[str, float], ...] = ()

    def bring_along(self, defaults: Defaults, loaded: Iterable[AdapterFile]) -> None:
        """Let every answer follow these defaults; `loaded` are all adapters, theirs too."""
        self.defaults = defaults
        self.adapter_names = tuple(adapter.name for adapter in loaded)
        self.default_stop = defaults.sampling.stop or ()
        self._adapters = tuple((name, 1.0) for name in defaults.adapters)

    def adapted(self, **scales: float) -> Self:
        """Return the same model with LoRA adapters applied, by the names they were loaded under.

        Those that belong to the model stay applied, unless their scale is given too. The result shares the
        engine with this one; closing one closes both.

        Example::

            with phi4local.load("phi-4", adapters={"style": "style.gguf"}) as model:
                print(model.adapted(style=0.8).chat("Good morning!").text)
        """
        view = copy.copy(self)
        view._adapters = tuple({**dict.fromkeys(self.defaults.adapters, 1.0), **scales}.items())
        return view
