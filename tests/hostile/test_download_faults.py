"""Servers that break off, stall, lie and refuse: the file comes, or one error says why it does not."""

import dataclasses
import hashlib
import random

import pytest

from phi4local.errors import DamagedFileError, DownloadError
from phi4local.store import blobs, home, sources
from phi4local.store.download import fetch, read_range
from phi4local.store.download.fetch import work_name
from phi4local.store.references import parse
from tests.hostile.download_faults import FAULTS, IMPATIENT, Case
from tests.hubs import Fault
from tests.hubs.fixtures import huggingface, modelscope, no_secrets, registry  # noqa: F401

NAME = "phi-4-Q4_K_M.gguf"
BYTES = b"GGUF" + random.Random(4).randbytes(299_996)
DIGEST = hashlib.sha256(BYTES).hexdigest()


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("PHI4LOCAL_HOME", str(tmp_path / "home"))


def at_hugging_face(hub):
    hub.add("u/r", {NAME: BYTES})
    return "hf.co/u/r", "resolve"


def at_modelscope(hub):
    hub.add("u/r", {NAME: BYTES})
    return "modelscope.cn/u/r", "resolve"


def at_a_registry(hub):
    hub.add("library/phi4:14b", [("model", BYTES)])
    return "phi4:14b", "blob"


SOURCES = {"huggingface": at_hugging_face, "modelscope": at_modelscope, "registry": at_a_registry}


@pytest.fixture(params=SOURCES)
def served(request, store):
    """The hub, the file as its source resolves it, and the name of its route to files."""
    hub = request.getfixturevalue(request.param)
    name, route = SOURCES[request.param](hub)
    (file,) = (file for file in sources.resolve(parse(name)).files if file.sha256 == DIGEST)
    return hub, file, route


def prepare(case: Case, hub, file, route):
    if case.early:
        half = [Fault(route="cdn", cut_after=20_000, times=10**9)]
        hub.faults = half
        with pytest.raises(DownloadError):
            fetch(file, settings=dataclasses.replace(IMPATIENT, tries=1))
        hub.faults = []
    else:
        hub.faults = [
            dataclasses.replace(fault, route=route if fault.route == "origin" else fault.route)
            for fault in case.faults()
        ]
    return dataclasses.replace(file, url=case.address(file.url)) if case.address else file


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_ends_in_the_file_or_in_one_error(served, name):
    case, (hub, file, route) = FAULTS[name], served
    file = prepare(case, hub, file, route)
    told = []
    if case.says:
        with pytest.raises(DownloadError, match=case.says) as caught:
            fetch(file, settings=IMPATIENT, progress=told.append)
        assert caught.value.hint
        assert "Signature" not in str(caught.value)
        assert not blobs.is_here(DIGEST, len(BYTES))
    else:
        assert fetch(file, settings=IMPATIENT, progress=told.append).sha256 == DIGEST
        assert blobs.blob_path(DIGEST).read_bytes() == BYTES
        assert list(home.unfinished_folder().iterdir()) == []
    done = [report.done_bytes for report in told]
    assert done == sorted(done)
    assert all(value <= len(BYTES) for value in done)


def test_damage_is_said_with_both_digests(served):
    hub, file, _ = served
    hub.faults = [Fault(route="cdn", flip=5, times=10**9)]
    with pytest.raises(DamagedFileError) as caught:
        fetch(file, settings=IMPATIENT)
    wrong = bytearray(BYTES)
    wrong[5] ^= 1
    assert DIGEST in str(caught.value)
    assert hashlib.sha256(wrong).hexdigest() in str(caught.value)
    assert list((home.unfinished_folder() / work_name(file)).iterdir()) == []


def test_what_came_before_an_error_is_not_fetched_again(served):
    hub, file, _ = served
    hub.faults = [Fault(route="cdn", cut_after=4_000, skip=2, times=10**9)]
    with pytest.raises(DownloadError):
        fetch(file, settings=dataclasses.replace(IMPATIENT, tries=3, progress_bytes=10**9))
    hub.faults = []
    before = sum(hub.served.values())
    told = []
    fetch(file, settings=IMPATIENT, progress=told.append)
    again = sum(hub.served.values()) - before
    assert told[0].reused_bytes > 100_000
    assert again < len(BYTES) - told[0].reused_bytes + 2000  # and the hub's own small answers


def test_a_network_that_breaks_all_streams_at_once_is_no_worse_than_one_that_breaks_one(served):
    hub, file, _ = served
    hub.faults = [Fault(route="cdn", cut_after=0, ending="reset", skip=1, times=9)]
    assert IMPATIENT.connections == 3
    assert IMPATIENT.tries == 4
    assert fetch(file, settings=IMPATIENT).sha256 == DIGEST


def test_a_part_of_a_file_is_read_through_broken_connections(served):
    hub, file, _ = served
    hub.faults = [Fault(route="cdn", cut_after=10, ending="reset", times=3), Fault(route="cdn", status=503)]
    assert read_range(file, 1000, 500, settings=dataclasses.replace(IMPATIENT, tries=8)) == BYTES[1000:1500]
    assert read_range(file, len(BYTES) - 3, 50, settings=IMPATIENT) == BYTES[-3:]


def test_a_signed_address_is_asked_for_once_and_again_when_it_expires(served):
    """Hubs count requests: 9 GB in parts of 16 MiB are 540."""
    hub, file, _ = served
    fetch(file, settings=IMPATIENT)
    at_origin = [seen for seen in hub.requests if seen.server == "hub" and file.url.endswith(seen.target)]
    assert 1 <= len(at_origin) <= 1 + IMPATIENT.connections
    assert len([seen for seen in hub.requests if seen.server == "cdn"]) >= len(BYTES) // IMPATIENT.part_bytes


def test_an_address_that_expires_in_the_middle_costs_one_more(served):
    hub, file, _ = served
    hub.signature_bytes = 100_000
    assert fetch(file, settings=dataclasses.replace(IMPATIENT, tries=8)).sha256 == DIGEST
    at_origin = [seen for seen in hub.requests if seen.server == "hub" and file.url.endswith(seen.target)]
    assert 2 <= len(at_origin) <= 12
