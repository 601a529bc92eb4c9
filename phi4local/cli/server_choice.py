"""Whether a command uses a server: one that runs here with the same model, one that is named, or none."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from urllib.parse import quote

import typer

from phi4local.cli import render
from phi4local.cli.opening import open_with_progress
from phi4local.cli.options import adapter_scales

if TYPE_CHECKING:
    from phi4local.runtime.language_model import LanguageModel
    from phi4local.settings import LoadSettings

VARIABLE = "PHI4LOCAL_SERVER"
AUTO, OFF = "auto", "off"
_OFF_WORDS, _AUTO_WORDS = ("0", "off", "no", "false", "none"), ("", "1", "auto", "on", "yes", "true")


def server_choice(server: str | None, *, none: bool) -> str:
    """Return `AUTO`, `OFF` or a server's address: of the command line, else of the environment.

    Raises:
        typer.BadParameter: both at once, or no address.
    """
    from phi4local.runtime.remote.address import is_address

    if none and server is not None:
        raise typer.BadParameter("`--server` and `--no-server` exclude each other")
    word = OFF if none else server
    where = "`--server`"
    if word is None:
        word, where = os.environ.get(VARIABLE, "").strip(), VARIABLE
        word = AUTO if word.lower() in _AUTO_WORDS else OFF if word.lower() in _OFF_WORDS else word
    if word not in (AUTO, OFF) and not is_address(word):
        raise typer.BadParameter(f"{where} must be an address such as http://127.0.0.1:8004")
    return word


def named_server(choice: str) -> str | None:
    """Return the address that a person named, or `None`."""
    return None if choice in (AUTO, OFF) else choice


def open_through(
    choice: str,
    name: str | None,
    settings: LoadSettings,
    adapters: list[str] | None = None,
    *,
    yes: bool = False,
    keeps_state: bool = False,
) -> LanguageModel:
    """Return a running model: on a server where that is as good as here, and one line says so.

    Args:
        choice: from `server_choice`.
        name: of the model, as every command takes it.
        settings: how to load it here.
        adapters: `ADAPTER[:SCALE]` texts.
        yes: pull a model that is not here without asking.
        keeps_state: the model's cache will be written to a file.
    """
    from phi4local.cli.run_output import on_a_server

    if on_a_server(name):
        return _opened_there(str(name), None, settings, adapters)
    if (there := named_server(choice)) is not None:
        return _opened_there(there, name, settings, adapters)
    if choice == AUTO:
        from phi4local.runtime.remote.through import through_server

        found = through_server(name, settings, adapter_scales(adapters), keeps_state=keeps_state)
        if found is not None and not isinstance(found, str):
            render.notice(f"using the server at {found.address}")
            return found
        if found is not None:
            render.notice(f"{found}: loading the model here")
    return open_with_progress(name, settings, adapters, yes=yes)


def _opened_there(
    server: str, name: str | None, settings: LoadSettings, adapters: list[str] | None
) -> LanguageModel:
    address = server if name is None else f"{server.partition('#')[0]}#{quote(name, safe='+:/')}"
    scales = adapter_scales(adapters)
    if not scales:
        return open_with_progress(address, settings)
    from phi4local.runtime.load import refuse_settings
    from phi4local.runtime.remote.open import open_server

    refuse_settings(settings)
    model = open_server(address, adapters=scales)
    for line in model.notices:
        render.notice(f"note: {line}")
    return model
