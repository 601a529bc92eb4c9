"""llama.cpp and ggml through llama-cpp-python: typed, thin, no policy. Nothing is loaded on import."""
