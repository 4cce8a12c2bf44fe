"""Run-length masks: our reading of the counts string is pycocotools', and what it would trust blindly is refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from encoders.errors import InputError
from encoders.samples.rle import decode_segmentation, encode_mask, rle_iou, run_lengths, to_rle, to_rles

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
MOST = 2**63 - 1  # MOST + MOST + 2 is 0 in 64 bits
OTHERS = [
    None, 5, [1, 2], [-1, 1501], [1500.5], [1500.0], ["a"], [True, 1499], [], [[1500]], {"0": 1500},
    [2000], [1500, 1], [1501, 0], [MOST, MOST, 2 + 1500], [2**64 + 1500], [2**32 + 1500],
]  # fmt: skip


@pytest.mark.parametrize("counts", STRINGS + OTHERS)
def test_runs_that_do_not_fill_the_mask_are_refused_instead_of_leaving_unset_memory(counts):
    with pytest.raises(InputError, match="malformed segmentation"):
        decode_segmentation({"size": [30, 50], "counts": counts}, shape=(30, 50))


@pytest.mark.parametrize(
    "polygons",
    [
        [], [None], [[1, 2]], [[0, 0, 1e300, 5, 6, 7]], [[float("nan")] * 6], [[0, 0, 5, 5, 3, 9, 1]], [["a"] * 6],
        [[float("inf"), 0, 5, 5, 3, 9]], [[[0, 0], [5, 5], [3, 9]]], [{"x": 1}], [[0, 0, 5, 5, 10**400, 9]],
    ],  # fmt: skip
)
def test_polygons_that_are_none_are_refused(polygons):
    with pytest.raises(InputError, match="malformed segmentation"):
        decode_segmentation(polygons, shape=(30, 50))


def test_a_mask_of_another_size_is_refused_with_both():
    with pytest.raises(InputError, match=r"of an image of \(30, 50\), this image is \(50, 30\)"):
        decode_segmentation(encode_mask(RECTANGLE), shape=(50, 30))


ALPHABET = st.characters(min_codepoint=48, max_codepoint=111)
SMALL = st.tuples(st.integers(0, 9), st.integers(0, 9))


@given(st.text(ALPHABET, max_size=30), SMALL)
def test_no_counts_string_gets_past_the_checks_unless_its_runs_fill_the_mask(counts, size):
    try:
        mask = decode_segmentation({"size": list(size), "counts": counts}, shape=size)
    except InputError:
        return
    assert mask.shape == size and run_lengths(counts).sum() == mask.size
    assert mask.sum() == run_lengths(counts)[1::2].sum()


@given(st.lists(st.integers(-5, 40) | st.integers(2**31, 2**66), max_size=6), SMALL)
def test_no_list_of_runs_gets_past_the_checks_unless_it_fills_the_mask(counts, size):
    try:
        mask = decode_segmentation({"size": list(size), "counts": counts}, shape=size)
    except InputError:
        return
    assert sum(counts) == mask.size and mask.sum() == sum(counts[1::2])


def test_polygons_whose_outline_would_exhaust_memory_are_refused_undrawn():
    there_and_back = [0, 0, 49, 29] * 500  # 1000 steps of 49 px; 100 times (30 + 50) are drawn
    with pytest.raises(InputError, match="its polygons are 49000 pixels long, at most 8000"):
        decode_segmentation([there_and_back], shape=(30, 50))
    with pytest.raises(InputError, match="pixels long"):
        decode_segmentation([[0, 0, 49, 29, 3, 7]] * 500, shape=(30, 50))


@pytest.mark.parametrize("size", [[30], [30, 50, 1], "3050", None, [30.0, 50.0], ["30", "50"], [True, 50], [2**70, 50]])
def test_a_size_that_is_none_is_refused(size):
    with pytest.raises(InputError, match="segmentation"):
        decode_segmentation({"size": size, "counts": GOOD_COUNTS}, shape=(30, 50))


def test_iou_from_the_runs_by_hand_and_of_empty_masks():
    def mask(rows, columns):
        drawn = np.zeros((6, 9), bool)
        drawn[slice(*rows), slice(*columns)] = True
        return encode_mask(drawn)

    assert rle_iou(mask((1, 5), (2, 8)), mask((1, 5), (5, 9))) == pytest.approx(3 / 7)  # 12 of 28 pixels
    assert rle_iou(mask((0, 0), (0, 0)), mask((0, 0), (0, 0))) == 1.0
    assert rle_iou(mask((0, 0), (0, 0)), mask((1, 5), (2, 8))) == 0.0


def _accepted_alone(segmentation, shape):
    try:
        return to_rle(segmentation, shape=shape)
    except InputError:
        return None


def test_many_masks_are_checked_together_as_each_alone():
    """Sound masks in random groups, and the same with a character changed, removed or added."""
    rng = np.random.default_rng(11)
    shape = (37, 52)
    accepted = 0
    for trial in range(400):
        masks = []
        for _ in range(rng.integers(1, 6)):
            noise = rng.random(shape)
            masks.append(encode_mask(noise < rng.choice([0.0, 0.02, 0.5, 0.98, 1.0])))
        if trial % 2:
            spoilt = masks[rng.integers(len(masks))]
            place, text = int(rng.integers(len(spoilt["counts"]))), spoilt["counts"]
            middle = ["", chr(rng.integers(40, 120)), text[place] + chr(rng.integers(40, 120)), "é"][rng.integers(4)]
            spoilt["counts"] = text[:place] + middle + text[place + 1 :]
        alone = [_accepted_alone(mask, shape) for mask in masks]
        together = to_rles(masks, shape=shape)
        assert together == (None if None in alone else alone)
        accepted += together is not None
    assert 200 <= accepted < 300


@pytest.mark.parametrize(
    "segmentation",
    [
        {"size": [6, 8]},
        {"counts": "`1", "size": [8, 6]},
        {"counts": "`1", "size": [6.0, 8]},
        {"counts": [48], "size": [6, 8]},
        {"counts": "", "size": [6, 8]},
        [[1, 1, 4, 1, 4, 4]],
        None,
    ],
)
def test_masks_of_other_forms_are_left_to_the_check_of_each(segmentation):
    sound = encode_mask(np.zeros((6, 8), bool))
    assert to_rles([sound], shape=(6, 8)) == [sound] and to_rles([], shape=(6, 8)) == []
    assert to_rles([sound, segmentation], shape=(6, 8)) is None


def test_sizes_that_are_truth_values_are_refused_alone_and_together():
    one = {"size": [True, True], "counts": encode_mask(np.zeros((1, 1), bool))["counts"]}
    assert to_rles([one], shape=(1, 1)) is None and _accepted_alone(one, (1, 1)) is None
