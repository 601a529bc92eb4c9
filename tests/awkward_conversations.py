"""Conversations made of what tokenizers and templates stumble over, the same ones in every run."""

from __future__ import annotations

import random

from phi4local.messages import Message

SPACES = [
    "",
    "",
    "",
    " ",
    "  ",
    "\n",
    "\r\n",
    "\t",
    " \n\n ",
    "\u00a0",
    "\u3000",
    "\u2003",
    "\u2028",
    "\x0b",
    "\x85",
]
"""What stands before and after a message: nothing in half of the cases; White_Space of all sorts."""

PARTS = [
    "Why is the sky blue?",
    "It's 12345 o'clock; WE'LL see 3.14159, 1e-9 and 1,000,000.",
    "def f(x):\n    return {'a': x[0]}  # 100 %\n\n\n\tprint(f([1]))\n",
    '{"name": "f", "arguments": {"x": [1, 2.5, null, true], "y": "\\u00e9\\n"}}',
    "# Title\n\n* one\n* **two**\n\n```python\nx = 1\n```\n\n| a | b |\n|---|---|\n| 1 | 2 |",
    "https://example.org/a/b?c=d&e=%20f#g or mailto:ann@example.org",
    "日本語のテキスト、漢字123。한국어도 있습니다 русский текст",
    "العربية עברית \u200emixed\u200f Ελληνικά",
    "हिन्दी में लिखा हुआ ไทย தமிழ்",
    "e\u0301cole, naïve façade, Straße, Żółć, ÉCOLE",
    "🙂👍🏽 👨\u200d👩\u200d👧 🏳\ufe0f\u200d🌈 🇩🇪 ½ ² №",
    "\ufeffzero\u200bwidth\u2060and\u00adsoft",
    "a\x00b\x1b[31mc\x07\x7f\u0080",
    "\r\nline one\r\nline two\r\rthree\n\r",
    "Donaudampfschifffahrtsgesellschaftskapitaen" * 8,
    "x" * 700,
    "ab" * 300 + "9" * 70,
    " " * 40 + "wide" + "\t" * 9 + "\n" * 12 + ".",
    "don't CAN'T I'm you'RE they've we'd 's 'S",
    "<b>bold</b> &amp; </s> [INST] [/INST] <s> < | im_end | > <|im end|>",
    "{{ 7 * 7 }} {% raw %} {# note #} {%- if x -%} ${x} $(y) `z`",
    "\U0001d4d0\U0001d4d1 \U00020000\U0002a6df \U0010fffd \uffff",
    "C:\\Users\\ann\\n.txt \\u0041 \\\\ %s %d {0}",
    "-----=====_____~~~~~*****+++++.....!!!!!?????",
    "0 1 12 123 1234 12345 123456 ١٢٣ ௧௨௩ ⅳ Ⅷ",
]
ROLES = ("user", "assistant")


def awkward_conversations(count: int) -> list[list[Message]]:
    """Return the first `count` conversations of an endless list: 1 to 12 messages, a system text in half."""
    generator = random.Random(2024)
    return [_conversation(generator) for _ in range(count)]


def _conversation(generator: random.Random) -> list[Message]:
    turns = generator.choice([1, 1, 2, 3, 3, 5, 7, 11])
    messages = [Message(ROLES[turn % 2], _content(generator)) for turn in range(turns)]
    kind = generator.random()
    if kind < 0.4:
        messages.insert(0, Message("system", _content(generator)))
    elif kind < 0.5:
        messages.insert(0, Message("system", ""))
    return messages


def _content(generator: random.Random) -> str:
    if generator.random() < 0.06:
        return generator.choice(["", " ", "\n", "\u3000", "0"])
    parts = generator.sample(PARTS, generator.choice([1, 1, 1, 2, 3]))
    joined = generator.choice(["", " ", "\n", "\n\n", "\t"]).join(parts)
    return generator.choice(SPACES) + joined + generator.choice(SPACES)
