"""Hugging Face through its own client: the file of a family member, and its bytes."""

from __future__ import annotations

import os
import re
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from phi4local.errors import DownloadError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

DEFAULT_ENDPOINT = "https://huggingface.co"
_SAFE_PATH = re.compile(r"[A-Za-z0-9._ +-]{1,200}\.gguf")


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteFile:
    """A file that was resolved before its first byte is fetched.

    Attributes:
        repository: such as `microsoft/phi-4-gguf`.
        revision: the commit that `main` meant when it was resolved.
        path: its name in the repository; a plain name, without folders.
        size_bytes: its size.
        sha256: its digest, 64 hex digits.
    """

    repository: str
    revision: str
    path: str
    size_bytes: int
    sha256: str


def find_gguf(repository: str, quantization: str) -> RemoteFile:
    """Return the GGUF file of a quantization.

    Example: `find_gguf("microsoft/phi-4-gguf", "Q4_K_M").path` is `phi-4-Q4_K_M.gguf`.

    Raises:
        DownloadError: the server is not reached, refuses, or has no such file; the hint lists those it has.
    """
    import huggingface_hub

    with _translated(repository):
        info = huggingface_hub.HfApi(endpoint=_endpoint(), token=_token()).model_info(
            repository, files_metadata=True
        )
    candidates = {
        file.rfilename: file for file in info.siblings or [] if _SAFE_PATH.fullmatch(file.rfilename)
    }
    wanted = [name for name in candidates if _quantization_of(name) == quantization]
    if len(wanted) != 1 or not info.sha:
        offered = ", ".join(sorted({_quantization_of(name) for name in candidates} - {""})) or "nothing"
        raise DownloadError(
            f"`{repository}` has {len(wanted)} files of quantization {quantization}",
            hint=f"it offers {offered}",
        )
    file = candidates[wanted[0]]
    if file.lfs is None or file.size is None or not re.fullmatch(r"[0-9a-f]{64}", file.lfs.sha256):
        raise DownloadError(f"`{repository}/{wanted[0]}` has no SHA-256 to check it with")
    return RemoteFile(
        repository=repository,
        revision=info.sha,
        path=wanted[0],
        size_bytes=file.size,
        sha256=file.lfs.sha256,
    )


def fetch(remote: RemoteFile, folder: Path, *, progress: Callable[[int], None]) -> Path:
    """Fetch a file into `folder` and return where it is; its digest is the caller's to check.

    Args:
        remote: from `find_gguf`.
        folder: an empty folder.
        progress: called with the bytes that came since the last call.

    Raises:
        DownloadError: the connection failed.
    """
    import huggingface_hub

    with _translated(remote.repository):
        found = huggingface_hub.hf_hub_download(
            remote.repository,
            remote.path,
            revision=remote.revision,
            local_dir=folder,
            endpoint=_endpoint(),
            token=_token(),
            tqdm_class=_progress_class(progress),
        )
    return folder / found


def _quantization_of(name: str) -> str:
    """Return the quantization in a file name. Example: "phi-4-Q4_K_M.gguf" → "Q4_K_M"."""
    found = re.search(r"[-.]((?:IQ|Q)\d\w*|BF16|F16|F32)\.gguf$", name, re.IGNORECASE)
    return found[1].upper() if found else ""


def _endpoint() -> str:
    return os.environ.get("HF_ENDPOINT", DEFAULT_ENDPOINT).rstrip("/")


def _token() -> bool | None:
    """Send a saved token to Hugging Face and to nobody else."""
    return None if _endpoint() == DEFAULT_ENDPOINT else False


@contextmanager
def _translated(repository: str) -> Iterator[None]:
    from huggingface_hub import errors
    from huggingface_hub.utils import httpx  # type: ignore[attr-defined] # whichever httpx it uses

    try:
        yield
    except errors.GatedRepoError as error:
        hint = f"ask for access at {DEFAULT_ENDPOINT}/{repository} and log in with `hf auth login`"
        raise DownloadError(f"`{repository}` is only for people with access", hint=hint) from error
    except errors.RepositoryNotFoundError as error:
        raise DownloadError(f"there is no repository `{repository}`") from error
    except (errors.HfHubHTTPError, errors.LocalEntryNotFoundError, httpx.HTTPError, OSError) as error:
        cause = error.__cause__ or error
        line = str(cause).strip().splitlines()[0] if str(cause).strip() else type(cause).__name__
        raise DownloadError(f"cannot fetch from {_endpoint()}: {line[:200]}") from error


def _progress_class(progress: Callable[[int], None]) -> type[Any]:
    class Progress:
        """What huggingface_hub expects of tqdm, passing the byte counts on."""

        def __init__(self, *_: object, **settings: Any) -> None:  # noqa: ANN401
            self.n = settings.get("initial") or 0
            self.total = settings.get("total")
            self.format_dict: dict[str, Any] = {}

        def update(self, count: float = 1) -> None:
            self.n += count
            progress(int(count))

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def close(self) -> None:
            pass

        refresh = set_description = set_description_str = set_postfix_str = update_transfer = (
            lambda self, *_args, **_settings: None  # noqa: ARG005
        )

    return Progress
