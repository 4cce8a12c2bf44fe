"""From masks to an edge map, step by step: worked out by hand, or against scipy."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from encoders.geometry import mask_box
from eval_zeroshot.prompting.point_grid import mask_boxes, point_grid
from eval_zeroshot.suites.edges import mask_edges as module
from eval_zeroshot.suites.edges.grid_masks import GridMasks, distinct
from eval_zeroshot.suites.edges.mask_edges import mask_edges, outer_boundary, probability_gradient
from eval_zeroshot.suites.edges.suppression import edge_nms, ridge_normal


def test_the_grid_has_the_centres_of_equal_cells_in_pixels():
    assert point_grid((20, 30), per_side=2).tolist() == [[7.5, 5], [22.5, 5], [7.5, 15], [22.5, 15]]
    assert len(point_grid((20, 30), per_side=16)) == 256


def test_boxes_of_many_masks_are_those_of_each():
    masks = np.random.default_rng(0).random((7, 9, 14)) < 0.05
    masks[:, 3, 8] = True
    masks[0], masks[1] = False, True
    masks[0, 8, 13] = True  # the last pixel alone
    inclusive = [mask_box(mask) - [0, 0, 1, 1] for mask in masks]  # as segment-anything has them
    assert np.array_equal(mask_boxes(masks), inclusive)


def test_of_masks_with_the_same_box_the_most_confident_stays():
    boxes = np.float32([[0, 0, 10, 4], [20, 3, 28, 9], [0, 0, 10, 5], [0, 0, 10, 9]])
    logits = np.arange(4 * 4, dtype=np.float32).reshape(4, 2, 2)
    masks = GridMasks(logits=logits, scores=np.float32([0.3, 0.1, 0.9, 0.5]), boxes=boxes)
    kept = distinct(masks)  # 0 and 2 overlap by 40 / 50, 2 and 3 by 50 / 90
    assert kept.scores.tolist() == pytest.approx([0.9, 0.5, 0.1])
    assert kept.boxes.tolist() == boxes[[2, 3, 1]].tolist()
    assert kept.logits[0].tolist() == masks.logits[2].tolist()


def test_the_outer_boundary_touches_a_mask_from_outside():
    masks = torch.zeros(2, 6, 9, dtype=torch.bool)
    masks[0, 2:4, 5:7] = True
    masks[1, 0, 0] = True  # in the corner: three pixels around it
    boundary = outer_boundary(masks)
    ring = torch.zeros(6, 9, dtype=torch.bool)
    ring[1:5, 4:8] = True
    ring[2:4, 5:7] = False
    assert torch.equal(boundary[0], ring)
    assert boundary[1].nonzero().tolist() == [[0, 1], [1, 0], [1, 1]]


def test_the_gradient_is_scipys_sobel_of_the_probabilities_up_to_the_rim():
    logits = torch.from_numpy(np.random.default_rng(1).normal(size=(2, 7, 11)).astype(np.float32))
    where = tuple(torch.from_numpy(np.indices((2, 7, 11)).reshape(3, -1)))
    found = probability_gradient(logits, where).reshape(2, 7, 11)
    for mine, plane in zip(found.numpy(), logits.sigmoid().numpy(), strict=True):
        wanted = np.hypot(*(ndimage.sobel(plane, axis=axis, mode="nearest") for axis in (0, 1)))
        assert mine == pytest.approx(wanted, abs=1e-5)


def step_logits(shape, *, column, side=16):
    """A mask that covers everything right of a column of the photo, as (1, side, side) logits of its frame."""
    scale = side / max(shape)
    x = (np.arange(side) + 0.5) / scale
    return np.tile(np.clip((x - column) * 0.5, -8, 8), (side, 1)).astype(np.float32)[None]


def test_an_edge_lies_where_the_mask_ends(monkeypatch):
    shape = (40, 64)
    logits = np.concatenate([step_logits(shape, column=44), step_logits(shape, column=21)])
    edges = mask_edges(logits, shape=shape)
    assert edges.shape == shape and (edges.min(), edges.max()) == (0, 1)
    assert np.flatnonzero(edges.any(axis=0)).tolist() == [20, 43]  # the last pixel before each mask
    monkeypatch.setattr(module, "MASK_PIXELS_PER_CALL", 1)  # one mask at a time
    assert np.array_equal(mask_edges(logits, shape=shape), edges)


def test_the_surer_mask_has_the_stronger_edge():
    shape = (40, 64)
    soft, hard = step_logits(shape, column=21) * 0.2, step_logits(shape, column=44)
    edges = mask_edges(np.concatenate([soft, hard]), shape=shape)
    assert edges[:, 43].min() > 0.9 > 0.5 > edges[:, 20].max() > 0


def test_no_mask_and_no_boundary_give_no_edge():
    assert mask_edges(np.zeros((0, 16, 16), np.float32), shape=(10, 16)).max() == 0
    assert mask_edges(np.full((3, 16, 16), 5, np.float32), shape=(10, 16)).max() == 0


@pytest.mark.parametrize("degrees", [0, 25, 45, 70, 90, 135])
def test_a_blurred_line_keeps_its_crest(degrees):
    angle = np.deg2rad(degrees)
    rows, columns = np.indices((61, 81))
    across = (rows - 28.3) * np.cos(angle) - (columns - 41.2) * np.sin(angle)  # signed distance to a line at this angle
    strength = np.exp(-(across**2) / 8)
    inner = np.zeros(strength.shape, bool)
    inner[8:-8, 8:-8] = True  # nearer to the rim, what is outside decides too
    down, right = ridge_normal(strength)
    crest = inner & (np.abs(across) < 2)
    assert np.abs(down * np.cos(angle) - right * np.sin(angle))[crest].min() > 0.99  # parallel up to sign
    kept = inner & (edge_nms(strength) > 0.05)
    assert np.abs(across[kept]).max() <= 0.75  # the crest alone, one or two pixels wide
    line = inner & (np.abs(across) < 0.5)
    assert kept.sum() >= max(np.ptp(rows[line]), np.ptp(columns[line]))  # and without gaps


def test_a_flat_map_has_no_edge():
    assert edge_nms(np.zeros((9, 12))).max() == 0
    assert edge_nms(np.full((9, 12), 0.4)).max() == 0


def test_a_straight_line_has_nothing_beside_it():
    strength = np.zeros((40, 64))
    strength[:, 21] = 1
    assert np.flatnonzero(edge_nms(strength).any(axis=0)).tolist() == [21]
    assert np.flatnonzero(edge_nms(strength.T).any(axis=1)).tolist() == [21]
