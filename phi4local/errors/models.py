"""What goes wrong with models: their names, files, checkpoints and conversions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phi4local.errors.base import FileFormatError, Phi4LocalError

if TYPE_CHECKING:
    from collections.abc import Sequence


class UnknownModelError(Phi4LocalError):
    """A name that is no manifest, no file and no folder."""

    def __init__(self, name: str, near: Sequence[str], *, known: Sequence[str] = ()) -> None:
        hint = f"did you mean {_or_list(near)}?" if near else f"known models: {', '.join(known)}"
        super().__init__(f"no model, file or folder is called `{name}`", hint=hint)
        self.name = name
        self.near = tuple(near)


class ModelNotInstalledError(Phi4LocalError):
    """A model of the catalog of which nothing is on this machine."""

    def __init__(self, name: str, *, hint: str) -> None:
        super().__init__(f"model `{name}` is not on this machine", hint=hint)
        self.name = name


class UnknownResultError(Phi4LocalError):
    """Words that stand for no kept result of `bench`, or for several."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(
            f"no result `{name}`: {problem}",
            hint="`phi4local bench --history` lists what was kept; a file is named with its path",
        )
        self.name = name


class UnknownQuantizationError(Phi4LocalError):
    """A quantization that the converter does not make; names the nearest ones."""

    def __init__(self, name: str, near: Sequence[str], known: Sequence[str]) -> None:
        hint = f"did you mean {_or_list(near)}?" if near else f"choose one of {', '.join(known)}"
        super().__init__(f"unknown quantization `{name}`", hint=hint)
        self.name = name
        self.near = tuple(near)


class GGUFError(FileFormatError):
    """A GGUF file whose header, values or size are wrong."""

    hint = "the file is damaged or not a Phi-4 model: download or convert it again"


class CheckpointError(FileFormatError):
    """A safetensors checkpoint folder with a missing, damaged or contradictory file."""

    hint = "download the checkpoint again; a folder needs config.json, tokenizer.json and *.safetensors"


class AdapterError(FileFormatError):
    """A LoRA adapter that is damaged, of another kind, or made for another model."""

    hint = "a LoRA adapter is a folder with adapter_config.json and adapter_model.safetensors, as PEFT has it"


class DatasetError(FileFormatError):
    """Conversations to learn from that cannot be read, or are none."""

    hint = "each line must be one conversation: alpaca, messages or sharegpt"


class SavedStateError(FileFormatError):
    """A conversation that cannot be saved or put back."""

    hint = "go on without it: the conversation is evaluated again"


class ConversionError(Phi4LocalError):
    """A checkpoint that cannot become a GGUF file."""


class UnsupportedCheckpointError(ConversionError):
    """An architecture, tokenizer or layout that the converter does not know."""


class UnknownTensorError(ConversionError):
    """A tensor that the architecture does not have, or one that it lacks."""

    def __init__(self, tensor: str, problem: str) -> None:
        super().__init__(
            f"tensor `{tensor}` {problem}",
            hint="the checkpoint does not match its config.json; download it again",
        )
        self.tensor = tensor


class NonFiniteWeightError(ConversionError):
    """NaN or infinity in a weight: the model would answer nonsense without an error."""

    def __init__(self, tensor: str, count: int, first_index: int) -> None:
        super().__init__(
            f"tensor `{tensor}` holds {count} NaN or infinite values, the first at element {first_index}",
            hint="the checkpoint is damaged or its training diverged; download or train it again",
        )
        self.tensor = tensor
        self.count = count
        self.first_index = first_index


class UnstorableWeightError(ConversionError):
    """Weights beyond the range of the type that should store them."""

    def __init__(self, tensor: str, target: str, count: int, first_index: int, first_value: float) -> None:
        super().__init__(
            f"tensor `{tensor}`: {target} cannot store {count} of its values or blocks, the first because of "
            f"{first_value:g} at element {first_index}",
            hint="choose BF16 or F32",
        )
        self.tensor, self.target, self.count = tensor, target, count
        self.first_index, self.first_value = first_index, first_value


class MissingImatrixError(ConversionError):
    """A tensor that would be garbage without values from an importance matrix."""

    def __init__(self, tensor: str, problem: str, *, hint: str) -> None:
        super().__init__(f"tensor `{tensor}` {problem}", hint=hint)
        self.tensor = tensor


class InvalidReferenceError(Phi4LocalError):
    """Words that name no model at any place, or one that could be at several."""

    def __init__(self, text: str, problem: str, *, hint: str | None = None) -> None:
        super().__init__(f"`{_shown(text)}` {problem}", hint=hint)
        self.text, self.problem = text, problem


class DownloadError(Phi4LocalError):
    """Network, access, or bytes that are not what the server announced."""

    hint = "check the connection and try again"


class RemoteNotFoundError(DownloadError):
    """A server without this repository, revision, file or tag."""

    hint = "check the name; `phi4local list` shows what is known"


class UnknownTagError(RemoteNotFoundError):
    """A tag that fits no file of a repository, or several; the hint lists what is there."""


class AccessDeniedError(DownloadError):
    """A model that is private, or only for people who asked for it; or a token that is not good."""


class FileChangedError(DownloadError):
    """A file that is another one on the server than when it was looked up."""

    hint = "pull again: the list of files is read anew"


class DamagedFileError(DownloadError):
    """Bytes that arrived and are not the announced ones."""


class OfflineError(DownloadError):
    """Something that would need a connection, while none may be made."""

    def __init__(self, host: str) -> None:
        super().__init__(
            f"offline: nothing is asked of {host}", hint="go online, or name a model that is here"
        )
        self.host = host


class UnsafeNameError(DownloadError):
    """A path, digest, commit or name that could lead out of the store."""

    def __init__(self, what: str, text: str, problem: str) -> None:
        super().__init__(
            f"the {what} `{_shown(text)}` {problem}",
            hint="nothing was written; a name is [host/owner/]model[:tag]",
        )
        self.what, self.text, self.problem = what, text, problem


class AmbiguousNameError(Phi4LocalError):
    """A name that stands for several models."""

    def __init__(self, name: str, choices: Sequence[str]) -> None:
        super().__init__(
            f"`{name}` stands for {len(choices)} models", hint=f"choose {_or_list(list(choices)[:12])}"
        )
        self.name, self.choices = name, tuple(choices)


class ModelfileError(Phi4LocalError):
    """A line of a Modelfile that means nothing."""

    def __init__(self, line: int, problem: str, *, hint: str | None = None) -> None:
        super().__init__(f"Modelfile, line {line}: {problem}", hint=hint or "docs/store.md has an example")
        self.line = line


class StoreError(FileFormatError):
    """A manifest or a file in the store that is missing, damaged, or not what it was."""

    hint = "`phi4local verify` looks at everything that is kept"


def _shown(text: str) -> str:
    """Return a hostile text on one short line."""
    line = text if text.isprintable() else text.encode("unicode_escape").decode()
    return line if len(line) <= 120 else f"{line[:117]}..."


def _or_list(names: Sequence[str]) -> str:
    quoted = [f"`{name}`" for name in names]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} or {quoted[-1]}"
