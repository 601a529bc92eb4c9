"""What a model is, read from its files without loading it."""

from __future__ import annotations

import collections
import math
from typing import TYPE_CHECKING, Any

from phi4local import gguf
from phi4local.planning.kv_cache import kv_cache_bytes
from phi4local.runtime import create, resolve
from phi4local.runtime.absent import find_or_pull
from phi4local.runtime.facts import file_facts
from phi4local.store import installed, kept, modelfile

if TYPE_CHECKING:
    from collections.abc import Callable

    from phi4local.gguf import Header
    from phi4local.store.installed import InstalledModel


def describe(model: str, *, progress: Callable[[int, int], None] | None = None) -> dict[str, Any]:
    """Return the facts of a model as JSON values, sizes in bytes.

    A checkpoint folder is converted first, as `run` would do.

    Example: `describe("phi4-nano")["layers"]` is 8.

    Raises:
        UnknownModelError, GGUFError, CheckpointError: as `open_model`.
    """
    source = find_or_pull(model, None)
    path = resolve.ensure_gguf(source, progress=progress)
    model_kept = source.installed or installed.at(path)
    facts = file_facts(gguf.validate(path))
    manifest = source.manifest or facts.manifest
    types = collections.Counter(tensor.type.name for tensor in facts.header.tensors)
    parameters = sum(math.prod(tensor.shape) for tensor in facts.header.tensors)
    return {
        "name": source.name,
        "title": manifest.title if manifest else facts.header.get("general.name", None),
        "license": manifest.license if manifest else facts.header.get("general.license", None),
        "path": str(path),
        "size_bytes": facts.header.file_bytes,
        "parameters": parameters,
        "bits_per_weight": round(_tensor_bytes(facts.header) * 8 / parameters, 3),
        "tensor_types": dict(types.most_common()),
        "layers": facts.layers,
        "embedding_length": facts.embedding_length,
        "heads": facts.heads,
        "kv_heads": facts.kv_heads,
        "vocabulary_tokens": facts.vocabulary_tokens,
        "context_tokens": facts.context_tokens,
        "kv_cache_bytes": kv_cache_bytes(
            layers=facts.layers,
            kv_heads=facts.kv_heads,
            head_length=facts.embedding_length // facts.heads,
            context_tokens=facts.context_tokens,
        ),
        "end_token": facts.eos_token,
        "chat_template": _template_state(facts.chat_template, manifest),
        **(_kept(model_kept) if model_kept else {}),
    }


def part_of(model: str, part: str, *, progress: Callable[[int, int], None] | None = None) -> str:
    """Return one part of a model as text: `modelfile`, `template`, `system`, `parameters` or `license`.

    Empty where the model has none. `template` is the Jinja text of the file, which is used here; the one for
    Ollama is in the Modelfile.

    Example: `part_of("phi4-nano", "parameters")` is "stop <|im_end|>" and so on, a line each.

    Raises:
        UnknownModelError, GGUFError, CheckpointError: as `open_model`.
    """
    source = find_or_pull(model, None)
    path = resolve.ensure_gguf(source, progress=progress)
    if part == "template":
        return file_facts(gguf.validate(path)).chat_template or ""
    model_kept = source.installed or installed.at(path)
    described = create.described(model_kept) if model_kept else modelfile.Modelfile(base=str(path))
    if part == "modelfile":
        return modelfile.render(described)
    if part == "system":
        return described.system or ""
    if part == "license":
        return "\n\n".join(described.licenses)
    return "\n".join(
        f"{name} {one}"
        for name, value in described.parameters.items()
        for one in (value if isinstance(value, list) else [value])
    )


def _kept(model: InstalledModel) -> dict[str, Any]:
    """Return what the store says about a model."""
    origin = model.manifest.origin
    parameters = kept.json_of(model.manifest.layers, "params", {})
    return {
        "reference": str(model.reference),
        "id": model.manifest.sha256[:12],
        "origin": f"{origin.how}, {model.source}",
        "revision": origin.revision,
        "sha256": model.manifest.of_kind("model")[0].digest,
        "adapters": [path.name for path in installed.adapter_paths(model)],
        "brings_along": {
            **parameters,
            **{kind: "yes" for kind in ("system", "messages") if model.manifest.of_kind(kind)},
        },
    }


def _tensor_bytes(header: Header) -> int:
    return sum(tensor.size_bytes for tensor in header.tensors)


def _template_state(template: str | None, manifest: Any) -> str:  # noqa: ANN401
    if template is None:
        return "none in the file"
    if manifest is not None and template in (manifest.chat_template, *manifest.known_templates):
        return f"the published one of {manifest.name}"
    return "not a known one"
