"""Words for how long work still takes."""

import pytest

from encoders.messages.eta import duration, time_left


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "0 s"), (40, "40 s"), (200, "3 min"), (5400, "1 h 30 min"), (9001, "2 h 30 min"), (4.1 * 86400, "4 d 2 h")],
)
def test_durations_are_in_the_unit_that_reads_well(seconds, words):
    assert duration(seconds) == words


def test_what_is_left_is_reckoned_from_what_was_done():
    assert time_left(10, 40, 60.0) == ", about 3 min left"
    assert time_left(0, 40, 60.0) == time_left(40, 40, 60.0) == time_left(1, 40, 0.5) == ""
