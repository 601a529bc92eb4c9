"""The schema of a tool call: the name of one of the tools, and arguments that follow its own schema."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from phi4local.engine.structure.limits import LISTS, MAPS, SCHEMAS
from phi4local.errors import InvalidSettingError

if TYPE_CHECKING:
    from collections.abc import Mapping

_OF_A_DOCUMENT = ("$schema", "$id", "id")
"""Keywords that only the root of a document may have: a tool's schema becomes a part of another one."""


def tool_call_schema(
    tools: Mapping[str, Mapping[str, Any] | None], *, arguments: str = "arguments", several: bool = False
) -> dict[str, Any]:
    """Return the schema of a call of one of several tools.

    Args:
        tools: name → JSON schema of the arguments, an object; `None` for a tool without any.
        arguments: the key of the arguments: models were trained with "arguments" or "parameters".
        several: a list of one or more calls, as Phi-4-mini writes them.

    Example: `tool_call_schema({"now": None})` allows `{"name": "now", "arguments": {}}` and nothing else.

    Raises:
        InvalidSettingError: no tool, or a schema that is no object.
    """
    if not tools:
        raise InvalidSettingError("tools", "has no tool", hint="name at least one, or ask without tools")
    definitions, calls = {}, []
    for number, (name, schema) in enumerate(tools.items()):
        if schema is not None and not hasattr(schema, "items"):
            raise InvalidSettingError(
                "tools", f"has no schema for {name!r}", hint='give one such as {"type": "object"}'
            )
        place = f"#/$defs/tool{number}"
        definitions[f"tool{number}"] = _moved(_as_object(schema), place, top=True)
        calls.append(
            {
                "type": "object",
                "properties": {"name": {"const": name}, arguments: {"$ref": place}},
                "required": ["name", arguments],
                "additionalProperties": False,
            }
        )
    call: dict[str, Any] = calls[0] if len(calls) == 1 else {"anyOf": calls}
    whole = {"type": "array", "items": call, "minItems": 1} if several else call
    return {**whole, "$defs": definitions}


def _as_object(schema: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Return the schema of arguments; an object without any where nothing is said."""
    if not schema:
        return {"type": "object", "properties": {}, "additionalProperties": False}
    return schema if "type" in schema or "$ref" in schema else {"type": "object", **schema}


def _moved(schema: Any, place: str, *, top: bool = False) -> Any:  # noqa: ANN401 - a schema, or true and false
    """Return a schema whose references begin at `place`, where its root is now; data stays as it is."""
    if not hasattr(schema, "items"):
        return schema
    found: dict[str, Any] = {}
    for key, value in schema.items():
        if top and key in _OF_A_DOCUMENT:
            continue
        if key == "$ref" and isinstance(value, str) and value.startswith("#"):
            found[key] = place + value[1:]
        elif key in MAPS and hasattr(value, "items"):
            found[key] = {name: _moved(part, place) for name, part in value.items()}
        elif key in SCHEMAS or key in LISTS:
            parts = [_moved(part, place) for part in value] if isinstance(value, list) else None
            found[key] = _moved(value, place) if parts is None else parts
        else:
            found[key] = value
    return found
