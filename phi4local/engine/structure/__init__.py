"""Answers that follow a JSON schema, a grammar or a regular expression, token by token."""

from phi4local.engine.structure.constraint import Constraint
from phi4local.engine.structure.grammar import check_structure

__all__ = ["Constraint", "check_structure"]
