"""LoRA training: conversations to samples, a loop over them, an adapter as PEFT and llama.cpp have it.

The extra `finetune`. torch, transformers and peft are imported inside of functions, here and nowhere else.
"""
