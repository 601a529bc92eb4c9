"""`phi4local list`: what is on this machine, and what the family has."""

from __future__ import annotations

from typing import Any

from phi4local.cli import options, render


def list_models(json: options.Json = False) -> None:
    """List models: those on this machine, then the rest of the family.

    Example: phi4local list --json
    """
    rows = _rows()
    if json:
        render.print_json(rows)
        return
    render.table(
        "Models",
        ("NAME", "QUANTIZATION", "SIZE", "PARAMETERS", "STATE"),
        [
            (
                row["name"],
                row["quantization"],
                render.size(row["size_bytes"]) if row["size_bytes"] else "-",
                render.count(row["parameters"]) if row["parameters"] else "-",
                row["state"],
            )
            for row in rows
        ],
        right=("SIZE", "PARAMETERS"),
    )


def _rows() -> list[dict[str, Any]]:
    from phi4local import catalog
    from phi4local.runtime.resolve import how_to_get
    from phi4local.store import installed

    manifests = [catalog.find(name) for name in catalog.model_names()]
    parameters = {manifest.name: manifest.parameters for manifest in manifests}
    rows = [
        {
            "name": model.name if model.tag == model.quantization else str(model.reference),
            "quantization": model.quantization,
            "size_bytes": model.size_bytes,
            "parameters": parameters.get(model.member or model.name),
            "state": "ready",
            "path": str(model.path),
        }
        for model in installed.installed()
    ]
    here = {name for model in installed.installed() for name in (model.name, model.member)}
    for manifest in manifests:
        if manifest.name not in here:
            state = "embedded, made at first use" if manifest.folder else how_to_get(manifest)
            rows.append(
                {
                    "name": manifest.name,
                    "quantization": manifest.quantization,
                    "size_bytes": None,
                    "parameters": manifest.parameters,
                    "state": state,
                    "path": None,
                }
            )
    return rows
