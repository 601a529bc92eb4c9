"""Models converted on this machine: made once, found again by what they were made from.

Each model is two files, `NAME-QUANTIZATION-FINGERPRINT.gguf` and the same name with `.json`. The record is
written last; a GGUF without one is not installed.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from phi4local import files
from phi4local.store.home import converted_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

_FINGERPRINT_DIGITS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """One model that was made here.

    Attributes:
        name: the manifest's name, or the checkpoint folder's.
        quantization: what was made, such as `Q4_K_M`.
        source: the checkpoint folder.
        fingerprint: of the checkpoint, from `phi4local.convert.fingerprint`.
        path: the GGUF file.
        size_bytes: its size, compared with the file's when it is looked up.
    """

    name: str
    quantization: str
    source: Path
    fingerprint: str
    path: Path
    size_bytes: int


def destination(name: str, *, quantization: str, fingerprint: str) -> Path:
    """Return where a conversion goes; odd characters of the name become `-`, so no name leaves the folder.

    Example: ("phi4-nano", "Q8_0", "3fa9…") → `…/models/converted/phi4-nano-Q8_0-3fa9….gguf`.
    """
    safe = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-")[:80] or "model"
    return converted_folder() / f"{safe}-{quantization}-{fingerprint[:_FINGERPRINT_DIGITS]}.gguf"


def remember(conversion: Conversion) -> None:
    """Write the record of a conversion whose file is complete.

    Raises:
        FileWriteError: the operating system refused.
    """
    record = {k: str(v) if isinstance(v, Path) else v for k, v in asdict(conversion).items()}
    with files.new_file(conversion.path.with_suffix(".json"), overwrite=True) as file:
        file.write(json.dumps(record, indent=1).encode())


def find(fingerprint: str, quantization: str) -> Conversion | None:
    """Return the conversion of this checkpoint, if its file is still what was written."""
    for conversion in installed():
        if (conversion.fingerprint, conversion.quantization) == (fingerprint, quantization):
            return conversion
    return None


def installed() -> tuple[Conversion, ...]:
    """Return all conversions, newest first. Records without their file, or of another size, are left out."""
    found = [(record.stat().st_mtime, conversion) for record, conversion in _records()]
    return tuple(conversion for _, conversion in sorted(found, key=lambda pair: pair[0], reverse=True))


def _records() -> Iterator[tuple[Path, Conversion]]:
    for record in converted_folder().glob("*.json"):
        try:
            data = json.loads(record.read_bytes())
            conversion = Conversion(
                name=str(data["name"]),
                quantization=str(data["quantization"]),
                source=Path(data["source"]),
                fingerprint=str(data["fingerprint"]),
                path=record.with_suffix(".gguf"),
                size_bytes=int(data["size_bytes"]),
            )
            if conversion.path.stat().st_size == conversion.size_bytes:
                yield record, conversion
        except (OSError, ValueError, KeyError, TypeError):
            continue  # a damaged record is no record: the model is made again
