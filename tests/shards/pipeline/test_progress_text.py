"""What a person reads while a precompute runs: photos and views by their names, and how long it will take."""

import pytest

from shards.cache.files import append_line
from shards.pipeline.progress import PROGRESS_FILE, PrecomputeProgress, earlier_rate, progress_text, samples_text


def progress(**changes):
    start = {"photos": 0, "photos_total": 72, "quarantined": 0, "shards": 0, "shards_total": 18, "seconds": 1.0}
    return PrecomputeProgress(**start | changes)


def test_views_are_no_photos():
    line = progress_text(progress(photos=12, views=3, shards=3, seconds=41.0), since=progress(views=3))
    assert line == "12 of 72 samples (24 photos x 3 views), 0 quarantined, 3 of 18 shards, 41 s, about 3 min left"


def test_photos_are_called_photos_where_each_has_one_view():
    line = progress_text(progress(photos=71, quarantined=2, seconds=61.0), since=progress(photos=41))
    assert line == "71 of 72 photos, 2 quarantined, 0 of 18 shards, 61 s, about 2 s left"


def test_nothing_is_guessed_at_the_beginning_and_the_end():
    for state in (progress(), progress(photos=72, seconds=99.0)):
        assert "left" not in progress_text(state, since=progress())


@pytest.mark.parametrize(
    ("samples", "views", "text"), [(1, 1, "1 photo"), (14, 1, "14 photos"), (8, 8, "8 samples (1 photo x 8 views)")]
)
def test_counts_in_words(samples, views, text):
    assert samples_text(samples, views=views) == text


def test_the_rate_is_that_of_one_process_and_lines_of_earlier_releases_are_read(tmp_path):
    assert earlier_rate(tmp_path) is None
    line = {"photos_made": 600, "seconds": 30.0}
    append_line(tmp_path / PROGRESS_FILE, line)
    assert earlier_rate(tmp_path) == 20.0
    append_line(tmp_path / PROGRESS_FILE, line | {"processes": 4})
    append_line(tmp_path / PROGRESS_FILE, line | {"photos_made": 0})
    assert earlier_rate(tmp_path) == 5.0
