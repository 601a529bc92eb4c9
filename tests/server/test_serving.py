"""The process: how it starts, whom it lets in, how much it takes, and how it stops."""

import concurrent.futures
import contextlib
import json
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from urllib.parse import urlsplit

import anthropic
import openai
import pytest

from phi4local.errors import InvalidSettingError
from phi4local.server.options import ServerOptions
from phi4local.server.run import check_certificate, listening_socket
from tests.served import ServedProcess

ENDLESS = {"logit_bias": {str(token): -100 for token in range(8096, 8192)}, "max_tokens": 1900}
"""Without the control tokens of phi4-nano an answer goes on."""
QUESTION = [{"role": "user", "content": "What is 3 plus 4?"}]
STORY = [{"role": "user", "content": "Tell me a long story."}]

posix = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


def client_of(server, key="none"):
    return openai.OpenAI(base_url=f"{server.address}/v1", api_key=key, max_retries=0)


def test_endless_answer_has_no_end(served):
    with client_of(served) as client:
        got = client.chat.completions.create(
            model="phi4-nano", messages=STORY, **{**ENDLESS, "max_tokens": 150}
        )
    assert got.choices[0].finish_reason == "length"


def test_busy_port_is_one_error_and_one_hint(served, run_cli):
    port = served.address.rpartition(":")[2]
    done = run_cli(["serve", "phi4-nano", "--port", port])
    assert done.returncode == 1
    assert done.stderr == (
        f"error: cannot listen on 127.0.0.1 port {port}: address already in use\n"
        "hint: choose another with `--port`, or end the program that has it\n"
    )


def test_network_is_not_served_without_a_key(run_cli):
    done = run_cli(
        ["serve", "phi4-nano", "--host", "0.0.0.0", "--port", "0"], env={"PHI4LOCAL_API_KEY": None}
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 2
    assert "--api-key-file" in done.stderr.splitlines()[1]


def test_health_proves_that_tokens_come_out(served):
    with urllib.request.urlopen(f"{served.address}/health") as answer:
        assert json.load(answer) == {"status": "ok", "models": {"phi4-nano": "ready"}}


def test_unknown_address_is_not_found_in_openais_shape(served):
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"{served.address}/v1/nothing")
    assert caught.value.code == 404
    assert json.load(caught.value)["error"]["type"] == "not_found_error"


@pytest.fixture(scope="module")
def small(tmp_path_factory, native_library):
    """A server with two keys, one place, one waiting place and a guard."""
    folder = tmp_path_factory.mktemp("served")
    (folder / "keys").write_text("first-key\nsecond-key\n", encoding="utf-8")
    (folder / "keys").chmod(0o644)
    (folder / "policy.toml").write_text(
        'input = ["words"]\noutput = ["plus"]\nlog_file = "log"\n'
        '[rules.words]\nkind = "words"\nwords = ["blue heron"]\n'
        '[rules.plus]\nkind = "words"\nwords = ["plus"]\n',
        encoding="utf-8",
    )
    arguments = ("--api-key-file", folder / "keys", "--guard", folder / "policy.toml")
    with ServedProcess("phi4-nano", *arguments, "--parallel", "1", "--queue", "1") as server:
        yield server


def test_only_a_key_opens(small):
    for key in ("wrong", "first-ke", "first-keyy"):
        with client_of(small, key) as client, pytest.raises(openai.AuthenticationError):
            client.models.list()
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(f"{small.address}/v1/models")
    other = anthropic.Anthropic(base_url=small.address, api_key="wrong", max_retries=0)
    with other, pytest.raises(anthropic.AuthenticationError):
        other.messages.create(model="phi4-nano", messages=QUESTION, max_tokens=1)
    for key in ("first-key", "second-key"):
        with client_of(small, key) as client:
            assert client.models.retrieve("phi4-nano").id == "phi4-nano"
    with urllib.request.urlopen(f"{small.address}/health") as answer:
        assert answer.status == 200


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such bits")
def test_a_key_that_others_can_read_is_told(small):
    assert sum("other users of this machine can read" in line for line in small.lines) == 1


def test_full_queue_says_when_to_come_back(small):
    def ask(messages, **options):
        with client_of(small, "first-key") as client:
            return client.chat.completions.create(model="phi4-nano", messages=messages, **options)

    def ask_anthropics(messages, **options):
        with anthropic.Anthropic(base_url=small.address, api_key="first-key", max_retries=0) as client:
            return client.messages.create(model="phi4-nano", messages=messages, **options)

    with client_of(small, "first-key") as client, concurrent.futures.ThreadPoolExecutor(4) as pool:
        running = client.chat.completions.create(
            model="phi4-nano", messages=STORY, stream=True, **{**ENDLESS, "max_tokens": 1500}
        )
        next(iter(running))
        asked = [pool.submit(one, STORY, max_tokens=2) for one in (ask, ask_anthropics, ask, ask_anthropics)]
        ended = concurrent.futures.as_completed(asked)
        errors = [next(ended).exception() for _ in range(3)]
        running.close()  # the one that waits comes to its turn
        assert next(ended).exception() is None
    assert {type(error) for error in errors} <= {openai.RateLimitError, anthropic.RateLimitError}
    assert {error.response.headers["Retry-After"] for error in errors} == {"1"}


@pytest.mark.parametrize("stream", [False, True])
def test_guard_refuses_and_ends(small, stream):
    with client_of(small, "first-key") as client:
        with pytest.raises(openai.BadRequestError, match="guard"):
            client.chat.completions.create(
                model="phi4-nano",
                messages=[{"role": "system", "content": "Mention the blue heron."}, *QUESTION],
                stream=stream,
            )
        got = client.chat.completions.create(
            model="phi4-nano", messages=QUESTION, temperature=0, stream=stream
        )
        choices = [choice for chunk in got for choice in chunk.choices] if stream else got.choices
        assert choices[-1].finish_reason == "content_filter"
        said = [choice.delta if stream else choice.message for choice in choices]
        assert "".join(part.content or "" for part in said).strip() in ("", "3")
        assert any(part.refusal for part in said)


def test_guard_cannot_be_passed_with_token_ids(small):
    with client_of(small, "first-key") as client, pytest.raises(openai.BadRequestError) as caught:
        client.completions.create(model="phi4-nano", prompt=[100, 200])
    assert caught.value.param == "prompt"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate for 127.0.0.1, made by OpenSSL, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("needs the openssl program")
    folder = tmp_path_factory.mktemp("tls")
    names = ("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1")
    kind = ("-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
    files = folder / "cert.pem", folder / "key.pem"
    command = ["openssl", "req", *kind, *names, "-out", files[0], "-keyout", files[1]]
    subprocess.run(command, check=True, capture_output=True)
    return files


@pytest.fixture(scope="module")
def https(native_library, certificate):
    file, key = certificate
    options = ("--tls-certificate", file, "--tls-key", key, "--client-seconds", 1)
    with ServedProcess("phi4-nano", *options) as server:
        yield server, ssl.create_default_context(cafile=file)
        assert server.stop() == 0


def test_https_is_served_with_a_certificate(https):
    server, trusting = https
    assert server.address.startswith("https://127.0.0.1:")
    with urllib.request.urlopen(f"{server.address}/v1/models", context=trusting) as answer:
        assert json.load(answer)["data"]


def in_use(server, trusting):
    with urllib.request.urlopen(f"{server.address}/phi4local/state", context=trusting) as answer:
        return json.load(answer)["models"][0]["users"]


def test_https_hangs_up_on_slow_clients_too(https):
    server, trusting = https
    place = urlsplit(server.address)
    asked = {"model": "phi4-nano", "prompt": "Once", "stream": True, "logprobs": 5, **ENDLESS, "n": 4}
    body = json.dumps(asked).encode()
    head = f"POST /v1/completions HTTP/1.1\r\nHost: {place.netloc}\r\nContent-Length: {len(body)}\r\n\r\n"
    with contextlib.ExitStack() as kept:
        clients = []
        for _ in range(2):
            client = kept.enter_context(socket.socket())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.settimeout(60)
            client.connect((place.hostname, place.port))
            clients.append(kept.enter_context(trusting.wrap_socket(client, server_hostname=place.hostname)))
        silent, reader = clients
        reader.sendall(head.encode() + body)
        assert reader.recv(12) == b"HTTP/1.1 200"
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            assert silent.recv(1) == b""
        while in_use(server, trusting):
            time.sleep(0.05)
        got = b""
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            while piece := reader.recv(65536):
                got += piece
    assert b"[DONE]" not in got


def test_certificate_that_cannot_be_used_is_refused(certificate, run_cli, tmp_path):
    file, key = certificate
    (tmp_path / "none.pem").write_text("no certificate", encoding="utf-8")
    for wrong in ((tmp_path / "none.pem", key), (file, file), (tmp_path / "missing", key)):
        options = ServerOptions(certificate=str(wrong[0]), certificate_key=str(wrong[1]))
        with pytest.raises(InvalidSettingError, match="cannot be used"):
            check_certificate(options)
    done = run_cli(["serve", "phi4-nano", "--tls-certificate", file])
    assert done.stderr.splitlines()[1] == "hint: give both `--tls-certificate` and `--tls-key`"


@posix
@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.full)])
def test_running_answer_ends_before_the_server_does(native_library, number):
    with ServedProcess("phi4-nano") as server, client_of(server) as client:
        stream = client.chat.completions.create(
            model="phi4-nano", messages=STORY, stream=True, **{**ENDLESS, "max_tokens": 1000}
        )
        chunks = iter(stream)
        next(chunks)
        server.process.send_signal(number)
        assert [choice.finish_reason for chunk in chunks for choice in chunk.choices][-1] == "length"
        assert server.process.wait(60) == server.stop() == 0
        assert "stopping: 1 answer has 30 seconds" in server.lines[-1]


@posix
def test_second_signal_hangs_up(native_library):
    with ServedProcess("phi4-nano") as server, client_of(server) as client:
        stream = client.chat.completions.create(
            model="phi4-nano", messages=STORY, stream=True, **{**ENDLESS, "max_tokens": 1900}
        )
        chunks = iter(stream)
        next(chunks)
        server.process.send_signal(signal.SIGINT)
        while not any("stopping" in line for line in server.lines):
            next(chunks)
        server.process.send_signal(signal.SIGINT)
        with pytest.raises(Exception, match=r"(?i)peer|read|connect"):
            list(chunks)
        assert server.process.wait(60) == 130
        assert server.stop() == 130
        assert [line for line in server.lines if "Traceback" in line] == []


def test_answers_are_sent_at_once():
    with listening_socket(ServerOptions(port=0)) as listener:
        # What asyncio looks at before it sets TCP_NODELAY (`_set_nodelay` in asyncio/base_events.py).
        assert (listener.type, listener.proto) == (socket.SOCK_STREAM, socket.IPPROTO_TCP)
