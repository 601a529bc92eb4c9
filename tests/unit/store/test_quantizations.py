"""Which file a tag means; the names are those of published repositories."""

import pytest

from phi4local.errors import UnknownTagError
from phi4local.store.http import Credentials
from phi4local.store.remote import RemoteFile
from phi4local.store.sources.quantizations import bits, choose, label, offers

NOBODY = Credentials("https://example.com")


def files(*names, size=100):
    return [
        RemoteFile(path=name, url="", size_bytes=size + i, sha256=None, credentials=NOBODY, source=name)
        for i, name in enumerate(names)
    ]


def chosen(names, tag=None):
    return choose(offers(files(*names)), tag, where="u/r").path


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("phi-4-Q4_K_M.gguf", "Q4_K_M"),
        ("phi-4-q4.gguf", "Q4"),
        ("Phi-3-mini-4k-instruct-q4.gguf", "Q4"),
        ("Phi-4-mini-instruct-UD-IQ1_S.gguf", "UD-IQ1_S"),
        ("phi-4-UD-Q4_K_XL.gguf", "UD-Q4_K_XL"),
        ("microsoft_Phi-4-mini-reasoning-Q6_K_L.gguf", "Q6_K_L"),
        ("phi-4-IQ3_S-imat.gguf", "IQ3_S"),
        ("BF16/phi-4-BF16-00001-of-00002.gguf", "BF16"),
        ("phi-4.F16.gguf", "F16"),
        ("phi-4-MXFP4_MOE.gguf", "MXFP4_MOE"),
        ("Q8_0/model.gguf", ""),
        ("phi-4.gguf", ""),
        ("phi-4-TQ1_0.gguf", "TQ1_0"),
        ("Q4-lover-phi-4-Q8_0.gguf", "Q8_0"),
    ],
)
def test_a_files_name_says_its_quantization(path, expected):
    assert label(path) == expected


REAL = ["phi-4-Q8_0.gguf", "phi-4-Q4_K_M.gguf", "phi-4-Q4_K_S.gguf", "phi-4-UD-Q4_K_XL.gguf", "README.md"]


@pytest.mark.parametrize(
    ("names", "tag", "expected"),
    [
        (REAL, None, "phi-4-Q4_K_M.gguf"),
        (REAL, "q8_0", "phi-4-Q8_0.gguf"),
        (REAL, "UD-Q4_K_XL", "phi-4-UD-Q4_K_XL.gguf"),
        (REAL, "phi-4-Q4_K_S.gguf", "phi-4-Q4_K_S.gguf"),
        (REAL, "PHI-4-q4_k_s", "phi-4-Q4_K_S.gguf"),
        (["a-Q6_K.gguf", "a-Q4_0.gguf"], None, "a-Q4_0.gguf"),
        (["a-Q2_K.gguf", "a-IQ4_NL.gguf", "a-F32.gguf"], None, "a-IQ4_NL.gguf"),
        (["a-Q2_K.gguf"], None, "a-Q2_K.gguf"),
        (["model.gguf"], None, "model.gguf"),
        (["a-IQ3_S-imat.gguf", "a-Q8_0.gguf"], "IQ3_S-imat", "a-IQ3_S-imat.gguf"),
        (["a-IQ3_S-imat.gguf", "a-Q8_0.gguf"], "IQ3_S", "a-IQ3_S-imat.gguf"),
        (
            ["mmproj-Q8_0.gguf", "imatrix-Q8_0.gguf", "a-Q8_0.gguf", "mtp-Q8_0.gguf"],
            "Q8_0",
            "a-Q8_0.gguf",
        ),
        (["Q4_K_M/a-Q4_K_M.gguf", "a-Q4_K_M.gguf"], None, "a-Q4_K_M.gguf"),
        (["b-00002-of-00002.gguf", "b-00001-of-00002.gguf"], None, "b-00001-of-00002.gguf"),
    ],
)
def test_a_tag_means_one_file(names, tag, expected):
    assert chosen(names, tag) == expected


@pytest.mark.parametrize(
    ("names", "tag", "message", "hint"),
    [
        (REAL, "Q5_K_M", "no `Q5_K_M`", "Q8_0, Q4_K_M, Q4_K_S, UD-Q4_K_XL"),
        (REAL, "Q4_K", "no `Q4_K`", "Q4_K_M"),
        (REAL, "K_M", "no `K_M`", "Q4_K_M"),
        (["a-Q4_0.gguf", "b-Q4_0.gguf"], "Q4_0", "2 models", "a-Q4_0.gguf, b-Q4_0.gguf"),
        (["README.md"], None, "no GGUF", ""),
        (["a-Q8_0-00001-of-00003.gguf", "a-Q8_0-00003-of-00003.gguf"], "Q8_0", "2 of the 3 parts", "Q8_0"),
        (["a-00004-of-00003.gguf"], None, "no GGUF", ""),
    ],
)
def test_what_no_tag_means_is_explained(names, tag, message, hint):
    with pytest.raises(UnknownTagError, match=message) as caught:
        chosen(names, tag)
    assert hint in caught.value.hint


def test_an_incomplete_model_is_not_taken_without_a_tag():
    assert chosen(["a-Q4_K_M-00001-of-00002.gguf", "a-Q8_0.gguf"]) == "a-Q8_0.gguf"


def test_parts_are_in_order_and_sizes_add_up():
    offer = offers(files("a-Q8_0-00002-of-00002.gguf", "a-Q8_0-00001-of-00002.gguf"))[0]
    assert [file.path for file in offer.files] == ["a-Q8_0-00001-of-00002.gguf", "a-Q8_0-00002-of-00002.gguf"]
    assert offer.size_bytes == 201


@pytest.mark.parametrize(
    ("quantization", "expected"), [("UD-Q4_K_XL", 4), ("IQ1_S", 1), ("BF16", 16), ("MXFP4", 4), ("", 0)]
)
def test_a_quantization_has_bits(quantization, expected):
    assert bits(quantization) == expected
