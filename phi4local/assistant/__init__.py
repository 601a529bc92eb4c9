"""A conversation: what chat and server have in common."""
