"""Variables: what is listed, what is kept secret, what is doubted."""

import re
from pathlib import Path

import pytest

from phi4local import doctor
from phi4local.doctor import environment

PACKAGE = Path(doctor.__file__).parents[1]


def seen(**variables):
    return list(environment.check(variables))


def test_every_variable_of_the_source_is_known_and_no_other():
    used = set()
    for path in PACKAGE.rglob("*"):
        if path.suffix in (".py", ".toml") and path.parent != Path(environment.__file__).parent:
            used |= set(re.findall(r"(?<![A-Z_])PHI4LOCAL_[A-Z0-9_]+", path.read_text(encoding="utf-8")))
    assert used == set(environment.OURS)


def test_nothing_set_is_one_line():
    (result,) = seen(PATH="/usr/bin", HOME="/root")
    assert (result.state, result.seen) == ("ok", "no variable that changes anything is set")


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("HF_TOKEN", "hf_swordfish"),
        ("PHI4LOCAL_API_KEY", "swordfish"),
        ("PHI4LOCAL_GRADER_KEY", "swordfish"),
        ("PHI4LOCAL_REGISTRY_AUTH", "registry.example=me:swordfish"),
        ("MODELSCOPE_API_TOKEN", "swordfish"),
        ("OLLAMA_API_KEY", "swordfish"),
        ("HTTPS_PROXY", "http://me:swordfish@proxy.example:3128"),
        ("https_proxy", "me:swordfish@proxy.example:3128"),
        ("HF_ENDPOINT", "https://me:swordfish@mirror.example/x?sig=swordfish"),
        ("PHI4LOCAL_LLAMA_WHEEL", "https://files.example/x.whl?signature=swordfish"),
    ],
)
def test_a_secret_is_never_shown(variable, value):
    results = seen(**{variable: value})
    assert variable in results[0].seen
    assert "swordfish" not in str([result.to_mapping() for result in results])


@pytest.mark.parametrize(
    ("variable", "words"),
    [
        ("PHI4LOCAL_HOEM", "did you mean PHI4LOCAL_HOME?"),
        ("PHI4LOCAL_OFLINE", "did you mean PHI4LOCAL_OFFLINE?"),
        ("PHI4LOCAL_QQQ", "known: PHI4LOCAL_API_KEY"),
    ],
)
def test_an_unknown_name_gets_the_nearest(variable, words):
    _, doubt = seen(**{variable: "1"})
    assert doubt.state == "warning"
    assert variable in doubt.seen
    assert doubt.advice.startswith(words)


@pytest.mark.parametrize(("value", "results"), [("1", 1), ("TRUE", 1), ("0", 1), ("", 1), ("offline", 2)])
def test_a_switch_that_switches_nothing_is_doubted(value, results):
    assert len(seen(PHI4LOCAL_OFFLINE=value)) == results


def test_values_that_are_no_secret_are_shown():
    (result,) = seen(CUDA_VISIBLE_DEVICES="", OMP_NUM_THREADS="4", GGML_VK_VISIBLE_DEVICES="0")
    assert result.seen == "CUDA_VISIBLE_DEVICES is empty, GGML_VK_VISIBLE_DEVICES = 0, OMP_NUM_THREADS = 4"
