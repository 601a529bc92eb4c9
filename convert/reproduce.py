"""Build a recipe's files and compare their SHA-256 with what the recipe says.

    python -m convert.reproduce phi4-nano --output build/
    python -m convert.reproduce phi-4 --checkpoint ~/models/phi-4 --output build/

A recipe, `convert/recipes/NAME.toml`, names the checkpoint (a folder of this checkout, or a repository and
its revision), the quantizations, the kernels, the calibration (an importance matrix) and the sums. What
Numba's kernels make is the same on every machine; what ggml makes, and types without such a kernel, only
where ggml is built without fused multiply-add, as for x86-64. `SHA256SUMS` is written beside the files, for
`sha256sum --check`.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from phi4local import files
from phi4local.cli.text import visible
from phi4local.convert import TargetOptions, convert_to_several
from phi4local.errors import CheckpointError, InvalidSettingError, Phi4LocalError

CHECKOUT = Path(__file__).parents[1]
RECIPES = Path(__file__).parent / "recipes"
SUMS = "SHA256SUMS"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What to build, and what must come out.

    Attributes:
        path: the recipe's file.
        name: the model, and the name that the checkpoint's folder must have: it becomes `general.name`.
        folder: the checkpoint in this checkout, or `None`.
        repository: where it is published, with `revision`, or `None`.
        kernels: "numba" or "ggml".
        quantizations: what is made, largest first.
        imatrix: the importance matrix beside the recipe, or `None`.
        checkpoint_sha256: sums of the checkpoint's files, by name.
        sha256: sums of the results, by quantization; those that are not known yet are not there.
    """

    path: Path
    name: str
    folder: Path | None
    repository: str | None
    revision: str | None
    kernels: str
    quantizations: tuple[str, ...]
    imatrix: Path | None
    checkpoint_sha256: dict[str, str]
    sha256: dict[str, str]

    def file_name(self, quantization: str) -> str:
        """Return the name of a result. Example: `phi4-nano-Q4_K_M.gguf`."""
        return f"{self.name}-{quantization}.gguf"


def read_recipe(name: str) -> Recipe:
    """Return the recipe `name` of this checkout.

    Raises:
        InvalidSettingError: there is none.
    """
    path = RECIPES / f"{name}.toml"
    known = sorted(path.stem for path in RECIPES.glob("*.toml"))
    if name not in known:
        raise InvalidSettingError("recipe", f"is {name!r}", hint=f"choose one of {', '.join(known)}")
    data: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    checkpoint, calibration = data["checkpoint"], data.get("calibration")
    return Recipe(
        path=path,
        name=data["name"],
        folder=CHECKOUT / checkpoint["folder"] if "folder" in checkpoint else None,
        repository=checkpoint.get("repository"),
        revision=checkpoint.get("revision"),
        kernels=data["kernels"],
        quantizations=tuple(data["quantizations"]),
        imatrix=path.parent / calibration["imatrix"] if calibration else None,
        checkpoint_sha256=checkpoint.get("sha256", {}),
        sha256=data.get("sha256", {}),
    )


def build(recipe: Recipe, checkpoint: Path, output: Path, *, kernels: str | None = None) -> dict[str, str]:
    """Make every file of `recipe` below `output`, reading the weights once, and return their sums.

    Args:
        recipe: what to make.
        checkpoint: the checkpoint's folder.
        output: an existing folder; files of the same names are replaced.
        kernels: other kernels than the recipe's.

    Raises:
        CheckpointError: the checkpoint is another one than the recipe's.
        Phi4LocalError: as `convert_to_several`.
    """
    check_checkpoint(recipe, checkpoint)
    paths = {quantization: output / recipe.file_name(quantization) for quantization in recipe.quantizations}
    convert_to_several(
        checkpoint,
        paths,
        overwrite=True,
        kernels=kernels or recipe.kernels,
        target=TargetOptions(imatrix=recipe.imatrix),
    )
    found = {quantization: digest(path) for quantization, path in paths.items()}
    lines = [f"{total}  {recipe.file_name(quantization)}\n" for quantization, total in found.items()]
    with files.new_file(output / SUMS, overwrite=True) as file:
        file.write("".join(lines).encode())
    return found


def check_checkpoint(recipe: Recipe, checkpoint: Path) -> None:
    """Raise unless `checkpoint` is the recipe's, by its name and the sums of its files."""
    if checkpoint.resolve().name != recipe.name:
        raise CheckpointError(
            checkpoint, f"its name becomes the model's, and this recipe's is {recipe.name}", hint="rename it"
        )
    for name, expected in recipe.checkpoint_sha256.items():
        try:
            found = digest(checkpoint / name)
        except OSError as error:
            raise CheckpointError(checkpoint / name, f"cannot be read: {error.strerror or error}") from error
        if found != expected:
            raise CheckpointError(checkpoint / name, f"has the SHA-256 {found}, the recipe's has {expected}")


def digest(path: Path) -> str:
    """Return the SHA-256 of a file, 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def update(recipe: Recipe, found: dict[str, str]) -> None:
    """Write the sums into the recipe."""
    text = recipe.path.read_text(encoding="utf-8")
    table = "[sha256]\n" + "".join(f'{name} = "{total}"\n' for name, total in found.items())
    kept = re.sub(r"\[sha256\]\n(.*\n)*\Z", "", text)
    recipe.path.write_text(kept + table, encoding="utf-8")


def main(arguments: list[str] | None = None) -> int:
    """Build a recipe and say for each file whether it is what it should be."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipe")
    parser.add_argument("--checkpoint", type=Path, help="where the checkpoint is, if not in this checkout")
    parser.add_argument("--output", type=Path, required=True, help="folder for the files")
    parser.add_argument("--kernels", choices=("numba", "ggml"), help="other kernels than the recipe's")
    parser.add_argument("--update", action="store_true", help="write the sums into the recipe")
    options = parser.parse_args(arguments)
    try:
        recipe = read_recipe(options.recipe)
        checkpoint = options.checkpoint or recipe.folder
        if checkpoint is None:
            where = f"{recipe.repository} at {recipe.revision}"
            raise InvalidSettingError(
                "checkpoint", "is missing", hint=f"download {where} and name its folder"
            )
        options.output.mkdir(parents=True, exist_ok=True)
        found = build(recipe, checkpoint, options.output, kernels=options.kernels)
    except Phi4LocalError as error:
        sys.stderr.write(f"error: {visible(str(error))}\nhint: {error.hint}\n")
        return 1
    if options.update:
        update(recipe, found)
        return 0
    return report(recipe, found)


def report(recipe: Recipe, found: dict[str, str]) -> int:
    """Print a line for each file; return 1 if one is another than the recipe's."""
    for quantization, total in found.items():
        expected = recipe.sha256.get(quantization)
        word = "as in the recipe" if total == expected else f"NOT {expected or 'in the recipe'}"
        sys.stdout.write(f"{total}  {recipe.file_name(quantization)}  {word}\n")
    return int(any(total != recipe.sha256.get(name, total) for name, total in found.items()))


if __name__ == "__main__":
    sys.exit(main())
