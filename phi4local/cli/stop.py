"""`phi4local stop`: end a server, or take a model out of its memory."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from phi4local.cli import render
from phi4local.errors import NoServerError

if TYPE_CHECKING:
    from phi4local.runtime.remote.running import RunningServer

LOOK_AGAIN_SECONDS = 0.2
_NONE = "no server of yours runs on this machine"


def complete_loaded(incomplete: str) -> list[str]:
    """Return what a shell offers to stop: loaded models and servers."""
    from phi4local.runtime.remote.running import running_servers

    servers = running_servers()
    names = {model.name for one in servers if one.state for model in one.state.models}
    return sorted(name for name in (*names, *(one.address for one in servers)) if name.startswith(incomplete))


def stop(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL|ADDRESS",
            help="Model to unload, or the server to stop; see `phi4local ps`",
            show_default=False,
            autocompletion=complete_loaded,
        ),
    ] = None,
    server: Annotated[bool, typer.Option("--server", help="Stop the server that has this model")] = False,
    every: Annotated[bool, typer.Option("--all", help="Stop every server")] = False,
) -> None:
    """Stop a running server, or unload one of its models.

    Running answers have the time of `serve --stop-seconds` to end.
    Only servers that you started here can be stopped. Example: phi4local stop
    """
    from phi4local.runtime.remote.address import is_address
    from phi4local.runtime.remote.running import running_servers

    servers = running_servers()
    if not servers:
        raise NoServerError(_NONE, hint="`phi4local serve` starts one")
    if every:
        for one in servers:
            _stop_server(one)
    elif name is None or is_address(name):
        _stop_server(_server_at(servers, name))
    elif server:
        _stop_server(_server_with(servers, name))
    else:
        _unload(_server_with(servers, name), name)


def _server_at(servers: list[RunningServer], address: str | None) -> RunningServer:
    """Return the server at an address, or the only one.

    Raises:
        NoServerError: there is none, or nobody said which.
    """
    known = " or ".join(f"`{one.address}`" for one in servers)
    if address is None:
        if len(servers) > 1:
            raise NoServerError(f"{len(servers)} servers run", hint=f"say which: {known}; or `--all`")
        return servers[0]
    wanted = _place(address)
    found = [one for one in servers if _place(one.address) == wanted]
    if not found:
        raise NoServerError(f"no server of yours listens on `{address}`", hint=f"there is {known}")
    return found[0]


def _place(address: str) -> tuple[str, int]:
    from phi4local.runtime.remote.address import parse_address

    parsed = parse_address(address)
    return "127.0.0.1" if parsed.host == "localhost" else parsed.host, parsed.port


def _server_with(servers: list[RunningServer], model: str) -> RunningServer:
    for one in servers:
        if one.state is not None and any(_is(model, served.name) for served in one.state.models):
            return one
    loaded = [f"`{served.name}`" for one in servers if one.state for served in one.state.models]
    hint = f"in memory: {', '.join(loaded)}" if loaded else "`phi4local ps` lists what is"
    raise NoServerError(f"no server has `{model}` in memory", hint=hint)


def _is(asked: str, name: str) -> bool:
    return asked.casefold() in (name.casefold(), f"{name}:latest".casefold())


def _stop_server(server: RunningServer) -> None:
    if not server.proven:
        pid = server.record.pid
        render.notice(f"{server.address}: does not answer; waiting for the end of process {pid}, or Ctrl-C")
    elif running := server.ask_to_stop():
        answers = render.times(running, "answer")
        render.notice(f"{server.address}: {answers} may still end; Ctrl-C here waits no longer")
    server.wait_until_gone()
    render.notice(f"{server.address}: stopped")


def _unload(server: RunningServer, asked: str) -> None:
    from phi4local.runtime.remote.running import state_of

    connection = server.connection()
    name = next(one.name for one in server.state.models if _is(asked, one.name)) if server.state else asked
    server.ask_to_unload(name)
    told = False
    while state := state_of(connection):
        users = next((one.users for one in state.models if one.name == name), None)
        if users is None:
            break
        if not told:
            render.notice(f"{name}: in use by {render.times(users, 'answer')}; Ctrl-C here waits no longer")
            told = True
        time.sleep(LOOK_AGAIN_SECONDS)
    render.notice(f"{name}: unloaded from {server.address}")
