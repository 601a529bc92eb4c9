"""Names become files with sizes and digests, at each of the three hubs."""

import hashlib
import os
import subprocess
import sys

import huggingface_hub
import pytest

from phi4local.errors import AccessDeniedError, DownloadError, RemoteNotFoundError, UnknownTagError
from phi4local.store import http, sources
from phi4local.store.references import parse
from tests.hubs import Fault

GGUF = b"GGUF" + bytes(1000)
FILES = {
    "phi-4-Q4_K_M.gguf": GGUF,
    "phi-4-Q8_0.gguf": GGUF * 2,
    "BF16/phi-4-BF16-00001-of-00002.gguf": GGUF * 3,
    "BF16/phi-4-BF16-00002-of-00002.gguf": GGUF * 4,
    "README.md": b"# Phi-4",
    "params": b'{"stop": ["<|im_end|>"]}',
}
CHECKPOINT = {
    "config.json": b"{}",
    "tokenizer.json": b"{}",
    "merges.txt": b"",
    "model.safetensors.index.json": b"{}",
    "model-00001-of-00002.safetensors": b"one",
    "model-00002-of-00002.safetensors": b"other",
    "pytorch_model.bin": b"no",
    "modeling_phi.py": b"no",
    "onnx/config.json": b"no",
    "LICENSE": b"MIT",
}
FETCHED = {*CHECKPOINT} - {"pytorch_model.bin", "modeling_phi.py", "onnx/config.json"}
HUBS = pytest.mark.parametrize("where", ["hf.co", "modelscope.cn"])


@pytest.fixture
def hubs(huggingface, modelscope):
    for hub in (huggingface, modelscope):
        hub.add("unsloth/phi-4-GGUF", FILES)
        hub.add("microsoft/phi-4", CHECKPOINT)
    return {"hf.co": huggingface, "modelscope.cn": modelscope}


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def resolve(name, **more):
    return sources.resolve(parse(name), **more)


def paths(model):
    return [file.path for file in model.files]


@HUBS
@pytest.mark.parametrize(
    ("tag", "expected", "quantization"),
    [
        ("", "phi-4-Q4_K_M.gguf", "Q4_K_M"),
        (":q8_0", "phi-4-Q8_0.gguf", "Q8_0"),
        (":phi-4-Q8_0.gguf", "phi-4-Q8_0.gguf", "Q8_0"),
        ("/phi-4-Q8_0.gguf", "phi-4-Q8_0.gguf", "Q8_0"),
    ],
)
def test_a_tag_becomes_one_file_with_its_digest(hubs, where, tag, expected, quantization):
    model = resolve(f"{where}/unsloth/phi-4-GGUF{tag}")
    file, params = model.files
    assert (file.path, model.quantization, model.kind) == (expected, quantization, "gguf")
    assert (file.size_bytes, file.sha256) == (len(FILES[expected]), sha256(FILES[expected]))
    assert model.kinds == {expected: "model", "params": "params"}
    assert http.get(file.url, credentials=file.credentials).body == FILES[expected]
    assert http.get(params.url, credentials=params.credentials).body == FILES["params"]


@HUBS
@pytest.mark.parametrize("rest", [":BF16", "/BF16/", "/BF16/phi-4-BF16-00002-of-00002.gguf"])
def test_a_model_in_parts_comes_whole(hubs, where, rest):
    model = resolve(f"{where}/unsloth/phi-4-GGUF{rest}")
    assert paths(model)[:2] == [
        "BF16/phi-4-BF16-00001-of-00002.gguf",
        "BF16/phi-4-BF16-00002-of-00002.gguf",
    ]


@HUBS
def test_offers_are_listed_smallest_first(hubs, where):
    offers = sources.look(parse(f"{where}/unsloth/phi-4-GGUF")).offers
    assert [(offer.quantization, offer.size_bytes) for offer in offers] == [
        ("Q4_K_M", 1004),
        ("Q8_0", 2008),
        ("BF16", 7028),
    ]


@HUBS
def test_a_checkpoint_is_data_and_no_programs(hubs, where):
    model = resolve(f"{where}/microsoft/phi-4")
    assert (model.kind, {*paths(model)}) == ("checkpoint", FETCHED)
    assert model.size_bytes == sum(len(CHECKPOINT[path]) for path in FETCHED)


@HUBS
def test_the_safetensors_of_a_repository_with_both_can_be_asked_for(hubs, where):
    hubs[where].add("u/both", CHECKPOINT | FILES)
    assert resolve(f"{where}/u/both").kind == "gguf"
    assert {*paths(resolve(f"{where}/u/both", checkpoint=True))} == FETCHED


@HUBS
def test_a_checkpoint_has_no_quantizations(hubs, where):
    with pytest.raises(UnknownTagError) as caught:
        resolve(f"{where}/microsoft/phi-4:Q4_K_M")
    assert "--convert Q4_K_M" in caught.value.hint


@HUBS
def test_data_sets_come_through_the_same_door(hubs, where):
    files = {"train.jsonl": b"{}\n", "README.md": b"#", "test/a.parquet": b"x", "loader.py": b"no"}
    hubs[where].add("u/data", files, kind="datasets")
    model = resolve(f"{where}/datasets/u/data")
    assert (model.kind, {*paths(model)}) == ("dataset", {"train.jsonl", "test/a.parquet"})
    file = resolve(f"{where}/datasets/u/data/train.jsonl").files[0]
    assert http.get(file.url, credentials=file.credentials).body == b"{}\n"


@HUBS
@pytest.mark.parametrize(
    ("rest", "error", "message", "hint"),
    [
        ("unsloth/phi-4-GGUF:Q5_K_M", UnknownTagError, "no `Q5_K_M`", "Q4_K_M, Q8_0, BF16"),
        ("unsloth/phi-4-GGUF/no.gguf", RemoteNotFoundError, "no file `no.gguf`", "phi-4-Q4_K_M.gguf"),
        ("unsloth/phi-4-GUFF", RemoteNotFoundError, "there is no", "unsloth/phi-4-GGUF"),
        ("unsloth/phi-4-GGUF@gone", RemoteNotFoundError, "no ", ""),
    ],
)
def test_what_is_not_there_is_explained(hubs, where, rest, error, message, hint):
    with pytest.raises(error, match=message) as caught:
        resolve(f"{where}/{rest}")
    assert hint in caught.value.hint


def test_resolve_pins_the_commit_that_the_official_client_sees(hubs):
    hub = hubs["hf.co"]
    info = huggingface_hub.HfApi(endpoint=hub.url, token=False).model_info("unsloth/phi-4-GGUF")
    model = resolve("hf.co/unsloth/phi-4-GGUF")
    assert model.revision == info.sha
    assert f"/resolve/{info.sha}/" in model.files[0].url
    assert model.files[0].source == f"hf.co/unsloth/phi-4-GGUF@{info.sha}/phi-4-Q4_K_M.gguf"


def test_small_files_have_gits_digest(hubs):
    file = next(file for file in resolve("hf.co/microsoft/phi-4").files if file.path == "LICENSE")
    assert file.sha256 is None
    assert file.git_sha1 == hashlib.sha1(b"blob 3\0MIT").hexdigest()


def test_every_page_of_a_listing_is_read(hubs):
    hubs["hf.co"].page_size = 2
    assert len(sources.look(parse("hf.co/unsloth/phi-4-GGUF")).offers) == 3
    assert len([seen for seen in hubs["hf.co"].requests if "/tree/" in seen.path]) == 3


@pytest.mark.parametrize("fault", ["upper_case", "lower_case_keys", "bare_list", "inline"])
def test_modelscopes_listings_have_several_shapes(hubs, fault):
    hub = hubs["modelscope.cn"]
    setattr(hub, fault, True)
    file = resolve("modelscope.cn/unsloth/phi-4-GGUF").files[0]
    assert file.sha256 == sha256(GGUF)
    assert http.get(file.url, credentials=file.credentials).body == GGUF


def test_a_file_without_a_digest_is_still_a_file(hubs):
    hubs["modelscope.cn"].no_digests = True
    assert resolve("modelscope.cn/unsloth/phi-4-GGUF").files[0].sha256 is None


def test_a_listing_that_ends_too_early_is_asked_for_by_folder(hubs, monkeypatch):
    from phi4local.store.sources import modelscope

    monkeypatch.setattr(modelscope, "LISTING_ENDS_AT", 6)
    hub = hubs["modelscope.cn"]
    hub.cap = 6
    names = [f"{folder}/{number}.safetensors" for folder in ["abc", "d"] for number in range(4)]
    hub.add("u/many", {name: name.encode() for name in names} | {"config.json": b"{}"})
    listing = modelscope.look(parse("modelscope.cn/u/many"))
    assert {file.path for file in listing.files} == {*names, "config.json"}


def test_data_sets_of_modelscope_have_pages(hubs):
    files = {f"{number}.jsonl": b"{}" for number in range(450)}
    hubs["modelscope.cn"].add("u/data", files, kind="datasets")
    assert {*paths(resolve("modelscope.cn/datasets/u/data"))} == {*files}


def test_an_error_with_status_200_is_one(hubs):
    hubs["modelscope.cn"].always_200 = True
    with pytest.raises(RemoteNotFoundError, match="模型不存在"):
        resolve("modelscope.cn/no/such")


def test_a_registrys_model_is_its_manifest_and_every_blob(registry):
    manifest = registry.add("library/phi4:14b", [("model", GGUF), ("template", b"{{ .Prompt }}")])
    model = resolve("phi4:14b")
    assert model.manifest == registry.manifests["library/phi4:14b"]
    assert [(file.path, file.size_bytes) for file in model.files] == [
        ("phi4-14b.gguf", 1004),
        ("template", 13),
        ("config", 3),
    ]
    digests = [*(layer["digest"] for layer in manifest["layers"]), manifest["config"]["digest"]]
    assert [f"sha256:{file.sha256}" for file in model.files] == digests
    for status in (307, 302, 200):
        registry.blob_status = status
        assert http.get(model.files[0].url, credentials=model.files[0].credentials).body == GGUF


def test_a_registry_of_another_host_is_asked_by_its_name(registry):
    registry.add("team/phi:v1", [("model", GGUF)])
    model = resolve(f"{registry.url}/team/phi:v1")
    assert model.files[0].source.startswith(f"{registry.host}/team/phi@sha256:")


def test_a_registry_gets_the_token_that_it_hands_out(registry):
    registry.secured = True
    registry.add("library/phi4:14b", [("model", GGUF)])
    model = resolve("phi4:14b")
    assert http.get(model.files[0].url, credentials=model.files[0].credentials).body == GGUF
    token = next(seen for seen in registry.requests if seen.path == "/token")
    assert token.query == {"service": registry.host, "scope": "repository:library/phi4:pull"}
    assert len([seen for seen in registry.requests if seen.path == "/token"]) == 1


def test_a_private_registry_is_told_the_name_and_password_that_are_for_it(registry, monkeypatch):
    registry.secured = True
    registry.private = "Basic bWU6c2VjcmV0"
    registry.add("library/phi4:14b", [("model", GGUF)])
    with pytest.raises(DownloadError) as caught:
        resolve("phi4:14b")
    assert "PHI4LOCAL_REGISTRY_AUTH" in caught.value.hint
    monkeypatch.setenv("PHI4LOCAL_REGISTRY_AUTH", f"{registry.host}=me:secret")
    assert resolve("phi4:14b").files


def test_odd_but_good_manifests_are_taken(registry):
    registry.manifest_length = registry.announces_digest = False
    layers = [("model", GGUF), ("template", b"x"), ("license", b"x"), ("license", b"y")]
    layers.append(("application/vnd.ollama.image.something-new", b"z"))
    registry.add("library/odd:latest", layers, config=None)
    model = resolve("odd")
    assert len(model.files) == 4  # two layers share a blob
    assert len({*paths(model)}) == 4


def test_a_server_that_is_busy_for_a_moment_is_asked_again(hubs, registry):
    registry.add("library/phi4:14b", [("model", GGUF)])
    for hub in (*hubs.values(), registry):
        hub.faults = [Fault(status=503, times=2)]
    for name in ("hf.co/unsloth/phi-4-GGUF", "modelscope.cn/unsloth/phi-4-GGUF", "phi4:14b"):
        assert resolve(name).files


@pytest.mark.parametrize("gated", ["auto", "manual"])
def test_a_gated_model_is_refused_before_its_files_are_asked_for(huggingface, monkeypatch, gated):
    huggingface.add("u/gated", FILES, gated=gated, tokens=("hf_right",))
    with pytest.raises(AccessDeniedError) as caught:
        resolve("hf.co/u/gated")
    assert "https://huggingface.co/u/gated" in caught.value.hint
    assert not any("/resolve/" in seen.path for seen in huggingface.requests)
    monkeypatch.setenv("PHI4LOCAL_TRUST_ENDPOINT", "1")
    monkeypatch.setenv("HF_TOKEN", "hf_right")
    assert resolve("hf.co/u/gated").quantization == "Q4_K_M"
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(AccessDeniedError):
        resolve("hf.co/u/gated")


def test_a_private_model_needs_its_token(huggingface, modelscope, monkeypatch):
    for hub in (huggingface, modelscope):
        hub.add("u/mine", FILES, private=True, tokens=("right",))
    for name, variable in (("hf.co/u/mine", "HF_TOKEN"), ("modelscope.cn/u/mine", "MODELSCOPE_API_TOKEN")):
        with pytest.raises(DownloadError) as caught:
            resolve(name)
        assert variable in caught.value.hint
        monkeypatch.setenv("PHI4LOCAL_TRUST_ENDPOINT", "1")
        monkeypatch.setenv(variable, "right")
        assert resolve(name).files
        monkeypatch.delenv("PHI4LOCAL_TRUST_ENDPOINT")


def test_a_fresh_process_asks_for_the_saved_token_without_help():
    code = (
        "from phi4local.errors import OfflineError; from phi4local.store import references, sources\n"
        "try: sources.resolve(references.parse('hf.co/u/r'))\n"
        "except OfflineError as error: print(error)"
    )
    environment = {**os.environ, "PHI4LOCAL_OFFLINE": "1", "HF_TOKEN": "hf_secret"}
    environment.pop("HF_ENDPOINT", None)
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True)
    assert b"offline" in done.stdout
    assert b"https://huggingface.co" in done.stdout


def test_a_tag_that_a_registry_does_not_have_leads_to_a_near_name(registry):
    with pytest.raises(RemoteNotFoundError, match="there is no `phi4:99b`") as caught:
        resolve("phi4:99b")
    assert "`phi4:14b`" in caught.value.hint
