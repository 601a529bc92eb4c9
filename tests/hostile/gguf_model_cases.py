"""GGUF files of another kind, or with impossible hyperparameters: the change, and a part of the message."""

from __future__ import annotations

import math

from tests.hostile.gguf_edits import (
    Edit,
    attributes,
    renamed,
    together,
    value,
    values,
    without,
)
from tests.hostile.gguf_files import (
    BOOL,
    F32,
    F64,
    STR,
    U8,
    U16,
    U32,
    U64,
    vocabulary,
)

TOKENS = len(vocabulary()[0])
IDS = "tokenizer.ggml."

MODEL: dict[str, tuple[Edit, str]] = {
    # what kind of file it is
    "architecture-missing": (without("general.architecture"), "`general.architecture` is missing"),
    "architecture-llama": (
        value("general.architecture", STR, "llama"),
        "architecture `llama` is not Phi-4's",
    ),
    "architecture-phi2": (value("general.architecture", STR, "phi2"), "architecture `phi2` is not Phi-4's"),
    "architecture-gemma": (
        value("general.architecture", STR, "gemma3"),
        "architecture `gemma3` is not Phi-4's",
    ),
    "architecture-phimoe": (value("general.architecture", STR, "phimoe"), "architecture `phimoe` is not"),
    "architecture-number": (value("general.architecture", U32, 3), "`general.architecture` has the type u32"),
    "architecture-hostile": (value("general.architecture", STR, "\x1b[2J" + "x" * 999), r"`\x1b[2Jxxxxx"),
    "adapter": (value("general.type", STR, "adapter"), "is an adapter (LoRA), not a model"),
    "adapter-by-key": (value("adapter.type", STR, "lora"), "is an adapter"),
    "adapter-by-tensor": (renamed("output.weight", "output.weight.lora_a"), "is an adapter"),
    "mmproj": (value("general.type", STR, "mmproj"), "image or audio part of a model"),
    "clip": (value("general.architecture", STR, "clip"), "image or audio part of a model"),
    "imatrix": (value("general.type", STR, "imatrix"), "importance matrix"),
    "general-type-odd": (value("general.type", STR, "poem"), "`general.type` is `poem`"),
    "general-type-number": (value("general.type", U32, 1), "`general.type` has the type u32"),
    "vocabulary-only": (attributes(tensors=[]), "a vocabulary without weights"),
    "shard-2-of-3": (
        together(value("split.no", U16, 1), value("split.count", U16, 3), without("general.architecture")),
        "is part 2 of 3, which its name does not say",
    ),
    "shard-1-of-3": (together(value("split.no", U16, 0), value("split.count", U16, 3)), "is part 1 of 3"),
    "shard-without-number": (value("split.count", U16, 3), "`split.no` is missing"),
    "shard-count-text": (value("split.count", STR, "3"), "`split.count` has the type str"),
    "name-number": (value("general.name", U32, 3), "`general.name` has the type u32"),
    "name-phi3": (value("general.name", STR, "my PHI3 model"), "`general.name` is `my PHI3 model`"),
    "name-phi-3": (value("general.name", STR, "Phi-3.5"), "then looks for </s>, <s>, <unk>"),
    "file-type-u64": (value("general.file_type", U64, 0), "`general.file_type` has the type u64"),
    "quantization-version-1": (value("general.quantization_version", U32, 1), "quantization_version` is 1"),
    "tensor-extra": (values("general.tensor_extra.name", STR, ["x"]), "is not a key of Phi-4"),
    # hyperparameters
    "block-count-missing": (without("phi3.block_count"), "`phi3.block_count` is missing"),
    "block-count-text": (value("phi3.block_count", STR, "2"), "has the type str; expected u32"),
    "block-count-u64": (value("phi3.block_count", U64, 2), "has the type u64; expected u32"),
    "block-count-float": (value("phi3.block_count", F32, 2.0), "has the type f32; expected u32"),
    "block-count-array": (values("phi3.block_count", U32, [2]), "has the type [u32]; expected u32"),
    "block-count-bool": (value("phi3.block_count", BOOL, 1), "has the type bool; expected u32"),
    "block-count-0": (value("phi3.block_count", U32, 0), "is 0; expected a whole number from 1 to 512"),
    "block-count-513": (value("phi3.block_count", U32, 513), "is 513; expected a whole number from 1 to 512"),
    "block-count-2-to-31": (value("phi3.block_count", U32, 2**31 - 1), "from 1 to 512"),
    "block-count-too-small": (
        value("phi3.block_count", U32, 1),
        "`blk.1.attn_norm.weight` belongs to a block",
    ),
    "block-count-too-large": (value("phi3.block_count", U32, 3), "`blk.2.attn_norm.weight` is missing"),
    "embedding-missing": (without("phi3.embedding_length"), "`phi3.embedding_length` is missing"),
    "embedding-0": (value("phi3.embedding_length", U32, 0), "`phi3.embedding_length` is 0"),
    "embedding-2-to-31": (
        value("phi3.embedding_length", U32, 2**31),
        "`phi3.embedding_length` is 2147483648",
    ),
    "embedding-other": (value("phi3.embedding_length", U32, 64), "expected 64 x 266"),
    "feed-forward-missing": (without("phi3.feed_forward_length"), "`phi3.feed_forward_length` is missing"),
    "feed-forward-0": (value("phi3.feed_forward_length", U32, 0), "`phi3.feed_forward_length` is 0"),
    "feed-forward-array": (values("phi3.feed_forward_length", U32, [48, 48]), "has the type [u32]"),
    "feed-forward-other": (value("phi3.feed_forward_length", U32, 32), "`blk.0.ffn_up.weight` has the shape"),
    "heads-missing": (without("phi3.attention.head_count"), "`phi3.attention.head_count` is missing"),
    "heads-0": (value("phi3.attention.head_count", U32, 0), "`phi3.attention.head_count` is 0"),
    "heads-no-divisor": (
        value("phi3.attention.head_count", U32, 5),
        "is 5; expected a divisor of the embedding",
    ),
    "heads-above-width": (value("phi3.attention.head_count", U32, 64), "is 64; expected a divisor"),
    "kv-heads-0": (value("phi3.attention.head_count_kv", U32, 0), "`phi3.attention.head_count_kv` is 0"),
    "kv-heads-no-divisor": (value("phi3.attention.head_count_kv", U32, 3), "a divisor of the head count 4"),
    "kv-heads-above-heads": (value("phi3.attention.head_count_kv", U32, 8), "a divisor of the head count 4"),
    "kv-heads-other": (
        value("phi3.attention.head_count_kv", U32, 1),
        "`blk.0.attn_qkv.weight` has the shape",
    ),
    "epsilon-missing": (without("phi3.attention.layer_norm_rms_epsilon"), "rms_epsilon` is missing"),
    "epsilon-0": (
        value("phi3.attention.layer_norm_rms_epsilon", F32, 0.0),
        "is 0.0; expected a finite number",
    ),
    "epsilon-negative": (
        value("phi3.attention.layer_norm_rms_epsilon", F32, -1e-5),
        "expected a finite number",
    ),
    "epsilon-nan": (
        value("phi3.attention.layer_norm_rms_epsilon", F32, math.nan),
        "is nan; expected a finite",
    ),
    "epsilon-infinite": (value("phi3.attention.layer_norm_rms_epsilon", F32, math.inf), "is inf; expected"),
    "epsilon-1": (value("phi3.attention.layer_norm_rms_epsilon", F32, 1.0), "above 0 and below 1"),
    "epsilon-f64": (value("phi3.attention.layer_norm_rms_epsilon", F64, 1e-5), "has the type f64"),
    "rope-dimensions-0": (value("phi3.rope.dimension_count", U32, 0), "`phi3.rope.dimension_count` is 0"),
    "rope-dimensions-odd": (
        value("phi3.rope.dimension_count", U32, 7),
        "an even number up to the head width 8",
    ),
    "rope-dimensions-above-head": (value("phi3.rope.dimension_count", U32, 10), "up to the head width 8"),
    "rope-dimensions-negative": (
        value("phi3.rope.dimension_count", U32, 2**32 - 2),
        "dimension_count` is 42949",
    ),
    "rope-dimensions-missing-odd-head": (
        together(
            without("phi3.rope.dimension_count"),
            value("phi3.attention.head_count", U32, 32),
            value("phi3.attention.head_count_kv", U32, 32),
        ),
        "`phi3.rope.dimension_count` is missing; expected an even number",
    ),
    "freq-base-0": (value("phi3.rope.freq_base", F32, 0.0), "`phi3.rope.freq_base` is 0.0"),
    "freq-base-negative": (value("phi3.rope.freq_base", F32, -1.0), "`phi3.rope.freq_base` is -1.0"),
    "freq-base-nan": (value("phi3.rope.freq_base", F32, math.nan), "`phi3.rope.freq_base` is nan"),
    "freq-base-infinite": (value("phi3.rope.freq_base", F32, math.inf), "`phi3.rope.freq_base` is inf"),
    "freq-base-u32": (value("phi3.rope.freq_base", U32, 10000), "`phi3.rope.freq_base` has the type u32"),
    "attention-factor-nan": (value("phi3.rope.scaling.attn_factor", F32, math.nan), "attn_factor` is nan"),
    "attention-factor-infinite": (
        value("phi3.rope.scaling.attn_factor", F32, math.inf),
        "attn_factor` is inf",
    ),
    "rope-scaling-su": (value("phi3.rope.scaling.type", STR, "su"), "is `su`; expected one of none, linear"),
    "rope-scaling-empty": (value("phi3.rope.scaling.type", STR, ""), "is ``; expected one of none"),
    "rope-scaling-factor-0": (value("phi3.rope.scaling.factor", F32, 0.0), "scaling.factor` is 0.0"),
    "rope-scaling-finetuned-u8": (
        value("phi3.rope.scaling.finetuned", U8, 1),
        "has the type u8; expected bool",
    ),
    "context-missing": (without("phi3.context_length"), "`phi3.context_length` is missing"),
    "context-0": (value("phi3.context_length", U32, 0), "`phi3.context_length` is 0"),
    "context-2-to-32": (value("phi3.context_length", U32, 2**32 - 1), "`phi3.context_length` is 4294967295"),
    "original-context-0": (
        value("phi3.rope.scaling.original_context_length", U32, 0),
        "context_length` is 0",
    ),
    "window-text": (value("phi3.attention.sliding_window", STR, "0"), "sliding_window` has the type str"),
    "window-negative": (
        value("phi3.attention.sliding_window", U32, 2**32 - 1),
        "sliding_window` is 4294967295",
    ),
    "key-length-other": (value("phi3.attention.key_length", U32, 4), "`phi3.attention.key_length` is 4"),
    "value-length-other": (
        value("phi3.attention.value_length", U32, 4),
        "`phi3.attention.value_length` is 4",
    ),
    "experts": (value("phi3.expert_count", U32, 1), "`phi3.expert_count` is not a key of Phi-4"),
    "experts-used": (value("phi3.expert_used_count", U32, 1), "is not a key of Phi-4"),
    "expert-groups": (value("phi3.expert_group_count", U32, 1), "is not a key of Phi-4"),
    "predicted-layers": (value("phi3.nextn_predict_layers", U32, 3), "is not a key of Phi-4"),
    "embedding-out": (value("phi3.embedding_length_out", U32, 64), "is not a key of Phi-4"),
    "pooling": (value("phi3.pooling_type", U32, 99), "is not a key of Phi-4"),
    "not-causal": (value("phi3.attention.causal", BOOL, 0), "is not a key of Phi-4"),
    "vocab-size-other": (value("phi3.vocab_size", U32, 7), "`phi3.vocab_size` is 7; expected 266"),
}
