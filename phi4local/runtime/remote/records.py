"""The servers that this person has started on this machine: a small file for each, as long as it runs.

A record is a file of `PHI4LOCAL_HOME/servers`, which only its owner reads, beside a lock that the server
holds: the operating system lets go of it however the process ends, so a number that another process has today
is never taken for the server's. By the secret in the record its reader and the server know each other.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import secrets
import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from phi4local import __version__
from phi4local.files import write_error
from phi4local.store.home import home
from phi4local.store.locks import take

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MOST_BYTES = 100_000
"""Of a record; longer files are none."""
_OPEN = getattr(os, "O_NOFOLLOW", 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerRecord:
    """What is known of a server before it is asked.

    Attributes:
        address: where programs of this machine reach it, such as `http://127.0.0.1:8004`.
        pid: of its process.
        started_seconds: when it began to listen, in seconds since 1970.
        model: the name of the model that it began with.
        needs_key: whether its other clients need one.
        token: counts as a key, and proves that the server is the one of this record.
        certificate_sha256: of the certificate that it shows, in hexadecimal; `None` without TLS.
        version: of phi4local there.
    """

    address: str
    pid: int = field(default_factory=os.getpid)
    started_seconds: float = field(default_factory=time.time)
    model: str
    needs_key: bool
    token: str = field(default_factory=secrets.token_urlsafe, repr=False)
    certificate_sha256: str | None = None
    version: str = __version__


def folder() -> Path:
    """Return the folder of the records."""
    return home() / "servers"


def proof(token: str, nonce: str) -> str:
    """Return what only somebody who knows the token can answer to a nonce."""
    return hmac.new(token.encode(), nonce.encode(), hashlib.sha256).hexdigest()


@contextlib.contextmanager
def announced(record: ServerRecord) -> Iterator[None]:
    """Keep a record during the block.

    Raises:
        FileWriteError: it cannot be written.
    """
    path = folder() / f"{secrets.token_hex(8)}.json"
    lock = path.with_suffix(".lock")
    with contextlib.ExitStack() as after:
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            held = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_EXCL | _OPEN, 0o600)
            after.callback(_remove, path)
            after.callback(os.close, held)
            take(held, wait=True)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _OPEN, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:  # nobody needs it after a power cut
                json.dump(asdict(record), file)
        except OSError as error:
            raise write_error(path, error) from error
        yield


def records() -> list[tuple[Path, ServerRecord]]:
    """Return the files of the records and what they say, the newest server first; some may be left behind."""
    found = [(path, record) for path in folder().glob("*.json") if (record := _read(path)) is not None]
    return sorted(found, key=lambda pair: -pair[1].started_seconds)


def remove_if_left(path: Path, *, wait: bool = False) -> bool:
    """Remove a record whose server has ended; return whether it had.

    Args:
        path: from `records`.
        wait: until it has ended.
    """
    try:
        descriptor = os.open(path.with_suffix(".lock"), os.O_RDWR | _OPEN)
    except OSError:
        _remove(path)  # its last owner, or whoever cleaned up, was faster
        return True
    try:
        ended = take(descriptor, wait=wait)
    finally:
        os.close(descriptor)
    if ended:
        _remove(path)
    return ended


def _remove(path: Path) -> None:
    for one in (path, path.with_suffix(".lock")):
        with contextlib.suppress(OSError):
            one.unlink()


def _read(path: Path) -> ServerRecord | None:
    """Return a record; `None` for a file that is none, or is being written."""
    try:
        with path.open("rb") as file:
            value = json.loads(file.read(MOST_BYTES))
        record = ServerRecord(**value)
    except (OSError, ValueError, TypeError, RecursionError):
        return None
    texts = (record.address, record.model, record.token, record.version)
    right = all(isinstance(text, str) for text in texts) and isinstance(record.started_seconds, int | float)
    return record if right and isinstance(record.pid, int) else None
