"""`phi4local list`: what is on this machine, and what the family has."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from phi4local.cli import options, render

if TYPE_CHECKING:
    from phi4local.catalog import Manifest
    from phi4local.store.installed import InstalledModel


def list_models(json: options.Json = False) -> None:
    """List models: those on this machine, then the rest of the family.

    Example: phi4local list --json
    """
    from phi4local.store import installed

    here, others = _rows()
    if json:
        render.print_json(here + others)
        return
    if here:
        render.table(
            "On this machine",
            ("NAME", "QUANTIZATION", "SIZE", "PARAMETERS"),
            [
                (row["reference"], row["quantization"] or "-", render.size(row["size_bytes"]), _count(row))
                for row in here
            ],
            right=("SIZE", "PARAMETERS"),
        )
    for reason in installed.broken():
        render.notice(f"note: {reason}")
    if others:
        render.table(
            "The rest of the family",
            ("NAME", "PARAMETERS", "COMMAND OR CHECKPOINT"),
            [(row["name"], _count(row), row["get"]) for row in others],
            right=("PARAMETERS",),
        )


def _count(row: dict[str, Any]) -> str:
    return render.count(row["parameters"]) if row["parameters"] else "-"


def _rows() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    from phi4local import catalog
    from phi4local.store import installed

    manifests = {name: catalog.find(name) for name in catalog.model_names()}
    models = installed.installed()
    known = {name for model in models for name in (model.name, model.member)}
    here = [_installed_row(model, manifests.get(model.member or model.name)) for model in models]
    return here, [_family_row(manifest) for name, manifest in manifests.items() if name not in known]


def _installed_row(model: InstalledModel, member: Manifest | None) -> dict[str, Any]:
    return {
        "name": model.name,
        "reference": str(model.reference),
        "quantization": model.quantization,
        "size_bytes": model.size_bytes,
        "parameters": member.parameters if member else _number(model.parameters),
        "state": "ready",
        "id": model.manifest.sha256[:12],
        "source": model.source,
        "path": str(model.path),
    }


def _family_row(manifest: Manifest) -> dict[str, Any]:
    return {
        "name": manifest.name,
        "reference": None,
        "quantization": manifest.quantization,
        "size_bytes": None,
        "parameters": manifest.parameters,
        "state": "embedded, made at first use" if manifest.folder else "not on this machine",
        "get": _way(manifest),
        "path": None,
    }


def _way(manifest: Manifest) -> str:
    """Return how it comes here, in 40 characters. Example: `phi4local pull phi-4`."""
    if manifest.folder:
        return f"phi4local chat {manifest.name}"
    return f"phi4local pull {manifest.name}" if manifest.gguf_repository else str(manifest.repository)


def _number(text: str) -> int | None:
    """Return a number of parameters as Ollama writes it. Example: "14.7B" → 14_700_000_000."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([BMK])", text)
    return round(float(found[1]) * {"B": 1e9, "M": 1e6, "K": 1e3}[found[2]]) if found else None
