"""Prompt templates: what fills them is Python's string.Template, what reads their files is tomllib."""

import string
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phi4local.assistant import template_files
from phi4local.assistant.templates import PromptTemplate
from phi4local.errors import (
    InvalidSettingError,
    OutputExistsError,
    Phi4LocalError,
    TemplateError,
    UnknownTemplateError,
)
from phi4local.settings import SamplingSettings

TEXTS = st.text(st.one_of(st.sampled_from('$"\\{}\n\r\t\x00\x7fé'), st.characters(exclude_categories=["Cs"])))
PIECES = st.sampled_from(["$a", "${b}", "$$", "$input", "${input}", "a", "_", "{", "}", " ", "\n", "ß", "9"])


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("PHI4LOCAL_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@given(st.lists(PIECES, min_size=1).map("".join), TEXTS, TEXTS, TEXTS)
def test_filling_does_what_string_template_does(text, a, b, said):
    def filled(values):
        names = string.Template(text).get_identifiers()
        template = PromptTemplate(prompt=text, system=text)
        given = {name: value for name, value in values.items() if name in names and name != "input"}
        return names, template.filled(values["input"], given)

    values = {"a": a, "b": b, "input": said}
    try:
        expected = string.Template(text).substitute(values)
    except KeyError:  # `$a9` is another variable
        with pytest.raises(InvalidSettingError, match="lacks"):
            filled(values)
        return
    names, prompt = filled(values)
    assert prompt.system == expected
    assert prompt.prompt == expected + ("" if "input" in names or not said else f"\n\n{said}")


@pytest.mark.parametrize("text", ["costs $5", "$", "a\n$ b", "${a", "${}", "${a b}", "$é"])
def test_a_dollar_that_begins_nothing_is_refused(text):
    assert not string.Template(text).is_valid()
    for field in ("system", "prompt"):
        with pytest.raises(InvalidSettingError, match="begins no variable") as refused:
            PromptTemplate(**{field: text})
        assert "$$" in refused.value.hint


def test_a_template_without_a_prompt_is_the_input_alone():
    filled = PromptTemplate(system="Be brief.").filled("$a costs $5")
    assert (filled.system, filled.prompt) == ("Be brief.", "$a costs $5")
    assert PromptTemplate(system="Be brief.").needs_input
    assert not PromptTemplate(prompt="Tell me a story.").needs_input


def test_a_wrong_parameter_is_answered_with_the_near_one():
    template = PromptTemplate(prompt="In $words words: $input", parameters={"words": "50"})
    assert template.filled("Faust").prompt == "In 50 words: Faust"
    assert template.filled("Faust", {"words": "9"}).prompt == "In 9 words: Faust"
    for wrong in ("wrods", "input"):
        with pytest.raises(InvalidSettingError, match=wrong) as refused:
            template.filled("Faust", {wrong: "9"})
        assert "`words`" in refused.value.hint


SAMPLING = SamplingSettings(
    temperature=1e-05,
    seed=2**32 - 1,
    stop=("a\nb", '"""'),
    logit_bias={7: -100, 3: 0.5},
    json_schema={"type": "object", "title": "ä"},
)


@given(TEXTS, TEXTS, TEXTS)
def test_what_is_written_is_toml_and_comes_back(model, system, value):
    system, prompt = system.replace("$", "$$"), value.replace("$", "$$") + "$x"
    template = PromptTemplate(
        model=model, system=system, prompt=prompt, max_tokens=7, sampling=SAMPLING, parameters={"x": value}
    )
    values = tomllib.loads(template_files.to_toml(template))
    assert (values["model"], values["system"], values["prompt"]) == (model, system, prompt)
    assert values["sampling"]["temperature"] == 1e-05
    assert values["sampling"]["stop"] == ["a\nb", '"""']
    assert values["parameters"] == {"x": value}
    assert template_files.from_toml(template_files.to_toml(template)) == template


def test_a_template_is_kept_once_and_found_by_name_and_by_path(home):
    assert template_files.names() == []
    template = PromptTemplate(prompt="Hello, $name", sampling=SAMPLING)
    path = template_files.save("greet", template)
    assert path == home / "templates" / "greet.toml"
    assert template_files.read("greet") == template_files.read(str(path)) == template
    with pytest.raises(OutputExistsError):
        template_files.save("greet", PromptTemplate())
    assert template_files.read("greet") == template
    assert template_files.names() == ["greet"]
    with pytest.raises(UnknownTemplateError) as refused:
        template_files.read("gret")
    assert refused.value.near == ("greet",)
    assert [path.name for path in path.parent.iterdir()] == ["greet.toml"]


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "a\\b", "/etc/x", "nul", "con.x", "a" * 90, "a\n", "-a"]
)
def test_a_name_cannot_lead_out_of_the_folder(home, name):
    with pytest.raises(InvalidSettingError):
        template_files.save(name, PromptTemplate())
    with pytest.raises(Phi4LocalError):
        template_files.read(name)
    assert not home.exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"prompt = 3", "`prompt` is int"),
        (b"promt = 'x'", "`promt` does not exist"),
        (b"[sampling]\ntemprature = 1", "`temprature` does not exist"),
        (b"[sampling]\ntemperature = -1", "`temperature` is -1"),
        (b"sampling = 1", "`sampling` is int"),
        (b"max_tokens = 0", "`max_tokens` is 0"),
        (b"max_tokens = true", "`max_tokens` is True"),
        (b"prompt = 'costs $5'", "begins no variable"),
        (b"[parameters]\nx = 1", "no place"),
        (b"prompt = '$x'\n[parameters]\nx = [1]", "text or a number"),
        (b"[json_schema]\nd = 1979-05-27", "no JSON"),
        (b"prompt = ", "not TOML"),
        (b"a = " + b"[" * 100_000, "nested"),
        (b"prompt = '\xff'", "not TOML"),
        (b"#" * 2**21, "more than"),
    ],
    ids=lambda value: str(value)[:30] if isinstance(value, bytes) else "",
)
def test_a_damaged_file_is_named_with_what_is_wrong(tmp_path, text, said):
    path = tmp_path / "t.toml"
    path.write_bytes(text)
    with pytest.raises(TemplateError, match=said) as refused:
        template_files.read(str(path))
    assert refused.value.path == path
    assert refused.value.hint


def test_a_schema_may_be_a_table_and_numbers_may_be_parameters(tmp_path):
    path = tmp_path / "t.toml"
    path.write_text('prompt = "$n"\n[json_schema]\ntype = "object"\n[parameters]\nn = 50\n')
    template = template_files.read(str(path))
    assert template.sampling.json_schema == '{"type": "object"}'
    assert template.filled("").prompt == "50"
