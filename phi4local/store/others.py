"""Where other programs keep models on this machine: folders only, nothing is opened.

Sources: envconfig/config.go of ollama fb307609; huggingface_hub 2.4.0 (constants.py, file_download.py);
common/download.cpp and common/hf-cache.cpp of llama.cpp; modelscope_hub 0.5.1 (config.py); LM Studio's
documentation of its folders.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from phi4local.store.home import models_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

OLLAMA, HUGGINGFACE, LLAMA_CPP = "Ollama", "Hugging Face", "llama.cpp"
LM_STUDIO, MODELSCOPE = "LM Studio", "ModelScope"
_SMALL_FILE_BYTES = 2**20


def stores() -> Iterator[tuple[str, Path]]:
    """Yield the owner and the folder of every other store on this machine, each folder once."""
    seen = {_real(models_folder())}
    for owner, folder in _candidates():
        real = _real(folder)
        if real not in seen and os.path.isdir(real):  # noqa: PTH112 - answers False where pathlib raises
            seen.add(real)
            yield owner, folder


def _candidates() -> Iterator[tuple[str, Path]]:
    home = _home()
    yield from ((OLLAMA, folder) for folder in _ollama(home))
    yield from ((HUGGINGFACE, folder) for folder in _huggingface(home))
    yield from ((LLAMA_CPP, folder) for folder in _llama_cpp(home))
    yield from ((LM_STUDIO, folder) for folder in _lm_studio(home))
    yield from ((MODELSCOPE, folder) for folder in _modelscope(home))


def _ollama(home: Path) -> Iterator[Path]:
    chosen = _variable("OLLAMA_MODELS")
    if chosen:
        yield chosen
    yield home / ".ollama" / "models"
    yield Path("/usr/share/ollama/.ollama/models")
    yield Path("/var/lib/ollama/.ollama/models")


def _huggingface(home: Path) -> Iterator[Path]:
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        chosen = _variable(name)
        if chosen:
            yield chosen
    hf_home = _variable("HF_HOME")
    yield (hf_home or (_variable("XDG_CACHE_HOME") or home / ".cache") / "huggingface") / "hub"


def _llama_cpp(home: Path) -> Iterator[Path]:
    chosen = _variable("LLAMA_CACHE")
    if chosen:
        yield chosen
    yield (_variable("XDG_CACHE_HOME") or home / ".cache") / "llama.cpp"
    if sys.platform == "darwin":
        yield home / "Library" / "Caches" / "llama.cpp"
    local = _variable("LOCALAPPDATA")
    if local:
        yield local / "llama.cpp"


def _lm_studio(home: Path) -> Iterator[Path]:
    pointed = _first_line(home / ".lmstudio-home-pointer")
    root = Path(pointed) if pointed else home / ".lmstudio"
    chosen = _text_in_json(root / "settings.json", "downloadsFolder")
    if chosen:
        yield Path(chosen)
    yield root / "models"
    yield home / ".cache" / "lm-studio" / "models"


def _modelscope(home: Path) -> Iterator[Path]:
    root = _variable("MODELSCOPE_CACHE") or home / ".cache" / "modelscope"
    yield root / "models"
    yield root / "hub" / "models"
    yield root / "hub"


def _home() -> Path:
    return Path(os.path.expanduser("~"))  # noqa: PTH111 - Path.home() raises where there is none


def _variable(name: str) -> Path | None:
    """Return the folder in a variable, without the quotes and spaces that people leave around it."""
    text = os.environ.get(name, "").strip().strip("\"'")
    return Path(os.path.expanduser(text)) if text else None  # noqa: PTH111


def _first_line(path: Path) -> str:
    return (_read(path).splitlines() or [""])[0].strip()


def _text_in_json(path: Path, key: str) -> str:
    try:
        value = json.loads(_read(path) or "{}").get(key)
    except (ValueError, AttributeError, RecursionError):
        return ""
    return value if isinstance(value, str) else ""


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_SMALL_FILE_BYTES).decode("utf-8", errors="replace")
    except OSError:
        return ""


def _real(path: Path) -> str:
    return os.path.realpath(path)
