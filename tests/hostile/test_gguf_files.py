"""Bad GGUF files of every kind: refused with the right cause, and what is accepted cannot end llama.cpp."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from phi4local.errors import GGUFError
from phi4local.gguf import read_header, validate
from tests.hostile import gguf_native_load
from tests.hostile.gguf_content_cases import CONTENT, KILLERS, SENTENCEPIECE
from tests.hostile.gguf_edits import changed
from tests.hostile.gguf_files import File, sentencepiece_model, small_model
from tests.hostile.gguf_format_cases import FORMAT
from tests.hostile.gguf_model_cases import MODEL
from tests.hostile.gguf_shapes import random_model

CASES = {
    name: (base, *case)
    for base, table in (
        (small_model, FORMAT),
        (small_model, MODEL),
        (small_model, CONTENT),
        (sentencepiece_model, SENTENCEPIECE),
    )
    for name, case in table.items()
}
full = pytest.mark.full


def named_case(name: str) -> bytes:
    base, edit, _ = CASES[name]
    return changed(base(), edit)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.gguf"


def refusal(path: Path, check=validate) -> GGUFError | None:
    """Return what is said about the file; anything but a `GGUFError` fails the test."""
    try:
        check(path)
    except GGUFError as error:
        return error
    return None


# named files


@pytest.mark.parametrize("name", CASES)
def test_a_bad_file_is_refused_with_its_cause(name: str, path: Path):
    path.write_bytes(named_case(name))
    with pytest.raises(GGUFError, match=re.escape(CASES[name][2])):
        validate(path)


@pytest.mark.parametrize("name", FORMAT)
def test_a_file_that_breaks_the_format_is_refused_by_the_reader_alone(name: str, path: Path):
    path.write_bytes(named_case(name))
    assert refusal(path, read_header) is not None


@pytest.mark.parametrize("name", CASES)
def test_a_refusal_is_one_short_line_of_plain_ascii_with_a_hint(name: str, path: Path):
    path.write_bytes(named_case(name))
    error = refusal(path)
    assert error is not None
    assert error.problem.isascii()
    assert error.problem.isprintable()
    assert len(error.problem) <= 200
    assert error.hint


def test_every_killer_of_the_library_has_a_name_in_the_tables():
    assert set(CASES) >= KILLERS


# files cut off


def cut_lengths(file: File, step: int) -> list[int]:
    """Lengths from 0 to the end of the metadata, and one byte less than each tensor needs."""
    data, head = file.build(), len(file.head())
    start = file.padded(head)
    ends, offset = [], 0
    for tensor in file.tensors:
        ends.append(start + offset + len(tensor.data) - 1)
        offset += file.padded(len(tensor.data))
    return [*range(0, head, step), start, *ends, len(data) - 1]


@pytest.mark.parametrize("step", [7, pytest.param(1, marks=full)])
def test_a_file_cut_off_anywhere_is_refused_with_the_bytes_expected_and_found(step: int, path: Path):
    file = small_model()
    data = file.build()
    path.write_bytes(data)
    for length in sorted(cut_lengths(file, step), reverse=True):
        os.truncate(path, length)
        error = refusal(path)
        assert error is not None, f"accepted after {length} of {len(data)} bytes"
        numbers = re.search(r"at least ([\d,]+) bytes expected, ([\d,]+) found", str(error))
        assert numbers, error
        expected, found = (int(number.replace(",", "")) for number in numbers.groups())
        assert found == length < expected <= len(data)


# random bytes


def mutated(data: bytes, head: int, randomness: random.Random, position: int | None = None) -> bytes:
    where = randomness.randrange(head) if position is None else position
    old = data[where]
    new = randomness.choice(
        (randomness.randrange(256), old ^ (1 << randomness.randrange(8)), 0, 255, (old + 1) % 256)
    )
    return data[:where] + bytes([new]) + data[where + 1 :]


def test_one_byte_changed_in_the_metadata_gives_a_header_or_a_refusal(path: Path):
    randomness = random.Random(20260101)
    for base in (small_model(), sentencepiece_model()):
        data, head = base.build(), len(base.head())
        for _ in range(1_000):
            path.write_bytes(mutated(data, head, randomness))
            refusal(path)


@full
def test_every_byte_of_the_metadata_changed_four_times_gives_a_header_or_a_refusal(path: Path):
    randomness = random.Random(20260102)
    for base in (small_model(), sentencepiece_model()):
        data, head = base.build(), len(base.head())
        for position in range(head):
            for _ in range(4):
                path.write_bytes(mutated(data, head, randomness, position))
                refusal(path)


HEAD = small_model().head()
BODY = small_model().build()[len(HEAD) :]
SPLICES = st.lists(
    st.tuples(st.integers(0, len(HEAD) - 1), st.integers(0, 40), st.binary(max_size=40)),
    min_size=1,
    max_size=4,
)


def any_file_is_judged(splices: list[tuple[int, int, bytes]], folder: Path) -> None:
    head = HEAD
    for position, removed, inserted in splices:
        head = head[:position] + inserted + head[position + removed :]
    path = folder / "any.gguf"
    path.write_bytes(head + BODY)
    refusal(path)


@given(SPLICES)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_splice_of_bytes_gives_a_header_or_a_refusal(tmp_path: Path, splices):
    any_file_is_judged(splices, tmp_path)


@full
@given(SPLICES)
@settings(max_examples=5_000, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_of_many_splices_of_bytes_gives_a_header_or_a_refusal(tmp_path: Path, splices):
    any_file_is_judged(splices, tmp_path)


@given(st.binary(max_size=300))
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_behind_the_magic_give_a_header_or_a_refusal(tmp_path: Path, content: bytes):
    path = tmp_path / "any.gguf"
    path.write_bytes(b"GGUF\x03\0\0\0" + content)
    refusal(path)


# compared with others


def run_in_library(paths: list[Path]) -> dict[str, str]:
    """Load the files with llama.cpp in another process; name the file that ended or blocked it."""
    command = [sys.executable, gguf_native_load.__file__, *map(str, paths)]
    try:
        result = subprocess.run(command, capture_output=True, timeout=20 + len(paths), check=False)
        output, code = result.stdout, f"ended with {result.returncode}"
        assert output, result.stderr.decode(errors="replace")
    except subprocess.TimeoutExpired as expired:
        output, code = expired.stdout or b"", "did not end"
    lines = output.decode(errors="replace").splitlines()
    names = [Path(line[5:]).name for line in lines if line.startswith("file ")]
    outcomes = [line[8:] for line in lines if line.startswith("outcome ")]
    outcomes += [code] * (len(names) - len(outcomes))
    return dict(zip(names, outcomes, strict=True))


@pytest.mark.parametrize("count", [25, pytest.param(500, marks=full)])
def test_a_changed_file_that_is_accepted_does_not_end_the_library(count: int, tmp_path: Path):
    pytest.importorskip("llama_cpp")
    randomness = random.Random(20260103)
    bases = [(base.build(), len(base.head())) for base in (small_model(), sentencepiece_model())]
    accepted: list[Path] = []
    while len(accepted) < count:
        path = tmp_path / f"{len(accepted)}.gguf"
        path.write_bytes(mutated(*randomness.choice(bases), randomness))
        if refusal(path) is None:
            accepted.append(path)
    assert_library_survives(accepted)


@pytest.mark.parametrize("count", [15, pytest.param(300, marks=full)])
def test_a_model_of_any_shape_that_is_accepted_runs_in_the_library(count: int, tmp_path: Path):
    pytest.importorskip("llama_cpp")
    randomness = random.Random(20260104)
    accepted: list[Path] = []
    while len(accepted) < count:
        path = tmp_path / f"{len(accepted)}.gguf"
        path.write_bytes(random_model(randomness).build())
        if refusal(path) is None:
            accepted.append(path)
    assert set(assert_library_survives(accepted).values()) == {"runs"}


def assert_library_survives(paths: list[Path]) -> dict[str, str]:
    outcomes: dict[str, str] = {}
    for begin in range(0, len(paths), 50):
        outcomes |= run_in_library(paths[begin : begin + 50])
    clean = re.compile(r"runs|load refused|context refused|decode returned -?\d+")
    assert {name: outcome for name, outcome in outcomes.items() if not clean.fullmatch(outcome)} == {}
    assert len(outcomes) == len(paths)
    return outcomes


# Both are deliberate: ggml reads such files, and its tests demand the second.
LAXER_THAN_MODELVET = ("MVET_V_TENSOR_DATA_EXTENT", "MVET_V_TENSOR_NE_RANGE")


def test_what_an_independent_checker_refuses_is_refused(path: Path):
    modelvet = pytest.importorskip("modelvet")
    randomness = random.Random(20260105)
    base = small_model()
    data, head = base.build(), len(base.head())
    files = {name: named_case(name) for name in FORMAT} | {
        f"mutation {index}": mutated(data, head, randomness) for index in range(500)
    }
    for name, content in files.items():
        report = modelvet.verify_gguf(content)
        path.write_bytes(content)
        assert report.accepted or refusal(path, read_header), f"{name}: {report.violation_name}"


def test_the_two_exceptions_from_the_independent_checker_are_deliberate(path: Path):
    modelvet = pytest.importorskip("modelvet")
    unpadded, zero = small_model(), small_model()
    unpadded.resize("output.weight", 33)
    zero.resize("output.weight", 0, 3)
    for content in (unpadded.build()[:-28], zero.build()):
        path.write_bytes(content)
        assert modelvet.verify_gguf(content).violation_name in LAXER_THAN_MODELVET
        assert refusal(path, read_header) is None
