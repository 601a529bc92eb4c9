"""A file at a server, read without being kept: what is read is the file, or an error says it is not."""

import dataclasses
import hashlib
import random
from pathlib import Path

import pytest

from phi4local import gguf
from phi4local.errors import DamagedFileError, DownloadError
from phi4local.store import reader, sources
from phi4local.store.download import DownloadSettings
from phi4local.store.reader import RemoteReader
from phi4local.store.references import parse
from tests.hubs import Fault
from tests.hubs.fixtures import huggingface, modelscope, no_secrets, registry  # noqa: F401

BYTES = b"GGUF" + random.Random(6).randbytes(3_000_000)
IMPATIENT = DownloadSettings(
    stall_seconds=0.5, tries=4, first_wait_seconds=0.01, longest_wait_seconds=0.05, longest_pause_seconds=0.1
)


def at_hugging_face(hub):
    hub.add("u/r", {"m-Q4_K_M.gguf": BYTES})
    return "hf.co/u/r"


def at_modelscope(hub):
    hub.add("u/r", {"m-Q4_K_M.gguf": BYTES})
    return "modelscope.cn/u/r"


def at_a_registry(hub):
    hub.add("library/phi4:14b", [("model", BYTES)])
    return "phi4:14b"


SOURCES = {"huggingface": at_hugging_face, "modelscope": at_modelscope, "registry": at_a_registry}


@pytest.fixture(params=SOURCES)
def served(request):
    hub = request.getfixturevalue(request.param)
    files = sources.resolve(parse(SOURCES[request.param](hub))).files
    return hub, next(file for file in files if file.size_bytes == len(BYTES))


@pytest.fixture
def file(huggingface):  # noqa: F811
    at_hugging_face(huggingface)
    return sources.resolve(parse("hf.co/u/r")).files[0]


def test_ranges_are_those_of_the_file_and_one_connection_brings_them(served):
    hub, file = served
    with RemoteReader(file, IMPATIENT) as remote:
        assert remote.size_bytes == len(BYTES)
        for offset, count in ((0, 4), (2, 10), (4096, 100_000), (1_000_000, 1), (10, 5), (2_999_000, 10**9)):
            assert remote.read(offset, count) == BYTES[offset : offset + count], (offset, count)
        assert remote.read(len(BYTES), 5) == b""
        remote.finish()
    assert max(hub.served.values()) == len(BYTES)


@pytest.mark.parametrize(
    "fault",
    [
        Fault(cut_after=1_200_000, ending="reset"),
        Fault(cut_after=700_000, times=2),
        Fault(cut_after=100_000, ending="stall"),
        Fault(status=503, headers={"Retry-After": "0"}, times=2),
        Fault(ignore_range=True, times=10**9),
    ],
)
@pytest.mark.parametrize("where", ["front", "middle"])
def test_a_broken_connection_is_taken_up_again(file, huggingface, fault, where):  # noqa: F811
    # The answer to the second request is about the rest of the file.
    faults = [Fault(route="cdn", cut_after=500_001)] if where == "middle" else []
    huggingface.faults = [*faults, dataclasses.replace(fault, route="cdn")]
    with RemoteReader(file, IMPATIENT) as remote:
        assert b"".join(remote.read(at, 250_000) for at in range(0, len(BYTES), 250_000)) == BYTES
        remote.finish()


def test_a_flipped_bit_is_found_by_finish_and_names_both_digests(served):
    hub, file = served
    hub.faults = [Fault(file=file.path, flip=2_000_000, times=10**9), Fault(flip=2_000_000, times=10**9)]
    with RemoteReader(file, IMPATIENT) as remote:
        remote.read(0, 100)
        with pytest.raises(DamagedFileError) as caught:
            remote.finish()
    damaged = bytearray(BYTES)
    damaged[2_000_000] ^= 1
    assert hashlib.sha256(damaged).hexdigest() in str(caught.value)
    assert hashlib.sha256(BYTES).hexdigest() in str(caught.value)


def test_the_beginning_may_be_read_again_and_the_rest_may_not(file, monkeypatch):
    monkeypatch.setattr(reader, "KEPT_BYTES", 1000)
    with RemoteReader(file, IMPATIENT) as remote:
        assert remote.read(0, 5000) == BYTES[:5000]
        assert remote.read(0, 1000) == BYTES[:1000]
        assert remote.read(5000, 10) == BYTES[5000:5010]
        for offset, count in ((999, 2), (4000, 10), (5005, 100), (-1, 10)):
            with pytest.raises(ValueError, match="went by"):
                remote.read(offset, count)
        remote.finish()


def test_what_reaches_over_the_end_of_the_beginning_is_put_together(file, monkeypatch):
    monkeypatch.setattr(reader, "KEPT_BYTES", 1000)
    with RemoteReader(file, IMPATIENT) as remote:
        assert remote.read(0, 600) == BYTES[:600]
        assert remote.read(300, 2000) == BYTES[300:2300]
        remote.finish()


def test_a_server_that_keeps_breaking_off_is_given_up(file, huggingface):  # noqa: F811
    huggingface.faults = [Fault(route="cdn", cut_after=0, times=10**9)]
    with RemoteReader(file, IMPATIENT) as remote, pytest.raises(DownloadError, match="cannot be read"):
        remote.read(0, 4)
    assert len([seen for seen in huggingface.requests if seen.server == "cdn"]) == IMPATIENT.tries


def test_a_gguf_header_is_read_through_it(huggingface, tmp_path):  # noqa: F811
    import gguf as oracle
    import numpy

    path = tmp_path / "m-Q8_0.gguf"
    writer = oracle.GGUFWriter(path, "phi3")
    writer.add_array("tokens", [f"token {number}" for number in range(20_000)])
    writer.add_tensor("x", numpy.ones((4, 4), numpy.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    huggingface.add("u/s", {path.name: path.read_bytes()})
    (file,) = sources.resolve(parse("hf.co/u/s")).files
    with RemoteReader(file, IMPATIENT) as remote:
        header = gguf.read_header_of(remote.read, Path(file.path), file.size_bytes)
        remote.finish()
    assert [tensor.name for tensor in header.tensors] == ["x"]
