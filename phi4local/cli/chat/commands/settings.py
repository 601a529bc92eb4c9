"""Commands that change how answers are chosen and shown."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from phi4local.cli import options, render, structure
from phi4local.cli.chat import keeping
from phi4local.cli.chat.state import think_mode
from phi4local.errors import InvalidSettingError
from phi4local.settings import SamplingSettings

if TYPE_CHECKING:
    from phi4local.cli.chat.state import Chat

ANY_OBJECT = '{"type": "object"}'


def system(chat: Chat, argument: str) -> None:
    """Show or change the instruction before everything."""
    if argument:
        chat.conversation.system = None if argument == "off" else argument
        chat.recount()
    render.notice(f"instruction: {chat.conversation.system or 'none'}")


def change(chat: Chat, argument: str) -> None:
    """Show or change a setting. Examples: `/set temperature 0.7`, `/set max_tokens 200`, `/set seed off`."""
    name, _, value = argument.partition(" ")
    name, value = name.replace("-", "_"), value.strip()
    if not name:
        _show_settings(chat)
    elif name == "max_tokens":
        chat.conversation.max_tokens = None if value == "off" else _whole(value)
        keeping.note_setting(chat, name, chat.conversation.max_tokens)
    elif not value:
        raise InvalidSettingError(name, "has no value", hint=f"for example `/set {name} 0.7`, or `off`")
    else:
        now = chat.conversation.sampling or SamplingSettings()
        if value == "off":
            SamplingSettings.from_mapping({name: None})  # refuses a name that is none
            chat.conversation.sampling = replace(now, **{name: None})
        else:
            given = options.sampling_settings(None, None, None, None, None, [f"{name}={value}"])
            chat.conversation.sampling = given.filled_from(now)
        keeping.note_setting(chat, name, getattr(chat.conversation.sampling, name))
    if name:
        render.notice(
            f"{name} is {value if value != 'off' else 'as the model wants it'} from the next answer on"
        )


def _show_settings(chat: Chat) -> None:
    chosen = chat.conversation.sampling or SamplingSettings()
    values = {name: value for name, value in chosen.to_mapping().items() if value is not None}
    if chat.conversation.max_tokens is not None:
        values["max_tokens"] = chat.conversation.max_tokens
    for name, value in values.items():
        render.notice(f"{name} {value}")
    if not values:
        render.notice("every setting is as the model wants it; docs/sampling.md lists them")


def _whole(text: str) -> int:
    if not (text.isdecimal() and int(text)):
        raise InvalidSettingError("max_tokens", f"is {text!r}; it must be a whole number above 0")
    return int(text)


def json_schema(chat: Chat, argument: str) -> None:
    """Let answers be JSON; `off` lets them be text again."""
    now = chat.conversation.sampling or SamplingSettings()
    if argument == "off":
        chat.conversation.sampling = replace(now, json_schema=None)
        keeping.note_setting(chat, "json_schema", None)
        render.notice("answers are text")
        return
    given = structure.structure_settings(argument or ANY_OBJECT, None, None)
    chat.conversation.sampling = replace(now, json_schema=given.json_schema, regex=None, grammar=None)
    keeping.note_setting(chat, "json_schema", given.json_schema)
    render.notice("answers are JSON of this schema; /json off ends that" if argument else "answers are JSON")


def think(chat: Chat, argument: str) -> None:
    """Show or choose what is shown of thoughts."""
    if argument:
        chat.view.think = think_mode(argument)
    render.notice(f"thoughts: {chat.view.think}")


def quiet(chat: Chat, _argument: str) -> None:
    """Say nothing below answers."""
    chat.view.verbosity = "quiet"
    render.notice("nothing below answers; /verbose brings it back")


def verbose(chat: Chat, _argument: str) -> None:
    """Say more below answers, or less again."""
    more = chat.view.verbosity == "normal"
    chat.view.verbosity = "verbose" if more else "normal"
    render.notice("everything that is known below answers" if more else "one line below answers")


def raw(chat: Chat, _argument: str) -> None:
    """Show answers as they come, or drawn again."""
    chat.view.raw = not chat.view.raw
    render.notice("answers come as they are" if chat.view.raw else "answers are drawn")
