"""What `phi4local serve` calls the model that it begins with."""

import sys

import pytest

from phi4local.cli.serve import told_name

posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such names")


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("phi-4-Q4_K_M.gguf", "phi-4-Q4_K_M"),
        ("one+two.gguf", "one+two"),
        pytest.param("a:b.gguf", "a-b", marks=posix),
    ],
)
def test_a_file_is_called_by_its_name_and_not_by_its_place(tmp_path, file, name):
    (tmp_path / file).touch()
    assert told_name(str(tmp_path / file)) == name


def test_a_folder_is_called_by_its_name_and_a_model_by_its_own(tmp_path):
    (tmp_path / "phi-4").mkdir()
    assert told_name(f"{tmp_path}/phi-4/") == "phi-4"
    assert told_name("phi-4:Q8_0") == "phi-4:Q8_0"
