"""Two hundred JSON schemas of the kinds that people ask answers for, by name."""

from __future__ import annotations

import itertools
from typing import Any

Schema = dict[str, Any]

ADDRESS: Schema = {
    "type": "object",
    "properties": {
        "street": {"type": "string", "maxLength": 12},
        "number": {"type": "integer", "minimum": 1},
    },
    "required": ["street", "number"],
    "additionalProperties": False,
}
PATTERNS = (
    r"^[A-Z]{3}-\d{4}$",
    r"^(red|green|blue)$",
    r"^\d{3}-\d{2}-\d{4}$",
    r"^[a-z]+(_[a-z]+)*$",
    r"^#[0-9a-f]{6}$",
    r"^v\d+\.\d+\.\d+$",
    r"^[^\s]{1,8}$",
    r"^(yes|no)( please)?$",
    r"^[A-Za-z0-9+/]{4}=?$",
    r"^\+?[0-9 ]{5,12}$",
    r"^a|b$",
    r"^[äöü]{2}$",
)
FORMATS = ("date", "time", "date-time", "email", "ipv4", "ipv6", "uuid", "hostname", "uri", "duration")
BOUNDS = (
    {"minimum": 0},
    {"maximum": 9},
    {"minimum": -5, "maximum": 5},
    {"minimum": 10, "maximum": 10},
    {"exclusiveMinimum": 0, "exclusiveMaximum": 100},
    {"minimum": 1000, "maximum": 123456},
    {"multipleOf": 5, "minimum": 0, "maximum": 100},
    {"minimum": -1000000, "maximum": -999},
)


def obj(properties: Schema, *optional: str, more: bool = False) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if name not in optional],
        "additionalProperties": more,
    }


def _types() -> dict[str, Schema]:
    found: dict[str, Schema] = {
        f"type {kind}": {"type": kind} for kind in ("integer", "number", "boolean", "null")
    }
    found["type string"] = {"type": "string", "maxLength": 20}
    found["any of many types"] = {"type": ["integer", "boolean", "null"]}
    found["empty object"] = obj({})
    found["empty array"] = {"type": "array", "maxItems": 0}
    return found


def _enums() -> dict[str, Schema]:
    values = (
        ["a"],
        ["yes", "no"],
        [1, 2, 3],
        [True, None],
        ["ä", "日本", "🦊"],
        ['say "hi"', "back\\slash"],
        [1.5, -2, 1e3],
        ["", " "],
        [[1, 2], [3]],
        [{"a": 1}, {"b": [2]}],
        ["x" * 40, "y"],
    )
    found: dict[str, Schema] = {f"enum {number}": {"enum": value} for number, value in enumerate(values)}
    constants = ("fixed", 42, None, {"k": "v"}, [1, "two"], False)
    found |= {f"const {number}": {"const": value} for number, value in enumerate(constants)}
    return found


def _numbers() -> dict[str, Schema]:
    found = {
        f"{kind} {number}": {"type": kind, **bounds}
        for kind, (number, bounds) in itertools.product(("integer", "number"), enumerate(BOUNDS))
        if not (kind == "number" and "multipleOf" in bounds)
    }
    found |= {
        f"number in an object {number}": obj({"value": {"type": "integer", **bounds}})
        for number, bounds in enumerate(BOUNDS)
    }
    return found


def _strings() -> dict[str, Schema]:
    found: dict[str, Schema] = {f"pattern {p}": {"type": "string", "pattern": p} for p in PATTERNS}
    found |= {f"format {name}": {"type": "string", "format": name} for name in FORMATS}
    found |= {
        f"length {low} to {high}": {"type": "string", "minLength": low, "maxLength": high}
        for low, high in ((0, 0), (1, 1), (3, 5), (0, 30), (8, 8))
    }
    found |= {
        f"{name} in an object": obj({"when": {"type": "string", "format": name}, "n": {"type": "integer"}})
        for name in FORMATS
    }
    found |= {
        f"pattern in an array {number}": array({"type": "string", "pattern": p}, 1, 2)
        for number, p in enumerate(PATTERNS)
    }
    return found


def array(items: Schema, low: int, high: int) -> Schema:
    return {"type": "array", "items": items, "minItems": low, "maxItems": high}


def _arrays() -> dict[str, Schema]:
    items: dict[str, Schema] = {
        "integers": {"type": "integer", "minimum": 0, "maximum": 99},
        "booleans": {"type": "boolean"},
        "words": {"enum": ["one", "two"]},
        "addresses": ADDRESS,
        "rows": array({"type": "integer", "minimum": 0, "maximum": 9}, 2, 3),
        "texts": {"type": "string", "maxLength": 6},
        "prices": {"type": "number", "minimum": 0, "maximum": 10},
        "dates": {"type": "string", "format": "date"},
        "choices": {"anyOf": [{"type": "boolean"}, {"type": "null"}]},
    }
    found = {
        f"{low} to {high} {name}": array(item, low, high)
        for (name, item), (low, high) in itertools.product(items.items(), ((0, 2), (1, 1), (2, 4)))
    }
    found["a tuple"] = {
        "type": "array",
        "prefixItems": [{"type": "integer"}, {"type": "boolean"}],
        "items": False,
        "minItems": 2,
    }
    found["a tuple and more"] = {
        "type": "array",
        "prefixItems": [{"enum": ["first"]}],
        "items": {"type": "integer", "minimum": 0, "maximum": 9},
        "minItems": 1,
        "maxItems": 3,
    }
    return found


def _objects() -> dict[str, Schema]:
    text, number, flag = (
        {"type": "string", "maxLength": 8},
        {"type": "integer", "minimum": 0},
        {"type": "boolean"},
    )
    found: dict[str, Schema] = {}
    fields = {"name": text, "age": number, "member": flag, "address": ADDRESS, "tags": array(text, 0, 2)}
    for count in (1, 2, 3, 4, 5):
        for chosen in itertools.islice(itertools.combinations(fields, count), 10):
            picked = {name: fields[name] for name in chosen}
            found[f"object of {', '.join(chosen)}"] = obj(picked)
            found[f"object of {', '.join(chosen)}, the last optional"] = obj(picked, chosen[-1])
    found["keys with marks"] = obj({'a "b"': number, "ü": flag, "c d": number})
    found["a map"] = {"type": "object", "additionalProperties": number, "maxProperties": 2}
    found["deep"] = obj({"a": obj({"b": obj({"c": obj({"d": obj({"e": number})})})})})
    return found


def _combined() -> dict[str, Schema]:
    node: Schema = {
        "$defs": {
            "node": obj(
                {
                    "value": {"type": "integer", "minimum": 0, "maximum": 9},
                    "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
                }
            )
        },
        "$ref": "#/$defs/node",
    }
    return {
        "any of two": {"anyOf": [{"type": "integer"}, {"enum": ["none"]}]},
        "any of objects": {"anyOf": [obj({"a": {"type": "integer"}}), obj({"b": {"type": "boolean"}})]},
        "one of by a mark": {
            "oneOf": [
                obj({"kind": {"const": "circle"}, "radius": {"type": "number", "minimum": 0}}),
                obj({"kind": {"const": "square"}, "side": {"type": "integer", "minimum": 1}}),
            ]
        },
        "all of": {"allOf": [{"type": "integer", "minimum": 3}, {"maximum": 7}]},
        "all of objects": {
            "allOf": [
                {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]},
                {"type": "object", "properties": {"b": {"type": "boolean"}}, "required": ["b"]},
            ],
        },
        "a reference": {
            "$defs": {"n": {"type": "integer"}},
            "type": "array",
            "items": {"$ref": "#/$defs/n"},
            "maxItems": 3,
        },
        "old definitions": {"definitions": {"n": {"enum": ["x", "y"]}}, "$ref": "#/definitions/n"},
        "a list that refers to itself": node,
        "or null": {"anyOf": [ADDRESS, {"type": "null"}]},
        "a call of a tool": obj(
            {"name": {"enum": ["weather"]}, "arguments": obj({"city": {"type": "string", "maxLength": 9}})}
        ),
        "with words about it": {
            "title": "T",
            "description": "D",
            "examples": [1],
            "type": "integer",
            "default": 3,
        },
    }


SCHEMAS: dict[str, Schema] = {
    **_types(),
    **_enums(),
    **_numbers(),
    **_strings(),
    **_arrays(),
    **_objects(),
    **_combined(),
}
