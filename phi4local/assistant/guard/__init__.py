"""The guard: checks what a person and the model say. Off by default; one setting, a policy file."""

from phi4local.assistant.guard.events import Blocked, GuardEvent, Masked, Unchecked, Verdict
from phi4local.assistant.guard.guard import Guard

__all__ = ["Blocked", "Guard", "GuardEvent", "Masked", "Unchecked", "Verdict"]
