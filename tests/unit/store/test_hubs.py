"""The fake hubs speak the real protocols.

huggingface_hub asks the first. ModelScope's was asked by modelscope-hub 0.5.1 when it was written (models
inline and redirected, data sets, a missing repository). That package is no dependency: what it needs is here.
"""

import contextlib
import hashlib
import http.client
import json
import urllib.parse
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import errors

from tests.hubs import Fault, HuggingFaceHub, ModelScopeHub, OllamaRegistry

GGUF = bytes(range(256)) * 8192
FILES = {"phi-4-Q4_K_M.gguf": GGUF, "README.md": b"# Phi-4\n", "Q8_0/phi-4-Q8_0.gguf": GGUF[::-1]}
NAME = "unsloth/phi-4-GGUF"


@pytest.fixture
def hub():
    with HuggingFaceHub() as hub:
        hub.add(NAME, FILES)
        yield hub


def api(hub, token=False):
    return huggingface_hub.HfApi(endpoint=hub.url, token=token)


def download(hub, folder, name=NAME, file="phi-4-Q4_K_M.gguf", **more):
    return huggingface_hub.hf_hub_download(
        name, file, endpoint=hub.url, local_dir=folder, token=more.pop("token", False), **more
    )


def fetch(url, method="GET", **headers):
    """Return status, headers and body of one answer, without following it."""
    parts = urllib.parse.urlsplit(url)
    with contextlib.closing(http.client.HTTPConnection(parts.netloc, timeout=30)) as connection:
        connection.request(method, url.partition(parts.netloc)[2], headers=headers)
        with connection.getresponse() as answer:
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()


def test_the_official_client_reads_a_listing(hub):
    info = api(hub).model_info(NAME, files_metadata=True)
    files = {file.rfilename: file for file in info.siblings}
    assert set(files) == set(FILES)
    assert files["phi-4-Q4_K_M.gguf"].lfs.sha256 == hashlib.sha256(GGUF).hexdigest()
    assert files["README.md"].lfs is None
    assert files["README.md"].size == 8


def test_the_official_client_reads_every_page_of_a_tree(hub):
    hub.page_size = 1
    tree = list(api(hub).list_repo_tree(NAME, recursive=True))
    assert {file.path: file.size for file in tree} == {path: len(body) for path, body in FILES.items()}
    assert len([seen for seen in hub.requests if "/tree/" in seen.path]) == 3


@pytest.mark.parametrize("file", FILES)
def test_the_official_client_downloads_large_and_small_files(hub, tmp_path, file):
    assert Path(download(hub, tmp_path, file=file)).read_bytes() == FILES[file]
    assert hub.served[file] == len(FILES[file])


def test_no_token_reaches_the_cdn_but_the_hub_gets_it(hub, tmp_path):
    download(hub, tmp_path, token="hf_secret")
    assert {seen.headers.get("authorization") for seen in hub.requests if seen.server == "hub"} == {
        "Bearer hf_secret"
    }
    cdn = [seen for seen in hub.requests if seen.server == "cdn"]
    assert cdn
    assert not any("authorization" in seen.headers for seen in cdn)


@pytest.mark.parametrize(
    ("settings", "file", "revision", "expected"),
    [
        ({}, "no.gguf", "main", errors.RemoteEntryNotFoundError),
        ({}, "README.md", "gone", errors.RevisionNotFoundError),
        ({"gated": "auto"}, "README.md", "main", errors.GatedRepoError),
        ({"private": True}, "README.md", "main", errors.RepositoryNotFoundError),
    ],
)
def test_the_official_client_knows_the_refusals(hub, tmp_path, settings, file, revision, expected):
    for name, value in settings.items():
        setattr(hub.repositories[f"models/{NAME}"], name, value)
    with pytest.raises(expected):
        download(hub, tmp_path, file=file, revision=revision)


def test_the_official_client_comes_in_with_a_token(hub, tmp_path):
    hub.add("closed/model", {"README.md": b"x"}, private=True, gated="manual", tokens=("hf_right",))
    download(hub, tmp_path, name="closed/model", file="README.md", token="hf_right")


def test_the_official_client_asks_whether_it_may(hub):
    hub.add("closed/model", {"README.md": b"x"}, gated="auto", tokens=("hf_right",))
    api(hub, "hf_right").auth_check("closed/model")
    with pytest.raises(errors.GatedRepoError):
        api(hub, "hf_wrong").auth_check("closed/model")


def test_a_stalled_body_ends_when_the_client_leaves(hub):
    hub.faults = [Fault(route="cdn", cut_after=100, ending="stall")]
    _, headers, _ = fetch(f"{hub.url}/{NAME}/resolve/main/phi-4-Q4_K_M.gguf")
    parts = urllib.parse.urlsplit(headers["location"])
    with contextlib.closing(http.client.HTTPConnection(parts.netloc, timeout=30)) as connection:
        connection.request("GET", f"{parts.path}?{parts.query}")
        with connection.getresponse() as answer:
            assert answer.read(100) == GGUF[:100]
    assert hub.served["phi-4-Q4_K_M.gguf"] == 100


def test_the_official_client_goes_on_after_a_body_that_is_too_short(hub, tmp_path):
    hub.faults = [Fault(route="cdn", cut_after=1000)]
    assert Path(download(hub, tmp_path)).read_bytes() == GGUF
    assert len(hub.gets("phi-4-Q4_K_M.gguf")) == 2


def test_a_signed_address_expires(hub):
    hub.signature_bytes = 1000
    url = hub.url + f"/{NAME}/resolve/main/phi-4-Q4_K_M.gguf"
    _, headers, _ = fetch(url)
    status, _, body = fetch(headers["location"], Range="bytes=0-999")
    assert (status, body) == (206, GGUF[:1000])
    assert fetch(headers["location"], Range="bytes=1000-")[0] == 403
    assert fetch(fetch(url)[1]["location"], Range="bytes=1000-1009")[2] == GGUF[1000:1010]


@pytest.mark.parametrize("ending", ["fin", "reset"])
def test_a_body_breaks_off(hub, ending):
    hub.faults = [Fault(route="cdn", cut_after=1000, ending=ending)]
    _, headers, _ = fetch(f"{hub.url}/{NAME}/resolve/main/phi-4-Q4_K_M.gguf")
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        fetch(headers["location"])


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Fault(status=503, body=b"busy"), (503, b"busy")),
        (Fault(ignore_range=True), (200, GGUF)),
        (Fault(flip=3), (206, b"\x02\x02")),
        (Fault(no_length=True), (206, b"\x02\x03")),
        (Fault(extra=b"more"), (206, b"\x02\x03more")),
        (Fault(bytes_per_second=1000), (206, b"\x02\x03")),
    ],
)
def test_faults_change_one_answer(hub, fault, expected):
    _, headers, _ = fetch(f"{hub.url}/{NAME}/resolve/main/phi-4-Q4_K_M.gguf")
    hub.faults = [fault]
    status, _, body = fetch(headers["location"], Range="bytes=2-3")
    assert (status, body) == expected
    assert fetch(headers["location"], Range="bytes=2-3")[2] == b"\x02\x03"


def test_modelscope_lists_and_answers_ranges_with_200():
    with ModelScopeHub() as hub:
        hub.add(NAME, FILES)
        listing = f"{hub.url}/api/v1/models/{NAME}/repo/files?Revision=master&Recursive=True"
        data = json.loads(fetch(listing)[2])
        files = {file["Path"]: file for file in data["Data"]["Files"]}
        assert {path for path, file in files.items() if file["Type"] == "blob"} == set(FILES)
        assert files["phi-4-Q4_K_M.gguf"]["Sha256"] == hashlib.sha256(GGUF).hexdigest()
        url = f"{hub.url}/api/v1/models/{NAME}/repo?Revision=master&FilePath=phi-4-Q4_K_M.gguf"
        assert fetch(url)[0] == 302
        hub.inline = True
        status, headers, body = fetch(url, Range="bytes=100-199")
        assert (status, headers["content-range"], body) == (
            200,
            f"bytes 100-199/{len(GGUF)}",
            GGUF[100:200],
        )
        status, _, body = fetch(f"{hub.url}/api/v1/models/no/such/repo/files")
        assert (status, json.loads(body)["Success"]) == (404, False)
        hub.always_200 = True
        assert fetch(f"{hub.url}/api/v1/models/no/such/repo/files")[0] == 200
        hub.cap = 2
        assert len(json.loads(fetch(listing)[2])["Data"]["Files"]) == 2


def test_a_registry_asks_for_a_token_and_redirects_blobs():
    with OllamaRegistry() as hub:
        manifest = hub.add("library/phi4:14b", [("model", GGUF), ("template", b"{{ .Prompt }}")])
        hub.secured = True
        url = f"{hub.url}/v2/library/phi4"
        status, headers, _ = fetch(f"{url}/manifests/14b")
        assert status == 401
        assert headers["www-authenticate"].startswith(f'Bearer realm="{hub.url}/token"')
        token = json.loads(fetch(f"{hub.url}/token")[2])["token"]
        allowed = {"Authorization": f"Bearer {token}"}
        status, _, body = fetch(f"{url}/manifests/14b", **allowed)
        assert (status, json.loads(body)) == (200, manifest)
        digest = manifest["layers"][0]["digest"]
        status, headers, _ = fetch(f"{url}/blobs/{digest}", **allowed)
        assert status == 307
        assert fetch(headers["location"])[2] == GGUF
        hub.blob_status, hub.manifest_length = 200, False
        assert fetch(f"{url}/blobs/{digest}", "HEAD", **allowed)[1]["content-length"] == str(len(GGUF))
        assert "content-length" not in fetch(f"{url}/manifests/14b", **allowed)[1]
        assert fetch(f"{url}/manifests/no", **allowed)[0] == 404
