"""What the benchmark reads: 8-bit PNGs, gPb's double-size contours, ready segmentations."""

import numpy as np
import pytest
import scipy.io
from PIL import Image

from encoders.errors import InputError
from eval_zeroshot.datasets.bsds import read_annotators, truth_files
from eval_zeroshot.suites.edges.prediction import EdgeStrength, read_prediction, region_boundary
from eval_zeroshot.suites.edges.thinning import thin


def test_a_png_is_boundary_from_its_level_on(tmp_path):
    # 51 / 255 meets level 20 / 100 exactly; 50 does not reach it. 4 x 3 pixels, off the diagonal.
    grey = np.zeros((4, 3), np.uint8)
    grey[1, 2], grey[3, 0], grey[0, 1] = 51, 50, 255
    Image.fromarray(grey).save(tmp_path / "a.png")
    edges = read_prediction(tmp_path / "a.png")
    assert edges.shape == (4, 3)
    assert len(edges.levels) == 99
    assert edges.levels[[0, 19, 98]] == pytest.approx([0.01, 0.2, 0.99])
    assert np.argwhere(edges.boundary(19)).tolist() == [[0, 1], [1, 2]]
    assert edges.boundary(98).sum() == 1


@pytest.mark.parametrize("tenths", [2, 4, 6, 8])
def test_strengths_that_meet_a_level_reach_it(tenths):
    strength = np.full((2, 3), 255 * tenths // 10) / 255.0
    edges = EdgeStrength(strength)
    assert edges.boundary(tenths * 10 - 1).all()
    assert not edges.boundary(tenths * 10).any()


def test_double_size_contours_give_every_second_value_from_the_third_on(tmp_path):
    doubled = np.zeros((2 * 4 + 1, 2 * 3 + 1))
    doubled[2 + 2 * 1, 2 + 2 * 2] = 0.7  # the value between pixels that belongs to row 1, column 2
    doubled[1::2, 1::2] = 0.9  # pixels themselves carry no contour
    scipy.io.savemat(tmp_path / "a.mat", {"ucm2": doubled})
    edges = read_prediction(tmp_path / "a.mat", thresholds=5)
    assert edges.levels == pytest.approx(np.arange(1, 6) / 6)
    assert edges.shape == (4, 3)
    assert np.argwhere(edges.boundary(0)).tolist() == [[1, 2]]
    assert not edges.boundary(4).any()


def test_segmentations_are_levels_counted_from_one(tmp_path):
    whole, halves = np.ones((4, 6), np.uint16), np.ones((4, 6), np.uint16)
    halves[:, 3:] = 2
    cells = np.empty((1, 2), object)
    cells[0, 0], cells[0, 1] = halves, whole
    scipy.io.savemat(tmp_path / "a.mat", {"segs": cells})
    edges = read_prediction(tmp_path / "a.mat", thresholds=99)
    assert edges.levels.tolist() == [1, 2]
    assert np.argwhere(edges.boundary(0)).tolist() == [[row, 2] for row in range(4)]
    assert not edges.boundary(1).any()


def test_annotators_boundaries_are_their_regions_boundaries_thinned(shared_data):
    """The official ground truth was made so, in MATLAB: the same pixels here prove both steps."""
    compared = 0
    for path in list(truth_files(shared_data / "bsds500", split="test").values())[::20]:
        for annotator in read_annotators(path):
            assert np.array_equal(thin(region_boundary(annotator["Segmentation"])), annotator["Boundaries"] > 0)
            compared += 1
    assert compared > 40


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.png", b"no picture", "no readable PNG"),
        ("a.mat", b"no matrix", "holds no edges"),
        ("colour.png", (2, 3, 3), "mode RGB; expected one channel of 8 bits"),
        ("none.mat", {"segs": np.empty((1, 0), object)}, "empty cell `segs`"),
        ("other.mat", {"edges": np.zeros((2, 2))}, "expected `ucm2` or `segs`"),
    ],
)
def test_a_file_that_is_none_of_these_is_named(tmp_path, name, content, message):
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif isinstance(content, dict):
        scipy.io.savemat(path, content)
    else:
        Image.fromarray(np.zeros(content, np.uint8)).save(path)
    with pytest.raises(InputError, match=message) as caught:
        read_prediction(path)
    assert name in str(caught.value)


def cells(*arrays):
    found = np.empty((1, len(arrays)), object)
    for number, array in enumerate(arrays):
        found[0, number] = array
    return found


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"segs": cells(np.ones((4, 6), np.uint16), np.ones((6, 4), np.uint16))}, r"segs of shapes \[\(4, 6\), \(6, 4\)\]"),
        ({"segs": cells(np.ones((4, 6, 2), np.uint16))}, r"segs of shapes \[\(4, 6, 2\)\] must be"),
        ({"ucm2": np.zeros((9, 7, 2))}, r"ucm2 of shape \(9, 7, 2\) must be two-dimensional"),
        ({"ucm2": np.full((9, 7), np.nan)}, "all of it from 0 to 1"),
        ({"ucm2": np.full((9, 7), 255.0)}, "all of it from 0 to 1"),
        ({"ucm2": np.full((9, 7), -0.5)}, "all of it from 0 to 1"),
    ],
)
def test_maps_of_unlike_sizes_and_strengths_out_of_range_are_refused(tmp_path, content, message):
    scipy.io.savemat(tmp_path / "a.mat", content)
    with pytest.raises(InputError, match=message):
        read_prediction(tmp_path / "a.mat")


@pytest.mark.parametrize("boundary", [np.zeros((4, 6, 2), np.uint8), np.array("drawn")])
def test_annotators_maps_that_are_none_are_refused(tmp_path, boundary):
    annotator = {"Segmentation": np.ones((4, 6), np.uint16), "Boundaries": boundary}
    scipy.io.savemat(tmp_path / "a.mat", {"groundTruth": cells(annotator)})
    with pytest.raises(InputError, match=r"a\.mat holds no BSDS500 ground truth .*expected \(height, width\) numbers"):
        read_annotators(tmp_path / "a.mat")
