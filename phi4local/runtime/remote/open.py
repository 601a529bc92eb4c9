"""An address → the model of the server that is there."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from phi4local.errors import InvalidSettingError, RemoteError, UnknownModelError
from phi4local.runtime.remote.address import parse_address
from phi4local.runtime.remote.connection import SILENCE_SECONDS, Server
from phi4local.runtime.remote.model import RemoteModel
from phi4local.runtime.remote.own_model import own_model

if TYPE_CHECKING:
    from collections.abc import Mapping

    from phi4local.runtime.remote.address import Address

KEY_VARIABLE = "PHI4LOCAL_API_KEY"
OWNER = "phi4local"
"""What this program's servers say who owns their models."""


def open_server(
    address: str, *, api_key: str | None = None, adapters: Mapping[str, float] | None = None
) -> RemoteModel:
    """Return the model of a server; from one of this program every setting, token ids and exact counts.

    Args:
        address: as for `open_remote`.
        api_key: as for `open_remote`.
        adapters: names of adapters that the server has, with their strengths.

    Example: `open_server("http://127.0.0.1:8004#phi-4", adapters={"nova": 0.5})`.

    Raises:
        InvalidSettingError: adapters for a server that takes none.
        Phi4LocalError: as `open_remote`; and why the server cannot load the model.
    """
    server = _server(address, api_key, SILENCE_SECONDS)
    wanted, owned = _choose(server, server.address.model)
    model = own_model(server, wanted, adapters or {}) if owned else None
    if model is None and adapters:
        raise InvalidSettingError("adapters", "have no meaning for this server", hint="load them there")
    return _with_notices(model or RemoteModel(server, wanted, owned=owned), server)


def open_remote(
    address: str, *, api_key: str | None = None, silence_seconds: float = SILENCE_SECONDS
) -> RemoteModel:
    """Return the model of a server by OpenAI's interface, after asking which models it has.

    Args:
        address: `http://HOST:PORT`, with a path other than `/v1` where the server wants one, and with `#NAME`
            where it has several models.
        api_key: what the server wants as a bearer token; unset, PHI4LOCAL_API_KEY. It is sent to this server
            only.
        silence_seconds: how long the server may say nothing.

    Example: `open_remote("http://127.0.0.1:8080").chat("Hello").text`.

    Raises:
        InvalidSettingError: no address, or a key with characters that no header takes.
        RemoteError: the server is not there, refuses, or is no such server.
        UnknownModelError: it has no model of this name, or several and none was chosen.
    """
    server = _server(address, api_key, silence_seconds)
    name, owned = _choose(server, server.address.model)
    return _with_notices(RemoteModel(server, name, owned=owned), server)


def _server(address: str, api_key: str | None, silence_seconds: float) -> Server:
    key = os.environ.get(KEY_VARIABLE) if api_key is None else api_key
    if key is not None and not (key.isascii() and key.isprintable()):
        raise InvalidSettingError("api_key", "has characters that no key has", hint="copy it again")
    return Server(parse_address(address), api_key=key or None, silence_seconds=silence_seconds)


def _with_notices(model: RemoteModel, server: Server) -> RemoteModel:
    where: Address = server.address
    if server.has_key and not where.secure and not where.on_this_machine:
        model.notices = ("the key and every message go over the network unencrypted: use https",)
    return model


def _choose(server: Server, wanted: str | None) -> tuple[str, bool]:
    """Return the name of the model to ask for, and whether the server is one of this program."""
    try:
        listed = server.ask("/models").get("data")
    except RemoteError as error:
        if wanted and error.status == 404:  # a server without a list
            return wanted, False
        raise
    rows = listed if isinstance(listed, list) else []
    names = [row["id"] for row in rows if isinstance(row, dict) and isinstance(row.get("id"), str)]
    owned = bool(names) and all(row.get("owned_by") == OWNER for row in rows)
    if owned and (wanted is None or wanted.partition("+")[0] in names):
        return wanted or names[0], True  # what is in its memory comes first
    if wanted in names or (len(names) == 1 and wanted is None):
        return wanted or names[0], False
    if not names:
        raise server.error("lists no models", hint="load one there first")
    error_name = wanted or str(server.address)
    problem = UnknownModelError(error_name, (), known=names)
    problem.hint = f"put #NAME behind the address, one of: {', '.join(names[:10])}"
    raise problem
