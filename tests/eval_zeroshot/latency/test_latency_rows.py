"""Rows in files: complete, validated, and the last row of each measurement."""

import errno
import json
import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from encoders.errors import InputError, InputWarning
from eval_zeroshot.latency import read_latencies
from eval_zeroshot.latency.rows.files import append_rows, check_appendable, latest, read_rows
from eval_zeroshot.latency.rows.row import LatencyRow, Placement


def failed(row, **changes):
    """As a run writes it: without anything that is known only after opening the model."""
    return row(how="failed", p50_ms=None, p90_ms=None, p99_ms=None, cpu_ms=None, calls=0, **changes)


def test_a_row_is_read_as_it_was_written(tmp_path, row):
    one = row(throughput={1: 2.4, 8: 3.1}, placement={"GPU": Placement(operations=3, cost=0.25)}, round_ms=[410.0, 414.0])
    two = row(model="slow", how="failed", p50_ms=None, note="out of memory")
    path = tmp_path / "latency.jsonl"
    append_rows(path, [one])
    append_rows(path, [two])
    assert read_rows(path) == [one, two]


def test_rows_of_earlier_versions_are_read(tmp_path, row):
    line = json.loads(row().to_line())
    for name in ("device_peak_mb", "throughput_other_cpu", "throughput_loaded"):  # fields that came later
        del line[name]
    (tmp_path / "old.jsonl").write_text(json.dumps(line) + "\n")
    assert read_rows(tmp_path / "old.jsonl") == [row()]


def test_the_fragment_of_a_killed_writer_is_cut_off_before_more_is_written(tmp_path, row):
    path = tmp_path / "latency.jsonl"
    append_rows(path, [row()])
    path.write_text(path.read_text() + '{"model": "torn')
    with pytest.warns(InputWarning, match="unfinished last line"):
        append_rows(path, [row(model="next")])
    assert [one.model for one in read_rows(path)] == ["repvit", "next"]


def test_a_whole_last_row_without_a_newline_is_kept(tmp_path, row):
    path = tmp_path / "latency.jsonl"
    path.write_text(row().to_line().rstrip("\n"))
    append_rows(path, [row(model="next")])
    assert [one.model for one in read_rows(path)] == ["repvit", "next"]


def test_a_file_with_an_unfinished_last_line_is_read_without_it(tmp_path, row):
    path = tmp_path / "latency.jsonl"
    path.write_text(row().to_line() + '{"model": "torn')
    with pytest.warns(InputWarning, match="line 2 is unfinished"):
        assert [one.model for one in read_rows(path)] == ["repvit"]


@pytest.mark.parametrize("content", ["shopping list without a newline", "a,b\n1,2", "[]", '{"model": "torn'])
def test_rows_are_not_appended_to_a_file_with_other_content(tmp_path, content):
    path = tmp_path / "notes.txt"
    path.write_text(content)
    with pytest.raises(InputError, match="notes.txt: a file with other content is there; choose another name"):
        check_appendable(path)
    assert path.read_text() == content


def test_rows_may_be_appended_to_rows_an_empty_file_or_a_new_one(tmp_path, row):
    (tmp_path / "empty.jsonl").touch()
    append_rows(tmp_path / "rows.jsonl", [row()])
    for name in ("empty.jsonl", "rows.jsonl", "folder/new.jsonl"):
        check_appendable(tmp_path / name)
    with pytest.raises(InputError, match="is a folder"):
        check_appendable(tmp_path)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")
def test_a_full_disk_is_named_with_its_free_space(row):
    with pytest.raises(InputError, match=r"/dev/full cannot be written \(No space left on device, \d+ MiB free\)"):
        append_rows(Path("/dev/full"), [row()])


def test_any_error_of_the_disk_is_an_input_error(tmp_path, row, monkeypatch):
    def fsync(descriptor):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(InputError, match="rows.jsonl cannot be written .Input/output error"):
        append_rows(tmp_path / "rows.jsonl", [row()])


@pytest.mark.parametrize(
    ("change", "field"),
    [({"p50_ms": -1}, "p50_ms"), ({"part": "head"}, "part"), ({"threads": 0}, "threads"), ({"surprise": 1}, "surprise")],
)
def test_a_wrong_line_is_named_with_its_field(tmp_path, row, change, field):
    path = tmp_path / "mac.jsonl"
    path.write_text(row().to_line() + json.dumps(json.loads(row().to_line()) | change) + "\n")
    with pytest.raises(InputError, match=f"line 2: not a row of repvit-sam latency .{field}"):
        read_rows(path)


def test_empty_missing_and_foreign_files_are_refused(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        read_rows(tmp_path / "nothing.jsonl")
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(InputError, match="has no row"):
        read_rows(tmp_path / "empty.jsonl")
    (tmp_path / "picture.jsonl").write_bytes(b"\x89PNG\xff\n")
    with pytest.raises(InputError, match="line 1: not a row"):
        read_rows(tmp_path / "picture.jsonl")


def test_the_printed_list_is_read_like_a_file_of_rows(tmp_path, row):
    rows = [row(), failed(row, model="big", note="out of memory")]
    path = tmp_path / "mac.json"
    path.write_text("\n" + json.dumps([one.model_dump(mode="json") for one in rows], indent=1))
    assert read_latencies([str(path)]) == rows
    with pytest.raises(InputError, match="only a report of Xcode"):
        read_latencies([f"ours={path}"])
    path.write_text(json.dumps([json.loads(row().to_line()) | {"threads": 0}]))
    with pytest.raises(InputError, match="mac.json: not a list of rows of repvit-sam latency .0.threads"):
        read_latencies([str(path)])


def test_a_measured_row_has_a_time_and_a_failed_one_has_none(row):
    with pytest.raises(ValidationError, match="has a p50_ms"):
        row(p50_ms=None)
    with pytest.raises(ValidationError, match="has no p50_ms"):
        LatencyRow(model="m", runtime="torch", part="encoder", how="failed", p50_ms=1.0)


def test_the_last_row_of_a_measurement_counts_and_another_device_is_another_measurement(row):
    rows = [row(p50_ms=1.0), row(p50_ms=5.0, device="a Mac"), row(p50_ms=2.0), row(threads=2)]
    assert [(one.p50_ms, one.device) for one in latest(rows)] == [(2.0, "a server"), (5.0, "a Mac"), (412.0, "a server")]


@pytest.mark.parametrize(
    "change",
    [{"precision": "int8"}, {"runtime_name": "PyTorch 3.0"}, {"detail": {"prompts": 64}}, {"image_size": 512}],
)
def test_rows_that_differ_in_what_was_measured_are_all_kept(row, change):
    rows = [row(detail={"prompts": 1}, runtime_name="PyTorch 2.9", precision="fp32")]
    rows.append(rows[0].model_copy(update=change))
    assert latest(rows) == rows


def test_the_number_of_masks_found_is_no_other_measurement(row):
    rows = [row(part="everything", detail={"points": 4, "masks": masks}) for masks in (3, 5)]
    assert latest(rows) == rows[1:]


def test_a_row_without_a_time_never_replaces_a_timed_one(row):
    timed = row(part="decoder", detail={"prompts": 1}, precision="fp32", runtime_name="PyTorch 2.9")
    before = failed(row, part="decoder", detail={"prompts": 1})
    unsized = failed(row, part="decoder", image_size=None)
    assert latest([before, timed, before, unsized]) == [timed]
    other = failed(row, part="decoder", detail={"prompts": 64})
    assert latest([timed, other]) == [timed, other]
    bare = row(runtime_name=None)
    assert latest([bare, failed(row)]) == [bare]
