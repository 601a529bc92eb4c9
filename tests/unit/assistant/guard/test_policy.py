"""The policy file: what it may say, and that mistakes in it are named."""

import json

import pytest

from phi4local.assistant.guard import Guard
from phi4local.assistant.guard.policy import read_policy
from phi4local.errors import GuardPolicyError, InvalidSettingError

GOOD = 'input = ["w"]\n[rules.w]\nkind = "words"\nwords = ["bomb"]\n'
MISTAKES = {
    "no TOML": ("input = [", "is no TOML", ""),
    "an unknown key": ('inputs = ["w"]\n' + GOOD, "`inputs`", "input"),
    "an unknown key of a rule": (GOOD + 'actoin = "mask"\n', "`actoin`", "action"),
    "an unknown kind": ('input = ["w"]\n[rules.w]\nkind = "word"\n', "'word'", "words"),
    "no kind": ('input = ["w"]\n[rules.w]\n', "`kind` is missing", ""),
    "an unknown rule": ('output = ["x"]\n' + GOOD, "`x`", "known: w"),
    "no rule": ("", "name no rule", ""),
    "no words": ('input = ["w"]\n[rules.w]\nkind = "words"\n', "`words` is missing", ""),
    "a wrong type": ("log_text = 1\n" + GOOD, "true or false", ""),
    "a wrong number": ("window_characters = 3\n" + GOOD, "from 20 to 5,000", ""),
    "a wrong action": (GOOD + 'action = "drop"\n', "block, mask", ""),
    "a wrong severity": ('input = ["a"]\n[rules.a]\nkind = "azure"\nseverity = 3\n', "2, 4, 6", ""),
    "a wrong pattern": ('input = ["p"]\n[rules.p]\nkind = "personal"\npatterns = ["mail"]\n', "email", ""),
    "a missing file": (GOOD + 'files = ["none.txt"]\n', "none.txt", ""),
}


def write(folder, text):
    path = folder / "policy.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_named_with_what_is_allowed(tmp_path, mistake):
    text, problem, hint = MISTAKES[mistake]
    with pytest.raises(GuardPolicyError) as caught:
        read_policy(write(tmp_path, text))
    assert problem in str(caught.value)
    assert hint in caught.value.hint


def test_a_missing_policy_is_an_error_with_its_name(tmp_path):
    with pytest.raises(GuardPolicyError, match=r"absent\.toml"):
        read_policy(tmp_path / "absent.toml")


def test_words_come_from_files_beside_the_policy_too(tmp_path):
    (tmp_path / "more.txt").write_text("# a comment\npoison\n\n", encoding="utf-8")
    guard = Guard.from_file(write(tmp_path, 'log_file = "log"\n' + GOOD + 'files = ["more.txt"]\n'))
    assert not guard.check_input("some POISON").allowed
    assert guard.check_input("a comment").allowed


@pytest.mark.parametrize("with_text", [False, True])
def test_the_log_says_what_was_blocked_and_the_text_only_if_asked(tmp_path, with_text):
    text = f'log_file = "log.jsonl"\nlog_text = {str(with_text).lower()}\n' + GOOD
    Guard.from_file(write(tmp_path, text)).check_input("a bomb, secretly")
    line = (tmp_path / "log.jsonl").read_text(encoding="utf-8")
    entry = json.loads(line)
    assert (entry["direction"], entry["action"], entry["rule"]) == ("input", "blocked", "w")
    assert entry["characters"] == 16
    assert ("secretly" in line) == with_text


def test_the_log_is_in_the_home_folder_unless_the_policy_says_otherwise(home, tmp_path):
    Guard.from_file(write(tmp_path, GOOD)).check_input("bomb")
    assert (home / "guard.jsonl").exists()


def test_a_judge_without_a_model_is_refused(tmp_path):
    text = 'log_file = "log"\ninput = ["j"]\n[rules.j]\nkind = "judge"\npolicy = "Be kind."\n'
    with pytest.raises(GuardPolicyError, match="no model"):
        Guard.from_file(write(tmp_path, text))


@pytest.mark.parametrize(
    ("endpoint", "key"), [("", "k"), ("https://a.example", ""), ("http://a.example", "k"), ("nonsense", "k")]
)
def test_azure_without_a_safe_endpoint_and_a_key_is_refused(tmp_path, monkeypatch, endpoint, key):
    monkeypatch.setenv("CONTENT_SAFETY_ENDPOINT", endpoint)
    monkeypatch.setenv("CONTENT_SAFETY_KEY", key)
    with pytest.raises(InvalidSettingError, match="CONTENT_SAFETY"):
        Guard.from_file(write(tmp_path, 'log_file = "log"\ninput = ["a"]\n[rules.a]\nkind = "azure"\n'))
