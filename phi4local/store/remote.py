"""What is at a server, resolved before the first byte of a model is fetched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from phi4local.store.http import Credentials
    from phi4local.store.references import Reference


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteFile:
    """One file at a server.

    Attributes:
        path: its name in the repository, which passed `safe_path`.
        url: where its bytes are asked for; redirects from here carry signatures, this does not.
        size_bytes: its size.
        sha256: its digest, 64 hex digits, or `None` when the server does not say.
        git_sha1: git's digest of a small file: SHA-1 over `blob SIZE`, a zero byte and the content.
        credentials: what the server is told about who asks.
        source: what stays the same as long as the bytes do, for state on disk: host, repository, commit and
            path, or host and digest.
    """

    path: str
    url: str
    size_bytes: int
    sha256: str | None
    credentials: Credentials
    source: str
    git_sha1: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteModel:
    """A model, checkpoint or data set at a server, with what has to be fetched of it.

    Attributes:
        reference: what was asked for.
        revision: the commit that it meant, or `None` where there are none.
        files: what to fetch; of a GGUF model in several parts, in their order.
        kind: `gguf`, `checkpoint` or `dataset`.
        quantization: of a GGUF model, as its file's name or tag says it; may be empty.
        kinds: of a registry's files, by path, what each is: `model`, `template`, `params`, ...
        manifest: a registry's manifest, byte for byte; published as it came.
    """

    reference: Reference
    revision: str | None
    files: tuple[RemoteFile, ...]
    kind: str = "gguf"
    quantization: str = ""
    kinds: dict[str, str] | None = None
    manifest: bytes | None = None

    @property
    def size_bytes(self) -> int:
        """Of all files."""
        return sum(file.size_bytes for file in self.files)
