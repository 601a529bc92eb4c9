"""LoRA adapters of a loaded model: loaded once, chosen with scales by each request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from phi4local.errors import InvalidSettingError
from phi4local.native.adapter import NativeAdapter, set_adapters

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from phi4local.engine.cache import AdapterKey
    from phi4local.native.context import NativeContext
    from phi4local.native.llama import NativeModel

MOST_SCALE = 100.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterFile:
    """What the engine has to know of a validated adapter file.

    Attributes:
        name: how requests call it.
        path: the GGUF file.
        digest: SHA-256 of the file; cells computed with it are found again under this.
    """

    name: str
    path: Path
    digest: str


class Adapters:
    """The adapters of one model.

    Args:
        model: the base; frees them when it is closed.
        files: validated for this base; see `phi4local.gguf.validate_adapter`.

    Raises:
        ModelLoadError: llama.cpp refused a file.
    """

    def __init__(self, model: NativeModel, files: Sequence[AdapterFile]) -> None:
        self._digests = {file.name: file.digest for file in files}
        self._loaded = {file.digest: NativeAdapter(model, file.path) for file in files}
        self._applied: dict[int, AdapterKey] = {}

    def key(self, wanted: Sequence[tuple[str, float]]) -> AdapterKey:
        """Return digests and scales of what a request wants: what its cells are computed with.

        Example: `key([("style", 0.5)])` is `(("9f86d0…", 0.5),)`; a scale of 0 is left out.

        Raises:
            InvalidSettingError: an unknown name, a name twice, or a scale out of range.
        """
        for name, scale in wanted:
            if name not in self._digests:
                known = ", ".join(sorted(self._digests)) or "none"
                raise InvalidSettingError("adapters", f"names {name!r}", hint=f"loaded adapters: {known}")
            if not -MOST_SCALE <= scale <= MOST_SCALE:
                raise InvalidSettingError(
                    "adapters", f"has a scale of {scale}; it must be between {-MOST_SCALE} and {MOST_SCALE}"
                )
        if len({self._digests[name] for name, _ in wanted}) < len(wanted):
            raise InvalidSettingError("adapters", "names an adapter twice, or one file under two names")
        return tuple(sorted((self._digests[name], float(scale)) for name, scale in wanted if scale))

    def use(self, context: NativeContext, key: AdapterKey) -> None:
        """Let the next batches of a context be computed with these adapters."""
        if self._applied.get(id(context), ()) != key:
            set_adapters(context, [(self._loaded[digest], scale) for digest, scale in key])
            self._applied[id(context)] = key
