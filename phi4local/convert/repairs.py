"""Correct the known defects of published checkpoints, and say each correction in one line.

The lines go to the person and into the file (`phi4local.repairs`). What is a defect, and of which model,
stands in the manifests; fine-tunes inherit them, so a model is recognised by its numbers and its tokens.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from phi4local import catalog
from phi4local.convert.architectures.rope import ALIASES
from phi4local.convert.metadata import MetadataEntry, model_name

if TYPE_CHECKING:
    from phi4local.convert.architectures.phi3 import Phi3
    from phi4local.convert.vocabulary import Vocabulary

KEY = "phi4local.repairs"
"""Where the lines stand in the file; llama.cpp keeps keys that it does not know and ignores them."""

_END_OF_TURN = ("<|im_end|>", "<|end|>")


@dataclass(frozen=True, slots=True)
class Model:
    """What a checkpoint says, apart from its weights, and how it was corrected.

    Attributes:
        name: what the file calls the model.
        architecture: its numbers.
        vocabulary: its tokens and chat template.
        repairs: one line for each correction.
    """

    name: str
    architecture: Phi3
    vocabulary: Vocabulary
    repairs: tuple[str, ...] = ()

    def metadata(self) -> tuple[MetadataEntry, ...]:
        """Return the key with the lines; nothing if there are none."""
        return (MetadataEntry(KEY, "[str]", self.repairs),) if self.repairs else ()


def family_member(architecture: Phi3, vocabulary: Vocabulary) -> catalog.Manifest | None:
    """Return the family member that has these numbers and whose end tokens are in the vocabulary, or `None`.

    Example: a fine-tune of Phi-4 in any folder, of any class → `phi-4`.
    """
    manifest = catalog.recognise(
        layers=architecture.layers,
        embedding_length=architecture.embedding_length,
        vocabulary_tokens=architecture.vocabulary_tokens,
        context_tokens=architecture.context_tokens,
        chat_template=vocabulary.chat_template,
    )
    if manifest is None or not set(manifest.end_tokens) <= set(vocabulary.tokens):
        return None
    return manifest


def named(name: str, architecture: Phi3, vocabulary: Vocabulary) -> Model:
    """Return the model as the checkpoint describes it, under a name that springs no trap of llama.cpp.

    A name with "phi-3" makes llama.cpp strip white space behind special tokens. Phi-3's tokenizer does that
    and needs such a name; every other one must not have it (it may not even load).

    Example: `my-phi3-tune` of a Phi-4 becomes `my-phi 3-tune`; `my-tune` of a Phi-3 becomes
    `my-tune (Phi-3)`.
    """
    safe = model_name(name, strips=vocabulary.strips_behind)
    if safe == name:
        return Model(name, architecture, vocabulary)
    effect = "does what this tokenizer does" if vocabulary.strips_behind else "does not strip white space"
    line = f"general.name: `{safe}` instead of the folder's, so that llama.cpp {effect} behind special tokens"
    return Model(safe, architecture, vocabulary, (line,))


def repaired(model: Model, config: dict[str, Any]) -> Model:
    """Return the model with its known defects corrected.

    Args:
        model: as `named` returns it.
        config: what config.json holds, to tell a field that is missing from one that is null.

    Example: the first upload of Phi-4 → `eos_token_id` 100265 instead of 100257, `padding_token_id` 100349,
    its template replaced, `eot_token_id` added: four lines.
    """
    manifest = family_member(model.architecture, model.vocabulary)
    lines = list(model.repairs)
    vocabulary = model.vocabulary
    if manifest is not None:
        for defect in manifest.defects:
            vocabulary = _without(defect, manifest, vocabulary, lines)
    vocabulary = _with_end_of_turn(vocabulary, manifest, lines)
    architecture = _with_window(model.architecture, manifest, config, lines)
    rope = architecture.long_rope
    if rope is not None and rope.name in ALIASES:
        lines.append(f"rope_scaling: `{rope.name}` read as longrope, its name since")
    return Model(model.name, architecture, vocabulary, tuple(lines))


def _without(
    defect: catalog.KnownDefect, manifest: catalog.Manifest, vocabulary: Vocabulary, lines: list[str]
) -> Vocabulary:
    if defect.what == "chat_template":
        template = vocabulary.chat_template
        if template is None or not any(catalog.same_template(template, t) for t in manifest.known_templates):
            return vocabulary
        lines.append(f"chat_template: {manifest.name}'s repaired text; {defect.why}")
        return replace(vocabulary, chat_template=manifest.chat_template)
    ids = {text: token for token, text in enumerate(vocabulary.tokens)}
    wrong, right = ids.get(defect.found), ids.get(defect.right)
    if right is None or wrong is None or vocabulary.special_ids.get(defect.what) != wrong:
        return vocabulary
    lines.append(
        f"{defect.what}_token_id: {right} `{defect.right}` instead of {wrong} `{defect.found}`; {defect.why}"
    )
    return replace(vocabulary, special_ids=vocabulary.special_ids | {defect.what: right})


def _with_end_of_turn(
    vocabulary: Vocabulary, manifest: catalog.Manifest | None, lines: list[str]
) -> Vocabulary:
    wanted = (manifest.end_tokens[0],) if manifest else _END_OF_TURN
    text = next((text for text in wanted if text in vocabulary.tokens), None)
    if text is None or "eot" in vocabulary.special_ids:
        return vocabulary
    token = vocabulary.tokens.index(text)
    lines.append(
        f"eot_token_id: {token} `{text}` added; without it llama.cpp takes whichever end token it meets first"
    )
    return replace(vocabulary, special_ids=vocabulary.special_ids | {"eot": token})


def _with_window(
    architecture: Phi3, manifest: catalog.Manifest | None, config: dict[str, Any], lines: list[str]
) -> Phi3:
    window = manifest.architecture.sliding_window_tokens if manifest else 0
    if "sliding_window" in config or not window:
        return architecture
    lines.append(f"attention.sliding_window: {window}, missing from config.json")
    return replace(architecture, sliding_window_tokens=window)
