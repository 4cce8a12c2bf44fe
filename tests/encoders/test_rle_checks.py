"""Run-length masks: our reading of the counts string is pycocotools', and what it would trust blindly is refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from encoders.errors import InputError
from encoders.rle import decode_segmentation, encode_mask, run_lengths, to_rle

SHAPES = st.tuples(st.integers(1, 40), st.integers(1, 60))


@given(hnp.arrays(bool, SHAPES), st.integers(1, 9))
def test_runs_add_up_to_the_mask_column_by_column(mask, blow_up):
    mask = np.kron(mask, np.ones((blow_up, 3 * blow_up), bool))
    rle = encode_mask(mask)
    runs = run_lengths(rle["counts"])
    assert (np.repeat(np.arange(runs.size) % 2 == 1, runs) == mask.ravel(order="F")).all()
    assert to_rle(rle, shape=mask.shape) == rle
    uncompressed = {"size": list(mask.shape), "counts": runs.tolist()}
    assert (decode_segmentation(uncompressed, shape=mask.shape) == mask).all()


RECTANGLE = np.zeros((30, 50), bool)
RECTANGLE[5:20, 10:45] = True


GOOD_COUNTS = encode_mask(RECTANGLE)["counts"]
STRINGS = ["", "xx", GOOD_COUNTS[:-1], GOOD_COUNTS + "1", "é", "o" * 30 + "0"]
OTHERS = [None, 5, [1, 2], [-1, 1501], [1500.5], ["a"], []]


@pytest.mark.parametrize("counts", STRINGS + OTHERS)
def test_runs_that_do_not_fill_the_mask_are_refused_instead_of_leaving_unset_memory(counts):
    with pytest.raises(InputError, match="malformed segmentation"):
        decode_segmentation({"size": [30, 50], "counts": counts}, shape=(30, 50))


@pytest.mark.parametrize(
    "polygons",
    [[], [None], [[1, 2]], [[0, 0, 1e300, 5, 6, 7]], [[float("nan")] * 6], [[0, 0, 5, 5, 3, 9, 1]], [["a"] * 6]],
)
def test_polygons_that_are_none_are_refused(polygons):
    with pytest.raises(InputError, match="malformed segmentation"):
        decode_segmentation(polygons, shape=(30, 50))


def test_a_mask_of_another_size_is_refused_with_both():
    with pytest.raises(InputError, match=r"of an image of \(30, 50\), this image is \(50, 30\)"):
        decode_segmentation(encode_mask(RECTANGLE), shape=(50, 30))
