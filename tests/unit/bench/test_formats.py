"""Rows as csv, json, jsonl, md and sql: read back by readers that are not ours."""

import csv
import io
import json
import sqlite3
from dataclasses import replace

import pytest

from phi4local.bench.formats import TABLE, format_named
from phi4local.bench.row import COLUMNS, LLAMA_BENCH_COLUMNS, Row
from phi4local.bench.words import FORMATS

ROWS = [
    Row(n_prompt=64, samples_ns=(10_000_000, 12_000_000), model_filename='it\'s "here",\n.gguf', n_threads=2),
    Row(n_gen=8, samples_ns=(4_000_000,), parallel=4, conditions={"load": 0.5}, no_kv_offload=True),
]


def written(name, rows):
    form = format_named(name)
    return "".join([form.begin(), *map(form.row, rows), form.end()])


def test_json_and_json_lines_hold_everything():
    whole = [row.to_mapping() for row in ROWS]
    assert json.loads(written("json", ROWS)) == whole
    assert [json.loads(line) for line in written("jsonl", ROWS).splitlines()] == whole


def test_csv_holds_llama_benchs_columns_first_and_its_words():
    head, first, second = csv.reader(io.StringIO(written("csv", ROWS)))
    assert tuple(head[: len(LLAMA_BENCH_COLUMNS)]) == LLAMA_BENCH_COLUMNS
    assert set(head) == {name for name in COLUMNS if not name.startswith("samples_")}
    assert dict(zip(head, first, strict=True))["model_filename"] == ROWS[0].model_filename
    assert dict(zip(head, second, strict=True))["no_kv_offload"] == "1"


def test_sql_fills_a_table():
    base = sqlite3.connect(":memory:")
    base.executescript(written("sql", ROWS))
    found = base.execute(f"SELECT test, avg_ts, model_filename, parallel FROM {TABLE}").fetchall()
    assert found == [
        ("pp64", pytest.approx(ROWS[0].avg_ts), ROWS[0].model_filename, 1),
        ("tg8", pytest.approx(8000.0), "", 4),
    ]
    kinds = {name: kind for _, name, kind, *_ in base.execute(f"PRAGMA table_info({TABLE})")}
    assert (kinds["avg_ts"], kinds["n_batch"], kinds["model_type"]) == ("REAL", "INTEGER", "TEXT")
    base.close()


def test_markdown_lines_have_the_same_width_and_columns_that_tell_something():
    lines = written("md", [replace(row, model_type="phi3 ?B Q8_0") for row in ROWS]).splitlines()
    assert len({len(line) for line in lines[:4]}) == 1
    heads = [head.strip() for head in lines[0].strip("|").split("|")]
    assert heads == [
        "model",
        "size",
        "params",
        "backend",
        "threads",
        "nkvo",
        "parallel",
        "path",
        "test",
        "t/s",
    ]
    assert lines[2].rstrip("| ").endswith("5866.67 ± 754.25")


@pytest.mark.parametrize("name", FORMATS)
def test_no_rows_are_no_error(name):
    text = written(name, [])
    assert name != "json" or json.loads(text) == []
