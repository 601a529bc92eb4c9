"""Answers that follow a JSON schema, a grammar or a regular expression, token by token."""

from phi4local.engine.structure.constraint import Constraint
from phi4local.engine.structure.grammar import check_structure
from phi4local.engine.structure.tools import tool_call_schema

__all__ = ["Constraint", "check_structure", "tool_call_schema"]
