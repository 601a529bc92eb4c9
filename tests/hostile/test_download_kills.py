"""Downloads that are killed, run twice at once, or meet a disk that refuses: little comes twice."""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time

import pytest

from phi4local.errors import FileWriteError
from phi4local.store import blobs, home, sources
from phi4local.store.download import DownloadSettings, fetch, recorded_bytes
from phi4local.store.download.fetch import work_name
from phi4local.store.download.state import State
from phi4local.store.locks import locked
from phi4local.store.references import parse
from tests.hubs.fixtures import huggingface, no_secrets  # noqa: F401

NAME = "phi-4-Q4_K_M.gguf"
SIZE = 40 * 2**20
TWICE = 8 * 2**20
FETCH = """
import sys
from phi4local.store import sources
from phi4local.store.download import fetch
from phi4local.store.references import parse
(file,) = sources.resolve(parse("hf.co/u/r")).files
print(fetch(file).sha256)
"""


@pytest.fixture(scope="module")
def content():
    return random.Random(9).randbytes(SIZE)


@pytest.fixture
def hub(huggingface, tmp_path, monkeypatch, content):  # noqa: F811
    monkeypatch.setenv("PHI4LOCAL_HOME", str(tmp_path / "home"))
    huggingface.add("u/r", {NAME: content})
    return huggingface


def start(**environment):
    return subprocess.Popen(
        [sys.executable, "-c", FETCH],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def the_file():
    (file,) = sources.resolve(parse("hf.co/u/r")).files
    return file


def wait_until(true, process):
    """Poll what the server counts: there is nothing to wait on in a process that is to be killed."""
    while not true() and process.poll() is None:
        time.sleep(0.0005)


@pytest.mark.parametrize(
    "kills", [12, pytest.param(150, marks=pytest.mark.full)], ids=["12 kills", "150 kills"]
)
def test_a_killed_download_goes_on_where_it_was(hub, content, tmp_path, monkeypatch, kills):
    """What a kill costs is what was sent until then and is not in the record that the next one reads."""
    choose = random.Random(6)
    costs = []
    for number in range(kills // 2):
        monkeypatch.setenv("PHI4LOCAL_HOME", str(tmp_path / str(number)))
        hub.served.clear()
        lost = 0
        for least in sorted(choose.randrange(SIZE) for _ in range(2)):
            process = start()
            wait_until(lambda least=least: hub.served[NAME] >= least, process)
            process.send_signal(signal.SIGKILL)
            process.communicate()
            file = the_file()
            if not blobs.is_here(file.sha256, SIZE):
                costs.append(hub.served[NAME] - lost - recorded_bytes(file))
                lost += costs[-1]
        assert fetch(the_file()).sha256 == hashlib.sha256(content).hexdigest()
        assert hub.served[NAME] <= SIZE + lost + TWICE  # answers to the dead, sent after they were counted
        for path in sorted((tmp_path / str(number)).rglob("*"), reverse=True):
            path.chmod(0o755)
            path.rmdir() if path.is_dir() else path.unlink()
    assert len(costs) > kills // 2
    assert max(costs) <= TWICE


def test_two_downloads_at_once_ask_the_server_for_the_bytes_once(hub, content):
    processes = [start() for _ in range(3)]
    answers = [process.communicate(timeout=120) for process in processes]
    assert [text.strip() for text, _ in answers] == [hashlib.sha256(content).hexdigest()] * 3, answers
    assert hub.served[NAME] == SIZE


def test_threads_of_one_process_share_a_download_too(hub, content):
    file, notes, digests = the_file(), [], []
    threads = [
        threading.Thread(target=lambda: digests.append(fetch(file, progress=notes.append).sha256))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert digests == [hashlib.sha256(content).hexdigest()] * 3
    assert hub.served[NAME] == SIZE
    assert any("another process" in report.note for report in notes)


@pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX")
@pytest.mark.parametrize("limit", [1000, 2**20, SIZE - 1])
def test_a_disk_that_is_full_keeps_what_came(hub, content, limit):
    """A limit on the size of files stands for it: writing fails in the middle, with the bytes before kept."""
    code = f"""
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
from phi4local.errors import FileWriteError
try:
    exec({FETCH!r})
except FileWriteError as error:
    print("refused:", error, "hint:", error.hint)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout.startswith("refused:"), done.stderr
    before = hub.served[NAME]
    assert fetch(the_file()).sha256 == hashlib.sha256(content).hexdigest()
    assert hub.served[NAME] - before <= SIZE


@pytest.mark.skipif(sys.platform != "linux", reason="a place where not even root may write")
def test_a_store_that_is_read_only_is_an_error(hub, monkeypatch):
    file = the_file()
    monkeypatch.setenv("PHI4LOCAL_HOME", "/sys/phi4local")
    with pytest.raises(FileWriteError) as caught:
        fetch(file)
    assert "PHI4LOCAL_HOME" in caught.value.hint


def test_a_store_whose_folder_is_a_file_is_an_error(hub, tmp_path):
    (tmp_path / "home").write_text("in the way")
    with pytest.raises(FileWriteError) as caught:
        fetch(the_file())
    assert "PHI4LOCAL_HOME" in caught.value.hint


def half_way(hub, content):
    """Leave the first half of the file as an earlier process would, and return its record."""
    file = the_file()
    folder = home.make_work_folder(work_name(file))
    (folder / "file").write_bytes(content[: SIZE // 2])
    from phi4local.store.download.ranges import Ranges

    State(folder / "ranges.json", file).write(Ranges([(0, SIZE // 2)]), Ranges([(0, SIZE // 4)]))
    return file, folder / "ranges.json"


def served_by(hub, file):
    hub.served.clear()
    told = []
    assert fetch(file, progress=told.append).sha256 == file.sha256
    return hub.served[NAME]


def test_what_is_recorded_is_not_fetched_again(hub, content):
    file, _ = half_way(hub, content)
    assert served_by(hub, file) == SIZE // 2


def test_whoever_waits_for_another_process_sees_how_far_it_is(hub, content):
    file, _ = half_way(hub, content)
    told, looked = [], threading.Event()

    def tell(report):
        told.append(report)
        looked.set()

    with locked(work_name(file)):
        thread = threading.Thread(target=fetch, args=(file,), kwargs={"progress": tell})
        thread.start()
        assert looked.wait(60)
    thread.join()
    assert told[0].done_bytes == SIZE // 2
    assert "another process" in told[0].note
    done = [report.done_bytes for report in told]
    assert done == sorted(done)
    assert done[-1] == SIZE


def test_after_a_loss_of_power_only_synced_bytes_count(hub, content):
    file, record = half_way(hub, content)
    data = json.loads(record.read_text())
    assert data["boot"]
    record.write_text(json.dumps(data | {"boot": "another"}))
    assert served_by(hub, file) == SIZE - SIZE // 4


def other_bytes(data):
    return data | {"identity": data["identity"] | {"bytes": "0" * 64}}


DAMAGED = {
    "no JSON": lambda _data: "{",
    "a list": lambda _data: "[]",
    "of other bytes": lambda data: json.dumps(other_bytes(data)),
    "of another size": lambda data: json.dumps(data | {"identity": data["identity"] | {"size": 7}}),
    "of another version": lambda data: json.dumps(data | {"version": 99}),
    "ranges beyond the file": lambda data: json.dumps(data | {"written": [[0, SIZE]]}),
    "ranges backwards": lambda data: json.dumps(data | {"written": [[5, 2]]}),
    "ranges of text": lambda data: json.dumps(data | {"written": [["a", "b"]]}),
    "deep": lambda _data: "[" * 100_000,
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_record_counts_as_none(hub, content, damage):
    file, record = half_way(hub, content)
    record.write_text(DAMAGED[damage](json.loads(record.read_text())))
    assert served_by(hub, file) == SIZE


def test_a_record_that_lies_is_found_by_the_digest(hub, content):
    file, record = half_way(hub, content)
    partial = record.with_name("file")
    partial.write_bytes(b"x" + content[1 : SIZE // 2])
    assert served_by(hub, file) == SIZE // 2 + SIZE


def test_a_clock_that_is_set_back_harms_nothing(hub, content, monkeypatch):
    monkeypatch.setattr(time, "time", lambda: 1000.0)
    file, _ = half_way(hub, content)
    assert served_by(hub, file) == SIZE // 2


def test_a_proxy_is_not_asked_for_this_machine(hub, monkeypatch):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    done = start()
    text, problem = done.communicate(timeout=120)
    assert done.returncode == 0, problem
    assert len(text.strip()) == 64


def test_a_file_of_one_stream_is_a_file_too(hub, content):
    settings = DownloadSettings(connections=1, part_bytes=2**20)
    assert fetch(the_file(), settings=settings).sha256 == hashlib.sha256(content).hexdigest()
    assert hub.served[NAME] == SIZE
