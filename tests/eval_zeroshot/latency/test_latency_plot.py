"""The picture of accuracy against latency."""

import errno
import os

import pytest
from PIL import Image

from encoders.errors import InputError
from eval_zeroshot.latency.report.pairing import Picture, Point
from eval_zeroshot.latency.report.plot import draw, frontier


def point(model, milliseconds, accuracy, *, runtime="torch", loaded=False, image_size=1024):
    return Point(
        model=model, runtime=runtime, milliseconds=milliseconds, accuracy=accuracy, loaded=loaded, image_size=image_size
    )


def picture(*points):
    return Picture(points=points, suite="box", dataset="val", higher=True, subject="encoder, a server")


POINTS = [point("a", 30.0, 0.7), point("b", 70.0, 0.8), point("a", 80.0, 0.7, runtime="openvino")]


def test_on_the_frontier_no_other_is_faster_and_more_accurate():
    assert [(p.model, p.runtime) for p in frontier(POINTS, higher=True)] == [("a", "torch"), ("b", "torch")]
    assert [(p.model, p.runtime) for p in frontier(POINTS, higher=False)] == [("a", "torch")]


def test_a_complete_picture_is_written(tmp_path):
    pytest.importorskip("matplotlib")
    draw(picture(point("a", 30.0, 0.7, loaded=True), point("a", 9.0, 0.6, image_size=512), *POINTS[1:]), tmp_path / "plot.png")
    with Image.open(tmp_path / "plot.png") as drawn:
        assert drawn.format == "PNG" and drawn.size == (1200, 750)
        assert len(drawn.convert("RGB").getcolors(maxcolors=2**20)) > 20
    assert [path.name for path in tmp_path.iterdir()] == ["plot.png"]


def test_a_full_disk_leaves_no_picture(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")

    def full(path, flags):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("encoders.files._fsync", full)
    with pytest.raises(InputError, match=r"plot.png cannot be written \(No space left on device, \d+ MiB free\)"):
        draw(picture(*POINTS), tmp_path / "plot.png")
    assert list(tmp_path.iterdir()) == []
