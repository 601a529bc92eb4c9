"""Files that other programs hold: each program's folders, laid out as that program lays them out."""

import hashlib
import json
import os
import sys

import pytest

from phi4local.store import blobs, installed, kept, links, publish, remove, reuse, verify
from phi4local.store.manifests import Origin
from phi4local.store.names import ModelName

CONTENT = b"GGUF" + bytes(range(256)) * 40
DIGEST = hashlib.sha256(CONTENT).hexdigest()
NAME = "phi-4-Q4_K_M.gguf"


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A home folder without anything; every variable that points elsewhere is gone."""
    folder = tmp_path / "person"
    folder.mkdir()
    for name in (
        *("OLLAMA_MODELS", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"),
        *("LLAMA_CACHE", "MODELSCOPE_CACHE", "LOCALAPPDATA", "PHI4LOCAL_REUSE"),
    ):
        monkeypatch.delenv(name, raising=False)
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(folder))
    return folder


def put(path, content=CONTENT):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def ollama(home, _patch):
    return put(home / ".ollama" / "models" / "blobs" / f"sha256-{DIGEST}")


def ollama_elsewhere(home, patch):
    patch.setenv("OLLAMA_MODELS", f' "{home / "elsewhere"}" ')
    return put(home / "elsewhere" / "blobs" / f"sha256-{DIGEST}")


def huggingface(home, _patch):
    repository = home / ".cache" / "huggingface" / "hub" / "models--unsloth--phi-4-GGUF"
    blob = put(repository / "blobs" / DIGEST)
    snapshot = repository / "snapshots" / ("c" * 40)
    snapshot.mkdir(parents=True)
    (snapshot / NAME).symlink_to(f"../../blobs/{DIGEST}")
    return blob


def huggingface_two_hops(home, patch):
    """huggingface_hub 2 keeps Xet files in a store of the whole cache; the repository's blob is a link."""
    patch.setenv("HF_HOME", str(home / "hf"))
    shared = put(home / "hf" / "hub" / "blobs" / "ab" / ("d" * 64))
    blob = home / "hf" / "hub" / "models--unsloth--phi-4-GGUF" / "blobs" / DIGEST
    blob.parent.mkdir(parents=True)
    blob.symlink_to(os.path.relpath(shared, blob.parent))
    return shared


def huggingface_without_links(home, patch):
    """On Windows, a snapshot holds the file itself."""
    patch.setenv("HF_HUB_CACHE", str(home / "hub"))
    return put(home / "hub" / "models--u--r" / "snapshots" / ("c" * 40) / "sub" / NAME)


def llama_cpp(home, patch):
    patch.setenv("LLAMA_CACHE", str(home / "lc"))
    return put(home / "lc" / "models--unsloth--phi-4-GGUF" / "blobs" / DIGEST)


def llama_cpp_older(home, patch):
    patch.setenv("XDG_CACHE_HOME", str(home / "xdg"))
    put(home / "xdg" / "llama.cpp" / "manifest=unsloth=phi-4-GGUF=Q4_K_M.json", b"{}")
    return put(home / "xdg" / "llama.cpp" / f"unsloth_phi-4-GGUF_{NAME}")


def lm_studio(home, _patch):
    return put(home / ".lmstudio" / "models" / "unsloth" / "phi-4-GGUF" / NAME)


def lm_studio_pointed(home, _patch):
    put(home / ".lmstudio-home-pointer", f"{home / 'studio'}\n".encode())
    put(home / "studio" / "settings.json", json.dumps({"downloadsFolder": str(home / "big")}).encode())
    return put(home / "big" / "unsloth" / "phi-4-GGUF" / NAME)


def modelscope(home, _patch):
    folder = home / ".cache" / "modelscope" / "models" / "unsloth--phi-4-GGUF" / "snapshots" / "master"
    return put(folder / NAME)


def modelscope_older(home, patch):
    patch.setenv("MODELSCOPE_CACHE", str(home / "ms"))
    return put(home / "ms" / "hub" / "models" / "unsloth" / "phi-4___1" / NAME)


PLACES = [
    (ollama, "Ollama"),
    (ollama_elsewhere, "Ollama"),
    (huggingface, "Hugging Face"),
    (huggingface_two_hops, "Hugging Face"),
    (huggingface_without_links, "Hugging Face"),
    (llama_cpp, "llama.cpp"),
    (llama_cpp_older, "llama.cpp"),
    (lm_studio, "LM Studio"),
    (lm_studio_pointed, "LM Studio"),
    (modelscope, "ModelScope"),
    (modelscope_older, "ModelScope"),
]


@pytest.mark.skipif(sys.platform == "win32", reason="the folders here are those of Linux")
@pytest.mark.parametrize(("place", "owner"), PLACES, ids=[place.__name__ for place, _ in PLACES])
def test_a_file_that_is_here_is_found_linked_and_not_touched(place, owner, machine, home, monkeypatch):
    path = place(machine, monkeypatch)
    before = path.stat()
    found = reuse.find(DIGEST, len(CONTENT), f"sub/{NAME}")
    assert (found.owner, found.path.resolve()) == (owner, path.resolve())
    reuse.use(found)
    blob = blobs.blob_path(DIGEST)
    assert blob.samefile(path)
    stored = [publish.StoredFile(path=NAME, digest=DIGEST, size_bytes=len(CONTENT))]
    name = ModelName.parse("hf.co/unsloth/phi-4-GGUF:Q4_K_M")
    model = installed.of(publish.publish(name, stored, Origin(quantization="Q4_K_M")))
    assert installed.ready_path(model).read_bytes() == CONTENT
    assert verify.verify().findings == ()
    assert kept.usage().linked_bytes == len(CONTENT)
    assert remove.remove(name).freed_bytes < len(CONTENT)
    after = path.stat()
    assert path.read_bytes() == CONTENT
    assert (after.st_ino, after.st_mode, after.st_mtime_ns, after.st_nlink) == (
        *(before.st_ino, before.st_mode, before.st_mtime_ns),
        1,
    )


@pytest.mark.parametrize(
    "other",
    [
        CONTENT[:-1],
        CONTENT[:-1] + b"x",
        b"NOPE" + CONTENT[4:],
    ],
    ids=["shorter", "other bytes", "no GGUF"],
)
def test_a_file_that_only_has_the_name_is_not_taken(other, machine, home):
    put(machine / ".ollama" / "models" / "blobs" / f"sha256-{DIGEST}", other)
    put(machine / ".lmstudio" / "models" / "u" / "r" / NAME, other)
    assert reuse.find(DIGEST, len(CONTENT), NAME) is None


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX files")
def test_what_is_no_regular_file_is_not_opened(machine, home):
    folder = machine / ".ollama" / "models" / "blobs"
    folder.mkdir(parents=True)
    os.mkfifo(folder / f"sha256-{DIGEST}")
    (machine / ".lmstudio" / "models" / NAME).mkdir(parents=True)
    assert reuse.find(DIGEST, len(CONTENT), NAME) is None


def test_it_can_be_turned_off(machine, home, monkeypatch):
    ollama(machine, monkeypatch)
    monkeypatch.setenv("PHI4LOCAL_REUSE", "0")
    assert reuse.find(DIGEST, len(CONTENT), NAME) is None


def test_our_own_store_is_not_another_programs(machine, home, monkeypatch):
    blobs.add(CONTENT)
    monkeypatch.setenv("OLLAMA_MODELS", str(home / "models"))
    assert reuse.find(DIGEST, len(CONTENT), NAME) is None


def test_a_link_whose_file_was_deleted_says_whose_it_was(machine, home, monkeypatch):
    path = ollama(machine, monkeypatch)
    monkeypatch.setattr(links.os, "link", refuse)  # as when the file is on another disk
    link = reuse.use(reuse.find(DIGEST, len(CONTENT), NAME))
    assert not link.hard
    stored = [publish.StoredFile(path=NAME, digest=DIGEST, size_bytes=len(CONTENT))]
    publish.publish(ModelName.parse("phi-4:Q4_K_M"), stored, Origin(quantization="Q4_K_M"))
    path.unlink()
    assert installed.installed() == ()
    (finding,) = verify.verify().findings
    assert "Ollama owned" in finding.problem
    with pytest.raises(installed.StoreError) as caught:
        installed.refuse_broken("phi-4")
    assert "Ollama owned" in str(caught.value)


def refuse(*_):
    raise OSError("another disk")
