"""Messages between the two processes: a length (4 bytes, little-endian) and JSON.

JSON and not pickle: the child runs native code on files of strangers, and nothing that it sends may run code
here.

To the child: `load`, `submit` and the questions `tokenize`, `vocabulary`, `embed`, `save`, `restore` and
`memory`, each with an `id` of the parent's choice; `cancel` with the id of a `submit`; `ping`.

From the child, with that id: `loading` … `loaded`; `step`, `text` and `shifted` … `finished`; `answer` to a
question; and `failed` in place of any last one. `pong` comes from the thread that takes messages, with the
pages read from disk so far (0 where the system does not tell).

A new question needs a method `_answer_<type>` in the child and a call of `EngineWorker._ask` in the parent.
"""

from __future__ import annotations

import base64
import json
import struct
from dataclasses import asdict
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from phi4local import errors
from phi4local.engine.adapters import AdapterFile
from phi4local.engine.events import (
    ContextShifted,
    Event,
    Finished,
    Request,
    Text,
    Timings,
    TokenLogprob,
    Usage,
)
from phi4local.engine.model import ModelFacts, ModelFile
from phi4local.engine.speculation.draft_model import DraftFile
from phi4local.prompts import Segment, TextSegment, TokenSegment
from phi4local.settings import LoadSettings, SamplingSettings

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

MAX_MESSAGE_BYTES = 256 * 2**20
LAST_REPLIES = frozenset({"loaded", "finished", "answer", "failed"})
"""After one of these nothing more comes for that id."""
_LENGTH = struct.Struct("<I")


def encode(message: dict[str, Any]) -> bytes:
    """Return one message as bytes.

    Raises:
        InvalidSettingError: it is larger than `MAX_MESSAGE_BYTES`; no context holds such a prompt.
    """
    body = json.dumps(message, separators=(",", ":")).encode()
    if len(body) > MAX_MESSAGE_BYTES:
        raise errors.InvalidSettingError(
            "prompt", f"has over {MAX_MESSAGE_BYTES:,} bytes", hint="shorten the prompt"
        )
    return _LENGTH.pack(len(body)) + body


def write_message(stream: IO[bytes], message: dict[str, Any]) -> None:
    """Write one message and flush it."""
    stream.write(encode(message))
    stream.flush()


def read_message(stream: IO[bytes]) -> dict[str, Any] | None:
    """Read one message; `None` when the other side is gone or the stream makes no sense."""
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(head)
    body = stream.read(length) if length <= MAX_MESSAGE_BYTES else b""
    if len(body) < length:
        return None
    try:
        message = json.loads(body)
    except ValueError:
        return None
    return message if isinstance(message, dict) else None


def segments_to_json(segments: tuple[Segment, ...] | list[Segment]) -> list[list[Any]]:
    """Return segments as lists: `["special" | "plain", text]` or `["tokens", ids]`."""
    return [
        ["tokens", list(segment.token_ids)]
        if isinstance(segment, TokenSegment)
        else ["special" if segment.special else "plain", segment.text]
        for segment in segments
    ]


def segments_from_json(data: list[list[Any]]) -> tuple[Segment, ...]:
    """Undo `segments_to_json`."""
    return tuple(
        TokenSegment(tuple(value)) if kind == "tokens" else TextSegment(value, special=kind == "special")
        for kind, value in data
    )


def request_to_json(request: Request) -> dict[str, Any]:
    """Return a request as JSON values."""
    return {
        "segments": segments_to_json(request.segments),
        "sampling": request.sampling.to_mapping(),
        "limits": [request.max_tokens, request.max_seconds],
        "ignore_end": request.ignore_end,
        "priority": request.priority,
        "turn_starts": request.turn_starts,
        "adapters": request.adapters,
    }


def request_from_json(data: dict[str, Any]) -> Request:
    """Undo `request_to_json`."""
    return Request(
        segments=segments_from_json(data["segments"]),
        sampling=SamplingSettings.from_mapping(data["sampling"]),
        max_tokens=data["limits"][0],
        max_seconds=data["limits"][1],
        ignore_end=data["ignore_end"],
        priority=data["priority"],
        turn_starts=tuple(data["turn_starts"]),
        adapters=tuple((name, scale) for name, scale in data["adapters"]),
    )


def file_to_json(file: ModelFile) -> dict[str, Any]:
    """Return a model file as JSON values."""
    return {
        "path": str(file.path),
        "trained_context_tokens": file.trained_context_tokens,
        "layers": file.layers,
        "user_defined_tokens": list(file.user_defined_tokens),
        "short_context_tokens": file.short_context_tokens,
        "pre_tokenizer": file.pre_tokenizer,
        "adapters": [[adapter.name, str(adapter.path), adapter.digest] for adapter in file.adapters],
        "draft": asdict(file.draft) | {"path": str(file.draft.path)} if file.draft else None,
    }


def file_from_json(data: dict[str, Any]) -> ModelFile:
    """Undo `file_to_json`."""
    return ModelFile(
        path=Path(data["path"]),
        trained_context_tokens=data["trained_context_tokens"],
        layers=data["layers"],
        user_defined_tokens=tuple(data["user_defined_tokens"]),
        short_context_tokens=data["short_context_tokens"],
        pre_tokenizer=data["pre_tokenizer"],
        adapters=tuple(
            AdapterFile(name=name, path=Path(path), digest=digest) for name, path, digest in data["adapters"]
        ),
        draft=DraftFile(**(data["draft"] | {"path": Path(data["draft"]["path"])})) if data["draft"] else None,
    )


def facts_to_json(facts: ModelFacts) -> dict[str, Any]:
    """Return facts as JSON values."""
    return asdict(facts) | {"settings": facts.settings.to_mapping()}


def facts_from_json(data: dict[str, Any]) -> ModelFacts:
    """Undo `facts_to_json`."""
    known = {name: value for name, value in data.items() if name not in ("type", "id")}
    return ModelFacts(**(known | {"settings": LoadSettings.from_mapping(data["settings"])}))


def vectors_to_json(vectors: NDArray[numpy.float32]) -> dict[str, Any]:
    """Return float32 vectors of shape `(rows, width)` as JSON values: digits would be four times as long."""
    return {"width": vectors.shape[1], "base64": base64.b64encode(vectors.astype("<f4").tobytes()).decode()}


def vectors_from_json(data: dict[str, Any]) -> NDArray[numpy.float32]:
    """Undo `vectors_to_json`."""
    import numpy

    raw = base64.b64decode(data["base64"], validate=True)
    return numpy.frombuffer(raw, dtype="<f4").astype(numpy.float32).reshape(-1, int(data["width"]))


def event_to_json(event: Event) -> dict[str, Any]:
    """Return an event as JSON values."""
    if isinstance(event, Text):
        message = {"type": "text", "delta": event.delta, "token_ids": event.token_ids}
        if event.logprobs is not None:
            message["logprobs"] = [(item.token, item.logprob, item.top) for item in event.logprobs]
        return message
    if isinstance(event, ContextShifted):
        return {"type": "shifted", "turns": event.turns, "tokens": event.tokens}
    usage, timings = event.usage, event.timings
    return {
        "type": "finished",
        "reason": event.reason,
        "usage": asdict(usage),
        "timings": asdict(timings),
        "stop_text": event.stop_text,
    }


def event_from_json(data: dict[str, Any]) -> Event:
    """Undo `event_to_json`."""
    if data["type"] == "text":
        return Text(data["delta"], tuple(data["token_ids"]), _logprobs_from_json(data.get("logprobs")))
    if data["type"] == "shifted":
        return ContextShifted(turns=data["turns"], tokens=data["tokens"])
    return Finished(
        reason=data["reason"],
        usage=Usage(**data["usage"]),
        timings=Timings(**data["timings"]),
        stop_text=data["stop_text"],
    )


def _logprobs_from_json(data: list[list[Any]] | None) -> tuple[TokenLogprob, ...] | None:
    if data is None:
        return None
    return tuple(TokenLogprob(token, logprob, tuple(map(tuple, top))) for token, logprob, top in data)


def error_to_json(error: BaseException) -> dict[str, Any]:
    """Return an error of our tree with its attributes; any other error as an `EngineError`."""
    if isinstance(error, errors.Phi4LocalError):
        attributes = {k: v for k, v in vars(error).items() if isinstance(v, str | int | float)}
        return {"kind": type(error).__name__, "message": str(error), "attributes": attributes}
    message = f"internal error in the engine: {type(error).__name__}: {error}"
    return {"kind": "EngineError", "message": message, "attributes": {"hint": "please report this line"}}


def error_from_json(data: dict[str, Any]) -> errors.Phi4LocalError:
    """Rebuild an error of our tree without running its constructor, which takes other arguments."""
    kind = getattr(errors, str(data["kind"]), None)
    if not (isinstance(kind, type) and issubclass(kind, errors.Phi4LocalError)):
        kind = errors.EngineError
    error = kind.__new__(kind)
    Exception.__init__(error, str(data["message"]))
    for name, value in data["attributes"].items():
        setattr(error, name, value)
    return error
