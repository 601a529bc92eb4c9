"""`phi4local plan` and `phi4local recommend`, as a person types them."""

import json

import pytest


def test_a_plan_is_made_without_the_model(run_cli):
    done = run_cli(["plan", "phi-4:Q4_K_M", "--context", "16384", "--kv", "q8_0", "--json"])
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    plan = facts["plan"]
    assert facts["model"] == "phi-4:Q4_K_M"
    assert plan["context_tokens"] == 16384
    assert sum(device["kv_bytes"] for device in plan["devices"]) == 16384 * 108_800
    assert plan["speeds"]["generation"]["low"] <= plan["speeds"]["generation"]["high"]
    assert [row["name"] for row in facts["quantizations"]][3] == "phi-4:Q4_K_M"


def test_tables_fit_into_eighty_columns(run_cli):
    for arguments in (["plan", "phi-4-mini-instruct"], ["recommend"]):
        done = run_cli(arguments)
        assert done.returncode == 0, done.stderr
        assert max(map(len, done.stdout.splitlines()[:-3])) <= 80


def test_an_unknown_model_is_named(run_cli):
    done = run_cli(["plan", "phi-5"])
    assert done.returncode == 1
    assert done.stderr.startswith("error: no model, file or folder is called `phi-5`\nhint: ")


@pytest.mark.parametrize("placed", [(), ("--tensor-override", "ffn=CPU")])
def test_a_required_gpu_that_is_not_there_ends_the_command(placed, run_cli):
    from phi4local.hardware import this_machine

    done = run_cli(["run", "phi4-nano", "Hello", "--require-gpu", *placed])
    if this_machine().gpus:
        assert done.returncode == 0, done.stderr
    else:
        assert done.returncode == 1
        assert "error: a GPU is required, and this build of llama.cpp sees none\nhint: " in done.stderr
