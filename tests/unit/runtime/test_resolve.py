"""One place turns a name into a file."""

import json
import re
import shutil

import pytest

from phi4local.errors import (
    FileFormatError,
    ModelNotInstalledError,
    StoreError,
    UnknownModelError,
    UnknownQuantizationError,
)
from phi4local.runtime import resolve
from phi4local.store import installed
from phi4local.store.home import make_work_folder
from phi4local.store.manifests import Origin
from phi4local.store.names import ModelName


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("PHI4LOCAL_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def remember(name, quantization="Q4_K_M", member=None):
    """Keep a file under `name`; one place converts or pulls it, `installed` finds it."""
    written = make_work_folder("test") / "model.gguf"
    written.write_bytes(f"GGUF {name} {quantization}".encode())
    reference = ModelName.parse(f"{name}:{quantization}")
    origin = Origin(source="test", fingerprint=name, quantization=quantization, member=member)
    return installed.keep_converted(written, reference, origin, None)


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
    assert resolve.find("phi-4").installed == made
    assert resolve.find("PHI-4:q4_k_m").installed == made
    assert resolve.ensure_gguf(resolve.find("phi-4")) == made.path
    assert made.path.read_bytes() == b"GGUF phi-4 Q4_K_M"
    with pytest.raises(ModelNotInstalledError):
        resolve.find("phi-4:Q8_0")


def test_a_converted_folder_is_found_by_its_name_afterwards():
    made = remember("my-tune")
    assert resolve.find("my-tune").installed == made
    assert resolve.find("my-tune:q4_k_m").installed == made
    with pytest.raises(ModelNotInstalledError) as caught:
        resolve.find("my-tune:Q8_0")
    assert "my-tune:Q4_K_M" in caught.value.hint


def test_a_pulled_model_is_found_under_its_full_name_and_as_the_member_that_it_is():
    made = remember("hf.co/unsloth/phi-4-GGUF", member="phi-4")
    for name in ("hf.co/unsloth/phi-4-GGUF", "HF.co/UNSLOTH/phi-4-gguf:q4_k_m", "phi-4", "phi-4:Q4_K_M"):
        assert resolve.find(name).installed == made, name
        assert resolve.find(name).manifest.name == "phi-4"
    assert resolve.names_a_model("hf.co/unsloth/phi-4-GGUF")
    own = remember("phi-4")
    assert resolve.find("phi-4:Q4_K_M").installed == own
    remember("hf.co/somebody/phi-4-tune-GGUF", "Q8_0")
    with pytest.raises(ModelNotInstalledError):
        resolve.find("phi-4:Q8_0")


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
    blob = made.path.resolve()
    if damage == "truncate":
        blob.chmod(0o644)
        blob.write_bytes(b"")
    elif damage == "garble":
        made.manifest.path.write_text('{"name": 1')
    else:
        blob.unlink()
    assert installed.installed() == ()


def test_a_file_that_changed_after_it_was_proved_is_not_opened():
    made = remember("phi-4")
    blob = made.path.resolve()
    blob.chmod(0o644)
    blob.write_bytes(blob.read_bytes().replace(b"GGUF", b"FUGG"))
    with pytest.raises(StoreError) as caught:
        resolve.ensure_gguf(resolve.find("phi-4"))
    assert "phi4local rm phi-4:Q4_K_M" in caught.value.hint
    with pytest.raises(StoreError, match="damaged"):
        resolve.find("phi-4")
    assert len(installed.broken()) == 1
    again = remember("phi-4")  # getting it again heals it
    assert resolve.ensure_gguf(resolve.find("phi-4")) == again.path
    assert installed.broken() == ()


def test_two_folders_of_one_name_do_not_take_each_others_place(checkpoint, tmp_path, native_library):
    folders = [tmp_path / place / "my-tune" for place in ("one", "two")]
    for folder in folders:
        shutil.copytree(checkpoint, folder, ignore=shutil.ignore_patterns("training", "*.gz", "*.npz"))
    config = json.loads((folders[1] / "config.json").read_text())
    (folders[1] / "config.json").write_text(json.dumps(config | {"rms_norm_eps": 1.5e-5}))
    made = [resolve.ensure_gguf(resolve.find(str(folder))) for folder in folders]
    first, second = (model.name for model in reversed(installed.installed()))
    assert first == "my-tune"
    assert re.fullmatch(r"my-tune-[0-9a-f]{6}", second)
    assert made == [resolve.ensure_gguf(resolve.find(str(folder))) for folder in folders]
    assert len(installed.installed()) == 2


def test_a_model_of_the_older_layout_is_taken_over(home):
    models = home / "models"
    models.mkdir(parents=True)
    (models / "my-tune-Q8_0-3fa9.gguf").write_bytes(b"GGUF old")
    record = {"name": "my-tune", "quantization": "Q8_0", "source": "/there", "fingerprint": "3fa9"}
    (models / "my-tune-Q8_0-3fa9.json").write_text(json.dumps(record | {"size_bytes": 8}))
    found = resolve.find("my-tune:Q8_0").installed
    assert found.path.read_bytes() == b"GGUF old"
    assert (found.source, found.fingerprint) == ("/there", "3fa9")
    assert [path.name for path in models.glob("*.*") if path.suffix in (".gguf", ".json")] == [
        "verified.json"
    ]


@pytest.mark.parametrize("name", ["../../evil", "a/b", "x\n\x1b[31m", "", "...", "n" * 300])
def test_no_name_leaves_the_models_folder(name, home):
    kept = remember_words(name)
    for path in (kept.path, kept.manifest.path):
        assert path.is_relative_to(home / "models")
        assert len(path.name) < 200
        assert str(path.relative_to(home)).isprintable()
    assert len(path.relative_to(home).parts) == 6


def remember_words(words):
    written = make_work_folder("test") / "model.gguf"
    written.write_bytes(b"GGUF")
    return installed.keep_converted(
        written, ModelName.for_words(words, "Q8_0"), Origin(quantization="Q8_0"), None
    )
