"""Make `python_api.json`: what transformers' pipeline returns for phi4-nano in float32, and hidden states.

Run it in a checkout with `python tests/golden/make_python_api.py` after changing a case; it needs torch
(`pip install torch`), which the tests do not.

- `pipeline`: arguments of the call → everything that `transformers.pipeline("text-generation")` returned.
- `embeddings`: text → the mean over its tokens of `last_hidden_state`, divided by its length.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

STORED = Path(__file__).with_name("python_api.json")
CHECKPOINT = Path(__file__).parents[2] / "models" / "phi4-nano"

CARD = [
    {
        "role": "system",
        "content": "You are a medieval knight and must provide explanations to modern people.",
    },
    {"role": "user", "content": "How should I explain the Internet?"},
]
SKY = [{"role": "user", "content": "Why is the sky blue?"}]
SUM = [{"role": "user", "content": "What is 3 plus 4?"}]
TURNS = [
    {"role": "user", "content": "Hello! Who are you?"},
    {"role": "assistant", "content": "I am a small model."},
    {"role": "user", "content": "Tell me about elephants."},
]

PIPELINE: dict[str, tuple[Any, dict[str, Any]]] = {
    "the model card": (CARD, {"max_new_tokens": 128}),
    "several turns": (TURNS, {"max_new_tokens": 60}),
    "new text only": (SKY, {"max_new_tokens": 60, "return_full_text": False}),
    "several conversations": ([SKY, SUM], {"max_new_tokens": 40}),
    "text": ("Pip the fox was little and", {"max_new_tokens": 20}),
    "new text of a text": ("Pip the fox was little and", {"max_new_tokens": 20, "return_full_text": False}),
    "several texts": (["Pip the fox", "One day a girl"], {"max_new_tokens": 12}),
    "a list of one text": (["Pip the fox"], {"max_new_tokens": 5}),
    "a longest length": ("One day a girl", {"max_length": 12}),
    "sampling settings without sampling": (SUM, {"max_new_tokens": 20, "temperature": 0.5, "top_p": 0.9}),
}

TEXTS = [
    "the sky is blue",
    "the sea is blue",
    "Hello",
    "What is 3 plus 4?\n\nAnd what is 5 plus 6?",
    "Pip the fox was little and lived in a forest with many trees. " * 20,
]


def make() -> dict[str, Any]:
    """Ask transformers."""
    import torch
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(CHECKPOINT)
    model = transformers.AutoModelForCausalLM.from_pretrained(CHECKPOINT, dtype=torch.float32)
    pipeline = transformers.pipeline("text-generation", model=model, tokenizer=tokenizer)
    answers = [
        {
            "name": name,
            "inputs": inputs,
            "options": options,
            "outputs": pipeline(inputs, do_sample=False, **options),
        }
        for name, (inputs, options) in PIPELINE.items()
    ]
    vectors = {}
    for text in TEXTS:
        with torch.no_grad():
            states = model.model(tokenizer(text, return_tensors="pt").input_ids).last_hidden_state[0]
        mean = states.double().mean(dim=0)
        vectors[text] = [round(float(value), 6) for value in mean / mean.norm()]
    return {"transformers": transformers.__version__, "pipeline": answers, "embeddings": vectors}


if __name__ == "__main__":
    STORED.write_text(json.dumps(make(), ensure_ascii=False) + "\n", encoding="utf-8")
    sys.stdout.write(f"{STORED.stat().st_size:,} bytes\n")
