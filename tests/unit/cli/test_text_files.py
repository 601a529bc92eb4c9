"""Bytes of files become text, or are refused with what they are."""

import pytest

from phi4local.cli.text_files import MOST_BYTES, decoded, read_file, system_text
from phi4local.errors import InputFileError


@pytest.mark.parametrize(
    "data",
    ["a €\r\n".encode(code) for code in ("utf-8", "utf-8-sig", "utf-16")] + [b"\xfe\xff\0a\0 \x20\xac\0\n"],
)
def test_marks_of_windows_are_understood(data, capsys):
    assert decoded(data, "x") == "a €\n"
    assert capsys.readouterr().err == ""


def test_what_is_not_utf8_is_replaced_and_said(capsys):
    assert decoded(b"caf\xe9", "menu.txt") == "caf\ufffd"
    assert "menu.txt" in capsys.readouterr().err
    assert decoded("caf\ufffd".encode(), "menu.txt") == "caf\ufffd"
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("data", "said", "advice"),
    [
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "a PNG image, and the Phi-4", "tesseract"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF", "a JPEG image", "tesseract"),
        (b"%PDF-1.7\n", "a PDF", "pdftotext"),
        (b"\x7fELF\0\0", "is not text", "UTF-8"),
        (b"a" * (MOST_BYTES + 1), "more than", "a part of it"),
    ],
    ids=["png", "jpeg", "pdf", "elf", "large"],
)
def test_what_is_no_text_is_refused(data, said, advice):
    with pytest.raises(InputFileError, match=said) as refused:
        decoded(data, "x")
    assert advice in refused.value.hint


@pytest.mark.parametrize("name", ["missing", ".", "a\0b", "~nosuchuser/x", "x" * 5000])
def test_a_file_that_cannot_be_read_is_one_error(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputFileError, match="cannot be read"):
        read_file(name)


def test_an_instruction_stands_there_or_in_a_file(tmp_path):
    (tmp_path / "s.txt").write_text("Be brief.\n\n")
    assert system_text(f"@{tmp_path / 's.txt'}") == "Be brief."
    assert system_text("Be @brief") == "Be @brief"
    assert system_text(None) is None
