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

import pytest

from phi4local.cli.ps import ps
from phi4local.cli.stop import stop
from phi4local.errors import FileWriteError, NoServerError
from phi4local.runtime.remote.records import ServerRecord, announced
from phi4local.runtime.remote.running import running_servers
from tests.served import ServedProcess

KEY = "a-key-for-others"
STORY = {
    "messages": [{"role": "user", "content": "Tell me a long story."}],
    "logit_bias": {str(token): -100 for token in range(8096, 8192)},
    "max_tokens": 150,
}


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


@pytest.fixture
def servers(home, monkeypatch):
    """What `ps` asks for, without the process around it."""
    monkeypatch.setenv("PHI4LOCAL_HOME", str(home))
    return running_servers


def test_a_server_is_listed_unloads_its_model_and_stops(phi4local, home, serving, servers):
    assert phi4local("ps").stderr == "no server of yours runs on this machine; `phi4local serve` starts one\n"
    server = serving()
    (told,) = json.loads(phi4local("ps", "--json").stdout)
    (model,) = told["models"]
    assert (told["address"], told["pid"], told["tls"]) == (server.address, server.process.pid, False)
    assert (model["name"], model["quantization"], model["context_tokens"]) == ("phi4-nano", "Q8_0", 2048)
    assert Path(model["path"]).samefile(next((home / "models" / "files").rglob("*Q8_0.gguf")))
    table = phi4local("ps").stdout
    assert all(word in table for word in (server.address, "phi4-nano Q8_0", "10.9 MB", "2,048", "stays"))
    if sys.platform != "win32":
        (record,) = (home / "servers").glob("*.json")
        assert stat.S_IMODE(record.stat().st_mode) == 0o600

    with pytest.raises(NoServerError, match="no server has `phi-4` in memory") as caught:
        stop("phi-4")
    assert caught.value.hint == "in memory: `phi4-nano`"
    assert phi4local("stop", "phi4-nano").stderr == f"phi4-nano: unloaded from {server.address}\n"
    assert servers()[0].state.models == ()
    done = phi4local("stop")
    assert (done.returncode, done.stderr) == (0, f"{server.address}: stopped\n")
    assert code_of(server) == 0
    assert left(home) == []
    again = phi4local("stop")
    assert again.returncode == 1
    assert again.stderr == (
        "error: no server of yours runs on this machine\nhint: `phi4local serve` starts one\n"
    )


@pytest.mark.skipif(sys.platform == "win32", reason="kills as POSIX does")
def test_a_killed_server_is_not_listed_and_its_record_goes(servers, home, serving):
    server = serving()
    assert len(left(home)) == 2
    server.process.kill()
    server.stop(signal.SIGKILL)
    assert servers() == []
    assert left(home) == []


def test_another_program_on_the_port_and_a_living_process_of_that_number_are_no_server(servers, home):
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
        assert servers() == []
        stranger.shutdown()
        thread.join()
    assert left(home) == []
    assert heard
    assert record.token not in str(heard)
    assert record.token not in repr(record)


def test_a_server_that_lives_and_says_nothing_is_listed_so_and_waited_for(home, servers, capsys):
    record = ServerRecord(address="http://127.0.0.1:9", model="phi4-nano", needs_key=False)
    with announced(record):
        assert [(one.proven, one.state) for one in servers()] == [(False, None)]
        ps()
        assert "does not answer" in capsys.readouterr().out
        assert len(left(home)) == 2
        words = [sys.executable, "-m", "phi4local", "stop"]
        stopping = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
        first = stopping.stderr.readline()
    _, rest = stopping.communicate(timeout=60)
    waiting = f"waiting for the end of process {os.getpid()}, or Ctrl-C"
    assert first == f"http://127.0.0.1:9: does not answer; {waiting}\n"
    assert (rest, stopping.returncode) == ("http://127.0.0.1:9: stopped\n", 0)
    assert left(home) == []


def test_nobody_but_its_owner_stops_a_server(phi4local, home, servers, serving, tmp_path, certificate):
    (tmp_path / "keys").write_text(KEY, encoding="utf-8")
    (tmp_path / "keys").chmod(0o600)
    file, private = certificate
    server = serving("--api-key-file", tmp_path / "keys", "--tls-certificate", file, "--tls-key", private)
    trusting = ssl.create_default_context(cafile=file)
    trusting.check_hostname = False
    key = {"Authorization": f"Bearer {KEY}"}

    def ask(path, body=None, **headers):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{server.address}{path}", data=data, headers=headers)
        return urllib.request.urlopen(request, context=trusting)

    def refusal(path, body=None, **headers):
        with pytest.raises(urllib.error.HTTPError) as caught:
            ask(f"/phi4local/{path}", body, **headers)
        caught.value.close()
        return caught.value.code

    assert refusal("state") == 401
    assert refusal("hello?nonce=short") == 404
    for path, body in (("stop", {}), ("unload", {"model": "phi4-nano"})):
        assert refusal(path, body) == 401
        assert refusal(path, body, **key) == 403
        for page in ("https://elsewhere.example", server.address):  # the server's own page, too
            assert refusal(path, body, Origin=page, **key) == 403
    with ask("/phi4local/state", **key) as answer:
        (model,) = json.load(answer)["models"]
    assert (model["path"], model["settings"]) == ("", {})

    (told,) = servers()  # without the key; and nobody signed the certificate
    assert told.record.needs_key
    assert told.state.models[0].name == "phi4-nano"
    with announced(ServerRecord(address="http://127.0.0.1:9", model="", needs_key=False)):
        with pytest.raises(NoServerError, match="2 servers run") as caught:
            stop()
        assert server.address in caught.value.hint
        with pytest.raises(NoServerError, match="no server of yours listens on"):
            stop("http://localhost:8")

    with ask("/v1/chat/completions", {"model": "phi4-nano", "stream": True, **STORY}, **key) as story:
        story.readline()
        assert servers()[0].state.models[0].users == 1
        reading = threading.Thread(target=story.read)
        reading.start()
        done = phi4local("stop", "--all")
        reading.join()
    assert done.stderr == (
        f"{server.address}: 1 answer may still end; Ctrl-C here waits no longer\n{server.address}: stopped\n"
    )
    assert code_of(server) == 0
    assert left(home) == []


def test_a_record_that_cannot_be_written_is_an_error(home, servers):
    (home / "servers").rmdir()
    (home / "servers").write_text("no folder", encoding="utf-8")
    with (
        pytest.raises(FileWriteError),
        announced(ServerRecord(address="http://127.0.0.1:9", model="", needs_key=False)),
    ):
        pass
