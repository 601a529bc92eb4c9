"""The command line: parse, call one library function, render. One command a file, one error boundary."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import traceback
from typing import TYPE_CHECKING, Annotated

import typer

from phi4local.cli import (
    adapters,
    bench,
    chat,
    check,
    convert,
    convert_adapter,
    copy_model,
    create,
    disk_usage,
    doctor,
    eval,  # noqa: A004 - the command's name
    finetune,
    imatrix,
    import_file,
    list_models,
    plan,
    ps,
    pull,
    quality,
    remove,
    run,
    serve,
    sessions,
    show,
    stop,
    verify,
)
from phi4local.cli.output import prepare_streams
from phi4local.cli.text import visible
from phi4local.cli.usage import Commands
from phi4local.errors import Phi4LocalError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

EXIT_ERROR, EXIT_INTERRUPTED, EXIT_TERMINATED = 1, 130, 143
HANG_UP_SECONDS = 10

app = typer.Typer(
    name="phi4local",
    cls=Commands,
    help="Microsoft's Phi-4 on your own machine.",
    epilog="MODEL is a name from `phi4local list`, a GGUF file or a safetensors folder.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("chat")(chat.chat)
app.command("run")(run.run)
app.command("serve")(serve.serve)
app.command("ps")(ps.ps)
app.command("stop")(stop.stop)
app.command("pull")(pull.pull)
app.command("convert")(convert.convert)
app.command("convert-adapter")(convert_adapter.convert_adapter)
app.command("imatrix")(imatrix.imatrix)
app.command("check")(check.check)
app.command("plan")(plan.plan)
app.command("recommend")(plan.recommend)
app.command("list")(list_models.list_models)
app.command("show")(show.show)
app.command("create")(create.create)
app.command("import")(import_file.import_file)
app.command("cp")(copy_model.cp)
app.command("rm")(remove.rm)
app.command("prune")(remove.prune)
app.command("du")(disk_usage.du)
app.command("verify")(verify.verify)
app.add_typer(sessions.app)
app.command("bench")(bench.bench)
app.command("quality")(quality.quality)
app.command("eval")(eval.evaluate)
app.command("finetune")(finetune.finetune)
app.add_typer(adapters.app)
app.command("doctor")(doctor.doctor)


def _print_version(*, wanted: bool) -> None:
    if wanted:
        from phi4local import __version__

        sys.stdout.write(f"phi4local {__version__}\n")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=lambda value: _print_version(wanted=value),
            is_eager=True,
            help="Print the version and exit",
        ),
    ] = False,
) -> None:
    """Take the options that stand before a command."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code: the one place that turns errors into lines.

    0 done, 1 a known error (one `error:` line and one `hint:` line), 2 wrong usage, 130 interrupted,
    143 terminated. `PHI4LOCAL_DEBUG=1` adds the traceback.

    Example: `main(["run", "phi4-nano", "Hello"])`.
    """
    prepare_streams()
    _raise_on_termination()
    try:
        try:
            app(args=list(arguments) if arguments is not None else None)
        finally:
            sys.stdout.flush()
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else EXIT_ERROR if stop.code else 0
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except Phi4LocalError as error:
        return _report(str(error), error.hint)
    except Exception as error:  # noqa: BLE001 - the boundary: a person gets a line, not a traceback
        line = f"internal error: {type(error).__name__}: {error}"
        return _report(line, "please report it with the output of `PHI4LOCAL_DEBUG=1` before the command")
    return 0


def _report(message: str, hint: str | None) -> int:
    if os.environ.get("PHI4LOCAL_DEBUG"):
        traceback.print_exc()
    lines = f"error: {visible(message)}\n"
    if hint:
        lines += f"hint: {visible(hint)}\n"
    with contextlib.suppress(OSError):
        sys.stderr.write(lines)
        sys.stderr.flush()
    return EXIT_ERROR


def _raise_on_termination() -> None:
    """End on SIGTERM like on Ctrl-C, so that unfinished files are removed."""

    def stop(number: int, _frame: FrameType | None) -> None:
        if number == getattr(signal, "SIGHUP", None):
            # Where the exception is swallowed, a line editor would read from the closed terminal for ever.
            last = threading.Timer(HANG_UP_SECONDS, os._exit, [EXIT_TERMINATED])
            last.daemon = True
            last.start()
        raise SystemExit(EXIT_TERMINATED)

    with contextlib.suppress(ValueError):  # not the main thread: the host program decides
        signal.signal(signal.SIGTERM, stop)
        if hasattr(signal, "SIGHUP"):
            signal.signal(signal.SIGHUP, stop)
