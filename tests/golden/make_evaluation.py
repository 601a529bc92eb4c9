# ruff: noqa: RUF001 - the letters of other scripts are what is tested
"""Write how simple-evals itself asks and marks: tests/golden/evaluation.json.

    python -m tests.golden.make_evaluation FOLDER

FOLDER holds common.py, math_eval.py, simpleqa_eval.py, humaneval_eval.py and drop_eval.py of
https://github.com/openai/simple-evals at ee3b031. Only their constants and functions are run, and of DROP's
class the function that makes a prompt and marks; it needs numpy and scipy. The answers are made by hand.

The recorded file was made from public copies of these files, put together by hand; a run on a checkout should
change nothing, and would prove it.
"""

import ast
import hashlib
import json
import random
import re
import string
import sys
import typing
from pathlib import Path

CHOICE_ANSWERS = (
    "Answer: B",
    "Answer: $B$",
    "The answer is B.",
    "**Answer:** B",
    "**Answer: B**",
    "answer: b",
    "ANSWER : B",
    "Answer:\nB",
    "Answer: \\boxed{B}",
    "Answer: $\\boxed{B}$",
    "Answer: $\\text{B}$",
    "Answer: (B)",
    "Answer: B) both",
    "First I thought Answer: A, but no.\nAnswer: B",
    "Answer: Because of that, B",
    "Answer: none of them",
    "Antwort: B",
    "উত্তর: ব",
    "答案：Ｂ",
    "الإجابة: ب",
    "الإجابة: ت",
    "Answer:\u200b\u200b\u200b\u200b\u200b\u200b B",
    "Respuesta: B y Answer: C",
    "",
)
EXPRESSION_ANSWERS = (
    "So it is 4.\nAnswer: 4",
    "ANSWER: $\\frac{1}{2}$",
    "Answer:\n\n\\boxed{7}",
    "Answer: 3\nAnswer: 4",
    "The final answer is 12.",
    "**Answer:** 9",
    "answer :x = 2 ",
    "Answer:",
    "",
)
VERDICTS = ("Yes", "yes", " YES \n", "Yes.", "No", "no, they differ", "")
GRADES = ("A", "B", "C", "CORRECT", "INCORRECT", "NOT_ATTEMPTED", "Grade: B", "a", "", "The letter is A")
CODE_ANSWERS = (
    "```python\ndef f(x):\n    return x + 1\n```",
    "Sure!\n```python\ndef f(x: int) -> int:\n    return x + 1\n```\nand\n```python\nprint(f(1))\n```",
    "    return x + 1\n",
    "def f(x):\n    return x + 1\n",
    "```py\ndef f(x):\n    return x + 1\n```",
    "```python\nimport math\n\ndef g(y):\n    return y\n\ndef f(x):\n    return g(x) + 1\n```",
    "```python\ndef f(x):\n  return x + 1\n```",
    "```python\nf = lambda x: x + 1\n```",
    "",
)
READING = (
    ("3", "Answer: 3"),
    ("3", "Answer: three"),
    ("3", "Answer: 3.0 touchdowns"),
    ("3", "I count 3."),
    ("3", "answer : 13"),
    ("The Chicago Bears|Bears", "Answer: bears"),
    ("The Chicago Bears|Bears", "Answer: the Bears, in 2007"),
    ("The Chicago Bears|Bears", "Answer: Packers"),
    ("20-yard", "Answer: 20 yard"),
    ("20-yard", "Answer: 20-yard field goal"),
    ("1,200", "Answer: 1200"),
    ("1,200", "Answer: $1,200"),
    ("6.0|6", "Answer: 6"),
    ("12 May 1990", "Answer: May 12, 1990"),
    ("a", "Answer: the"),
    ("x||y", "Answer: y"),
    ("Smith", "**Answer:** Smith"),
    ("nan", "Answer: NaN"),
    ("-5", "Answer: -5"),
    ("New York Giants", "Answer: New-York giants"),
    ("Smith", ""),
)
SOLVED = [
    {
        "context": f"Passage: Team {letter} won by {number} points. Question: By how many?\nAnswer:",
        "completion": f"{number}",
        "ref_text": f"{number}",
    }
    for number, letter in enumerate("ABCDEFGH", start=3)
]


class Eval:
    """What their classes inherit from."""


def theirs(folder: Path, name: str) -> dict:
    """Return the constants and functions of one of their files."""
    tree = ast.parse((folder / name).read_text(encoding="utf-8"))
    kept = (ast.Assign, ast.FunctionDef, ast.ClassDef)
    tree.body = [node for node in tree.body if isinstance(node, kept)]
    found: dict = {**vars(typing), "re": re, "random": random, "string": string, "json": json, "Eval": Eval}
    found |= {"SamplerBase": object, "SingleEvalResult": dict, "EvalResult": dict, "Message": dict}
    if name == "drop_eval.py":
        import numpy
        from scipy.optimize import linear_sum_assignment

        found |= {"np": numpy, "linear_sum_assignment": linear_sum_assignment}
    exec(compile(tree, name, "exec"), found)  # the folder that the caller named
    return found


def choices(common: dict) -> list[dict]:
    """Mark with GPQA's and with MMLU's rule, which stand in the middle of their methods."""
    rows = []
    for answer in CHOICE_ANSWERS:
        strict = re.search(common["ANSWER_PATTERN_MULTICHOICE"], answer)
        loose, letter = common["normalize_response"](answer), None
        for word in common["MULTILINGUAL_ANSWER_REGEXES"]:
            found = re.search(common["MULTILINGUAL_ANSWER_PATTERN_TEMPLATE"].format(word), loose)
            if found:
                letter = common["normalize_extracted_answer"](found.group(1))
                break
        rows.append({"answer": answer, "gpqa": strict.group(1) if strict else None, "mmlu": letter})
    return rows


def equality(common: dict) -> list[dict]:
    """Record the grader's messages and what comes of its replies."""
    rows = []
    for answer in EXPRESSION_ANSWERS:
        found = re.search(common["ANSWER_PATTERN"], answer)
        given, seen = found.group(1) if found else None, []
        right = {}
        for verdict in VERDICTS:
            reply = lambda messages, said=verdict, seen=seen: seen.append(messages[0]["content"]) or said  # noqa: E731
            right[verdict] = common["check_equality"](reply, "4", given)
        rows.append({"answer": answer, "extracted": given, "grading": digest(seen[0]), "right": right})
    return rows


def grades(simpleqa: dict) -> list[dict]:
    """Record the letters that replies of a grader come to."""
    rows = []
    for reply in GRADES:
        seen = []

        class Grader:
            """Replies what it is told to."""

            def _pack_message(self, content, role):
                return {"content": content, "role": role}

            def __call__(self, messages, reply=reply, seen=seen):
                seen.append(messages[0]["content"])
                return reply

        asked = object.__new__(simpleqa["SimpleQAEval"])
        asked.grader_model = Grader()
        letter = asked.grade_sample("Who wrote {it}?", "Ann % Lee", "Perhaps Bo.")
        rows.append({"reply": reply, "letter": letter, "grading": digest(seen[0])})
    return rows


def code(folder: Path) -> dict:
    """Run the function that finds code, which stands inside of a method."""
    tree = ast.parse((folder / "humaneval_eval.py").read_text(encoding="utf-8"))
    inner = next(node for node in ast.walk(tree) if getattr(node, "name", "") == "find_code")
    asked = next(
        ast.literal_eval(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "instruction"
    )
    found: dict = {"re": re}
    exec(compile(ast.Module([inner], []), "humaneval_eval.py", "exec"), found)
    rows = [{"answer": answer, "code": found["find_code"](answer)} for answer in CODE_ANSWERS]
    return {"instruction": asked, "answers": rows}


def reading(drop: dict) -> list[dict]:
    """Ask every question through their class, with a model that gives the answer made by hand."""
    asked = object.__new__(drop["DropEval"])
    asked.seed, asked._train_samples_per_prompt, asked.train_samples = 42, 3, SOLVED
    asked.test_samples = [
        {
            "context": f"Passage: number {number}. Question: which?\nAnswer:",
            "completion": "?",
            "ref_text": target,
        }
        for number, (target, _) in enumerate(READING)
    ]
    prompts, answers = [], iter(answer for _, answer in READING)
    results = asked(lambda messages: prompts.append(messages[0]["content"]) or next(answers))
    return [
        {"target": target, "answer": answer, "prompt": prompt, **result}
        for (target, answer), prompt, result in zip(READING, prompts, results, strict=True)
    ]


def digest(text: str) -> str:
    """Return a hash, for texts that are long."""
    return hashlib.sha256(text.encode()).hexdigest()


def main() -> None:
    """Write the file."""
    folder = Path(sys.argv[1])
    common = theirs(folder, "common.py")
    math = theirs(folder, "math_eval.py")
    row = {"Question": "What is {x}?", "A": "1 {B}", "B": "2", "C": "%s", "D": "four"}
    found = {
        "choice_prompt": common["format_multichoice_question"](row),
        "math_prompt": math["QUERY_TEMPLATE"].format(**row),
        "choices": choices(common),
        "equality": equality(common),
        "grades": grades(theirs(folder, "simpleqa_eval.py")),
        "code": code(folder),
        "solved": SOLVED,
        "reading": reading(theirs(folder, "drop_eval.py")),
    }
    Path(__file__).with_name("evaluation.json").write_text(
        json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )


if __name__ == "__main__":
    main()
