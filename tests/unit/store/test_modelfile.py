"""Modelfiles, with the cases of Ollama's own parser tests (parser/parser_test.go of ollama fb307609)."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phi4local.errors import ModelfileError
from phi4local.store import modelfile, parameters
from phi4local.store.modelfile import Modelfile, parse, render


def test_every_command_is_read():
    read = parse(
        """
# a comment
FROM model1
ADAPTER adapter1
LICENSE MIT
PARAMETER temperature 0.5
PARAMETER num_ctx 8192
PARAMETER stop "### Human:"
parameter stop User:
TEMPLATE \"\"\"{{- if .System }}
<|system|>{{ .System }}{{ end }}\"\"\"
SYSTEM You are Pip.
MESSAGE user Hello
MESSAGE assistant "Hi, I am Pip."
"""
    )
    assert read == Modelfile(
        base="model1",
        parameters={"temperature": 0.5, "num_ctx": 8192, "stop": ["### Human:", "User:"]},
        template="{{- if .System }}\n<|system|>{{ .System }}{{ end }}",
        system="You are Pip.",
        adapters=("adapter1",),
        messages=(("user", "Hello"), ("assistant", "Hi, I am Pip.")),
        licenses=("MIT",),
    )


@pytest.mark.parametrize(
    ("text", "system"),
    [
        ('SYSTEM """\nThis is a\nmultiline system.\n"""', "\nThis is a\nmultiline system.\n"),
        ('SYSTEM """\nThis is a\nmultiline system."""', "\nThis is a\nmultiline system."),
        ('SYSTEM """This is a\nmultiline system."""', "This is a\nmultiline system."),
        ('SYSTEM """This is a multiline system."""', "This is a multiline system."),
        ('SYSTEM "quoted"', "quoted"),
        ('SYSTEM """single " in it"""', 'single " in it'),
        ("SYSTEM   spaces   ", "spaces"),
        ("SYSTEM first\nSYSTEM second", "second"),
        ("\ufeffSYSTEM with a mark", "with a mark"),
        ("SYSTEM ends\r", "ends"),
        ('SYSTEM """"""', ""),
    ],
)
def test_values_are_read_as_ollama_reads_them(text, system):
    assert parse(f"{text}\nFROM x").system == system


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", 1),
        ("SYSTEM alone", 1),
        ("FROM a\nFROM b", 1),
        ("FROM", 1),
        ("FROM a\nBADCOMMAND x", 2),
        ("FROM a\nPARAMETER", 2),
        ("FROM a\nPARAMETER temperature", 2),
        ("FROM a\nPARAMETER temperature hot", 2),
        ("FROM a\nPARAMETER nothing 1", 2),
        ("FROM a\nPARAMETER use_mmap maybe", 2),
        ('FROM a\n\nSYSTEM """open\nand open', 3),
        ("FROM a\nMESSAGE badguy I'm a bad guy!", 2),
        ("FROM a\nMESSAGE user", 2),
        ("FROM a\n\x1b[31m", 2),
    ],
)
def test_what_means_nothing_names_its_line(text, line):
    with pytest.raises(ModelfileError) as caught:
        parse(text)
    assert caught.value.line == line
    assert caught.value.hint


def test_a_huge_file_is_refused_before_it_is_read():
    with pytest.raises(ModelfileError):
        parse("x" * (modelfile.MOST_CHARACTERS + 1))


TEXT = st.text(st.characters(blacklist_characters="\r", blacklist_categories=("Cs",)), min_size=1).filter(
    lambda text: '"""' not in text and not text.endswith('"') and not text.startswith('"')
)
WORD = st.from_regex(r"[a-z][a-z0-9./-]{0,20}", fullmatch=True)


@given(
    st.builds(
        Modelfile,
        base=WORD,
        system=TEXT | st.none(),
        template=TEXT | st.none(),
        adapters=st.lists(WORD, max_size=2).map(tuple),
        messages=st.lists(st.tuples(st.sampled_from(modelfile.ROLES), TEXT), max_size=3).map(tuple),
        licenses=st.lists(TEXT, max_size=2).map(tuple),
        parameters=st.fixed_dictionaries(
            {},
            optional={
                "temperature": st.floats(0, 2),
                "num_ctx": st.integers(16, 9999),
                "stop": st.lists(TEXT, min_size=1, max_size=3),
                "use_mmap": st.booleans(),
            },
        ),
    )
)
def test_what_is_written_is_read_again(described):
    assert parse(render(described)) == described


@given(st.text())
def test_any_text_is_a_modelfile_or_an_error_line(text):
    with contextlib.suppress(ModelfileError):
        parse(text)


def test_parameters_become_settings_and_minus_one_leaves_them_open():
    chosen = {"repeat_last_n": 64, "num_ctx": 8192, "num_gpu": -1, "seed": -1, "stop": ["a"], "num_keep": 4}
    chosen |= {"presence_penalty": -0.5, "num_predict": -1, "num_thread": 0, "xtc_probability": 0.1}
    assert parameters.for_sampling(chosen) == {
        "penalty_last_tokens": 64,
        "stop": ("a",),
        "presence_penalty": -0.5,
        "xtc_probability": 0.1,
    }
    assert parameters.for_loading(chosen) == {"context_tokens": 8192}
    assert parameters.most_tokens(chosen) is None
    assert parameters.most_tokens({"num_predict": 5}) == 5
