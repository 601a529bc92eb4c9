"""One place turns a name into a file."""

import json
import shutil

import pytest

from phi4local.errors import (
    FileFormatError,
    ModelNotInstalledError,
    UnknownModelError,
    UnknownQuantizationError,
)
from phi4local.runtime import resolve
from phi4local.store import installed


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("PHI4LOCAL_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def remember(name, quantization="Q4_K_M", content=b"GGUF"):
    path = installed.destination(name, quantization=quantization, fingerprint=name * 8)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    model = installed.InstalledModel(
        name=name,
        quantization=quantization,
        source="test",
        fingerprint=name * 8,
        path=path,
        size_bytes=len(content),
    )
    installed.remember(model)
    return model


def test_an_embedded_model_is_its_checkpoint_in_its_quantization(checkpoint):
    source = resolve.find("phi4-nano")
    assert (source.checkpoint, source.quantization) == (checkpoint, "Q8_0")
    assert resolve.find("PHI4-NANO:q6_k").quantization == "Q6_K"


def test_a_folder_is_recognised_by_its_numbers(checkpoint, tmp_path):
    copy = tmp_path / "my-tune"
    copy.mkdir()
    shutil.copy(checkpoint / "config.json", copy)
    source = resolve.find(str(copy))
    assert (source.name, source.manifest.name, source.quantization) == ("my-tune", "phi4-nano", "Q8_0")
    (copy / "config.json").write_text(json.dumps({"hidden_size": "x"}))
    assert resolve.find(str(copy)).manifest is None


def test_a_member_that_is_not_here_says_how_to_get_it():
    with pytest.raises(ModelNotInstalledError) as caught:
        resolve.find("phi-4")
    assert "phi4local pull phi-4" in caught.value.hint


def test_an_installed_member_is_found_by_name_and_tag():
    made = remember("phi-4")
    assert resolve.find("phi-4").gguf == made.path
    assert resolve.find("phi-4:Q4_K_M").gguf == made.path
    with pytest.raises(ModelNotInstalledError):
        resolve.find("phi-4:Q8_0")


def test_a_converted_folder_is_found_by_its_name_afterwards():
    made = remember("my-tune")
    assert resolve.find("my-tune").gguf == made.path
    assert resolve.find("my-tune:q4_k_m").gguf == made.path


def test_the_default_is_the_newest_real_model_else_the_embedded_one():
    assert resolve.default_model() == "phi4-nano"
    remember("phi4-nano", "Q8_0")
    assert resolve.default_model() == "phi4-nano"
    remember("phi-4")
    assert resolve.default_model() == "phi-4:Q4_K_M"


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("phi5", UnknownModelError),
        ("./nowhere.gguf", FileFormatError),
        ("nowhere/folder", FileFormatError),
        ("phi4-nano:Q9", UnknownQuantizationError),
    ],
)
def test_what_is_not_there_is_told_apart(name, error):
    with pytest.raises(error) as caught:
        resolve.find(name)
    assert caught.value.hint


@pytest.mark.parametrize("damage", ["truncate", "garble", "remove"])
def test_a_damaged_installation_is_not_used(damage):
    made = remember("phi-4")
    if damage == "truncate":
        made.path.write_bytes(b"")
    elif damage == "garble":
        made.path.with_suffix(".json").write_text('{"name": 1')
    else:
        made.path.unlink()
    assert installed.installed() == ()


@pytest.mark.parametrize("name", ["../../evil", "a/b", "x\n\x1b[31m", "", "...", "n" * 300])
def test_no_name_leaves_the_models_folder(name, home):
    path = installed.destination(name, quantization="Q8_0", fingerprint="f" * 64)
    assert path.parent == home / "models"
    assert len(path.name) < 200
    assert path.name.isprintable()
