"""Conversations to learn from: every form, and what is wrong with the others."""

import json

import pytest

from phi4local.errors import DatasetError, InvalidSettingError
from phi4local.finetune.dataset import DatasetSpec, Identity, read_datasets, read_file
from phi4local.messages import Message

ASKED, ANSWERED = Message("user", "What is 1 + 2?"), Message("assistant", "3")
SYSTEM = Message("system", "Be brief.")
TURNS = [{"role": "user", "content": "What is 1 + 2?"}, {"role": "assistant", "content": "3"}]
FORMS = {
    "alpaca": ({"instruction": "What is 1 + 2?", "input": "", "output": "3"}, (ASKED, ANSWERED)),
    "alpaca with input": (
        {"instruction": "Add.", "input": "1 2", "output": "3", "system": "Be brief."},
        (SYSTEM, Message("user", "Add.\n1 2"), ANSWERED),
    ),
    "alpaca with history": (
        {"instruction": "And 2?", "output": "3", "history": [["What is 1 + 2?", "3"]]},
        (ASKED, ANSWERED, Message("user", "And 2?"), ANSWERED),
    ),
    "messages": ({"messages": TURNS}, (ASKED, ANSWERED)),
    "messages with an instruction": (
        {"messages": [{"role": "system", "content": "Be brief."}, *TURNS]},
        (SYSTEM, ASKED, ANSWERED),
    ),
    "sharegpt": (
        {"conversations": [{"from": "human", "value": "What is 1 + 2?"}, {"from": "gpt", "value": "3"}]},
        (ASKED, ANSWERED),
    ),
    "query and response": ({"query": "What is 1 + 2?", "response": "3"}, (ASKED, ANSWERED)),
}


@pytest.mark.parametrize("name", FORMS)
def test_every_form_is_read(name, tmp_path):
    record, expected = FORMS[name]
    path = tmp_path / "data.jsonl"
    path.write_text(json.dumps(record) + "\n\n" + json.dumps(record) + "\n")
    assert read_file(path) == [expected, expected]
    path.write_text(json.dumps([record]))
    assert read_file(path) == [expected]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "line 2 is no JSON"),
        ("[" * 10_000, "line 2 is no JSON"),
        ("3", "line 2 is no object"),
        ("{}", "line 2: has no 'instruction'"),
        ('{"messages": [{"role": "user", "content": 3}]}', "line 2: "),
        ('{"messages": [{"role": "tool", "content": "3"}]}', "line 2: "),
        ('{"messages": []}', "line 2 has the turns none"),
        ('{"messages": [{"role": "user", "content": "a"}]}', "line 2 has the turns user;"),
        ('{"conversations": [{"from": "cat", "value": "a"}]}', "`from` is 'cat'"),
        ('{"instruction": "a", "output": null}', "line 2: "),
        ('{"query": "a", "response": "b", "history": [["a"]]}', "line 2: "),
    ],
)
def test_a_record_that_is_none_is_named(line, says, tmp_path):
    path = tmp_path / "data.jsonl"
    path.write_text(json.dumps(FORMS["messages"][0]) + "\n" + line)
    with pytest.raises(DatasetError, match=r"data\.jsonl") as caught:
        read_file(path)
    assert says in str(caught.value)
    assert caught.value.hint


def test_answers_that_were_rated_bad_in_a_chat_are_not_learned(phi4local_home):
    from phi4local.assistant.sessions.feedback import rate

    rate([ASKED, Message("assistant", "4")], "bad", note="wrong")
    path = rate([ASKED, ANSWERED], "good")
    assert len(path.read_text().splitlines()) == 2
    assert read_file(path) == [(ASKED, ANSWERED)]
    path.unlink()


@pytest.mark.parametrize("data", [b"\xff\xfe\x00", None])
def test_a_file_that_cannot_be_read_is_one_error(data, tmp_path):
    path = tmp_path / "data.jsonl"
    if data:
        path.write_bytes(data)
        with pytest.raises(DatasetError, match="UTF-8"):
            read_file(path)
    else:
        with pytest.raises(DatasetError, match="is no file"):
            read_datasets([DatasetSpec(str(path))], Identity())


def test_a_count_takes_so_many_at_random_and_the_same_again(tmp_path):
    path = tmp_path / "data.jsonl"
    path.write_text("".join(f'{{"query": "{n}", "response": "{n}"}}\n' for n in range(50)))
    spec = DatasetSpec.parse(f"{path}#20")
    found = read_datasets([spec], Identity(), seed=1)
    assert len(set(found)) == 20
    assert found == read_datasets([spec], Identity(), seed=1) != read_datasets([spec], Identity(), seed=2)
    assert len(read_datasets([DatasetSpec.parse(f"{path}#999")], Identity())) == 50


@pytest.mark.parametrize("text", ["a#0", "a#-1", "a#x", "#5"])
def test_a_count_that_is_none_is_refused(text):
    with pytest.raises(InvalidSettingError, match="dataset"):
        DatasetSpec.parse(text)


def test_self_cognition_has_the_names_word_for_word_in_two_languages():
    """A name may look like a place to fill in."""
    found = read_datasets(
        [DatasetSpec.parse("swift/self-cognition")], Identity(name="{author}", author="A {name}")
    )
    answers = [turns[-1].content for turns in found]
    assert len(found) > 200
    assert all("{author}" in answer and "A {name}" in answer.replace("A A {name}", "") for answer in answers)
    assert sum(not turns[0].content.isascii() for turns in found) > 20
    assert len({turns[0].content for turns in found}) > 80
    for missing in (Identity(name="Nova"), Identity(author="Ada"), Identity()):
        with pytest.raises(InvalidSettingError, match="is not set"):
            read_datasets([DatasetSpec("self-cognition")], missing)
