"""What a server is told when it starts."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field

from phi4local.errors import InvalidSettingError
from phi4local.settings_base import require, require_whole

DEFAULT_PORT = 8004
"""No other model server's: Ollama has 11434, llama-server 8080, LM Studio 1234, vLLM 8000."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """Where a server listens, whom it answers, and how much a request may take.

    Attributes:
        host: address to listen on; other than loopback only with a key.
        port: 0 takes any free one.
        api_keys: a request must bring one of them; empty for none. They are never printed.
        allowed_hosts: names under which it may be asked, beside its own.
        allowed_origins: pages of other servers that may ask it.
        most_body_bytes: longest request.
        request_seconds: longest time of one answer, waiting in line included.
        client_seconds: how long a client may take to send a header, may send nothing of a body, or read
            nothing of an answer.
        stop_seconds: how long running answers may go on when the server is told to stop.
        access_log: a file that gets a line of JSON for each request, `-` for standard error; `None` for none.
        certificate, certificate_key: PEM files for TLS; both or none.
        owner_token: counts as a key, and allows what only the person may do who started the server; empty for
            nobody.

    Example: `ServerOptions(port=0)`.

    Raises:
        InvalidSettingError: a value outside its range, or an open door without a key.
    """

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    api_keys: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    most_body_bytes: int = 8_000_000
    request_seconds: float = 3600.0
    client_seconds: float = 30.0
    stop_seconds: float = 30.0
    access_log: str | None = None
    certificate: str | None = None
    certificate_key: str | None = None
    owner_token: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        require_whole("port", self.port, low=0, high=65535)
        require_whole("most_body_bytes", self.most_body_bytes, low=1024)
        require("request_seconds", self.request_seconds, low=0.001)
        require("client_seconds", self.client_seconds, low=0.1)
        require("stop_seconds", self.stop_seconds, low=0)
        if (self.certificate is None) != (self.certificate_key is None):
            raise InvalidSettingError(
                "certificate",
                "and its key belong together",
                hint="give both `--tls-certificate` and `--tls-key`",
            )
        if not self.api_keys and not is_loopback(self.host):
            raise InvalidSettingError(
                "host",
                f"is {self.host}: others on the network could use this model without a key",
                hint="add `--api-key-file FILE`, or listen on 127.0.0.1",
            )


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach an address.

    Examples: `localhost`, `127.0.0.1` and `::1` are; `0.0.0.0` and `192.168.1.2` are not.
    """
    try:
        return host.lower() == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
