"""The Phi-4 family as `models/*.toml` describes it: one manifest per model."""

from __future__ import annotations

import difflib
import functools
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phi4local.errors import UnknownModelError
from phi4local.settings import SamplingSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """The numbers that tell one family member from another. Lengths in elements, context in tokens."""

    gguf: str
    layers: int
    embedding_length: int
    feed_forward_length: int
    heads: int
    kv_heads: int
    context_tokens: int
    sliding_window_tokens: int = 0
    tied_embeddings: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownDefect:
    """A mistake in a published checkpoint, which fine-tunes inherit.

    Attributes:
        what: `eos`, `padding` (tokens), or `chat_template`.
        found: the token's text as it was published; for a template, each of `known_templates`.
        right: the token's text as it should be; for a template, the manifest's.
        why: what goes wrong with it, for a person.
    """

    what: str
    why: str
    found: str = ""
    right: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolMarks:
    """The tokens that a model was trained to find around tools, and to write around calls.

    Attributes:
        told: before and behind a JSON list of tools, which ends the system message.
        called: before and behind a JSON list of calls.
        system: the system message of a conversation that has none.
    """

    told: tuple[str, str]
    called: tuple[str, str]
    system: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """One family member: where it comes from and how it wants to be used.

    Attributes:
        name: what a person types.
        repository: the checkpoint's repository on Hugging Face, or `None` for an embedded one.
        gguf_repository: where ready GGUF files are, for `pull`, or `None`.
        huggingface, modelscope: other repositories that hold it, as GGUF files or as a checkpoint.
        ollama: its name and tag in Ollama's library, or `None`.
        folder: the embedded checkpoint's folder below `data_folder()`, or `None`.
        parameters: number of weights.
        quantization: what is made and run when nobody asks for another.
        pre: llama.cpp's name of the pre-tokenizer.
        strip_whitespace_around_special_tokens: the tokenizer drops white space that touches a special token.
        chat_template: Jinja text, used when a file brings none.
        known_templates: other texts that were published for this model; no notice about them.
        template_mark: words by which a template tells this model from another one with the same numbers.
        end_tokens: texts of the tokens that end an answer; the first one ends a turn.
        thinking: answers begin with thoughts between `<think>` and `</think>`.
        defects: mistakes that the converter corrects.
        tool_marks: the tokens around tools and calls, for models that were trained with them.
        ollama_template: the chat template in the language of Ollama, Go's text/template; empty for none.
    """

    name: str
    title: str
    license: str
    parameters: int
    quantization: str
    repository: str | None
    gguf_repository: str | None
    folder: str | None
    architecture: Architecture
    pre: str
    vocabulary_tokens: int
    strip_whitespace_around_special_tokens: bool
    sampling: SamplingSettings
    chat_template: str
    known_templates: tuple[str, ...]
    end_tokens: tuple[str, ...]
    template_mark: str = ""
    thinking: bool = False
    defects: tuple[KnownDefect, ...] = ()
    huggingface: tuple[str, ...] = ()
    modelscope: tuple[str, ...] = ()
    ollama: str | None = None
    ollama_template: str = ""
    tool_marks: ToolMarks | None = None

    def ollama_parameters(self) -> dict[str, Any]:
        """Return what Ollama calls the parameters of a model: its sampling values and what ends an answer.

        Example: `{"stop": ["<|im_end|>", "<|endoftext|>"], "temperature": 0.0}` for Phi-4.
        """
        sampling = {name: value for name, value in self.sampling.to_mapping().items() if value is not None}
        return {"stop": list(self.end_tokens), **sampling}

    def has_template(self, template: str) -> bool:
        """Return whether `template` was published for this model."""
        return any(same_template(template, known) for known in (self.chat_template, *self.known_templates))

    def checkpoint_folder(self) -> Path | None:
        """Return the embedded checkpoint, or `None` for a model that has to be fetched."""
        return data_folder() / self.folder if self.folder else None


def data_folder() -> Path:
    """Return the folder of the manifests: inside the installed package, else the checkout's `models/`."""
    packaged = Path(__file__).parent / "models"
    return packaged if packaged.is_dir() else Path(__file__).parent.parent / "models"


def recipes_folder() -> Path:
    """Return the folder of recipes and the calibration text: in the package, else the checkout's."""
    packaged = Path(__file__).parent / "recipes"
    return packaged if packaged.is_dir() else Path(__file__).parent.parent / "convert" / "recipes"


def model_names() -> tuple[str, ...]:
    """Return the names of all manifests, sorted. Example: `("phi-4", "phi4-nano")`."""
    return tuple(sorted(path.stem for path in data_folder().glob("*.toml")))


def near_names(name: str) -> list[str]:
    """Return the names that are spelled like `name`. Example: `"phi4"` → `["phi-4", "phi4-nano"]`."""
    return difflib.get_close_matches(name.lower(), model_names(), n=3, cutoff=0.5)


@functools.cache
def find(name: str) -> Manifest:
    """Return the manifest called `name`; upper and lower case are the same.

    Example: `find("phi-4").architecture.layers` is 40.

    Raises:
        UnknownModelError: no manifest has this name; the error lists near names.
    """
    names = model_names()
    if name.lower() not in names:
        raise UnknownModelError(name, near_names(name), known=names)
    return _read(data_folder() / f"{name.lower()}.toml")


def recognise(
    *,
    layers: int,
    embedding_length: int,
    vocabulary_tokens: int,
    context_tokens: int,
    chat_template: str | None = None,
) -> Manifest | None:
    """Return the manifest whose numbers a file carries, or `None`.

    Some models differ in nothing but their training. Their chat templates tell most of them apart; where
    these are the same too, the first name stands for all, and their manifests say the same.

    Example: 40 layers of width 5,120 with 100,352 tokens and a context of 16,384 → `phi-4`; 32 of 3,072 with
    200,064 and 131,072 → `phi-4-mini-instruct`, or `phi-4-mini-reasoning` if the template says so.
    """
    found = [
        manifest
        for manifest in map(find, model_names())
        if (
            manifest.architecture.layers,
            manifest.architecture.embedding_length,
            manifest.vocabulary_tokens,
            manifest.architecture.context_tokens,
        )
        == (layers, embedding_length, vocabulary_tokens, context_tokens)
    ]
    template = chat_template or ""
    same = [manifest for manifest in found if manifest.has_template(template)]
    marked = [manifest for manifest in found if manifest.template_mark and manifest.template_mark in template]
    return next(iter(same or marked or found), None)


def published_as(repository: str, *, at: str) -> Manifest | None:
    """Return the member that a repository holds; upper and lower case are the same.

    Args:
        repository: `OWNER/NAME`, or `NAME:TAG` in Ollama's library.
        at: `huggingface`, `modelscope` or `ollama`.

    Example: `published_as("unsloth/phi-4-GGUF", at="modelscope").name` is `phi-4`.
    """
    for manifest in map(find, model_names()):
        known = {
            "huggingface": (manifest.repository, manifest.gguf_repository, *manifest.huggingface),
            "modelscope": manifest.modelscope,
            "ollama": (manifest.ollama,),
        }[at]
        if repository.casefold() in (name.casefold() for name in known if name):
            return manifest
    return None


def same_template(one: str, other: str) -> bool:
    """Return whether two chat templates differ in nothing but what Jinja ignores: line ends.

    Example: a text and the same with a line end behind it → true.
    """

    def essence(template: str) -> str:
        return template.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n")

    return essence(one) == essence(other)


def _tool_marks(found: Mapping[str, Any] | None) -> ToolMarks | None:
    if found is None:
        return None
    (before, behind), (opening, closing) = found["told"], found["called"]
    return ToolMarks(told=(before, behind), called=(opening, closing), system=found["system"])


def _read(path: Path) -> Manifest:
    with path.open("rb") as file:
        data: dict[str, Any] = tomllib.load(file)
    if data["schema"] != SCHEMA:
        raise ValueError(f"{path.name}: schema {data['schema']}, this version reads {SCHEMA}")
    checkpoint, tokenizer, chat = data["checkpoint"], data["tokenizer"], data["chat"]
    published = data.get("published", {})
    return Manifest(
        name=data["name"],
        title=data["title"],
        license=data["license"],
        parameters=data["parameters"],
        quantization=data["quantization"],
        repository=checkpoint.get("repo"),
        gguf_repository=data.get("gguf", {}).get("repo"),
        folder=checkpoint.get("folder"),
        architecture=Architecture(**data["architecture"]),
        pre=tokenizer["pre"],
        vocabulary_tokens=tokenizer["vocabulary_tokens"],
        strip_whitespace_around_special_tokens=tokenizer["strip_whitespace_around_special_tokens"],
        sampling=SamplingSettings.from_mapping(data["sampling"]),
        chat_template=chat["template"],
        known_templates=tuple(chat["known_templates"]),
        end_tokens=tuple(chat["end_tokens"]),
        template_mark=chat.get("mark", ""),
        thinking=chat.get("thinking", False),
        defects=tuple(KnownDefect(**defect) for defect in data.get("defects", ())),
        huggingface=tuple(published.get("huggingface", ())),
        modelscope=tuple(published.get("modelscope", ())),
        ollama=published.get("ollama"),
        ollama_template=data.get("ollama", {}).get("template", ""),
        tool_marks=_tool_marks(data.get("tools")),
    )
