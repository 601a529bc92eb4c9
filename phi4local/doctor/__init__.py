"""What is right and wrong with this machine and this installation, shown by trying it.

Each module holds checks of one kind and returns `Result`s; `examination` runs them in order. A check never
needs what a check before it found broken.
"""

from phi4local.doctor.examination import examine
from phi4local.doctor.result import OK, SKIPPED, WARNING, WRONG, Result, summary

__all__ = ["OK", "SKIPPED", "WARNING", "WRONG", "Result", "examine", "summary"]
