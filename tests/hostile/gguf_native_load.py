"""Load the files named on the command line with llama.cpp, and run one token through each.

Prints the name before it touches a file, and the outcome after it, so that the process that started this one
can tell which file ended it. Run in a process of its own: this is what the validator keeps from happening.
"""

from __future__ import annotations

import contextlib
import sys

import llama_cpp as library


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def outcome(path: str) -> str:
    settings = library.llama_model_default_params()
    settings.n_gpu_layers = 0
    model = library.llama_model_load_from_file(path.encode(), settings)
    if not model:
        return "load refused"
    wanted = library.llama_context_default_params()
    wanted.n_ctx = wanted.n_batch = 64
    wanted.n_threads = wanted.n_threads_batch = 1
    context = library.llama_init_from_model(model, wanted)
    if not context:
        library.llama_model_free(model)
        return "context refused"
    code = decode_one_token(model, context)
    library.llama_free(context)
    library.llama_model_free(model)
    return "runs" if code == 0 else f"decode returned {code}"


def decode_one_token(model, context) -> int:
    vocabulary = library.llama_model_get_vocab(model)
    text = bytes(range(1, 256)) + b" the <|im_end|> \xf0\x9f\x98\x80"
    tokens = (library.llama_token * 4096)()
    count = library.llama_tokenize(vocabulary, text, len(text), tokens, len(tokens), True, True)
    piece = (library.ctypes.c_char * 2048)()
    for token in range(min(512, library.llama_vocab_n_tokens(vocabulary))):
        library.llama_token_to_piece(vocabulary, token, piece, len(piece), 0, True)
    if count < 1:
        return -100
    return library.llama_decode(context, library.llama_batch_get_one(tokens, 1))


if __name__ == "__main__":
    with contextlib.suppress(ImportError):  # Windows has no resource module
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    library.llama_backend_init()
    for name in sys.argv[1:]:
        say(f"file {name}")
        say(f"outcome {outcome(name)}")
