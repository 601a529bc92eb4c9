"""What a fine-tuning run is told, under the names that ms-swift gives its options."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from phi4local.errors import InvalidSettingError

DTYPES = ("float32", "bfloat16", "float16")
TUNERS = ("lora", "rslora", "dora")
QUANT_METHODS, QUANT_BITS = ("bnb",), (4,)
ALL_LINEAR = "all-linear"
"""Every linear layer but the output: `qkv_proj`, `o_proj`, `gate_up_proj` and `down_proj` of Phi-4."""
_POSITIVE = (
    *("num_train_epochs", "per_device_train_batch_size", "per_device_eval_batch_size", "learning_rate"),
    *("lora_rank", "lora_alpha", "gradient_accumulation_steps", "eval_steps", "save_steps"),
    *("save_total_limit", "logging_steps", "max_length", "max_grad_norm"),
)
_CHOICES: dict[str, tuple[object, ...]] = {
    "train_type": TUNERS,
    "torch_dtype": DTYPES,
    "quant_bits": QUANT_BITS,
    "quant_method": QUANT_METHODS,
}
_SHARES = ("lora_dropout", "warmup_ratio", "split_dataset_ratio")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainOptions:
    """How an adapter is trained. The defaults are those of Phi-4's announcement, and of ms-swift.

    Attributes:
        train_type: `lora`; `rslora` scales by alpha / √rank (Kalajdzievski, 2023); `dora` learns lengths and
            directions apart (Liu et al., 2024), and cannot become a GGUF adapter.
        torch_dtype: of the frozen weights, or of the products where they have 4 bits; `None` takes float32 on
            a CPU and bfloat16 on a GPU.
        quant_bits: 4 keeps the frozen linear layers as 4-bit NormalFloat with doubly quantized scales (QLoRA,
            Dettmers et al., 2023); `None` keeps them in `torch_dtype`.
        quant_method: who quantizes: `bnb`, bitsandbytes.
        num_train_epochs: how often each sample is seen.
        per_device_train_batch_size: samples that are computed together.
        per_device_eval_batch_size: the same, when the loss on held-out samples is measured.
        learning_rate: the highest one; it rises over the first steps and falls as a cosine.
        lora_rank: numbers between A and B.
        lora_alpha: the change counts alpha / rank.
        lora_dropout: share of inputs of A that are left out while training.
        target_modules: names of layers, or `all-linear`.
        gradient_accumulation_steps: batches for each step of the optimizer.
        eval_steps: steps between measurements of the held-out loss.
        save_steps: steps between checkpoints.
        save_total_limit: checkpoints that stay, the newest.
        logging_steps: steps between reports.
        max_length: longest sample, in tokens; longer ones lose their end.
        system: instruction for samples that have none.
        warmup_ratio: share of the steps in which the learning rate rises.
        weight_decay: of AdamW.
        max_grad_norm: longer gradients are shortened to it.
        split_dataset_ratio: share of the samples that is held out.
        gradient_checkpointing: compute a layer twice instead of keeping what is inside.
        seed: for order, initial weights and dropout.

    Example: `TrainOptions(lora_rank=16, learning_rate=2e-4)`.

    Raises:
        InvalidSettingError: a value that cannot be.
    """

    train_type: str = "lora"
    torch_dtype: str | None = None
    quant_bits: int | None = None
    quant_method: str = "bnb"
    num_train_epochs: int = 1
    per_device_train_batch_size: int = 1
    per_device_eval_batch_size: int = 1
    learning_rate: float = 1e-4
    lora_rank: int = 8
    lora_alpha: float = 32
    lora_dropout: float = 0.05
    target_modules: tuple[str, ...] = (ALL_LINEAR,)
    gradient_accumulation_steps: int = 16
    eval_steps: int = 50
    save_steps: int = 50
    save_total_limit: int = 5
    logging_steps: int = 5
    max_length: int = 2048
    system: str | None = None
    warmup_ratio: float = 0.05
    weight_decay: float = 0.1
    max_grad_norm: float = 1.0
    split_dataset_ratio: float = 0.01
    gradient_checkpointing: bool = True
    seed: int = 42

    def __post_init__(self) -> None:
        for name, known in _CHOICES.items():
            value = getattr(self, name)
            if value is not None and value not in known:
                choices = ", ".join(map(str, known))
                hint = f"choose among {choices}" if len(known) > 1 else f"only {choices} is known"
                raise InvalidSettingError(name, f"is {value!r}", hint=hint)
        for name in _POSITIVE:
            if not getattr(self, name) > 0:
                raise InvalidSettingError(name, f"is {getattr(self, name)}; it must be above 0")
        for name in _SHARES:
            if not 0 <= getattr(self, name) < 1:
                raise InvalidSettingError(name, f"is {getattr(self, name)}; it must be from 0 to below 1")
        if not self.target_modules or not all(self.target_modules):
            raise InvalidSettingError("target_modules", "names no layer", hint=f"write `{ALL_LINEAR}`")

    def to_mapping(self) -> dict[str, Any]:
        """Return the fields by name, for JSON."""
        return asdict(self) | {"target_modules": list(self.target_modules)}

    @classmethod
    def from_mapping(cls, data: dict[str, Any]) -> TrainOptions:
        """Undo `to_mapping`; names that are not known are left out."""
        known = {field.name for field in fields(cls)}
        values = {name: value for name, value in data.items() if name in known}
        return cls(**values | {"target_modules": tuple(values.get("target_modules", (ALL_LINEAR,)))})
