"""A name → a model that answers, on this machine or on a server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phi4local.errors import InvalidSettingError
from phi4local.runtime.names import is_link
from phi4local.runtime.remote.address import is_address
from phi4local.settings import LoadSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from phi4local.runtime.absent import Consent
    from phi4local.runtime.model import Model
    from phi4local.runtime.progress import Progress
    from phi4local.runtime.remote.model import RemoteModel


def load_model(
    name: str | None = None,
    settings: LoadSettings | None = None,
    *,
    adapters: Mapping[str, str | Path] | None = None,
    progress: Callable[[Progress], None] | None = None,
    api_key: str | None = None,
    consent: Consent | None = None,
) -> Model | RemoteModel:
    """Return a model: see `phi4local.runtime.open.open_model` and `open_server` in `remote.open`.

    Example: `load_model("phi4-nano")`, `load_model("http://127.0.0.1:8080")`.

    Raises:
        InvalidSettingError: settings for a server, or a key for a file.
    """
    if name is not None and is_address(name) and not is_link(name):
        refuse_settings(settings or LoadSettings())
        if adapters:
            raise InvalidSettingError(
                "adapters", "are files, which no server takes", hint="put #MODEL+ADAPTER behind the address"
            )
        from phi4local.runtime.remote.open import open_server

        return open_server(name, api_key=api_key)
    if api_key is not None:
        raise InvalidSettingError("api_key", "is for servers only", hint="leave it out")
    from phi4local.runtime.open import open_model

    return open_model(name, settings, adapters=adapters, progress=progress, consent=consent)


def refuse_settings(settings: LoadSettings) -> None:
    """Refuse load settings for a server that somebody else has started.

    Raises:
        InvalidSettingError: one is set.
    """
    for setting, value in settings.to_mapping().items():
        if value is not None:
            raise InvalidSettingError(
                setting, "has no meaning for a server", hint="leave it out; the server has its own"
            )
