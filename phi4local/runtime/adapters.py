"""LoRA adapters on this machine: GGUF files as they are, PEFT folders converted on the way."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from phi4local import catalog
from phi4local.convert.adapter_base import AdapterBase, base_of, base_of_header
from phi4local.convert.adapters import CONFIG, WEIGHTS
from phi4local.convert.architectures.tensors import Widths
from phi4local.errors import AdapterError, GGUFError, Phi4LocalError
from phi4local.gguf import read_header, validate, validate_adapter
from phi4local.runtime import resolve
from phi4local.store import adapters, blobs, home

if TYPE_CHECKING:
    from phi4local.convert.adapter_file import AdapterSummary
    from phi4local.gguf import Header

_MOST_CONFIG_BYTES = 1_000_000


def make_adapter_file(
    folder: Path, output: Path, *, base: str | None = None, type_name: str = "F32", overwrite: bool = False
) -> AdapterSummary:
    """Convert the PEFT adapter in `folder` to a GGUF file.

    Args:
        folder: with adapter_config.json and adapter_model.safetensors.
        output: the GGUF file.
        base: the model it was trained on, by any name of a model on this machine; without it
            the one that adapter_config.json names.
        type_name: `F32`, `F16` or `BF16`.
        overwrite: replace an existing file.

    Example: `make_adapter_file(Path("my-lora"), Path("my-lora.gguf"), base="phi-4")`.

    Raises:
        AdapterError: no adapter, a damaged one, or one for another model.
        UnknownModelError, ModelNotInstalledError: there is no such base.
        GGUFError, CheckpointError, ConversionError, FileWriteError: a file that cannot be read or written.
    """
    from phi4local.convert.adapter_file import convert_adapter

    if not folder.is_dir():
        raise AdapterError(folder, "is no folder")
    numbers = _base_named(base) if base else _base_of_config(folder)
    return convert_adapter(folder, numbers, output, type_name=type_name, overwrite=overwrite)


def adapter_file(path: Path, base: Header) -> Path:
    """Return the GGUF file of an adapter; that of a PEFT folder is made once and kept.

    Args:
        path: a GGUF file, a PEFT folder, or a name from `phi4local adapters list`, where neither has it.
        base: the header of the model that it will be loaded with.

    Raises:
        AdapterError: no adapter, a damaged one, or one for another model.
        FileWriteError: the kept file cannot be written.
    """
    if not path.is_file() and not (path / CONFIG).exists():
        # fine-tuning into ./nova leaves a folder of that name, which is no adapter itself
        named = adapters.find(str(path))
        if named:
            return named.file
        if not path.exists():
            hint = "`phi4local adapters list` shows the names; a file or folder is given by its path"
            raise AdapterError(path, "is no name of an adapter, no file and no folder", hint=hint)
    if not path.is_dir():
        return path
    from phi4local.convert.adapter_file import convert_adapter

    numbers = base_of_header(base)
    kept = home.make_adapters_folder() / f"lora-{_digest(path, numbers)[:32]}.gguf"
    if not kept.is_file():
        convert_adapter(path, numbers, kept, overwrite=True)
    blobs.keep_fresh(kept)
    return kept


def fitting_adapters(model: str | None) -> dict[str, Path]:
    """Return the named adapters that can be loaded with a model, by name; their shapes decide.

    Args:
        model: a name of a model on this machine; `None` for the default model. For one that is not here there
            are none.

    Example: after `phi4local finetune phi4-nano … --name nova`, `fitting_adapters("phi4-nano")` has `nova`.
    """
    found = adapters.named()
    if not found:
        return {}
    try:
        header = validate(resolve.ensure_gguf(resolve.find(model or resolve.default_model())))
    except Phi4LocalError:  # whoever opens it says why
        return {}
    return {one.name: one.file for one in found if _fits(one.file, header)}


def _fits(file: Path, base: Header) -> bool:
    try:
        validate_adapter(file, base)
    except (AdapterError, GGUFError):
        return False
    return True


def keep_adapter(path: Path, name: str, *, base: str | None = None) -> adapters.NamedAdapter:
    """Put an adapter into the store under a name; a PEFT folder is converted.

    Args:
        path: a GGUF file or a PEFT folder.
        name: letters, digits, `.`, `-` and `_`.
        base: the model it was trained on, by any name of a model on this machine.

    Example: `keep_adapter(Path("my-lora"), "mine", base="phi-4")`.

    Raises:
        AdapterError: no adapter, a damaged one, or a name that cannot be one.
        GGUFError: the file is no GGUF file.
        FileWriteError: the store cannot be written.
    """
    if path.is_dir():
        with tempfile.TemporaryDirectory(prefix="phi4local-") as folder:
            made = Path(folder, adapters.FILE)
            make_adapter_file(path, made, base=base)
            return adapters.add(name, made, path, base=base or "")
    if read_header(path).get("general.type") != "adapter":
        raise AdapterError(path, "is a GGUF file, but no adapter")
    return adapters.add(name, path, base=base or "")


def _digest(folder: Path, base: AdapterBase) -> str:
    """Return what tells this conversion from others: both files of the adapter, and the base's numbers."""
    digest = hashlib.sha256(repr(base).encode())
    try:
        for name in (CONFIG, WEIGHTS):
            with (folder / name).open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    except OSError as error:
        raise AdapterError(
            folder, f"{name} cannot be read: {(error.strerror or str(error)).lower()}"
        ) from error
    return digest.hexdigest()


def _base_named(name: str) -> AdapterBase:
    """Return the numbers of a model; of a family member that is not here, those of its manifest."""
    if name.lower() in catalog.model_names():
        return _of_member(catalog.find(name))
    source = resolve.find(name)
    kept = source.installed.path if source.installed else None
    found = source.checkpoint or source.gguf or kept
    if found is None:
        raise AdapterError(name, "is no model on this machine", hint="see `phi4local list`")
    return base_of(found)


def _of_member(member: catalog.Manifest) -> AdapterBase:
    numbers = member.architecture
    return AdapterBase(
        layers=numbers.layers,
        widths=Widths(
            numbers.embedding_length,
            numbers.embedding_length // numbers.heads * numbers.kv_heads,
            numbers.feed_forward_length,
        ),
        vocabulary_tokens=member.vocabulary_tokens,
        tied=numbers.tied_embeddings,
    )


def _base_of_config(folder: Path) -> AdapterBase:
    """Return the numbers of the model that adapter_config.json names: a family member, or a folder here."""
    hint = "name the model that it was trained on with `--base`"
    try:
        with (folder / CONFIG).open("rb") as file:
            config = json.loads(file.read(_MOST_CONFIG_BYTES))
        name = config.get("base_model_name_or_path") if isinstance(config, dict) else None
    except (OSError, ValueError, RecursionError) as error:
        raise AdapterError(folder, f"{CONFIG} cannot be read: {error}") from error
    if not isinstance(name, str) or not name:
        raise AdapterError(folder, "does not say which model it was trained on", hint=hint)
    member = catalog.published_as(name, at="huggingface") or catalog.published_as(name, at="modelscope")
    if member is not None:
        return _of_member(member)
    try:
        if os.path.isdir(name):  # noqa: PTH112 - no error for a name that is too long
            return base_of(Path(name))
        return _base_named(name)
    except Phi4LocalError as error:
        raise AdapterError(folder, f"was trained on {name!r}, which is not here", hint=hint) from error
