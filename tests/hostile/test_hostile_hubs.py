"""Hostile hubs: nothing is written outside the store, and every refusal is one of our errors."""

import hashlib
import json

import pytest

from phi4local.errors import Phi4LocalError
from phi4local.store import download, http, installed, manifests, publish, sources
from phi4local.store.download import DownloadSettings
from phi4local.store.references import parse
from tests.hostile.hostile_names import DIGESTS, GGUF, HARMLESS, MANIFESTS, PATHS, PREFIXED
from tests.hubs import Fault, HuggingFaceHub, ModelScopeHub, OllamaRegistry

NAME = "phi-4-Q4_K_M.gguf"


@pytest.fixture
def sandbox(tmp_path, monkeypatch):
    """A folder with the store deep inside; what is written must be inside the store."""
    home = tmp_path / "1" / "2" / "3" / "4" / "5" / "6" / "home"
    home.mkdir(parents=True)
    monkeypatch.setenv("PHI4LOCAL_HOME", str(home))
    monkeypatch.setenv("HF_TOKEN_PATH", str(home / "no-token"))
    monkeypatch.chdir(home.parent)
    monkeypatch.setattr(http, "FIRST_WAIT_SECONDS", 0.01)
    yield tmp_path
    outside = [path for path in tmp_path.rglob("*") if path.is_file() and home not in path.parents]
    assert outside == []
    inside = [path for path in home.rglob("*") if path.is_symlink()]
    assert all(home in path.resolve().parents for path in inside)


IMPATIENT = DownloadSettings(tries=2, first_wait_seconds=0.01, longest_pause_seconds=0.1)


def pull(name):
    """Resolve, fetch, prove and publish."""
    reference = parse(name)
    model = sources.resolve(reference)
    stored = []
    for file in model.files:
        digest = download.fetch(file, settings=IMPATIENT).sha256
        kind = (model.kinds or {}).get(file.path, "file")
        stored.append(
            publish.StoredFile(path=file.path, digest=digest, size_bytes=file.size_bytes, kind=kind)
        )
    if model.manifest is not None:
        return publish.publish_verbatim(reference.stored_as(), model.manifest)
    origin = manifests.Origin(source=str(reference), revision=model.revision)
    return publish.publish(reference.stored_as(model.quantization), stored, origin)


def refused(name):
    with pytest.raises(Phi4LocalError) as caught:
        pull(name)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500
    assert caught.value.hint
    assert installed.installed() == ()


def entry(**changes):
    lfs = {"oid": hashlib.sha256(GGUF).hexdigest(), "size": len(GGUF), "pointerSize": 135}
    return {"type": "file", "oid": "0" * 40, "size": len(GGUF), "path": NAME, "lfs": lfs} | changes


def listing(entries):
    return Fault(route="api", body=json.dumps(entries).encode(), skip=1, times=10**6)


@pytest.fixture
def huggingface(sandbox, monkeypatch):
    with HuggingFaceHub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        hub.add("u/r", {NAME: GGUF})
        yield hub


@pytest.fixture
def modelscope(sandbox, monkeypatch):
    with ModelScopeHub() as hub:
        monkeypatch.setenv("MODELSCOPE_ENDPOINT", hub.url)
        hub.add("u/r", {NAME: GGUF})
        yield hub


@pytest.fixture
def registry(sandbox, monkeypatch):
    with OllamaRegistry() as hub:
        monkeypatch.setenv("PHI4LOCAL_REGISTRY", hub.url)
        yield hub


def test_honest_hubs_pass_the_same_way(huggingface, modelscope, registry, sandbox):
    registry.add("library/phi4:14b", [("model", GGUF)])
    for name in ("hf.co/u/r", "modelscope.cn/u/r", "phi4:14b"):
        pull(name)
    kept = [path for path in sandbox.rglob("*") if path.is_file() and path.read_bytes() == GGUF]
    assert kept


@pytest.mark.parametrize("case", PATHS)
def test_hostile_paths_at_hugging_face_are_no_candidates(huggingface, case):
    huggingface.faults = [listing([entry(path=PATHS[case])])]
    refused("hf.co/u/r")


@pytest.mark.parametrize("case", PATHS)
def test_hostile_paths_at_modelscope_are_no_candidates(modelscope, case):
    file = {"Type": "blob", "Path": PATHS[case], "Size": len(GGUF), "Sha256": "", "Name": NAME}
    body = json.dumps({"Code": 200, "Success": True, "Data": {"Files": [file]}}).encode()
    modelscope.faults = [Fault(body=body, times=10**6)]
    refused("modelscope.cn/u/r")


@pytest.mark.parametrize("case", PATHS)
def test_a_hostile_neighbour_does_not_spoil_a_model(huggingface, case):
    huggingface.faults = [listing([entry(path=PATHS[case]), entry()])]
    pull("hf.co/u/r")


@pytest.mark.parametrize("case", HARMLESS)
def test_what_only_looks_like_a_way_out_is_a_plain_name(huggingface, modelscope, case, sandbox):
    for hub, name in ((huggingface, "hf.co/u/r"), (modelscope, "modelscope.cn/u/r")):
        hub.repositories["models/u/r"].files = {HARMLESS[case]: GGUF}
        pull(name)
    names = {path.name for path in sandbox.rglob("*-Q4_K_M.gguf")}
    assert names == {HARMLESS[case].rpartition("/")[2]}


@pytest.mark.parametrize("case", DIGESTS | PREFIXED)
def test_hostile_digests_are_refused_everywhere(huggingface, modelscope, registry, case):
    digest = (DIGESTS | PREFIXED)[case]
    lfs = {"oid": digest, "size": len(GGUF)}
    huggingface.faults = [listing([entry(lfs=lfs)])]
    refused("hf.co/u/r")
    modelscope.repositories["models/u/r"].announced = {NAME: str(digest)}
    refused("modelscope.cn/u/r")
    manifest = registry.add("library/phi4:14b", [("model", GGUF)])
    manifest["layers"][0]["digest"] = f"sha256:{digest}" if case in DIGESTS else digest
    registry.put("library/phi4:14b", manifest)
    refused("phi4:14b")


@pytest.mark.parametrize("size", [-1, 2**70, 1.5, "104", True, None])
def test_sizes_that_are_none_are_refused(huggingface, size):
    huggingface.faults = [listing([entry(size=size)])]
    refused("hf.co/u/r")


@pytest.mark.parametrize("commit", ["../../../../x", "a" * 39, "A" * 40, "a" * 40 + "\n", "main"])
def test_hostile_commits_are_refused(huggingface, commit):
    huggingface.repositories["models/u/r"].commit = commit
    refused("hf.co/u/r")


@pytest.mark.parametrize("etag", ['"../../../../pwn"', "/etc/passwd", '"' + "a" * 5000 + '"'])
def test_an_etag_is_no_path(huggingface, etag):
    huggingface.linked_etag = etag
    pull("hf.co/u/r")


@pytest.mark.parametrize("case", MANIFESTS)
def test_hostile_manifests_are_refused(registry, case):
    registry.put("library/phi4:14b", MANIFESTS[case])
    refused("phi4:14b")


def test_another_manifest_than_announced_is_refused(registry):
    registry.add("library/phi4:14b", [("model", GGUF)])
    digest = {"Docker-Content-Digest": "sha256:" + "0" * 64}
    registry.faults = [Fault(route="manifest", headers=digest)]
    refused("phi4:14b")


def test_other_bytes_than_announced_are_refused(huggingface, modelscope, registry):
    registry.add("library/phi4:14b", [("model", GGUF)])
    for hub, name in ((huggingface, "hf.co/u/r"), (modelscope, "modelscope.cn/u/r"), (registry, "phi4:14b")):
        for fault in (Fault(body=b"EVIL" + bytes(100)), Fault(body=b"short"), Fault(extra=b"more")):
            fault.route, fault.times = "cdn", 99
            hub.faults = [fault]
            refused(name)


@pytest.mark.parametrize("tag", ["../x", "a/b", "a\\b", "..", ".hidden", "x" * 81, "a b", "%2e%2e"])
def test_a_hostile_tag_of_a_person_goes_nowhere(registry, tag):
    with pytest.raises(Phi4LocalError):
        pull(f"registry.ollama.ai/library/phi4:{tag}")
    assert not any(".." in seen.target for seen in registry.requests)


def test_a_listing_that_never_ends_is_left(huggingface, monkeypatch):
    link = {"Link": f'<{huggingface.url}/api/models/u/r/tree/main?x>; rel="next"'}
    huggingface.faults = [Fault(headers=link, body=json.dumps([entry()]).encode(), skip=1, times=10**6)]
    refused("hf.co/u/r")
    assert len(huggingface.requests) < 200


def test_a_listing_of_a_hundred_megabytes_is_not_read(huggingface, modelscope):
    huge = b"[" + b" " * 100_000_000 + b"]"
    huggingface.faults, modelscope.faults = [Fault(body=huge)], [Fault(body=huge)]
    refused("hf.co/u/r")
    refused("modelscope.cn/u/r")
    assert huggingface.served[""] + modelscope.served[""] < 60_000_000
