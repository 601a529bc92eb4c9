"""docs/run.md: every option of its own stands there, and its template is one."""

import re
from pathlib import Path

from phi4local.assistant import template_files
from phi4local.cli import run_options

PAGE = (Path(__file__).parents[3] / "docs" / "run.md").read_text(encoding="utf-8")


def test_every_option_of_run_alone_is_explained():
    options = [kind.__metadata__[0] for kind in vars(run_options).values() if hasattr(kind, "__metadata__")]
    # In `Annotated`, Typer keeps the first name where the default value would be.
    names = {name for option in options for name in (option.default, *option.param_decls)}
    assert {"--file", "-f", "--image", "--output", "-N", "--extract"} <= names
    assert [name for name in sorted(names) if not re.search(rf"`{name}\b", PAGE)] == []


def test_the_template_of_the_page_can_be_filled_in():
    (text,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    template = template_files.from_toml(text)
    assert template.filled("Faust").prompt == "Summarize in 50 words, for a child: Faust\n"
    assert template.sampling.temperature == 0
    assert template.sampling.json_schema == '{"type": "object"}'
