"""`phi4local adapters`: the LoRA adapters that have a name."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from phi4local.cli import options, render

if TYPE_CHECKING:
    from phi4local.store.adapters import NamedAdapter

app = typer.Typer(
    name="adapters",
    help="LoRA adapters with a name: list, show, add and delete them.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _complete_name(incomplete: str) -> list[str]:
    from phi4local.store import adapters

    return [one.name for one in adapters.named() if one.name.startswith(incomplete)]


Name = Annotated[str, typer.Argument(help="Name, as `adapters list` shows it", autocompletion=_complete_name)]


@app.command("list")
def list_adapters(json: options.Json = False) -> None:
    """List the adapters that have a name.

    Example: phi4local adapters list --json
    """
    from phi4local.store import adapters

    found = adapters.named()
    if json:
        render.print_json([_facts(one) for one in found])
        return
    rows = [(one.name, one.base, _day(one), render.size(one.file.stat().st_size)) for one in found]
    if rows:
        render.table("Adapters", ("NAME", "TRAINED ON", "MADE", "SIZE"), rows, right=("SIZE",))
    else:
        render.notice(
            "there is none yet: `phi4local finetune` trains one, `phi4local adapters add` takes one in"
        )


@app.command("show")
def show(name: Name, json: options.Json = False) -> None:
    """Show where an adapter is, and its matrices.

    Example: phi4local adapters show nova
    """
    found = _found(name)
    facts = _facts(found) | _header(found)
    if json:
        render.print_json(facts)
        return
    for label, value in facts.items():
        shown = f"{value:,}" if isinstance(value, int) else value
        render.write(f"{label.replace('_', ' ')}: {shown}")


@app.command("add")
def add(
    adapter: Annotated[
        str, typer.Argument(help="GGUF file, PEFT folder, or a repository such as hf.co/OWNER/NAME")
    ],
    name: Annotated[str | None, typer.Option("--name", help="Its name", show_default="the file's")] = None,
    base: Annotated[
        str | None,
        typer.Option(
            "--base", metavar="MODEL", help="The model it was trained on", show_default="as it says"
        ),
    ] = None,
) -> None:
    """Keep an adapter under a name; a PEFT folder is converted.

    Example: phi4local adapters add ./my-lora --base phi-4 --name mine
    """
    from phi4local.runtime.adapters import keep_adapter

    with tempfile.TemporaryDirectory(prefix="phi4local-") as folder:
        path = Path(adapter) if Path(adapter).exists() else _fetched(adapter, Path(folder))
        called = Path(adapter).resolve().name.removesuffix(".gguf") if name is None else name
        kept = keep_adapter(path, called, base=base)
    render.notice(
        f"kept {kept.name}; use it with `phi4local chat {kept.base or 'MODEL'} --adapter {kept.name}`"
    )


@app.command("rm")
def rm(names: Annotated[list[str], typer.Argument(help="Names", autocompletion=_complete_name)]) -> None:
    """Delete adapters.

    Example: phi4local adapters rm nova
    """
    from phi4local.store import adapters

    for name in names:
        render.notice(f"removed {name}, {render.size(adapters.remove(name))}")


def _fetched(name: str, folder: Path) -> Path:
    from phi4local.cli.progress import shown_progress
    from phi4local.errors import AdapterError, InvalidReferenceError
    from phi4local.runtime.adapter_pull import fetch_adapter

    try:
        with shown_progress() as progress:
            return fetch_adapter(name, folder, progress=progress)
    except InvalidReferenceError as error:
        hint = "give a GGUF file, a PEFT folder, or hf.co/OWNER/NAME"
        raise AdapterError(name, "is no file, no folder and no repository", hint=hint) from error


def _found(name: str) -> NamedAdapter:
    from phi4local.errors import AdapterError
    from phi4local.store import adapters

    found = adapters.find(name)
    if found is None:
        raise AdapterError(name, "is no adapter in the store", hint="`phi4local adapters list` names them")
    return found


def _facts(one: NamedAdapter) -> dict[str, Any]:
    return {"name": one.name, "trained_on": one.base, "made": _day(one), "file": str(one.file)}


def _header(one: NamedAdapter) -> dict[str, Any]:
    from phi4local.gguf import read_header

    header = read_header(one.file)
    matrices = [tensor for tensor in header.tensors if tensor.name.endswith(".lora_a")]
    return {
        "architecture": header.architecture,
        "matrices": len(matrices),
        "ranks": ", ".join(sorted({str(min(tensor.shape)) for tensor in matrices})),
        "size_bytes": one.size_bytes,
    }


def _day(one: NamedAdapter) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(one.made)) if one.made else "-"
