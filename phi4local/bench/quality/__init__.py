"""How much of a model a quantization keeps: perplexity and KL divergence, with llama-perplexity's figures.

The base is read first. Its log-probabilities go to a file, 16 bits each, and every other model is compared
with that file: one model is in memory at a time, and the base is computed once however many there are. The
file has llama-perplexity's format, so that either program can go on with what the other one made.
"""
