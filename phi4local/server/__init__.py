"""HTTP: the dialects of OpenAI, Ollama and Anthropic over one local model, and the web page."""
