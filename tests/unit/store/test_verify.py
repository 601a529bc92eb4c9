"""Twelve ways to spoil a store, each found; a good one has nothing wrong."""

import hashlib
import os
import shutil

import pytest

from phi4local.store import blobs, installed, verify
from phi4local.store.home import make_work_folder

ONE, TWO = b"GGUF one" * 1000, b"GGUF two" * 1000


@pytest.fixture
def store(keep, blob):
    """Two models of the same size."""
    for name, content in (("one:Q8_0", ONE), ("two:Q8_0", TWO)):
        keep(name, content)
        blob(content).chmod(0o644)
    return blob


def flip_first(path, _other):
    content = path.read_bytes()
    path.write_bytes(bytes([content[0] ^ 1]) + content[1:])


def flip_last_and_hide_it(path, _other):
    state = path.stat()
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 128]))
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))


def truncate(path, _other):
    os.truncate(path, path.stat().st_size - 1)


def empty(path, _other):
    os.truncate(path, 0)


def grow(path, _other):
    with path.open("ab") as file:
        file.write(b"x")


def swap(path, other):
    path.rename(path.with_name("aside"))
    other.rename(path)
    path.with_name("aside").rename(other)


def delete(path, _other):
    path.unlink()


def forbid(path, _other):
    path.chmod(0)


def link_elsewhere(path, _other):
    moved = path.parents[2] / "moved"
    path.rename(moved)
    path.symlink_to(moved)


def make_folder(path, _other):
    path.unlink()
    path.mkdir()


def spoil_manifest(path, _other):
    manifest = path.parents[1] / "manifests" / "registry.ollama.ai" / "library" / "one" / "Q8_0"
    manifest.write_bytes(manifest.read_bytes()[:-2])


def turn_view(path, other):
    (shown,) = (path.parents[1] / "files").rglob("one-*.gguf")
    shown.unlink()
    shown.symlink_to(other)


def spoil_state(path, _other):
    folder = make_work_folder("sha256-" + "a" * 64)
    (folder / "file").write_bytes(b"x")
    (folder / "state.json").write_text('{"written": [1, ')


SPOILERS = [
    *(flip_first, flip_last_and_hide_it, truncate, empty, grow, swap, delete, forbid, link_elsewhere),
    *(make_folder, spoil_manifest, turn_view, spoil_state),
]


@pytest.mark.parametrize("spoil", SPOILERS, ids=lambda spoil: spoil.__name__)
def test_what_was_spoiled_is_found(store, spoil):
    spoil(store(ONE), store(TWO))
    seen = verify.verify()
    assert seen.findings
    assert len(seen.findings) == (2 if spoil is swap else 1)
    for finding in seen.findings:
        assert finding.problem
    if store(ONE).is_dir():
        shutil.rmtree(store(ONE))


def test_a_whole_store_has_nothing_wrong(store):
    done = []
    seen = verify.verify(progress=lambda so_far, total: done.append((so_far, total)))
    assert seen.findings == ()
    assert seen.hashed_bytes >= len(ONE) + len(TWO)
    assert done[-1][0] == done[-1][1] == seen.hashed_bytes
    assert [so_far for so_far, _ in done] == sorted(so_far for so_far, _ in done)


def test_one_model_can_be_looked_at_alone(store):
    truncate(store(TWO), None)
    one, two = (installed_manifest(name) for name in ("one", "two"))
    assert verify.verify(one).findings == ()
    (finding,) = verify.verify(two).findings
    assert finding.models == ("two:Q8_0",)


def installed_manifest(name):
    from phi4local.store import kept

    return kept.manifest_of(name)


def test_opening_a_touched_file_tells_how_far_the_proof_is(store):
    (one,) = installed.named("one")
    told = []
    installed.ready_path(one, progress=lambda *share: told.append(share))
    assert told == []
    os.utime(store(ONE), (1, 1))
    installed.ready_path(one, progress=lambda *share: told.append(share))
    assert told == [(len(ONE), len(ONE))]


def test_verifying_proves_a_touched_file_again(store):
    os.utime(store(ONE), (1, 1))
    verify.verify()
    (one,) = installed.named("one")
    assert installed.ready_path(one).read_bytes() == ONE


def test_a_blob_that_was_found_damaged_counts_as_absent_until_it_changes(store):
    digest = hashlib.sha256(ONE).hexdigest()
    assert blobs.is_here(digest, len(ONE))
    flip_first(store(ONE), None)
    assert verify.verify().findings
    assert not blobs.is_here(digest, len(ONE))
    store(ONE).write_bytes(ONE)
    assert blobs.is_here(digest, len(ONE))
