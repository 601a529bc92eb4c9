"""Files that break the GGUF format: what is changed in a good file, and a part of the message.

The hand-made files of llama.cpp's tests/test-gguf.cpp come first in each group, then more of the kind.
"""

from __future__ import annotations

import struct

from tests.hostile.gguf_edits import (
    Edit,
    attributes,
    cut,
    first,
    raw,
    renamed,
    replaced,
    swapped,
    tensor,
    together,
    token,
    value,
    values,
)
from tests.hostile.gguf_files import ARR, BOOL, I32, STR, U8, U32, U64, WIDTH, string, vocabulary

HUGE = 2**63
TOKENS = len(vocabulary()[0])

FORMAT: dict[str, tuple[Edit, str]] = {
    # llama.cpp's test-gguf.cpp: header
    "magic": (attributes(magic=b"FUGU"), "is not a GGUF file"),
    "magic-lower-case": (attributes(magic=b"gguf"), "is not a GGUF file"),
    "safetensors": (lambda _: struct.pack("<Q", 14) + b'{"weight": {}}', "is not a GGUF file"),
    "html-page": (lambda _: b"<!DOCTYPE html><title>Log in</title>", "is not a GGUF file"),
    "empty-file": (lambda _: b"", "at least 4 bytes expected, 0 found"),
    "one-byte": (lambda _: b"G", "at least 4 bytes expected, 1 found"),
    "magic-only": (lambda _: b"GGUF", "at least 8 bytes expected, 4 found"),
    "43-bytes": (lambda _: (b"GGUF" + struct.pack("<IQQ", 3, 2**62, 1) + bytes(43))[:43], "tensors; at most"),
    "version-0": (attributes(version=0), "GGUF version 0"),
    "version-1": (attributes(version=1), "GGUF version 1, which is not read"),
    "version-future": (attributes(version=4), "GGUF version 4, newer than 3"),
    "version-huge": (attributes(version=2**32 - 1), "newer than 3"),
    "big-endian": (swapped, "big-endian"),
    "key-count-negative": (attributes(key_count=-1), "18,446,744,073,709,551,615 keys; at most"),
    "key-count-above-limit": (attributes(key_count=10_001), "10,001 keys; at most 10,000"),
    "key-count-too-many": (attributes(key_count=60), "`"),
    "tensor-count-negative": (attributes(tensor_count=-1), "tensors; at most"),
    "tensor-count-above-limit": (attributes(tensor_count=4_097), "4,097 tensors; at most 4,096"),
    "tensor-count-too-many": (attributes(tensor_count=16), "name of tensor 15"),
    # keys and values
    "key-size-negative": (replaced(string(b"general.name"), b"\xff" * 8 + b"general.name"), "has 18,446,744"),
    "key-size-above-limit": (raw(b"k" * 65_536, U8, b"\0"), "has 65,536 bytes; at most 65,535"),
    "key-empty": (raw(b"", U8, b"\0"), "is empty"),
    "key-not-utf8": (raw(b"gener\xe4l", U8, b"\0"), "is not UTF-8: byte 0xe4 at 5"),
    "key-not-ascii": (value("général", U8, 0), "is not printable ASCII"),
    "key-with-escape": (value("a\x1b[31mred", U8, 0), r"`a\x1b[31mred` is not printable ASCII"),
    "key-with-newline": (value("a\nerror: b", U8, 0), r"`a\nerror: b`"),
    "key-with-nul": (first(b"phi3.block_count\0x", U32, bytes(4)), "holds a NUL byte"),
    "value-type-unknown": (raw("general.x", 13, b"\0" * 8), "value type 13, which does not exist"),
    "value-type-huge": (raw("general.x", 2**32 - 1, b"\0" * 8), "which does not exist"),
    "element-type-unknown": (raw("general.x", ARR, struct.pack("<IQ", 99, 0)), "value type 99"),
    "array-of-arrays": (raw("general.x", ARR, struct.pack("<IQ", ARR, 1)), "nested arrays"),
    "array-above-limit": (raw("general.x", ARR, struct.pack("<IQ", U8, 2**22 + 1)), "4,194,305 elements"),
    "array-negative": (raw("general.x", ARR, struct.pack("<IQ", STR, 2**64 - 1)), "elements; all arrays"),
    "arrays-together-above-limit": (
        together(
            raw("general.x", ARR, struct.pack("<IQ", U8, 2**21) + bytes(2**21)),
            raw("general.y", ARR, struct.pack("<IQ", U8, 2**21) + bytes(2**21)),
        ),
        "all arrays together",
    ),
    "array-beyond-end": (raw("general.x", ARR, struct.pack("<IQ", U64, 2**20)), "ends inside its header"),
    "strings-beyond-end": (raw("general.x", ARR, struct.pack("<IQ", STR, 2**20)), "ends inside its header"),
    "string-negative": (raw("general.x", STR, b"\xff" * 8), "at most 16,777,216 are read"),
    "string-above-limit": (raw("general.x", STR, struct.pack("<Q", 2**24 + 1)), "16,777,217 bytes; at most"),
    "string-beyond-end": (raw("general.x", STR, struct.pack("<Q", 2**20)), "ends inside its header"),
    "string-in-array-above-limit": (
        raw("general.x", ARR, struct.pack("<IQQQ", STR, 2, 0, 2**40)),
        "`general.x`, string 1, has 1,099,511,627,776 bytes",
    ),
    "string-not-utf8": (value("general.x", STR, b"caf\xe9"), "`general.x` is not UTF-8: byte 0xe9 at 3"),
    "string-surrogate": (value("general.x", STR, b"\xed\xa0\x80"), "is not UTF-8"),
    "string-with-nul": (value("general.x", STR, b"a\0b"), "`general.x` holds a NUL byte"),
    "token-not-utf8": (token(7, b"\xff"), "`tokenizer.ggml.tokens`, string 7, is not UTF-8: byte 0xff"),
    "token-with-nul": (token(7, b"A\0x"), "`tokenizer.ggml.tokens`, string 7, holds a NUL byte"),
    "bool-2": (value("general.x", BOOL, 2), "is a bool with the value 2"),
    "bool-255-in-array": (values("general.x", BOOL, [0, 1, 255]), "is a bool with the value 255"),
    "key-twice": (first(b"general.name", STR, string("x")), "key `general.name` stands there twice"),
    # alignment
    "alignment-13": (value("general.alignment", U32, 13), "`general.alignment` is 13"),
    "alignment-0": (value("general.alignment", U32, 0), "`general.alignment` is 0"),
    "alignment-1": (value("general.alignment", U32, 1), "`general.alignment` is 1"),
    "alignment-4": (value("general.alignment", U32, 4), "`general.alignment` is 4"),
    "alignment-8192": (value("general.alignment", U32, 8192), "`general.alignment` is 8192"),
    "alignment-2-to-31": (value("general.alignment", U32, 2**31), "`general.alignment` is 2147483648"),
    "alignment-i32": (value("general.alignment", I32, 32), "`general.alignment` has the type i32"),
    "alignment-text": (value("general.alignment", STR, "32"), "`general.alignment` has the type str"),
    "alignment-array": (values("general.alignment", U32, [32]), "`general.alignment` has the type [u32]"),
    "alignment-512-not-used": (value("general.alignment", U32, 512), "begins at offset"),
    "alignment-512-undeclared": (attributes(alignment=512), "begins at offset"),
    # tensors
    "tensor-name-64-bytes": (renamed("output.weight", "x" * 64), "has 64 bytes; at most 63"),
    "tensor-name-negative": (
        replaced(string(b"output.weight"), b"\xff" * 8 + b"output.weight"),
        "name of tensor 14 has 18,446,744",
    ),
    "tensor-name-empty": (renamed("output.weight", ""), "is empty or not printable"),
    "tensor-name-not-utf8": (renamed("output.weight", b"output.w\xffight"), "is not UTF-8"),
    "tensor-name-with-escape": (renamed("output.weight", b"\x1b]0;title\x07"), r"`\x1b]0;title\x07`"),
    "tensor-name-with-nul": (renamed("output.weight", b"output.weight\0x"), "holds a NUL byte"),
    "tensor-twice": (renamed("output.weight", "token_embd.weight"), "`token_embd.weight` stands there twice"),
    "no-dimensions": (tensor("output_norm.weight", shape=()), "has 0 dimensions"),
    "five-dimensions": (tensor("output_norm.weight", shape=(WIDTH, 1, 1, 1, 1)), "has 5 dimensions"),
    "dimensions-huge": (tensor("output_norm.weight", shape=(1,) * 100), "has 100 dimensions"),
    "axis-negative": (tensor("output_norm.weight", shape=(-1,)), "more than 2^63 numbers"),
    "axis-negative-second": (tensor("output_norm.weight", shape=(WIDTH, -1)), "more than 2^63 numbers"),
    "axes-overflow": (tensor("output_norm.weight", shape=(2**32, 2**31)), "more than 2^63 numbers"),
    "axes-overflow-to-zero": (tensor("output_norm.weight", shape=(2**32, 2**32)), "more than 2^63 numbers"),
    "axes-overflow-behind-zero": (tensor("output_norm.weight", shape=(0, HUGE)), "more than 2^63 numbers"),
    "bytes-overflow": (tensor("output.weight", shape=(2**31, 2**31)), "ends inside tensor `output.weight`"),
    "bytes-pad-wrap": (tensor("output.weight", shape=(2**62 - 1,)), "ends inside tensor `output.weight`"),
    "tensor-type-unknown": (tensor("output.weight", kind=43), "tensor type 43, which does not exist"),
    "tensor-type-huge": (tensor("output.weight", kind=2**32 - 1), "which does not exist"),
    "tensor-type-q4_2": (tensor("output.weight", kind=4), "type Q4_2, which ggml removed"),
    "tensor-type-q4_0_4_4": (tensor("output.weight", kind=31), "type Q4_0_4_4, which ggml removed"),
    "row-not-whole-blocks": (tensor("output.weight", kind=12), "rows of 32 numbers, no multiple of 256"),
    "offset-negative": (tensor("output.weight", offset=-1), "expected"),
    "offset-overlap": (tensor("output.weight", offset=0), "`output.weight` begins at offset 0; expected"),
    "offset-hole": (tensor("blk.0.attn_norm.weight", offset=2**20), "begins at offset 1,048,576; expected"),
    "offset-unaligned": (tensor("blk.0.attn_norm.weight", offset=WIDTH * TOKENS * 4 + 1), "begins at offset"),
    "offsets-out-of-order": (
        together(
            tensor("token_embd.weight", offset=WIDTH * TOKENS * 4), tensor("blk.0.attn_norm.weight", offset=0)
        ),
        "`token_embd.weight` begins at offset",
    ),
    "tensor-two-times-2-to-62": (
        together(
            tensor("output_norm.weight", shape=(2**61 - 16,)), tensor("output.weight", shape=(2**61 - 16,))
        ),
        "`output.weight` begins at offset",
    ),
    # data
    "data-one-byte-short": (cut(1), "ends inside tensor `output.weight`"),
    "data-missing": (lambda file: file.head(), "ends inside tensor `token_embd.weight`"),
    "tensor-table-cut": (lambda file: file.head()[:-1], "ends inside its header"),
    "trailing-bytes": (attributes(trailing=b"x"), "has 1 bytes behind its last tensor"),
    "trailing-file": (attributes(trailing=bytes(5000)), "has 5,000 bytes behind its last tensor"),
}
