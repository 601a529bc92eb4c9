"""The benchmarks by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phi4local.errors import InvalidSettingError
from phi4local.evaluation.tasks import competition_math, drop, gpqa, humaneval, mgsm, mmlu, safety, simpleqa

if TYPE_CHECKING:
    from phi4local.evaluation.task import Task

PUBLISHED = ("mmlu", "gpqa", "mgsm", "math", "humaneval", "simpleqa", "drop")
"""The seven with a figure of Microsoft's, in the order of https://huggingface.co/microsoft/phi-4."""
_MODULES = (mmlu, gpqa, competition_math, humaneval, simpleqa, drop, safety)


def chosen(names: str, languages: tuple[str, ...] | None = None) -> list[Task]:
    """Return the tasks that are named with commas; `all` for the seven that have published figures.

    Args:
        names: such as `"mgsm,humaneval"`.
        languages: those of MGSM; all eleven without.

    Raises:
        InvalidSettingError: there is no such task, or no such language.
    """
    for language in languages or ():
        if language not in mgsm.LANGUAGES:
            known = ", ".join(mgsm.LANGUAGES)
            raise InvalidSettingError("languages", f"knows no `{language}`", hint=f"there are {known}")
    known_tasks = {module.TASK.name: module.TASK for module in _MODULES}
    known_tasks["mgsm"] = mgsm.task_of(languages or mgsm.LANGUAGES)
    wanted = PUBLISHED if names == "all" else tuple(dict.fromkeys(name.strip() for name in names.split(",")))
    for name in wanted:
        if name not in known_tasks:
            hint = f"there are {', '.join(PUBLISHED)}, safety, and all for the seven in front"
            raise InvalidSettingError(
                "tasks", f"knows no `{name}`", hint=f"{hint}; the model stands behind them"
            )
    return [known_tasks[name] for name in wanted]
