"""Files that go along with a question, in a conversation whose model counts words as tokens."""

import pytest

from phi4local.assistant.conversation import Conversation
from phi4local.assistant.retrieval import Collection, read_document
from phi4local.cli.chat.documents import Documents
from phi4local.errors import DocumentError


class Counter:
    """Counts words; answers nothing."""

    def __init__(self, context_tokens):
        self.context_tokens = context_tokens

    def tokenize(self, text):
        return text.split()

    def count_tokens(self, messages, kept_ids=None):
        return sum(len(message.content.split()) for message in messages)


@pytest.fixture
def notes(tmp_path):
    path = tmp_path / "notes.md"
    paragraphs = [f"Animal {number} sleeps in cave {number}." for number in range(200)]
    paragraphs[77] = "The hedgehog stores apples below the oak."
    path.write_text("\n\n".join(paragraphs))
    return path


def test_a_file_that_fits_goes_along_as_it_is(notes):
    document = read_document(notes)
    documents = Documents(attached={"notes.md": document})
    asked = documents.question("Who sleeps?", Conversation(Counter(100_000)))
    assert notes.read_text() in asked
    assert asked.endswith("Who sleeps?")
    assert list(documents.citations("[notes.md:1-3]")) == []


@pytest.mark.parametrize("kept", [True, False])
def test_of_what_does_not_fit_the_best_passages_go_along_and_citations_are_checked(notes, kept):
    documents = Documents(Collection.from_paths([notes])) if kept else Documents()
    if not kept:
        documents.attached["notes.md"] = read_document(notes, name="notes.md")
    asked = documents.question("What does the hedgehog store?", Conversation(Counter(800)))
    assert "155: The hedgehog stores apples below the oak." in asked
    assert len(asked.split()) < 800
    assert list(documents.citations("Apples [notes.md:155].")) == ["1 cited, all of it was given"]
    assert list(documents.citations("Nuts [notes.md:1-9999].")) == [
        f"cited, but not among what was given: {documents.given[0].name}:1-9999"
    ]
    assert list(documents.citations("Apples.")) == ["nothing was cited"]


def test_a_context_without_room_for_one_passage_is_an_error(notes):
    documents = Documents(Collection.from_paths([notes]))
    with pytest.raises(DocumentError):
        documents.question("What does the hedgehog store?", Conversation(Counter(80)))


def test_a_question_without_documents_is_asked_as_it_is():
    assert Documents().question("Hello", Conversation(Counter(0))) == "Hello"


def test_the_text_of_a_document_is_that_of_its_file(tmp_path):
    path = tmp_path / "long.txt"
    path.write_text("short\n" + "x" * 5001 + "\n\nlast")
    assert read_document(path).text == path.read_text()
