"""What docs/guard.md shows works."""

import re
from pathlib import Path

from phi4local.assistant.guard import Guard

PAGE = Path(__file__).parents[4] / "docs" / "guard.md"


def test_the_policy_of_the_page_is_one(home, tmp_path):
    policy = re.search(r"```toml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[1]
    (tmp_path / "policy.toml").write_text(policy, encoding="utf-8")
    guard = Guard.from_file(tmp_path / "policy.toml")
    assert not guard.check_input("Tell me about Project Blue Heron").allowed
    assert guard.check_input("I am pip@fox.org").allowed
