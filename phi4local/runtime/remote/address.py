"""The address of a server, as a person types it."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from phi4local.errors import InvalidSettingError

_HINT = "write http://HOST:PORT or https://HOST/v1, with #MODEL behind it to choose a model"


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a server is.

    Attributes:
        host: name or IP address, without brackets.
        path: what stands before `/chat/completions`, usually `/v1`.
        model: the model to ask for, if the person named one.
    """

    secure: bool
    host: str
    port: int
    path: str
    model: str | None

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http{'s' * self.secure}://{host}:{self.port}{self.path}"

    @property
    def on_this_machine(self) -> bool:
        """Whether nothing leaves this machine. Examples: `localhost` and `::1` → True."""
        try:
            return self.host == "localhost" or ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def is_address(word: str) -> bool:
    """Return whether `word` names a server. Example: `"http://127.0.0.1:8080"` → True; `"phi-4"` → False."""
    return word.lower().startswith(("http://", "https://"))


def parse_address(word: str) -> Address:
    """Return the parts of an address; a path is `/v1` when there is none.

    Example: `"http://127.0.0.1:8080#phi4"` → host `127.0.0.1`, port 8080, path `/v1`, model `phi4`.

    Raises:
        InvalidSettingError: no address, or one with a password or a query in it. The address is not shown.
    """
    if any(not character.isprintable() or character.isspace() for character in word):
        raise InvalidSettingError("model", "is an address with a space in it", hint=_HINT)
    try:
        parts = urlsplit(word)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise InvalidSettingError("model", "is no valid address", hint=_HINT) from None
    if parts.username is not None or parts.password is not None or parts.query:
        raise InvalidSettingError(
            "model", "is an address with a user or a query", hint="set PHI4LOCAL_API_KEY to the server's key"
        )
    if not is_address(word) or not host or not (host + parts.path).isascii() or port == 0:
        raise InvalidSettingError("model", "is no valid address", hint=_HINT)
    secure = parts.scheme == "https"
    return Address(
        secure=secure,
        host=host,
        port=port or (443 if secure else 80),
        path=parts.path.rstrip("/") or "/v1",
        model=unquote(parts.fragment) or None,
    )
