"""Names, links and command lines; the expected parts are those of Ollama's own grammar (name.go)."""

import hypothesis
import pytest
from hypothesis import strategies

from phi4local import catalog
from phi4local.errors import InvalidReferenceError
from phi4local.store.references import Reference, of_member, parse
from phi4local.store.sources.huggingface import endpoint_of

OLLAMA = "registry.ollama.ai"


@pytest.mark.parametrize(
    ("text", "host", "owner", "name", "tag", "scheme"),
    [
        ("phi4", OLLAMA, "library", "phi4", "latest", "https"),
        ("phi4:14b", OLLAMA, "library", "phi4", "14b", "https"),
        ("registry.ollama.ai/library/phi4:14b", OLLAMA, "library", "phi4", "14b", "https"),
        ("hf.co/unsloth/phi-4-GGUF:Q4_K_M", "hf.co", "unsloth", "phi-4-GGUF", "Q4_K_M", "https"),
        ("modelscope.cn/unsloth/phi-4-GGUF", "modelscope.cn", "unsloth", "phi-4-GGUF", None, "https"),
        ("http://127.0.0.1:5000/library/phi4:14b", "127.0.0.1:5000", "library", "phi4", "14b", "http"),
        ("127.0.0.1:5000/library/phi4", "127.0.0.1:5000", "library", "phi4", "latest", "http"),
        ("localhost:5000/library/phi4", "localhost:5000", "library", "phi4", "latest", "http"),
        ("https://reg.example.com/team/phi:v1", "reg.example.com", "team", "phi", "v1", "https"),
        ("myhost/team/phi", "myhost", "team", "phi", "latest", "https"),
    ],
)
def test_names_are_read_as_ollama_reads_them(text, host, owner, name, tag, scheme):
    found = parse(text)
    assert (found.host, found.owner, found.name, found.tag, found.scheme) == (host, owner, name, tag, scheme)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("hf.co/unsloth/phi-4-GGUF", "hf.co/unsloth/phi-4-GGUF"),
        ("huggingface.co/unsloth/phi-4-GGUF:latest", "hf.co/unsloth/phi-4-GGUF"),
        ("hf://unsloth/phi-4-GGUF", "hf.co/unsloth/phi-4-GGUF"),
        ("hf://unsloth/phi-4-GGUF@v1.0/phi-4-Q8_0.gguf", "hf.co/unsloth/phi-4-GGUF@v1.0/phi-4-Q8_0.gguf"),
        ("hf://u/r@refs%2Fpr%2F3", "hf.co/u/r@refs%2Fpr%2F3"),
        ("ms://LLM-Research/phi-4", "modelscope.cn/LLM-Research/phi-4"),
        ("https://huggingface.co/unsloth/phi-4-GGUF", "hf.co/unsloth/phi-4-GGUF"),
        ("https://huggingface.co/unsloth/phi-4-GGUF/tree/main", "hf.co/unsloth/phi-4-GGUF"),
        ("https://huggingface.co/u/r/tree/main/BF16/", "hf.co/u/r/BF16/"),
        ("https://huggingface.co/u/r/blob/main/x.gguf", "hf.co/u/r/x.gguf"),
        ("https://huggingface.co/u/r/resolve/abc/d/x.gguf?download=true", "hf.co/u/r@abc/d/x.gguf"),
        ("https://huggingface.co/u/r/tree/refs%2Fpr%2F3", "hf.co/u/r@refs%2Fpr%2F3"),
        ("https://huggingface.co/u/r#readme", "hf.co/u/r"),
        ("https://huggingface.co/datasets/u/r/tree/main", "hf.co/datasets/u/r"),
        ("hf.co/datasets/u/r#500", "hf.co/datasets/u/r#500"),
        ("https://modelscope.cn/models/u/r", "modelscope.cn/u/r"),
        ("https://www.modelscope.cn/models/u/r/files", "modelscope.cn/u/r"),
        ("https://modelscope.cn/models/u/r/summary", "modelscope.cn/u/r"),
        ("https://modelscope.cn/models/u/r/file/view/master/x.gguf?status=2", "modelscope.cn/u/r/x.gguf"),
        ("https://modelscope.cn/models/u/r/resolve/v2/x.gguf", "modelscope.cn/u/r@v2/x.gguf"),
        ("https://modelscope.cn/datasets/u/r", "modelscope.cn/datasets/u/r"),
        ("https://www.modelscope.ai/models/u/r", "modelscope.ai/u/r"),
        ("https://ollama.com/library/phi4:14b", f"{OLLAMA}/library/phi4:14b"),
        ("ollama run phi4:14b", f"{OLLAMA}/library/phi4:14b"),
        ('$ ollama run --verbose hf.co/unsloth/phi-4-GGUF:Q8_0 "hi there"', "hf.co/unsloth/phi-4-GGUF:Q8_0"),
        ("ollama pull phi4-mini", f"{OLLAMA}/library/phi4-mini:latest"),
        ("  `phi4`\n", f"{OLLAMA}/library/phi4:latest"),
        ("phi-4", "hf.co/microsoft/phi-4-gguf"),
        ("PHI-4:q8_0", "hf.co/microsoft/phi-4-gguf:q8_0"),
        ("microsoft/phi-4", "hf.co/microsoft/phi-4"),
        ("LLM-Research/phi-4", "modelscope.cn/LLM-Research/phi-4"),
        ("hf.co/u/r:phi-4-Q4_K_M.gguf", "hf.co/u/r:phi-4-Q4_K_M.gguf"),
    ],
)
def test_links_and_lines_become_one_canonical_name(text, canonical):
    found = parse(text)
    assert str(found) == canonical
    assert parse(canonical) == found


@pytest.mark.parametrize(
    ("text", "source", "canonical"),
    [
        ("LLM-Research/phi-4", "modelscope", "modelscope.cn/LLM-Research/phi-4"),
        ("unsloth/phi-4-GGUF:Q4_0", "hf", "hf.co/unsloth/phi-4-GGUF:Q4_0"),
        ("unsloth/phi-4-GGUF", "ollama", f"{OLLAMA}/unsloth/phi-4-GGUF:latest"),
        ("u/r/x.gguf", "ms", "modelscope.cn/u/r/x.gguf"),
        ("phi-4", "modelscope", "modelscope.cn/unsloth/phi-4-GGUF"),
        ("phi-4", "ollama", f"{OLLAMA}/library/phi4:14b"),
        ("hf.co/u/r:Q4_0", "registry", "hf.co/u/r:Q4_0"),
    ],
)
def test_a_source_decides(text, source, canonical):
    assert str(parse(text, source=source)) == canonical


def test_the_registry_of_a_hub_can_be_forced():
    assert parse("hf.co/u/r:Q4_0", source="registry").kind == "registry"
    assert parse("hf.co/u/r:Q4_0").kind == "huggingface"


@pytest.mark.parametrize(
    ("text", "source", "hint"),
    [
        ("127.0.0.1:5000/phi4", None, "give 127.0.0.1:5000/NAMESPACE/MODEL:TAG"),
        ("http://127.0.0.1:5000/phi4", None, "give 127.0.0.1:5000/NAMESPACE/MODEL:TAG"),
        ("localhost:5000/a/b/c:t", None, "give localhost:5000/NAMESPACE/MODEL:TAG"),
        ("phi4@sha256:" + "0" * 64, None, "NAME:TAG"),
        ("a/b:", "hf", "[host/owner/]model[:tag]"),
        ("someone/phi-4", None, "`hf.co/someone/phi-4`, `modelscope.cn/someone/phi-4` or `registry"),
        ("unsloth/phi-4-GGUF", None, "`hf.co/unsloth/phi-4-GGUF` or `modelscope.cn/unsloth/phi-4-GGUF`"),
        ("http://reg.example.com/team/phi", None, "--insecure"),
        ("hf.co/u/r", "modelscope", "leave out"),
        ("u/r", "github", "choose one of"),
        ("nothing", "hf", "OWNER/nothing"),
        ("phi4-nano", None, "nothing to pull"),
        ("phi-4-reasoning", "modelscope", "huggingface"),
        ("https://huggingface.co/u/r/discussions/4", None, "paste the address"),
        ("ftp://hf.co/u/r", None, "https://"),
        ("hf.co/u", None, "OWNER/NAME"),
        ("hf.co/u/r:Q4_0/x.gguf", None, "not both"),
        ("hf.co/u/r/blob/main/../../x.gguf", None, "model"),
        ("https://huggingface.co/u/r/blob/main/%2e%2e/%2e%2e/x.gguf", None, "model"),
        ("hf.co/../r", None, "letters"),
        ("[bold]/u/r", None, "name"),
        ("[::1/u/r", None, "HOST"),
        ("hf.co/u/..", None, "letters"),
        ("hf.co/u/r@..%2f..%2fx", None, "branch"),
        ("./phi4", None, "file"),
        ("/etc/passwd", None, "file"),
        ("~/phi4", None, "file"),
        ("C:/phi4", None, "file"),
        ("C:\\phi4", None, "name"),
        ("phi4 14b", None, "name"),
        ("phi4\x1b[2J", None, "name"),
        ("ph\u04564", None, "name"),
        ("", None, "list"),
        ("a" * 81, None, "80"),
        ("x" * 3000, None, "list"),
    ],
)
def test_what_is_no_name_is_explained(text, source, hint):
    with pytest.raises(InvalidReferenceError) as caught:
        parse(text, source=source)
    assert hint in caught.value.hint
    assert len(str(caught.value)) < 300


def test_http_to_other_machines_is_possible_if_wanted():
    assert parse("http://reg.example.com/team/phi", insecure=True).scheme == "http"
    assert str(parse("http://reg.example.com/team/phi", insecure=True)).startswith("http://reg.example.com/")


def test_an_endpoint_of_the_environment_is_its_hub(monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:5000")
    assert parse("http://127.0.0.1:5000/u/r").kind == "huggingface"
    assert parse("http://127.0.0.1:5001/u/r").kind == "registry"
    assert parse("http://127.0.0.1:5001/u/r", source="modelscope").kind == "modelscope"


@pytest.mark.parametrize("endpoint", ["http://[x", "http://[::1", "https://[v1.]/"])
def test_an_endpoint_that_is_no_address_stands_for_nothing_and_its_hub_says_so(monkeypatch, endpoint):
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    monkeypatch.setenv("MODELSCOPE_ENDPOINT", endpoint)
    assert parse("127.0.0.1:5000/u/r").kind == "registry"
    with pytest.raises(InvalidReferenceError, match="HF_ENDPOINT") as caught:
        endpoint_of(parse("hf.co/u/r"))
    assert "HF_ENDPOINT" in caught.value.hint


def test_case_is_kept_and_ignored_in_comparisons():
    one, other = parse("HF.co/Unsloth/Phi-4-gguf:q4_k_m"), parse("hf.co/unsloth/phi-4-GGUF:Q4_K_M")
    assert one.name == "Phi-4-gguf"
    assert one != other
    assert one.same_as(other)


@pytest.mark.parametrize(
    ("text", "member"),
    [
        ("hf.co/unsloth/phi-4-GGUF:Q4_0", "phi-4"),
        ("phi4:14b", "phi-4"),
        ("phi4:unknown", None),
        ("modelscope.cn/llm-research/PHI-4", "phi-4"),
        ("hf.co/someone/else", None),
        ("phi-4-mini-instruct", "phi-4-mini-instruct"),
    ],
)
def test_the_member_that_is_known_to_be_there_is_named(text, member):
    assert parse(text).member == member


def test_a_reference_has_a_name_in_the_store():
    assert str(parse("hf.co/unsloth/phi-4-GGUF").stored_as("Q4_K_M")) == "hf.co/unsloth/phi-4-GGUF:Q4_K_M"
    assert str(parse("phi4").stored_as()) == "phi4:latest"
    assert str(parse("hf.co/a/b").stored_as()) != str(parse("hf.co/datasets/a/b").stored_as())
    assert parse("127.0.0.1:5000/a/b").stored_as().host == "127.0.0.1:5000"


@pytest.mark.parametrize("name", catalog.model_names())
@pytest.mark.parametrize("source", ["huggingface", "modelscope", "registry"])
def test_every_place_in_the_manifests_is_a_name(name, source):
    try:
        found = of_member(catalog.find(name), source=source)
    except InvalidReferenceError:
        return
    assert parse(str(found), source=source) == found


PART = strategies.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,12}", fullmatch=True)


@strategies.composite
def references(draw):
    kind = draw(strategies.sampled_from(["huggingface", "modelscope", "registry"]))
    hosts = {"huggingface": ["hf.co"], "modelscope": ["modelscope.cn", "modelscope.ai"]}
    hosts["registry"] = [OLLAMA, "reg.example.com:5000"]
    more = {"tag": draw(PART)}
    if kind != "registry":
        files = strategies.sampled_from([None, "x.gguf", "Q4/a b%41.gguf", "folder.d/"])
        more = {"revision": draw(PART.filter(lambda part: part not in ("main", "master")))}
        more |= {"file": draw(files), "dataset": draw(strategies.booleans())}
        more |= {"examples": draw(strategies.none() | strategies.integers(0, 999999999))}
        if not more["file"]:
            more["tag"] = draw(PART.filter(lambda part: part != "latest"))
    return Reference(
        kind=kind,
        host=draw(strategies.sampled_from(hosts[kind])),
        owner=draw(PART.filter(lambda part: part not in ("datasets", "models"))),
        name=draw(PART),
        **more,
    )


@hypothesis.given(references())
def test_the_canonical_text_is_read_back(reference):
    assert parse(str(reference)) == reference


@hypothesis.given(
    strategies.text(max_size=60) | strategies.text("aB0/:@.#%-_~\\?&=hfmso", max_size=40),
    strategies.sampled_from([None, "hf", "ms", "ollama"]),
)
def test_any_text_is_a_name_or_explained(text, source):
    try:
        found = parse(text, source=source)
    except InvalidReferenceError as error:
        explained = error
    else:
        assert ".." not in f"{found.owner}/{found.name}/{found.tag}/{found.revision}/{found.file}".split("/")
        return
    assert explained.hint
    assert str(explained).isprintable()
