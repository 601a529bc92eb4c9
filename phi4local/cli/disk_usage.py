"""`phi4local du`: what takes the room."""

from __future__ import annotations

from phi4local.cli import options, render


def du(json: options.Json = False) -> None:
    """Show what models take on the disk.

    ALONE is what `rm` would free: files that several models share count for none of them.
    Example: phi4local du --json
    """
    from phi4local.store import kept

    usage = kept.usage()
    if json:
        rows_json = [
            {"name": str(name), "bytes": size, "alone_bytes": own} for name, size, own in usage.models
        ]
        totals = {
            "total_bytes": usage.total_bytes,
            "linked_bytes": usage.linked_bytes,
            "unused_bytes": usage.unused_bytes,
            "unfinished_bytes": usage.unfinished_bytes,
        }
        render.print_json({"models": rows_json, **totals})
        return
    models = sorted(usage.models, key=lambda row: -row[1])
    rows = [(str(name), render.size(size), render.size(own)) for name, size, own in models]
    render.table("Disk usage", ("NAME", "SIZE", "ALONE"), rows, right=("SIZE", "ALONE"))
    render.notice(f"{render.size(usage.total_bytes)} in all, each file counted once")
    for size, what in (
        (usage.linked_bytes, "are files of yours, or of other tools, that are only linked here"),
        (usage.unused_bytes, "are needed by no model: `phi4local prune`"),
        (usage.unfinished_bytes, "were not downloaded to their end: `phi4local rm --partial`"),
    ):
        if size:
            render.notice(f"{render.size(size)} {what}")
