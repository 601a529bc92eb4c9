"""Every deliberate error, in one tree.

    Phi4LocalError                      exit code 1; everything below is a known failure with a hint
    ├── InvalidSettingError             a setting outside its range, or a setting that does not exist
    ├── UnknownModelError               a name that is no manifest, file or folder
    ├── ModelNotInstalledError          a known model of which nothing is on this machine
    ├── UnknownQuantizationError        a quantization that the converter does not make
    ├── FileFormatError                 a file that is not what it claims to be
    │   ├── GGUFError                   a GGUF header or its values
    │   ├── CheckpointError             a safetensors folder: config, index, shards, tokenizer
    │   ├── AdapterError                a LoRA adapter that is damaged, or made for another model
    │   └── SavedStateError             a conversation that cannot be saved or put back
    ├── ConversionError                 a checkpoint that cannot become a GGUF
    │   ├── UnsupportedCheckpointError  an architecture or tokenizer that is not Phi-4's
    │   ├── UnknownTensorError          a tensor that this architecture does not have
    │   ├── NonFiniteWeightError        NaN or infinity in the weights
    │   ├── UnstorableWeightError       weights beyond the range of the type that should store them
    │   └── MissingImatrixError         a quantization that is garbage without an importance matrix
    ├── FileWriteError                  the operating system refused a write
    │   ├── OutputExistsError           the output is there and may not be replaced
    │   └── NotEnoughDiskError          less free space than the output needs
    ├── DownloadError                   network, access, or bytes that are not what was announced
    ├── ChatTemplateError               a chat template that is missing, refused or too large
    ├── ContextTooLongError             a prompt that does not fit into the context
    └── EngineError                     llama.cpp could not do what was asked
        ├── LibraryMissingError         llama-cpp-python is not installed or does not load
        ├── ModelLoadError              llama.cpp refused the file
        ├── EngineCrashedError          the worker process ended in the middle of the work
        ├── EngineHungError             the worker process made no progress
        ├── NonFiniteLogitsError        the model computed NaN or infinity
        └── EngineBusyError             too many requests wait already

`hint` says what the person can do; numbers are attributes, so nobody has to parse a message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class Phi4LocalError(Exception):
    """A known failure: one line of message, and a `hint` that says what to do about it."""

    exit_code = 1
    hint: str | None = None

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        if hint is not None:
            self.hint = hint


class InvalidSettingError(Phi4LocalError):
    """A setting outside its range, or one that does not exist."""

    def __init__(self, setting: str, problem: str, *, hint: str | None = None) -> None:
        super().__init__(
            f"setting `{setting}` {problem}", hint=hint or "`--help` says what each option takes"
        )
        self.setting = setting


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


class UnknownQuantizationError(Phi4LocalError):
    """A quantization that the converter does not make; names the nearest ones."""

    def __init__(self, name: str, near: Sequence[str], known: Sequence[str]) -> None:
        hint = f"did you mean {_or_list(near)}?" if near else f"choose one of {', '.join(known)}"
        super().__init__(f"unknown quantization `{name}`", hint=hint)
        self.name = name
        self.near = tuple(near)


class FileFormatError(Phi4LocalError):
    """A file that is not what it claims to be."""

    def __init__(self, path: Path | str, problem: str, *, hint: str | None = None) -> None:
        super().__init__(f"`{path}`: {problem}", hint=hint)
        self.path = path
        self.problem = problem


class GGUFError(FileFormatError):
    """A GGUF file whose header, values or size are wrong."""

    hint = "the file is damaged or not a Phi-4 model: download or convert it again"


class CheckpointError(FileFormatError):
    """A safetensors checkpoint folder with a missing, damaged or contradictory file."""

    hint = "download the checkpoint again; a folder needs config.json, tokenizer.json and *.safetensors"


class AdapterError(FileFormatError):
    """A LoRA adapter that is damaged, of another kind, or made for another model."""

    hint = "a LoRA adapter is a folder with adapter_config.json and adapter_model.safetensors, as PEFT has it"


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


class FileWriteError(Phi4LocalError):
    """The operating system refused a write; nothing was left under the final name."""

    def __init__(self, path: Path | str, problem: str, *, hint: str | None = None) -> None:
        super().__init__(
            f"cannot write `{path}`: {problem}",
            hint=hint or "choose another place, or free some disk space",
        )
        self.path = path


class OutputExistsError(FileWriteError):
    """The output is there already."""

    def __init__(self, path: Path | str) -> None:
        super().__init__(path, "it exists", hint="add `--force` to replace it")


class NotEnoughDiskError(FileWriteError):
    """Less free space than the output needs; found before the first byte was written."""

    def __init__(self, path: Path | str, *, needed_bytes: int, free_bytes: int) -> None:
        super().__init__(
            path,
            f"it needs {needed_bytes:,} bytes and the disk has {free_bytes:,}",
            hint="free some disk space, or choose another disk with `-o` or PHI4LOCAL_HOME",
        )
        self.needed_bytes = needed_bytes
        self.free_bytes = free_bytes


class DownloadError(Phi4LocalError):
    """Network, access, or bytes that are not what the server announced."""

    hint = "check the connection and try again"


class ChatTemplateError(Phi4LocalError):
    """A chat template that is missing, refuses the messages or leaves the sandbox."""


class ContextTooLongError(Phi4LocalError):
    """A prompt that leaves no room for an answer in the context."""

    def __init__(self, *, prompt_tokens: int, context_tokens: int, trained_context_tokens: int) -> None:
        more = trained_context_tokens > context_tokens
        super().__init__(
            f"the prompt has {prompt_tokens:,} tokens and the context holds {context_tokens:,}",
            hint="shorten the prompt or start a new conversation; "
            + (f"`--context` goes up to {trained_context_tokens:,}" if more else "this model holds no more"),
        )
        self.prompt_tokens = prompt_tokens
        self.context_tokens = context_tokens


class EngineError(Phi4LocalError):
    """llama.cpp could not do what was asked."""

    hint = "ask again; if it repeats, try a smaller `--context`, or report it with this line"


class LibraryMissingError(EngineError):
    """llama-cpp-python is not installed, or its shared library does not load."""

    hint = "run `make setup` in a checkout, or `pip install llama-cpp-python==0.3.36`"


class ModelLoadError(EngineError):
    """llama.cpp refused a file that passed our own checks."""

    def __init__(self, path: Path | str, cause: str) -> None:
        super().__init__(f"llama.cpp cannot load `{path}`: {cause}", hint=GGUFError.hint)
        self.path = path


class EngineCrashedError(EngineError):
    """The worker process ended in the middle of the work."""

    def __init__(self, how: str, last_log_line: str) -> None:
        cause = f"; its last words: {last_log_line}" if last_log_line else ""
        super().__init__(
            f"the engine process {how}{cause}",
            hint="ask again: the next request gets a fresh process; if it repeats, report it with that line",
        )
        self.how = how
        self.last_log_line = last_log_line


class EngineHungError(EngineError):
    """The worker process made no progress and was ended."""

    def __init__(self, seconds: float) -> None:
        super().__init__(
            f"the engine process made no progress for {seconds:.0f} seconds and was ended",
            hint="the machine may be out of memory: try a smaller quantization or `--context`",
        )
        self.seconds = seconds


class NonFiniteLogitsError(EngineError):
    """The model computed NaN or infinity; its text would be noise."""

    def __init__(self, position: int) -> None:
        super().__init__(
            f"the model computed values that are not finite at token {position}",
            hint="the file is damaged: convert or download it again",
        )
        self.position = position


def _or_list(names: Sequence[str]) -> str:
    quoted = [f"`{name}`" for name in names]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} or {quoted[-1]}"


class EngineBusyError(EngineError):
    """As many requests wait as may wait; this one was not taken."""

    def __init__(self, *, waiting: int, running: int) -> None:
        super().__init__(
            f"the engine is busy: {running:,} requests run and {waiting:,} wait",
            hint="try again later, or load the model with a larger `queue_limit`",
        )
        self.waiting, self.running = waiting, running
