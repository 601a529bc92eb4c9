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


_LIBRARIES = (
    ("finetune", "torch", "computes gradients"),
    ("finetune", "transformers", "has the network"),
    ("finetune", "peft", "trains adapters"),
)
_FOUR_BITS = ("qlora", "bitsandbytes", "keeps frozen weights in 4 bits")


def require_libraries(options: TrainOptions) -> None:
    """Refuse early where the extra is not installed.

    Raises:
        MissingExtraError: torch, transformers or peft are missing, or bitsandbytes where weights get 4 bits.
    """
    import importlib.util

    for extra, name, purpose in (*_LIBRARIES, *((_FOUR_BITS,) if options.quant_bits else ())):
        if importlib.util.find_spec(name) is None:
            raise MissingExtraError(extra, name, purpose)


def device() -> str:
    """Return where to train: `cuda`, `mps` or `cpu`."""
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def dtype_of(options: TrainOptions, place: str) -> str:
    """Return the type of the frozen weights, or of the products with those that have 4 bits."""
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
        model = AutoModelForCausalLM.from_config(config)
    return TrainingShape(
        parameters=sum(weights.numel() for weights in model.parameters()),
        four_bit_parameters=_linear_parameters(model) if options.quant_bits else 0,
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


def _linear_parameters(model: Any) -> int:  # noqa: ANN401 - a PreTrainedModel
    """Return how many weights get 4 bits: linear layers' but the output's, as transformers chooses."""
    import torch

    output = model.get_output_embeddings()
    linear = (
        layer for layer in model.modules() if isinstance(layer, torch.nn.Linear) and layer is not output
    )
    return sum(layer.weight.numel() for layer in linear)


def load_base(checkpoint: Path, options: TrainOptions, place: str) -> Any:  # noqa: ANN401 - a PreTrainedModel
    """Return the frozen model. Nothing of it is fetched, and no code of the checkpoint runs.

    Raises:
        TrainingError: transformers cannot load it.
    """
    import logging

    import torch
    from transformers import AutoModelForCausalLM
    from transformers import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    # Where it is installed PEFT imports it, and it complains about kernels that nobody needs here.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    try:
        base = AutoModelForCausalLM.from_pretrained(
            checkpoint,
            dtype=getattr(torch, dtype_of(options, place)),
            local_files_only=True,
            trust_remote_code=False,
            device_map=place,
            quantization_config=four_bits(options, place) if options.quant_bits else None,
        )
    except (ImportError, OSError, ValueError, RuntimeError) as error:
        raise TrainingError(f"transformers cannot load {checkpoint}: {error}") from error
    keep_trainable(base)
    return base


def four_bits(options: TrainOptions, place: str) -> Any:  # noqa: ANN401 - a BitsAndBytesConfig
    """Return QLoRA's own way to store weights: NormalFloat, 64 to a scale, the scales quantized again.

    Source: Dettmers et al., 2023, section 3; ms-swift's `--quant_method bnb --quant_bits 4` chooses the same.
    """
    import torch
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=getattr(torch, dtype_of(options, place)),
    )


def keep_trainable(base: Any) -> None:  # noqa: ANN401 - a PreTrainedModel
    """Keep layers of 4 bits as they are when the loss is measured between steps.

    On CPUs with AVX-512 BF16 bitsandbytes rearranges them then, with rounded scales and without gradients.
    """
    for layer in base.modules():
        if hasattr(layer, "support_avx512bf16_for_cpu"):
            layer.support_avx512bf16_for_cpu = False


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
