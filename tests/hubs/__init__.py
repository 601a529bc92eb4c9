"""The three kinds of hub as real servers on loopback: Hugging Face, ModelScope, and an Ollama registry.

Each has a second port, the CDN, to which large files are redirected with a signed address:

    with HuggingFaceHub() as hub:
        hub.add("unsloth/phi-4-GGUF", {"phi-4-Q4_K_M.gguf": data})      # bytes, or the path of a file
        hub.faults = [Fault(route="cdn", cut_after=1000, ending="reset")]  # the first answer breaks off
        ...                                                              # HF_ENDPOINT=hub.url
        assert hub.served["phi-4-Q4_K_M.gguf"] < 2 * len(data)           # bytes that were sent, by file
        assert all("authorization" not in seen.headers for seen in hub.requests if seen.server == "cdn")

`faults` is asked in order; each counts down its `times`. What a hub itself can do differently is an
attribute of it (`page_size`, `inline`, `realm`, ...). That the fakes speak the real protocols is tested with
the official client in tests/unit/store/test_hubs.py.
"""

from tests.hubs.huggingface import HuggingFaceHub
from tests.hubs.modelscope import ModelScopeHub
from tests.hubs.registry import OllamaRegistry
from tests.hubs.server import Fault, Reply, Request

__all__ = ["Fault", "HuggingFaceHub", "ModelScopeHub", "OllamaRegistry", "Reply", "Request"]
