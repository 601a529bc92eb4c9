"""How often the passage that answers a question is among the first five: fifty questions about Django.

    pip download --no-deps --no-binary Django Django==5.2.19 && tar xzf django-5.2.19.tar.gz
    hf download sentence-transformers/all-MiniLM-L6-v2
    python -m benchmarks.retrieval django-5.2.19/docs --json benchmarks/results/retrieval.json

The questions are in tests/golden/retrieval_questions.toml. A passage is right when it is of the named file
and holds the named words; `also` names others that answer as well. Release notes are left out: they name
everything once more.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

from benchmarks import pairs
from phi4local.assistant.retrieval import Collection, Reranker, SentenceModel, WordVectors

QUESTIONS = Path(__file__).parents[1] / "tests" / "golden" / "retrieval_questions.toml"
COUNTS = (1, 3, 5, 10, 50)


def ranks(collection: Collection, folder: Path, question: dict[str, Any]) -> tuple[int | None, int | None]:
    """Return the places, from 1, of the named passage and of the first that answers; `None` after 50."""
    named = answers = None
    for place, passage in enumerate(collection.search(question["ask"], max(COUNTS)), 1):
        text = "\n".join(line.text for line in passage.lines)
        for right in (question, *question.get("also", ())):
            if passage.path == folder / right["file"] and right["text"] in text:
                answers = answers or place
                named = named or (place if right is question else None)
    return named, answers


def among(places: list[int | None]) -> dict[int, int]:
    """Return how many are among the first one, three, five, ten and fifty."""
    return {count: sum(place is not None and place <= count for place in places) for count in COUNTS}


def main() -> int:
    """Ask every question and write the ranks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--words-only", action="store_true", help="as without the extra `documents`")
    parser.add_argument("--no-sentences", action="store_true", help="as without a sentence model")
    parser.add_argument("--questions", type=Path, default=QUESTIONS)
    chosen = parser.parse_args()
    questions = tomllib.loads(chosen.questions.read_text(encoding="utf-8"))["question"]
    start = time.perf_counter()
    vectors = None if chosen.words_only else WordVectors.installed()
    sentences = None if chosen.words_only or chosen.no_sentences else SentenceModel.installed()
    collection = Collection.from_paths(
        sorted(path for path in chosen.folder.rglob("*.txt") if "releases" not in path.parts),
        embedder=vectors,
        reranker=Reranker(sentences) if sentences else None,
    )
    read_seconds = time.perf_counter() - start
    start = time.perf_counter()
    places = [ranks(collection, chosen.folder, one) for one in questions]
    rows = [
        {**one, "rank": named, "answered": answers}
        for one, (named, answers) in zip(questions, places, strict=True)
    ]
    search_seconds = (time.perf_counter() - start) / len(rows)
    named, answered = (among(list(one)) for one in zip(*places, strict=True))
    words = sum(len(line.text.split()) for document in collection.documents for line in document.lines)
    for row in rows:
        if row["answered"] is None or row["answered"] > 5:
            sys.stdout.write(f"{row['answered']}  {row['ask']}  ({row['file']})\n")
    sys.stdout.write(f"named {json.dumps(named)}, answered {json.dumps(answered)} of {len(rows)}\n")
    pairs.write(
        chosen.json,
        (),
        command="python -m benchmarks.retrieval",
        documents=len(collection.documents),
        passages=len(collection.passages),
        words=words,
        vectors=vectors and vectors.name,
        read_seconds=round(read_seconds, 2),
        search_seconds=round(search_seconds, 4),
        sentences=sentences and sentences.name,
        named_among_the_first=named,
        answered_among_the_first=answered,
        questions=rows,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
