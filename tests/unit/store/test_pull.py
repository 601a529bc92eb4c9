"""Pulling from a real server on loopback that speaks Hugging Face's protocol."""

import hashlib
import http.server
import json
import os
import subprocess
import sys
import threading

import pytest

from phi4local.convert import convert_checkpoint

REPOSITORY, COMMIT = "microsoft/phi-4-gguf", "c" * 40


class Hub:
    """Serves one repository; tests change `files`, `announced` and `cut_at`."""

    def __init__(self):
        self.files: dict[str, bytes] = {}
        self.announced: dict[str, str] = {}
        self.cut_at: int | None = None
        self.status = 200
        self.requests: list[tuple[str, str, str | None]] = []
        hub = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_HEAD(self):
                self.answer()

            def do_GET(self):
                self.answer()

            def answer(self):
                hub.requests.append((self.command, self.path, self.headers.get("Authorization")))
                if hub.status != 200:
                    self.reply(hub.status, b"{}")
                elif self.path.startswith(f"/api/models/{REPOSITORY}"):
                    self.reply(200, json.dumps(hub.info()).encode(), {"Content-Type": "application/json"})
                else:
                    self.file(self.path.rsplit("/", 1)[1])

            def file(self, name):
                content = hub.files[name]
                digest = hub.announced.get(name, hashlib.sha256(content).hexdigest())
                headers = {"ETag": f'"{digest}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
                self.reply(200, content, headers)

            def reply(self, status, body, headers=()):
                self.send_response(status)
                for key, value in dict(headers).items():
                    self.send_header(key, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(body)

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def info(self):
        siblings = [
            {
                "rfilename": name,
                "size": len(content),
                "blobId": "0" * 40,
                "lfs": {
                    "sha256": self.announced.get(name, hashlib.sha256(content).hexdigest()),
                    "size": len(content),
                    "pointerSize": 135,
                },
            }
            for name, content in self.files.items()
        ]
        return {
            "id": REPOSITORY,
            "modelId": REPOSITORY,
            "sha": COMMIT,
            "private": False,
            "siblings": siblings,
        }


@pytest.fixture
def hub():
    hub = Hub()
    thread = threading.Thread(target=hub.server.serve_forever, daemon=True)
    thread.start()
    yield hub
    hub.server.shutdown()
    hub.server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def model_bytes(checkpoint, native_library, tmp_path_factory):
    path = tmp_path_factory.mktemp("served") / "nano.gguf"
    convert_checkpoint(checkpoint, path, "Q4_K_M")
    return path.read_bytes()


@pytest.fixture
def pull(hub, tmp_path):
    def run(*arguments, **env):
        home = tmp_path / "home"
        environment = os.environ | {
            "HF_ENDPOINT": hub.url,
            "PHI4LOCAL_HOME": str(home),
            "HF_TOKEN": "hf_secret",
            **env,
        }
        result = subprocess.run(
            [sys.executable, "-m", "phi4local", "pull", *arguments],
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
            env=environment,
        )
        kept = [path for path in home.rglob("*") if path.is_file() and path.suffix != ".lock"]
        return result, sorted(path.name for path in kept)

    return run


def test_a_model_is_pulled_proved_and_found_again(hub, pull, model_bytes, tmp_path):
    hub.files = {"phi-4-Q4_K_M.gguf": model_bytes, "phi-4-Q8_0.gguf": b"other", "README.md": b"text"}
    result, kept = pull("phi-4", "--json")
    assert result.returncode == 0, result.stderr
    facts = json.loads(result.stdout)
    assert facts["sha256"] == hashlib.sha256(model_bytes).hexdigest()
    digest = hashlib.sha256(model_bytes).hexdigest()
    # The view's link, the manifest, the file, what Ollama reads beside it, and what was proved.
    assert {"phi-4-Q4_K_M.gguf", "Q4_K_M", f"sha256-{digest}", "verified.json"} < set(kept)
    assert facts["path"].endswith("files/registry.ollama.ai/library/phi-4/Q4_K_M/phi-4-Q4_K_M.gguf")
    assert not list((tmp_path / "home" / "models" / "unfinished").iterdir())
    gets = len([1 for method, path, _ in hub.requests if method == "GET" and path.endswith(".gguf")])
    assert pull("phi-4")[0].returncode == 0
    again = len([1 for method, path, _ in hub.requests if method == "GET" and path.endswith(".gguf")])
    assert (gets, again) == (1, 1)


def test_a_token_is_not_sent_to_another_server(hub, pull, model_bytes):
    hub.files = {"phi-4-Q4_K_M.gguf": model_bytes}
    assert pull("phi-4")[0].returncode == 0
    assert {authorization for _, _, authorization in hub.requests} == {None}


def test_what_ollama_has_is_linked_and_not_fetched(hub, pull, model_bytes, tmp_path):
    hub.files = {"phi-4-Q4_K_M.gguf": model_bytes}
    theirs = tmp_path / "ollama" / "blobs" / f"sha256-{hashlib.sha256(model_bytes).hexdigest()}"
    theirs.parent.mkdir(parents=True)
    theirs.write_bytes(model_bytes)
    result, _ = pull("phi-4", "--json", OLLAMA_MODELS=str(theirs.parents[1]), PHI4LOCAL_REUSE="1")
    assert theirs.samefile(json.loads(result.stdout)["path"])
    assert not [path for _, path, _ in hub.requests if path.endswith(".gguf")]


def refused(result, *fragments):
    assert result.returncode == 1
    assert [line.split(":")[0] for line in result.stderr.splitlines()] == ["error", "hint"], result.stderr
    for fragment in fragments:
        assert fragment in result.stderr


def test_a_wrong_digest_leaves_nothing(hub, pull, model_bytes):
    hub.files = {"phi-4-Q4_K_M.gguf": model_bytes}
    hub.announced = {"phi-4-Q4_K_M.gguf": "0" * 64}
    result, kept = pull("phi-4")
    refused(result, "0" * 64)
    assert kept == []


def test_a_file_that_is_no_model_leaves_nothing(hub, pull):
    hub.files = {"phi-4-Q4_K_M.gguf": b"<html>log in</html>" * 100}
    result, kept = pull("phi-4")
    refused(result, "gguf")
    assert kept == []


def test_a_quantization_that_is_not_there_lists_what_is(hub, pull):
    hub.files = {"phi-4-Q8_0.gguf": b"x", "phi-4-Q4_0.gguf": b"y"}
    result, _ = pull("phi-4:Q6_K")
    refused(result, "Q6_K", "Q4_0, Q8_0")


@pytest.mark.parametrize(
    "name", ["../phi-4-Q4_K_M.gguf", "sub/phi-4-Q4_K_M.gguf", "a\x1b[2J-Q4_K_M.gguf", "/etc/x-Q4_K_M.gguf"]
)
def test_a_hostile_file_name_is_not_a_candidate(hub, pull, name):
    hub.files = {name: b"x"}
    result, kept = pull("phi-4")
    refused(result, "0 files")
    assert kept == []


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_server_that_refuses_is_one_line(hub, pull, status):
    hub.status = status
    refused(pull("phi-4")[0])


def test_a_model_without_files_to_pull_says_so(pull):
    refused(pull("phi4-nano")[0], "nothing to pull")
    refused(pull("phi-3.5-mini-instruct")[0], "its checkpoint is microsoft/Phi-3.5-mini-instruct")
