"""Who is told which secret: tokens go to the hub that they are for and to nobody else."""

from __future__ import annotations

import os
import re
import urllib.parse
from typing import TYPE_CHECKING

from phi4local.errors import AccessDeniedError, InvalidReferenceError
from phi4local.store.http import Credentials, origin_of

if TYPE_CHECKING:
    from collections.abc import Collection

TRUST = "PHI4LOCAL_TRUST_ENDPOINT"
"""Set to 1, tokens go to the mirror or registry that the environment names too."""


def endpoint_from(text: str, variable: str) -> str:
    """Return the address of a hub without a path; the scheme may be missing, as ModelScope allows.

    Raises:
        InvalidReferenceError: no address.
    """
    address = text.strip().rstrip("/")
    address = address if "://" in address else f"https://{address}"
    try:
        parts = urllib.parse.urlsplit(address)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.username is None
    except ValueError:
        good = False
    if not good:
        raise InvalidReferenceError(variable, "is no address", hint=f"set {variable} to https://HOST")
    return f"{origin_of(address)}{parts.path}"


def is_trusted(endpoint: str, origins: Collection[str]) -> bool:
    """Return whether a token may go to this endpoint."""
    return origin_of(endpoint) in origins or os.environ.get(TRUST, "").strip() == "1"


def checked_token(token: str, variable: str) -> str:
    """Return a token that can stand in a header.

    Raises:
        AccessDeniedError: it cannot; the message does not repeat it.
    """
    if not re.fullmatch(r"[\x21-\x7e]{1,16384}", token.strip()):
        raise AccessDeniedError(f"{variable} holds no token", hint=f"set {variable} again, or unset it")
    return token.strip()


def bearer(endpoint: str, token: str | None) -> Credentials:
    """Return credentials with a Bearer token, or empty ones."""
    return Credentials(endpoint, {"Authorization": f"Bearer {token}"} if token else None)
