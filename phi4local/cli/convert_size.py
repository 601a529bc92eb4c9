"""`convert --target-size`, `--fit` and `--recipe`: what decides tensor types instead of `-q`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from phi4local.cli import conversion_report, options, render

if TYPE_CHECKING:
    from pathlib import Path

    from phi4local.convert import TargetOptions
    from phi4local.convert.fitting import SizeChoice


DEFAULT = "Q4_K_M"


@dataclass(frozen=True, slots=True)
class SizeWish:
    """What a command line says about types and size.

    Attributes:
        quantization: of `-q`, several with commas, or `None`.
        target_size: such as "8.5GB", or `None`.
        fit: as large as this machine has room for.
        context_tokens: that shall fit beside it, with `fit`.
        recipe: a file that was written for an earlier choice, or `None`.
    """

    quantization: str | None
    target_size: str | None
    fit: bool
    context_tokens: int | None
    recipe: Path | None

    def check(self) -> None:
        """Refuse contradictions.

        Raises:
            InvalidSettingError: more than one of `-q`, `--target-size`, `--fit` and `--recipe`.
        """
        from phi4local.errors import InvalidSettingError

        wishes: dict[str, object] = {"-q": self.quantization, "--target-size": self.target_size}
        wishes |= {"--fit": self.fit or None, "--recipe": self.recipe}
        said = [name for name, value in wishes.items() if value is not None]
        if len(said) > 1:
            raise InvalidSettingError(said[1], f"contradicts {said[0]}", hint="leave one of them out")
        if self.context_tokens is not None and not self.fit:
            raise InvalidSettingError("--context", "says nothing without `--fit`", hint="add `--fit`")


@dataclass(frozen=True, slots=True)
class Chosen:
    """What to convert to.

    Attributes:
        names: quantizations.
        options: tensor types, importance matrix, size of parts.
        label: what stands at the end of the file's name instead of the quantization, or `None`.
        choice: why, if types were measured.
    """

    names: tuple[str, ...]
    options: TargetOptions
    label: str | None = None
    choice: SizeChoice | None = None


def choose(checkpoint: Path, wish: SizeWish, target: TargetOptions, *, threads: int | None) -> Chosen:
    """Return what a command line decides about types.

    Raises:
        UnknownQuantizationError, InvalidSettingError, FileFormatError, NotEnoughMemoryError: wishes.
        CheckpointError, ConversionError: as a conversion.
    """
    from phi4local.convert import quantization_named
    from phi4local.convert.fitting import choose_for_size, read_recipe
    from phi4local.errors import InvalidSettingError

    wish.check()
    if wish.recipe is not None:
        quantization, with_types = read_recipe(wish.recipe, target)
        label = wish.recipe.name.removesuffix(".toml").removesuffix(".recipe")
        return Chosen((quantization,), with_types, label)
    if wish.target_size is None and not wish.fit:
        asked = (wish.quantization or DEFAULT).split(",")
        return Chosen(tuple(dict.fromkeys(quantization_named(name.strip()) for name in asked)), target)
    if target.choices.pure:
        raise InvalidSettingError("--pure", "leaves no types to choose", hint="leave it out")
    size = options.size_bytes(wish.target_size, "target-size") if wish.target_size else None
    size = _room(checkpoint, wish.context_tokens) if size is None else size
    render.notice("reading the checkpoint twice: a sample to measure each type's error, then all of it")
    with conversion_report.progress_bar("Measuring") as show:
        choice = choose_for_size(checkpoint, size, options=target, threads=threads, progress=show)
    explain(choice)
    label = wish.target_size.replace(" ", "") if wish.target_size else "fit"
    return Chosen((choice.quantization,), choice.options, label, choice)


def explain(choice: SizeChoice) -> None:
    """Say which types were chosen, and what that is expected to gain."""
    render.notice(
        f"chosen: {render.size(choice.size_bytes)} of {render.size(choice.target_bytes)}, estimated KL "
        f"divergence {choice.divergence:.4f}; {choice.quantization} has {render.size(choice.mix_bytes)} and "
        f"{choice.mix_divergence:.4f}"
    )
    for kind, types in choice.types.items():
        counts = ", ".join(f"{count} {name}" for name, count in sorted(types.items(), key=lambda t: -t[1]))
        render.notice(f"  {kind:<12} {counts}")


def keep_recipe(chosen: Chosen, output: Path) -> None:
    """Write the recipe beside the file that was made with it, if types were measured.

    Raises:
        FileWriteError: it cannot be written.
    """
    from phi4local import files
    from phi4local.convert.fitting import recipe_text

    if chosen.choice is None:
        return
    path = output.with_name(f"{output.name.removesuffix('.gguf')}.recipe.toml")
    with files.new_file(path, overwrite=True) as file:
        file.write(recipe_text(chosen.choice).encode())
    render.notice(f"recipe: {path}")


def _room(checkpoint: Path, context_tokens: int | None) -> int:
    from phi4local.runtime.room import room_for
    from phi4local.settings import LoadSettings

    room = room_for(checkpoint, LoadSettings(context_tokens=context_tokens))
    place = "on the GPU" if room.place == "GPU" else "in main memory"
    render.notice(
        f"this machine has room for {render.size(room.file_bytes)} {place}, beside {room.context_tokens:,} "
        "tokens of context"
    )
    return room.file_bytes
