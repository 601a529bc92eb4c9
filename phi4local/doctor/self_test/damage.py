"""Hostile input that is safe to make anywhere: damaged bytes, names, templates."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

HOSTILE_PATHS = (
    *("../evil.gguf", "a/../../evil.gguf", "/etc/evil.gguf", "C:\\evil.gguf", "C:evil.gguf", "..\\evil.gguf"),
    *("\\\\server\\share\\evil.gguf", "//server/evil.gguf", "a//b.gguf", "./a.gguf", "a/./b.gguf", ".."),
    *("", "nul.gguf", "con/a.gguf", "aux.x", "a.", "a ", "a\0.gguf", "a\r\nb.gguf", "\x1b]0;a\x07.gguf"),
    *("a\u202eb.gguf", "a\u2028b.gguf", "a" * 300, "a/" * 600, "a:b.gguf", "a|b.gguf", 'a".gguf', "a?.gguf"),
    "\ud800.gguf",
)
"""Names of files that a server must not be able to give us."""

HOSTILE_DIGESTS = (
    *("sha256:../../etc/passwd", "../" * 21 + "x", "a" * 63, "a" * 65, "g" * 64, "sha512:" + "a" * 64, ""),
    *("sha256:" + "a" * 64 + "/..", "sha256-" + "A" * 63 + "/", "a" * 64 + "\n", "sha256:sha256:" + "a" * 64),
)
"""Digests that are none."""

HOSTILE_TEMPLATES = (
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{% for c in ().__class__.__base__.__subclasses__() %}{{ c.__name__ }}{% endfor %}",
    "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "{{ lipsum.__globals__['os'].popen('id').read() }}",
    "{{ self.__init__.__globals__ }}",
    "{{ messages[0].__init__ }}",
    "{{ ''|attr('__class__') }}",
    "{{ ('{0.__class__}'|attr('format'))(messages) }}",
    "{{ '{0.__class__}'.format(messages) }}",
    "{{ messages|map(attribute='__class__')|list }}",
    "{% include '/etc/passwd' %}",
    "{% from 'os' import system %}",
    "{% for a in range(99999) %}{% for b in range(99999) %}x{% endfor %}{% endfor %}",
    "{{ 'a' * 10 ** 10 }}",
    "{% set ns = namespace(t='ab') %}{% for a in range(64) %}{% set ns.t = ns.t ~ ns.t %}{% endfor %}",
    "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
)
"""Chat templates that want to run code, to read files, or never to end."""


def cut_off(data: bytes, count: int, seed: int = 0) -> Iterator[bytes]:
    """Yield `data` cut off at `count` places, the very beginning and the last byte among them.

    Example: `next(cut_off(b"abc", 5))` is `b""`.
    """
    randomness = random.Random(seed)  # noqa: S311 - the same damage everywhere
    yield b""
    yield data[:-1]
    for _ in range(count - 2):
        yield data[: randomness.randrange(len(data))]


def with_changed_bytes(data: bytes, count: int, seed: int = 0) -> Iterator[bytes]:
    """Yield `count` copies of `data`, each with one byte changed.

    Example: every one of `with_changed_bytes(b"abc", 9)` has three bytes.
    """
    randomness = random.Random(seed)  # noqa: S311 - the same damage everywhere
    for _ in range(count):
        place = randomness.randrange(len(data))
        new = randomness.choice(
            (0, 255, data[place] ^ (1 << randomness.randrange(8)), randomness.randrange(256))
        )
        yield data[:place] + bytes([new]) + data[place + 1 :]
