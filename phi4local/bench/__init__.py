"""How fast a model is here: tokens per second, time to the first token, load time, memory."""
