"""Clients of other projects against a real server; those that are not installed are left out.

`pip install langchain-openai langchain-ollama litellm llama-index-llms-openai-like llm` has them; they are no
dependency here.
"""

import os
import subprocess
import sys

import pytest

pytestmark = [pytest.mark.full, pytest.mark.filterwarnings("ignore")]
QUESTION, ANSWER = "What is 3 plus 4?", "3 plus 4 is 7."


def test_langchain_openai(served):
    langchain = pytest.importorskip("langchain_openai")
    options = {"base_url": f"{served.address}/v1", "api_key": "none", "max_retries": 0}
    model = langchain.ChatOpenAI(model="phi4-nano", temperature=0, **options)
    assert model.invoke(QUESTION).content == ANSWER
    assert "".join(chunk.content for chunk in model.stream(QUESTION)) == ANSWER
    schema = {
        "title": "fox",
        "type": "object",
        "properties": {"kind": {"type": "boolean"}},
        "required": ["kind"],
    }
    found = model.with_structured_output(schema, method="json_schema").invoke("Tell me about a fox.")
    assert isinstance(found["kind"], bool)
    embeddings = langchain.OpenAIEmbeddings(
        model="phi4-nano", tiktoken_enabled=False, check_embedding_ctx_length=False, **options
    )
    assert len(embeddings.embed_query("the sky")) == 256


def test_langchain_ollama(served):
    langchain = pytest.importorskip("langchain_ollama")
    model = langchain.ChatOllama(
        model="phi4-nano", base_url=served.address, temperature=0, validate_model_on_init=True
    )
    whole = model.invoke(QUESTION)
    assert whole.content == ANSWER
    assert whole.usage_metadata["output_tokens"] == whole.response_metadata["eval_count"] > 0
    assert "".join(chunk.content for chunk in model.stream(QUESTION)) == ANSWER
    schema = {
        "title": "fox",
        "type": "object",
        "properties": {"kind": {"type": "boolean"}},
        "required": ["kind"],
    }
    found = model.with_structured_output(schema, method="json_schema").invoke("Tell me about a fox.")
    assert isinstance(found["kind"], bool)
    text = langchain.OllamaLLM(model="phi4-nano", base_url=served.address, temperature=0)
    assert text.invoke(QUESTION) == ANSWER
    embeddings = langchain.OllamaEmbeddings(model="phi4-nano", base_url=served.address)
    assert len(embeddings.embed_documents(["the sky", "the sea"])[1]) == 256


def test_litellm(served, monkeypatch):
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # it would fetch prices otherwise
    litellm = pytest.importorskip("litellm")
    options = {"api_base": f"{served.address}/v1", "api_key": "none", "max_retries": 0}
    asked = {"messages": [{"role": "user", "content": QUESTION}], "temperature": 0, **options}
    whole = litellm.completion(model="openai/phi4-nano", **asked)
    assert whole.choices[0].message.content == ANSWER
    chunks = litellm.completion(model="openai/phi4-nano", stream=True, **asked)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == ANSWER
    vectors = litellm.embedding(model="openai/phi4-nano", input=["x"], encoding_format="float", **options)
    assert len(vectors.data) == 1
    with pytest.raises(litellm.NotFoundError):
        litellm.completion(model="openai/gpt-4o", **asked)


def test_llama_index(served):
    like = pytest.importorskip("llama_index.llms.openai_like")
    core = pytest.importorskip("llama_index.core.llms")
    model = like.OpenAILike(
        model="phi4-nano",
        api_base=f"{served.address}/v1",
        api_key="none",
        is_chat_model=True,
        temperature=0,
        context_window=2048,
        max_retries=0,
    )
    messages = [core.ChatMessage(role="user", content=QUESTION)]
    assert model.chat(messages).message.content == ANSWER
    assert "".join(chunk.delta or "" for chunk in model.stream_chat(messages)) == ANSWER


def test_llm(served, tmp_path):
    pytest.importorskip("llm")
    (tmp_path / "extra-openai-models.yaml").write_text(
        f"- model_id: nano\n  model_name: phi4-nano\n  api_base: {served.address}/v1\n", encoding="utf-8"
    )
    for extra in ((), ("--no-stream",)):
        done = subprocess.run(
            [sys.executable, "-m", "llm", "-m", "nano", "-o", "temperature", "0", *extra, QUESTION],
            env={**os.environ, "LLM_USER_PATH": str(tmp_path), "OPENAI_API_KEY": "none"},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == ANSWER
