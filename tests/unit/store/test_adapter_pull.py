"""Adapters of both hubs, from real servers on this machine."""

import pytest

from phi4local.errors import AdapterError, DownloadError
from phi4local.runtime.adapter_pull import fetch_adapter
from phi4local.store import home
from tests.hubs.fixtures import huggingface, modelscope, no_secrets  # noqa: F401
from tests.peft_folders import ADAPTERS
from tests.random_checkpoint import Size, write_random_checkpoint

PEFT = {path.name: path for path in (ADAPTERS / "lora").iterdir()}
GGUF = b"GGUF" + bytes(100)


@pytest.fixture(autouse=True)
def _own_store(tmp_path, monkeypatch):
    monkeypatch.setenv("PHI4LOCAL_HOME", str(tmp_path / "home"))
    (tmp_path / "to").mkdir()


@pytest.mark.parametrize(
    ("host", "inside"), [("hf.co", ""), ("hf.co", "checkpoint-50/"), ("modelscope.cn", "")]
)
def test_a_peft_folder_comes_whole_and_nothing_else(host, inside, tmp_path, huggingface, modelscope):  # noqa: F811
    hub = huggingface if host == "hf.co" else modelscope
    more = {"README.md": b"# Mine", "optimizer.pt": bytes(9)}
    hub.add("u/mine", {f"{inside}{name}": content for name, content in {**PEFT, **more}.items()})
    place = f"{host}/u/mine" + (f"/tree/main/{inside.rstrip('/')}" if inside else "")
    reports = []
    found = fetch_adapter(place, tmp_path / "to", progress=reports.append)
    assert found == tmp_path / "to"
    total = sum(len(PEFT[name].read_bytes()) for name in ("adapter_config.json", "adapter_model.safetensors"))
    assert {(report.stage, report.total) for report in reports} == {("pulling", total)}
    done = [report.done for report in reports]
    assert (done, done[-1]) == (sorted(done), total)
    assert {path.name for path in found.iterdir()} == {"adapter_config.json", "adapter_model.safetensors"}
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        assert (found / name).read_bytes() == PEFT[name].read_bytes()
    assert not [path for path in home.blobs_folder().glob("*") if path.stat().st_size > 1000]


def test_a_person_adds_one_by_its_repository(tmp_path, run_cli, huggingface):  # noqa: F811
    write_random_checkpoint(tmp_path / "c", Size(hidden=32, feed_forward=48, layers=1), dtype="F32")
    huggingface.add("u/mine", {name: path.read_bytes() for name, path in PEFT.items()})
    added = run_cli(["adapters", "add", "hf.co/u/mine", "--base", "./c"], cwd=tmp_path)
    assert added.returncode == 0, added.stderr
    assert added.stderr == "kept mine; use it with `phi4local chat ./c --adapter mine`\n"
    missing = run_cli(["adapters", "add", "hf.co/u/nothing"])
    assert (missing.returncode, missing.stderr.count("error: "), missing.stderr.count("\n")) == (1, 1, 2)


def test_a_gguf_file_comes_by_itself(tmp_path, huggingface):  # noqa: F811
    huggingface.add("u/mine", {"mine.gguf": GGUF})
    assert fetch_adapter("hf.co/u/mine", tmp_path / "to").read_bytes() == GGUF


@pytest.mark.parametrize(
    ("files", "says"),
    [({"README.md": b"x"}, "has no adapter_config"), ({"a.gguf": GGUF, "b.gguf": GGUF}, "has 2 GGUF files")],
)
def test_what_holds_no_adapter_is_one_error(files, says, tmp_path, huggingface):  # noqa: F811
    huggingface.add("u/mine", files)
    with pytest.raises(AdapterError, match=says):
        fetch_adapter("hf.co/u/mine", tmp_path / "to")
    with pytest.raises(DownloadError):
        fetch_adapter("hf.co/u/nothing", tmp_path / "to")
    with pytest.raises(AdapterError, match="registry"):
        fetch_adapter("registry.ollama.ai/library/phi4", tmp_path / "to")
