# ruff: noqa: RUF001 - the letters of other scripts are what is tested
"""Write how simple-evals itself marks awkward answers to MGSM: tests/golden/mgsm.json.

    python -m tests.golden.make_mgsm mgsm_eval.py

The file is https://github.com/openai/simple-evals/blob/0637982/mgsm_eval.py; only its two functions that
mark and its words for "answer" are run.
"""

import ast
import json
import re
import sys
from pathlib import Path

NEEDED = ("LANG_TO_ANSWER_PREFIX", "parse_answer", "score_mgsm")
ANSWERS = (
    ("en", "18", "She sells 9 eggs for $2 each.\nAnswer: 18"),
    ("en", "18", "Answer: $18.00"),
    ("en", "18", "Answer: 18."),
    ("en", "18", "**Answer:** 18"),
    ("en", "18", "answer: 18"),
    ("en", "18", "The result is 18."),
    ("en", "18", ""),
    ("en", "18", "Answer: eighteen"),
    ("en", "18", "Answer: 18 dollars for 7 days"),
    ("en", "18", "Answer: 7, no, wait. Answer: 18"),
    ("en", "18", "Answer: 18\nI hope that this Answer helps."),
    ("en", "18", "Answer: \\boxed{18}"),
    ("en", "18", "Answer: -18"),
    ("en", "18", "Answer: 018"),
    ("en", "1,234", "Answer: 1,234"),
    ("en", "1234", "Answer: 1,234.50"),
    ("en", "100", "Answer: 100"),
    ("en", "100", "Answer: 100.000"),
    ("en", "5", "Answer: 5.0.0"),
    ("de", "70000", "Antwort: 70.000"),
    ("de", "70000", "Antwort: 70,000 Euro"),
    ("de", "18", "Answer: 18"),
    ("fr", "18", "Réponse : 18 $"),
    ("fr", "18", "Re\u0301ponse: 18"),
    ("es", "3", "Respuesta: 3 huevos"),
    ("bn", "18", "উত্তর: 18"),
    ("bn", "18", "উত্তর: ১৮"),
    ("bn", "18", "উত্তরঃ 18"),
    ("th", "18", "คำตอบ: ๑๘"),
    ("te", "18", "సమాధానం: 18"),
    ("ja", "18", "答え：18"),
    ("ja", "18", "答え: １８"),
    ("zh", "18", "答案：18。"),
    ("zh", "18", "答: 18"),
    ("ru", "18", "Ответ: 18 долларов"),
    ("sw", "18", "Jibu: 18"),
)


def main() -> None:
    """Run the original's functions over the answers and keep what they say."""
    tree = ast.parse(Path(sys.argv[1]).read_text(encoding="utf-8"))
    tree.body = [node for node in tree.body if _name(node) in NEEDED]
    theirs: dict = {"re": re}
    exec(compile(tree, sys.argv[1], "exec"), theirs)  # the file that the caller named
    rows = []
    for language, target, answer in ANSWERS:
        given = theirs["parse_answer"](answer, theirs["LANG_TO_ANSWER_PREFIX"][language])
        row = {"language": language, "target": target, "answer": answer}
        rows.append(row | {"extracted": given, "right": theirs["score_mgsm"](target, given)})
    Path(__file__).with_name("mgsm.json").write_text(
        json.dumps(rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )


def _name(node: ast.stmt) -> str:
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
        return node.targets[0].id
    return getattr(node, "name", "")


if __name__ == "__main__":
    main()
