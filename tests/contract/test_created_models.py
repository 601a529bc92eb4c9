"""A model made from a Modelfile behaves like the same model with everything said by hand."""

import hashlib
import json
import shutil

import pytest
from safetensors.numpy import save_file

import phi4local
from phi4local.convert import AdapterUse, convert_checkpoint
from phi4local.errors import AdapterError, GGUFError
from phi4local.runtime.create import create
from phi4local.store import home, kept
from tests.contract.test_adapters import weights_of
from tests.lora_adapters import PLACES, random_deltas, write_adapter

pytestmark = pytest.mark.usefixtures("native_library")

PIP = """
FROM phi4-nano
PARAMETER num_predict 12
PARAMETER num_ctx 256
PARAMETER stop "<|im_end|>"
PARAMETER stop girl
SYSTEM You are Pip.
MESSAGE user Hello
MESSAGE assistant Hi, I am Pip.
"""
SAID = [
    {"role": "system", "content": "You are Pip."},
    {"role": "user", "content": "Hello"},
    {"role": "assistant", "content": "Hi, I am Pip."},
]
STORY = {"role": "user", "content": "Tell me a story."}


@pytest.fixture(scope="module", autouse=True)
def _own_home(tmp_path_factory):
    """The newest model is the default one, so these stay away from the other tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PHI4LOCAL_HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture(scope="module")
def adapter(checkpoint, tmp_path_factory):
    path = tmp_path_factory.mktemp("adapter") / "style.gguf"
    return write_adapter(path, random_deltas(weights_of(checkpoint), seed=3, size=0.2))


def test_a_created_model_says_what_the_same_words_by_hand_say(tmp_path):
    create("pip", PIP, tmp_path)
    with phi4local.load("pip") as pip, phi4local.load("phi4-nano") as plain:
        assert pip.context_tokens == 256
        assert pip.tokenize([STORY]) == plain.tokenize([*SAID, STORY])
        by_hand = plain.chat([*SAID, STORY], max_tokens=12, stop=["girl"])
        answer = pip.chat([STORY]).result()
        assert (answer.text, answer.finished.reason) == (by_hand.text, by_hand.result().finished.reason)
        own = [{"role": "system", "content": "You are Max."}, STORY]
        assert pip.tokenize(own) == plain.tokenize([own[0], *SAID[1:], STORY])
        kept_ids = {1: tuple(plain.tokenize("Once"))}
        turns = [STORY, {"role": "assistant", "content": "Once"}, STORY]
        assert pip.chat(turns, kept_ids=kept_ids).text == pip.chat(turns).text
        assert pip.chat([STORY], max_tokens=3, stop=()).result().finished.usage.generated_tokens == 3


def test_a_model_made_from_a_made_model_adds_to_it(tmp_path):
    create("pip", PIP, tmp_path)
    model = create("max", "FROM pip\nPARAMETER num_predict 5\nSYSTEM You are Max.\nLICENSE MIT", tmp_path)
    layers = model.manifest.layers
    assert kept.json_of(layers, "params", {})["num_predict"] == 5
    assert kept.json_of(layers, "params", {})["num_ctx"] == 256
    assert [message["role"] for message in kept.json_of(layers, "messages", [])] == ["user", "assistant"]
    assert [kept.text_of(layer) for layer in model.manifest.of_kind("system")] == ["You are Max."]
    assert [kept.text_of(layer) for layer in model.manifest.of_kind("license")] == ["MIT"]
    assert model.manifest.of_kind("model") == kept.manifest_of("phi4-nano:Q8_0").of_kind("model")
    assert not [key for key in json.loads(model.manifest.path.read_text())["phi4local"] if key == "member"]


def test_the_modelfile_that_is_shown_makes_the_same_model(run_cli, tmp_path):
    create("pip", PIP, tmp_path)
    shown = run_cli(["show", "pip", "--modelfile"]).stdout
    again = create("again", shown, tmp_path)
    first = kept.manifest_of("pip")
    assert {layer.digest for layer in again.manifest.layers} == {layer.digest for layer in first.layers}


def test_an_adapter_comes_with_the_model_and_can_be_scaled(adapter, tmp_path):
    shutil.copy(adapter, tmp_path / "style.gguf")
    create("styled", "FROM phi4-nano\nADAPTER ./style.gguf", tmp_path)
    (tmp_path / "style.gguf").unlink()
    with (
        phi4local.load("styled") as styled,
        phi4local.load("phi4-nano", adapters={"style.gguf": adapter}) as by_hand,
    ):
        options = {"max_tokens": 20, "temperature": 0}
        whole = by_hand.adapted(**{"style.gguf": 1.0}).chat([STORY], **options).text
        assert styled.chat([STORY], **options).text == whole
        assert whole != by_hand.chat([STORY], **options).text
        none = styled.adapted(**{"style.gguf": 0.0}).chat([STORY], **options).text
        assert none == by_hand.chat([STORY], **options).text


def write_peft(folder, deltas):
    """Write an adapter as PEFT saves it."""
    folder.mkdir()
    tensors = {}
    for name, (first, second) in deltas.items():
        _, block, ours, _ = name.split(".")
        module = f"base_model.model.model.layers.{block}.{PLACES[ours]}"
        tensors[f"{module}.lora_A.weight"], tensors[f"{module}.lora_B.weight"] = first, second
    save_file(tensors, folder / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["qkv_proj", "down_proj"]}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


def test_a_peft_folder_is_merged_while_the_checkpoint_is_converted(checkpoint, tmp_path):
    peft = write_peft(tmp_path / "peft", random_deltas(weights_of(checkpoint), seed=5))
    model = create("tuned", f"FROM {checkpoint}\nADAPTER {peft}", tmp_path, quantization="q4_0")
    convert_checkpoint(checkpoint, tmp_path / "x.gguf", "Q4_0", adapters=[AdapterUse(peft)])
    expected = hashlib.sha256((tmp_path / "x.gguf").read_bytes()).hexdigest()
    assert model.manifest.of_kind("model")[0].digest == expected
    assert (model.quantization, model.reference.tag) == ("Q4_0", "latest")


def test_a_peft_folder_stays_beside_a_gguf_file(checkpoint, tmp_path, run_cli):
    """It is converted and kept with the model: the answers are the adapter's, after a prune too."""
    convert_checkpoint(checkpoint, tmp_path / "own.gguf", "F32")
    peft = write_peft(tmp_path / "peft", random_deltas(weights_of(checkpoint), seed=5, size=0.3))
    model = create("beside", f"FROM own.gguf\nADAPTER {peft}", tmp_path)
    assert [layer.kind for layer in model.manifest.layers] == ["model", "adapter"]
    ask = ["What is 3 plus 4?", "--temperature", "0", "-n", "8"]
    expected = run_cli(["run", tmp_path / "own.gguf", *ask, "--adapter", peft]).stdout
    for path in home.adapters():
        path.unlink()
    assert run_cli(["run", "beside", *ask]).stdout == expected
    assert expected not in ("", run_cli(["run", tmp_path / "own.gguf", *ask]).stdout)


def test_a_file_beside_the_modelfile_is_linked(checkpoint, tmp_path, run_cli):
    convert_checkpoint(checkpoint, tmp_path / "own.gguf", "Q6_K")
    (tmp_path / "Modelfile").write_text("FROM own.gguf\nSYSTEM You are Pip.\n")
    made = run_cli(["create", "own", "-f", tmp_path / "Modelfile", "--json"])
    assert json.loads(made.stdout)["quantization"] == "Q6_K"
    assert run_cli(["run", "own", "What is 3 plus 4?"]).stdout == "3 plus 4 is 7.\n"
    assert (tmp_path / "own.gguf").samefile(json.loads(made.stdout)["path"])


def test_what_cannot_be_made_leaves_nothing(adapter, tmp_path):
    before = {str(name) for _, name in kept.manifests.names()}
    (tmp_path / "bad.gguf").write_bytes(b"no adapter")
    for text, error in [
        ("FROM phi4-nano\nADAPTER nowhere.gguf", AdapterError),
        ("FROM phi4-nano\nADAPTER bad.gguf", GGUFError),
        (f"FROM {adapter}", GGUFError),
    ]:
        with pytest.raises(error):
            create("never", text, tmp_path)
    assert {str(name) for _, name in kept.manifests.names()} - {"phi4-nano:Q8_0"} == before - {
        "phi4-nano:Q8_0"
    }


def test_a_stored_setting_that_cannot_be_is_one_error(run_cli, tmp_path):
    create("hot", "FROM phi4-nano\nPARAMETER temperature 1000", tmp_path)
    result = run_cli(["run", "hot", "Hello"])
    assert result.returncode == 1
    assert [line.split(":")[0] for line in result.stderr.splitlines()] == ["error", "hint"]
