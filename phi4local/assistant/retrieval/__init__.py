"""Documents in a conversation: read, split, search, quote with file and line, check the citations."""

from phi4local.assistant.retrieval.attach import Attachment, attach
from phi4local.assistant.retrieval.citations import Citation, cited
from phi4local.assistant.retrieval.documents import Document, read_document
from phi4local.assistant.retrieval.folders import read_documents
from phi4local.assistant.retrieval.kept_vectors import KeptVectors
from phi4local.assistant.retrieval.mentions import mentioned_files
from phi4local.assistant.retrieval.passages import Passage
from phi4local.assistant.retrieval.reranking import Reranker
from phi4local.assistant.retrieval.search import Collection
from phi4local.assistant.retrieval.sentence_model import SentenceModel
from phi4local.assistant.retrieval.word_vectors import WordVectors

__all__ = [
    "Attachment",
    "Citation",
    "Collection",
    "Document",
    "KeptVectors",
    "Passage",
    "Reranker",
    "SentenceModel",
    "WordVectors",
    "attach",
    "cited",
    "mentioned_files",
    "read_document",
    "read_documents",
]
