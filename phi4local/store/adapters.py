"""Adapters that have a name: trained here, or taken in from a file."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from phi4local.errors import AdapterError, FileWriteError
from phi4local.files import new_file
from phi4local.store import home
from phi4local.store.paths import safe_path

FILE = "adapter.gguf"
_FACTS = "adapter.json"
_PEFT = ("adapter_config.json", "adapter_model.safetensors")


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedAdapter:
    """An adapter in the store.

    Attributes:
        name: for `--adapter NAME`, and after `+` in a server's model name.
        base: the model that it was trained on, as it was named then.
        made: when, in seconds since 1970.
        folder: holds `adapter.gguf`, and the files of PEFT where they are known.
    """

    name: str
    base: str
    made: float
    folder: Path

    @property
    def file(self) -> Path:
        """The GGUF file."""
        return self.folder / FILE

    @property
    def size_bytes(self) -> int:
        """What it takes on the disk."""
        return sum(path.stat().st_size for path in self.folder.iterdir())


def add(name: str, gguf: Path, peft: Path | None = None, *, base: str) -> NamedAdapter:
    """Copy an adapter into the store, in place of one with the same name.

    Args:
        name: letters, digits, `.`, `-` and `_`.
        gguf: its file.
        peft: the folder that it was made from, which merging takes.
        base: the model that it was trained on.

    Example: `add("nova", Path("output/adapter.gguf"), base="phi-4")`.

    Raises:
        AdapterError: the name cannot be one.
        FileWriteError: the disk is full, or the store cannot be written.
    """
    folder = _folder(name)
    fresh = folder.with_name(f".{folder.name}.new")
    try:
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        shutil.copyfile(gguf, fresh / FILE)
        for part in _PEFT if peft is not None else ():
            shutil.copyfile(Path(str(peft), part), fresh / part)
        facts = {"base": base, "made": time.time()}
        with new_file(fresh / _FACTS) as file:
            file.write(json.dumps(facts).encode())
        shutil.rmtree(folder, ignore_errors=True)
        fresh.replace(folder)
    except OSError as error:
        shutil.rmtree(fresh, ignore_errors=True)
        raise FileWriteError(folder, (error.strerror or str(error)).lower(), hint=home.HOME_HINT) from error
    return _read(folder)


def check_name(name: str) -> None:
    """Find out before hours of work whether an adapter can have a name.

    Raises:
        AdapterError: it cannot.
    """
    _folder(name)


def find(name: str) -> NamedAdapter | None:
    """Return the adapter with a name, or `None`; what is no name at all is nobody's.

    Example: `find("nova").file`.
    """
    try:
        folder = _folder(name)
    except AdapterError:
        return None
    return _read(folder) if (folder / FILE).is_file() else None


def named() -> list[NamedAdapter]:
    """Return all of them, by name."""
    return [_read(path.parent) for path in sorted(_home().glob(f"[!.]*/{FILE}"))]


def remove(name: str) -> int:
    """Delete an adapter and return the bytes that it took.

    Raises:
        AdapterError: there is none with this name.
        FileWriteError: it cannot be deleted.
    """
    found = find(name)
    if found is None:
        raise AdapterError(name, "is no adapter in the store", hint="`phi4local adapters list` names them")
    size = found.size_bytes
    try:
        shutil.rmtree(found.folder)
    except OSError as error:
        raise FileWriteError(found.folder, (error.strerror or str(error)).lower()) from error
    return size


def _home() -> Path:
    return home.home() / "adapters"


def _folder(name: str) -> Path:
    allowed = name and all(mark.isascii() and (mark.isalnum() or mark in "._-") for mark in name)
    if not allowed or name.startswith(".") or len(name) > 100:
        raise AdapterError(
            name, "cannot be an adapter's name", hint="use up to 100 letters, digits, `.`, `-` and `_`"
        )
    return _home() / safe_path(name)


def _read(folder: Path) -> NamedAdapter:
    try:
        facts: Any = json.loads((folder / _FACTS).read_text(encoding="utf-8"))
        base, made = str(facts["base"]), float(facts["made"])
    except (OSError, ValueError, KeyError, TypeError):
        base, made = "", 0.0  # the adapter is of use without them
    return NamedAdapter(name=folder.name, base=base, made=made, folder=folder)
