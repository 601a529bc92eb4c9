"""Names as Ollama's own tests have them, and paths that must not leave the store."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phi4local.errors import UnsafeNameError
from phi4local.store.names import ModelName
from phi4local.store.paths import safe_commit, safe_digest, safe_path

OLLAMA = "registry.ollama.ai"


# The rules and most lines: types/model/name.go and name_test.go of ollama fb307609.
@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("phi4", (OLLAMA, "library", "phi4", "latest")),
        ("phi4:14b", (OLLAMA, "library", "phi4", "14b")),
        ("unsloth/phi-4-GGUF", (OLLAMA, "unsloth", "phi-4-GGUF", "latest")),
        ("hf.co/unsloth/phi-4-GGUF:Q4_K_M", ("hf.co", "unsloth", "phi-4-GGUF", "Q4_K_M")),
        ("modelscope.cn/unsloth/phi-4-GGUF", ("modelscope.cn", "unsloth", "phi-4-GGUF", "latest")),
        ("127.0.0.1:5000/library/phi4", ("127.0.0.1:5000", "library", "phi4", "latest")),
        ("127.0.0.1:5000/library/phi4:14b", ("127.0.0.1:5000", "library", "phi4", "14b")),
        ("phi4@sha256:abc", None),
        ("127.0.0.1:5000/phi4", None),
        ("localhost:5000/a/b/c:t", None),
        ("a/b:", None),
        (":tag", None),
        ("", None),
        ("/a/b", None),
        ("a//b", None),
        (".hidden", None),
        ("-x", None),
        ("x" * 81, None),
        ("x:" + "y" * 81, None),
        ("../../etc/passwd", None),
        ("a/../b", None),
        ("a\\b", None),
        ("a b", None),
        ("a\n", None),
        ("ä", None),
        ("hf.co/u/con", None),
    ],
)
def test_a_name_is_read_as_ollama_reads_it(text, parts):
    if parts is None:
        with pytest.raises(UnsafeNameError):
            ModelName.parse(text)
        return
    name = ModelName.parse(text)
    assert (name.host, name.namespace, name.model, name.tag) == parts
    assert ModelName.from_folder(name.folder) == name


def test_a_name_is_shown_as_short_as_it_can_be():
    shown = ["phi-4:Q8_0", "unsloth/phi-4:latest", "hf.co/unsloth/phi-4-GGUF:Q4_K_M"]
    assert [str(ModelName.parse(text)) for text in shown] == shown
    assert ModelName.parse("HF.co/Unsloth/PHI-4:q8_0").same_as(ModelName.parse("hf.co/unsloth/phi-4:Q8_0"))


@given(st.text(max_size=100))
def test_any_words_become_a_name(words):
    name = ModelName.for_words(words, "Q8_0")
    assert ModelName.parse(str(name)) == name
    assert set(name.model) <= set(string.ascii_letters + string.digits + "._-")


@pytest.mark.parametrize(
    "text",
    [
        *("../x", "..", ".", "", "/etc/passwd", "a//b", "a/../b", "a/./b", "a/..", "a/"),
        *("C:\\x", "C:x", "\\\\server\\share", "a\\b", "..\\x"),
        *("a\x00b", "a\nb", "a\rb", "\x1b[2J", "a\x7f", "a\x9b", "a\u202eb"),
        *("con", "NUL.gguf", "com1.txt", "LPT9", "aux", "a/prn/b", "x.", "x ", "a./b"),
        *("x" * 256, "ä" * 128, "a/" * 600 + "b", "a|b", "a?b", "a*b", 'a"b', "<a>", "\ud800"),
    ],
)
def test_a_path_that_could_leave_its_folder_is_refused(text, tmp_path):
    with pytest.raises(UnsafeNameError) as caught:
        safe_path(text)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "text",
    ["phi-4-Q4_K_M.gguf", "Q4_K_M/phi 4-00001-of-00002.gguf", "model.safetensors", "ä.txt", "..x", "%2e%2e"],
)
def test_an_honest_path_stays_as_it_is(text):
    assert safe_path(text) == text


@given(st.text(max_size=40))
def test_no_path_leaves_its_folder(text):
    import pathlib

    try:
        path = pathlib.PurePosixPath("/root") / safe_path(text)
    except UnsafeNameError:
        return
    assert ".." not in path.parts
    assert path.is_relative_to("/root")
    assert pathlib.PureWindowsPath("C:/root").joinpath(text).is_relative_to("C:/root")


# TestGetBlobsPath in server/modelpath_test.go of ollama, and more.
@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("sha256:" + "a" * 64, True),
        ("sha256-" + "A" * 64, True),
        ("0" * 64, True),
        ("sha256-45640291", False),
        ("sha256:" + "a" * 63, False),
        ("sha256:" + "a" * 65, False),
        ("sha256:" + "g" * 64, False),
        ("sha256:../" + "a" * 61, False),
        ("sha256:../../../../pwn", False),
        ("../sha256-" + "a" * 64, False),
        ("sha256:" + "a" * 64 + "\n", False),
        ("sha512:" + "a" * 64, False),
        ("", False),
    ],
)
def test_a_digest_is_64_hex_digits_and_nothing_else(text, right):
    if right:
        assert safe_digest(text) == text[-64:].lower()
    else:
        with pytest.raises(UnsafeNameError):
            safe_digest(text)


def test_a_commit_is_40_hex_digits():
    assert safe_commit("c" * 40) == "c" * 40
    for text in ("main", "c" * 39, "C" * 40, "../" + "c" * 37):
        with pytest.raises(UnsafeNameError):
            safe_commit(text)
