"""What goes, what stays, and what must not race."""

import os
import subprocess
import sys
import threading

import pytest

from phi4local.errors import AmbiguousNameError, ModelNotInstalledError, StoreError
from phi4local.store import blobs, installed, kept, locks, remove
from phi4local.store.home import make_work_folder
from phi4local.store.manifests import Origin
from phi4local.store.names import ModelName

HOUR = 3600


@pytest.fixture
def later(monkeypatch):
    """Move the clock on."""
    return lambda seconds: monkeypatch.setattr(blobs.time, "time", lambda t=blobs.time.time: t() + seconds)


def test_rm_frees_what_only_this_model_needs(keep, blob):
    keep("a:Q8_0", b"shared")
    keep("b:Q8_0", b"shared")
    keep("c:Q8_0", b"alone")
    assert remove.remove(ModelName.parse("a:Q8_0")).freed_bytes == 0
    assert blob(b"shared").exists()
    assert remove.remove(ModelName.parse("c:Q8_0")).freed_bytes >= 5
    assert not blob(b"alone").exists()
    assert [model.name for model in installed.installed()] == ["b"]


def test_rm_leaves_no_empty_folders(keep, home):
    keep("hf.co/u/a:Q8_0")
    remove.remove(ModelName.parse("hf.co/u/a:Q8_0"))
    for folder in ("manifests", "files", "blobs"):
        assert list((home / "models" / folder).iterdir()) == []


def test_rm_of_a_damaged_model_leaves_its_files_to_prune(keep, blob, later):
    keep("a:Q8_0", b"content").manifest.path.write_text("garbage")
    with pytest.raises(StoreError):
        remove.prune(grace_seconds=0)
    remove.remove(kept.name_of("a"))
    assert blob(b"content").exists()
    later(HOUR + 1)
    remove.prune()
    assert not blob(b"content").exists()


def test_prune_leaves_what_was_made_within_the_hour(home, later):
    digest = blobs.add(b"on its way")
    assert remove.prune().names == ()
    later(HOUR + 1)
    assert remove.prune(dry_run=True).names == (f"sha256-{digest}",)
    assert blobs.is_here(digest, 10)
    assert remove.prune().freed_bytes == 10
    assert not blobs.is_here(digest, 10)


def test_prune_leaves_a_blob_whose_lock_is_held(home):
    digest = blobs.add(b"being pulled")
    with locks.locked(f"sha256-{digest}"):
        assert remove.prune(grace_seconds=-1).freed_bytes == 0
    assert blobs.is_here(digest, 12)
    assert remove.prune(grace_seconds=-1).freed_bytes == 12


def test_a_used_blob_is_young_again_and_still_proved(keep, blob, later):
    keep("a:Q8_0", b"content")
    path = blob(b"content")
    os.utime(path, (1, 1))
    blobs.remember_verified(path.name.removeprefix("sha256-"))
    blobs.keep_fresh(path)
    assert blobs.idle_seconds(path) < HOUR
    assert blobs.unverified([path.name.removeprefix("sha256-")]) == []


def test_partial_files_go_unless_somebody_writes_them(home):
    blobs.add(b"something")
    folder = home / "models" / "blobs"
    for digest in ("a" * 64, "b" * 64):
        (folder / f"sha256-{digest}.partial").write_bytes(b"x" * 5000)
        (folder / f"sha256-{digest}.partial.json").write_text("{}")
    with locks.locked("sha256-" + "a" * 64), locks.locked("convert-x"):
        (make_work_folder("convert-x") / "model.gguf").write_bytes(b"y")
        (make_work_folder("convert-z") / "model.gguf").write_bytes(b"y")
        gone = remove.remove_partial()
    assert sorted(gone.names) == ["convert-z", *(f"sha256-{'b' * 64}.partial{end}" for end in ("", ".json"))]
    assert (folder / f"sha256-{'a' * 64}.partial").exists()
    assert (home / "models" / "unfinished" / "convert-x" / "model.gguf").exists()


def test_old_conversions_are_swept_and_old_downloads_stay(home):
    for lock in ("convert-old", "convert-new", "sha256-" + "a" * 64):
        folder = make_work_folder(lock)
        (folder / "file").write_bytes(b"x")
        if lock != "convert-new":
            for path in (folder / "file", folder):
                os.utime(path, (1, 1))
    make_work_folder("another")
    left = {path.name for path in (home / "models" / "unfinished").iterdir()}
    assert left == {"convert-new", "sha256-" + "a" * 64, "another"}


def test_a_name_without_a_tag_is_the_only_one_or_an_error(keep):
    keep("a:Q8_0")
    assert str(kept.name_of("A")) == "a:Q8_0"
    keep("a:Q4_K_M", b"other")
    with pytest.raises(AmbiguousNameError) as caught:
        kept.name_of("a")
    assert "`a:Q4_K_M` or `a:Q8_0`" in caught.value.hint
    with pytest.raises(ModelNotInstalledError) as missing:
        kept.name_of("a:Q8")
    assert "a:Q8_0" in missing.value.hint


def test_a_copy_is_the_same_bytes_and_survives_the_first(keep):
    model = keep("a:Q8_0", b"content")
    assert str(kept.copy("a", "mine")) == "mine:latest"
    remove.remove(kept.name_of("a"))
    (copy,) = installed.named("mine")
    assert copy.path.read_bytes() == b"content"
    assert copy.manifest.sha256 == model.manifest.sha256


def test_usage_counts_every_file_once(keep, home):
    keep("a:Q8_0", b"x" * 1000)
    kept.copy("a", "b")
    keep("c:Q8_0", b"y" * 500)
    blobs.add(b"z" * 70)
    usage = kept.usage()
    alone = {str(name): own for name, _, own in usage.models}
    assert alone["a:Q8_0"] == alone["b:latest"] == 0
    assert alone["c:Q8_0"] >= 500
    on_disk = sum(path.stat().st_size for path in (home / "models" / "blobs").iterdir())
    assert (usage.total_bytes, usage.unused_bytes) == (on_disk, 70)


@pytest.mark.skipif(sys.platform == "win32", reason="an open file cannot be deleted there")
def test_a_model_in_use_is_whole_until_its_user_ends(keep):
    model = keep("a:Q8_0", b"content")
    with model.path.open("rb") as file:
        remove.remove(kept.name_of("a"))
        assert file.read() == b"content"


def test_models_that_come_and_go_at_once_leave_nothing_broken(home):
    """Eight threads keep and remove the same bytes; a second process prunes as fast as it can."""
    problems = []

    def work(number):
        try:
            for turn in range(12):
                written = make_work_folder(f"work-{number}") / "model.gguf"
                written.write_bytes(b"same bytes" if turn % 2 else b"%d" % number)
                name = ModelName.parse(f"m{number}:{turn % 3}")
                model = installed.keep_converted(written, name, Origin(quantization="Q8_0"), None)
                assert model.path.read_bytes() in (b"same bytes", b"%d" % number)
                if turn % 4 == 3:
                    remove.remove(name)
        except Exception as error:  # noqa: BLE001 - reported by the main thread
            problems.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    with subprocess.Popen([sys.executable, "-c", PRUNE], stdout=subprocess.PIPE, text=True) as pruner:
        pruner.stdout.readline()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        pruner.terminate()
    assert problems == []
    models = installed.installed()
    assert len(models) == 8 * 3 - 8  # the third removal of each meets its last name
    for model in models:
        assert installed.ready_path(model).read_bytes()


PRUNE = """
import sys
from phi4local.store import remove
print("ready", flush=True)
while True:
    remove.prune(grace_seconds=-1)
"""
