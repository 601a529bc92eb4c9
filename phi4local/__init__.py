"""Microsoft's Phi-4 on your own machine: convert, chat and measure with llama.cpp.

    import phi4local

    with phi4local.load("phi4-nano") as model:
        print(model.chat("Why is the sky blue?").text)

Importing this package loads nothing heavy; the first `load` does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from phi4local.errors import Phi4LocalError
from phi4local.messages import Message
from phi4local.settings import LoadSettings, SamplingSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from phi4local.runtime.language_model import LanguageModel
    from phi4local.runtime.model import Model
    from phi4local.runtime.pipeline import TextGenerationPipeline
    from phi4local.runtime.progress import Progress
    from phi4local.runtime.remote.model import RemoteModel

__all__ = [
    "LoadSettings",
    "Message",
    "Phi4LocalError",
    "SamplingSettings",
    "load",
    "pipeline",
    "snapshot_download",
]


def load(
    model: str | None = None,
    settings: LoadSettings | None = None,
    *,
    adapters: Mapping[str, str | Path] | None = None,
    progress: Callable[[Progress], None] | None = None,
    api_key: str | None = None,
    pull: bool = True,
) -> Model | RemoteModel:
    """Open a model; see `phi4local.runtime.language_model` for what it can do.

    Args:
        model: a catalog name, a GGUF file, a checkpoint folder, a model on a hub
            (`hf.co/unsloth/phi-4-GGUF:Q4_K_M`), or the address of a server with OpenAI's interface
            (`http://127.0.0.1:8080`, with `#NAME` behind it where it has several models); `None` for the
            default model.
        settings: how to load it; unset fields are decided by the model and the machine. Not for servers.
        adapters: LoRA adapters to load with it, GGUF files or PEFT folders, by the names for `Model.adapted`.
        progress: told while it is pulled or converted and while the file is loaded.
        api_key: for a server; unset, the variable PHI4LOCAL_API_KEY.
        pull: fetch a model that is not on this machine; `False` raises `ModelNotInstalledError` instead.

    Example: `phi4local.load("phi4-nano", LoadSettings(context_tokens=1024))`.

    Raises:
        Phi4LocalError: see `phi4local.runtime.open.open_model` and `open_server` in
            `phi4local.runtime.remote.open`.
    """
    from phi4local.runtime.absent import agree
    from phi4local.runtime.load import load_model

    consent = agree if pull else None
    return load_model(model, settings, adapters=adapters, progress=progress, api_key=api_key, consent=consent)


def pipeline(
    task: str,
    model: str | LanguageModel | None = None,
    *,
    device_map: str | int | None = None,
    model_kwargs: Mapping[str, Any] | None = None,
    batch_size: int | None = None,
    **options: Any,  # noqa: ANN401 - as in transformers
) -> TextGenerationPipeline:
    """Open a model behind the call of transformers' pipeline, as Phi-4's model card uses it.

    Args:
        task: "text-generation".
        model: as for `load`, or an open model; "microsoft/phi-4" is `phi-4`. What is not here is pulled.
        device_map: "auto" uses a GPU where there is one, "cpu" none, "cuda" and "mps" put everything on it.
        model_kwargs: `torch_dtype` (or `dtype`): "auto" takes the model's usual quantization, "float32",
            "bfloat16" and "float16" that of the name.
        batch_size: how many inputs of a list are computed together; each needs a KV cache of its own.
        options: what every call shall take, such as `max_new_tokens`.

    Example::

        pipeline = phi4local.pipeline(
            "text-generation", model="phi-4", model_kwargs={"torch_dtype": "auto"}, device_map="auto"
        )
        outputs = pipeline([{"role": "user", "content": "Why is the sky blue?"}], max_new_tokens=128)
        print(outputs[0]["generated_text"][-1])

    Raises:
        InvalidSettingError: an argument that has no meaning here; the error names it.
        Phi4LocalError: everything that `load` raises.
    """
    from phi4local.runtime.pipeline import make_pipeline

    return make_pipeline(
        task, model, device_map=device_map, model_kwargs=model_kwargs, batch_size=batch_size, **options
    )


def snapshot_download(
    model: str,
    *,
    source: str | None = None,
    revision: str | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> str:
    """Fetch a repository, as far as it is needed here, and return its folder on this machine.

    As the functions of the same name in `modelscope` and `huggingface_hub`: what is here already is not
    fetched again, and what was interrupted goes on. Only what a model or data set consists of comes:
    safetensors, GGUF, tokenizer, JSON and text files; never code or pickles.

    Args:
        model: `OWNER/NAME`, or any other name of `phi4local pull`.
        source: `modelscope` or `huggingface`, where the owner does not tell.
        revision: a branch, tag or commit; unset, the newest.
        progress: told while bytes come.

    Example: `snapshot_download("LLM-Research/phi-4")` → ".../models/files/modelscope.cn/LLM-Research/...".

    Raises:
        DownloadError: it is not there, or could not be fetched.
        NotEnoughDiskError: found before the first byte.
    """
    from phi4local.runtime.snapshot import snapshot

    return str(snapshot(model, source=source, revision=revision, progress=progress))


def __getattr__(name: str) -> Any:  # noqa: ANN401
    if name == "__version__":
        from importlib.metadata import version  # 0.04 s, so only when somebody asks

        return version("phi4local")
    raise AttributeError(f"module 'phi4local' has no attribute {name!r}")
