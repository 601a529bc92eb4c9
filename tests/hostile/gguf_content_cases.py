"""GGUF files with a vocabulary or with tensors that are not a Phi-4 model's, like the other tables of cases.

`KILLERS` are the files of all tables that end llama.cpp's process by a signal, or keep it computing for ever
(llama-cpp-python 0.3.36): the reason why a validator runs before it.
"""

from __future__ import annotations

import math

from tests.hostile.gguf_edits import (
    Edit,
    attributes,
    renamed,
    resized,
    rope_factors_at_the_end,
    together,
    token,
    typed,
    value,
    values,
    without,
)
from tests.hostile.gguf_files import (
    BLOCKS,
    BOOL,
    F32,
    F64,
    FEED_FORWARD,
    I32,
    QKV_ROWS,
    STR,
    U32,
    WIDTH,
    add_block,
    sentencepiece_vocabulary,
    vocabulary,
)

TOKENS = len(vocabulary()[0])
IDS = "tokenizer.ggml."

CONTENT: dict[str, tuple[Edit, str]] = {
    # vocabulary
    "tokenizer-missing": (without(IDS + "model"), "`tokenizer.ggml.model` is missing"),
    "tokenizer-bert": (value(IDS + "model", STR, "bert"), "is `bert`; expected gpt2 or llama"),
    "tokenizer-none": (value(IDS + "model", STR, "no_vocab"), "is `no_vocab`; expected gpt2 or llama"),
    "tokenizer-number": (value(IDS + "model", U32, 2), "`tokenizer.ggml.model` has the type u32"),
    "tokenizer-unknown-key": (value(IDS + "charm", U32, 2), "is not a key of Phi-4's tokenizer"),
    "pre-number": (value(IDS + "pre", U32, 2), "`tokenizer.ggml.pre` has the type u32"),
    "tokens-missing": (without(IDS + "tokens"), "`tokenizer.ggml.tokens` is missing"),
    "tokens-numbers": (
        values(IDS + "tokens", U32, [1] * TOKENS),
        "`tokenizer.ggml.tokens` has the type [u32]",
    ),
    "tokens-text": (value(IDS + "tokens", STR, "a"), "`tokenizer.ggml.tokens` has the type str"),
    "tokens-none": (values(IDS + "tokens", STR, []), "`tokenizer.ggml.tokens` is empty"),
    "tokens-fewer-than-rows": (
        lambda file: (
            file.set_array(IDS + "tokens", STR, file.tokens()[:-1]),
            file.set_array(IDS + "token_type", I32, vocabulary()[1][:-1]),
        ),
        "`token_embd.weight` has the shape 32 x 266; expected 32 x 265 (embedding length x tokens)",
    ),
    "token-twice": (token(7, b"!"), "tokens 0 and 7 are both `!`"),
    "token-empty": (token(7, b""), "token 7 has 0 characters"),
    "token-too-long": (token(7, b"x" * 1025), "token 7 has 1,025 characters"),
    "token-no-byte": (token(7, b" raw space"), "token ` raw space` holds a character"),
    "token-hostile": (token(7, b"\x1b[31m "), r"token `\x1b[31m ` holds a character that stands for no byte"),
    "token-types-missing": (without(IDS + "token_type"), "`tokenizer.ggml.token_type` is missing"),
    "token-types-shorter": (values(IDS + "token_type", I32, [1] * 9), "has 9 entries for 266 tokens"),
    "token-types-longer": (values(IDS + "token_type", I32, [1] * 267), "has 267 entries for 266 tokens"),
    "token-types-u32": (values(IDS + "token_type", U32, [1] * TOKENS), "has the type [u32]; expected [i32]"),
    "token-types-0": (values(IDS + "token_type", I32, [0] * TOKENS), "numbers other than 1 to 6"),
    "token-types-7": (values(IDS + "token_type", I32, [7] * TOKENS), "numbers other than 1 to 6"),
    "token-types-negative": (values(IDS + "token_type", I32, [-1] * TOKENS), "numbers other than 1 to 6"),
    "token-types-byte": (values(IDS + "token_type", I32, [6] * TOKENS), "has the type byte; expected <0x00>"),
    "scores-shorter": (values(IDS + "scores", F32, [0.0] * 9), "`tokenizer.ggml.scores` has 9 entries"),
    "scores-f64": (values(IDS + "scores", F64, [0.0] * TOKENS), "`tokenizer.ggml.scores` has the type [f64]"),
    "merges-missing": (without(IDS + "merges"), "`tokenizer.ggml.merges` is missing"),
    "merges-numbers": (values(IDS + "merges", U32, [1]), "`tokenizer.ggml.merges` has the type [u32]"),
    "merge-without-space": (values(IDS + "merges", STR, ["t h", "the"]), "entry 1, is `the`"),
    "merge-of-three": (values(IDS + "merges", STR, ["t h e"]), "entry 0, is `t h e`; expected two texts"),
    "merge-empty": (values(IDS + "merges", STR, [""]), "entry 0, is ``"),
    "merge-half": (values(IDS + "merges", STR, [" h"]), "entry 0, is ` h`"),
    "eos-missing": (without(IDS + "eos_token_id"), "`tokenizer.ggml.eos_token_id` is missing"),
    "eos-beyond": (value(IDS + "eos_token_id", U32, TOKENS), "is 266; expected a whole number from 0 to 265"),
    "eos-2-to-30": (value(IDS + "eos_token_id", U32, 2**30), "eos_token_id` is 1073741824"),
    "eos-text": (value(IDS + "eos_token_id", STR, "<|im_end|>"), "eos_token_id` has the type str"),
    "eos-i32": (value(IDS + "eos_token_id", I32, -1), "eos_token_id` has the type i32"),
    "bos-beyond": (value(IDS + "bos_token_id", U32, 2**32 - 1), "bos_token_id` is 4294967295"),
    "bos-missing-but-added": (
        together(without(IDS + "bos_token_id"), value(IDS + "add_bos_token", BOOL, 1)),
        "`tokenizer.ggml.bos_token_id` is missing",
    ),
    "bos-missing-and-no-default": (
        together(
            values(IDS + "tokens", STR, ["a", "b"]),
            values(IDS + "token_type", I32, [1, 1]),
            value(IDS + "eos_token_id", U32, 1),
            value(IDS + "pre", STR, "llama-bpe"),
            without(IDS + "bos_token_id"),
            without(IDS + "padding_token_id"),
            without(IDS + "add_bos_token"),
            resized("token_embd.weight", WIDTH, 2),
            resized("output.weight", WIDTH, 2),
        ),
        "`tokenizer.ggml.bos_token_id` is missing",
    ),
    "pad-beyond": (value(IDS + "padding_token_id", U32, 2**30), "padding_token_id` is 1073741824"),
    "pad-one-too-far": (value(IDS + "padding_token_id", U32, TOKENS), "padding_token_id` is 266; expected"),
    "unknown-beyond": (value(IDS + "unknown_token_id", U32, 2**30), "unknown_token_id` is 1073741824"),
    "eot-beyond": (value(IDS + "eot_token_id", U32, 2**30), "eot_token_id` is 1073741824"),
    "fim-beyond": (value(IDS + "fim_pre_token_id", U32, 2**30), "fim_pre_token_id` is 1073741824"),
    "add-bos-number": (
        value(IDS + "add_bos_token", U32, 1),
        "add_bos_token` has the type u32; expected bool",
    ),
    "template-number": (value("tokenizer.chat_template", U32, 1), "chat_template` has the type u32"),
    "template-array": (values("tokenizer.chat_template", STR, ["x"]), "chat_template` has the type [str]"),
    "template-10-mb": (value("tokenizer.chat_template", STR, "x" * 10_000_000), "10,000,000 bytes; at most"),
    "template-1-mib-utf8": (value("tokenizer.chat_template", STR, "é" * (2**19 + 1)), "1,048,578 bytes"),
    "named-template-number": (
        value("tokenizer.chat_template.tool_use", U32, 1),
        "tool_use` has the type u32",
    ),
    # weights
    "embedding-tensor-missing": (
        lambda file: file.drop_tensor("token_embd.weight"),
        "`token_embd.weight` is missing",
    ),
    "output-norm-missing": (
        lambda file: file.drop_tensor("output_norm.weight"),
        "`output_norm.weight` is missing",
    ),
    **{
        f"{name}-missing": (
            lambda file, name=name: file.drop_tensor(f"blk.1.{name}.weight"),
            f"tensor `blk.1.{name}.weight` is missing",
        )
        for name in ("attn_norm", "attn_qkv", "attn_output", "ffn_norm", "ffn_up", "ffn_down")
    },
    "unknown-tensor": (lambda file: file.add_tensor("secret.weight", 4), "`secret.weight` is not a tensor"),
    "bias": (lambda file: file.add_tensor("blk.0.attn_qkv.bias", QKV_ROWS), "is not a tensor of Phi-4"),
    "extra-block": (lambda file: add_block(file, BLOCKS), "belongs to a block that `phi3.block_count` 2"),
    "gate-tensor": (
        lambda file: file.add_tensor("blk.0.ffn_gate.weight", WIDTH, FEED_FORWARD),
        "`blk.0.ffn_gate.weight` is not a tensor of Phi-4",
    ),
    "fused-and-split": (
        lambda file: file.add_tensor("blk.0.attn_q.weight", WIDTH, WIDTH),
        "`blk.0.attn_q.weight` is not a tensor of Phi-4",
    ),
    "split-without-values": (
        together(
            renamed("blk.0.attn_qkv.weight", "blk.0.attn_q.weight"),
            resized("blk.0.attn_q.weight", WIDTH, WIDTH),
        ),
        "`blk.0.attn_k.weight` is missing",
    ),
    "embedding-rows": (resized("token_embd.weight", WIDTH, TOKENS + 1), "32 x 267; expected 32 x 266"),
    "embedding-transposed": (resized("token_embd.weight", TOKENS, WIDTH), "266 x 32; expected 32 x 266"),
    "embedding-three-axes": (
        resized("token_embd.weight", WIDTH, TOKENS, 2),
        "32 x 266 x 2; expected 32 x 266",
    ),
    "output-rows": (resized("output.weight", WIDTH, TOKENS - 1), "`output.weight` has the shape 32 x 265"),
    "output-norm-length": (resized("output_norm.weight", WIDTH + 1), "has the shape 33; expected 32"),
    "attention-norm-length": (resized("blk.1.attn_norm.weight", WIDTH - 1), "has the shape 31; expected 32"),
    "qkv-rows": (
        resized("blk.0.attn_qkv.weight", WIDTH, QKV_ROWS + 16),
        "has the shape 32 x 80; expected 32 x 64",
    ),
    "attention-output": (
        resized("blk.0.attn_output.weight", WIDTH, 16),
        "has the shape 32 x 16; expected 32 x 32",
    ),
    "up-not-fused": (resized("blk.0.ffn_up.weight", WIDTH, FEED_FORWARD), "32 x 48; expected 32 x 96"),
    "down-shape": (resized("blk.0.ffn_down.weight", FEED_FORWARD, WIDTH + 1), "48 x 33; expected 48 x 32"),
    "zero-rows": (resized("blk.0.ffn_down.weight", FEED_FORWARD, 0), "48 x 0; expected 48 x 32"),
    "zero-row-length": (resized("token_embd.weight", 0, TOKENS), "0 x 266; expected 32 x 266"),
    "rope-factors-one": (
        lambda file: file.add_tensor("rope_factors_long.weight", 4),
        "`rope_factors_short.weight` is missing",
    ),
    "rope-factors-short-one": (
        lambda file: file.add_tensor("rope_factors_short.weight", 4),
        "`rope_factors_long.weight` is missing",
    ),
    "rope-factors-length": (
        lambda file: (
            file.add_tensor("rope_factors_long.weight", 3),
            file.add_tensor("rope_factors_short.weight", 3),
        ),
        "`rope_factors_long.weight` has the shape 3; expected 4",
    ),
    "rope-factors-f16": (
        together(
            lambda file: file.add_tensor("rope_factors_long.weight", 4),
            lambda file: file.add_tensor("rope_factors_short.weight", 4),
            typed("rope_factors_long.weight", 1, 16),
        ),
        "`rope_factors_long.weight` has the type F16; expected F32",
    ),
    "rope-factors-at-the-end": (
        rope_factors_at_the_end,
        "`rope_factors_long.weight` has no tensor behind it that stays in memory; llama.cpp reads 64 bytes",
    ),
    "norm-f16": (typed("blk.0.attn_norm.weight", 1, 16), "has the type F16; expected F32"),
    "output-norm-bf16": (typed("output_norm.weight", 30, 16), "has the type BF16; expected F32"),
    "embedding-q8_1": (
        typed("token_embd.weight", 9, 9),
        "has the type Q8_1, which llama.cpp cannot multiply",
    ),
    "embedding-i32": (
        typed("token_embd.weight", 26, 32),
        "has the type I32, which llama.cpp cannot multiply",
    ),
    "output-f64": (typed("output.weight", 28, 64), "has the type F64, which llama.cpp cannot multiply"),
    "qkv-i8": (typed("blk.0.attn_qkv.weight", 24, 8), "has the type I8, which llama.cpp cannot multiply"),
    "alignment-8": (
        together(value("general.alignment", U32, 8), attributes(alignment=8)),
        "`general.alignment` is 8; llama.cpp needs at least 32",
    ),
}


def _sentencepiece_token(index: int, text: bytes) -> Edit:
    tokens = sentencepiece_vocabulary()[0]
    return values(IDS + "tokens", STR, [*tokens[:index], text, *tokens[index + 1 :]])


def _scores(index: int, wrong: float) -> Edit:
    scores = [float(-place) for place in range(len(sentencepiece_vocabulary()[0]))]
    scores[index] = wrong
    return values(IDS + "scores", F32, scores)


SENTENCEPIECE: dict[str, tuple[Edit, str]] = {
    "llama-byte-missing": (
        together(
            _sentencepiece_token(3 + 0x41, b"zz"),
            values(IDS + "token_type", I32, [1] * len(sentencepiece_vocabulary()[0])),
        ),
        "has no token `<0x41>`",
    ),
    "llama-byte-negative": (_sentencepiece_token(3 + 0x41, b"<0x-1>"), "token `<0x-1>` has the type byte"),
    "llama-byte-lower-case": (_sentencepiece_token(3 + 0xAB, b"<0xab>"), "token `<0xab>` has the type byte"),
    "llama-byte-short": (_sentencepiece_token(3 + 0x41, b"A"), "token `A` has the type byte"),
    "llama-scores-missing": (without(IDS + "scores"), "`tokenizer.ggml.scores` is missing"),
    "llama-scores-nan": (_scores(7, math.nan), "`tokenizer.ggml.scores`, entry 7, is nan"),
    "llama-scores-infinite": (_scores(0, -math.inf), "`tokenizer.ggml.scores`, entry 0, is -inf"),
    "llama-scores-shorter": (values(IDS + "scores", F32, [0.0]), "`tokenizer.ggml.scores` has 1 entries"),
}

KILLERS = {
    "alignment-1",
    "alignment-4",
    "alignment-8",
    "attn_qkv-missing",
    "block-count-0",
    "block-count-513",
    "bos-missing-and-no-default",
    "block-count-2-to-31",
    "embedding-i32",
    "embedding-q8_1",
    "epsilon-nan",
    "epsilon-negative",
    "expert-groups",
    "experts",
    "experts-used",
    "key-length-other",
    "key-with-nul",
    "llama-byte-lower-case",
    "llama-byte-missing",
    "llama-byte-negative",
    "norm-f16",
    "output-f64",
    "output-norm-bf16",
    "predicted-layers",
    "qkv-i8",
    "rope-dimensions-0",
    "rope-dimensions-above-head",
    "rope-dimensions-negative",
    "rope-dimensions-odd",
    "rope-factors-at-the-end",
    "rope-factors-f16",
    "rope-scaling-empty",
    "rope-scaling-su",
    "split-without-values",
    "token-twice",
    "token-with-nul",
}
