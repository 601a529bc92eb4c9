"""Put two GGUF files side by side: keys, tensors, types and bytes. Ours against llama.cpp's converter, say.

    python -m convert.compare OURS.gguf THEIRS.gguf

Differences that FORMAT.md lists are marked as known. The exit code is 0 when there are no others, else 1.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from phi4local import gguf
from phi4local.cli.text import visible
from phi4local.errors import Phi4LocalError

if TYPE_CHECKING:
    from collections.abc import Iterator

KNOWN = {
    "general.name": "the folder's name as it is; llama.cpp's converter makes words of it",
    "general.basename": "left out: llama.cpp's converter guesses it from the folder's name",
    "general.version": "left out, as general.basename",
    "general.finetune": "left out, as general.basename",
    "general.size_label": "left out: it follows from the tensors",
    "tokenizer.ggml.eot_token_id": "llama.cpp's converter leaves it to the loader, which guesses",
    "phi4local.repairs": "what was repaired, and why",
    "phi4local.merged": "which adapters were merged",
}
"""Keys in which our files differ from those of llama.cpp's converter, and why."""

_PIECE_BYTES = 2**24


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference: what differs, as it is in the first file, and in the second."""

    what: str
    ours: str
    theirs: str

    @property
    def known(self) -> bool:
        """Return whether FORMAT.md lists it."""
        return self.what in KNOWN


def differences(ours: Path, theirs: Path) -> Iterator[Difference]:
    """Yield what differs: keys first, then tensors. The order of either is no difference.

    Example: our phi4-nano and llama.cpp's differ in the keys of `KNOWN`, and in no tensor.

    Raises:
        GGUFError: one of the files is damaged.
    """
    first, second = gguf.validate(ours), gguf.validate(theirs)
    for key in sorted(first.metadata.keys() | second.metadata.keys()):
        pair = tuple(_value(header, key) for header in (first, second))
        if pair[0] != pair[1]:
            yield Difference(key, *map(_shortened, pair))
    tensors = [{tensor.name: tensor for tensor in header.tensors} for header in (first, second)]
    for name in sorted(tensors[0].keys() | tensors[1].keys()):
        found = [table.get(name) for table in tensors]
        shapes = [f"{tensor.type.name} of {tensor.shape}" if tensor else "absent" for tensor in found]
        if shapes[0] != shapes[1]:
            yield Difference(name, *shapes)
        elif (
            found[0]
            and found[1]
            and (place := _first_difference(first, found[0], second, found[1])) is not None
        ):
            yield Difference(name, f"other bytes from {place:,} on", "of the same shape and type")


def _value(header: gguf.Header, key: str) -> str:
    if key not in header.metadata:
        return "absent"
    return f"{header.value_types[key]} {header.metadata[key]!r}"


def _shortened(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:60]}… ({len(text):,} characters)"


def _first_difference(
    first: gguf.Header, ours: gguf.TensorInfo, second: gguf.Header, theirs: gguf.TensorInfo
) -> int | None:
    """Return the first byte of a tensor that is not the same in both files."""
    with first.path.open("rb") as one, second.path.open("rb") as other:
        one.seek(first.data_offset + ours.offset)
        other.seek(second.data_offset + theirs.offset)
        for start in range(0, ours.size_bytes, _PIECE_BYTES):
            size = min(_PIECE_BYTES, ours.size_bytes - start)
            pieces = one.read(size), other.read(size)
            if pieces[0] != pieces[1]:
                return start + next(n for n, (a, b) in enumerate(zip(*pieces, strict=True)) if a != b)
    return None


def main(arguments: list[str]) -> int:
    """Compare the two files that are named, and print what differs."""
    if len(arguments) != 2:
        sys.stderr.write("usage: python -m convert.compare OURS.gguf THEIRS.gguf\n")
        return 2
    try:
        found = list(differences(*map(Path, arguments)))
    except Phi4LocalError as error:
        sys.stderr.write(f"error: {visible(str(error))}\nhint: {error.hint}\n")
        return 1
    for one in found:
        note = f"known: {KNOWN[one.what]}" if one.known else "UNKNOWN"
        sys.stdout.write(visible(f"{one.what}: {one.ours} | {one.theirs} | {note}") + "\n")
    unknown = sum(not one.known for one in found)
    sys.stdout.write(f"{len(found) - unknown} known differences, {unknown} others\n")
    return 1 if unknown else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
