"""Which charts rows give, and histories of the same test."""

import dataclasses

import pytest

from phi4local.bench.charts import speed_charts
from phi4local.bench.history import histories
from phi4local.bench.row import Row
from phi4local.store.results import Run

BASE = Row(model="phi-4:Q4_K_M", n_gen=100, samples_ns=(10**9, 2 * 10**9), cpu_info="EPYC", n_threads=2)


def rows(*changes):
    return [dataclasses.replace(BASE, **change) for change in changes]


def test_depths_give_a_line_with_means_and_their_spread():
    (chart,) = speed_charts(rows({"n_depth": 4096}, {"n_depth": 0}, {"n_depth": 1024}))
    (line,) = chart.series
    assert line.label == "phi-4:Q4_K_M"
    assert line.x == (0, 1024, 4096)
    assert line.y == (75.0,) * 3  # 100 and 50 tokens per second
    assert line.high[0] - line.y[0] == line.y[0] - line.low[0] == pytest.approx(35.355, abs=1e-3)
    assert chart.y.label == "Speed (tokens per second)"
    assert chart.note == "EPYC; mean ± standard deviation of 2"


def test_what_differs_beside_the_axis_gives_a_line_each():
    changes = [{"n_depth": depth, "n_threads": threads} for depth in (0, 64) for threads in (2, 4)]
    (chart,) = speed_charts(rows(*changes))
    assert [line.label for line in chart.series] == ["threads 2", "threads 4"]
    assert all(line.x == (0, 64) for line in chart.series)


def test_reading_and_writing_never_share_a_scale():
    changes = [{"n_depth": d, "n_gen": n, "n_prompt": p} for d in (0, 64) for n, p in ((8, 0), (0, 512))]
    titles = [chart.title for chart in speed_charts(rows(*changes))]
    assert titles == ["Writing, as the context fills", "Reading, as the context fills"]


def test_models_stand_side_by_side():
    changes = [{"model": m, "n_gen": n, "n_prompt": p} for m in ("a", "b") for n, p in ((8, 0), (0, 512))]
    (chart,) = speed_charts(rows(*changes))
    assert chart.x.names == ("a", "b")
    assert [(bars.label, bars.x) for bars in chart.series] == [("tg8", (0, 1)), ("pp512", (0, 1))]


def test_models_stand_side_by_side_at_the_smallest_depth():
    changes = [{"model": m, "n_depth": d} for m in ("a", "b") for d in (0, 64)]
    lines, bars = speed_charts(rows(*changes))
    assert [line.label for line in lines.series] == ["a", "b"]
    assert [(found.label, found.x) for found in bars.series] == [("tg100", (0, 1))]


def test_prompts_and_streams_have_charts_of_their_own():
    lengths = speed_charts(rows(*({"n_gen": 0, "n_prompt": n} for n in (128, 512))))
    assert [(chart.x.label, chart.series[0].x) for chart in lengths] == [("Prompt (tokens)", (128, 512))]
    streams = speed_charts(rows({"parallel": 1}, {"parallel": 4}))
    assert [(chart.x.label, chart.series[0].x) for chart in streams] == [("Streams at the same time", (1, 4))]


def test_a_single_row_is_a_bar_and_none_is_no_chart():
    (chart,) = speed_charts(rows({}))
    assert chart.x.names == ("tg100",)
    assert speed_charts([]) == []


def run(number, *entries):
    return Run(id=f"run{number}", at=f"2026-01-0{number}", machine={}, rows=entries)


def entry(key, **changes):
    return {**dataclasses.replace(BASE, **changes).to_mapping(), "key": key}


def test_a_history_is_of_one_test_and_compares_each_with_the_one_before():
    kept = [
        run(1, entry("a", samples_ns=(1000, 1010)), entry("b", n_threads=4)),
        run(2, {"key": "a", "samples_ns": "many"}, entry("a", samples_ns=(500, 505))),
        run(3, entry("a", samples_ns=(502, 503))),
    ]
    said = []
    first, second = histories(kept, report=said.append)
    assert [found.run for found in first.measurements] == ["run1", "run2", "run3"]
    assert first.measurements[0].change is None
    assert first.measurements[1].change.percent == pytest.approx(100, abs=0.1)
    assert [found.change.verdict for found in first.measurements[1:]] == ["faster", "in the spread"]
    assert (first.test, second.test) == ("tg100, threads 2", "tg100, threads 4")
    assert len(said) == 1
    assert "row 1 of result `run2`" in said[0]
    assert histories(kept, ["another"]) == []
    assert histories(kept, ["phi-4:Q8_0"]) == []
    assert len(histories(kept, ["phi-4:Q4_K_M"])) == len(histories(kept, ["phi-4"])) == 2
