"""`python -m benchmarks.feed` in small: it runs, and prints what a photo costs and how busy a teacher is."""

import json

import pytest

from benchmarks import feed

SMALL = ["feed", "--json", "--photos", "4", "--rounds", "1", "--batch", "2", "--workers", "1", "--scale", "0.1"]
STAGES = {"read", "decode", "resize", "encode_jpeg", "decode_jpeg", "annotations", "code", "seal", "write"}


def facts(monkeypatch, capsys, *arguments):
    monkeypatch.setattr("sys.argv", [*SMALL, *arguments])
    feed.main()
    return json.loads(capsys.readouterr().out)


def test_the_cost_of_a_photo_by_stage(monkeypatch, capsys):
    found = facts(monkeypatch, capsys, "--decode", "fast")["fast"]
    milliseconds = found["milliseconds"]
    assert set(milliseconds) == STAGES | {"pipeline", "reference"} and min(milliseconds.values()) >= 0
    assert found["photos_per_second_per_core"] == pytest.approx(1000 / milliseconds["pipeline"], rel=0.01)


def test_the_share_that_a_teacher_is_busy(monkeypatch, capsys):
    found = facts(monkeypatch, capsys, "--decode", "exact", "--teacher-rate", "10")
    assert 0 < found["exact"]["busy_share"] <= 1
