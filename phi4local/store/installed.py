"""Models on this machine, found again by what they were made from.

Each model is two files, `NAME-QUANTIZATION-FINGERPRINT.gguf` and the same name with `.json`. The record is
written last; a GGUF without one is not installed.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from phi4local import files
from phi4local.store.home import models_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_FINGERPRINT_DIGITS = 16
_RECORD_BYTES = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class InstalledModel:
    """One GGUF file that is ready to run.

    Attributes:
        name: the manifest's name, or the checkpoint folder's.
        quantization: such as `Q4_K_M`.
        source: where it came from: a checkpoint folder, or `hf.co/REPOSITORY/FILE`.
        fingerprint: of the checkpoint it was converted from, or the SHA-256 of the file that was pulled.
        path: the GGUF file.
        size_bytes: its size, compared with the file's when it is looked up.
    """

    name: str
    quantization: str
    source: str
    fingerprint: str
    path: Path
    size_bytes: int


def destination(name: str, *, quantization: str, fingerprint: str) -> Path:
    """Return where a model goes; odd characters of the name become `-`, so no name leaves the folder.

    Example: ("phi4-nano", "Q8_0", "3fa9…") → `~/.phi4local/models/phi4-nano-Q8_0-3fa9….gguf`.
    """
    safe = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-")[:80] or "model"
    return models_folder() / f"{safe}-{quantization}-{fingerprint[:_FINGERPRINT_DIGITS]}.gguf"


def remember(model: InstalledModel) -> None:
    """Write the record of a model whose file is complete.

    Raises:
        FileWriteError: the operating system refused.
    """
    record = asdict(model) | {"path": model.path.name}
    with files.new_file(model.path.with_suffix(".json"), overwrite=True) as file:
        file.write(json.dumps(record, indent=1).encode())


def find(*, fingerprint: str, quantization: str) -> InstalledModel | None:
    """Return the model that was made of this, if its file is still what was written."""
    for model in installed():
        if (model.fingerprint, model.quantization) == (fingerprint, quantization):
            return model
    return None


def installed() -> tuple[InstalledModel, ...]:
    """Return all models, newest first. Records without their file, or of another size, are left out."""
    found = list(_records())
    return tuple(model for _, model in sorted(found, key=lambda pair: pair[0], reverse=True))


def _records() -> Iterator[tuple[float, InstalledModel]]:
    for record in models_folder().glob("*.json"):
        try:
            with record.open("rb") as file:
                data = json.loads(file.read(_RECORD_BYTES))
            model = InstalledModel(
                name=str(data["name"]),
                quantization=str(data["quantization"]),
                source=str(data["source"]),
                fingerprint=str(data["fingerprint"]),
                path=record.with_suffix(".gguf"),
                size_bytes=int(data["size_bytes"]),
            )
            if model.path.stat().st_size == model.size_bytes:
                yield record.stat().st_mtime, model
        except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
            continue  # a damaged record is no record: the model is made again
