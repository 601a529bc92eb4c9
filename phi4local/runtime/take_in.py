"""Take a GGUF file into the store: joins the validator and the store."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from phi4local import gguf
from phi4local.store import take_in
from phi4local.store.names import ModelName

if TYPE_CHECKING:
    from collections.abc import Callable

    from phi4local.store.installed import InstalledModel

_QUANTIZATION_AT_THE_END = re.compile(r"(-\d{5}-of-\d{5})?\.gguf$", re.IGNORECASE)


def import_file(
    path: str | Path,
    name: str | None = None,
    *,
    copy: bool = False,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> InstalledModel:
    """Check a GGUF file and keep it under a name; its bytes stay where they are unless `copy`.

    Args:
        path: a model, or the first part of one.
        name: `NAME` or `NAME:TAG`; the file's name and quantization without one.
        copy: copy the bytes into the store, so that the file can be deleted.
        progress: called with bytes done and bytes in all.

    Example: `import_file("~/phi-4-tune-Q4_K_M.gguf").reference` is `phi-4-tune:Q4_K_M`.

    Raises:
        GGUFError: no Phi-4 model.
        UnsafeNameError: no name for a model.
        NotEnoughDiskError, FileWriteError: the store cannot take it.
    """
    header = gguf.validate(Path(path).expanduser())
    quantization = gguf.quantization_of(header)
    return take_in.import_model(
        header, _name(header.path, name, quantization), quantization, copy=copy, progress=progress
    )


def _name(path: Path, name: str | None, quantization: str) -> ModelName:
    """Return the model's name. Example: (`phi-4-tune-Q4_K_M.gguf`, None, "Q4_K_M") → `phi-4-tune:Q4_K_M`."""
    if name is not None:
        return ModelName.parse(name if ":" in name.rpartition("/")[2] else f"{name}:{quantization}")
    stem = _QUANTIZATION_AT_THE_END.sub("", path.name)
    stem = re.sub(rf"[-._]{re.escape(quantization)}$", "", stem, flags=re.IGNORECASE)
    return ModelName.for_words(stem, quantization)
