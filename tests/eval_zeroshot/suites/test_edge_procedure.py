"""SAM's edge procedure in the suite: which clicks are asked, which masks make the map and how, whom it is held against."""

import numpy as np
import pytest

from encoders.predictor import Prediction
from encoders.samples.sample import Sample
from eval_zeroshot.suites.edges.mask_edges import mask_edges
from eval_zeroshot.suites.edges.suite import Edges
from eval_zeroshot.suites.edges.suppression import edge_nms

SHAPE, SIDE = (40, 64), 16  # (height, width) of the photo; of the logits of its 64 x 64 frame


def logits_of(column, *, steep=0.5, upper_only=False):
    """(16, 16) of a mask that covers the photo right of a column, or the upper half of that."""
    x = (np.arange(SIDE) + 0.5) * 4
    found = np.tile(np.clip((x - column) * steep, -8, 8), (SIDE, 1)).astype(np.float32)
    if upper_only:
        found[5:] = -8  # rows of the photo from 20 on
    return found


def mask_right_of(column, *, upper_only=False):
    mask = np.zeros(SHAPE, bool)
    mask[: 20 if upper_only else 40, column:] = True
    return mask


SURE, LIKE_IT, OTHER = logits_of(21), logits_of(22, steep=0.1), logits_of(44)
MASKS = np.stack([mask_right_of(21), mask_right_of(22), mask_right_of(44)])


class Script:
    """Answers every click with the same three masks; the second lies almost where the first does and is less sure."""

    identity = "script"

    def __init__(self):
        self.asked = []

    def set_image(self, image, /):
        pass

    def predict(self, prompts, *, multimask=True):
        assert prompts.boxes is None and prompts.masks is None and multimask
        self.asked += [(point.tolist(), label.tolist()) for point, label in zip(prompts.points, prompts.labels, strict=True)]
        count = len(prompts.points)
        scores = np.tile(np.float32([0.9, 0.5, 0.7]), (count, 1))
        logits = np.tile(np.stack([SURE, LIKE_IT, OTHER]), (count, 1, 1, 1))
        return Prediction(np.tile(MASKS, (count, 1, 1, 1)), scores, logits)


def photo(*boundaries):
    return Sample(key="a", image=np.zeros((*SHAPE, 3), np.uint8), boundaries=boundaries)


def test_the_grid_is_asked_one_foreground_click_at_a_time():
    script = Script()
    Edges().edge_map(script, photo())
    assert len(script.asked) == 256
    # cells of 64 / 16 by 40 / 16 pixels: centres from (2, 1.25) to (62, 38.75), row by row
    assert script.asked[0] == ([[2.0, 1.25]], [1]) and script.asked[1] == ([[6.0, 1.25]], [1])
    assert script.asked[16] == ([[2.0, 3.75]], [1]) and script.asked[255] == ([[62.0, 38.75]], [1])


def test_the_map_is_of_all_three_masks_without_those_that_another_covers():
    # boxes of 43, 42 and 20 columns: the second overlaps the surer first by 42 / 43 and goes, the third overlaps by 20 / 43
    found = Edges(points_per_side=2).edge_map(Script(), photo())
    wanted = np.round(255 * edge_nms(mask_edges(np.stack([SURE, OTHER]), shape=SHAPE)))
    assert np.array_equal(found, wanted)
    middle = found[20]
    assert np.flatnonzero(middle).tolist() == [20, 43]  # the last pixel before each mask
    for others in ([SURE], [OTHER], [SURE, LIKE_IT, OTHER], [LIKE_IT, OTHER]):
        assert not np.array_equal(found, np.round(255 * edge_nms(mask_edges(np.stack(others), shape=SHAPE))))


def test_masks_that_share_an_edge_make_it_no_stronger():
    edges = mask_edges(np.stack([OTHER, logits_of(44, upper_only=True)]), shape=SHAPE)
    upper, lower = edges[5:12, 43], edges[30:36, 43]
    assert upper == pytest.approx(np.full(7, lower[0]), abs=1e-3) and lower[0] > 0.2


def test_edges_are_thinned_to_their_crest_before_they_are_counted():
    """Masks on both sides of a line: their outer boundaries lie two pixels apart, and the stronger one is the edge."""

    class BothSides(Script):
        def predict(self, prompts, *, multimask=True):
            left, right = -logits_of(33, steep=0.2), logits_of(32)
            found = np.stack([~mask_right_of(33), mask_right_of(32), mask_right_of(32)])
            logits = np.stack([left, right, right])
            masks, all_logits = (np.tile(one, (len(prompts.points), 1, 1, 1)) for one in (found, logits))
            return Prediction(masks, np.ones((len(prompts.points), 3), np.float32), all_logits)

    raw = mask_edges(np.stack([-logits_of(33, steep=0.2), logits_of(32)]), shape=SHAPE)
    assert np.flatnonzero(raw[20]).tolist() == [31, 33]
    assert np.flatnonzero(Edges(points_per_side=2).edge_map(BothSides(), photo())[20]).tolist() == [31]


def test_every_annotator_counts():
    """One drew the edge at column 20, one that at 43, one nothing: the machine's two lines are right, a third of theirs is."""
    lines = np.zeros((3, *SHAPE), bool)
    lines[0, :, 20] = lines[1, :, 43] = True
    observation = Edges(points_per_side=2).observe(Script(), photo(*lines))
    assert set(observation.values["truth"]) == {80.0}
    lowest = {name: values[0] for name, values in observation.values.items()}
    assert lowest["matched_truth"] == 80 and lowest["matched_edge"] == lowest["edge"] == 80
    alone = Edges(points_per_side=2).observe(Script(), photo(lines[1]))
    assert (alone.values["matched_truth"][0], alone.values["truth"][0]) == (40, 40)
    assert (alone.values["matched_edge"][0], alone.values["edge"][0]) == (40, 80)


def test_swapped_axes_match_nothing():
    turned = np.zeros(SHAPE, bool)
    turned[20] = turned[-1] = True  # rows where the edges are columns: they cross in four pixels, one more on each side is near
    seen = Edges(points_per_side=2).observe(Script(), photo(turned))
    assert seen.values["matched_edge"][0] <= 12 and seen.values["edge"][0] == 80
