"""Code and JSON out of answers: what markdown-it-py calls a fence, what json.loads reads."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from phi4local.assistant.extraction import code_blocks, first_code, first_json

PARTS = [
    "```",
    "````",
    "~~~",
    "```python",
    "~~~ a`b",
    "``` x`",
    "  ```",
    "    ",
    "x = 1",
    "  y",
    "",
    "``",
    "text",
]


def fences(text):
    """Return the fenced blocks outside of quotes and lists, as a reader of CommonMark finds them."""
    return [token.content for token in MarkdownIt("commonmark").parse(text) if token.type == "fence"]


@given(st.lists(st.sampled_from(PARTS)))
def test_blocks_are_those_of_commonmark(lines):
    text = "\n".join([*lines, ""])
    assert list(code_blocks(text)) == fences(text)


def test_the_first_block_comes_without_its_fences():
    assert first_code("Here:\n\n```python\nprint(1)\n\n```\nand\n```\nmore\n```") == "print(1)\n"
    assert first_code("```\ncut off") == "cut off"
    assert first_code("```\n```") == ""
    assert first_code("no `code`") is None


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"a": [1, 2]}', '{"a": [1, 2]}'),
        (" 42\n", "42"),
        ('Sure: {"age": 7}. Or {"age": 8}.', '{"age": 7}'),
        ("Use {this}, then [x], then [1, 2].", "[1, 2]"),
        ('See [1]:\n```json\n{"a": 1}\n```\n', '{"a": 1}'),
        ("{not json", None),
        ("plain words", None),
        ("NaN", None),
        ('{"a": Infinity}', None),
        ("[" * 100_000, None),
        ("[1" * 3_000, None),
        ("", None),
    ],
    ids=lambda value: str(value)[:20],
)
def test_the_first_json_is_found_as_it_is_written(text, found):
    assert first_json(text) == found
    if found is not None:
        json.loads(found)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda v: st.lists(v) | st.dictionaries(st.text(), v),
    )
)
def test_json_between_words_comes_back(value):
    written = json.dumps([value], ensure_ascii=False)
    assert json.loads(first_json(f"The answer is {written}, I think.")) == [value]
