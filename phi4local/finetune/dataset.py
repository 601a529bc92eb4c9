"""Read conversations to learn from: alpaca, messages and sharegpt, in JSON or JSON lines."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phi4local.errors import DatasetError, InvalidSettingError
from phi4local.finetune.self_cognition import NAMES, self_cognition
from phi4local.messages import Message

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Conversation = tuple[Message, ...]
"""Turns that end with an answer."""

_MOST_BYTES = 2_000_000_000
_AT_MODELSCOPE = {"AI-ModelScope", "modelscope", "swift", "iic"}
"""Owners that a plain `owner/name` means at ModelScope: those of Phi-4's announcement and of ms-swift."""
_SPEAKERS = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "system": "system",
}
_FORMS = (
    "write one JSON object a line: alpaca (instruction, input, output), messages (role, content) or sharegpt "
    "(conversations of from, value)"
)


@dataclass(frozen=True, slots=True)
class DatasetSpec:
    """A data set as a person names it.

    Attributes:
        name: a file, `self-cognition`, or `owner/name` of a hub.
        count: samples to take at random, or `None` for all.
    """

    name: str
    count: int | None = None

    @classmethod
    def parse(cls, text: str) -> DatasetSpec:
        """Read `NAME` or `NAME#COUNT`. Example: `alpaca.jsonl#500` → 500 samples of that file.

        Raises:
            InvalidSettingError: the count is no number above 0.
        """
        name, mark, count = text.rpartition("#")
        if not mark:
            return cls(text)
        if not name or not count.isdecimal() or not int(count):
            raise InvalidSettingError("dataset", f"is {text!r}", hint="write NAME or NAME#COUNT")
        return cls(name, int(count))


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who the model is to be, for `self-cognition`."""

    name: str | None = None
    author: str | None = None


def read_datasets(
    specs: list[DatasetSpec],
    identity: Identity,
    *,
    seed: int = 42,
    fetch: Callable[[str], Path] | None = None,
) -> list[Conversation]:
    """Return the conversations of data sets, one after the other.

    Args:
        specs: what to read.
        identity: for `self-cognition`.
        seed: which samples are taken where only some are wanted.
        fetch: downloads a data set, such as `hf.co/datasets/OWNER/NAME`, and returns its folder.

    Raises:
        DatasetError: a file that cannot be read, or a record that is no conversation, with its place.
        InvalidSettingError: no name for the model, or no data set at all.
    """
    found: list[Conversation] = []
    for spec in specs:
        if spec.name in NAMES:
            language = NAMES[spec.name]
            samples = self_cognition(identity.name, identity.author, language=language, seed=seed)
        else:
            samples = [one for path in _files(spec.name, fetch) for one in read_file(path)]
        if spec.count is not None and spec.count < len(samples):
            samples = random.Random(seed).sample(samples, spec.count)  # noqa: S311 - a choice, no secret
        found += samples
    if not found:
        raise InvalidSettingError("dataset", "holds no conversation", hint=_FORMS)
    return found


def at_hub(name: str) -> str | None:
    """Return where a hub has a data set of this name; `None` for what can only be a file.

    Examples: `tatsu-lab/alpaca` → `hf.co/datasets/tatsu-lab/alpaca`; `AI-ModelScope/alpaca-gpt4-data-en`, and
    `MS::owner/name` as ms-swift writes it → `modelscope.cn/datasets/…`.
    """
    if name.startswith((".", "/", "~")) or "/" not in name or name.endswith((".jsonl", ".json")):
        return None
    prefix, mark, rest = name.partition("::")
    if mark:
        host = {"HF": "hf.co", "MS": "modelscope.cn"}.get(prefix)
        return f"{host}/datasets/{rest}" if host else None
    if name.count("/") > 1:
        return name
    owner = name.partition("/")[0]
    return f"{'modelscope.cn' if owner in _AT_MODELSCOPE else 'hf.co'}/datasets/{name}"


def _files(name: str, fetch: Callable[[str], Path] | None) -> list[Path]:
    path, place = Path(name).expanduser(), at_hub(name)
    if path.is_file():
        return [path]
    if not path.exists() and place is not None and fetch is not None:
        path = fetch(place)
    files = sorted(one for one in path.rglob("*") if one.suffix in (".jsonl", ".json") and one.is_file())
    if files:
        return files
    problem = (
        "holds no *.jsonl and no *.json" if path.is_dir() else "is no file, no folder and no name at a hub"
    )
    raise DatasetError(name, problem, hint=_FORMS)


def read_file(path: Path) -> list[Conversation]:
    r"""Return the conversations of a file: a JSON array, or an object a line.

    What a person rated `bad` in a chat is left out: `~/.phi4local/feedback.jsonl` is such a file.

    Example: `{"instruction": "Add.", "input": "1 2", "output": "3"}` → user "Add.\n1 2", assistant "3".

    Raises:
        DatasetError: it cannot be read, or a record is no conversation; the message says which one.
    """
    good = ((place, record) for place, record in _records(path) if not _is_rated_bad(record))
    return [_conversation(record, path, place) for place, record in good]


def _is_rated_bad(record: object) -> bool:
    return isinstance(record, dict) and record.get("rating") == "bad"


def _records(path: Path) -> Iterator[tuple[str, Any]]:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise DatasetError(path, "is larger than 2 GB", hint="split it, and name the parts")
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DatasetError(path, (error.strerror or str(error)).lower(), hint=_FORMS) from error
    except UnicodeDecodeError as error:
        raise DatasetError(path, f"is no UTF-8 text at byte {error.start:,}", hint=_FORMS) from error
    if text.lstrip().startswith("["):
        yield from ((f"record {n:,}", record) for n, record in enumerate(_parsed(text, path, "it"), 1))
        return
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield f"line {number:,}", _parsed(line, path, f"line {number:,}")


def _parsed(text: str, path: Path, place: str) -> Any:  # noqa: ANN401 - any JSON
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DatasetError(path, f"{place} is no JSON: {error}", hint=_FORMS) from error


def _conversation(record: Any, path: Path, place: str) -> Conversation:  # noqa: ANN401 - any JSON
    if not isinstance(record, dict):
        raise DatasetError(path, f"{place} is no object", hint=_FORMS)
    try:
        turns = tuple(_turns(record))
    except (KeyError, TypeError, ValueError, InvalidSettingError) as error:
        problem = str(error) if not isinstance(error, KeyError) else f"has no {error}"
        raise DatasetError(path, f"{place}: {problem}", hint=_FORMS) from error
    roles = [turn.role for turn in turns if turn.role != "system"]
    if roles != ["user", "assistant"] * (len(roles) // 2) or not roles:
        raise DatasetError(
            path, f"{place} has the turns {', '.join(roles) or 'none'}; user and assistant must alternate"
        )
    if any(turn.role == "system" for turn in turns[1:]):
        raise DatasetError(path, f"{place} has an instruction that is not its first turn")
    return turns


def _turns(record: dict[str, Any]) -> Iterator[Message]:
    if isinstance(record.get("system"), str) and record["system"]:
        yield Message("system", record["system"])
    if "messages" in record:
        for turn in record["messages"]:
            yield Message(turn["role"], turn["content"])
    elif "conversations" in record:
        for turn in record["conversations"]:
            speaker = turn["from"]
            if speaker not in _SPEAKERS:
                raise ValueError(f"`from` is {speaker!r}; it must be human, gpt or system")
            yield Message(_SPEAKERS[speaker], turn["value"])  # type: ignore[arg-type]
    elif "query" in record:
        yield from _pairs([*(record.get("history") or ()), (record["query"], record["response"])])
    else:
        asked = "\n".join(part for part in (record["instruction"], record.get("input")) if part)
        yield from _pairs([*(record.get("history") or ()), (asked, record["output"])])


def _pairs(pairs: list[Any]) -> Iterator[Message]:
    for asked, answer in pairs:
        yield Message("user", asked)
        yield Message("assistant", answer)
