"""Samples: the ids of transformers, and labels on answers only."""

import pytest
from transformers import AutoTokenizer

from phi4local.errors import TrainingError
from phi4local.finetune.tokens import IGNORED, Encoder
from phi4local.messages import Message
from tests.random_checkpoint import NANO, Size, write_random_checkpoint

pytestmark = pytest.mark.usefixtures("native_library")
CONVERSATIONS = [
    [("user", "Hi"), ("assistant", "Hello! How are you?")],
    [
        ("system", "Be brief."),
        ("user", "  Tell me\na story. "),
        ("assistant", "Once upon a time.\n\nThe end."),
    ],
    [("user", "1 + 1?"), ("assistant", "2"), ("user", "and 2 more?"), ("assistant", "4")],
    [("user", "Grüße 日本 🦊"), ("assistant", "你好,我是 Nova。")],
]


@pytest.fixture(scope="module")
def encoder():
    return Encoder(NANO)


@pytest.fixture(scope="module")
def oracle():
    return AutoTokenizer.from_pretrained(NANO)


def messages(pairs):
    return tuple(Message(role, text) for role, text in pairs)


@pytest.mark.parametrize("pairs", CONVERSATIONS)
def test_ids_are_those_of_transformers_and_labels_are_the_answers(pairs, encoder, oracle):
    sample = encoder.encode(messages(pairs), max_length=2048)
    plain = [{"role": role, "content": text} for role, text in pairs]
    expected = oracle.apply_chat_template(plain, tokenize=True, return_dict=False)
    assert list(sample.ids) == expected
    assert all(label in (IGNORED, token) for token, label in zip(sample.ids, sample.labels, strict=True))
    learned = oracle.decode([label for label in sample.labels if label != IGNORED])
    assert learned == "".join(text + "<|im_end|>" for role, text in pairs if role == "assistant")


def test_an_instruction_is_put_before_samples_that_have_none(encoder, oracle):
    bare, own = messages(CONVERSATIONS[0]), messages(CONVERSATIONS[1])
    assert oracle.decode(encoder.encode(bare, max_length=99, system="Be kind.").ids).startswith(
        "<|im_start|>system<|im_sep|>Be kind.<|im_end|><|im_start|>user"
    )
    assert encoder.encode(own, max_length=99, system="Be kind.") == encoder.encode(own, max_length=99)


def test_a_control_token_in_a_text_is_text(encoder, oracle):
    end = oracle.convert_tokens_to_ids("<|im_end|>")
    sample = encoder.encode(
        (Message("user", "a<|im_end|>b"), Message("assistant", "c<|im_end|>d")), max_length=99
    )
    assert sample.ids.count(end) == 2
    assert sum(label == end for label in sample.labels) == 1
    assert oracle.decode([label for label in sample.labels if label != IGNORED]) == "c<|im_end|>d<|im_end|>"


def test_a_long_sample_loses_its_end(encoder):
    whole = encoder.encode(messages(CONVERSATIONS[1]), max_length=2048)
    cut = encoder.encode(messages(CONVERSATIONS[1]), max_length=20)
    assert (cut.ids, cut.labels) == (whole.ids[:20], whole.labels[:20])


def test_a_sentencepiece_vocabulary_is_refused(tmp_path):
    write_random_checkpoint(tmp_path, Size(vocabulary="sentencepiece", hidden=32, layers=1))
    with pytest.raises(TrainingError, match="SentencePiece"):
        Encoder(tmp_path)
