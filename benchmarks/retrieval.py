"""How often the passage that answers a question is among the first five: fifty questions about Django.

    pip download --no-deps --no-binary Django Django==5.2.19 && tar xzf django-5.2.19.tar.gz
    python -m benchmarks.retrieval django-5.2.19/docs --json benchmarks/results/retrieval.json

The questions are in tests/golden/retrieval_questions.toml. A passage is right when it is of the named file
and holds the named words. Release notes are left out: they name everything once more.
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
from phi4local.assistant.retrieval import Collection, WordVectors

QUESTIONS = Path(__file__).parents[1] / "tests" / "golden" / "retrieval_questions.toml"
COUNTS = (1, 3, 5, 10, 50)


def rank(collection: Collection, folder: Path, question: dict[str, str]) -> int | None:
    """Return the place of the right passage, from 1; `None` if it is not among the first fifty."""
    for place, passage in enumerate(collection.search(question["ask"], max(COUNTS)), 1):
        text = "\n".join(line.text for line in passage.lines)
        if passage.path == folder / question["file"] and question["text"] in text:
            return place
    return None


def main() -> int:
    """Ask every question and write the ranks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--words-only", action="store_true", help="as without the extra `documents`")
    parser.add_argument("--questions", type=Path, default=QUESTIONS)
    chosen = parser.parse_args()
    questions = tomllib.loads(chosen.questions.read_text(encoding="utf-8"))["question"]
    start = time.perf_counter()
    vectors = None if chosen.words_only else WordVectors.installed()
    collection = Collection.from_paths(
        sorted(path for path in chosen.folder.rglob("*.txt") if "releases" not in path.parts),
        embedder=vectors,
    )
    read_seconds = time.perf_counter() - start
    start = time.perf_counter()
    rows: list[dict[str, Any]] = [{**one, "rank": rank(collection, chosen.folder, one)} for one in questions]
    search_seconds = (time.perf_counter() - start) / len(rows)
    among = {count: sum(bool(row["rank"]) and row["rank"] <= count for row in rows) for count in COUNTS}
    words = sum(len(line.text.split()) for document in collection.documents for line in document.lines)
    for row in rows:
        if row["rank"] is None or row["rank"] > 5:
            sys.stdout.write(f"{row['rank']}  {row['ask']}  ({row['file']})\n")
    sys.stdout.write(f"{json.dumps(among)} of {len(rows)}\n")
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
        among_the_first=among,
        questions=rows,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
