"""Bars in a terminal: proportions, widths and characters."""

import pytest

from phi4local.bench.plot import Axis, Chart, Series
from phi4local.cli.bench_chart import draw

SPEED = Axis(title="Speed", unit="tokens per second")
DEPTHS = Chart(
    title="Writing",
    x=Axis(title="Context before", unit="tokens"),
    y=SPEED,
    series=(
        Series(label="phi-4:Q4_K_M", x=(0, 16384), y=(8.0, 2.0)),
        Series(label="a\x1b[31m model of a very long name " * 4, x=(0,), y=(4.0,)),
    ),
)


def bars(lines, character):
    return [line.count(character) for line in lines[1:]]


@pytest.mark.parametrize("width", [40, 80, 200])
@pytest.mark.parametrize("blocks", [True, False])
def test_no_line_is_wider_than_the_terminal(width, blocks):
    lines = draw(DEPTHS, width, blocks=blocks)
    assert len(lines) == 4
    assert max(map(len, lines)) <= width
    assert "8" in lines[1]
    assert "16,384" in lines[2]
    assert "\x1b" not in "".join(lines)
    assert "".join(lines).isascii() is not blocks


def test_bars_are_as_long_as_their_values_say():
    full, quarter, half = bars(draw(DEPTHS, 100, blocks=False), "#")
    assert quarter == pytest.approx(full / 4, abs=0.5)
    assert half == pytest.approx(full / 2, abs=0.5)


def test_blocks_draw_an_eighth_of_a_character():
    chart = Chart(
        title="t",
        x=Axis(title="x", names=("a", "b")),
        y=SPEED,
        series=(Series(label="s", x=(0, 1), y=(16.0, 1.0)),),
    )
    whole, part = draw(chart, 11, blocks=True)[1:]
    assert whole == "a ██████ 16"
    assert part == "b ▍ 1"  # 6 characters are 48 eighths, a sixteenth of them is 3


def test_colours_are_reset_at_the_end_of_each_bar():
    lines = draw(DEPTHS, 80, coloured=True)[1:]
    assert all(line.count("\x1b[") == 2 and "\x1b[0m " in line for line in lines)
    assert len({line.partition("\x1b[")[2][:3] for line in lines}) == 2


def test_nothing_and_zero_are_drawn_without_trouble():
    chart = Chart(title="t", x=Axis(title="x"), y=SPEED, series=(Series(label="s", x=(1,), y=(0.0,)),))
    assert draw(chart, 80)[1].endswith(" 0")
