"""A choice of types as a small TOML file, with which the same file is made again."""

from __future__ import annotations

import re
import tomllib
from dataclasses import replace
from typing import TYPE_CHECKING

from phi4local.convert.plan import quantization_named
from phi4local.convert.typing_rules import TargetOptions, tensor_type_named
from phi4local.errors import FileFormatError
from phi4local.planning.mixes import TypeChoices

if TYPE_CHECKING:
    from pathlib import Path

    from phi4local.convert.fitting.choice import SizeChoice

MOST_BYTES = 2**20
_NAME = re.compile(r"[\w.]+")


def recipe_text(choice: SizeChoice) -> str:
    """Return a choice as TOML. Example: `quantization = "Q4_K_M"`, and a table `[types]` of all matrices."""
    lines = [
        "# Tensor types that `phi4local convert` chose for a size; `--recipe` uses them again.",
        f'quantization = "{choice.quantization}"',
        f"target_bytes = {choice.target_bytes}",
        f"estimated_divergence = {choice.divergence:.6f}",
        "",
        "[types]",
        *(f'"{name}" = "{kind}"' for name, kind in choice.by_tensor.items()),
    ]
    return "\n".join(lines) + "\n"


def read_recipe(path: Path, options: TargetOptions) -> tuple[str, TargetOptions]:
    """Return the quantization and the options of a recipe.

    Args:
        path: what `recipe_text` wrote.
        options: importance matrix and size of parts.

    Raises:
        FileFormatError: it cannot be read, or is no recipe.
        UnknownQuantizationError, InvalidSettingError: it names a type that does not exist.
    """
    hint = "give a file that `phi4local convert --target-size` wrote"
    try:
        with path.open("rb") as file:
            data = tomllib.loads(file.read(MOST_BYTES).decode())
    except OSError as error:
        raise FileFormatError(path, (error.strerror or str(error)).lower(), hint=hint) from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise FileFormatError(path, f"is no recipe: {error}", hint=hint) from error
    types, quantization = data.get("types"), data.get("quantization")
    if not isinstance(types, dict) or not types or not isinstance(quantization, str):
        raise FileFormatError(path, "is no recipe: `quantization` or `[types]` is missing", hint=hint)
    for name, kind in types.items():
        if not isinstance(kind, str) or not _NAME.fullmatch(name):
            raise FileFormatError(path, f"is no recipe: {name!r} is no tensor with a type", hint=hint)
    overrides = tuple(
        (f"^{re.escape(name)}$", tensor_type_named(kind, "recipe")) for name, kind in types.items()
    )
    return quantization_named(quantization), replace(options, choices=TypeChoices(overrides=overrides))
