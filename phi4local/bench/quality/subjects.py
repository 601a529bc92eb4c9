"""The models of a measurement: found, validated, and checked against each other before anything is loaded."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phi4local import gguf
from phi4local.errors import InvalidSettingError
from phi4local.runtime import resolve
from phi4local.runtime.absent import find_or_pull
from phi4local.runtime.defaults import defaults_of
from phi4local.runtime.facts import file_facts
from phi4local.runtime.progress import Progress
from phi4local.runtime.settle import settle

if TYPE_CHECKING:
    from collections.abc import Callable

    from phi4local.runtime.absent import Consent
    from phi4local.runtime.facts import FileFacts
    from phi4local.settings import LoadSettings

KV_TYPE = "f16"
"""The cache's type unless one is set, whatever the memory: with another one the figures are others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A model that is ready to be loaded.

    Attributes:
        name: for tables.
        file: facts of its header.
        settings: what it is loaded with.
        notices: lines for the person.
        kept: whether its file stays after the measurement.
    """

    name: str
    file: FileFacts
    settings: LoadSettings
    notices: tuple[str, ...] = ()
    kept: bool = True

    @property
    def quantization(self) -> str:
        """What the file claims to be, such as `Q4_K_M`."""
        return gguf.quantization_of(self.file.header)

    @property
    def size_bytes(self) -> int:
        """Size of all its parts."""
        parts = self.file.header.parts or (self.file.header,)
        return sum(part.file_bytes for part in parts)

    @property
    def bits_per_weight(self) -> float:
        """Stored bits of the tensors, divided by the number of weights. Example: 4.9 for Q4_K_M."""
        tensors = self.file.header.tensors
        weights = sum(math.prod(tensor.shape) for tensor in tensors)
        return 8 * sum(tensor.size_bytes for tensor in tensors) / weights


def find_subject(
    name: str,
    settings: LoadSettings,
    *,
    consent: Consent | None = None,
    progress: Callable[[Progress], None] = lambda _progress: None,
) -> Subject:
    """Return the model that a name stands for, converted or pulled if it has to be.

    Args:
        name: as every command takes it.
        settings: with the tokens of a chunk as the context.
        consent: asked before something is pulled.
        progress: told while it is pulled or converted.

    Raises:
        UnknownModelError, ModelNotInstalledError, GGUFError and others: as `runtime.open.open_model`.
        InvalidSettingError: the model brings LoRA adapters, which are not measured.
    """
    source = find_or_pull(name, consent, progress)
    stage = "verifying" if source.installed else "converting"
    path = resolve.ensure_gguf(source, progress=lambda *share: progress(Progress(stage, *share)))
    if defaults_of(source.installed).adapters:
        raise InvalidSettingError(
            "model",
            f"`{name}` brings LoRA adapters, which are not measured",
            hint="merge them first: `phi4local convert FOLDER --merge ADAPTER`",
        )
    return subject_of(Path(name).name if Path(name).exists() else name, path, settings)


def subject_of(name: str, path: Path, settings: LoadSettings, *, kept: bool = True) -> Subject:
    """Return the model in a file.

    Raises:
        GGUFError: the file is damaged or no Phi-4 model.
        InvalidSettingError: chunks longer than the model's context.
        NotEnoughMemoryError: the plan says that it won't fit.
    """
    file = file_facts(gguf.validate(path))
    wanted = settings.context_tokens or 0
    if wanted > file.context_tokens:
        raise InvalidSettingError(
            "context", f"is {wanted:,}; `{name}` was trained on {file.context_tokens:,} tokens"
        )
    settled = settle(file.header, replace(settings, kv_type=settings.kv_type or KV_TYPE, parallel=1))
    return Subject(name=name, file=file, settings=settled.settings, notices=settled.notices, kept=kept)


def check_vocabularies(base: Subject, others: list[Subject]) -> None:
    """Refuse to compare models whose token ids mean different texts.

    Raises:
        InvalidSettingError: another number of tokens, or other tokens.
    """
    mine = _tokens(base)
    for other in others:
        theirs = _tokens(other)
        if mine != theirs:
            sizes = f"{len(theirs):,} tokens, `{base.name}` has {len(mine):,}"
            same_size = "as many tokens, but others" if len(mine) == len(theirs) else sizes
            raise InvalidSettingError(
                "against",
                f"needs one vocabulary, and `{other.name}` has {same_size}",
                hint="compare quantizations or fine-tunes of the same model",
            )


def _tokens(subject: Subject) -> tuple[str, ...]:
    tokens: Any = subject.file.header.get("tokenizer.ggml.tokens", ())
    return tuple(tokens)
