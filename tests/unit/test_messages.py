"""What counts as a conversation."""

import pytest

from phi4local.errors import InvalidSettingError
from phi4local.messages import Message, as_messages


@pytest.mark.parametrize(
    "conversation",
    [
        "Hi",
        [{"role": "user", "content": "Hi"}],
        ({"content": "Hi", "role": "user"},),
        [Message("user", "Hi")],
    ],
)
def test_text_dictionaries_and_messages_are_the_same(conversation):
    assert as_messages(conversation) == (Message("user", "Hi"),)


@pytest.mark.parametrize(
    ("conversation", "named"),
    [
        ({"role": "user", "content": "Hi"}, "messages"),
        (None, "messages"),
        (7, "messages"),
        (["Hi"], r"messages\[0\]"),
        ([Message("user", "Hi"), {"role": "user"}], r"messages\[1\]"),
        ([{"role": "user", "content": "Hi", "tool_calls": []}], "tool_calls"),
        ([{"role": "robot", "content": "Hi"}], "robot"),
        ([{"role": "user", "content": ["Hi"]}], "content"),
        ([{"role": ["user"], "content": "Hi"}], "role"),
    ],
)
def test_anything_else_is_refused_and_named(conversation, named):
    with pytest.raises(InvalidSettingError, match=named) as caught:
        as_messages(conversation)
    assert caught.value.hint
