"""What goes wrong while a model answers: templates, context, library and worker."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phi4local.errors.base import FileFormatError, Phi4LocalError
from phi4local.errors.models import GGUFError

if TYPE_CHECKING:
    from pathlib import Path


class RemoteError(Phi4LocalError):
    """A model server that is not there, refuses, or answers nonsense."""

    hint = "check the server's log"

    def __init__(
        self, address: str, problem: str, *, status: int | None = None, hint: str | None = None
    ) -> None:
        super().__init__(f"the server {address} {problem}", hint=hint)
        self.address = address
        self.status = status


class ChatTemplateError(Phi4LocalError):
    """A chat template that is missing, refuses the messages or leaves the sandbox."""


class ContextTooLongError(Phi4LocalError):
    """A prompt that leaves no room for an answer in the context."""

    def __init__(
        self,
        *,
        prompt_tokens: int,
        context_tokens: int,
        trained_context_tokens: int,
        reserve_tokens: int = 0,
    ) -> None:
        more = trained_context_tokens > context_tokens
        kept = f", of which {reserve_tokens:,} are kept for the answer" if reserve_tokens else ""
        super().__init__(
            f"the prompt has {prompt_tokens:,} tokens and the context holds {context_tokens:,}{kept}",
            hint="shorten the prompt or start a new conversation; "
            + (f"`--context` goes up to {trained_context_tokens:,}" if more else "this model holds no more"),
        )
        self.prompt_tokens = prompt_tokens
        self.context_tokens = context_tokens
        self.reserve_tokens = reserve_tokens


class ContextFullError(Phi4LocalError):
    """A conversation whose turns no longer fit, where nobody has said what shall go.

    Attributes:
        prompt_tokens: of the whole conversation.
        over_tokens: by how many it is too long.
        turns: that can go, the oldest first; the newest question always stays.
    """

    def __init__(self, *, prompt_tokens: int, context_tokens: int, reserve_tokens: int, turns: int) -> None:
        self.prompt_tokens = prompt_tokens
        self.context_tokens = context_tokens
        self.over_tokens = prompt_tokens - (context_tokens - reserve_tokens)
        self.turns = turns
        super().__init__(
            f"the conversation has {prompt_tokens:,} tokens, {self.over_tokens:,} more than fit: the context "
            f"holds {context_tokens:,}, of which {reserve_tokens:,} are kept for the answer",
            hint="start a new conversation, let the oldest turns be dropped or summarized, "
            "or load the model with a larger `--context`",
        )


class GuardRefusedError(Phi4LocalError):
    """A question that the guard does not let the model read."""

    hint = "ask something else; the policy file of `--guard` says what is not allowed"


class NoTurnError(Phi4LocalError):
    """A conversation that has not come as far as the wish wants to go back."""


class EngineError(Phi4LocalError):
    """llama.cpp could not do what was asked."""

    hint = "ask again; if it repeats, try a smaller `--context`, or report it with this line"


class LibraryMissingError(EngineError):
    """llama-cpp-python is not installed, or its shared library does not load."""

    hint = (
        "run `make setup` in a checkout, or `pip install llama-cpp-python==0.3.36`; "
        "`phi4local doctor` says more"
    )


class ModelLoadError(EngineError):
    """llama.cpp refused a file that passed our own checks."""

    def __init__(self, path: Path | str, cause: str) -> None:
        super().__init__(f"llama.cpp cannot load `{path}`: {cause}", hint=GGUFError.hint)
        self.path = path


class TrainingError(Phi4LocalError):
    """A fine-tuning run that cannot begin, or broke off."""

    hint = "see `phi4local finetune --help`"


class NotEnoughMemoryError(Phi4LocalError):
    """A model that the plan says won't fit, found before anything was loaded."""

    def __init__(self, device: str, *, needed_bytes: int, free_bytes: int, nearest: str) -> None:
        place = "main memory" if device == "CPU" else device
        super().__init__(
            f"the model needs {needed_bytes / 1e9:.2f} GB of {place}, and {free_bytes / 1e9:.2f} GB are free",
            hint=f"{nearest}; `--force` loads it anyway",
        )
        self.device = device
        self.needed_bytes = needed_bytes
        self.free_bytes = free_bytes


class GpuMissingError(Phi4LocalError):
    """A GPU that was required, and is not there or has no room."""

    def __init__(self, problem: str, *, hint: str) -> None:
        super().__init__(f"a GPU is required, and {problem}", hint=hint)


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


class EngineRestartError(EngineError):
    """The worker process died so often before its first word that it is not started again at once."""

    def __init__(self, message: str, *, hint: str, wait_seconds: float) -> None:
        super().__init__(message, hint=hint)
        self.wait_seconds = wait_seconds


class ModelFileChangedError(FileFormatError):
    """The file of a running model was replaced or removed; what was checked is not what lies there now."""


class NonFiniteLogitsError(EngineError):
    """The model computed NaN or infinity; its text would be noise."""

    def __init__(self, position: int) -> None:
        super().__init__(
            f"the model computed values that are not finite at token {position}",
            hint="the file is damaged: convert or download it again",
        )
        self.position = position


class EngineBusyError(EngineError):
    """As many requests wait as may wait; this one was not taken."""

    def __init__(self, *, waiting: int, running: int) -> None:
        super().__init__(
            f"the engine is busy: {running:,} requests run and {waiting:,} wait",
            hint="try again later, or load the model with a larger `queue_limit`",
        )
        self.waiting, self.running = waiting, running
