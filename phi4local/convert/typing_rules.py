"""The types of one model's tensors: the mix, a person's own choices, and an importance matrix, checked."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from phi4local.convert.imatrix import Imatrix, read_imatrix
from phi4local.convert.layout import TypedTensor
from phi4local.convert.strict_json import shown
from phi4local.errors import ConversionError, FileFormatError, InvalidSettingError, MissingImatrixError
from phi4local.native.ggml import NEEDS_COLUMN_WEIGHTS, TENSOR_TYPES, row_size_bytes
from phi4local.planning.mixes import Mix, TypeChoices, choose_types, needs_importance
from phi4local.planning.recipes import TERNARY

if TYPE_CHECKING:
    from pathlib import Path

    from numpy import float32
    from numpy.typing import NDArray

    from phi4local.convert.metadata import MetadataEntry
    from phi4local.convert.model_source import ModelSource, NamedTensor

UNWEIGHTED_TYPES = frozenset({"F32", "F16", "BF16", "Q8_0", "TQ1_0", "TQ2_0", "MXFP4"})
"""Types whose bytes are the same with and without an importance matrix."""

READABLE_TYPES = ("F32", "F16", "BF16", "Q8_0")
"""What can be quantized again: these lose little or nothing."""

_EMBEDDING = "token_embd.weight"
# No model run has entries for these: an embedding is looked up, and llama-imatrix leaves the output out.
_NEVER_COUNTED = (_EMBEDDING, "output.weight")


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetOptions:
    """How the output shall differ from the plain quantization.

    Attributes:
        choices: tensor types that a person wants.
        imatrix: an importance matrix, from llama-imatrix.
        split_bytes: most bytes of tensors in one file.
        ternary: make TQ1_0 and TQ2_0, which turn a dense model into noise.
    """

    choices: TypeChoices = field(default_factory=TypeChoices)
    imatrix: Path | None = None
    split_bytes: int | None = None
    ternary: bool = False


class Rules:
    """Decide the type and the column weights of every tensor of one model.

    Example: `Rules(source, TargetOptions()).apply("Q4_K_M")[0].type` → `"Q6_K"`, of `output.weight`.

    Raises:
        InvalidSettingError: a type or an expression that does not exist.
        FileFormatError: the importance matrix cannot be read.
    """

    def __init__(self, source: ModelSource, options: TargetOptions) -> None:
        self._source, self._options = source, options
        self._choices = _checked(options.choices)
        self._imatrix: Imatrix | None = read_imatrix(options.imatrix) if options.imatrix else None

    def apply(self, quantization: str) -> list[TypedTensor]:
        """Return the tensors with their types, in order.

        Raises:
            MissingImatrixError: a tensor needs an entry of an importance matrix that is not there.
            FileFormatError: an entry has another length than the rows of its tensor.
            ConversionError: a type that a tensor cannot be turned into.
            InvalidSettingError: a type whose blocks do not fit the rows; a ternary one without `ternary`.
        """
        if quantization in TERNARY and not self._options.ternary:
            raise InvalidSettingError(
                "quantization",
                f"is {quantization}, for models trained with the weights -1, 0 and 1; Phi-4 becomes noise",
                hint="choose IQ1_S or IQ2_XXS for a small file, or add `--force`",
            )
        source = self._source
        mix = Mix(
            quantization=quantization,
            layers=source.layers,
            heads_per_kv_head=source.heads_per_kv_head,
            tied_embeddings=source.tied_embeddings,
            importance=self._imatrix is not None,
            choices=self._choices,
        )
        types = choose_types([(tensor.name, tensor.shape) for tensor in source.tensors], mix)
        return [self._typed(tensor, types[tensor.name], quantization) for tensor in source.tensors]

    def metadata(self) -> tuple[MetadataEntry, ...]:
        """Return the keys about the importance matrix, none without one."""
        return self._imatrix.metadata() if self._imatrix else ()

    def unweighted(self, typed: list[TypedTensor]) -> tuple[str, ...]:
        """Return the tensors that the matrix should know and does not."""
        if self._imatrix is None:
            return ()
        return tuple(
            entry.tensor.name
            for entry in typed
            if entry.column_weights is None
            and entry.type not in UNWEIGHTED_TYPES
            and entry.tensor.name not in _NEVER_COUNTED
        )

    def _typed(self, tensor: NamedTensor, type_name: str, quantization: str) -> TypedTensor:
        if type_name != tensor.source.dtype and tensor.source.dtype not in READABLE_TYPES:
            raise _quantized_already(tensor, type_name)
        try:
            row_bytes = row_size_bytes(type_name, tensor.shape[-1])
        except ValueError as error:
            raise InvalidSettingError("type", f"does not fit tensor `{tensor.name}`: {error}") from error
        weights = self._column_weights(tensor, type_name, quantization)
        return TypedTensor(tensor, type_name, math.prod(tensor.shape[:-1]) * row_bytes, weights)

    def _column_weights(
        self, tensor: NamedTensor, type_name: str, quantization: str
    ) -> NDArray[float32] | None:
        if type_name in UNWEIGHTED_TYPES or type_name == tensor.source.dtype:
            return None
        found = self._imatrix.columns.get(tensor.name) if self._imatrix else None
        if found is not None and self._imatrix and found.size != tensor.shape[-1]:
            if tensor.name != _EMBEDDING:  # llama-quantize ignores a wrong length there, and only there
                raise FileFormatError(
                    self._imatrix.path,
                    f"has {found.size:,} columns for tensor `{tensor.name}`, which has {tensor.shape[-1]:,}",
                    hint="give an importance matrix that was computed for this model with `--imatrix`",
                )
            found = None
        if found is None and needs_importance(tensor.name, type_name, quantization):
            raise MissingImatrixError(
                tensor.name, f"as {type_name} ({quantization}) needs an importance matrix", hint=self._how()
            )
        if found is None and type_name in NEEDS_COLUMN_WEIGHTS:
            raise MissingImatrixError(
                tensor.name,
                f"as {type_name} needs an entry in an importance matrix, which has none for it",
                hint="add `--token-embedding-type Q2_K` or `--output-tensor-type Q5_K`",
            )
        return found

    def _how(self) -> str:
        if self._imatrix is None:
            return "give one of this model with `--imatrix FILE`, or choose IQ4_XS, Q3_K_M or larger"
        return f"`{self._imatrix.path}` has no entry for it: give one that was computed for this model"


def _quantized_already(tensor: NamedTensor, type_name: str) -> ConversionError:
    return ConversionError(
        f"tensor `{tensor.name}` is {tensor.source.dtype} already and would lose more as {type_name}",
        hint="convert from the checkpoint, or from a GGUF file in F32, BF16, F16 or Q8_0",
    )


def tensor_type_named(name: str, setting: str) -> str:
    """Return the tensor type as it is written here. Example: `tensor_type_named("q6_k", …)` → `"Q6_K"`.

    Raises:
        InvalidSettingError: there is none.
    """
    upper = name.upper()
    if upper not in TENSOR_TYPES:
        raise InvalidSettingError(
            setting, f"names the type {shown(name)!r}", hint=f"types are {', '.join(TENSOR_TYPES)}"
        )
    return upper


def parse_override(text: str) -> tuple[str, str]:
    """Return (expression, type) of an option such as `--tensor-type ffn_down=Q8_0`.

    The expression is searched for in the tensor's name. Like llama-quantize it becomes lower case first.

    Example: `parse_override("blk.[0-4].ffn_down=q8_0")` → `("blk.[0-4].ffn_down", "Q8_0")`.

    Raises:
        InvalidSettingError: no `=`, an expression that is none, or a type that does not exist.
    """
    pattern, separator, type_name = text.partition("=")
    if not (pattern and separator and type_name):
        raise InvalidSettingError(
            "tensor-type", f"is {shown(text)!r}", hint="write it as EXPRESSION=TYPE, such as `ffn_down=Q8_0`"
        )
    return pattern.lower(), tensor_type_named(type_name, "tensor-type")


# What C++'s ECMAScript expressions, which llama-quantize uses, do not have or read differently.
_NOT_ECMASCRIPT = re.compile(r"\(\?(?![:=!])|\[\[[:.=]|[*+?}]\+|\\[az]")


def _checked(choices: TypeChoices) -> TypeChoices:
    for pattern, _ in choices.overrides:
        problem = "is not read the same way by llama-quantize" if _NOT_ECMASCRIPT.search(pattern) else ""
        try:
            re.compile(pattern)
        except re.error as error:
            problem = f"is no expression: {error}"
        if problem:
            raise InvalidSettingError("tensor-type", f"{shown(pattern)!r} {problem}")
    return replace(
        choices,
        output=choices.output and tensor_type_named(choices.output, "output-tensor-type"),
        embedding=choices.embedding and tensor_type_named(choices.embedding, "token-embedding-type"),
        overrides=tuple(
            (pattern, tensor_type_named(name, "tensor-type")) for pattern, name in choices.overrides
        ),
    )
