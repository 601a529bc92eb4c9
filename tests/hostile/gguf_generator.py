"""Endless damaged and odd GGUF files, each made again from two numbers.

A file begins as a good model and gets up to three changes of its structure: a value at an edge, another
element type, a token or merge that a stranger might write, a tensor of another shape, type or place, weights
that are random bits, counts that lie, keys that only other networks have, or plain damage to bytes. Most
changes stay small, so that two files in five are accepted and reach llama.cpp.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable

from phi4local.gguf.tensor_types import TENSOR_TYPES
from tests.hostile.gguf_files import (
    ARR,
    BOOL,
    CODES,
    F32,
    I32,
    STR,
    U32,
    File,
    sentencepiece_model,
    sentencepiece_vocabulary,
    small_model,
    vocabulary,
)
from tests.hostile.gguf_shapes import random_model

WHOLE_NUMBERS = (
    *(0, 1, 2, 3, 4, 5, 7, 8, 11, 16, 31, 32, 33, 48, 64, 96, 127, 128, 255, 256, 260, 265, 266, 267),
    *(512, 513, 4096, 65535, 65536, 2**24, 2**31 - 1, 2**31, 2**32 - 1),
)
REAL_NUMBERS = (
    *(0.0, -0.0, 1.0, -1.0, 0.5, 1e-45, 1e-38, 1e-10, 0.999, 1.001, 4.0, 10000.0, 250000.0, 1e30, 3.4e38),
    *(float("inf"), float("-inf"), float("nan")),
)
STRANGE_TEXTS = (
    *(
        b"",
        b" ",
        b"\0",
        b"a\0b",
        b"\n",
        b"\xff",
        b"\xc3",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\xef\xbf\xbd",
    ),
    *(b"<0x00>", b"<0xff>", b"<0xFF>", b"<0x-1>", b"<0x100>", b"<0x", b"[PAD1]", b"<unk>", b"<s>", b"</s>"),
    *(
        b"<|end|>",
        b"<|im_end|>",
        b"<|endoftext|>",
        b"<think>",
        b"</think>",
        b"\xe2\x96\x81",
        b"\xc4\xa0",
        b"a b",
    ),
    *(
        b"x" * 1023,
        b"x" * 1024,
        b"x" * 1025,
        b"\xf0\x9f\x98\x80",
        b"\xe2\x80\xae",
        b"\x1b[2J",
        b"phi-3",
        b"phi3",
    ),
    *(b"gpt2", b"llama", b"bert", b"rwkv", b"plamo2", b"default", b"dbrx", b"gpt-4o", b"gpt-2", b"phi-2"),
    *(
        b"none",
        b"linear",
        b"yarn",
        b"longrope",
        b"su",
        b"model",
        b"adapter",
        b"mmproj",
        b"clip",
        b"llama-bpe",
    ),
)
KEYS = (
    *(f"phi3.{key}" for key in (
        *("context_length", "embedding_length", "feed_forward_length", "block_count", "vocab_size"),
        *("attention.head_count", "attention.head_count_kv", "attention.layer_norm_rms_epsilon"),
        *("attention.key_length", "attention.value_length", "attention.sliding_window", "attention.causal"),
        *("rope.dimension_count", "rope.freq_base", "rope.scale_linear", "rope.scaling.type"),
        *("rope.scaling.factor", "rope.scaling.attn_factor", "rope.scaling.original_context_length"),
        *("rope.scaling.finetuned", "rope.scaling.alpha", "expert_count", "expert_used_count"),
        *("pooling_type", "expert_group_count", "nextn_predict_layers", "embedding_length_out"),
        *("attention.max_alibi_bias", "attention.clamp_kqv", "logit_scale", "final_logit_softcapping"),
        *("residual_scale", "tensor_data_layout"),
    )),
    *(f"tokenizer.ggml.{key}" for key in (
        *("model", "pre", "tokens", "token_type", "scores", "merges", "add_bos_token", "add_eos_token"),
        *("add_sep_token", "add_space_prefix", "remove_extra_whitespaces", "bos_token_id", "eos_token_id"),
        *("eot_token_id", "eom_token_id", "unknown_token_id", "seperator_token_id", "padding_token_id"),
        *("mask_token_id", "cls_token_id", "fim_pre_token_id", "fim_suf_token_id", "fim_pad_token_id"),
        *("precompiled_charsmap", "token_type_count", "added_tokens", "normalizer.lowercase"),
    )),
    *("tokenizer.chat_template", "tokenizer.chat_templates", "tokenizer.chat_template.tool_use"),
    *("tokenizer.huggingface.json", "tokenizer.rwkv.world", "general.name", "general.type"),
    *("general.file_type", "general.architecture", "general.alignment", "general.quantization_version"),
    *("general.tensor_extra.x", "split.no", "split.count", "split.tensors.count", "adapter.type"),
    *("adapter.lora.alpha", "llama.block_count"),
    *("quantize.imatrix.file", "general.base_model.count", "x", "", "a" * 300),
)  # fmt: skip
TEMPLATES = (
    "{{ messages[0].content }}",
    "{% for m in messages %}{{ m.role }}{% endfor %}",
    "{{ ''.__class__.__mro__ }}",
    "{% for a in range(99999) %}{% for b in range(99999) %}x{% endfor %}{% endfor %}",
    "{{ 'a' * 10 ** 9 }}",
    "{% if %}",
    "{{ raise_exception('no') }}",
    "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "\0{{",
)

Change = Callable[[File, random.Random], object]
"""Changes the file it gets; or returns the bytes that stand for it."""


def generate(seed: int, number: int) -> bytes:
    """Return file `number` of the series `seed`; the same two numbers give the same bytes."""
    randomness = random.Random(f"{seed}:{number}")
    roll = randomness.random()
    file = random_model(randomness) if roll < 0.3 else (small_model if roll < 0.7 else sentencepiece_model)()
    data = b""
    for _ in range(randomness.choice((0, 1, 1, 1, 2, 2, 3))):
        result = randomness.choices(CHANGES, WEIGHTS)[0](file, randomness)
        if isinstance(result, bytes):
            data = result
    return data or file.build()


def scalar_of(randomness: random.Random, kind: int) -> bytes:
    """Return the bytes of a value at an edge of its type, or a random one."""
    if kind == STR:
        text = randomness.choice(STRANGE_TEXTS)
        return struct.pack("<Q", len(text)) + text
    code = CODES[kind]
    if code in "fd":
        return struct.pack(f"<{code}", randomness.choice(REAL_NUMBERS))
    number = randomness.choice(WHOLE_NUMBERS) * randomness.choice((1, 1, 1, -1))
    if code == "?":
        return bytes([randomness.choice((0, 1, 1, 2, 255))])
    size = struct.calcsize(f"<{code}")
    return (number % 2 ** (8 * size)).to_bytes(size, "little")


def change_value(file: File, randomness: random.Random) -> None:
    """Give a key that is there another value of its type."""
    plain = [value for value in file.values if value.kind != ARR]
    if plain:
        value = randomness.choice(plain)
        value.payload = scalar_of(randomness, value.kind)


def put_key(file: File, randomness: random.Random) -> None:
    """Add or replace a key that llama.cpp knows, with any type."""
    key = randomness.choice(KEYS)
    old = next((value.kind for value in file.values if value.key == key.encode()), U32)
    kind = randomness.choice((old, U32, I32, F32, STR, BOOL, randomness.choice((*CODES, STR))))
    if kind == ARR or randomness.random() < 0.2:
        kind = randomness.choice((U32, I32, F32, STR, BOOL))
        count = randomness.choice((0, 1, 2, 3, 266))
        payload = struct.pack("<IQ", kind, count)
        kind, payload = ARR, payload + b"".join(scalar_of(randomness, kind) for _ in range(count))
    else:
        payload = scalar_of(randomness, kind)
    file.set_raw(key, kind, payload)


def drop_key(file: File, randomness: random.Random) -> None:
    if file.values:
        file.values.remove(randomness.choice(file.values))


def move_or_repeat_key(file: File, randomness: random.Random) -> None:
    if file.values:
        value = randomness.choice(file.values)
        if randomness.random() < 0.7:
            file.values.remove(value)
        file.values.insert(randomness.randrange(len(file.values) + 1), value)


def change_vocabulary(file: File, randomness: random.Random) -> None:
    """Change tokens, their types, scores or merges."""
    is_bpe = any(value.key == b"tokenizer.ggml.merges" for value in file.values)
    tokens, types, *rest = vocabulary() if is_bpe else sentencepiece_vocabulary()
    tokens, types = list(tokens), list(types)
    what = randomness.choice(("token", "token", "type", "merge", "score", "order"))
    index = randomness.randrange(len(tokens))
    if what == "token":
        tokens[index] = randomness.choice((*STRANGE_TEXTS, randomness.randbytes(randomness.randrange(1, 9))))
    elif what == "type":
        types[index] = randomness.choice((0, 1, 1, 2, 3, 3, 4, 4, 5, 6, 7, -1))
    elif what == "order":
        tokens = randomness.sample(tokens, len(tokens))
    elif what == "merge" and is_bpe:
        merges = list(rest[0])
        odd = randomness.choice((b"", b" ", b"a", b"a  b", b" a", b"a b c", b"x y", b"\xff \xff", b"\0 \0"))
        merges[randomness.randrange(len(merges))] = odd
        file.set_array("tokenizer.ggml.merges", STR, merges)
    elif what == "score" and not is_bpe:
        scores = [randomness.choice(REAL_NUMBERS) for _ in tokens]
        file.set_array("tokenizer.ggml.scores", F32, scores)
    file.set_array("tokenizer.ggml.tokens", STR, tokens)
    file.set_array("tokenizer.ggml.token_type", I32, types)


def change_template(file: File, randomness: random.Random) -> None:
    file.set("tokenizer.chat_template", STR, randomness.choice(TEMPLATES))


def change_tensor(file: File, randomness: random.Random) -> None:
    """Change what the table says of a tensor: shape, type, place or name."""
    if not file.tensors:
        return
    tensor = randomness.choice(file.tensors)
    match randomness.choice(("shape", "axes", "kind", "offset", "name", "drop", "twice")):
        case "shape":
            axis = randomness.randrange(max(1, len(tensor.shape)))
            shape = [*tensor.shape]
            shape[axis : axis + 1] = [randomness.choice((*WHOLE_NUMBERS, 2**40, 2**62, 2**63, -1))]
            tensor.shape = tuple(shape)
        case "axes":
            tensor.shape = randomness.choice(
                ((), tensor.shape[::-1], (*tensor.shape, 1), (*tensor.shape, 1, 1, 1))
            )
        case "kind":
            tensor.kind = randomness.choice((*TENSOR_TYPES, 4, 5, 31, 40, 255, 2**31, 2**32 - 1))
        case "offset":
            tensor.offset = randomness.choice((0, 1, 32, 33, 136000, 2**32, 2**63 - 1, 2**64 - 32))
        case "name":
            tensor.name = randomness.choice((*STRANGE_TEXTS, b"output.weight", b"blk.9.attn_q.weight"))
        case "drop":
            file.tensors.remove(tensor)
        case "twice":
            file.tensors.append(tensor)


def change_weights(file: File, randomness: random.Random) -> None:
    """Fill a tensor with random bits: NaN, infinities and scales of any size among them."""
    if file.tensors:
        tensor = randomness.choice(file.tensors)
        tensor.data = randomness.choice(
            (randomness.randbytes(len(tensor.data)), bytes(len(tensor.data)), b"\xff" * len(tensor.data))
        )


def add_tensor(file: File, randomness: random.Random) -> None:
    name = randomness.choice(
        ("rope_factors_long.weight", "rope_factors_short.weight", "output.weight", "output.bias", "x")
    )
    file.add_tensor(name, *randomness.choice(((4,), (8,), (32,), (32, 266), (0,))))


def change_counts(file: File, randomness: random.Random) -> None:
    """Lie about how many there are, which version it is, or how the data is aligned."""
    match randomness.choice(("keys", "tensors", "version", "alignment", "trailing", "magic")):
        case "keys":
            file.key_count = len(file.values) + randomness.choice((-1, 1, 2**31, 2**63, -(2**62)))
        case "tensors":
            file.tensor_count = len(file.tensors) + randomness.choice((-1, 1, 2**31, 2**63, -(2**62)))
        case "version":
            file.version = randomness.choice((0, 1, 2, 4, 2**24 * 3, 2**32 - 1))
        case "alignment":
            file.alignment = randomness.choice((1, 8, 16, 32, 64, 4096, 65536))
            file.set("general.alignment", U32, file.alignment)
        case "trailing":
            file.trailing = randomness.randbytes(randomness.choice((1, 31, 32, 4096)))
        case "magic":
            file.magic = randomness.choice((b"GGML", b"gguf", b"FUGG", b"\0\0\0\0", b"GGUF"[::-1]))


def damage_bytes(file: File, randomness: random.Random) -> bytes:
    """Flip, insert and remove bytes of the header."""
    data, head = bytearray(file.build()), len(file.head())
    for _ in range(randomness.choice((1, 1, 1, 2, 4, 16))):
        place = randomness.randrange(head)
        match randomness.choice(("flip", "flip", "byte", "insert", "remove", "number")):
            case "flip":
                data[place] ^= 1 << randomness.randrange(8)
            case "byte":
                data[place] = randomness.choice((0, 1, 127, 128, 255, randomness.randrange(256)))
            case "insert":
                data[place:place] = randomness.randbytes(randomness.randrange(1, 33))
            case "remove":
                del data[place : place + randomness.randrange(1, 33)]
            case "number":
                data[place : place + 4] = struct.pack("<I", randomness.choice(WHOLE_NUMBERS))
    return bytes(data)


def cut_off(file: File, randomness: random.Random) -> bytes:
    data = file.build()
    return data[: randomness.randrange(len(data))]


_WEIGHTED: dict[Change, int] = {
    change_value: 6,
    put_key: 8,
    drop_key: 3,
    move_or_repeat_key: 5,
    change_vocabulary: 8,
    change_template: 3,
    change_tensor: 3,
    change_weights: 8,
    add_tensor: 1,
    change_counts: 2,
    damage_bytes: 5,
    cut_off: 1,
}
CHANGES, WEIGHTS = list(_WEIGHTED), list(_WEIGHTED.values())
