"""A running server is known to the person's own command line, which stops it; nobody else can."""

import contextlib
import http.server
import json
import os
import signal
import ssl
import stat
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path

import openai
import pytest

from phi4local.runtime.remote.records import ServerRecord, announced
from tests.served import ServedProcess

NONE = "no server of yours runs on this machine; `phi4local serve` starts one\n"
KEY = "a-key-for-others"
STORY = [{"role": "user", "content": "Tell me a long story."}]
ENDLESS = {"logit_bias": {str(token): -100 for token in range(8096, 8192)}, "max_tokens": 400}


@pytest.fixture(scope="module")
def home(tmp_path_factory, phi4local_home, run_cli, native_library):
    """A folder of this module's own servers, with the models of all."""
    folder = tmp_path_factory.mktemp("home")
    assert run_cli(["show", "phi4-nano"]).returncode == 0  # converts it
    (folder / "models").symlink_to(phi4local_home / "models")
    return folder


@pytest.fixture
def phi4local(home, run_cli):
    return lambda *words: run_cli(words, env={"PHI4LOCAL_HOME": str(home), "PHI4LOCAL_API_KEY": None})


@pytest.fixture(scope="module")
def serving(home):
    """Start servers that this module's commands know."""
    with contextlib.ExitStack() as running:
        yield lambda *options: running.enter_context(
            ServedProcess("phi4-nano", *options, env={"PHI4LOCAL_HOME": str(home)})
        )


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    file, key = folder / "certificate.pem", folder / "key.pem"
    what = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=someone"]
    made = subprocess.run(["openssl", *what, "-keyout", key, "-out", file], capture_output=True, check=False)
    if made.returncode:
        pytest.skip("no openssl here")
    return file, key


def code_of(server):
    """Wait until a server has ended by itself, and return its exit code."""
    server.process.wait(60)
    return server.stop()


def left(home):
    return sorted(path.name for path in (home / "servers").glob("*"))


def servers(phi4local):
    return json.loads(phi4local("ps", "--json").stdout)


def test_a_server_is_listed_unloads_its_model_and_stops(phi4local, home, serving):
    before = phi4local("ps")
    assert (before.returncode, before.stdout, before.stderr) == (0, "", NONE)
    server = serving()
    (told,) = servers(phi4local)
    (model,) = told["models"]
    assert (told["address"], told["pid"], told["tls"]) == (server.address, server.process.pid, False)
    assert (model["name"], model["quantization"], model["context_tokens"]) == ("phi4-nano", "Q8_0", 2048)
    assert Path(model["path"]).samefile(next((home / "models" / "files").rglob("*Q8_0.gguf")))
    table = phi4local("ps").stdout
    assert all(word in table for word in (server.address, "phi4-nano Q8_0", "10.9 MB", "2,048", "stays"))
    if sys.platform != "win32":
        (record,) = (home / "servers").glob("*.json")
        assert stat.S_IMODE(record.stat().st_mode) == 0o600

    unknown = phi4local("stop", "phi-4")
    assert unknown.returncode == 1
    assert unknown.stderr == "error: no server has `phi-4` in memory\nhint: in memory: `phi4-nano`\n"
    assert phi4local("stop", "phi4-nano").stderr == f"phi4-nano: unloaded from {server.address}\n"
    assert servers(phi4local)[0]["models"] == []
    done = phi4local("stop")
    assert (done.returncode, done.stderr) == (0, f"{server.address}: stopped\n")
    assert code_of(server) == 0
    assert left(home) == []
    again = phi4local("stop")
    assert (again.returncode, again.stderr) == (
        1,
        "error: no server of yours runs on this machine\nhint: `phi4local serve` starts one\n",
    )


@pytest.mark.skipif(sys.platform == "win32", reason="kills as POSIX does")
def test_a_killed_server_is_not_listed_and_its_record_goes(phi4local, home, serving):
    server = serving()
    assert len(left(home)) == 2
    server.process.kill()
    server.stop(signal.SIGKILL)
    assert phi4local("ps").stderr == NONE
    assert left(home) == []


def test_another_program_on_the_port_and_a_living_process_of_that_number_are_no_server(phi4local, home):
    heard = []

    class Stranger(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            heard.append((self.path, dict(self.headers)))
            body = b'{"proof": "of nothing", "protocol": 1, "guarded": false, "models": []}'
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Stranger) as stranger:
        thread = threading.Thread(target=stranger.serve_forever)
        thread.start()
        address = f"http://127.0.0.1:{stranger.server_port}"
        record = ServerRecord(address=address, pid=os.getpid(), model="phi4-nano", needs_key=False)
        (home / "servers").mkdir(exist_ok=True)
        text = json.dumps({name: getattr(record, name) for name in ServerRecord.__slots__})
        (home / "servers" / "0123456789abcdef.json").write_text(text, encoding="utf-8")
        assert phi4local("ps").stderr == NONE
        stranger.shutdown()
        thread.join()
    assert left(home) == []
    assert heard
    assert record.token not in str(heard)
    assert record.token not in repr(record)


def test_a_server_that_lives_and_says_nothing_is_listed_so_and_kept(phi4local, home, monkeypatch):
    monkeypatch.setenv("PHI4LOCAL_HOME", str(home))
    record = ServerRecord(address="http://127.0.0.1:9", model="phi4-nano", needs_key=False)
    with announced(record):
        (told,) = servers(phi4local)
        assert (told["answers"], told["models"]) == (False, [])
        assert "does not answer" in phi4local("ps").stdout
        assert len(left(home)) == 2
    assert left(home) == []


def refusal(address, path, body=b"{}", **headers):
    request = urllib.request.Request(f"{address}/phi4local/{path}", data=body, headers=headers)
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request)
    caught.value.close()
    return caught.value.code


def test_nobody_but_its_owner_stops_a_server(phi4local, home, serving, tmp_path, certificate):
    (tmp_path / "keys").write_text(KEY, encoding="utf-8")
    (tmp_path / "keys").chmod(0o600)
    file, private = certificate
    open_server = serving()
    shut = serving("--api-key-file", tmp_path / "keys", "--tls-certificate", file, "--tls-key", private)
    address = open_server.address
    for path, body in (("stop", b"{}"), ("unload", b'{"model": "phi4-nano"}')):
        assert refusal(address, path, body) == 403
        assert refusal(address, path, body, Authorization=f"Bearer {KEY}") == 403
        assert refusal(address, path, body, Origin="https://elsewhere.example") == 403
        assert refusal(address, path, body, Origin=address) == 403  # the server's own page
    with urllib.request.urlopen(f"{address}/phi4local/state") as answer:
        (model,) = json.load(answer)["models"]
    assert (model["path"], model["settings"]) == ("", {})
    trusting = ssl.create_default_context(cafile=file)
    trusting.check_hostname = False
    with pytest.raises(urllib.error.HTTPError, match="401") as caught:
        urllib.request.urlopen(f"{shut.address}/phi4local/state", context=trusting)
    caught.value.close()

    told = {
        one["address"]: one for one in servers(phi4local)
    }  # without the key, and nobody signed the certificate
    assert (told[shut.address]["needs_key"], told[shut.address]["tls"]) == (True, True)
    assert told[shut.address]["models"][0]["name"] == "phi4-nano"
    both = phi4local("stop")
    assert both.returncode == 1
    assert both.stderr.startswith("error: 2 servers run\nhint: say which: `")
    assert phi4local("stop", "http://localhost:9").stderr.startswith("error: no server of yours listens on")
    assert phi4local("stop", shut.address).returncode == 0
    assert code_of(shut) == 0

    with openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as client:
        story = client.chat.completions.create(model="phi4-nano", messages=STORY, stream=True, **ENDLESS)
        next(iter(story))
        assert servers(phi4local)[0]["models"][0]["users"] == 1
        stopping = threading.Thread(target=lambda: list(story))
        stopping.start()
        done = phi4local("stop", "--all")
        stopping.join()
    assert done.stderr == (
        f"{address}: 1 answer may still end; Ctrl-C here waits no longer\n{address}: stopped\n"
    )
    assert code_of(open_server) == 0
    assert left(home) == []


def test_a_folder_that_cannot_be_written_stops_no_server(tmp_path, phi4local_home):
    (tmp_path / "models").symlink_to(phi4local_home / "models")
    (tmp_path / "servers").write_text("no folder", encoding="utf-8")
    with ServedProcess("phi4-nano", env={"PHI4LOCAL_HOME": str(tmp_path)}) as server:
        urllib.request.urlopen(f"{server.address}/v1/models").close()  # now it hears signals
        assert server.stop() == 0
        assert any("`phi4local ps` will not know this server" in line for line in server.lines)
