"""`phi4local ps`: the servers that run, and what they hold in memory."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from phi4local.cli import options, render

if TYPE_CHECKING:
    from phi4local.runtime.remote.running import RunningServer, ServedModel

SHORT_SECONDS = 90
SILENT = "does not answer: it stops just now, or has too much to do"


def ps(json: options.Json = False) -> None:
    """List running servers and the models in their memory.

    Example: phi4local ps --json
    """
    from phi4local.runtime.remote.running import running_servers

    servers = running_servers()
    if json:
        render.print_json([_told(server) for server in servers])
        return
    if not servers:
        render.notice("no server of yours runs on this machine; `phi4local serve` starts one")
    rows = [row for server in servers for row in _rows(server)]
    if rows:
        render.table(
            "Running servers",
            ("SERVER", "MODEL", "SIZE", "CONTEXT", "IN USE", "UNLOADED"),
            rows,
            right=("SIZE", "CONTEXT", "IN USE"),
        )


def _rows(server: RunningServer) -> list[tuple[str, ...]]:
    if server.state is None:
        why = f"phi4local {server.record.version}, which says it otherwise" if server.proven else SILENT
        return [(server.address, why, "", "", "", "")]
    if not server.state.models:
        return [(server.address, "none", "", "", "", "")]
    return [(server.address, *_row(model)) for model in server.state.models]


def _row(model: ServedModel) -> tuple[str, ...]:
    adapters = f" + {render.times(len(model.adapters), 'adapter')}" if model.adapters else ""
    return (
        title(model.name, model.quantization) + adapters,
        render.size(model.size_bytes),
        f"{model.context_tokens:,}",
        str(model.users),
        _until(model),
    )


def title(name: str, quantization: str) -> str:
    """Return name and quantization. Example: "phi-4 Q4_K_M"."""
    known = quantization in ("", "unknown") or quantization.lower() in name.lower()
    return name if known else f"{name} {quantization}"


def _until(model: ServedModel) -> str:
    """Return when a model goes. Examples: "in 4 min", "in 12 s", "not while in use", "stays"."""
    if model.seconds_left is None:
        return "not while in use" if model.users else "stays"
    if model.seconds_left < SHORT_SECONDS:
        return f"in {model.seconds_left:.0f} s"
    return f"in {model.seconds_left / 60:,.0f} min"


def _told(server: RunningServer) -> dict[str, Any]:
    record, state = server.record, server.state
    return {
        "address": record.address,
        "pid": record.pid,
        "started_seconds": record.started_seconds,
        "version": record.version,
        "tls": record.certificate_sha256 is not None,
        "needs_key": record.needs_key,
        "guarded": None if state is None else state.guarded,
        "answers": server.proven,
        "models": [] if state is None else [asdict(model) for model in state.models],
    }
