"""Tokenizer files and chat templates that a converter must refuse."""

from __future__ import annotations

from typing import Any

from tests.hostile.spoiled_checkpoints import (
    CHECKPOINT,
    UNSUPPORTED,
    Case,
    drop,
    edit,
    edit_tokenizer,
    remove,
    write,
)


def put_the_name_of_a_hole(tokenizer: dict[str, Any]) -> None:
    hole = tokenizer["added_tokens"].pop(0)
    tokenizer["added_tokens"][0]["content"] = f"[PAD{hole['id']}]"


TOKENIZERS = {
    "tokenizer is no JSON": Case(write("tokenizer.json", b"\0"), CHECKPOINT, "JSON", names="tokenizer.json"),
    "tokenizer config is no JSON": Case(
        write("tokenizer_config.json", b"\0"), CHECKPOINT, "JSON", names="tokenizer_config.json"
    ),
    "no vocabulary": Case(edit_tokenizer(drop("model", "vocab")), CHECKPOINT, "no vocabulary"),
    "no merges": Case(edit_tokenizer(lambda t: t["model"].update(merges=[])), CHECKPOINT, "no merges"),
    "tokenizer.model is something else": Case(
        lambda folder: (folder / "tokenizer.json").rename(folder / "tokenizer.model"),
        CHECKPOINT,
        "no SentencePiece model",
    ),
    "no tokenizer at all": Case(remove("tokenizer.json"), CHECKPOINT, "tokenizer.json is missing"),
    "Unigram": Case(edit_tokenizer(lambda t: t["model"].update(type="Unigram")), UNSUPPORTED, "Unigram"),
    "byte fallback": Case(
        edit_tokenizer(lambda t: t["model"].update(byte_fallback=True)), UNSUPPORTED, "normalizer"
    ),
    "word ends": Case(
        edit_tokenizer(lambda t: t["model"].update(end_of_word_suffix="</w>")), UNSUPPORTED, "ends of words"
    ),
    "whole pieces first": Case(
        edit_tokenizer(lambda t: t["model"].update(ignore_merges=True)), UNSUPPORTED, "before merging"
    ),
    "normalizer": Case(
        edit_tokenizer(lambda t: t.update(normalizer={"type": "NFC"})), UNSUPPORTED, "changes text"
    ),
    "adds tokens": Case(
        edit_tokenizer(lambda t: t.update(post_processor={"type": "TemplateProcessing"})),
        UNSUPPORTED,
        "adds tokens",
    ),
    "other pre-tokenizer": Case(
        edit_tokenizer(lambda t: t.update(pre_tokenizer={"type": "Whitespace"})), UNSUPPORTED, "Whitespace"
    ),
    "no pre-tokenizer": Case(
        edit_tokenizer(lambda t: t.update(pre_tokenizer=None)), CHECKPOINT, "pre_tokenizer"
    ),
    "id beyond the embedding": Case(
        edit_tokenizer(lambda t: t["model"]["vocab"].update(new=9999)), CHECKPOINT, "`new` has the id 9999"
    ),
    "id negative": Case(edit_tokenizer(lambda t: t["model"]["vocab"].update(new=-1)), CHECKPOINT, "id -1"),
    "id is a text": Case(edit_tokenizer(lambda t: t["model"]["vocab"].update(new="1")), CHECKPOINT, "`new`"),
    "id twice": Case(
        edit_tokenizer(lambda t: t["model"]["vocab"].update(new=1)), CHECKPOINT, "share the id 1"
    ),
    "text with two ids": Case(
        edit_tokenizer(lambda t: t["added_tokens"][0].update(content="!")), CHECKPOINT, "two ids"
    ),
    "added token twice": Case(
        edit_tokenizer(lambda t: t["added_tokens"].append(t["added_tokens"][0])), CHECKPOINT, "occurs twice"
    ),
    "added token without a text": Case(
        edit_tokenizer(drop("added_tokens", 0, "content")), CHECKPOINT, "no text"
    ),
    "added tokens are a text": Case(
        edit_tokenizer(lambda t: t.update(added_tokens="no")), CHECKPOINT, "added token"
    ),
    "token that looks like a hole": Case(
        edit_tokenizer(put_the_name_of_a_hole),
        CHECKPOINT,
        "same text",
    ),
    "NUL in a token": Case(
        edit_tokenizer(lambda t: t["added_tokens"][0].update(content="a\0b")), CHECKPOINT, "NUL"
    ),
    "half a character": Case(
        lambda folder: (folder / "tokenizer.json").write_text(
            (folder / "tokenizer.json").read_text(encoding="utf-8").replace("<|im_sep|>", "\\ud83d"),
            encoding="utf-8",
        ),
        CHECKPOINT,
        "UTF-16",
    ),
    "merge of three": Case(
        edit_tokenizer(lambda t: t["model"]["merges"].append("a b c")), CHECKPOINT, "pair of tokens"
    ),
    "merge of a number": Case(
        edit_tokenizer(lambda t: t["model"]["merges"].append([1, 2])), CHECKPOINT, "pair of"
    ),
    "merge of unknown tokens": Case(
        edit_tokenizer(lambda t: t["model"]["merges"].append(["q", "zz"])), CHECKPOINT, "are no tokens"
    ),
    "template is a number": Case(
        edit("tokenizer_config.json", lambda c: c.update(chat_template=5)), CHECKPOINT, "no text"
    ),
    "template with NUL": Case(
        edit("tokenizer_config.json", lambda c: c.update(chat_template="a\0")), CHECKPOINT, "no text"
    ),
    "template not UTF-8": Case(
        lambda folder: (
            edit("tokenizer_config.json", drop("chat_template"))(folder),
            (folder / "chat_template.jinja").write_bytes(b"\xff"),
        ),
        CHECKPOINT,
        "UTF-8",
        names="chat_template.jinja",
    ),
    "template huge": Case(
        lambda folder: (
            edit("tokenizer_config.json", drop("chat_template"))(folder),
            (folder / "chat_template.jinja").write_bytes(b" " * (4 * 2**20 + 1)),
        ),
        CHECKPOINT,
        "larger",
        names="chat_template.jinja",
    ),
}
