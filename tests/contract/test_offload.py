"""Where weights are does not change the answer: other buffers, and layers behind ggml's RPC server."""

import contextlib
import json
import socket
import subprocess
import threading

import pytest

from benchmarks import build_peers
from phi4local import gguf
from phi4local.convert import convert_checkpoint
from phi4local.engine import Request
from phi4local.engine.engine import Engine
from phi4local.engine.worker import EngineWorker
from phi4local.errors import InvalidSettingError
from phi4local.native import devices
from phi4local.prompts import TokenSegment
from phi4local.runtime.facts import file_facts
from phi4local.settings import LoadSettings, SamplingSettings

pytestmark = pytest.mark.usefixtures("native_library")
HELLO_BYTES = 1 + 8 + 24


@pytest.fixture(scope="module")
def file(checkpoint, tmp_path_factory):
    path = tmp_path_factory.mktemp("offload") / "nano-F32.gguf"
    convert_checkpoint(checkpoint, path, "F32")
    return file_facts(gguf.validate(path)).model_file()


@pytest.fixture(scope="module")
def expected(checkpoint):
    return json.loads((checkpoint / "expected-greedy.json").read_text())["greedy"][0]


def greedy_ids(engine, case):
    request = Request(
        segments=(TokenSegment(tuple(case["prompt_ids"])),),
        sampling=SamplingSettings(temperature=0),
        max_tokens=64,
    )
    return list(engine.submit(request).result().token_ids)


def test_tensors_in_another_buffer_give_the_ids_of_transformers(file, expected):
    override = r"blk\.[2-5]\.ffn_.*=CPU"
    settings = LoadSettings(context_tokens=256, threads=1, tensor_overrides=(override,), kv_offload=False)
    with Engine(file, settings) as engine:
        assert engine.facts.settings.tensor_overrides == (override,)
        assert greedy_ids(engine, expected) == expected["generated_ids"]


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        (LoadSettings(tensor_overrides=("ffn=CUDA99",)), "tensor_overrides"),
        (LoadSettings(main_gpu=15), "main_gpu"),
        (LoadSettings(split_mode="row"), "split_mode"),
        (LoadSettings(tensor_split=(1.0,) * 16), "tensor_split"),
    ],
)
def test_a_device_that_is_not_there_is_an_error_and_no_crash(file, settings, name):
    with EngineWorker() as worker, pytest.raises(InvalidSettingError, match=f"`{name}`"):
        worker.load(file, settings)


def test_an_override_that_fits_nothing_is_an_error(run_cli):
    done = run_cli(["run", "phi4-nano", "Hello", "--tensor-override", "fnn_up=CPU"])
    assert done.returncode == 1
    assert "fits no tensor" in done.stderr
    assert done.stdout == ""


def test_the_processor_is_a_device_and_no_layer_is_offloaded_to_it():
    (cpu,) = [device for device in devices.devices() if device.kind == devices.CPU]
    assert cpu.total_bytes > 0
    assert cpu.buffer_type in devices.buffer_types()
    assert cpu not in devices.offload_devices()


@contextlib.contextmanager
def server(answer):
    """A server that reads one hello, answers with some bytes and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            connection, _ = listener.accept()
            with connection:
                connection.recv(HELLO_BYTES, socket.MSG_WAITALL)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        thread.join()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", "no RPC server"),
        (b"", "no RPC server"),
        ((28).to_bytes(8, "little") + bytes([6]) + bytes(27), "speaks version 6"),
    ],
)
def test_what_is_no_rpc_server_of_this_version_is_refused(answer, words):
    with server(answer) as endpoint, pytest.raises(InvalidSettingError, match=words):
        devices.check_rpc_server(endpoint)


def test_a_closed_port_is_refused():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        endpoint = f"127.0.0.1:{listener.getsockname()[1]}"
    with pytest.raises(InvalidSettingError, match="does not answer"):
        devices.check_rpc_server(endpoint)


@pytest.fixture(scope="module")
def peers():
    """The programs of `python -m benchmarks.build_peers`; a CI does not compile llama.cpp a second time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PHI4LOCAL_CACHE")  # the tests' own, which is empty
        found = build_peers.find()
    return found or pytest.skip("needs the programs of `python -m benchmarks.build_peers`")


@pytest.fixture
def rpc_server(peers):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        endpoint = f"127.0.0.1:{listener.getsockname()[1]}"
    host, _, port = endpoint.partition(":")
    command = [peers.program("ggml-rpc-server", built=True), "-H", host, "-p", port, "-t", "1"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None:
            with contextlib.suppress(InvalidSettingError):
                devices.check_rpc_server(endpoint)
                break
        yield endpoint
        process.kill()


def test_layers_behind_an_rpc_server_give_the_ids_of_transformers(
    peers, rpc_server, file, expected, run_cli, monkeypatch
):
    monkeypatch.setenv("LLAMA_CPP_LIB_PATH", str(peers.built))
    with EngineWorker() as worker:
        facts = worker.load(file, LoadSettings(context_tokens=256, threads=1, rpc=(rpc_server,)))
        assert facts.settings.gpu_layers == file.layers + 1
        assert greedy_ids(worker, expected) == expected["generated_ids"]
    done = run_cli(["run", "phi4-nano", "Hello", "--temperature", "0", "--rpc", rpc_server])
    assert done.returncode == 0, done.stderr
    assert "trusted network" in done.stderr
    assert done.stdout.strip()


def test_rpc_needs_a_build_that_has_it(run_cli):
    done = run_cli(
        ["run", "phi4-nano", "Hello", "--rpc", "127.0.0.1:50052"], env={"LLAMA_CPP_LIB_PATH": None}
    )
    assert done.returncode == 1
    # Without the back end the hint says how to build it; with it, nothing listens on that port.
    assert "GGML_RPC" in done.stderr or "does not answer" in done.stderr
    assert done.stdout == ""
