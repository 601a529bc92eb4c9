"""Take over models from before there were manifests: `NAME-QUANTIZATION-DIGITS.gguf` and `.json`."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

from phi4local import catalog
from phi4local.errors import Phi4LocalError
from phi4local.store import blobs, locks, publish
from phi4local.store.home import models_folder
from phi4local.store.manifests import Origin
from phi4local.store.names import ModelName

if TYPE_CHECKING:
    from pathlib import Path

_RECORD_BYTES = 65_536


def take_over() -> None:
    """Move the files of older records into the store; what is damaged stays where it is, unused.

    Each file is hashed once, five seconds for 9 GB.
    """
    for record in models_folder().glob("*-*.json"):
        data = _read(record)
        if data is None:
            continue
        with contextlib.suppress(Phi4LocalError, OSError), locks.locked("older"):
            if record.exists():
                _take_over(record, data)


def _read(record: Path) -> dict[str, Any] | None:
    try:
        with record.open("rb") as file:
            data = json.loads(file.read(_RECORD_BYTES))
        whole = record.with_suffix(".gguf").stat().st_size == int(data["size_bytes"])
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None
    return data if whole and all(isinstance(data.get(key), str) for key in _TEXTS) else None


_TEXTS = ("name", "quantization", "source", "fingerprint")


def _take_over(record: Path, data: dict[str, Any]) -> None:
    gguf = record.with_suffix(".gguf")
    digest, size_bytes = blobs.hash_file(gguf), gguf.stat().st_size
    member = catalog.find(data["name"]) if data["name"] in catalog.model_names() else None
    name = ModelName.for_words(data["name"], data["quantization"])
    with locks.locked(f"sha256-{digest}"):
        blobs.take(gguf, digest)
        publish.publish(
            name,
            [publish.StoredFile(path=f"{name.model}-{name.tag}.gguf", digest=digest, size_bytes=size_bytes)],
            Origin(
                how="pulled" if data["fingerprint"] == digest else "converted",
                source=data["source"],
                fingerprint=data["fingerprint"],
                member=member.name if member else None,
                quantization=data["quantization"],
            ),
            words=publish.Words.of_member(member),
            parameters=member.parameters if member else None,
        )
    record.unlink()
