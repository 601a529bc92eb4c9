"""Folders, indexes, safetensors headers and tensors that a converter must refuse."""

from __future__ import annotations

import os
import struct

from tests.hostile.spoiled_checkpoints import (
    CHECKPOINT,
    EMBEDDING,
    FIRST,
    INDEX,
    SECOND,
    TENSOR,
    UNSUPPORTED,
    Case,
    double_key,
    drop,
    duplicate_tensor,
    edit,
    edit_header,
    link_outside,
    pickles_only,
    place_in,
    remove,
    rename_tensor,
    replace_by,
    set_config,
    set_tensor,
    share_bytes,
    swap_norm_and_next,
    write,
)

FOLDERS = {
    "no config": Case(remove("config.json"), CHECKPOINT, "config.json is missing"),
    "no index": Case(remove(INDEX), CHECKPOINT, "index.json is missing"),
    "pickles only": Case(pickles_only, CHECKPOINT, "pickle.*refused", names=".bin"),
    "missing shard": Case(remove(SECOND), CHECKPOINT, "missing", names=SECOND),
    "single file beside the index": Case(write("model.safetensors", b""), CHECKPOINT, "holds both"),
    "no tokenizer": Case(remove("tokenizer.json"), CHECKPOINT, "tokenizer.json is missing"),
    "config is a link to nowhere": Case(
        lambda folder: (
            (folder / "config.json").unlink(),
            (folder / "config.json").symlink_to("config.json"),
        ),
        CHECKPOINT,
        "link|missing",
        names="config.json",
    ),
    "shard is a folder": Case(
        lambda folder: ((folder / FIRST).unlink(), (folder / FIRST).mkdir()),
        CHECKPOINT,
        "missing",
        names=FIRST,
    ),
    "shard outside": Case(link_outside(FIRST), CHECKPOINT, "link that leaves", names=FIRST),
    "config outside": Case(link_outside("config.json"), CHECKPOINT, "link that leaves", names="config.json"),
    "tokenizer outside": Case(link_outside("tokenizer.json"), CHECKPOINT, "link that leaves"),
}

INDEXES = {
    "index is no JSON": Case(write(INDEX, b"{"), CHECKPOINT, "not valid JSON", names=INDEX),
    "index without weight_map": Case(write(INDEX, b"{}"), CHECKPOINT, "no weight_map", names=INDEX),
    "weight_map is a list": Case(
        write(INDEX, b'{"weight_map": []}'), CHECKPOINT, "no weight_map", names=INDEX
    ),
    "weight_map is empty": Case(
        write(INDEX, b'{"weight_map": {}}'), CHECKPOINT, "no weight_map", names=INDEX
    ),
    "parent folder": Case(place_in("../model.safetensors"), CHECKPOINT, "leaves the folder"),
    "parent folder, Windows": Case(place_in("..\\model.safetensors"), CHECKPOINT, "leaves the folder"),
    "absolute": Case(place_in("/etc/model.safetensors"), CHECKPOINT, "leaves the folder"),
    "drive": Case(place_in("C:model.safetensors"), CHECKPOINT, "leaves the folder"),
    "NUL": Case(place_in("a\0.safetensors"), CHECKPOINT, "leaves the folder"),
    "half a surrogate pair": Case(
        write(INDEX, b'{"weight_map": {"x": "\\ud800.safetensors"}}'), CHECKPOINT, "half of a UTF-16 pair"
    ),
    "no safetensors": Case(place_in("config.json"), CHECKPOINT, "no safetensors file", names=INDEX),
    "number": Case(place_in(3), CHECKPOINT, "no safetensors file", names=INDEX),
    "other shard": Case(place_in(FIRST), CHECKPOINT, "is not in", names=INDEX),
    "shard that is not there": Case(place_in("other.safetensors"), CHECKPOINT, "missing"),
    "listed but nowhere": Case(
        edit(INDEX, lambda index: index["weight_map"].update({"extra": FIRST})),
        CHECKPOINT,
        "`extra` is not in",
    ),
    "not listed": Case(
        edit(INDEX, drop("weight_map", "model.norm.weight")),
        CHECKPOINT,
        "not listed",
    ),
    "in two shards": Case(duplicate_tensor, CHECKPOINT, "is in .* too", names=SECOND),
}

HEADERS = {
    "empty file": Case(
        write(FIRST, b""), CHECKPOINT, "truncated: expected at least 8 bytes, found 0", names=FIRST
    ),
    "huge header": Case(write(FIRST, b"\xff" * 64), CHECKPOINT, "claims a header", names=FIRST),
    "header of 100 MB": Case(
        write(FIRST, struct.pack("<Q", 100_000_000) + b"{}"), CHECKPOINT, "claims a header", names=FIRST
    ),
    "header beyond the end": Case(
        write(FIRST, struct.pack("<Q", 2**20) + b"{}"), CHECKPOINT, "truncated", names=FIRST
    ),
    "ten thousand tensors over the same bytes": Case(
        edit_header(FIRST, share_bytes), CHECKPOINT, "overlaps", names=FIRST
    ),
    "4 bit": Case(edit_header(FIRST, set_tensor(EMBEDDING, dtype="F4")), UNSUPPORTED, "F4", names=FIRST),
    "a byte of 6 bits": Case(
        edit_header(FIRST, set_tensor(EMBEDDING, dtype="F6_E2M3")), UNSUPPORTED, "F6_E2M3", names=FIRST
    ),
    "offsets beyond 64 bits": Case(
        edit_header(FIRST, set_tensor(EMBEDDING, data_offsets=[0, 2**64 + 64])), CHECKPOINT, "offsets"
    ),
    "metadata is a text": Case(
        edit_header(FIRST, lambda header: header.update(__metadata__="pt")), CHECKPOINT, "__metadata__"
    ),
    "pickle in disguise": Case(write(FIRST, b"\x80\x04\x95" + b"p" * 99), CHECKPOINT, "header", names=FIRST),
    "HTML page": Case(write(FIRST, b"<!DOCTYPE html><html></html>"), CHECKPOINT, "header", names=FIRST),
    "not UTF-8": Case(write(FIRST, struct.pack("<Q", 4) + b'{"\xff"'), CHECKPOINT, "not UTF-8", names=FIRST),
    "not JSON": Case(write(FIRST, struct.pack("<Q", 4) + b"{{{{"), CHECKPOINT, "not valid JSON", names=FIRST),
    "a list": Case(write(FIRST, struct.pack("<Q", 2) + b"[]"), CHECKPOINT, "not a JSON object", names=FIRST),
    "deep JSON": Case(
        write(FIRST, struct.pack("<Q", 400_000) + b'{"a":' * 80_000), CHECKPOINT, "deeply|JSON", names=FIRST
    ),
    "key twice": Case(double_key, CHECKPOINT, "occurs twice", names=FIRST),
    "metadata of numbers": Case(
        edit_header(FIRST, lambda header: header.update(__metadata__={"a": 1})), CHECKPOINT, "__metadata__"
    ),
    "tensor is a number": Case(
        edit_header(FIRST, lambda header: header.update({EMBEDDING: 7})), CHECKPOINT, "not described"
    ),
    "no dtype": Case(edit_header(FIRST, set_tensor(EMBEDDING, dtype=None)), CHECKPOINT, "no type"),
    "8 bit": Case(
        edit_header(FIRST, set_tensor(EMBEDDING, dtype="F8_E4M3")), UNSUPPORTED, "F8_E4M3", names=FIRST
    ),
    "integers": Case(edit_header(FIRST, set_tensor(EMBEDDING, dtype="I8")), UNSUPPORTED, "I8", names=FIRST),
    "64 bit": Case(edit_header(FIRST, set_tensor(EMBEDDING, dtype="F64")), UNSUPPORTED, "F64", names=FIRST),
    "no shape": Case(edit_header(FIRST, set_tensor(EMBEDDING, shape=None)), CHECKPOINT, "no valid shape"),
    "negative shape": Case(
        edit_header(FIRST, set_tensor(EMBEDDING, shape=[-1, 64])), CHECKPOINT, "no valid shape"
    ),
    "shape of booleans": Case(
        edit_header(FIRST, set_tensor(EMBEDDING, shape=[True])), CHECKPOINT, "valid shape"
    ),
    "fractional shape": Case(
        edit_header(FIRST, set_tensor(EMBEDDING, shape=[1.5])), CHECKPOINT, "valid shape"
    ),
    "shape beyond 64 bits": Case(
        edit_header(FIRST, set_tensor(EMBEDDING, shape=[2**40, 2**40])), CHECKPOINT, "shape and type need"
    ),
    "one offset": Case(edit_header(FIRST, set_tensor(EMBEDDING, data_offsets=[0])), CHECKPOINT, "offsets"),
    "offsets reversed": Case(
        edit_header(FIRST, set_tensor(EMBEDDING, data_offsets=[9, 1])), CHECKPOINT, "has -8"
    ),
    "other dtype of the same bytes": Case(
        edit_header(FIRST, set_tensor(EMBEDDING, dtype="F32")), CHECKPOINT, "shape and type need"
    ),
    "same bytes twice": Case(edit_header(FIRST, swap_norm_and_next), CHECKPOINT, "overlaps"),
    "hole": Case(
        edit_header(FIRST, drop("model.layers.0.input_layernorm.weight")),
        CHECKPOINT,
        "hole",
        names=FIRST,
    ),
    "trailing bytes": Case(
        lambda folder: (folder / FIRST).write_bytes((folder / FIRST).read_bytes() + b"PK"),
        CHECKPOINT,
        "2 bytes after",
        names=FIRST,
    ),
    "one byte short": Case(
        edit_header(FIRST, lambda _: None, cut=1),
        CHECKPOINT,
        r"truncated: expected [\d,]+ bytes, found [\d,]+",
    ),
}

TENSORS = {
    "missing tensor": Case(
        rename_tensor("model.norm.weight", "model.other.weight"), TENSOR, "model.other.weight"
    ),
    "split projections": Case(
        rename_tensor("model.layers.0.self_attn.qkv_proj.weight", "model.layers.0.self_attn.q_proj.weight"),
        TENSOR,
        "layers.1.self_attn.qkv_proj.*not part",
    ),
    "more layers than tensors": Case(set_config(num_hidden_layers=3), TENSOR, "layers.2.*missing"),
    "fewer layers than tensors": Case(set_config(num_hidden_layers=1), TENSOR, "layers.1.*not part"),
    "other width": Case(set_config(intermediate_size=97), TENSOR, "shape.*config.json needs"),
    "other vocabulary": Case(set_config(vocab_size=10_000), TENSOR, "shape.*config.json needs"),
    "other heads": Case(set_config(num_key_value_heads=4), TENSOR, "qkv_proj.*shape"),
}


if hasattr(os, "mkfifo"):
    FOLDERS["shard is a FIFO"] = Case(replace_by(FIRST, os.mkfifo), CHECKPOINT, "missing", names=FIRST)
    FOLDERS["config is a FIFO"] = Case(
        replace_by("config.json", os.mkfifo), CHECKPOINT, "regular file", names="config.json"
    )

if os.name == "nt":  # where making a link needs a privilege
    for case in ("config is a link to nowhere", "shard outside", "config outside", "tokenizer outside"):
        del FOLDERS[case]
