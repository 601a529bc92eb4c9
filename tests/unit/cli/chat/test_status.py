"""The line below the prompt."""

from phi4local.cli.chat.status import Status, bar, line

FULL = Status(
    model="phi-4 Q4_K_M",
    place="41 of 41 layers on the GPU",
    used_tokens=1640,
    context_tokens=4096,
    tokens_per_second=12.34,
    extras=("style.gguf:0.8",),
)


def test_it_says_everything_where_there_is_room():
    assert line(FULL, 120) == (
        " phi-4 Q4_K_M · 41 of 41 layers on the GPU · ████░░░░░░ 1,640/4,096 · 12.3 tok/s · style.gguf:0.8"
    )


def test_it_never_takes_more_than_one_line_and_keeps_the_meter_longest():
    for columns in range(1, 130):
        assert len(line(FULL, columns)) < max(columns, len(bar(1640, 4096)) + 2)
    assert line(FULL, 60) == " phi-4 Q4_K_M · ████░░░░░░ 1,640/4,096 · 12.3 tok/s"
    assert line(FULL, 20) == " ████░░░░░░ 1,640/4,096"


def test_the_meter_warns_before_the_context_is_full():
    assert "full" not in bar(3276, 4096)
    assert bar(3277, 4096) == "████████░░ 3,277/4,096 nearly full: /context"
    assert bar(9000, 4096).startswith("██████████ 9,000")


def test_a_server_that_does_not_tell_has_no_bar():
    assert bar(0, 0) == ""
    assert bar(12, 0) == "12 tokens"
    assert bar(50, 100, blocks=False) == "#####..... 50/100"
