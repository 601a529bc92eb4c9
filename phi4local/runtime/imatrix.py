"""Make an importance matrix: which columns of each matrix matter, measured on text."""

from __future__ import annotations

import hashlib
import json
import tempfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phi4local import catalog, gguf
from phi4local.engine.worker.task import messages_of
from phi4local.errors import FileFormatError, InvalidSettingError
from phi4local.files import refuse_existing
from phi4local.runtime import resolve
from phi4local.runtime.settle import settle
from phi4local.settings import LoadSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

CHUNK_TOKENS = 512
MOST_TEXT_BYTES = 512 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class ImatrixOptions:
    """How it is measured.

    Attributes:
        chunk_tokens: each chunk begins with an empty cache; 16 to 32,768.
        most_chunks: no more than so many; all of the text without it.
        threads: of the CPU; one for each processor that this process may use without it.
        gpu_layers: layers on the GPU; as many as fit without it.
        process_output: measure the output matrix too.
        save_seconds: how often the sums so far are kept, for a run that is interrupted.
    """

    chunk_tokens: int = CHUNK_TOKENS
    most_chunks: int | None = None
    threads: int | None = None
    gpu_layers: int | None = None
    process_output: bool = False
    save_seconds: float = 30.0

    def __post_init__(self) -> None:
        if not 16 <= self.chunk_tokens <= 32_768:
            raise InvalidSettingError("chunk_tokens", f"is {self.chunk_tokens}; it must be 16 to 32,768")
        if self.most_chunks is not None and self.most_chunks < 1:
            raise InvalidSettingError("chunks", f"is {self.most_chunks}; it must be at least 1")

    def measuring(self) -> dict[str, Any]:
        """Return what the child process has to know of them."""
        names = ("chunk_tokens", "most_chunks", "process_output", "save_seconds")
        return {name: getattr(self, name) for name in names}

    def loading(self) -> LoadSettings:
        """Return what the plan has to decide the rest of."""
        return LoadSettings(
            context_tokens=self.chunk_tokens, threads=self.threads, gpu_layers=self.gpu_layers
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ImatrixSummary:
    """What was made.

    Attributes:
        output: the file.
        entries: matrices in it.
        chunks: pieces of text that were evaluated, those of an interrupted run included.
        tokens: in them.
    """

    output: Path
    entries: int
    chunks: int
    tokens: int


def make_imatrix(
    model: Path,
    texts: Sequence[Path],
    output: Path,
    *,
    options: ImatrixOptions | None = None,
    overwrite: bool = False,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> ImatrixSummary:
    """Run `model` over texts and write the importance matrix to `output`.

    The file is that of llama-imatrix, for `convert --imatrix` here and for llama-quantize. An interrupted run
    leaves its sums beside the output, and the same call goes on with them.

    Args:
        model: a GGUF file, best F32, F16, BF16 or Q8_0.
        texts: plain text, UTF-8; read one after the other.
        output: the GGUF file.
        options: length of a chunk, threads, GPU.
        overwrite: replace an existing output.
        progress: called with chunks done and chunks in all.

    Example: 125 chunks of 512 tokens of phi4-nano take 20 seconds on two cores; the file has 32 entries.

    Raises:
        GGUFError: the model's file is damaged.
        FileFormatError: a text cannot be read.
        InvalidSettingError: too little text.
        NotEnoughMemoryError: the plan says that the model won't fit.
        EngineError, EngineCrashedError: the library failed.
        FileWriteError: the output cannot be written.
    """
    options = options or ImatrixOptions()
    settings = settle(gguf.validate(model), options.loading()).settings
    refuse_existing(output, overwrite=overwrite)
    unfinished = output.with_name(f".{output.name}.unfinished")
    with tempfile.TemporaryDirectory(prefix="phi4local-") as folder:
        text = Path(folder) / "text"
        text.write_bytes(_joined(texts))
        places = {"model": model, "text": text, "output": output, "unfinished": unfinished}
        dataset = ", ".join(path.name for path in texts)
        done = _run(_order(places, options, settings) | {"dataset": dataset}, progress)
    unfinished.unlink(missing_ok=True)
    return ImatrixSummary(
        output=output, entries=done["entries"], chunks=done["chunks"], tokens=done["tokens"]
    )


def _order(places: dict[str, Path], options: ImatrixOptions, settings: LoadSettings) -> dict[str, Any]:
    """Return what the child process is asked for: the fields of its `Order`, but for the name of the text."""
    return {
        **{name: str(path.absolute()) for name, path in places.items()},
        **options.measuring(),
        "identity": _identity(places["model"], places["text"], options),
        "threads": settings.threads or 1,
        "gpu_layers": settings.gpu_layers or 0,
    }


def _joined(texts: Sequence[Path]) -> bytes:
    """Return the texts one after the other."""
    parts = []
    for path in texts:
        try:
            if path.stat().st_size > MOST_TEXT_BYTES:
                raise FileFormatError(
                    path, f"is larger than {MOST_TEXT_BYTES:,} bytes", hint="take a part of it"
                )
            parts.append(path.read_bytes())
        except OSError as error:
            problem = (error.strerror or str(error)).lower()
            raise FileFormatError(path, f"cannot be read: {problem}", hint="name a text file") from error
    return b"\n".join(parts)


def _identity(model: Path, text: Path, options: ImatrixOptions) -> str:
    """Return what an interrupted run must have been made from to be gone on with."""
    state = model.stat()
    facts = [
        str(model.resolve()),
        state.st_size,
        state.st_mtime_ns,
        options.chunk_tokens,
        options.process_output,
    ]
    return hashlib.sha256(json.dumps(facts).encode() + hashlib.sha256(text.read_bytes()).digest()).hexdigest()


def _run(order: dict[str, Any], progress: Callable[[int, int], None]) -> dict[str, Any]:
    """Let a child process carry out the order, hand its progress on, and return what it made."""
    made: dict[str, Any] = {}
    child = "phi4local.runtime.imatrix_child"
    with closing(messages_of(child, order, doing="reads the text")) as messages:
        for made in messages:
            if made["type"] == "chunk":
                progress(made["chunk"], made["of"])
    return made


def model_file(name: str) -> Path:
    """Return the GGUF file of a model: of a checkpoint folder, the one that `run` would make.

    Raises:
        UnknownModelError, ModelNotInstalledError: there is no such model here.
    """
    return resolve.ensure_gguf(resolve.find(name))


def shipped_text() -> Path:
    """Return the calibration text that ships: prose, code, tables and many languages."""
    return catalog.recipes_folder() / "calibration.txt"
