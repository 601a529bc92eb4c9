"""Fuzz one reader of files with atheris, guided by the lines that an input reaches.

    python -m tests.hostile.fuzz TARGET [--seconds 600] [--keep FOLDER]
    python -m tests.hostile.fuzz TARGET --merge FOLDER

TARGET is one of those in `fuzz_targets.TARGETS`; the inputs of `corpus/TARGET/` are the start. With `--keep`
all that reached something new go to a folder, of which `--merge` takes the smallest that reach all of it into
the corpus. An input that breaks the rule is written to that folder as `crash-…`, and becomes a named case of
the tests. atheris is for Linux and macOS: `pip install atheris`.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

CORPUS = Path(__file__).parent / "corpus"
WORDS = CORPUS / "words.dict"
MOST_INPUT_BYTES = 4096
NAMES = ("gguf", "adapter", "safetensors", "index")
Step = tuple[str, int, int]


def reached(target: Callable[[bytes], None], data: bytes) -> set[Step]:
    """Return the steps from line to line that an input takes through our readers."""
    steps: set[Step] = set()

    def trace(frame: Any, event: str, _: object) -> Any:
        file = frame.f_code.co_filename
        if "phi4local/gguf" not in file and "phi4local/convert" not in file:
            return None
        before = [0]

        def line(inner: Any, kind: str, _: object) -> Any:
            if kind == "line":
                steps.add((file, before[0], inner.f_lineno))
                before[0] = inner.f_lineno
            return line

        return line if event == "call" else None

    sys.settrace(trace)
    try:
        target(data)
    finally:
        sys.settrace(None)
    return steps


def merge(name: str, folder: Path) -> int:
    """Write the smallest inputs that reach all of what both folders reach; return how many there are."""
    from tests.hostile.fuzz_targets import TARGETS, seeds

    corpus = CORPUS / name
    corpus.mkdir(parents=True, exist_ok=True)
    found = {path.read_bytes() for where in (corpus, folder) for path in where.iterdir()}
    known: set[Step] = set()
    for data in seeds()[name]:
        TARGETS[name](data)  # what is read once only is read here
    kept = []
    for data in (*seeds()[name], *sorted(found, key=lambda data: (len(data), data))):
        new = reached(TARGETS[name], data) - known
        if new:
            known |= new
            kept.append(data)
    for path in corpus.iterdir():
        path.unlink()
    for data in kept:
        (corpus / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
    return len(kept)


def fuzz(name: str, seconds: int, keep: Path | None) -> None:
    """Let atheris look for inputs until the time is over; it ends the process."""
    import atheris

    with atheris.instrument_imports(include=["phi4local.gguf", "phi4local.convert"]):
        from tests.hostile.fuzz_targets import TARGETS, seeds
    work = keep or Path(tempfile.mkdtemp(prefix="phi4local-fuzz-"))
    work.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds()[name]):
        (work / f"seed-{number}").write_bytes(seed)
    flags = [f"-max_len={MOST_INPUT_BYTES}", "-timeout=10", "-rss_limit_mb=2048", "-print_final_stats=1"]
    flags += [f"-max_total_time={seconds}", f"-artifact_prefix={work}/", f"-dict={WORDS}"]
    (CORPUS / name).mkdir(parents=True, exist_ok=True)
    atheris.Setup([sys.argv[0], *flags, str(work), str(CORPUS / name)], TARGETS[name])
    atheris.Fuzz()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("target", choices=NAMES)
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--keep", type=Path, help="a folder for inputs that reach something new")
    parser.add_argument("--merge", type=Path, help="take what this folder adds into the corpus, and end")
    options = parser.parse_args()
    if options.merge:
        sys.stdout.write(f"{merge(options.target, options.merge)} inputs\n")
    else:
        fuzz(options.target, options.seconds, options.keep)


if __name__ == "__main__":
    main()
