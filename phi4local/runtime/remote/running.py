"""The servers of this person that run on this machine, and what they say about themselves."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from phi4local.errors import InvalidSettingError, RemoteError
from phi4local.runtime.remote import records
from phi4local.runtime.remote.address import parse_address
from phi4local.runtime.remote.connection import SILENCE_SECONDS, Server

if TYPE_CHECKING:
    from pathlib import Path

    from phi4local.runtime.remote.records import ServerRecord

PROTOCOL = 1
"""Of the addresses below `OWN`; another version of phi4local may have another one."""
OWN = "/phi4local"
"""Where a server has what only this program uses."""
PROOF_SECONDS = 3.0
"""How long a server of this machine may take to say who it is; one that takes longer is of no use now."""


_TYPES: dict[str, Any] = {
    "str": str,
    "int": int,
    "bool": bool,
    "float": int | float,
    "float | None": int | float | None,
    "tuple[str, ...]": list,
    "dict[str, Any]": dict,
}
"""What JSON has for the fields of `ServedModel`; another machine's server may send anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel:
    """A model in a server's memory.

    Attributes:
        name: what requests call it.
        path: its file; empty for who is not the server's owner.
        file_bytes: its size when it was loaded.
        loaded_seconds: when that was, in seconds since 1970.
        quantization: such as `Q4_K_M`.
        size_bytes: of the weights in memory.
        settings: the load settings, resolved.
        adapters: that are loaded with it.
        users: answers that it writes just now.
        seconds_left: until it is unloaded; `None` for one that is in use or stays.
    """

    name: str
    path: str
    file_bytes: int
    loaded_seconds: float
    quantization: str
    size_bytes: int
    context_tokens: int
    trained_context_tokens: int
    thinking: bool
    default_stop: tuple[str, ...]
    settings: dict[str, Any]
    adapters: tuple[str, ...]
    users: int
    seconds_left: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What a server says about itself.

    Attributes:
        guarded: whether a guard checks its questions and answers.
        models: in its memory.
    """

    guarded: bool
    models: tuple[ServedModel, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningServer:
    """A server of this person.

    Attributes:
        record: what it has left in the folder of records.
        path: that file.
        proven: whether it has shown that it knows the record's secret; if not, it says nothing: it stops just
            now, or has too much to do.
        state: what it says now; `None` for one that says nothing, or that another version would understand.
    """

    record: ServerRecord
    path: Path
    proven: bool = False
    state: State | None = None

    @property
    def address(self) -> str:
        """Where it is."""
        return self.record.address

    def connection(self, *, silence_seconds: float = SILENCE_SECONDS) -> Server:
        """Return the way to talk to it, with its own key."""
        where = replace(parse_address(self.address), path="")
        return Server(
            where,
            api_key=self.record.token,
            silence_seconds=silence_seconds,
            certificate_sha256=self.record.certificate_sha256,
        )

    def ask_to_stop(self) -> int:
        """Ask it to stop as on Ctrl-C; return how many answers it still writes.

        Raises:
            RemoteError: it does not answer.
        """
        return int(self.connection().ask(f"{OWN}/stop", {}).get("running", 0))

    def ask_to_unload(self, model: str) -> bool:
        """Ask it to unload a model as soon as nobody uses it; return whether it had it.

        Raises:
            RemoteError: it does not answer.
        """
        return bool(self.connection().ask(f"{OWN}/unload", {"model": model}).get("unloaded"))

    def wait_until_gone(self) -> None:
        """Wait until its process has ended, however long that takes."""
        records.remove_if_left(self.path, wait=True)


def running_servers() -> list[RunningServer]:
    """Return the servers of this person, the newest first; records of those that ended are removed.

    A server is asked to prove that it knows the record's secret before it is told anything: another program
    may have its port today.
    """
    found = []
    for path, record in records.records():
        server = _asked(RunningServer(record=record, path=path))
        if server.proven or not records.remove_if_left(path):
            found.append(server)
    return found


def state_of(server: Server) -> State | None:
    """Return what a server says about itself; `None` when it is none of this program's, or of other years.

    Raises:
        RemoteError: it is not there, or refuses.
    """
    told = server.ask(f"{OWN}/state")
    if told.get("protocol") != PROTOCOL:
        return None
    try:
        models = tuple(_served(row) for row in told["models"])
        return State(guarded=bool(told["guarded"]), models=models)
    except (KeyError, TypeError):
        return None


def _asked(server: RunningServer) -> RunningServer:
    nonce = secrets.token_urlsafe()
    try:
        connection = server.connection(silence_seconds=PROOF_SECONDS)
        said = connection.without_key().ask(f"{OWN}/hello?nonce={nonce}")
        if said.get("proof") == records.proof(server.record.token, nonce):
            server = replace(server, proven=True)
            server = replace(server, state=state_of(connection))
    except (RemoteError, InvalidSettingError):
        pass  # it stays as unknown as it is
    return server


def _served(row: dict[str, Any]) -> ServedModel:
    known: dict[str, Any] = {}
    for one in fields(ServedModel):
        known[one.name] = value = row[one.name]
        if not isinstance(value, _TYPES[str(one.type)]):
            raise TypeError(one.name)
    for name in ("default_stop", "adapters"):
        known[name] = tuple(str(text) for text in known[name])
    return ServedModel(**known)
