"""What a person reads while quality is measured, and the layouts of its rows."""

import csv
import io
import json

import pytest

from phi4local.bench.quality.figures import Divergence, Estimate
from phi4local.bench.quality.measure import Progress
from phi4local.bench.quality.report import QualityRow
from phi4local.cli import quality_report
from phi4local.errors import InvalidSettingError

DIVERGENCE = Divergence(
    kl=Estimate(0.072911, 0.001357),
    kl_percentiles={"50.0": 0.000126, "99.0": 1.01, "100.0": 4.44},
    same_top=Estimate(0.91266, 0.00178),
    rms_difference=Estimate(0.07487, 0.00148),
    mean_difference=Estimate(-0.0053, 0.00047),
    difference_percentiles={"50.0": 0.0, "99.0": 0.2, "100.0": 0.85},
    log_ratio=Estimate(-0.0015, 0.004),
    correlation=0.98987,
    stored_base_perplexity=Estimate(6.274155, 0.15),
    stored_log_ratio=Estimate(0.133, 0.007),
)


def row(name, divergence):
    return QualityRow(
        name=name,
        path=None,
        quantization=name,
        size_bytes=6_885_888,
        bits_per_weight=5.172,
        parameters=10_227_968,
        is_base=divergence is None,
        perplexity=Estimate(7.178065, 0.199636),
        divergence=divergence,
        chunks=99,
        context_tokens=512,
        scored_tokens=25_245,
        reading_rate=7707.5,
        writing_rate=849.27,
        reading_seconds=6.6,
        seconds=7.7,
        load_seconds=0.04,
        peak_memory_bytes=0,
        settings={"threads": 2},
    )


ROWS = [row("a|b", None), row("Q4_K_M", DIVERGENCE)]


def test_the_rest_is_told_for_this_model_and_those_that_follow():
    seconds = iter([100.0, 110.0])
    pace = quality_report.Pace(lambda: next(seconds))
    start = Progress.start("Q4_K_M", 2, 4)
    assert pace.line(start.at("converting", 1, 4)) == "Q4_K_M (2 of 4): converting, 25 %"
    assert pace.line(start.at("reading", 1, 10, 7.0213)) == "Q4_K_M (2 of 4): chunk 1 of 10, perplexity 7.021"
    # 2 chunks in 10 s; 7 are left of this model and 10 of each of two others.
    line = pace.line(start.at("reading", 3, 10, 7.0213))
    assert line == "Q4_K_M (2 of 4): chunk 3 of 10, perplexity 7.021, 2 min 15 s left"


def test_markdown_has_one_cell_a_column(capsys):
    quality_report.show(ROWS, "md")
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].startswith("| a\\|b | 7.178 ± 0.200 | base |")
    assert lines[3] == (
        "| Q4_K_M | 7.178 ± 0.200 | 0.0729 ± 0.0014 | 91.3 % | 7.49 % | 6.89 MB | 5.17 | 7,708 | 849.3 | - |"
    )


def test_rows_for_programs_keep_every_digit(capsys):
    quality_report.show(ROWS, "csv")
    base, found = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert (base["model"], base["kl"]) == ("a|b", "")
    assert float(found["kl"]) == DIVERGENCE.kl.value
    quality_report.show(ROWS, "jsonl")
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["divergence"] is None for line in lines] == [True, False]
    assert lines[1]["divergence"]["stored_log_ratio"]["error"] == 0.007


def test_another_layout_is_refused():
    with pytest.raises(InvalidSettingError):
        quality_report.checked_layout("xml")
