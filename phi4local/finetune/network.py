"""The frozen model and the adapter on it, through transformers and PEFT."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from phi4local.errors import MissingExtraError, TrainingError
from phi4local.finetune.options import ALL_LINEAR
from phi4local.planning.training import TrainingShape

if TYPE_CHECKING:
    from pathlib import Path

    from phi4local.finetune.options import TrainOptions


def require_libraries() -> None:
    """Refuse early where the extra is not installed.

    Raises:
        MissingExtraError: torch, transformers or peft are missing.
    """
    import importlib.util

    for name, purpose in (
        ("torch", "computes gradients"),
        ("transformers", "has the network"),
        ("peft", "trains adapters"),
    ):
        if importlib.util.find_spec(name) is None:
            raise MissingExtraError("finetune", name, purpose)


def device() -> str:
    """Return where to train: `cuda`, `mps` or `cpu`."""
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def dtype_of(options: TrainOptions, place: str) -> str:
    """Return the type of the frozen weights."""
    return options.torch_dtype or ("float32" if place == "cpu" else "bfloat16")


def shape_of(checkpoint: Path, options: TrainOptions, place: str, tokens: int) -> TrainingShape:
    """Return what the memory follows from, read from the configuration alone.

    Raises:
        TrainingError: transformers does not know the model.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    try:
        config = AutoConfig.from_pretrained(checkpoint, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise TrainingError(f"transformers cannot read {checkpoint}: {error}") from error
    with torch.device("meta"):
        parameters = sum(weights.numel() for weights in AutoModelForCausalLM.from_config(config).parameters())
    return TrainingShape(
        parameters=parameters,
        layers=config.num_hidden_layers,
        width=config.hidden_size,
        kv_width=config.hidden_size // config.num_attention_heads * config.num_key_value_heads,
        feed_forward=config.intermediate_size,
        vocabulary_tokens=config.vocab_size,
        dtype_bytes=torch.empty(0, dtype=getattr(torch, dtype_of(options, place))).element_size(),
        rank=options.lora_rank,
        tokens=tokens,
        checkpointing=options.gradient_checkpointing,
        gpu=place != "cpu",
    )


def load_base(checkpoint: Path, options: TrainOptions, place: str) -> Any:  # noqa: ANN401 - a PreTrainedModel
    """Return the frozen model. Nothing of it is fetched, and no code of the checkpoint runs.

    Raises:
        TrainingError: transformers cannot load it.
    """
    import torch
    from transformers import AutoModelForCausalLM, logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        return AutoModelForCausalLM.from_pretrained(
            checkpoint,
            dtype=getattr(torch, dtype_of(options, place)),
            local_files_only=True,
            trust_remote_code=False,
            device_map=place,
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise TrainingError(f"transformers cannot load {checkpoint}: {error}") from error


def attach(base: Any, options: TrainOptions, adapter: Path | None = None) -> Any:  # noqa: ANN401 - a PeftModel
    """Put a new adapter on a model, or the one in a folder.

    Raises:
        TrainingError: PEFT finds no such layers, or no adapter.
    """
    from peft import PeftModel, get_peft_model
    from safetensors import SafetensorError

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # transformers renames what PEFT asks for
        if options.gradient_checkpointing:
            base.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        try:
            if adapter is not None:
                return PeftModel.from_pretrained(base, str(adapter), is_trainable=True)
            return get_peft_model(base, _config(options))
        except (OSError, ValueError, RuntimeError, SafetensorError) as error:
            raise TrainingError(f"PEFT cannot attach the adapter: {error}") from error


def _config(options: TrainOptions) -> Any:  # noqa: ANN401 - a LoraConfig
    from peft import LoraConfig

    modules = options.target_modules
    return LoraConfig(
        r=options.lora_rank,
        lora_alpha=options.lora_alpha,
        lora_dropout=options.lora_dropout,
        target_modules=ALL_LINEAR if modules == (ALL_LINEAR,) else list(modules),
        use_rslora=options.train_type == "rslora",
        use_dora=options.train_type == "dora",
        task_type="CAUSAL_LM",
    )
