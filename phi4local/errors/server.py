"""What goes wrong while phi4local serves others."""

from __future__ import annotations

from phi4local.errors.base import Phi4LocalError


class ServerError(Phi4LocalError):
    """A server that cannot start, or a request that it cannot take."""


class AddressInUseError(ServerError):
    """The address is taken, or may not be listened on."""

    def __init__(self, host: str, port: int, problem: str) -> None:
        super().__init__(
            f"cannot listen on {host} port {port}: {problem}",
            hint="choose another with `--port`, or end the program that has it",
        )
        self.host, self.port = host, port


class NoServerError(ServerError):
    """A server or a loaded model that a command names, or needs, and that is not there."""


class RequestTimeoutError(ServerError):
    """A request that took longer than the server allows, before its answer began."""

    def __init__(self, seconds: float) -> None:
        super().__init__(
            f"no answer began within {seconds:,.0f} seconds",
            hint="try again later, or start the server with a larger `--request-seconds`",
        )
        self.seconds = seconds


class UnsupportedFieldError(ServerError):
    """A field of a request that means nothing here, or has a value that means nothing.

    Attributes:
        field: where it is, such as `messages[0].content[1].type`.
    """

    def __init__(self, field: str, problem: str, *, hint: str | None = None) -> None:
        super().__init__(
            f"`{field}` {problem}", hint=hint or "leave it out; docs/serve.md lists what is known"
        )
        self.field = field
