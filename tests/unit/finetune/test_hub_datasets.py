"""Data sets of both hubs, from real servers on this machine that speak their protocols."""

import json

import pytest

from phi4local.errors import DatasetError, DownloadError
from phi4local.finetune.dataset import DatasetSpec, Identity, at_hub, read_datasets
from phi4local.runtime.snapshot import snapshot
from tests.hubs.fixtures import huggingface, modelscope, no_secrets  # noqa: F401

LINES = "".join(json.dumps({"instruction": f"Say {n}.", "output": str(n)}) + "\n" for n in range(8)).encode()


@pytest.fixture(autouse=True)
def _own_store(tmp_path, monkeypatch):
    monkeypatch.setenv("PHI4LOCAL_HOME", str(tmp_path / "home"))


def read(*names):
    return read_datasets([DatasetSpec.parse(name) for name in names], Identity(), fetch=snapshot)


@pytest.mark.parametrize("name", ["u/data#5", "hf.co/datasets/u/data#5", "HF::u/data#5"])
def test_of_hugging_face(name, huggingface):  # noqa: F811
    huggingface.add("u/data", {"data/train.jsonl": LINES, "README.md": b"# Data"}, kind="datasets")
    assert len({turns[-1].content for turns in read(name)}) == 5


@pytest.mark.parametrize("name", ["AI-ModelScope/data#5", "modelscope.cn/datasets/AI-ModelScope/data#5"])
def test_of_modelscope(name, modelscope):  # noqa: F811
    modelscope.add("AI-ModelScope/data", {"train.jsonl": LINES, "README.md": b"# Data"}, kind="datasets")
    assert len({turns[-1].content for turns in read(name)}) == 5


def test_what_is_not_there_or_has_no_json_is_one_error(huggingface):  # noqa: F811
    huggingface.add("u/tables", {"train.parquet": b"PAR1"}, kind="datasets")
    with pytest.raises(DatasetError, match=r"holds no \*\.jsonl"):
        read("u/tables")
    with pytest.raises(DownloadError):
        read("u/nothing")


@pytest.mark.parametrize(
    "name", ["a.jsonl", "data/a.jsonl", "./u/data", "/u/data", "~/u/data", "data", "XX::u/data"]
)
def test_what_can_only_be_a_file_asks_no_hub(name):
    assert at_hub(name) is None
