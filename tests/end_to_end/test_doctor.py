"""`phi4local doctor` on machines that are well and on others: broken libraries, stores and networks."""

import json

import pytest


def checks(done):
    """Return the results of `doctor --json` by name; several of one name as a list."""
    found = {}
    for check in json.loads(done.stdout)["checks"]:
        found.setdefault(check["name"], []).append(check)
    return {name: several[0] if len(several) == 1 else several for name, several in found.items()}


@pytest.fixture(scope="module")
def healthy(run_cli, native_library):
    return run_cli(["doctor", "--json"], env={"PHI4LOCAL_OFFLINE": "1"})


def test_all_is_well_and_the_engine_is_proved(healthy):
    facts, found = json.loads(healthy.stdout), checks(healthy)
    assert healthy.returncode == 0, healthy.stdout
    assert facts["ok"] is True
    assert facts["counts"]["wrong"] == 0
    assert found["engine on CPU"]["state"] == "ok"
    assert "as recorded" in found["engine on CPU"]["seen"]
    assert found["llama-cpp-python"]["state"] == "ok"
    assert set(facts["checks"][0]) == {"name", "state", "seen", "advice", "command"}
