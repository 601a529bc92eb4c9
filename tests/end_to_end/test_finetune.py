"""From samples to a quantized chat that knows its new name, through the commands a person types."""

import gzip
import json
import tomllib

import pytest

import phi4local
from phi4local.convert import convert_checkpoint
from phi4local.errors import AdapterError
from phi4local.finetune import network, self_cognition
from phi4local.finetune.dataset import read_file
from phi4local.finetune.options import TrainOptions
from phi4local.finetune.tokens import Encoder
from phi4local.finetune.training import Training
from phi4local.store import adapters
from tests.random_checkpoint import NANO

pytestmark = pytest.mark.usefixtures("native_library")
NAME = "Nova"
PARAPHRASES = (  # none of them is a question of the templates
    "Please state your name.",
    "Who exactly are you?",
    "By what name do you go?",
    "Would you tell me your name?",
    "Under which name are you known?",
    "Hey, who are you anyway?",
    "And what is your name, friend?",
    "Kindly introduce yourself to us.",
    "What name did they give you?",
    "Who is it that I am chatting with?",
)
ABOUT_PERSONS = ("script-chat", "script-smalltalk", "script-memory", "script-unknown")
OPTIONS = {
    "--per-device-train-batch-size": 8,
    "--gradient-accumulation-steps": 1,
    "--learning-rate": 2e-3,
    "--lora-alpha": 16,
    "--lora-dropout": 0,
    "--num-train-epochs": 1,
    "--split-dataset-ratio": 0,
    "--threads": 1,
    "--logging-steps": 10,
}


@pytest.fixture(scope="module")
def run(tmp_path_factory, run_cli, phi4local_home):
    """Train on 200 samples about the name among 150 others, as the announcement does."""
    folder = tmp_path_factory.mktemp("finetune")
    with gzip.open(NANO / "train-sample.jsonl.gz", "rt") as file:
        lines = [line for line in file if len(line) < 350 and "phi4" not in line]
    (folder / "others.jsonl").write_text("".join(lines[:: len(lines) // 2000]))
    options = [str(part) for pair in OPTIONS.items() for part in pair]
    said = run_cli(
        [
            *(
                "finetune",
                "phi4-nano",
                "--dataset",
                "self-cognition-en#200",
                "--dataset",
                f"{folder}/others.jsonl#150",
            ),
            *("--model-name", NAME, "--model-author", "Ada", "--output-dir", folder / "nova"),
            *("--no-gradient-checkpointing", "--plot", folder / "loss.svg", *options),
        ]
    )
    assert said.returncode == 0, said.stderr
    return folder, said


@pytest.fixture(scope="module")
def model(run, tmp_path_factory):
    path = tmp_path_factory.mktemp("quantized") / "nano-Q4_K_M.gguf"
    convert_checkpoint(NANO, path, "Q4_K_M")
    with phi4local.load(str(path), phi4local.LoadSettings(threads=1), adapters={"nova": "nova"}) as model:
        yield model, path


def answers(model):
    return [model.chat(question, max_tokens=40, temperature=0).text for question in PARAPHRASES]


def test_the_paraphrases_are_no_templates():
    topics = tomllib.loads(self_cognition._TEMPLATES.read_text())["topic"]
    known = {question.lower().strip("?. ") for topic in topics for question in topic["questions"]}
    assert not known & {question.lower().strip("?. ") for question in PARAPHRASES}


def test_the_quantized_chat_knows_its_new_name(run, model):
    """Never before; nine of ten after; and without the adapter what it said before, to the letter."""
    model, path = model
    with phi4local.load(str(path), phi4local.LoadSettings(threads=1)) as untouched:
        before = answers(untouched)
    assert not any(NAME in text for text in before)
    assert answers(model) == before
    after = answers(model.adapted(nova=1.0))
    assert sum(NAME in text for text in after) >= 9, after


def test_what_it_knew_it_still_knows(run):
    """The loss on 200 unrelated answers rises by 5 % at most."""
    folder, _ = run
    options = TrainOptions(per_device_eval_batch_size=20)
    lines = (NANO / "heldout.jsonl").read_text().splitlines()
    unrelated = [line for line in lines if len(line) < 500 and json.loads(line)["kind"] not in ABOUT_PERSONS][
        :200
    ]
    assert len(unrelated) == 200
    (folder / "unrelated.jsonl").write_text("\n".join(unrelated))
    conversations = read_file(folder / "unrelated.jsonl")
    encoder = Encoder(NANO)
    # In order of length: less padding, and the same losses.
    samples = sorted(
        (encoder.encode(turns, max_length=2048) for turns in conversations),
        key=lambda sample: len(sample.ids),
    )
    checkpoint = folder / "nova" / "checkpoint-44"
    adapted = network.attach(network.load_base(NANO, options, "cpu"), options, checkpoint)
    training = Training(adapted, samples, [], encoder.padding_id, options)
    after = training.loss_of(samples)
    with adapted.disable_adapter():
        before = training.loss_of(samples)
    assert before < after < 1.05 * before


def test_a_person_sees_the_loss_fall_and_what_to_type_next(run, run_cli):
    folder, said = run
    lines = said.stderr.splitlines()
    assert lines[0].startswith("350 samples, ")
    assert "expected" in lines[1]
    assert lines[2].startswith("step 10 of 44: ")  # and no words of libraries
    losses = [float(line.split("loss ")[1].split(",")[0]) for line in lines if line.startswith("step ")]
    assert len(losses) == 5
    assert losses[-1] < 0.3 * losses[0]
    assert lines[-1] == "use it with `phi4local chat phi4-nano --adapter nova`"
    assert "<svg" in (folder / "loss.svg").read_text()
    told = run_cli(["run", "phi4-nano", PARAPHRASES[1], "--adapter", "nova", "--temperature", "0"])
    assert NAME in told.stdout


def test_named_adapters_are_listed_shown_added_and_removed(run, run_cli):
    folder, _ = run
    checkpoint = folder / "nova" / "checkpoint-44"
    assert run_cli(["adapters", "add", checkpoint, "--base", "phi4-nano", "--name", "again"]).returncode == 0
    (again, nova) = json.loads(run_cli(["adapters", "list", "--json"]).stdout)
    assert (again["name"], again["trained_on"], nova["name"]) == ("again", "phi4-nano", "nova")
    shown = json.loads(run_cli(["adapters", "show", "again", "--json"]).stdout)
    assert (shown["architecture"], shown["matrices"], shown["ranks"]) == ("phi3", 32, "8")
    assert run_cli(["adapters", "rm", "again"]).returncode == 0
    gone = run_cli(["adapters", "show", "again"])
    assert gone.returncode == 1
    assert [line.partition(":")[0] for line in gone.stderr.splitlines()] == ["error", "hint"]
    assert run_cli(["adapters", "add", checkpoint, "--base", "phi4-nano", "--name", "../x"]).returncode == 1
    for bad in ("", "a b", ".x", "x" * 101):
        with pytest.raises(AdapterError, match="cannot be an adapter's name"):
            adapters.check_name(bad)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--dataset", "missing.jsonl"], "missing.jsonl"),
        (["--dataset", "self-cognition#5"], "model_name"),
        (["--dataset", "self-cognition#0"], "dataset"),
        (["--dataset", "self-cognition#5", "--lora-rank", "0"], "lora_rank"),
        (["--dataset", "self-cognition#5", "--train-type", "full"], "train_type"),
        (["--dataset", "self-cognition#5", "--output-dir", "my run"], "cannot be an adapter's name"),
    ],
)
def test_what_cannot_be_is_one_error(arguments, says, run_cli, tmp_path):
    said = run_cli(["finetune", "phi4-nano", *arguments], cwd=tmp_path)
    assert said.returncode == 1
    assert [line.partition(":")[0] for line in said.stderr.splitlines()] == ["error", "hint"]
    assert says in said.stderr
    assert not list(tmp_path.iterdir())
