r"""Prompt templates as people keep them: one TOML file each, `PHI4LOCAL_HOME/templates/NAME.toml`.

    model = "phi-4"
    system = "You are brief."
    prompt = "Summarize in $words words:\n\n$input"
    max_tokens = 300
    json_schema = '{"type": "object"}'   # or a table, [json_schema]

    [sampling]                           # fields of `SamplingSettings`
    temperature = 0.2

    [parameters]                         # values of variables for which nothing else is given
    words = 50

Every line may be left out; what is not known here is an error.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from phi4local.assistant.templates import PromptTemplate
from phi4local.errors import (
    InvalidSettingError,
    OutputExistsError,
    TemplateError,
    UnknownTemplateError,
    UnsafeNameError,
)
from phi4local.files import new_file, write_error
from phi4local.settings import SamplingSettings
from phi4local.store.home import home, make_models_folder
from phi4local.store.paths import safe_path

MOST_BYTES = 2**20
_ENDING = ".toml"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}")
_TEXTS = ("model", "system", "prompt")
_KNOWN = (*_TEXTS, "max_tokens", "json_schema", "sampling", "parameters")


def templates_folder() -> Path:
    """Return the folder of the templates; it is there after the first `save`."""
    return home() / "templates"


def names() -> list[str]:
    """Return the names of the templates that are kept, sorted."""
    return sorted(path.stem for path in templates_folder().glob(f"*{_ENDING}"))


def read(name: str) -> PromptTemplate:
    """Return a template by its name, or by the path of its file: what has a `/` or ends with `.toml`.

    Raises:
        UnknownTemplateError: nothing has this name; the hint lists near names.
        TemplateError: the file cannot be read, or has something in it that means nothing.
    """
    if "/" in name or "\\" in name or name.endswith(_ENDING):
        path = Path(name)
    else:
        path = templates_folder() / f"{name}{_ENDING}"
        if not _is_name(name) or not path.is_file():
            known = names()
            raise UnknownTemplateError(name, difflib.get_close_matches(name, known, n=2), known=known)
    try:
        return from_toml(_content(path))
    except InvalidSettingError as error:
        raise TemplateError(path, str(error), hint=error.hint) from error
    except (ValueError, RecursionError) as error:
        problem = "too deeply nested" if isinstance(error, RecursionError) else str(error)
        raise TemplateError(path, f"is not TOML: {problem}") from error


def save(name: str, template: PromptTemplate) -> Path:
    """Keep a template under a name and return its file. One that is there stays as it is.

    Raises:
        InvalidSettingError: no name for a file, on some system.
        OutputExistsError: there is a template of this name.
        FileWriteError: the operating system refused.
    """
    if not _is_name(name):
        raise InvalidSettingError(
            "save_template", f"is {name!r}", hint="a name has letters, digits, `_`, `-` and `.`, 80 at most"
        )
    path = templates_folder() / f"{name}{_ENDING}"
    make_models_folder()  # makes the home too, for its owner alone
    try:
        path.parent.mkdir(exist_ok=True)
    except OSError as error:
        raise write_error(path, error) from error
    try:
        with new_file(path) as file:
            file.write(to_toml(template).encode())
    except OutputExistsError as error:
        error.hint = "choose another name, or remove that file first"
        raise
    return path


def from_toml(text: str) -> PromptTemplate:
    """Return the template of a file's text.

    Raises:
        InvalidSettingError: a name or a value that means nothing.
        ValueError, RecursionError: no TOML.
    """
    return _from_values(tomllib.loads(text))


def to_toml(template: PromptTemplate) -> str:
    r"""Return the text of a template's file.

    Example: `to_toml(PromptTemplate(system="Be brief."))` is `'system = "Be brief."\n'`.
    """
    values: dict[str, Any] = {name: getattr(template, name) for name in (*_TEXTS, "max_tokens")}
    sampling = template.sampling.to_mapping()
    values["json_schema"] = sampling.pop("json_schema")
    if sampling["logit_bias"] is not None:
        sampling["logit_bias"] = {str(token): bias for token, bias in sampling["logit_bias"]}
    lines = _lines(values)
    for title, table in (("sampling", sampling), ("parameters", template.parameters)):
        inside = _lines(table)
        lines += [*([""] if lines else []), f"[{title}]", *inside] if inside else []
    return "\n".join(lines) + "\n"


def _is_name(name: str) -> bool:
    """Return whether a name is one for a file in the folder, on every system."""
    try:
        safe_path(f"{name}{_ENDING}")
    except UnsafeNameError:
        return False
    return _NAME.fullmatch(name) is not None


def _content(path: Path) -> str:
    try:
        with path.expanduser().open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except (OSError, ValueError, RuntimeError) as error:
        problem = getattr(error, "strerror", None) or str(error)
        raise TemplateError(
            path, f"cannot be read: {problem.lower()}", hint="name a file that is there"
        ) from error
    if len(data) > MOST_BYTES:
        raise TemplateError(path, f"has more than {MOST_BYTES:,} bytes")
    return data.decode("utf-8-sig")


def _from_values(values: Mapping[str, Any]) -> PromptTemplate:
    for name in values:
        if name not in _KNOWN:
            near = difflib.get_close_matches(name, _KNOWN, n=2) or _KNOWN
            raise InvalidSettingError(name, "does not exist", hint=f"known: {', '.join(near)}")
    texts = {name: _text(name, values[name]) for name in _TEXTS if name in values}
    sampling = SamplingSettings.from_mapping(_table(values, "sampling"))
    if "json_schema" in values:
        sampling = SamplingSettings(json_schema=_schema(values["json_schema"])).filled_from(sampling)
    limit = values.get("max_tokens")
    if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool)):
        raise InvalidSettingError("max_tokens", f"is {limit!r}; it must be a whole number")
    parameters = {name: _parameter(name, value) for name, value in _table(values, "parameters").items()}
    return PromptTemplate(**texts, max_tokens=limit, sampling=sampling, parameters=parameters)


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise InvalidSettingError(name, f"is {type(value).__name__}; it must be a text")
    return value


def _table(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    table = values.get(name, {})
    if not isinstance(table, Mapping):
        raise InvalidSettingError(
            name, f"is {type(table).__name__}; it must be a table", hint=f"write [{name}]"
        )
    return table


def _schema(value: object) -> str:
    """Return a schema's JSON. TOML has dates, which JSON has not."""
    import json

    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, ensure_ascii=False)
    except TypeError as error:
        raise InvalidSettingError("json_schema", f"is no JSON: {error}") from error


def _parameter(name: str, value: object) -> str:
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return str(value)
    raise InvalidSettingError(f"parameters.{name}", "must be a text or a number")


def _lines(table: Mapping[str, Any]) -> list[str]:
    return [f"{_key(name)} = {_toml(value)}" for name, value in table.items() if value is not None]


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _toml(name)


def _toml(value: object) -> str:
    """Return a value as TOML writes it; texts of several lines stay readable."""
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{_key(name)} = {_toml(one)}' for name, one in value.items())} }}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    if not isinstance(value, str):
        return repr(value)
    text = value.encode(errors="replace").decode().replace("\\", "\\\\")
    if "\n" not in text:
        return '"' + _escaped(text.replace('"', '\\"')) + '"'
    # A quote before another one, or before the end, could be taken for the closing three.
    return '"""\n' + _escaped(re.sub(r'"(?="|\Z)', r"\\\"", text)) + '"""'


def _escaped(text: str) -> str:
    return re.sub("[\x00-\x08\x0b-\x1f\x7f]", lambda found: f"\\u{ord(found[0]):04x}", text)
