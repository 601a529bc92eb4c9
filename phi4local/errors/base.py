"""The root of the tree, and what any part of the house can meet: settings and files."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
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


class MissingExtraError(Phi4LocalError):
    """Something was asked for whose library is installed only with an extra."""

    def __init__(self, extra: str, library: str, purpose: str) -> None:
        super().__init__(
            f"{library}, which {purpose}, is not installed", hint=f'run: pip install "phi4local[{extra}]"'
        )
        self.extra = extra
        self.library = library


class EvaluationBusyError(Phi4LocalError):
    """An evaluation that another process is in the middle of."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"another process asks these questions already, and writes to {path}",
            hint="wait for it: the same command then goes on from its answers; or choose another `--seed`",
        )
        self.path = path


class FileFormatError(Phi4LocalError):
    """A file that is not what it claims to be."""

    def __init__(self, path: Path | str, problem: str, *, hint: str | None = None) -> None:
        super().__init__(f"`{path}`: {problem}", hint=hint)
        self.path = path
        self.problem = problem


class DocumentError(FileFormatError):
    """A document that cannot be read: missing, binary, encrypted, damaged or too large."""

    def __init__(self, path: Path | str, problem: str, *, hint: str | None = None) -> None:
        super().__init__(path, problem, hint=hint or "text, Markdown, code, HTML and PDF files can be read")


class EvaluationDataError(FileFormatError):
    """Questions of a benchmark that cannot be read."""

    hint = "docs/eval.md says which files a task reads, and where they are"


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


class GuardPolicyError(FileFormatError):
    """A guard's policy with a key, a value or a rule that means nothing."""

    hint = "docs/guard.md describes the file and has an example"


class GuardCheckError(Phi4LocalError):
    """A check of the guard that could not be made; what happens then is the policy's `on_failure`."""

    hint = "the policy's `on_failure` says what happens when a check cannot be made"

    def __init__(self, rule: str, problem: str) -> None:
        super().__init__(f"the guard's rule `{rule}`: {problem}")
        self.rule = rule
