"""A model that judges its own answers is opened with room to do both."""

import pytest

import phi4local
from phi4local.cli.chat.start import Opening
from phi4local.errors import GuardPolicyError
from phi4local.settings import LoadSettings

pytestmark = pytest.mark.usefixtures("native_library", "home")
JUDGE = '[rules.kind]\nkind = "judge"\npolicy = "No insults."\n'
RULES = {
    "itself": f'input = ["kind"]\n{JUDGE}',
    "another": f'input = ["kind"]\n{JUDGE}model = "phi4-nano"\n',
    "unused": f'output = ["word"]\n{JUDGE}[rules.word]\nkind = "words"\nwords = ["x"]\n',
}


@pytest.mark.parametrize(("rules", "parallel"), [("itself", 2), ("another", 1), ("unused", 1)])
def test_a_judge_without_a_model_of_its_own_gets_a_sequence_but_no_more_memory(tmp_path, rules, parallel):
    policy = tmp_path / "policy.toml"
    policy.write_text(RULES[rules])
    loading = LoadSettings(threads=1, context_tokens=256)
    opening = Opening(loading=loading, adapters=[], yes=False, guard=str(policy))
    with opening("phi4-nano", []) as model, phi4local.load("phi4-nano", loading) as plain:
        assert (model.facts.settings.parallel or 1) == parallel
        assert model.context_tokens == 256
        assert model.facts.settings.cache_tokens in (plain.facts.settings.cache_tokens, 256)


def test_a_policy_that_means_nothing_is_an_error_before_a_model_is_looked_for(tmp_path):
    (tmp_path / "policy.toml").write_text("rules = 3")
    opening = Opening(loading=LoadSettings(), adapters=[], yes=False, guard=str(tmp_path / "policy.toml"))
    with pytest.raises(GuardPolicyError):
        opening("there-is-no-such-model", [])
