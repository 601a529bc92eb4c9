"""Where compiled kernels are kept, and which of them are there.

The folder's name holds a hash of everything that the machine code depends on: Numba itself stamps only the
file of a function, so an edited file that it calls would go unnoticed.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from phi4local import hardware

if TYPE_CHECKING:
    from collections.abc import Mapping

_SETTINGS = ("NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES", "NUMBA_OPT")


def cache_folder(environment: Mapping[str, str]) -> Path:
    """Return the folder of compiled kernels: below `PHI4LOCAL_CACHE`, or in the system's place for caches.

    Example: `~/.cache/phi4local/kernels` on Linux, `~/Library/Caches/phi4local/kernels` on macOS.
    """
    chosen = environment.get("PHI4LOCAL_CACHE")
    if chosen:
        return Path(chosen) / "kernels"
    usual = environment.get("XDG_CACHE_HOME") or "~/.cache"
    places = {"darwin": "~/Library/Caches", "win32": environment.get("LOCALAPPDATA", "~/AppData/Local")}
    return Path(places.get(sys.platform, usual)).expanduser() / "phi4local" / "kernels"


@functools.cache
def code_folder() -> Path:
    """Return the folder for this source, processor, Numba and Python; it need not be there."""
    return cache_folder(os.environ) / _fingerprint()


def writable_folder() -> Path | None:
    """Make `code_folder()` and return it, or `None` where nothing can be kept: then each process compiles."""
    folder = code_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError:
        return None


def is_compiled(family: str) -> bool:
    """Return whether the kernel of `family`, such as `iq4`, was compiled and kept where we may read it."""
    try:
        return (code_folder() / f"{family}.compiled").is_file()
    except OSError:
        return False


def remember_compiled(family: str) -> None:
    """Note that the kernel of `family` is in the cache; a cache that cannot be written stays as it is."""
    folder = writable_folder()
    if folder is not None:
        (folder / f"{family}.compiled").touch()


def forget() -> None:
    """Delete what is kept for this source, processor, Numba and Python: some of it is damaged."""
    shutil.rmtree(code_folder(), ignore_errors=True)


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _fingerprint() -> str:
    parts = [sys.version, str(hardware.describe()["processor"])]
    parts += [f"{name}={os.environ.get(name)}" for name in _SETTINGS]
    parts += [_version(package) for package in ("numba", "llvmlite")]
    digest = hashlib.sha256("\n".join(parts).encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
