"""Rows in files: whole, validated, the last of several."""

import json

import pytest
from pydantic import ValidationError

from encoders.errors import InputError, InputWarning
from eval_zeroshot.latency.rows import LatencyRow, Placement, append_rows, latest, read_rows


def test_a_row_comes_back_from_its_file_as_it_was(tmp_path, row):
    one = row(throughput={1: 2.4, 8: 3.1}, placement={"GPU": Placement(operations=3, cost=0.25)}, round_ms=[410.0, 414.0])
    two = row(model="slow", how="failed", p50_ms=None, note="out of memory")
    path = tmp_path / "latency.jsonl"
    append_rows(path, [one])
    append_rows(path, [two])
    assert read_rows(path) == [one, two]


def test_what_a_killed_writer_began_is_cut_off_before_more_is_written(tmp_path, row):
    path = tmp_path / "latency.jsonl"
    append_rows(path, [row()])
    path.write_text(path.read_text() + '{"model": "torn')
    with pytest.warns(InputWarning, match="unfinished last line"):
        append_rows(path, [row(model="next")])
    assert [one.model for one in read_rows(path)] == ["repvit", "next"]


def test_a_file_with_an_unfinished_last_line_is_read_without_it(tmp_path, row):
    path = tmp_path / "latency.jsonl"
    path.write_text(row().to_line() + '{"model": "torn')
    with pytest.warns(InputWarning, match="line 2 is unfinished"):
        assert [one.model for one in read_rows(path)] == ["repvit"]


@pytest.mark.parametrize(
    ("change", "field"),
    [({"p50_ms": -1}, "p50_ms"), ({"part": "head"}, "part"), ({"threads": 0}, "threads"), ({"surprise": 1}, "surprise")],
)
def test_a_wrong_line_is_named_with_its_field(tmp_path, row, change, field):
    path = tmp_path / "mac.jsonl"
    path.write_text(row().to_line() + json.dumps(json.loads(row().to_line()) | change) + "\n")
    with pytest.raises(InputError, match=f"line 2: no row of repvit-sam latency .{field}"):
        read_rows(path)


def test_a_file_that_is_empty_or_absent_or_of_something_else_is_refused(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        read_rows(tmp_path / "nothing.jsonl")
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(InputError, match="has no row"):
        read_rows(tmp_path / "empty.jsonl")
    (tmp_path / "picture.jsonl").write_bytes(b"\x89PNG\xff\n")
    with pytest.raises(InputError, match="line 1: no row"):
        read_rows(tmp_path / "picture.jsonl")


def test_a_measured_row_has_a_time_and_a_failed_one_has_none(row):
    with pytest.raises(ValidationError, match="has a p50_ms"):
        row(p50_ms=None)
    with pytest.raises(ValidationError, match="has no p50_ms"):
        LatencyRow(model="m", runtime="torch", part="encoder", how="failed", p50_ms=1.0)


def test_the_last_of_several_measurements_counts_and_another_device_is_another(row):
    rows = [row(p50_ms=1.0), row(p50_ms=5.0, device="a Mac"), row(p50_ms=2.0), row(threads=2)]
    assert [(one.p50_ms, one.device) for one in latest(rows)] == [(2.0, "a server"), (5.0, "a Mac"), (412.0, "a server")]
