"""How often a model is right, by the rules with which Phi-4's published figures were made."""
