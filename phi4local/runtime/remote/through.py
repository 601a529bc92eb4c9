"""Whether a server that runs here has the model of a command in memory, and can do what is asked for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from phi4local.errors import Phi4LocalError
from phi4local.runtime import conversion, resolve
from phi4local.runtime.remote.own_model import OwnModel
from phi4local.runtime.remote.records import records
from phi4local.runtime.remote.running import running_servers
from phi4local.store import adapters as named_adapters

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from phi4local.runtime.remote.running import RunningServer, ServedModel
    from phi4local.runtime.resolve import Source
    from phi4local.settings import LoadSettings

WITHOUT_MEANING = frozenset({"context_tokens", "parallel", "cache_tokens", "queue_limit", "force"})
"""Load settings that a server has decided, and that change no answer; the context is looked at by itself."""
_OPTIONS = {"kv_type": "kv", "draft_model": "draft-model", "tensor_overrides": "tensor-override"}
_LATEST_CHANGE_SECONDS = 2.0
"""Clocks of disks and of processes differ."""


def through_server(
    name: str | None, settings: LoadSettings, adapters: Mapping[str, float], *, keeps_state: bool = False
) -> OwnModel | str | None:
    """Return the model on a running server; or why the server that has it will not do; or `None`.

    Args:
        name: of the model, as every command takes it.
        settings: how it would be loaded here.
        adapters: LoRA adapters with their strengths.
        keeps_state: the model's cache will be written to a file.

    Example: `through_server("phi-4", LoadSettings(kv_type="q8_0"), {})` is "the server at http://127.0.0.1:8004
    has another `--kv`", when it is so.
    """
    if not any(True for _ in records()):
        return None  # nobody has to wait for the file to be looked at
    file = _file_of(name)
    if file is None:
        return None
    reason = None
    for server in running_servers():
        for served in server.state.models if server.state else ():
            if not _is(file, served):
                continue
            against = _against(server, served, settings, adapters)
            if keeps_state:
                against = "cannot do `--keep-state`"
            if against is None:
                return _model(server, served, settings, adapters)
            reason = f"the server at {server.address} {against}"
    return reason


def _model(
    server: RunningServer, served: ServedModel, settings: LoadSettings, adapters: Mapping[str, float]
) -> OwnModel:
    connection = server.connection().at("/v1")
    return OwnModel(connection, served, adapters=adapters, context_tokens=settings.context_tokens)


def _file_of(name: str | None) -> tuple[Path, float] | None:
    """Return the file that would be opened, and when it became what it is."""
    try:
        return _file(_source_of(name or resolve.default_model()))
    except (Phi4LocalError, OSError):
        return None  # whoever opens the model says what is wrong


def _source_of(name: str) -> Source:
    try:
        return resolve.find(name)
    except Phi4LocalError:  # a name of a hub, of something that may be here
        from phi4local.runtime.absent import find_or_pull

        return find_or_pull(name, None)


def _file(source: Source) -> tuple[Path, float] | None:
    kept = source.installed
    if kept is None and source.gguf is None and source.checkpoint is not None:
        kept = conversion.found(source)
    if kept is not None:
        return _plain(kept.path), kept.installed_seconds
    if source.gguf is None:
        return None
    return _plain(source.gguf), source.gguf.stat().st_mtime


def _plain(path: Path) -> Path:
    """Return a path without links on the way; the file's own name stays, as models of one file have two."""
    return Path(os.path.realpath(path.parent)) / path.name


def _is(file: tuple[Path, float], served: ServedModel) -> bool:
    path, changed_seconds = file
    if _plain(Path(served.path)) != path or changed_seconds > served.loaded_seconds + _LATEST_CHANGE_SECONDS:
        return False
    return path.exists() and path.stat().st_size == served.file_bytes


def _against(
    server: RunningServer, served: ServedModel, settings: LoadSettings, adapters: Mapping[str, float]
) -> str | None:
    """Return why a server will not do, or `None`. Example: "has another `--kv`"."""
    if server.state is not None and server.state.guarded:
        return "checks by a guard"
    most = min(settings.context_tokens or 0, served.trained_context_tokens)
    if most > served.context_tokens:
        return f"has a context of {served.context_tokens:,} tokens"
    other = next(_other_settings(settings, served), None)
    if other is not None:
        return f"has another `--{other}`"
    missing = next((one for one in adapters if not _has_adapter(served, one)), None)
    return None if missing is None else f"does not have the adapter {missing}"


def _other_settings(settings: LoadSettings, served: ServedModel) -> Iterator[str]:
    for name, value in settings.to_mapping().items():
        if value is None or name in WITHOUT_MEANING:
            continue
        if name == "require_gpu" and served.settings.get("gpu_layers"):
            continue
        there = served.settings.get(name)
        if (list(value) if isinstance(value, tuple) else value) != there:
            yield _OPTIONS.get(name, name.replace("_", "-"))


def _has_adapter(served: ServedModel, name: str) -> bool:
    """Return whether a server has the adapter of this name of the store, as it is now; it takes no files."""
    named = None if Path(name).exists() else named_adapters.find(name)
    if named is None or name not in served.adapters:
        return False
    return named.file.stat().st_mtime <= served.loaded_seconds + _LATEST_CHANGE_SECONDS
