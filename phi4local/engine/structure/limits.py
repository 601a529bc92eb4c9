"""Refuse what would take long to compile, before anything compiles it."""

from __future__ import annotations

import json
import re
from typing import Any

from phi4local.errors import InvalidSettingError

MOST_CHARACTERS = 256 * 1024
MOST_DEPTH = 64
MOST_NODES = 20_000
MOST_PROPERTIES = 1_000
"""Of one object: many that may be left out make the parser slow, 5,000 of them five seconds a token."""
MOST_REPEATS = 5_000
"""Of `minItems`, `maxLength`, `{m,n}` and their like: each becomes a state of a machine."""
MOST_PATTERN_CHARACTERS = 2_000
_COUNTS = ("minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties")
_REPEATS = re.compile(r"\{(\d*)(?:,(\d*))?\}")


def checked_schema(text: str) -> dict[str, Any]:
    """Return the schema in `text` if it is JSON and of a bearable size.

    Example: `checked_schema('{"type": "integer"}')` → `{"type": "integer"}`.

    Raises:
        InvalidSettingError: no JSON, no object, too large, too deep, or a reference to somewhere else.
    """
    _require_short("json_schema", text)
    try:
        schema = json.loads(text, parse_constant=_refuse_constant)
    except RecursionError:
        raise _refused("is nested too deeply") from None
    except ValueError as error:
        raise _refused(f"is no JSON: {error}") from error
    if schema is True:
        return {}
    if not isinstance(schema, dict):
        raise _refused("is no object; a JSON schema is one", hint='for example {"type": "object"}')
    _Walk().check(schema, "#", 0)
    return schema


def check_pattern(
    setting: str, text: str, *, most: int = MOST_PATTERN_CHARACTERS, apart: bool = False
) -> None:
    """Refuse a pattern or grammar that is too long or counts too far.

    Args:
        setting: where it stands.
        text: the pattern.
        most: characters that it may have.
        apart: its lines are rules, each with counts of its own.

    Raises:
        InvalidSettingError: it does.
    """
    if len(text) > most:
        raise InvalidSettingError(
            setting, f"has a pattern of {len(text):,} characters; {most:,} are the most"
        )
    for part in text.splitlines() if apart else [text]:
        product = 1
        for low, high in _REPEATS.findall(part):
            product *= max(1, *(int(number[:9]) for number in (low, high) if number)) if low or high else 1
            if product > MOST_REPEATS:
                raise InvalidSettingError(
                    setting,
                    f"repeats something more than {MOST_REPEATS:,} times",
                    hint="count less, or use `*`",
                )


def _require_short(setting: str, text: str) -> None:
    if len(text) > MOST_CHARACTERS:
        raise InvalidSettingError(setting, f"has {len(text):,} characters; {MOST_CHARACTERS:,} are the most")


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number of JSON")


def _refused(problem: str, hint: str | None = None) -> InvalidSettingError:
    return InvalidSettingError("json_schema", problem, hint=hint or "make the schema smaller")


SCHEMAS = ("items", "additionalProperties", "additionalItems", "not", "if", "then", "else", "contains")
MAPS = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
LISTS = ("prefixItems", "anyOf", "oneOf", "allOf")
_OTHERS = frozenset(
    {
        *("type", "enum", "const", "required", "pattern", "format", "minimum", "maximum", "multipleOf"),
        *("exclusiveMinimum", "exclusiveMaximum", "uniqueItems", "minContains", "maxContains"),
        *("propertyNames", "unevaluatedItems", "unevaluatedProperties", "dependentRequired", "dependencies"),
        *(
            "$ref",
            "$dynamicRef",
            "$anchor",
            "$dynamicAnchor",
            "$schema",
            "$id",
            "$comment",
            "$vocabulary",
            "id",
        ),
        *("title", "description", "default", "examples", "example", "deprecated", "readOnly", "writeOnly"),
        *("contentEncoding", "contentMediaType", "contentSchema", "nullable", "discriminator"),
        *_COUNTS,
    }
)
"""Keywords of JSON Schema that hold no schemas, and common annotations; what of these cannot be followed is
refused by the compiler."""


class _Walk:
    """Goes through a schema once, knows what is a schema and what is data, and counts."""

    def __init__(self) -> None:
        self._nodes = 0

    def check(self, schema: object, place: str, depth: int) -> None:
        """Check a schema and those in it."""
        self._count(place, depth)
        if not isinstance(schema, dict):
            return
        for key, value in schema.items():
            inner = f"{place}/{key}"
            if key in MAPS and isinstance(value, dict):
                self._check_map(key, value, inner, depth)
            elif key in SCHEMAS or key in LISTS:
                for number, part in enumerate(value if isinstance(value, list) else [value]):
                    self.check(part, f"{inner}/{number}" if isinstance(value, list) else inner, depth + 1)
            elif key not in _OTHERS and not key.startswith("x-"):
                raise _refused(
                    f"has the unknown keyword {key[:60]!r} at {place[:60]}", hint="is it spelled right?"
                )
            else:
                self._check_value(key, value, inner)
                self._count_data(value, inner, depth)

    def _check_map(self, key: str, schemas: dict[str, Any], place: str, depth: int) -> None:
        if key == "properties" and len(schemas) > MOST_PROPERTIES:
            raise _refused(
                f"has {len(schemas):,} properties at {place[:60]}; {MOST_PROPERTIES:,} are the most"
            )
        for name, schema in schemas.items():
            if key == "patternProperties":
                check_pattern("json_schema", name)
            self.check(schema, f"{place}/{name}", depth + 1)

    @staticmethod
    def _check_value(key: str, value: object, place: str) -> None:
        if key in ("$ref", "$dynamicRef") and isinstance(value, str) and not value.startswith("#"):
            raise _refused(f"refers to {value[:60]!r} at {place[:60]}", hint="only `#/…` is followed")
        if key in _COUNTS and isinstance(value, int | float) and value > MOST_REPEATS:
            raise _refused(f"has {key} {value:,} at {place[:60]}; {MOST_REPEATS:,} is the most")
        if key == "pattern" and isinstance(value, str):
            check_pattern("json_schema", value)

    def _count(self, place: str, depth: int) -> None:
        self._nodes += 1
        if self._nodes > MOST_NODES:
            raise _refused(f"has more than {MOST_NODES:,} parts")
        if depth > MOST_DEPTH:
            raise _refused(f"is nested more than {MOST_DEPTH} deep at {place[:60]}")

    def _count_data(self, value: object, place: str, depth: int) -> None:
        self._count(place, depth)
        if isinstance(value, dict | list):
            for inner in value.values() if isinstance(value, dict) else value:
                self._count_data(inner, place, depth + 1)
