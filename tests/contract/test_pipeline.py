"""The pipeline call of Phi-4's model card, beside what transformers returned for it."""

import json
from pathlib import Path

import pytest

import phi4local
from phi4local.errors import ContextTooLongError, InvalidSettingError, ModelNotInstalledError
from phi4local.settings import LoadSettings

CASES = json.loads((Path(__file__).parents[1] / "golden" / "python_api.json").read_text("utf-8"))["pipeline"]
HELLO = [{"role": "user", "content": "Hello"}]


@pytest.fixture(scope="module")
def pipeline(native_library):
    with phi4local.pipeline("text-generation", model="phi4-nano:F32", device_map="cpu") as pipeline:
        yield pipeline


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_outputs_are_those_of_transformers(pipeline, case):
    options = dict(case["options"])
    if "temperature" in options:
        options["do_sample"] = False  # transformers was told the same
    assert pipeline(case["inputs"], **options) == case["outputs"]


@pytest.mark.usefixtures("native_library")
@pytest.mark.parametrize("line", ["import phi4local as transformers", "from phi4local import pipeline"])
def test_the_snippet_of_the_model_card_runs_with_its_import_line_changed(line, capsys):
    # The card of microsoft/phi-4; its import line and its model are the only changes.
    snippet = """
import phi4local as transformers

pipeline = transformers.pipeline(
    "text-generation",
    model="phi4-nano:F32",
    model_kwargs={"torch_dtype": "auto"},
    device_map="auto",
)

messages = [
    {
        "role": "system",
        "content": "You are a medieval knight and must provide explanations to modern people.",
    },
    {"role": "user", "content": "How should I explain the Internet?"},
]

outputs = pipeline(messages, max_new_tokens=128)
print(outputs[0]["generated_text"][-1])
"""
    if "from" in line:
        snippet = snippet.replace("import phi4local as transformers", line).replace("transformers.", "")
    names = {}
    exec(snippet, names)
    names["pipeline"].close()
    (case,) = [case for case in CASES if case["name"] == "the model card"]
    assert names["outputs"] == case["outputs"]
    assert capsys.readouterr().out == f"{case['outputs'][0]['generated_text'][-1]}\n"


def test_no_inputs_give_no_outputs(pipeline):
    assert pipeline([]) == []


@pytest.mark.usefixtures("native_library")
def test_a_batch_gives_what_its_inputs_give_alone(pipeline):
    texts = [case["inputs"] for case in CASES if isinstance(case["inputs"], str)] + ["One day", "Pip the fox"]
    with phi4local.pipeline("text-generation", model="phi4-nano:F32", batch_size=3) as batched:
        assert batched.model.facts.settings.parallel == 3
        assert batched(texts, max_new_tokens=12) == [pipeline(text, max_new_tokens=12) for text in texts]


def test_messages_may_be_messages(pipeline):
    (output,) = pipeline([phi4local.Message("user", "What is 3 plus 4?")], max_new_tokens=20)
    assert output["generated_text"][-1] == {"role": "assistant", "content": "3 plus 4 is 7."}


def test_sampling_gives_as_many_answers_as_asked(pipeline):
    outputs = pipeline(
        "One day", max_new_tokens=12, do_sample=True, temperature=2.0, top_k=0, num_return_sequences=4
    )
    assert len({output["generated_text"] for output in outputs}) > 1
    assert len(outputs) == 4


def test_what_a_pipeline_is_made_with_counts_for_every_call(pipeline):
    same = phi4local.pipeline(
        "text-generation", model=pipeline.model, max_new_tokens=2, return_full_text=False
    )
    longer = same("One day a girl", max_new_tokens=6)[0]["generated_text"]
    assert longer.startswith(same("One day a girl")[0]["generated_text"])
    assert len(longer) > len(same("One day a girl")[0]["generated_text"])


@pytest.mark.parametrize(
    ("inputs", "options", "named"),
    [
        (HELLO, {"max_tokens": 5}, "max_tokens"),
        (HELLO, {"repetition_penalty": 1.1}, "repetition_penalty"),
        (HELLO, {"max_new_tokens": 0}, "max_new_tokens"),
        (HELLO, {"num_return_sequences": 0}, "num_return_sequences"),
        (HELLO, {"max_length": 3}, "max_length"),
        (HELLO, {"temperature": 0.5}, "temperature"),
        (HELLO, {"do_sample": True, "temperature": -1}, "temperature"),
        (HELLO, {"num_return_sequences": 2}, "num_return_sequences"),
        ([*HELLO, {"role": "assistant", "content": "Hi"}], {}, "text_inputs"),
        ([HELLO, 7], {}, "messages"),
        (7, {}, "messages"),
    ],
)
def test_what_it_does_not_know_is_refused_and_named(pipeline, inputs, options, named):
    with pytest.raises(InvalidSettingError, match=named) as caught:
        pipeline(inputs, **options)
    assert caught.value.hint


def test_an_input_that_fails_leaves_nothing_running(pipeline):
    with pytest.raises(ContextTooLongError):
        pipeline(["One day", "word " * 3000, "One day"])
    assert pipeline("Pip the fox", max_new_tokens=5)[0]["generated_text"] == "Pip the fox."


@pytest.mark.parametrize(
    ("task", "arguments", "named"),
    [
        ("summarization", {}, "task"),
        ("text-generation", {"tokenizer": "phi4-nano"}, "tokenizer"),
        ("text-generation", {"model_kwargs": {"load_in_4bit": True}}, "load_in_4bit"),
        ("text-generation", {"model_kwargs": {"torch_dtype": "int7"}}, "torch_dtype"),
        ("text-generation", {"device_map": "moon"}, "device_map"),
        ("text-generation", {"model": "./there.gguf", "torch_dtype": "float32"}, "torch_dtype"),
    ],
)
def test_a_pipeline_that_it_cannot_make_is_refused_before_anything_is_loaded(task, arguments, named):
    with pytest.raises(InvalidSettingError, match=named):
        phi4local.pipeline(task, **{"model": "phi4-nano", **arguments})


def test_an_open_model_cannot_be_loaded_otherwise(pipeline):
    for loading in ({"batch_size": 2}, {"device_map": "cpu"}, {"torch_dtype": "float32"}):
        with pytest.raises(InvalidSettingError, match="open already"):
            phi4local.pipeline("text-generation", model=pipeline.model, **loading)


@pytest.mark.usefixtures("native_library")
def test_a_dtype_chooses_the_quantization(pipeline):
    class Float32:
        """Stands for `torch.float32`, whose text is this."""

        def __str__(self):
            return "torch.float32"

    with phi4local.pipeline("text-generation", model="phi4-nano", dtype=Float32(), device="cpu") as made:
        assert made.model.facts.size_bytes == pipeline.model.facts.size_bytes
    with phi4local.load("phi4-nano", LoadSettings(context_tokens=64)) as usual:
        assert usual.facts.size_bytes < pipeline.model.facts.size_bytes


def test_the_name_on_hugging_face_is_the_name_here(tmp_path, monkeypatch):
    monkeypatch.setenv("PHI4LOCAL_HOME", str(tmp_path))
    monkeypatch.setenv("PHI4LOCAL_OFFLINE", "1")
    with pytest.raises(ModelNotInstalledError, match="`phi-4`"):
        phi4local.pipeline("text-generation", model="microsoft/phi-4")
