"""Sentence models: transformers' numbers from files of the same layout, and an order by the nearest piece."""

import json
import shutil
import string

import numpy
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from phi4local.assistant.retrieval import Collection, Document, Reranker, SentenceModel
from phi4local.assistant.retrieval.documents import Line
from phi4local.assistant.retrieval.sentence_model import MODEL
from phi4local.errors import CheckpointError

torch = pytest.importorskip("torch", reason="torch is not installed")
TEXTS = ["going live", "a " * 400, "deployment", "", "x\ud83d y"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A random BERT of two layers, as sentence-transformers publishes one."""
    from transformers import BertConfig, BertModel

    folder = tmp_path_factory.mktemp("bert")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *string.ascii_letters, "live", "going", "deployment"]
    torch.manual_seed(1)
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
    )
    model = BertModel(config)
    for weights in model.parameters():  # not zeros and ones, which hide a bias or a scale that was left out
        weights.data += 0.2 * torch.randn_like(weights)
    model.save_pretrained(folder)
    tokenizer = Tokenizer(models.WordPiece({word: n for n, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def test_vectors_are_those_of_transformers(folder):
    from transformers import BertModel

    oracle, tokenizer = (
        BertModel.from_pretrained(folder).eval(),
        Tokenizer.from_file(str(folder / "tokenizer.json")),
    )
    expected = []
    for text in TEXTS:
        ids = tokenizer.encode(text.encode(errors="replace").decode()).ids
        ids = [*ids[:255], ids[-1]] if len(ids) > 256 else ids
        with torch.inference_mode():
            mean = oracle(torch.tensor([ids])).last_hidden_state[0].mean(dim=0).numpy()
        expected.append(mean / numpy.linalg.norm(mean))
    numpy.testing.assert_allclose(SentenceModel.open(folder).embed(TEXTS), expected, atol=2e-5)


def test_it_is_found_in_the_cache_of_hugging_face(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    assert SentenceModel.installed() is None
    place = tmp_path / "hub" / f"models--{MODEL.replace('/', '--')}" / "snapshots" / "abc"
    shutil.copytree(folder, place)
    assert SentenceModel.installed().embed(["live"]).shape == (1, 32)


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        ("config.json", lambda data: b"{}", "describes no BERT"),
        ("config.json", lambda data: data.replace(b'"gelu"', b'"relu"'), "is a bert with relu"),
        (
            "config.json",
            lambda data: data.replace(b'"num_hidden_layers": 2', b'"num_hidden_layers": 3'),
            "layer.2",
        ),
        ("model.safetensors", lambda data: data[:-50], "model.safetensors"),
    ],
)
def test_other_models_and_damage_are_errors(folder, tmp_path, name, change, says):
    shutil.copytree(folder, tmp_path / "other")
    path = tmp_path / "other" / name
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(CheckpointError, match=says):
        SentenceModel.open(tmp_path / "other")
    assert json.loads((folder / "config.json").read_text())["num_hidden_layers"] == 2


class Letters:
    """Vectors of length one: how often each letter is in a text; counts what it was asked for."""

    def __init__(self):
        self.texts = []

    def embed(self, texts):
        self.texts += texts
        counts = [[text.count(letter) + 1e-3 for letter in string.ascii_lowercase] for text in texts]
        vectors = numpy.array(counts, dtype=numpy.float32)
        return vectors / numpy.linalg.norm(vectors, axis=1, keepdims=True)


def test_the_nearest_piece_decides_the_order_and_is_computed_once(tmp_path):
    """By words alone the short text is first; the long one has the piece that is all z."""
    texts = {"short": ["find zzz abcdefghij"], "long": ["a find " + "b" * 690, "z" * 300, "c" * 690]}
    documents = [
        Document(tmp_path / name, name, tuple(Line(n, text) for n, text in enumerate(lines, 1)), "text")
        for name, lines in texts.items()
    ]
    assert next(passage.name for passage in Collection(documents).search("find zzz")) == "short"
    letters = Letters()
    collection = Collection(documents, reranker=Reranker(letters))
    assert [passage.name for passage in collection.search("find zzz zzz zzz zzz")] == ["long", "short"]
    asked = len(letters.texts)
    assert [passage.name for passage in collection.search("find zzz zzz zzz zzz", 1)] == ["long"]
    assert len(letters.texts) == asked + 1  # the question
    assert collection.search("nothing") == []
