"""How far a download is, in words."""

import pytest

from phi4local.cli import progress
from phi4local.runtime.progress import Progress


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (59.4, "59 s"), (92, "1 min 32 s"), (3599.6, "1 h 0 min"), (7260, "2 h 1 min"), (-3, "0 s")],
)
def test_times_are_said_as_people_say_them(seconds, words):
    assert progress.duration(seconds) == words


@pytest.mark.parametrize(
    ("done", "total", "words"),
    [
        (421e6, 9.05e9, "0.42 of 9.05 GB"),
        (0, 9_053_114_816, "0.00 of 9.05 GB"),
        (5e6, 250e6, "5 of 250 MB"),
        (12, 80, "12 of 80 B"),
    ],
)
def test_sizes_have_the_unit_of_the_larger_one(done, total, words):
    assert progress.of_total(done, total) == words


def test_a_download_is_described_with_speed_and_time_left():
    report = Progress("pulling", 4_210_000_000, 9_050_000_000, bytes_per_second=52.6e6)
    words = progress.describe(report, report.done)
    assert words == "46 %, 4.21 of 9.05 GB, 52.6 MB/s, 1 min 32 s left"


class Clock:
    """Seconds that pass when a test says so."""

    now = 100.0

    def __call__(self):
        return self.now


def test_a_log_gets_one_line_every_five_seconds_and_never_less_than_before():
    said, clock = [], Clock()
    lines = progress.Lines(said.append, clock)
    for second, done in enumerate([0, 10, 20, 30, 40, 50, 5, 70, 80, 90, 100]):
        clock.now = 100.0 + second
        lines(Progress("pulling", done, 100))
    assert said == ["downloading: 50 %, 50 of 100 B", "downloading: 100 %, 100 of 100 B"]
    lines(Progress("pulling", 60, 100))
    clock.now += 5
    lines(Progress("pulling", 60, 100))
    assert said[2:] == ["downloading: 100 %, 100 of 100 B"]


def test_a_wait_is_said_at_once_and_once():
    said = []
    lines = progress.Lines(said.append, Clock())
    for _ in range(3):
        lines(Progress("pulling", 10, 100, note="the server is busy; trying again in 4 s"))
    lines(Progress("pulling", 10, 100))
    lines(Progress("pulling", 10, 100, note="the server is busy; trying again in 8 s"))
    assert [line[-3:] for line in said] == ["4 s", "8 s"]
